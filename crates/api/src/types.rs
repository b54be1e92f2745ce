//! What travels over `/v1`, as JSON.

use manyhands_core::view::{JobView, NodeView};
use manyhands_core::{Outcome, Priority, Verdict};
use manyhands_proto::{BlobRef, Digest, JobId, NodeId, Po2, SignedScore};
use manyhands_vbs::Source;
use serde::{Deserialize, Serialize};

/// Where a gateway's HTTP door is if nobody says otherwise: loopback only, as it has no passwords yet.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:7171";

/// A header that every answer of a gateway carries, so that a client tells it from whatever else may listen on the port.
pub const SERVICE_HEADER: &str = "x-manyhands-api";

/// The value of [`SERVICE_HEADER`]: the version of the API.
pub const API_VERSION: u32 = 1;

/// A program or an input that is in the gateway's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Its Swarm reference and size.
    pub blob: BlobRef,
    /// The program's image id; absent for an input.
    pub image_id: Option<Digest>,
}

/// A job that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// The uploaded program.
    pub program: BlobRef,
    /// The uploaded input; absent means empty.
    pub input: Option<BlobRef>,
    /// Uploaded receipts of other programs that the guest relies on (`env::verify`): succinct ones, at most 256. None is not sent, for the
    /// reason that `priority` gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumptions: Vec<BlobRef>,
    /// Segment size; absent lets the gateway choose from its nodes.
    pub po2: Option<Po2>,
    /// The receipt that is wanted.
    pub outcome: Outcome,
    /// Cycles after which the guest is stopped; absent means the gateway's own limit.
    pub cycles_max: Option<u64>,
    /// Its share of the fleet beside other jobs; absent means the usual one. The usual one is not sent, so that a gateway of the version
    /// before, which refuses fields that it does not know, still takes the job.
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
    /// The peers that may work on it, as libp2p writes their ids; with none named, those that the gateway trusts. Its segments are encrypted then.
    /// Absent means that everybody may, and that they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<Vec<String>>,
}

impl JobRequest {
    /// A job for an uploaded program, without an input, for everybody, with a composite receipt: everything else as the gateway has it.
    pub const fn new(program: BlobRef) -> Self {
        Self {
            program,
            input: None,
            assumptions: Vec::new(),
            po2: None,
            outcome: Outcome::Composite,
            cycles_max: None,
            priority: Priority::Normal,
            private: None,
        }
    }
}

/// A job that was taken: it is on the gateway's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Its id.
    pub job: JobId,
    /// The segment size it is proved at.
    pub po2: Po2,
}

/// A job, with what the state machine does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// How far it is, who works on it, why it waits.
    pub view: JobView,
    /// The program's image id.
    pub image_id: Digest,
    /// The receipt, once there is one.
    pub receipt: Option<BlobRef>,
    /// Nodes that were refused or lost in this job, newest last, at most 100: a sentence each.
    pub incidents: Vec<Incident>,
}

/// A lease of a job that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Whose lease.
    pub node: NodeId,
    /// Which unit and attempt, for people.
    pub lease: String,
    /// `us`, `peer` or `network`.
    pub blame: manyhands_proto::message::Blame,
    /// Why.
    pub reason: String,
}

/// A gateway and its fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// The program's version.
    pub version: String,
    /// The zkVM version of its jobs.
    pub zkvm: String,
    /// Its peer id as libp2p writes it.
    pub peer_id: String,
    /// Its node id.
    pub node: NodeId,
    /// Where nodes can dial it, as multiaddresses with `/p2p`.
    pub addresses: Vec<String>,
    /// Whether its own worker has the recursion programs.
    pub recursion: bool,
    /// Bytes in its chunk store, without those that are only cached.
    pub store_used_bytes: u64,
    /// The store's limit.
    pub store_limit_bytes: u64,
    /// All nodes it has heard of.
    pub nodes: Vec<NodeView>,
    /// Its jobs, newest first, at most 100.
    pub jobs: Vec<JobSummary>,
}

/// What verifiers say of nodes; the answer of `GET /v1/scores`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// At most [`SCORES_SHOWN_MAX`] of those that count now: this gateway's own first, then those of verifiers that it believes, then those
    /// of strangers; the newest first.
    pub scores: Vec<KnownScore>,
    /// How many there are.
    pub total: u64,
}

/// Scores in one answer. Each is some 800 bytes.
pub const SCORES_SHOWN_MAX: usize = 2_000;

/// A score as a gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownScore {
    /// Whose word it is, as this gateway sees it.
    pub source: Source,
    /// Cycles that the node proves in a second, with all that comes to it.
    pub cycles_per_s: u64,
    /// Seconds for which it still counts.
    pub expires_in_s: u64,
    /// The verifier's word, with his signature.
    pub signed: SignedScore,
}

/// What the gateway's operator says of a node; the body of `PUT /v1/nodes/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRuling {
    /// The word. Null takes back what was said before; what the node did is forgiven either way. It must be there: who forgets it
    /// forgives nobody.
    #[serde(deserialize_with = "Option::deserialize")]
    pub verdict: Option<Verdict>,
    /// Why, for whoever looks at it later, and for the node: at most [`REASON_BYTES_MAX`].
    #[serde(default)]
    pub reason: String,
}

/// Longest reason of a [`NodeRuling`], in bytes: it goes to the node in one sentence.
pub const REASON_BYTES_MAX: usize = 160;

/// One line of a job list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Its id.
    pub job: JobId,
    /// `open`, `assembling`, `done` or `failed`.
    pub phase: String,
    /// Its share of the fleet beside other jobs.
    #[serde(default)]
    pub priority: Priority,
    /// Units verified.
    pub units_done: u32,
    /// Units known.
    pub units_total: u32,
    /// Why nothing goes on, or why it failed.
    pub note: Option<String>,
}

/// A gateway's back-ups; the answer of `GET /v1/backups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backups {
    /// The folder that they are in, on the gateway's machine.
    pub folder: String,
    /// How many are kept at most; the oldest go.
    pub kept_max: u32,
    /// Those that are whole, as paths, the newest first.
    pub kept: Vec<String>,
    /// The one under way.
    pub running: Option<BackupProgress>,
    /// How the last one ended that this gateway has begun since it was started.
    pub last: Option<BackupEnd>,
}

/// A back-up that has begun; the answer of `POST /v1/backups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BegunBackup {
    /// Its name: the time at which it was begun, in UTC. Its folder is called so when it is whole.
    pub name: String,
}

/// How far a back-up is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupProgress {
    /// Its name.
    pub name: String,
    /// Bytes that are copied.
    pub done_bytes: u64,
    /// Bytes to be copied, about; 0 while they are not known yet.
    pub total_bytes: u64,
    /// Milliseconds since it was begun.
    pub elapsed_ms: u64,
}

/// How a back-up ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupEnd {
    /// Its name.
    pub name: String,
    /// Where it is; absent if it failed.
    pub path: Option<String>,
    /// Its size in bytes; 0 if it failed.
    pub size_bytes: u64,
    /// Milliseconds that it took.
    pub elapsed_ms: u64,
    /// Why there is none.
    pub error: Option<Problem>,
}

/// Why a request was not granted; the body of every answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The sort of problem.
    pub kind: ProblemKind,
    /// What, why, and what to do, in a sentence or two.
    pub message: String,
}

/// The sort of a [`Problem`]; each has its own HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// 400: the request itself is wrong.
    Invalid,
    /// 401: the key opens nothing here.
    Unauthorized,
    /// 403: a browser was made to ask for somebody else.
    Forbidden,
    /// 404: no such job, no such path, or no receipt yet.
    NotFound,
    /// 405: the path is right, the method is not.
    NotAllowed,
    /// 408: the request came too slowly.
    TooSlow,
    /// 409: right in itself, but not with what is here (a segment size that no node offers, a back-up folder that is another gateway's).
    Unfit,
    /// 413: larger than the gateway takes.
    TooLarge,
    /// 429: as much at the same time as the key may have.
    TooMany,
    /// 500: the gateway's own fault.
    Internal,
    /// 503: too much at once; the same request may be granted later.
    Busy,
    /// 507: the store is at its limit, or the disk is full.
    NoSpace,
}

impl ProblemKind {
    /// Its HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::NotAllowed => 405,
            Self::TooSlow => 408,
            Self::Unfit => 409,
            Self::TooLarge => 413,
            Self::TooMany => 429,
            Self::Internal => 500,
            Self::Busy => 503,
            Self::NoSpace => 507,
        }
    }
}

impl Problem {
    /// A problem with its sentence.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Invalid, message)
    }

    /// There is no such thing, or not yet.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, message)
    }

    /// The gateway's own fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Internal, message)
    }

    /// The gateway ends while it is asked.
    pub fn stopping() -> Self {
        Self::internal("the gateway is stopping; try again when it is back")
    }

    /// Whether it is that one: then nothing is wrong with what was asked.
    pub fn is_stopping(&self) -> bool {
        *self == Self::stopping()
    }

    /// The gateway's disk is full or failed. `what` begins the sentence.
    pub fn of_disk(what: &str, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ProblemKind::NoSpace,
            _ => ProblemKind::Internal,
        };
        Self::new(kind, format!("{what}: {error}"))
    }
}

/// That a gateway is there and takes requests; the answer of `/v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `manyhands`, so that a stranger on the port is told from a gateway.
    pub service: String,
    /// The version of the API, 1.
    pub api: u32,
}
