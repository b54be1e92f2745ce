//! What goes into the gateway's state machine and what comes out. Nothing here decides anything.

use std::collections::BTreeSet;

use manyhands_proto::message::{Bid, BlobKey, Capabilities, FailReason, Response, Stage};
use manyhands_proto::{BlobRef, JobId, LeaseId, NodeId, Po2, Score, Seed, Unit};

use crate::job::{Check, ExecutionInfo, JobSpec, Parts, Receipted, RequestInfo, Restored, SegmentInfo};
use crate::peers::Origin;
use crate::reputation::{Ruling, Standing};
use crate::scores::Shown;
use crate::{Checked, ProofSystem, Refusal, Sizing, Survey};

/// A question of a peer that waits for its answer. Given out by the caller, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What can happen to a gateway.
#[derive(Debug, Clone)]
pub enum Input<P: ProofSystem> {
    /// A job was asked for, and is on disk.
    Submit {
        /// Its id.
        job: JobId,
        /// What is wanted.
        spec: JobSpec,
        /// Results kept from before a restart.
        restored: Restored,
        /// The number before that of each unit's next lease, as for [`Input::Anew`].
        attempts_from: u32,
    },
    /// A job, which is submitted afterwards, is for these nodes only.
    Restrict {
        /// The job.
        job: JobId,
        /// Who may work on it.
        to: BTreeSet<NodeId>,
    },
    /// The guest was run at several sizes; nothing if it failed.
    Surveyed {
        /// The job.
        job: JobId,
        /// What that showed.
        survey: Option<Survey>,
    },
    /// Step I: a segment was cut.
    Segmented {
        /// The job.
        job: JobId,
        /// The segment.
        segment: SegmentInfo<P>,
    },
    /// Step I: the guest has left a batch of keccak permutations to its host.
    Requested {
        /// The job.
        job: JobId,
        /// The request.
        request: RequestInfo<P>,
    },
    /// Step II: the blob of a segment or of a keccak request is stored.
    Stored {
        /// The job.
        job: JobId,
        /// The unit that works on it.
        unit: Unit,
        /// Its blob.
        blob: BlobRef,
        /// What opens it, if it is encrypted.
        key: Option<BlobKey>,
    },
    /// Step I: the guest ended, or failed with a sentence for the requester.
    Executed {
        /// The job.
        job: JobId,
        /// Its figures.
        result: Result<ExecutionInfo, String>,
    },
    /// The guest has to run once more: its run was cut off, or a segment that it left is lost.
    Anew {
        /// The job.
        job: JobId,
        /// The number before that of each unit's next lease: beyond that of any lease that there was.
        attempts_from: u32,
    },
    /// The requester wants the job no more.
    Abort {
        /// The job.
        job: JobId,
    },
    /// The gateway itself cannot go on with a job: its disk is full, its database fails.
    Broken {
        /// The job.
        job: JobId,
        /// Why, and what to do.
        reason: String,
    },
    /// The segment of a challenge was made and stored; or not, with a sentence.
    Challenged {
        /// The challenge.
        id: JobId,
        /// The blob and its claim.
        made: Result<(BlobRef, P::Claim), String>,
    },
    /// A node introduces itself.
    Hello {
        /// The node.
        node: NodeId,
        /// The address range of its connection.
        from: Origin,
        /// What it can do.
        capabilities: Capabilities,
        /// Answer here.
        ask: AskId,
    },
    /// A node says where others can dial it.
    Located {
        /// The node.
        node: NodeId,
        /// Its addresses; what is beyond [`ADDRESSES_MAX`](manyhands_proto::limits::ADDRESSES_MAX) is dropped.
        addresses: Vec<String>,
    },
    /// A node offers to work.
    Bid {
        /// The node.
        node: NodeId,
        /// The address range of its connection.
        from: Origin,
        /// Its offer.
        bid: Bid,
        /// The score in it, if it is one: signed by whom it names, of this node, and still valid.
        shown: Option<Box<Shown>>,
        /// Answer here.
        ask: AskId,
    },
    /// A stranger's word on a node was checked meanwhile.
    Shown {
        /// The node.
        node: NodeId,
        /// What it showed.
        shown: Box<Shown>,
    },
    /// A node confirms a lease.
    Heartbeat {
        /// The node.
        node: NodeId,
        /// The lease.
        lease: LeaseId,
        /// How far it is.
        stage: Stage,
        /// Milliseconds until the work is done, as the node says.
        remaining_ms: Option<u64>,
        /// Answer here.
        ask: AskId,
    },
    /// A node says that a lease is done.
    Done {
        /// The node.
        node: NodeId,
        /// The lease.
        lease: LeaseId,
        /// The receipt, in the node's store.
        receipt: BlobRef,
        /// Milliseconds of proving, as the node says.
        elapsed_ms: u64,
        /// Answer here.
        ask: AskId,
    },
    /// A node gives a lease back.
    Fail {
        /// The node.
        node: NodeId,
        /// The lease.
        lease: LeaseId,
        /// Why.
        reason: FailReason,
        /// Answer here.
        ask: AskId,
    },
    /// A node's connection is gone.
    Gone {
        /// The node.
        node: NodeId,
    },
    /// The operator says something of a node, or takes back what he said.
    Rule {
        /// The node.
        node: NodeId,
        /// His word.
        ruling: Option<Ruling>,
    },
    /// A node's standing is known from before a restart.
    Recall {
        /// The node.
        node: NodeId,
        /// What was written down.
        standing: Standing,
    },
    /// A peer sent what is no message of the protocol.
    Misbehaved {
        /// The peer.
        node: NodeId,
        /// What it did.
        reason: String,
    },
    /// Step IV: a claimed result was fetched, checked and stored; or refused.
    Checked {
        /// Who made it.
        node: NodeId,
        /// Under which lease.
        lease: LeaseId,
        /// The verifier's word.
        result: Result<Checked<P>, Refusal>,
    },
    /// Step VI: the receipt was put together, verified and stored; or not.
    Assembled {
        /// The job.
        job: JobId,
        /// The verifier's word.
        result: Result<(), String>,
    },
}

/// What a gateway must do.
#[derive(Debug, Clone)]
pub enum Command<P: ProofSystem> {
    /// Before step I: run the job's guest at these sizes without keeping its segments, and say how it was cut.
    Survey {
        /// The job.
        job: JobId,
        /// Sizes that a node offers, smallest first.
        sizes: Vec<Po2>,
    },
    /// Step I: run the job's guest and feed back its segments.
    Execute {
        /// The job.
        job: JobId,
    },
    /// Step III: tell the network that the job has units to lease.
    Announce {
        /// The job.
        job: JobId,
        /// Segment size.
        po2: Po2,
        /// Whether lifts and joins are needed.
        recursion: bool,
    },
    /// Answer a peer.
    Answer {
        /// The question.
        ask: AskId,
        /// The answer.
        response: Response,
    },
    /// Make the pinned benchmark's segment of this size with this seed, and store it under this name.
    Challenge {
        /// The challenge's name, used like a job's.
        id: JobId,
        /// Segment size.
        po2: Po2,
        /// What is in the guest's input.
        seed: Seed,
    },
    /// What was stored for a challenge is needed no more.
    ChallengeOver {
        /// The challenge.
        id: JobId,
    },
    /// Sign this score, keep it, tell it to whom it may concern, and answer the node whose proof it is of, if it waits.
    Score {
        /// The question.
        ask: Option<AskId>,
        /// The score.
        score: Score,
    },
    /// Leave a peer without an answer: it will ask again.
    Drop {
        /// The question.
        ask: AskId,
    },
    /// Tell a node that a lease's result is needed no more.
    Cancel {
        /// The node.
        node: NodeId,
        /// The lease.
        lease: LeaseId,
    },
    /// Step IV: fetch a claimed result, check it, store it, and say what came of it.
    Collect {
        /// Who made it.
        node: NodeId,
        /// Whether it is in our own store already, kept from before a restart; else the maker has it.
        is_here: bool,
        /// The lease.
        lease: LeaseId,
        /// The receipt.
        receipt: BlobRef,
        /// What it has to be equal to.
        check: Check<P>,
    },
    /// Step V: put the receipt together and verify it.
    Assemble {
        /// The job.
        job: JobId,
        /// What of.
        parts: Parts<P>,
    },
}

/// What a person or a journal may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A job's segment size is settled.
    Sized {
        /// The job.
        job: JobId,
        /// The size.
        po2: Po2,
        /// Why; nothing if there was no choice after all.
        sizing: Option<Sizing>,
    },
    /// A job's guest runs once more: segments that are known of it are void.
    BegunAnew {
        /// The job.
        job: JobId,
    },
    /// A unit was leased.
    Leased {
        /// The lease.
        lease: LeaseId,
        /// To whom.
        node: NodeId,
        /// Predicted milliseconds.
        predicted_ms: u64,
        /// Whether another lease of the unit was live.
        is_copy: bool,
    },
    /// A node has got a challenge.
    Challenged {
        /// The node.
        node: NodeId,
        /// Its size.
        po2: Po2,
    },
    /// A lease that was thought lost goes on.
    Resumed {
        /// The lease.
        lease: LeaseId,
        /// The node.
        node: NodeId,
    },
    /// A node gave a lease back.
    GivenBack {
        /// The lease.
        lease: LeaseId,
        /// The node.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// A lease was let go that was slow by its own word: the fleet will be done with its unit well before.
    LetGo {
        /// The lease.
        lease: LeaseId,
        /// The node.
        node: NodeId,
    },
    /// A result is verified.
    Verified {
        /// What and whose.
        result: Receipted,
    },
    /// A lease came to nothing.
    Refused {
        /// The lease.
        lease: LeaseId,
        /// The node.
        node: NodeId,
        /// Why, and whose fault it is.
        refusal: Refusal,
    },
    /// What is held against nodes, or for them, has changed: it is to outlive a restart.
    Standings {
        /// All that have changed, as they are now.
        changed: Vec<(NodeId, Standing)>,
    },
    /// Nodes did not keep what their scores promised: what we said of them before counts no more.
    Suspended {
        /// Who.
        nodes: Vec<NodeId>,
    },
    /// Another verifier's word counts no more, for so long: most nodes that it spoke for failed.
    Distrusted {
        /// Who.
        verifier: NodeId,
        /// For how long.
        for_ms: u64,
    },
    /// A job's receipt is there.
    JobDone {
        /// The job.
        job: JobId,
    },
    /// A job ended without a receipt.
    JobFailed {
        /// The job.
        job: JobId,
        /// Why.
        reason: String,
    },
}
