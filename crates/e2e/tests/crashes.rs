//! A gateway, its nodes and their workers, killed at random again and again over a run of jobs: what was acknowledged comes to its end,
//! and what was verified is proved once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bonsai_sdk::non_blocking::{Client, SessionId};
use manyhands_core::Outcome;
use manyhands_e2e::daemon::{GatewayProcess, NodeProcess};
use manyhands_e2e::gateway::Requester;
use manyhands_e2e::{guest, tiny_input, until};
use manyhands_proto::JobId;
use manyhands_zkvm::verify_receipt;

/// Processes that are killed, at least.
const KILLS: u32 = 50;

/// Of each sort, at least.
const KILLS_OF_EACH: u32 = 5;

/// Tries to kill one, after which something is wrong: each meets one with two in three, and the rarest sort is met once in ten.
const TRIES_MAX: u32 = 1_000;

/// After so many kills there is peace until another job has come to its end.
const KILLS_A_JOB: u32 = 10;

/// Jobs that are open at the same time, until the last kill.
const OPEN_JOBS: usize = 3;

/// Turns of the guest's wheel in a session: a second or so, in which its worker can be met.
const SESSION_TURNS: u32 = 10_000_000;

/// The same numbers at each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What the gateway has acknowledged.
struct Promised {
    requester: Requester,
    bonsai: Client,
    jobs: Vec<(JobId, String)>,
    sessions: Vec<(SessionId, String)>,
}

impl Promised {
    /// Submits until so many jobs are open, and one session that executes. Whatever is lost to a gateway that is down was not promised.
    async fn top_up(&mut self) -> Result<()> {
        let (program, image_id) = guest("tiny")?;
        let open = until("the gateway's word on its jobs", async || {
            let Ok(status) = self.requester.client.status().await else { return Ok(None) };
            let is_open = |phase: &str| phase == "open" || phase == "assembling";
            Ok(Some(status.jobs.iter().filter(|job| is_open(&job.phase)).count()))
        })
        .await?;
        for _ in open..OPEN_JOBS {
            let message = format!("job {}", self.jobs.len());
            // One segment, or two, of which one may be verified when the next process is killed.
            let turns = if self.jobs.len().is_multiple_of(2) { 3_000 } else { 0 };
            let submitted = self.requester.submit(&program, tiny_input(turns, &message), 16, Outcome::Composite).await;
            submitted.into_iter().for_each(|job| self.jobs.push((job, message.clone())));
        }
        let message = format!("session {}", self.sessions.len());
        let session = async {
            let image = image_id.to_string();
            self.bonsai.upload_img(&image, program).await?;
            let input = self.bonsai.upload_input(tiny_input(SESSION_TURNS, &message)).await?;
            self.bonsai.create_session(image, input, vec![], true).await
        };
        let session = session.await;
        session.into_iter().for_each(|session| self.sessions.push((session, message.clone())));
        Ok(())
    }

    /// Waits until another job has come to its end.
    async fn one_more_done(&self) -> Result<()> {
        let done = async || {
            let status = self.requester.client.status().await.ok()?;
            Some(status.jobs.iter().filter(|job| job.phase == "done").count())
        };
        let before = until("the gateway's word on its jobs", async || Ok(done().await)).await?;
        until("another job's end", async || Ok(done().await.filter(|count| *count > before))).await.map(drop)
    }

    /// Waits for all of it.
    async fn kept(&self) -> Result<()> {
        let (_, image_id) = guest("tiny")?;
        for (job, message) in &self.jobs {
            let (_, receipt) = self.requester.done(*job).await.with_context(|| message.clone())?;
            let summary = verify_receipt(&receipt, image_id)?;
            ensure!(summary.journal.ends_with(message.as_bytes()), "{message}: {:?}", summary.journal);
        }
        for (session, message) in &self.sessions {
            let journal = until("a journal", async || {
                let status = session.status(&self.bonsai).await?;
                ensure!(matches!(status.status.as_str(), "RUNNING" | "SUCCEEDED"), "{message}: {:?}", status.error_msg);
                if status.status == "RUNNING" {
                    return Ok(None);
                }
                Ok(Some(session.exec_only_journal(&self.bonsai).await?))
            })
            .await?;
            ensure!(journal.ends_with(message.as_bytes()), "{message}: {journal:?}");
        }
        Ok(())
    }
}

/// Kills one process and, if it is a daemon, starts it again. Says which sort it was.
async fn kill_one(
    chance: &mut Chance,
    gateway: &mut GatewayProcess,
    nodes: &mut [NodeProcess],
) -> Result<&'static str> {
    let node = usize::try_from(chance.below(nodes.len() as u64))?;
    match chance.below(20) {
        0..10 => gateway.restart().map(|()| "gateway"),
        10..15 => Ok(if kill_a_guest(gateway).await? { "gateway's worker" } else { "nobody" }),
        15..17 => nodes[node].restart().map(|()| "node"),
        _ => Ok(if nodes[node].kill_worker_now()? { "node's worker" } else { "nobody" }),
    }
}

/// Kills the gateway's worker if there is one within a second or so.
async fn kill_a_guest(gateway: &GatewayProcess) -> Result<bool> {
    for _ in 0..50 {
        if gateway.kill_worker_now()? {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(false)
}

/// Which attempts of each unit were verified, as the gateway's log says; a result that was kept over a restart is told again.
fn verified(log: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut units: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains(" verified ")) {
        let Some((_, told)) = line.split_once("lease=") else { continue };
        let Some((unit, attempt)) = told.split_once(" #") else { continue };
        units.entry(unit.to_owned()).or_default().insert(attempt.to_owned());
    }
    units
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_lose_nothing_that_was_acknowledged() -> Result<()> {
    let mut gateway = GatewayProcess::start()?;
    let mut nodes = [NodeProcess::start(&gateway.address)?, NodeProcess::start(&gateway.address)?];
    let mut promised = Promised {
        requester: Requester::of(&gateway.http)?,
        bonsai: Client::from_parts(gateway.http.clone(), "anybody".to_owned(), "3.0.6")?,
        jobs: Vec::new(),
        sessions: Vec::new(),
    };
    let mut chance = Chance(7);
    let mut killed: BTreeMap<&str, u32> = BTreeMap::new();
    let is_enough = |killed: &BTreeMap<&str, u32>| {
        killed.values().sum::<u32>() >= KILLS
            && killed.len() == 4
            && killed.values().all(|count| *count >= KILLS_OF_EACH)
    };
    let mut tries = 0;
    while !is_enough(&killed) {
        ensure!(tries < TRIES_MAX, "after {tries} tries only these were killed: {killed:?}\n{}", gateway.log());
        tries += 1;
        promised.top_up().await.with_context(|| gateway.log())?;
        tokio::time::sleep(Duration::from_millis(200 + chance.below(3_000))).await;
        match kill_one(&mut chance, &mut gateway, &mut nodes).await? {
            "nobody" => continue,
            victim => *killed.entry(victim).or_default() += 1,
        }
        if killed.values().sum::<u32>().is_multiple_of(KILLS_A_JOB) {
            promised.one_more_done().await.with_context(|| gateway.log())?;
        }
    }
    ensure!(promised.jobs.len() > OPEN_JOBS && promised.sessions.len() > OPEN_JOBS, "little was acknowledged");
    promised.kept().await.with_context(|| format!("{killed:?}\n{}", gateway.log()))?;
    let log = gateway.log();
    let units = verified(&log);
    ensure!(units.len() >= promised.jobs.len(), "each job has a proof: {units:?}");
    let twice: Vec<_> = units.iter().filter(|(_, attempts)| attempts.len() > 1).collect();
    ensure!(twice.is_empty(), "verified proofs were made again: {twice:?}\n{log}");
    // Past the test runner's capture: what was survived is of interest also where nothing failed.
    let (jobs, sessions) = (promised.jobs.len(), promised.sessions.len());
    let _ = writeln!(std::io::stderr(), "killed {killed:?}; {jobs} jobs and {sessions} sessions came to their end");
    Ok(())
}
