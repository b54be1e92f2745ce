//! One value of every variant of every message, under the name that its vector has.

use manyhands_proto::codec::Checked;
use manyhands_proto::message::{
    Bid, BlobKey, Capabilities, FailReason, Holder, JobNotice, Lease, Request, Response, Stage, Timing,
};
use manyhands_proto::score::{Signature, Work};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::worker::{Execution, Failure, GuestInput, Identity, KeccakReport, Report, SegmentReport, Task};
use manyhands_proto::{
    Binding, BlobRef, DecodeError, Digest, JobId, LeaseId, NodeId, Nonce, Po2, Reference, Score, Seed, SignedScore,
    Unit, decode, encode,
};
use serde_bytes::ByteBuf;

/// A message of any type, encoded and decoded as its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    Request(Request),
    Response(Response),
    Notice(JobNotice),
    Score(SignedScore),
    Task(Task),
    Report(Report),
}

impl Sample {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Request(message) => encode(message),
            Self::Response(message) => encode(message),
            Self::Notice(message) => encode(message),
            Self::Score(message) => encode(message),
            Self::Task(message) => encode(message),
            Self::Report(message) => encode(message),
        }
    }

    /// Reads bytes as a message of the same type.
    pub fn decode(&self, bytes: &[u8]) -> Result<Self, DecodeError> {
        const LIMIT: usize = 1 << 20;
        match self {
            Self::Request(_) => decode(bytes, LIMIT).map(Self::Request),
            Self::Response(_) => decode(bytes, LIMIT).map(Self::Response),
            Self::Notice(_) => decode(bytes, LIMIT).map(Self::Notice),
            Self::Score(_) => decode(bytes, LIMIT).map(Self::Score),
            Self::Task(_) => decode(bytes, LIMIT).map(Self::Task),
            Self::Report(_) => decode(bytes, LIMIT).map(Self::Report),
        }
    }

    pub fn check(&self) -> Result<(), DecodeError> {
        match self {
            Self::Request(message) => message.check(),
            Self::Response(message) => message.check(),
            Self::Notice(message) => message.check(),
            Self::Score(message) => message.check(),
            Self::Task(message) => message.check(),
            Self::Report(message) => message.check(),
        }
    }
}

/// Names every variant of a type in a match without a wildcard, so that a new variant does not compile until it has a name, and
/// lists the names, so that a new name fails the tests until it has a vector.
macro_rules! variants {
    ($list:ident, $function:ident, $type:ty, { $($pattern:pat $(if $guard:expr)? => $name:literal,)+ }) => {
        pub const $list: &[&str] = &[$($name),+];

        pub fn $function(value: &$type) -> &'static str {
            match value {
                $($pattern $(if $guard)? => $name,)+
            }
        }
    };
}

variants!(REQUESTS, request_name, Request, {
    Request::Hello(_) => "request.hello",
    Request::Bid(Bid { score: None, .. }) => "request.bid",
    Request::Bid(Bid { score: Some(_), .. }) => "request.bid.scored",
    Request::Heartbeat { stage: Stage::Fetch, .. } => "request.heartbeat.fetch",
    Request::Heartbeat { stage: Stage::Work, .. } => "request.heartbeat.work",
    Request::Heartbeat { stage: Stage::Store, .. } => "request.heartbeat.store",
    Request::Done { .. } => "request.done",
    Request::Fail { reason: FailReason::Fetch(_), .. } => "request.fail.fetch",
    Request::Fail { reason: FailReason::Worker(_), .. } => "request.fail.worker",
    Request::Fail { reason: FailReason::Leaving, .. } => "request.fail.leaving",
    Request::Cancel(_) => "request.cancel",
});

variants!(RESPONSES, response_name, Response, {
    Response::Ok => "response.ok",
    Response::Lease(lease) if matches!(lease.id.unit, Unit::Prove(_)) => "response.lease.prove",
    Response::Lease(lease) if matches!(lease.id.unit, Unit::Lift(_)) => "response.lease.lift",
    Response::Lease(lease) if matches!(lease.id.unit, Unit::Join { .. }) => "response.lease.join",
    Response::Lease(lease) if matches!(lease.id.unit, Unit::Keccak(_)) => "response.lease.keccak",
    Response::Lease(lease) if matches!(lease.id.unit, Unit::Union { .. }) => "response.lease.union",
    Response::Lease(_) => "response.lease.resolve",
    Response::Wait { .. } => "response.wait",
    Response::Stale => "response.stale",
    Response::Refused { .. } => "response.refused",
    Response::Scored(_) => "response.scored",
});

variants!(SCORES, score_name, SignedScore, {
    SignedScore { .. } => "score",
});

variants!(NOTICES, notice_name, JobNotice, {
    JobNotice { .. } => "notice",
});

variants!(TASKS, task_name, Task, {
    Task::Identify => "task.identify",
    Task::Execute { input: GuestInput::Bytes(_), .. } => "task.execute",
    Task::Execute { input: GuestInput::File(_), .. } => "task.execute.file",
    Task::Prove { .. } => "task.prove",
    Task::Lift { .. } => "task.lift",
    Task::Join { .. } => "task.join",
    Task::Resolve { .. } => "task.resolve",
    Task::Keccak { .. } => "task.keccak",
    Task::Union { .. } => "task.union",
    Task::Shrink { .. } => "task.shrink",
});

variants!(REPORTS, report_name, Report, {
    Report::Identity(_) => "report.identity",
    Report::Segment(_) => "report.segment",
    Report::Log { .. } => "report.log",
    Report::Progress { .. } => "report.progress",
    Report::Executed(_) => "report.executed",
    Report::Receipt { .. } => "report.receipt",
    Report::Failed(Failure::Program(_)) => "report.failed.program",
    Report::Failed(Failure::Guest(_)) => "report.failed.guest",
    Report::Failed(Failure::CycleLimit { .. }) => "report.failed.cycle_limit",
    Report::Failed(Failure::Input(_)) => "report.failed.input",
    Report::Failed(Failure::NoRecursion) => "report.failed.no_recursion",
    Report::Failed(Failure::Unsupported(_)) => "report.failed.unsupported",
    Report::Failed(Failure::Prover(_)) => "report.failed.prover",
    Report::Keccak(_) => "report.keccak",
});

pub fn name(sample: &Sample) -> &'static str {
    match sample {
        Sample::Request(message) => request_name(message),
        Sample::Response(message) => response_name(message),
        Sample::Notice(message) => notice_name(message),
        Sample::Score(message) => score_name(message),
        Sample::Task(message) => task_name(message),
        Sample::Report(message) => report_name(message),
    }
}

/// Every name that must have a vector.
pub fn names() -> impl Iterator<Item = &'static str> {
    [REQUESTS, RESPONSES, NOTICES, SCORES, TASKS, REPORTS].into_iter().flatten().copied()
}

/// `first`, `first + 1`, … : bytes that show where they went.
fn run<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|i| first + i as u8)
}

pub fn po2(number: u8) -> Po2 {
    Po2::try_from(number).unwrap()
}

pub fn blob() -> BlobRef {
    BlobRef { reference: Reference(run(0x40)), size_bytes: 221_000 }
}

pub fn holder() -> Holder {
    let addresses = ["/ip4/10.0.0.1/tcp/4001", "/ip6/::1/udp/4001/quic-v1"].map(str::to_owned).into();
    Holder { node: NodeId(run(0)), addresses }
}

pub const RESOLVE: Unit = Unit::Resolve { segments: 128, index: 1 };
pub const JOIN: Unit = Unit::Join { start: 0, mid: 127, end: 128 };

pub fn lease_id(unit: Unit, attempt: u32) -> LeaseId {
    LeaseId { job: JobId(run(0xa0)), unit, attempt }
}

pub fn capabilities() -> Capabilities {
    Capabilities {
        zkvm: "risc0 3.0.6".to_owned(),
        po2_max: po2(20),
        memory_bytes: 8 << 30,
        slots: 2,
        cores: 300,
        recursion: true,
        timings: vec![
            Timing { kind: UnitKind::Prove, po2: po2(16), elapsed_ms: 28_000 },
            Timing { kind: UnitKind::Join, po2: po2(24), elapsed_ms: u64::MAX },
            Timing { kind: UnitKind::Keccak, po2: po2(14), elapsed_ms: 70_000 },
        ],
    }
}

fn nonce() -> Nonce {
    Nonce { log: run(0x60), job: u64::MAX, segment: 300 }
}

pub fn lease(unit: Unit, size: u8) -> Lease {
    Lease {
        id: lease_id(unit, 2),
        inputs: vec![blob(); unit.inputs()],
        key: unit.is_first().then(|| BlobKey(run(0xa0))),
        po2: po2(size),
        nonce: nonce(),
        deadline_ms: 114_000,
        heartbeat_ms: 5_000,
        holders: vec![holder()],
    }
}

/// The binding's epoch is that of the time at which the score was issued.
pub fn score() -> SignedScore {
    let score = Score {
        peer: NodeId(run(0)),
        verifier: NodeId(run(0x20)),
        po2: po2(19),
        elapsed_ms: 249_000,
        receipt: blob(),
        work: Work::Job,
        index: 300,
        binding: Binding { seed: Seed(run(0xa0)), epoch: 248_000 },
        issued_s: 1_785_600_100,
        expires_s: 1_785_607_300,
    };
    SignedScore { score, signature: Signature(run(0x60)) }
}

fn requests() -> Vec<Request> {
    let id = lease_id(Unit::Prove(300), 1);
    let fail = |reason| Request::Fail { lease: id, reason };
    vec![
        Request::Hello(capabilities()),
        Request::Bid(Bid { capabilities: capabilities(), slots_free: 1, score: None }),
        Request::Bid(Bid { capabilities: capabilities(), slots_free: 1, score: Some(Box::new(score())) }),
        Request::Heartbeat { lease: id, stage: Stage::Fetch, remaining_ms: None },
        Request::Heartbeat { lease: lease_id(Unit::Lift(0), 1), stage: Stage::Work, remaining_ms: Some(90_000) },
        Request::Heartbeat { lease: lease_id(JOIN, u32::MAX), stage: Stage::Store, remaining_ms: Some(0) },
        Request::Done { lease: id, receipt: blob(), elapsed_ms: 27_500 },
        fail(FailReason::Fetch("chunk 3 is not there".to_owned())),
        fail(FailReason::Worker("not enough memory: über 4 GB".to_owned())),
        fail(FailReason::Leaving),
        Request::Cancel(lease_id(JOIN, 3)),
    ]
}

fn responses() -> Vec<Response> {
    vec![
        Response::Ok,
        Response::Lease(Box::new(lease(Unit::Prove(300), 16))),
        Response::Lease(Box::new(lease(Unit::Lift(0), 14))),
        Response::Lease(Box::new(lease(JOIN, 24))),
        Response::Lease(Box::new(lease(RESOLVE, 16))),
        Response::Lease(Box::new(lease(Unit::Keccak(300), 14))),
        Response::Lease(Box::new(lease(Unit::Union { start: 0, mid: 4, end: 6 }, 14))),
        Response::Wait { retry_ms: 10_000 },
        Response::Stale,
        Response::Refused { reason: "no heartbeat for 25 s".to_owned(), retry_ms: 60_000 },
        Response::Scored(Box::new(score())),
    ]
}

fn bytes(bytes: &[u8]) -> ByteBuf {
    ByteBuf::from(bytes)
}

fn tasks() -> Vec<Task> {
    vec![
        Task::Identify,
        Task::Execute {
            program: bytes(b"R0BF program"),
            input: GuestInput::Bytes(bytes(b"")),
            assumptions: vec![Digest(run(0x20))],
            po2: po2(16),
            cycles_max: 1 << 40,
            blobs: true,
        },
        Task::Execute {
            program: bytes(b"R0BF program"),
            input: GuestInput::File("/tmp/input".to_owned()),
            assumptions: Vec::new(),
            po2: po2(14),
            cycles_max: 1,
            blobs: false,
        },
        Task::Prove { segment: bytes(&run::<200>(0)), nonce: nonce() },
        Task::Lift { receipt: bytes(b"receipt") },
        Task::Join { left: bytes(b"left"), right: bytes(b"right") },
        Task::Resolve { conditional: bytes(b"conditional"), assumption: bytes(b"assumption") },
        Task::Keccak { request: bytes(b"request") },
        Task::Union { left: bytes(b"left"), right: bytes(b"right") },
        Task::Shrink { receipt: bytes(b"succinct") },
    ]
}

fn reports() -> Vec<Report> {
    let segment = SegmentReport {
        index: 7,
        po2: po2(15),
        user_cycles: 30_000,
        claim: bytes(b"claim"),
        blob: bytes(b"blob"),
        blob_bytes: 412_345,
    };
    let execution = Execution {
        image_id: Digest(run(0x20)),
        segments: 8,
        user_cycles: 500_000,
        total_cycles: 524_288,
        journal: bytes(b"journal"),
    };
    let mut reports = vec![
        Report::Identity(Identity { zkvm: "risc0 3.0.6".to_owned(), recursion: false }),
        Report::Segment(segment),
        Report::Log { stderr: true, bytes: bytes(b"warning\n\xff") },
        Report::Progress { cpu_ms: 12_000 },
        Report::Executed(Box::new(execution)),
        Report::Receipt { receipt: bytes(b"receipt"), elapsed_ms: 27_500 },
    ];
    let failures = [
        Failure::Program("no magic".to_owned()),
        Failure::Guest("panicked at src/main.rs:3:5:\nno".to_owned()),
        Failure::CycleLimit { cycles_max: 1 << 20 },
        Failure::Input("not a segment".to_owned()),
        Failure::NoRecursion,
        Failure::Unsupported("assumptions".to_owned()),
        Failure::Prover("out of memory".to_owned()),
    ];
    reports.extend(failures.into_iter().map(Report::Failed));
    let claim = Digest(run(0x20));
    reports.push(Report::Keccak(KeccakReport {
        index: 2,
        po2: po2(14),
        claim,
        blob: bytes(b"blob"),
        blob_bytes: 16_205,
    }));
    reports
}

/// Every sample.
pub fn samples() -> Vec<Sample> {
    let notice = JobNotice {
        job: JobId(run(0xa0)),
        gateway: holder(),
        zkvm: "risc0 3.0.6".to_owned(),
        po2: po2(16),
        recursion: false,
    };
    let messages = requests().into_iter().map(Sample::Request).chain(responses().into_iter().map(Sample::Response));
    let frames = tasks().into_iter().map(Sample::Task).chain(reports().into_iter().map(Sample::Report));
    messages.chain([Sample::Notice(notice), Sample::Score(score())]).chain(frames).collect()
}
