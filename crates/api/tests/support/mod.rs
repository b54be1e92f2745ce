//! A gateway that keeps what it is given and says what it is told, behind the real door on a real socket.
#![allow(dead_code)]

pub mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use manyhands_api::types::{Backups, BegunBackup, KnownScore, NodeRuling, Scores};
use manyhands_api::{
    Gateway, GatewayStatus, JobRequest, JobStatus, Problem, ProblemKind, Submitted, Uploaded, serve_beside,
};
use manyhands_core::explain::{Explanation, Pace, Reason, Running, Wait};
use manyhands_core::view::JobView;
use manyhands_core::{Outcome, Priority};
use manyhands_proto::score::{Signature, Work};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{Binding, BlobRef, Digest, JobId, NodeId, Po2, Reference, Score, Seed, SignedScore, Unit};
use manyhands_vbs::Source;
use tempfile::{NamedTempFile, TempDir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const JOB: JobId = JobId([7; 16]);
pub const BACKUP: &str = "2026-01-31T12-00-00Z";

/// A folder that inputs come into.
struct Spool(TempDir);

impl Default for Spool {
    fn default() -> Self {
        Self(TempDir::new().unwrap())
    }
}

#[derive(Default)]
pub struct Fake {
    spool: Spool,
    pub uploads: Mutex<Vec<Vec<u8>>>,
    pub jobs: Mutex<Vec<JobRequest>>,
    pub receipts: Mutex<BTreeMap<JobId, Vec<u8>>>,
    pub aborted: Mutex<Vec<JobId>>,
    pub rulings: Mutex<Vec<(String, NodeRuling)>>,
    pub refusal: Mutex<Option<Problem>>,
    /// Room for inputs, if it is bounded.
    pub room_bytes: Mutex<Option<u64>>,
}

pub fn reference(bytes: &[u8]) -> BlobRef {
    BlobRef { reference: Reference([bytes.len() as u8; 32]), size_bytes: bytes.len() as u64 }
}

/// What a score of these tests is of.
pub const SCORED: &[u8] = b"a receipt";

/// A score with something in every field.
pub fn score(source: Source) -> KnownScore {
    let score = Score {
        peer: NodeId([1; 32]),
        verifier: NodeId([2; 32]),
        po2: Po2::MIN,
        elapsed_ms: 28_000,
        receipt: reference(SCORED),
        work: if source == Source::Own { Work::Job } else { Work::Benchmark },
        index: 3,
        binding: Binding { seed: Seed([4; 16]), epoch: 5 },
        issued_s: 6,
        expires_s: 7,
    };
    let signed = SignedScore { score, signature: Signature([8; 64]) };
    KnownScore { source, cycles_per_s: score.cycles_per_s(), expires_in_s: 60, signed }
}

impl Fake {
    fn keep(&self, bytes: Vec<u8>, image_id: Option<Digest>) -> Result<Uploaded, Problem> {
        let blob = reference(&bytes);
        self.uploads.lock().unwrap().push(bytes);
        Ok(Uploaded { blob, image_id })
    }
}

impl Gateway for Fake {
    async fn upload_program(&self, bytes: Vec<u8>) -> Result<Uploaded, Problem> {
        self.keep(bytes, Some(Digest([1; 32])))
    }

    fn spool(&self) -> &Path {
        self.spool.0.path()
    }

    async fn room(&self, _: u64, coming_bytes: u64) -> Result<(), Problem> {
        let room_bytes = self.room_bytes.lock().unwrap().unwrap_or(u64::MAX);
        let full = || Problem::new(ProblemKind::NoSpace, "the disk is full; free some space");
        if coming_bytes <= room_bytes { Ok(()) } else { Err(full()) }
    }

    async fn upload_input(&self, file: NamedTempFile, size_bytes: u64) -> Result<Uploaded, Problem> {
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(bytes.len() as u64, size_bytes);
        self.keep(bytes, None)
    }

    async fn scores(&self) -> Result<Scores, Problem> {
        Ok(Scores { scores: vec![score(Source::Own)], total: 1 })
    }

    async fn score_receipt(&self, receipt: Reference) -> Result<Vec<u8>, Problem> {
        if receipt != reference(SCORED).reference {
            return Err(Problem::not_found("no score is of this receipt"));
        }
        Ok(SCORED.to_vec())
    }

    async fn rule(&self, node: NodeId, ruling: NodeRuling) -> Result<(), Problem> {
        self.rulings.lock().unwrap().push((node.to_string(), ruling));
        Ok(())
    }

    async fn back_up(&self) -> Result<BegunBackup, Problem> {
        Ok(BegunBackup { name: BACKUP.to_owned() })
    }

    async fn backups(&self) -> Result<Backups, Problem> {
        Ok(Backups { folder: "/b".to_owned(), kept_max: 3, kept: Vec::new(), running: None, last: None })
    }

    async fn submit(&self, request: JobRequest) -> Result<Submitted, Problem> {
        if let Some(problem) = self.refusal.lock().unwrap().clone() {
            return Err(problem);
        }
        let po2 = request.po2.unwrap_or(Po2::MIN);
        self.jobs.lock().unwrap().push(request);
        Ok(Submitted { job: JOB, po2 })
    }

    async fn job(&self, job: JobId) -> Result<JobStatus, Problem> {
        if job != JOB {
            return Err(Problem::not_found(format!("there is no job {job}")));
        }
        let is_aborted = self.aborted.lock().unwrap().contains(&job);
        let view = JobView {
            job,
            phase: if is_aborted { "failed" } else { "open" }.to_owned(),
            error: is_aborted.then(|| "it was stopped".to_owned()),
            po2: Po2::MIN,
            is_surveyed: false,
            sizing: None,
            outcome: Outcome::Composite,
            priority: Priority::Normal,
            is_private: false,
            elapsed_ms: 5,
            segments: None,
            user_cycles: None,
            total_cycles: None,
            keccaks: 0,
            keccak_cycles: 0,
            grid: Vec::new(),
            units_done: 0,
            units_total: 0,
            leases: Vec::new(),
            results: Vec::new(),
            tally: manyhands_core::Tally::default(),
            eta_ms: None,
            waiting: Some("no node is connected".to_owned()),
        };
        Ok(JobStatus { view, image_id: Digest([1; 32]), receipt: None, incidents: Vec::new() })
    }

    async fn explain(&self, job: JobId) -> Result<Explanation, Problem> {
        let reason = Reason::Taken { busy: 2, barred: 0, silent: 1, free_in_ms: None };
        let wait = Wait {
            kind: UnitKind::Lift,
            po2: Po2::MIN,
            units: 3,
            copies: false,
            reason,
            why: "no able node waits".into(),
            able: 3,
            nodes: vec![NodeId([4; 32])],
        };
        let running = Running {
            unit: Unit::Prove(7),
            attempt: 2,
            node: NodeId([5; 32]),
            elapsed_ms: 8,
            predicted_ms: 9,
            left_ms: 1,
            pace: Pace::InTime,
            copy: true,
        };
        let said = Explanation::of_view(&self.job(job).await?.view);
        let waits = vec![wait.clone(), Wait { reason: Reason::NoNode, ..wait }];
        Ok(Explanation { waits, leases: vec![running], leases_total: 41, ..said })
    }

    async fn abort(&self, job: JobId) -> Result<(), Problem> {
        self.aborted.lock().unwrap().push(job);
        Ok(())
    }

    async fn receipt(&self, job: JobId) -> Result<(BlobRef, Vec<u8>), Problem> {
        let receipts = self.receipts.lock().unwrap();
        let bytes = receipts.get(&job).cloned().ok_or_else(|| Problem::not_found("there is no receipt yet"))?;
        Ok((reference(&bytes), bytes))
    }

    async fn log(&self, _: JobId) -> Result<Vec<u8>, Problem> {
        Ok(b"<b>hello</b>\n".to_vec())
    }

    async fn status(&self) -> Result<GatewayStatus, Problem> {
        Ok(GatewayStatus {
            version: "0".to_owned(),
            zkvm: "z".to_owned(),
            peer_id: "p".to_owned(),
            node: NodeId([2; 32]),
            addresses: Vec::new(),
            recursion: false,
            store_used_bytes: 1,
            store_limit_bytes: 2,
            nodes: Vec::new(),
            jobs: Vec::new(),
        })
    }
}

/// A served fake.
pub struct Served {
    pub fake: Arc<Fake>,
    pub address: SocketAddr,
    pub stop: oneshot::Sender<()>,
    pub task: JoinHandle<std::io::Result<()>>,
}

pub async fn start() -> Served {
    start_beside(axum::Router::new(), None).await
}

/// As [`start`], with other calls at the same door, and a public name for them.
pub async fn start_beside(beside: axum::Router, public_host: Option<&str>) -> Served {
    let public_host = public_host.map(str::to_owned);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let fake = Arc::new(Fake::default());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(serve_beside(listener, Arc::clone(&fake), beside, public_host, async {
        let _ = stopped.await;
    }));
    Served { fake, address, stop, task }
}

impl Served {
    /// Sends raw bytes, as no client of ours would, and reads until the gateway closes.
    pub async fn raw(&self, head: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = head.replace("HOST", &self.address.to_string());
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The status and the problem that raw bytes are answered with.
    pub async fn problem(&self, head: &str, body: &[u8]) -> (u16, Problem) {
        let answer = self.raw(head, body).await;
        let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or_default();
        let json = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let problem =
            serde_json::from_str(json).unwrap_or_else(|_| Problem::new(ProblemKind::Internal, answer.clone()));
        (status, problem)
    }
}
