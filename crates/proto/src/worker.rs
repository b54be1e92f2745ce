//! Frames between a daemon and its worker process.
//!
//! Each frame is a little-endian `u32` length and that many bytes of postcard. The daemon writes [`Task`]s to the worker's stdin, one
//! at a time, and reads [`Report`]s from its stdout until a final one ([`Report::is_final`]). To cancel a task the daemon kills the
//! process: a worker holds nothing that must outlive a task.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf as Bytes;

use crate::codec::Checked;
use crate::limits::ASSUMPTIONS_MAX;
use crate::{Digest, Nonce, Po2};

/// What a worker is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Say what the worker is: answered by [`Report::Identity`].
    Identify,
    /// Run a guest and cut it into segments: any number of [`Report::Segment`], [`Report::Keccak`], [`Report::Log`] and
    /// [`Report::Progress`], then [`Report::Executed`].
    Execute {
        /// The program binary (`R0BF`).
        program: Bytes,
        /// What the guest reads from its input.
        input: GuestInput,
        /// The claims that the guest may rely on (`env::verify`): their receipts are there.
        #[serde(deserialize_with = "crate::bounded::list::<ASSUMPTIONS_MAX, _, _>")]
        assumptions: Vec<Digest>,
        /// Segment size.
        po2: Po2,
        /// Cycles after which the guest is stopped: its own, or those of its keccak requests, each [`KECCAK_WEIGHT`](crate::limits::KECCAK_WEIGHT) times.
        cycles_max: u64,
        /// Whether segment blobs are wanted (`prove`) or only their sizes (`segment`).
        blobs: bool,
    },
    /// Prove a segment: [`Report::Receipt`].
    Prove {
        /// The segment blob.
        segment: Bytes,
        /// The nonce to prove it under.
        nonce: Nonce,
    },
    /// Lift a segment's proof: [`Report::Receipt`].
    Lift {
        /// The proof.
        receipt: Bytes,
    },
    /// Join two neighbours: [`Report::Receipt`].
    Join {
        /// The earlier one.
        left: Bytes,
        /// The later one.
        right: Bytes,
    },
    /// Resolve the first assumption of a range: [`Report::Receipt`].
    Resolve {
        /// The range's receipt.
        conditional: Bytes,
        /// The receipt that proves the assumption.
        assumption: Bytes,
    },
    /// Prove a guest's keccak request and lift the proof: [`Report::Receipt`].
    Keccak {
        /// The request's blob.
        request: Bytes,
    },
    /// Unite the receipts of two ranges of keccak requests: [`Report::Receipt`].
    Union {
        /// The earlier one.
        left: Bytes,
        /// The later one.
        right: Bytes,
    },
    /// Make a Groth16 receipt of a whole succinct one: [`Report::Receipt`]. Only a gateway asks for it, of its own worker.
    Shrink {
        /// The succinct receipt as people have it, with its journal.
        receipt: Bytes,
    },
}

/// What a guest reads from its input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestInput {
    /// These bytes.
    Bytes(Bytes),
    /// A file on this machine, read as the guest asks for it.
    File(String),
}

impl Default for GuestInput {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Vec<u8>> for GuestInput {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Bytes::from(bytes))
    }
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// What the worker is. Final.
    Identity(Identity),
    /// The guest finished a segment; comes while it still runs.
    Segment(SegmentReport),
    /// The guest wrote to stdout or stderr.
    Log {
        /// Whether it was stderr.
        stderr: bool,
        /// What it wrote.
        bytes: Bytes,
    },
    /// Still working; comes about once a second.
    Progress {
        /// CPU time that the task has used, in milliseconds.
        cpu_ms: u64,
    },
    /// The guest ended. Final.
    Executed(Box<Execution>),
    /// A receipt that the worker has verified itself. Final.
    Receipt {
        /// The encoded receipt.
        receipt: Bytes,
        /// Milliseconds from input in memory to verified receipt in memory.
        elapsed_ms: u64,
    },
    /// The task failed. Final; the worker takes the next task.
    Failed(Failure),
    /// The guest has left a batch of keccak permutations to its host; comes while it still runs.
    Keccak(KeccakReport),
}

impl Report {
    /// Whether the worker is ready for another task after this.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Identity(_) | Self::Executed(_) | Self::Receipt { .. } | Self::Failed(_))
    }
}

/// What a worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The exact zkVM version.
    pub zkvm: String,
    /// Whether the recursion programs are inside.
    pub recursion: bool,
}

/// One segment of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentReport {
    /// Its index from 0.
    pub index: u32,
    /// Its own size; the last one may be smaller than asked for.
    pub po2: Po2,
    /// Cycles of the guest's own instructions.
    pub user_cycles: u64,
    /// Encoded claim, as `manyhands-zkvm` reads it.
    pub claim: Bytes,
    /// The blob that a prover needs; empty when only sizes were asked for.
    pub blob: Bytes,
    /// The blob's size in bytes.
    pub blob_bytes: u64,
}

/// One keccak request of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeccakReport {
    /// Its index from 0, in the order in which the guest made them.
    pub index: u32,
    /// The size of its proof: the smallest that its permutations fit into.
    pub po2: Po2,
    /// The digest of what it claims: each state before and after its permutation.
    pub claim: Digest,
    /// The blob that a prover needs; empty when only sizes were asked for.
    pub blob: Bytes,
    /// The blob's size in bytes.
    pub blob_bytes: u64,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The program's image id.
    pub image_id: Digest,
    /// Number of segments.
    pub segments: u32,
    /// Cycles of the guest's own instructions.
    pub user_cycles: u64,
    /// Cycles of the segments, with paging and padding: what is proved, but for keccak requests.
    pub total_cycles: u64,
    /// What the guest committed.
    pub journal: Bytes,
}

/// Why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The bytes are not a program binary.
    #[error("not a RISC Zero program binary: {0}")]
    Program(String),
    /// The guest panicked, faulted or exited with an error code.
    #[error("the guest failed: {0}")]
    Guest(String),
    /// The guest ran past its cycle limit.
    #[error("the guest did not end within {cycles_max} cycles")]
    CycleLimit {
        /// The limit.
        cycles_max: u64,
    },
    /// The segment, proof or pair that was sent cannot be worked on.
    #[error("unusable input: {0}")]
    Input(String),
    /// The worker has no recursion programs.
    #[error(
        "this worker was built without the recursion programs: it can prove segments and keccak requests but not lift, join, resolve or unite"
    )]
    NoRecursion,
    /// The job needs something that is not supported.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The prover failed, or its own result did not verify.
    #[error("the prover failed: {0}")]
    Prover(String),
}

impl Checked for Task {}
impl Checked for Report {}
impl Checked for Execution {}
