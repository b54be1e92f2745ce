//! The gateway's side: many jobs, one book of peers, one set of held bids.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use manyhands_proto::message::{Bid, Capabilities, FailReason, Holder, Lease, Response, Stage};
use manyhands_proto::{BlobRef, JobId, LeaseId, NodeId, Po2, Unit};

use crate::job::{Check, ExecutionInfo, Job, JobSpec, Parts, Receipted, Restored, SegmentInfo};
use crate::peers::PeerBook;
use crate::time::Earliest;
use crate::{Checked, Policy, ProofSystem, Refusal, Time};

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
    },
    /// Step I: a segment was cut.
    Segmented {
        /// The job.
        job: JobId,
        /// The segment.
        segment: SegmentInfo<P>,
    },
    /// Step II: a segment's blob is stored.
    Stored {
        /// The job.
        job: JobId,
        /// The segment's index.
        index: u32,
        /// Its blob.
        blob: BlobRef,
    },
    /// Step I: the guest ended, or failed with a sentence for the requester.
    Executed {
        /// The job.
        job: JobId,
        /// Its figures.
        result: Result<ExecutionInfo, String>,
    },
    /// The requester wants the job no more.
    Abort {
        /// The job.
        job: JobId,
    },
    /// A node introduces itself.
    Hello {
        /// The node.
        node: NodeId,
        /// What it can do.
        capabilities: Capabilities,
        /// Answer here.
        ask: AskId,
    },
    /// A node offers to work.
    Bid {
        /// The node.
        node: NodeId,
        /// Its offer.
        bid: Bid,
        /// Answer here.
        ask: AskId,
    },
    /// A node confirms a lease.
    Heartbeat {
        /// The node.
        node: NodeId,
        /// The lease.
        lease: LeaseId,
        /// How far it is.
        stage: Stage,
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
        /// Who has it; nobody if it is in our own store already.
        node: Option<NodeId>,
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
    /// A unit was leased.
    Leased {
        /// The lease.
        lease: LeaseId,
        /// To whom.
        node: NodeId,
        /// Predicted milliseconds.
        predicted_ms: u64,
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

/// Commands and events on their way out.
#[derive(Debug)]
pub(crate) struct Outbox<P: ProofSystem> {
    commands: VecDeque<Command<P>>,
    events: VecDeque<Event>,
}

impl<P: ProofSystem> Outbox<P> {
    pub(crate) fn command(&mut self, command: Command<P>) {
        self.commands.push_back(command);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }
}

/// Which running leases each node holds.
#[derive(Debug, Default)]
pub(crate) struct Holding(BTreeMap<NodeId, BTreeSet<LeaseId>>);

impl Holding {
    pub(crate) fn begin(&mut self, node: NodeId, lease: LeaseId) {
        self.0.entry(node).or_default().insert(lease);
    }

    pub(crate) fn end(&mut self, node: NodeId, lease: LeaseId) {
        if let Some(leases) = self.0.get_mut(&node) {
            leases.remove(&lease);
            if leases.is_empty() {
                self.0.remove(&node);
            }
        }
    }

    fn of(&self, node: &NodeId) -> Vec<LeaseId> {
        self.0.get(node).into_iter().flatten().copied().collect()
    }
}

/// What the steps of a job share with the gateway.
pub(crate) struct Context<'a, P: ProofSystem> {
    pub(crate) now: Time,
    pub(crate) policy: &'a Policy,
    pub(crate) peers: &'a mut PeerBook,
    pub(crate) holding: &'a mut Holding,
    pub(crate) out: &'a mut Outbox<P>,
}

impl<P: ProofSystem> Context<'_, P> {
    pub(crate) fn answer_ok(&mut self, ask: Option<AskId>) {
        self.answer(ask, Response::Ok);
    }

    pub(crate) fn answer_stale(&mut self, ask: Option<AskId>) {
        self.answer(ask, Response::Stale);
    }

    fn answer(&mut self, ask: Option<AskId>, response: Response) {
        if let Some(ask) = ask {
            self.out.command(Command::Answer { ask, response });
        }
    }
}

#[derive(Debug)]
struct HeldBid {
    ask: AskId,
    until: Time,
}

/// The gateway's state machine.
#[derive(Debug)]
pub struct Requester<P: ProofSystem> {
    policy: Policy,
    me: Holder,
    zkvm: String,
    jobs: BTreeMap<JobId, Job<P>>,
    peers: PeerBook,
    bids: BTreeMap<NodeId, HeldBid>,
    holding: Holding,
    out: Outbox<P>,
}

/// Splits the requester into one job and the context that its steps need.
macro_rules! with_job {
    ($self:ident, $now:expr, $job:expr, |$j:ident, $cx:ident| $body:expr) => {
        if let Some($j) = $self.jobs.get_mut(&$job) {
            let $cx = &mut Context {
                now: $now,
                policy: &$self.policy,
                peers: &mut $self.peers,
                holding: &mut $self.holding,
                out: &mut $self.out,
            };
            Some($body)
        } else {
            None
        }
    };
}

impl<P: ProofSystem> Requester<P> {
    /// A gateway that is reached as `me` and whose jobs need workers of version `zkvm`.
    pub fn new(policy: Policy, me: Holder, zkvm: String) -> Self {
        Self {
            policy,
            me,
            zkvm,
            jobs: BTreeMap::new(),
            peers: PeerBook::default(),
            bids: BTreeMap::new(),
            holding: Holding::default(),
            out: Outbox { commands: VecDeque::new(), events: VecDeque::new() },
        }
    }

    /// Notes where the gateway can be dialled now.
    pub fn set_addresses(&mut self, addresses: Vec<String>) {
        self.me.addresses = addresses;
    }

    /// One job.
    pub fn job(&self, job: &JobId) -> Option<&Job<P>> {
        self.jobs.get(job)
    }

    /// All jobs that were not forgotten.
    pub fn jobs(&self) -> impl Iterator<Item = &Job<P>> {
        self.jobs.values()
    }

    /// What is known of the nodes.
    pub fn peers(&self) -> &PeerBook {
        &self.peers
    }

    /// The version that nodes must have.
    pub fn zkvm(&self) -> &str {
        &self.zkvm
    }

    /// Forgets a job that has ended.
    pub fn forget(&mut self, job: &JobId) {
        if self.jobs.get(job).is_some_and(|job| !job.is_open()) {
            self.jobs.remove(job);
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Time, input: Input<P>) {
        match input {
            Input::Submit { job, spec, restored } => {
                self.jobs.entry(job).or_insert_with(|| Job::new(now, job, spec, restored));
                with_job!(self, now, job, |_j, cx| Job::start(job, cx));
            }
            Input::Segmented { job, segment } => {
                with_job!(self, now, job, |j, _cx| j.segmented(segment));
            }
            Input::Stored { job, index, blob } => {
                with_job!(self, now, job, |j, cx| j.stored(index, blob, cx));
            }
            Input::Executed { job, result } => {
                with_job!(self, now, job, |j, cx| j.executed(result, cx));
            }
            Input::Abort { job } => {
                with_job!(self, now, job, |j, cx| j.fail("stopped by the requester".to_owned(), cx));
            }
            Input::Checked { node, lease, result } => {
                with_job!(self, now, lease.job, |j, cx| j.checked(node, lease, result, cx));
            }
            Input::Assembled { job, result } => {
                with_job!(self, now, job, |j, cx| j.assembled(result, cx));
            }
            Input::Gone { node } => self.gone(now, node),
            Input::Misbehaved { node, reason } => {
                self.peers.heard(now, node, &self.policy);
                self.peers.offend(now, &node, &reason, &self.policy);
            }
            Input::Hello { .. }
            | Input::Bid { .. }
            | Input::Heartbeat { .. }
            | Input::Done { .. }
            | Input::Fail { .. } => self.asked(now, input),
        }
        self.settle(now);
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Time) {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            with_job!(self, now, job, |j, cx| j.expire(cx));
        }
        let stale: Vec<NodeId> = self.bids.iter().filter(|(_, bid)| bid.until <= now).map(|(node, _)| *node).collect();
        stale.into_iter().for_each(|node| self.release_bid(&node));
        self.settle(now);
    }

    /// The next command, if any.
    pub fn poll_command(&mut self) -> Option<Command<P>> {
        self.out.commands.pop_front()
    }

    /// The next event, if any.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called next, and why.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        let mut earliest = Earliest::default();
        self.jobs.values().filter(|job| job.is_open()).for_each(|job| job.wake(self.policy.silence_ms, &mut earliest));
        self.bids.values().for_each(|bid| earliest.add(bid.until, "a held bid"));
        earliest.get()
    }

    /// Takes a question of a peer.
    fn asked(&mut self, now: Time, input: Input<P>) {
        match input {
            Input::Hello { node, capabilities, ask } => {
                self.peers.introduce(now, node, capabilities, &self.policy);
                self.answer(ask, Response::Ok);
            }
            Input::Bid { node, bid, ask } => self.bid(now, node, bid, ask),
            Input::Heartbeat { node, lease, stage, ask } => {
                self.peers.heard(now, node, &self.policy);
                let answer = with_job!(self, now, lease.job, |j, cx| j.heartbeat(node, lease, stage, cx));
                self.answer(ask, answer.unwrap_or(Response::Stale));
            }
            Input::Done { node, lease, receipt, elapsed_ms, ask } => {
                self.peers.heard(now, node, &self.policy);
                let known = with_job!(self, now, lease.job, |j, cx| j
                    .claimed(node, lease, receipt, elapsed_ms, ask, cx));
                if known.is_none() {
                    self.answer(ask, Response::Stale);
                }
            }
            Input::Fail { node, lease, reason, ask } => {
                self.peers.heard(now, node, &self.policy);
                with_job!(self, now, lease.job, |j, cx| j.given_back(node, lease, &reason, cx));
                self.answer(ask, Response::Ok);
            }
            _ => {}
        }
    }

    fn bid(&mut self, now: Time, node: NodeId, bid: Bid, ask: AskId) {
        self.release_bid(&node);
        let zkvm = bid.capabilities.zkvm.clone();
        let busy = usize::from(bid.capabilities.slots.saturating_sub(bid.slots_free));
        self.peers.introduce(now, node, bid.capabilities, &self.policy);
        self.lose_surplus(now, node, busy);
        let blocked = self.peers.get(&node).filter(|peer| peer.is_blocked(now));
        if let Some(until) = blocked.and_then(|peer| peer.blocked_until) {
            let why = blocked.and_then(|peer| peer.blocked_for.clone()).unwrap_or_default();
            return self.answer(ask, Response::Refused { reason: clip(why), retry_ms: until.since(now) });
        }
        if zkvm != self.zkvm {
            let reason = clip(format!("this gateway's jobs need {}, and this node has {zkvm}", self.zkvm));
            return self.answer(ask, Response::Refused { reason, retry_ms: self.policy.block_ms });
        }
        let is_idle = !self.jobs.values().any(Job::is_open);
        if is_idle || bid.slots_free == 0 || self.bids.len() >= self.policy.bids_held_max {
            return self.answer(ask, Response::Wait { retry_ms: self.policy.retry_ms });
        }
        self.bids.insert(node, HeldBid { ask, until: now.after(self.policy.bid_hold_ms) });
    }

    /// A bid states how many slots are busy. Leases in our book beyond that number are not with the node: their answer was lost, or
    /// the node restarted.
    fn lose_surplus(&mut self, now: Time, node: NodeId, busy: usize) {
        let leases = self.holding.of(&node);
        let surplus = leases.len().saturating_sub(busy);
        for lease in leases.into_iter().rev().take(surplus) {
            with_job!(self, now, lease.job, |j, cx| j.end_lease(node, lease, cx));
        }
    }

    fn release_bid(&mut self, node: &NodeId) {
        if let Some(bid) = self.bids.remove(node) {
            self.answer(bid.ask, Response::Wait { retry_ms: 0 });
        }
    }

    fn gone(&mut self, now: Time, node: NodeId) {
        self.peers.gone(&node);
        if let Some(bid) = self.bids.remove(&node) {
            self.out.command(Command::Drop { ask: bid.ask });
        }
        for lease in self.holding.of(&node) {
            with_job!(self, now, lease.job, |j, cx| {
                if j.end_lease(node, lease, cx) {
                    let reason = "its connection broke".to_owned();
                    cx.out.event(Event::GivenBack { lease, node, reason });
                }
            });
        }
    }

    /// Matches bids with units until nothing fits, then announces what is left.
    fn settle(&mut self, now: Time) {
        self.dispatch(now);
        for job in self.jobs.values_mut() {
            if job.announce(now, self.policy.announce_ms) {
                let recursion = job.spec.outcome == crate::Outcome::Succinct;
                self.out.command(Command::Announce { job: job.id, po2: job.spec.po2, recursion });
            }
        }
    }

    fn dispatch(&mut self, now: Time) {
        if self.bids.is_empty() {
            return;
        }
        let mut order: Vec<(Time, JobId)> =
            self.jobs.values().filter(|job| !job.ready.is_empty()).map(|job| (job.submitted, job.id)).collect();
        order.sort_unstable();
        for (_, job) in order {
            let ready: Vec<Unit> = self.jobs.get(&job).map(|job| job.ready.iter().copied().collect()).unwrap_or_default();
            for unit in ready {
                if self.bids.is_empty() {
                    return;
                }
                self.match_unit(now, job, unit);
            }
        }
    }

    /// Leases one unit to the held bid that suits it best.
    fn match_unit(&mut self, now: Time, job: JobId, unit: Unit) {
        let nodes: Vec<NodeId> = self.bids.keys().copied().collect();
        let me = &self.me;
        let granted: Option<Option<(NodeId, Lease)>> = with_job!(self, now, job, |j, cx| {
            let fits = nodes.iter().filter_map(|node| {
                let offered = cx.peers.get(node)?.capabilities.clone()?;
                Some((j.fit(unit, *node, &offered, cx)?, *node))
            });
            let best = fits.min().map(|(_, node)| node);
            best.and_then(|node| Some((node, j.grant(unit, node, me, cx)?)))
        });
        if let Some((node, lease)) = granted.flatten()
            && let Some(bid) = self.bids.remove(&node)
        {
            self.answer(bid.ask, Response::Lease(Box::new(lease)));
        }
    }

    fn answer(&mut self, ask: AskId, response: Response) {
        self.out.command(Command::Answer { ask, response });
    }
}

fn clip(mut text: String) -> String {
    let limit = manyhands_proto::limits::TEXT_CHARS_MAX;
    while text.len() > limit {
        text.pop();
    }
    text
}
