//! A gateway and Bonsai's calls over plain memory, with something in every field that they may answer with. It takes whatever the door lets
//! through, so what it is asked for wrongly is the door's own fault or that of its description.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use manyhands_api::bonsai::Bonsai;
use manyhands_api::bonsai::types::{
    CreateSession, Quotas, SessionStatus, SnarkStatus, State, Stats, Tenant, Upload, Uuid,
};
use manyhands_api::types::{BackupEnd, BackupProgress, Backups, BegunBackup, Incident, JobSummary, NodeRuling, Scores};
use manyhands_api::{
    Gateway, GatewayStatus, JobRequest, JobStatus, Problem, ProblemKind, Submitted, Uploaded, serve_beside,
};
use manyhands_core::explain::{Explanation, Pace, Reason, Running, Wait};
use manyhands_core::job::UnitState;
use manyhands_core::sizing::{BoundBy, SizeOption};
use manyhands_core::view::{JobView, LeaseView, NodeView, ResultView, ScoreView};
use manyhands_core::{Outcome, Priority, Sizing, Tally, Verdict};
use manyhands_proto::message::Blame;
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{BlobRef, Digest, JobId, NodeId, Po2, Reference, Unit};
use manyhands_vbs::Source;
use tempfile::{NamedTempFile, TempDir};
use tokio::net::TcpListener;

use super::{BACKUP, JOB, SCORED, reference, score};

/// The one key.
pub const KEY: &str = "the-key-of-this-test";
const ZKVM: &str = "3.0.6";
const NODE: NodeId = NodeId([5; 32]);
const RECEIPT: &[u8] = b"a receipt";
/// What the description's examples name, beside [`JOB`].
const IMAGE: Digest = Digest([7; 32]);

fn session_id() -> Uuid {
    Uuid::from_random([7; 16])
}

/// A job or a session: it has gone on each time that somebody looks.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    looks: u32,
    is_stopped: bool,
    is_execution: bool,
}

/// What the examples name is done from the start, so that every call about it can succeed.
const DONE: Run = Run { looks: 3, is_stopped: false, is_execution: false };

#[derive(Default)]
struct Kept {
    jobs: BTreeMap<JobId, Run>,
    sessions: BTreeMap<Uuid, Run>,
    snarks: BTreeMap<Uuid, Run>,
    uploads: BTreeSet<String>,
    count: u32,
}

pub struct World {
    kept: Mutex<Kept>,
    spool: TempDir,
}

impl World {
    /// Serves one that has what the examples name.
    pub async fn serve() -> SocketAddr {
        let kept = Kept {
            jobs: [(JOB, DONE)].into(),
            sessions: [(session_id(), Run { is_execution: true, ..DONE })].into(),
            snarks: [(session_id(), DONE)].into(),
            uploads: [format!("{:?}", Upload::Image(IMAGE))].into(),
            count: 0,
        };
        let world = Arc::new(Self { kept: Mutex::new(kept), spool: TempDir::new().unwrap() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = manyhands_api::bonsai::routes(Arc::clone(&world));
        tokio::spawn(serve_beside(listener, world, calls, None, std::future::pending()));
        address
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    fn look(&self, job: JobId) -> Result<Run, Problem> {
        looked(&mut self.kept().jobs, &job, "job")
    }

    fn look_at_session(&self, id: Uuid) -> Result<Run, Problem> {
        looked(&mut self.kept().sessions, &id, "session")
    }

    fn look_at_snark(&self, id: Uuid) -> Result<Run, Problem> {
        looked(&mut self.kept().snarks, &id, "snark")
    }
}

impl Kept {
    /// Sixteen bytes that nothing else has.
    fn fresh(&mut self) -> [u8; 16] {
        self.count += 1;
        u128::from(self.count).to_be_bytes()
    }
}

/// One of these, which has gone on by then.
fn looked<Id: Ord>(runs: &mut BTreeMap<Id, Run>, id: &Id, what: &str) -> Result<Run, Problem> {
    let run = runs.get_mut(id).ok_or_else(|| Problem::not_found(format!("there is no such {what}")))?;
    run.looks += 1;
    Ok(*run)
}

fn phase(run: Run) -> &'static str {
    match run {
        Run { is_stopped: true, .. } => "failed",
        Run { looks: 0..=1, .. } => "open",
        Run { looks: 2, .. } => "assembling",
        Run { .. } => "done",
    }
}

fn sizing() -> Sizing {
    let option = |bound_by| SizeOption { po2: Po2::MAX, segments: u64::MAX, nodes: 2, total_ms: 3, bound_by };
    let options = all(BoundBy::Work, next_bound).into_iter().map(option).collect();
    Sizing { po2: Po2::MIN, user_cycles: 1, is_whole: false, options, why: "it is done first".to_owned() }
}

fn view(job: JobId, run: Run) -> JobView {
    // Everything that may be absent is, for the first look.
    let is_known = run.looks > 1;
    let units = all(Unit::Prove(0), next_unit);
    let lease = |unit| LeaseView { unit, attempt: 1, node: NODE, elapsed_ms: 2 };
    let result = |unit| ResultView { unit, attempt: 1, node: NODE, elapsed_ms: 2, receipt_bytes: 3 };
    JobView {
        job,
        phase: phase(run).to_owned(),
        error: run.is_stopped.then(|| "it was stopped".to_owned()),
        po2: Po2::MIN,
        is_surveyed: !is_known,
        sizing: is_known.then(sizing),
        outcome: if is_known { Outcome::Succinct } else { Outcome::Composite },
        priority: if is_known { Priority::High } else { Priority::Low },
        is_private: is_known,
        elapsed_ms: 5,
        segments: is_known.then_some(2),
        user_cycles: is_known.then_some(u64::MAX),
        total_cycles: is_known.then_some(7),
        keccaks: 0,
        keccak_cycles: 0,
        grid: all(UnitState::Waiting, next_state),
        units_done: 1,
        units_total: u32::MAX,
        leases: units.iter().copied().map(lease).collect(),
        results: units.into_iter().map(result).collect(),
        tally: Tally { leases: 9, copies: 1, wasted_leases: 2, wasted_ms: u64::MAX },
        eta_ms: is_known.then_some(9),
        waiting: (!is_known).then(|| "no node is connected".to_owned()),
    }
}

fn waits() -> Vec<Wait> {
    let kinds = all(UnitKind::Prove, next_kind).into_iter().cycle();
    let wait = |(reason, kind)| Wait {
        kind,
        po2: Po2::MIN,
        units: 1,
        copies: false,
        reason,
        why: "because".to_owned(),
        able: 1,
        nodes: vec![NODE],
    };
    all(Reason::Input, next_reason).into_iter().zip(kinds).map(wait).collect()
}

/// All of an enum. Each `next` says of every variant which one follows, so a new one does not compile until it has its place, and is answered
/// with then: schemathesis fails until `openapi.json` has it too.
fn all<T: Copy>(first: T, next: fn(T) -> Option<T>) -> Vec<T> {
    std::iter::successors(Some(first), |one| next(*one)).collect()
}

fn next_reason(reason: Reason) -> Option<Reason> {
    Some(match reason {
        Reason::Input => Reason::NoNode,
        Reason::NoNode => Reason::NotAllowed,
        Reason::NotAllowed => Reason::NotAble,
        Reason::NotAble => Reason::Taken { busy: 1, barred: 2, silent: 3, free_in_ms: None },
        Reason::Taken { busy, barred, silent, free_in_ms: None } => {
            Reason::Taken { busy, barred, silent, free_in_ms: Some(4) }
        }
        Reason::Taken { free_in_ms: Some(_), .. } => Reason::TooSlow { node: NODE, takes_ms: 1, limit_ms: 2 },
        Reason::TooSlow { .. } => Reason::Near { left_ms: 1 },
        Reason::Near { .. } => Reason::Budget { copies: 1, allowed: 2 },
        Reason::Budget { .. } => Reason::NoGain,
        Reason::NoGain => Reason::Withheld,
        Reason::Withheld => Reason::Due { in_ms: 1 },
        Reason::Due { .. } => return None,
    })
}

fn next_pace(pace: Pace) -> Option<Pace> {
    Some(match pace {
        Pace::OnTrial => Pace::InTime,
        Pace::InTime => Pace::Overtaken,
        Pace::Overtaken => Pace::Late,
        Pace::Late => Pace::Checking,
        Pace::Checking => return None,
    })
}

fn next_unit(unit: Unit) -> Option<Unit> {
    Some(match unit {
        Unit::Prove(_) => Unit::Lift(u32::MAX),
        Unit::Lift(_) => Unit::Join { start: 0, mid: 1, end: 2 },
        Unit::Join { .. } => Unit::Resolve { segments: 2, index: 0 },
        Unit::Resolve { .. } => Unit::Keccak(0),
        Unit::Keccak(_) => Unit::Union { start: 0, mid: 2, end: 3 },
        Unit::Union { .. } => return None,
    })
}

fn next_kind(kind: UnitKind) -> Option<UnitKind> {
    Some(match kind {
        UnitKind::Prove => UnitKind::Lift,
        UnitKind::Lift => UnitKind::Join,
        UnitKind::Join => UnitKind::Keccak,
        UnitKind::Keccak => return None,
    })
}

fn next_state(state: UnitState) -> Option<UnitState> {
    Some(match state {
        UnitState::Waiting => UnitState::Stored,
        UnitState::Stored => UnitState::Leased,
        UnitState::Leased => UnitState::Claimed,
        UnitState::Claimed => UnitState::Verified,
        UnitState::Verified => return None,
    })
}

fn next_blame(blame: Blame) -> Option<Blame> {
    Some(match blame {
        Blame::Us => Blame::Peer,
        Blame::Peer => Blame::Network,
        Blame::Network => return None,
    })
}

fn next_bound(bound: BoundBy) -> Option<BoundBy> {
    Some(match bound {
        BoundBy::Work => BoundBy::Traffic,
        BoundBy::Traffic => return None,
    })
}

impl Gateway for World {
    async fn upload_program(&self, bytes: Vec<u8>) -> Result<Uploaded, Problem> {
        // As every gateway does, whose programs have a head.
        if bytes.is_empty() {
            return Err(Problem::invalid("this is no program"));
        }
        Ok(Uploaded { blob: reference(&bytes), image_id: Some(IMAGE) })
    }

    fn spool(&self) -> &Path {
        self.spool.path()
    }

    async fn room(&self, _: u64, _: u64) -> Result<(), Problem> {
        Ok(())
    }

    async fn upload_input(&self, file: NamedTempFile, _: u64) -> Result<Uploaded, Problem> {
        Ok(Uploaded { blob: reference(&std::fs::read(file.path()).unwrap()), image_id: None })
    }

    async fn scores(&self) -> Result<Scores, Problem> {
        let scores = vec![score(Source::Own), score(Source::Named), score(Source::Stranger)];
        Ok(Scores { scores, total: u64::MAX })
    }

    /// One is there, and one cannot be fetched.
    async fn score_receipt(&self, receipt: Reference) -> Result<Vec<u8>, Problem> {
        match receipt {
            receipt if receipt == reference(SCORED).reference => Ok(SCORED.to_vec()),
            receipt if receipt.0[0] % 2 == 1 => Err(Problem::not_found("its node is not connected")),
            _ => Err(Problem::not_found("no score is of this receipt")),
        }
    }

    async fn rule(&self, _: NodeId, _: NodeRuling) -> Result<(), Problem> {
        Ok(())
    }

    async fn back_up(&self) -> Result<BegunBackup, Problem> {
        Ok(BegunBackup { name: BACKUP.to_owned() })
    }

    /// One that runs, one that has failed, one that is there.
    async fn backups(&self) -> Result<Backups, Problem> {
        let (name, looks) = (BACKUP.to_owned(), self.kept().fresh()[15]);
        let running = BackupProgress { name: name.clone(), done_bytes: 1, total_bytes: u64::MAX, elapsed_ms: 2 };
        let path = (looks % 3 == 1).then(|| format!("/b/{name}"));
        let error = (looks % 3 != 1).then(|| Problem::new(ProblemKind::NoSpace, "the disk is full"));
        let last = BackupEnd { name, path: path.clone(), size_bytes: 3, elapsed_ms: 4, error };
        Ok(Backups {
            folder: "/b".to_owned(),
            kept_max: 3,
            kept: path.into_iter().collect(),
            running: (looks % 2 == 0).then_some(running),
            last: (looks % 3 > 0).then_some(last),
        })
    }

    async fn submit(&self, request: JobRequest) -> Result<Submitted, Problem> {
        let mut kept = self.kept();
        let job = JobId(kept.fresh());
        kept.jobs.insert(job, Run::default());
        Ok(Submitted { job, po2: request.po2.unwrap_or(Po2::MIN) })
    }

    async fn job(&self, job: JobId) -> Result<JobStatus, Problem> {
        let view = view(job, self.look(job)?);
        let receipt = (view.phase == "done").then(|| reference(RECEIPT));
        let incident =
            |blame| Incident { node: NODE, lease: "prove 0".to_owned(), blame, reason: "it went away".to_owned() };
        let incidents = all(Blame::Us, next_blame).into_iter().map(incident).collect();
        Ok(JobStatus { view, image_id: IMAGE, receipt, incidents })
    }

    async fn explain(&self, job: JobId) -> Result<Explanation, Problem> {
        let said = Explanation::of_view(&view(job, self.look(job)?));
        let running = |pace| Running {
            unit: Unit::Prove(7),
            attempt: 2,
            node: NODE,
            elapsed_ms: 8,
            predicted_ms: 9,
            left_ms: 1,
            pace,
            copy: true,
        };
        let leases = all(Pace::OnTrial, next_pace).into_iter().map(running).collect();
        Ok(Explanation { waits: waits(), leases, leases_total: 41, ..said })
    }

    async fn abort(&self, job: JobId) -> Result<(), Problem> {
        let run = self.look(job)?;
        let mut kept = self.kept();
        match phase(run) {
            "open" | "assembling" => drop(kept.jobs.insert(job, Run { is_stopped: true, ..run })),
            // The examples go on having a job.
            _ if job == JOB => {}
            _ => drop(kept.jobs.remove(&job)),
        }
        Ok(())
    }

    async fn receipt(&self, job: JobId) -> Result<(BlobRef, Vec<u8>), Problem> {
        match phase(self.look(job)?) {
            "done" => Ok((reference(RECEIPT), RECEIPT.to_vec())),
            _ => Err(Problem::not_found("there is no receipt yet")),
        }
    }

    async fn log(&self, job: JobId) -> Result<Vec<u8>, Problem> {
        self.look(job).map(|_| b"<b>hello</b> \xff\n".to_vec())
    }

    async fn status(&self) -> Result<GatewayStatus, Problem> {
        let known = NodeView {
            node: NODE,
            connected: true,
            po2_max: Some(Po2::MAX),
            slots: Some(64),
            recursion: Some(true),
            zkvm: Some(ZKVM.to_owned()),
            valid: 1,
            offences: 2,
            blocked: Some("a wrong proof".to_owned()),
            blocked_ms: Some(3),
            verdict: Some(Verdict::Allowed),
            score: Some(ScoreView { po2: Po2::MIN, elapsed_ms: 9, source: Source::Named, left_ms: 10 }),
            challenged: Some(Po2::MIN),
        };
        let unknown = NodeView {
            po2_max: None,
            slots: None,
            recursion: None,
            zkvm: None,
            blocked: None,
            blocked_ms: None,
            verdict: None,
            score: None,
            challenged: None,
            ..known.clone()
        };
        let summary = |(job, run): (&JobId, &Run)| JobSummary {
            job: *job,
            phase: phase(*run).to_owned(),
            priority: Priority::Normal,
            units_done: 0,
            units_total: 1,
            note: run.is_stopped.then(|| "it was stopped".to_owned()),
        };
        Ok(GatewayStatus {
            version: "0".to_owned(),
            zkvm: ZKVM.to_owned(),
            peer_id: "p".to_owned(),
            node: NODE,
            addresses: vec!["/ip4/127.0.0.1/udp/1/quic-v1/p2p/p".to_owned()],
            recursion: true,
            store_used_bytes: 1,
            store_limit_bytes: u64::MAX,
            nodes: vec![known, unknown],
            jobs: self.kept().jobs.iter().map(summary).take(100).collect(),
        })
    }
}

impl Bonsai for World {
    async fn tenant(&self, key: Option<&str>) -> Result<Tenant, Problem> {
        match key {
            Some(KEY) => Ok(Tenant("somebody".to_owned())),
            _ => Err(Problem::new(ProblemKind::Unauthorized, "this key opens nothing here")),
        }
    }

    fn spool(&self) -> &Path {
        self.spool.path()
    }

    fn public_url(&self) -> Option<&str> {
        None
    }

    async fn has_image(&self, _: &Tenant, image: Digest) -> Result<bool, Problem> {
        Ok(self.kept().uploads.contains(&format!("{:?}", Upload::Image(image))))
    }

    async fn room(&self, _: &Tenant, _: u64) -> Result<u64, Problem> {
        Ok(1 << 40)
    }

    async fn keep(&self, _: &Tenant, upload: Upload, _: NamedTempFile, size_bytes: u64) -> Result<(), Problem> {
        if size_bytes == 0 && matches!(upload, Upload::Image(_)) {
            return Err(Problem::invalid("this is no program"));
        }
        self.kept().uploads.insert(format!("{upload:?}"));
        Ok(())
    }

    async fn forget(&self, _: &Tenant, upload: Upload) -> Result<(), Problem> {
        let was_there = self.kept().uploads.remove(&format!("{upload:?}"));
        if was_there { Ok(()) } else { Err(Problem::not_found("there is no such upload")) }
    }

    async fn create(&self, _: &Tenant, request: CreateSession) -> Result<Uuid, Problem> {
        // What every gateway looks at.
        let wrong = |what: &str| Problem::invalid(format!("{what} is wrong"));
        request.img.parse::<Digest>().map_err(|_| wrong("img"))?;
        let ids = request.assumptions.iter().chain(Some(&request.input).filter(|input| !input.is_empty()));
        for id in ids {
            id.parse::<Uuid>().map_err(|_| wrong("an id"))?;
        }
        if request.assumptions.len() > 256 {
            return Err(wrong("the number of assumptions"));
        }
        let mut kept = self.kept();
        let id = Uuid::from_random(kept.fresh());
        kept.sessions.insert(id, Run { is_execution: request.execute_only, ..Run::default() });
        Ok(id)
    }

    async fn session(&self, _: &Tenant, id: Uuid) -> Result<SessionStatus, Problem> {
        let run = self.look_at_session(id)?;
        let (state, error) = match (phase(run), run.looks % 2) {
            ("failed", 0) => (State::Aborted, Some("it was stopped".to_owned())),
            ("failed", _) => (State::Failed, Some("the guest panicked".to_owned())),
            ("done", _) => (State::Succeeded, None),
            _ => (State::Running, None),
        };
        let is_over = state != State::Running;
        Ok(SessionStatus {
            state,
            stage: if is_over { "" } else { "ProveSegments: 0/1" }.to_owned(),
            error,
            elapsed_s: f64::from(run.looks) / 3.0,
            stats: is_over.then_some(Stats { segments: 1, total_cycles: u64::MAX, cycles: 2 }),
            has_receipt: state == State::Succeeded,
        })
    }

    async fn session_log(&self, _: &Tenant, id: Uuid) -> Result<Vec<u8>, Problem> {
        self.look_at_session(id).map(|_| b"hello \xff".to_vec())
    }

    async fn stop(&self, _: &Tenant, id: Uuid) -> Result<(), Problem> {
        let run = self.look_at_session(id)?;
        if phase(run) != "done" {
            self.kept().sessions.insert(id, Run { is_stopped: true, ..run });
        }
        Ok(())
    }

    async fn journal(&self, _: &Tenant, id: Uuid) -> Result<Vec<u8>, Problem> {
        match self.look_at_session(id)? {
            Run { is_execution: true, .. } => Ok(b"a journal".to_vec()),
            Run { .. } => Err(Problem::not_found("its journal is in its receipt")),
        }
    }

    async fn session_receipt(&self, _: &Tenant, id: Uuid) -> Result<Vec<u8>, Problem> {
        match phase(self.look_at_session(id)?) {
            "done" => Ok(RECEIPT.to_vec()),
            _ => Err(Problem::not_found("there is no receipt yet")),
        }
    }

    async fn create_snark(&self, _: &Tenant, of: Uuid) -> Result<Uuid, Problem> {
        self.look_at_session(of)?;
        // Both of the described answers.
        if of != session_id() {
            return Err(Problem::new(ProblemKind::Unfit, "this gateway makes no Groth16 receipt of that"));
        }
        let mut kept = self.kept();
        let id = Uuid::from_random(kept.fresh());
        let is_stopped = kept.snarks.len().is_multiple_of(2);
        kept.snarks.insert(id, Run { is_stopped, ..Run::default() });
        Ok(id)
    }

    async fn snark(&self, _: &Tenant, id: Uuid) -> Result<SnarkStatus, Problem> {
        Ok(match phase(self.look_at_snark(id)?) {
            "failed" => SnarkStatus { state: State::Failed, error: Some("the prover failed".to_owned()) },
            "done" => SnarkStatus { state: State::Succeeded, error: None },
            _ => SnarkStatus { state: State::Running, error: None },
        })
    }

    async fn snark_receipt(&self, _: &Tenant, id: Uuid) -> Result<Vec<u8>, Problem> {
        match phase(self.look_at_snark(id)?) {
            "done" => Ok(RECEIPT.to_vec()),
            _ => Err(Problem::not_found("there is no receipt")),
        }
    }

    async fn quotas(&self, _: &Tenant) -> Result<Quotas, Problem> {
        Ok(Quotas {
            exec_cycle_limit: 1,
            concurrent_proofs: 2,
            cycle_budget: i64::MAX,
            cycle_usage: 0,
            dedicated_executor: 0,
            dedicated_gpu: 0,
        })
    }

    fn zkvm(&self) -> &str {
        ZKVM
    }
}
