//! What the tests of the command line share: a gateway that follows a script behind the real HTTP door, and the command itself.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use manyhands_api::types::{BackupEnd, BackupProgress, Backups, BegunBackup, NodeRuling, Scores};
use manyhands_api::{Gateway, GatewayStatus, JobRequest, JobStatus, Problem, ProblemKind, Submitted, Uploaded, serve};
use manyhands_core::explain::Explanation;
use manyhands_core::job::UnitState;
use manyhands_core::view::{JobView, NodeView, ResultView};
use manyhands_core::{Outcome, Priority};
use manyhands_proto::{BlobRef, Digest, JobId, NodeId, Po2, Reference, Unit};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

pub const JOB: JobId = JobId([0xab; 16]);
pub const BACKUP: &str = "2026-01-31T12-00-00Z";

/// A bound for a hanging test only.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What the gateway will say.
#[derive(Default)]
pub struct Script {
    /// Answers to questions about the job, one after the other; the last one stays.
    pub statuses: Mutex<Vec<JobStatus>>,
    pub receipt: Vec<u8>,
    pub log: Vec<u8>,
    /// Why the job is as far as it is, unless it has ended.
    pub explanation: Option<Explanation>,
    pub refusal: Option<Problem>,
    /// The image id it claims to have computed, instead of the right one.
    pub lie: Option<Digest>,
    pub uploads: Mutex<Vec<Vec<u8>>>,
    pub requests: Mutex<Vec<JobRequest>>,
    pub aborted: Mutex<Vec<JobId>>,
    /// Nodes that it says it knows.
    pub nodes: Vec<NodeView>,
    pub rulings: Mutex<Vec<(String, NodeRuling)>>,
    /// What it says verifiers say.
    pub scores: Scores,
    /// The receipt that it has of any score.
    pub scored: Option<Vec<u8>>,
    /// The question that it takes and never answers.
    pub silent_at: Option<&'static str>,
    /// Why it makes no back-up.
    pub backup_refusal: Option<Problem>,
    /// What it says of its back-ups, one after the other: the one under way, the last one.
    pub backups: Mutex<Vec<(Option<BackupProgress>, Option<BackupEnd>)>>,
    /// Told when it is silent.
    pub silent: tokio::sync::Notify,
}

/// What the gateway calls an upload.
pub fn uploaded(uploads: &[Vec<u8>], number: usize) -> BlobRef {
    BlobRef { reference: Reference([1 + number as u8; 32]), size_bytes: uploads[number].len() as u64 }
}

impl Script {
    async fn maybe_silent(&self, question: &str) {
        if self.silent_at == Some(question) {
            self.silent.notify_one();
            std::future::pending::<()>().await;
        }
    }

    fn keep(&self, bytes: Vec<u8>) -> BlobRef {
        let mut uploads = self.uploads.lock().unwrap();
        uploads.push(bytes);
        uploaded(&uploads, uploads.len() - 1)
    }
}

impl Gateway for Script {
    async fn upload_program(&self, bytes: Vec<u8>) -> Result<Uploaded, Problem> {
        let right = manyhands_zkvm::image_id(&bytes).map_err(|error| Problem::invalid(error.to_string()))?;
        Ok(Uploaded { blob: self.keep(bytes), image_id: Some(self.lie.unwrap_or(right)) })
    }

    fn spool(&self) -> &Path {
        Path::new(env!("CARGO_TARGET_TMPDIR"))
    }

    async fn room(&self, _: u64, _: u64) -> Result<(), Problem> {
        Ok(())
    }

    async fn upload_input(&self, file: NamedTempFile, _: u64) -> Result<Uploaded, Problem> {
        Ok(Uploaded { blob: self.keep(std::fs::read(file.path()).unwrap()), image_id: None })
    }

    async fn scores(&self) -> Result<Scores, Problem> {
        Ok(self.scores.clone())
    }

    async fn score_receipt(&self, _: Reference) -> Result<Vec<u8>, Problem> {
        self.scored.clone().ok_or_else(|| Problem::new(ProblemKind::Busy, "its node is not connected"))
    }

    async fn rule(&self, node: NodeId, ruling: NodeRuling) -> Result<(), Problem> {
        self.rulings.lock().unwrap().push((node.to_string(), ruling));
        Ok(())
    }

    async fn back_up(&self) -> Result<BegunBackup, Problem> {
        self.backup_refusal.clone().map_or_else(|| Ok(BegunBackup { name: BACKUP.to_owned() }), Err)
    }

    async fn backups(&self) -> Result<Backups, Problem> {
        let mut steps = self.backups.lock().unwrap();
        let step = if steps.len() > 1 { steps.remove(0) } else { steps.first().cloned().unwrap_or_default() };
        let kept = step.1.as_ref().and_then(|end| end.path.clone()).into_iter().collect();
        Ok(Backups { folder: "/b".to_owned(), kept_max: 3, kept, running: step.0, last: step.1 })
    }

    async fn submit(&self, request: JobRequest) -> Result<Submitted, Problem> {
        self.maybe_silent("submit").await;
        if let Some(problem) = &self.refusal {
            return Err(problem.clone());
        }
        let po2 = request.po2.unwrap_or_else(|| Po2::try_from(17).unwrap());
        self.requests.lock().unwrap().push(request);
        Ok(Submitted { job: JOB, po2 })
    }

    async fn job(&self, job: JobId) -> Result<JobStatus, Problem> {
        let mut statuses = self.statuses.lock().unwrap();
        match statuses.as_slice() {
            _ if job != JOB => {
                Err(Problem::not_found(format!("this gateway has no job {job}; `manyhands status` lists them")))
            }
            [] => Err(Problem::not_found("there is no job at all")),
            [last] => Ok(last.clone()),
            _ => Ok(statuses.remove(0)),
        }
    }

    async fn explain(&self, job: JobId) -> Result<Explanation, Problem> {
        let view = self.job(job).await?.view;
        Ok(self.explanation.clone().unwrap_or_else(|| Explanation::of_view(&view)))
    }

    async fn abort(&self, job: JobId) -> Result<(), Problem> {
        self.aborted.lock().unwrap().push(job);
        Ok(())
    }

    async fn receipt(&self, _: JobId) -> Result<(BlobRef, Vec<u8>), Problem> {
        self.maybe_silent("receipt").await;
        let size_bytes = self.receipt.len() as u64;
        Ok((BlobRef { reference: Reference([2; 32]), size_bytes }, self.receipt.clone()))
    }

    async fn log(&self, _: JobId) -> Result<Vec<u8>, Problem> {
        Ok(self.log.clone())
    }

    async fn status(&self) -> Result<GatewayStatus, Problem> {
        Ok(GatewayStatus {
            version: "0.1.0".into(),
            zkvm: "risc0-zkvm 3.0.6".into(),
            peer_id: "12D3Koo".into(),
            node: NodeId([2; 32]),
            addresses: vec!["/ip4/127.0.0.1/tcp/7170/p2p/12D3Koo".into()],
            recursion: true,
            store_used_bytes: 1,
            store_limit_bytes: 2,
            nodes: self.nodes.clone(),
            jobs: Vec::new(),
        })
    }
}

/// A job's status with segments in these states.
pub fn status(phase: &str, grid: &[UnitState]) -> JobStatus {
    let verified = (0..).zip(grid).filter(|(_, state)| **state == UnitState::Verified);
    let results: Vec<ResultView> = verified
        .map(|(index, _)| ResultView {
            unit: Unit::Prove(index),
            attempt: 1,
            node: NodeId([5; 32]),
            elapsed_ms: 1_000,
            receipt_bytes: 200_000,
        })
        .collect();
    let view = JobView {
        job: JOB,
        phase: phase.into(),
        error: None,
        po2: Po2::try_from(17).unwrap(),
        is_surveyed: false,
        sizing: None,
        outcome: Outcome::Composite,
        priority: Priority::Normal,
        is_private: false,
        elapsed_ms: 2_000,
        segments: Some(grid.len() as u32),
        user_cycles: Some(100_000),
        total_cycles: Some(131_072),
        keccaks: 0,
        keccak_cycles: 0,
        grid: grid.to_vec(),
        units_done: results.len() as u32,
        units_total: grid.len() as u32,
        leases: Vec::new(),
        results,
        tally: manyhands_core::Tally::default(),
        eta_ms: None,
        waiting: None,
    };
    JobStatus { view, image_id: Digest([3; 32]), receipt: None, incidents: Vec::new() }
}

/// Serves a script on a port of its own.
pub async fn gateway(script: Script) -> (Arc<Script>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let script = Arc::new(script);
    tokio::spawn(serve(listener, Arc::clone(&script), std::future::pending()));
    (script, address)
}

/// A guest that is committed in this repository.
pub fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/built").join(name)
}

/// The command, in a directory of its own and away from the user's configuration.
pub fn manyhands(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manyhands"));
    command.args(words).current_dir(dir).kill_on_drop(true).stdin(Stdio::null());
    for variable in ["MANYHANDS_DATA_DIR", "MANYHANDS_WORKER", "MANYHANDS_GATEWAY", "RUST_LOG", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.env("XDG_CONFIG_HOME", dir.join("config")).env("XDG_DATA_HOME", dir.join("data"));
    command
}

/// What the command said.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// Runs the command to its end.
pub async fn run(dir: &Path, words: &[&str]) -> Said {
    let output = tokio::time::timeout(PATIENCE, manyhands(dir, words).output()).await.expect("it ends").unwrap();
    said(&output)
}

pub fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let said =
        Said { status: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) };
    assert!(!said.out.contains('\x1b') && !said.err.contains('\x1b'), "no control codes outside a terminal: {said:?}");
    said
}

/// The one JSON object on standard output.
pub fn json(said: &Said) -> serde_json::Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// Sends a signal to a running command.
pub fn signal(child: &Child, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(id, signal).unwrap();
}
