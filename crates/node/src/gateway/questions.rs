//! What the HTTP door asks of the event loop, and the answers.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_api::types::{GatewayStatus, JobStatus, JobSummary, Problem, ProblemKind, Submitted};
use manyhands_core::explain::Explanation;
use manyhands_core::job::Phase;
use manyhands_core::requester::Input;
use manyhands_core::room::job_bytes;
use manyhands_core::{JobSpec, Outcome, Priority, Restored, Ruling};
use manyhands_proto::{BlobRef, Digest, JobId, NodeId, Po2};
use tokio::sync::oneshot;

use super::assumptions::Assumed;
use super::backup::{Frozen, Prepared};
use super::jobs_db::JobRow;
use super::owners::receipts;
use super::shell::Shell;

/// Ended jobs that the gateway's status lists.
const JOBS_SHOWN: u32 = 100;

/// A job whose blobs are in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) image_id: Digest,
    pub(crate) program: BlobRef,
    pub(crate) input: Option<BlobRef>,
    pub(crate) assumptions: Vec<Assumed>,
    pub(crate) po2: Option<Po2>,
    pub(crate) outcome: Outcome,
    pub(crate) priority: Priority,
    pub(crate) cycles_max: u64,
    /// Who may work on it, if that is not everybody.
    pub(crate) circle: Option<BTreeSet<NodeId>>,
}

/// Jobs that run no more, and how they are; nothing of those that were removed.
pub(crate) type Ended = BTreeMap<JobId, Option<JobStatus>>;

/// Where an answer goes.
pub(crate) type To<T> = oneshot::Sender<T>;

/// What the door asks.
#[derive(Debug)]
pub(crate) enum Question {
    /// Say how many bytes such a job will likely bring, beside those that open jobs still bring.
    Need(Wanted, To<u64>),
    /// Take a job under this id.
    Submit(JobId, Wanted, To<Result<Submitted, Problem>>),
    /// Say how a job is.
    Job(JobId, To<Result<JobStatus, Problem>>),
    /// Say which of these jobs run no more, and how they are; nothing of one that was removed.
    Ended(Vec<JobId>, To<Result<Ended, Problem>>),
    /// Say why a job is as far as it is.
    Explain(JobId, To<Result<Explanation, Problem>>),
    /// Say what a job's guest wrote.
    Log(JobId, To<Result<Vec<u8>, Problem>>),
    /// Stop a job, if it is open.
    Stop(JobId, To<Result<(), Problem>>),
    /// Stop a job that is open, forget one that has ended.
    Remove(JobId, To<Result<(), Problem>>),
    /// Say how the gateway is; the bytes used and the limit of its store are filled in by the door.
    Status(To<GatewayStatus>),
    /// The operator says something of a node, or takes back what he said.
    Rule(NodeId, Option<Ruling>, To<Result<(), Problem>>),
    /// Hold everything as it is now, for a back-up.
    Freeze(Box<Prepared>, To<Result<Frozen, Problem>>),
    /// The job database is held no more.
    Thaw,
}

impl Shell {
    /// Answers one question; a door that has gone away needs no answer.
    pub(crate) fn answer(&mut self, question: Question) {
        match question {
            Question::Need(wanted, to) => drop(to.send(self.need(&wanted))),
            Question::Submit(job, wanted, to) => drop(to.send(self.submit(job, wanted))),
            Question::Job(job, to) => drop(to.send(self.job(job))),
            Question::Ended(jobs, to) => drop(to.send(self.those_ended(jobs))),
            Question::Explain(job, to) => drop(to.send(self.explain(job))),
            Question::Log(job, to) => drop(to.send(self.log(job))),
            Question::Stop(job, to) => drop(to.send(self.stop(job))),
            Question::Remove(job, to) => drop(to.send(self.remove(job))),
            Question::Status(to) => drop(to.send(self.status())),
            Question::Rule(node, ruling, to) => {
                drop(to.send(self.rule(node, ruling).map_err(|error| Self::database(&error))));
            }
            Question::Freeze(prepared, to) => {
                drop(to.send(prepared.freeze(&self.tasks.store, self.core.bytes_due())));
            }
            Question::Thaw => self.db.empty_log(),
        }
    }

    fn need(&self, wanted: &Wanted) -> u64 {
        let po2 = wanted.po2.unwrap_or_else(|| self.core.po2_for_all());
        job_bytes(po2, wanted.outcome, wanted.cycles_max).saturating_add(self.core.bytes_due())
    }

    fn submit(&mut self, job: JobId, wanted: Wanted) -> Result<Submitted, Problem> {
        let po2 = wanted.po2.unwrap_or_else(|| self.core.po2_for_all());
        if !manyhands_zkvm::is_provable(po2) {
            let message = format!(
                "segments of po2 {po2} cannot be proved with {}: its verifiers take at most po2 {}. Ask for a smaller --po2",
                self.core.zkvm(),
                manyhands_zkvm::PO2_MAX
            );
            return Err(Problem { kind: ProblemKind::Invalid, message });
        }
        let unfit = |error: manyhands_core::view::Inadmissible| Problem {
            kind: ProblemKind::Unfit,
            message: error.to_string(),
        };
        self.core.admits(po2, wanted.outcome, wanted.circle.as_ref()).map_err(unfit)?;
        let row = JobRow {
            job,
            image_id: wanted.image_id,
            program: wanted.program,
            input: wanted.input,
            assumptions: wanted.assumptions,
            spec: JobSpec { po2, is_auto: wanted.po2.is_none(), outcome: wanted.outcome, priority: wanted.priority },
            cycles_max: wanted.cycles_max,
            circle: wanted.circle,
            sizing: None,
            runs: 0,
        };
        self.db.submit(&row).map_err(|error| Self::database(&error))?;
        let is_private = row.circle.is_some();
        tracing::info!(%job, %po2, is_private, image_id = %wanted.image_id, "taken");
        self.begin(row, Restored::new());
        Ok(Submitted { job, po2 })
    }

    fn job(&self, job: JobId) -> Result<JobStatus, Problem> {
        if let Some(status) = self.status_of(job) {
            return Ok(status);
        }
        self.db.ended(job).map_err(|error| Self::database(&error))?.ok_or_else(|| not_found(job))
    }

    fn those_ended(&self, jobs: Vec<JobId>) -> Result<Ended, Problem> {
        let runs = |job: &JobId| {
            let known = self.core.job(job);
            known.is_some_and(|known| matches!(known.phase, Phase::Open | Phase::Assembling))
        };
        let told = |job| match self.job(job) {
            Ok(status) => Ok((job, Some(status))),
            Err(problem) if problem.kind == ProblemKind::NotFound => Ok((job, None)),
            Err(problem) => Err(problem),
        };
        jobs.into_iter().filter(|job| !runs(job)).map(told).collect()
    }

    /// Why a job is as far as it is. Of one that has ended the database has the view only.
    fn explain(&self, job: JobId) -> Result<Explanation, Problem> {
        match self.core.explain(self.clock.now(), &job) {
            Some(explanation) => {
                let sizing = self.open.get(&job).and_then(|open| open.row.sizing.clone());
                Ok(Explanation { sizing, ..explanation })
            }
            None => Ok(Explanation::of_view(&self.job(job)?.view)),
        }
    }

    fn log(&self, job: JobId) -> Result<Vec<u8>, Problem> {
        if let Some(open) = self.open.get(&job) {
            return Ok(open.log.clone());
        }
        self.db.log(job).map_err(|error| Self::database(&error))?.ok_or_else(|| not_found(job))
    }

    /// Of a job that ended meanwhile nothing is lost.
    fn stop(&mut self, job: JobId) -> Result<(), Problem> {
        let is_open = self.open.contains_key(&job);
        if is_open {
            self.core.handle(self.clock.now(), Input::Abort { job });
        }
        if is_open { Ok(()) } else { self.job(job).map(drop) }
    }

    fn remove(&mut self, job: JobId) -> Result<(), Problem> {
        if self.open.contains_key(&job) {
            return self.stop(job);
        }
        let ended = self.job(job)?;
        self.db.remove(job).map_err(|error| Self::database(&error))?;
        if let Some(receipt) = ended.receipt {
            let tasks = self.tasks.clone();
            tokio::spawn(async move {
                // What cannot be released now is at the next start, as its job is forgotten.
                let released = tasks.on_store(move |store| store.release(&receipts(), &receipt.reference)).await;
                released.map_or_else(|error| tracing::warn!(%job, %error, "a receipt could not be released"), drop);
            });
        }
        Ok(())
    }

    fn status(&self) -> GatewayStatus {
        let now = self.clock.now();
        let open = self.core.jobs().filter_map(|job| self.core.view_job(now, &job.id)).map(|view| summary(&view));
        let ended = self.db.recent(JOBS_SHOWN).unwrap_or_default();
        let ended = ended.iter().map(|status| summary(&status.view));
        GatewayStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            zkvm: self.core.zkvm().to_owned(),
            peer_id: self.peer_id.clone(),
            node: self.me.node,
            addresses: self.me.addresses.iter().map(|address| format!("{address}/p2p/{}", self.peer_id)).collect(),
            recursion: self.worker.recursion,
            store_used_bytes: 0,
            store_limit_bytes: 0,
            nodes: self.core.view_nodes(now),
            jobs: open.chain(ended).collect(),
        }
    }
}

fn summary(view: &manyhands_core::view::JobView) -> JobSummary {
    JobSummary {
        job: view.job,
        phase: view.phase.clone(),
        priority: view.priority,
        units_done: view.units_done,
        units_total: view.units_total,
        note: view.error.clone().or_else(|| view.waiting.clone()),
    }
}

pub(crate) fn not_found(job: JobId) -> Problem {
    Problem {
        kind: ProblemKind::NotFound,
        message: format!("this gateway has no job {job}; `manyhands status` lists them"),
    }
}
