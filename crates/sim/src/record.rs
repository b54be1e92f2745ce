//! What one run of a scenario leaves behind: plain facts about jobs and attempts, from which every figure and picture is made.

use manyhands_proto::Unit;
use serde::Serialize;

/// One run of a scenario under one policy with one seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// The scenario's name.
    pub scenario: String,
    /// The policy's name.
    pub policy: String,
    /// The seed that decided everything.
    pub seed: u64,
    /// SHA-256 over the event log, in hexadecimal: equal for equal scenario, policy and seed.
    pub log_hash: String,
    /// Events handled.
    pub events: u64,
    /// Virtual time at the end, in milliseconds.
    pub end_ms: u64,
    /// Nodes in the world.
    pub nodes: u32,
    /// Every job, in the order of submission.
    pub jobs: Vec<JobRun>,
    /// Every lease, in the order in which they were granted.
    pub attempts: Vec<AttemptRun>,
    /// What no policy could beat in this world.
    pub bound: Bound,
    /// What scores cost, in a world with challenges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scoring: Option<Scoring>,
}

/// What benchmark scores cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Scoring {
    /// Challenges that were given out.
    pub challenges: u64,
    /// Milliseconds that honest nodes worked on challenges, met or not.
    pub challenge_ms: u64,
    /// Milliseconds that honest nodes worked on jobs, for nothing or not.
    pub work_ms: u64,
    /// Scores that gateways signed.
    pub signed: u64,
    /// Scores of other gateways that one fetched the receipt of, and checked.
    pub looked_into: u64,
    /// Scores that the whole network was told of.
    pub told: u64,
    /// Bytes of these, before what gossip adds.
    pub told_bytes: u64,
}

/// One job of a run. Times are virtual milliseconds since the run began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRun {
    /// Which gateway owns it.
    pub gateway: u32,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// When its receipt was delivered, if it was.
    pub finished_ms: Option<u64>,
    /// When the last segment's proof was verified.
    pub last_proof_ms: Option<u64>,
    /// Number of segments.
    pub segments: u32,
    /// Joins on the way from the segment proved last to the receipt: what is left, one after the other, when every segment is proved.
    pub joins_after_last_proof: Option<u32>,
    /// Bytes that the gateway sent for this job: segment blobs and receipts.
    pub sent_bytes: u64,
    /// Bytes that the gateway received for this job: receipts.
    pub received_bytes: u64,
}

/// One lease of a run. Times are virtual milliseconds since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AttemptRun {
    /// The job's place in [`Run::jobs`].
    pub job: u32,
    /// The work.
    pub unit: Unit,
    /// Which attempt at it, from 1.
    pub attempt: u32,
    /// The node's number.
    pub node: u32,
    /// Whether another lease of the unit was running when this one was granted.
    pub is_copy: bool,
    /// When it was granted.
    pub granted_ms: u64,
    /// Milliseconds that the gateway predicted for it.
    pub predicted_ms: u64,
    /// When the node's slot was free again: cancelled, handed over, given up, or the end of the run.
    pub freed_ms: u64,
    /// What became of it.
    pub end: End,
}

/// What became of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Its result was verified and counts.
    Won,
    /// Another attempt's result came first.
    Overtaken,
    /// It was slow by its node's own word, and let go as others would be done well before.
    LetGo,
    /// Its result was refused by the verifier.
    Refused,
    /// It went silent or passed its deadline.
    Lapsed,
    /// The node gave it back.
    GivenBack,
    /// The node vanished.
    Gone,
    /// The job had ended, or the run had.
    Dropped,
}

/// Lower bounds on the time of all jobs together, in milliseconds, from the speeds that the world really has, without noise, traffic,
/// churn or villains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// The network list bound T*: the least T in which the honest nodes can prove all segments when each proves one after the other.
    pub list_ms: u64,
    /// The same with lifts and joins as further work, and at least the critical path: one proof, one lift and the joins of a balanced
    /// tree on the fastest node.
    pub whole_ms: u64,
}
