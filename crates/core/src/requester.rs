//! The gateway's side: many jobs, one book of peers, one set of held bids.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use manyhands_proto::message::{Bid, Holder, Lease, Response};
use manyhands_proto::{JobId, LeaseId, NodeId, Unit};

use crate::holding::Holding;
use crate::job::Job;
use crate::job::ready::Class;
use crate::job::step3_dispatch::{Candidates, is_able};
use crate::peers::PeerBook;
use crate::text::clip;
use crate::time::Earliest;
use crate::{Policy, ProofSystem, Time};

mod interface;

pub use interface::{AskId, Command, Event, Input};

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

    /// Whether a node works on fewer leases than it has slots.
    pub(crate) fn has_free_slot(&self, node: &NodeId) -> bool {
        has_free_slot(self.peers, self.holding, node)
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
    pub(crate) jobs: BTreeMap<JobId, Job<P>>,
    peers: PeerBook,
    bids: BTreeMap<NodeId, HeldBid>,
    pub(crate) holding: Holding,
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
                if let Entry::Vacant(vacant) = self.jobs.entry(job) {
                    vacant.insert(Job::new(now, job, spec, restored));
                    with_job!(self, now, job, |_j, cx| Job::start(job, cx));
                }
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
            Input::Broken { job, reason } => {
                with_job!(self, now, job, |j, cx| j.fail(reason, cx));
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
        let running: Vec<(NodeId, LeaseId)> = self.holding.iter().collect();
        for (node, lease) in running {
            with_job!(self, now, lease.job, |j, cx| j.expire(node, lease, cx));
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
        for (_, lease) in self.holding.iter() {
            if let Some(job) = self.jobs.get(&lease.job) {
                job.wake_for(lease, self.policy.silence_ms, &mut earliest);
            }
        }
        self.jobs.values().for_each(|job| job.wake(&mut earliest));
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
                let known =
                    with_job!(self, now, lease.job, |j, cx| j.claimed(node, lease, receipt, elapsed_ms, ask, cx));
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
            return self.answer(ask, Response::Refused { reason: clip(&why), retry_ms: until.since(now) });
        }
        if zkvm != self.zkvm {
            let reason = clip(&format!("this gateway's jobs need {}, and this node has {zkvm}", self.zkvm));
            return self.answer(ask, Response::Refused { reason, retry_ms: self.policy.block_ms });
        }
        let is_idle = !self.jobs.values().any(Job::is_open);
        if is_idle || bid.slots_free == 0 || self.bids.len() >= self.policy.bids_held_max {
            return self.answer(ask, Response::Wait { retry_ms: self.policy.retry_ms });
        }
        self.bids.insert(node, HeldBid { ask, until: now.after(self.policy.bid_hold_ms) });
    }

    /// A bid states how many slots are busy. Leases in our book beyond that number are not with the node: their answer was lost, or
    /// the node restarted. Those not heard of for longest are given up, but none that was just heard of: its result may be
    /// overtaken by the bid that follows it.
    fn lose_surplus(&mut self, now: Time, node: NodeId, busy: usize) {
        let grace_ms = self.policy.heartbeat_ms.saturating_mul(2);
        let heard = |lease: LeaseId| Some((self.jobs.get(&lease.job)?.running(lease)?.heard, lease));
        let mut leases: Vec<(Time, LeaseId)> = self.holding.of(&node).into_iter().filter_map(heard).collect();
        leases.sort_unstable();
        let surplus = leases.len().saturating_sub(busy);
        let lost = leases.into_iter().take(surplus).filter(|(heard, _)| now.since(*heard) >= grace_ms);
        for (_, lease) in lost {
            self.lose(now, node, lease, "it does not know of the lease");
        }
    }

    /// Takes back a lease that its node does not work on, through nobody's fault.
    fn lose(&mut self, now: Time, node: NodeId, lease: LeaseId, reason: &str) {
        with_job!(self, now, lease.job, |j, cx| {
            if j.end_lease(node, lease, cx) {
                cx.out.event(Event::GivenBack { lease, node, reason: reason.to_owned() });
            }
        });
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
            self.lose(now, node, lease, "its connection broke");
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
            let classes: Vec<Class> = self.jobs.get(&job).map(|job| job.ready.classes().collect()).unwrap_or_default();
            classes.into_iter().for_each(|class| self.match_class(now, job, class));
        }
    }

    /// Leases the ready units of one class to the held bids that suit them best.
    fn match_class(&mut self, now: Time, job: JobId, class: Class) {
        let mut candidates = self.candidates(now, class);
        let mut last: Option<Unit> = None;
        while !candidates.is_empty() {
            last = self.jobs.get(&job).and_then(|job| job.ready.after(class, last));
            let Some(unit) = last else { return };
            let me = &self.me;
            let granted: Option<Option<(NodeId, Lease)>> = with_job!(self, now, job, |j, cx| {
                let node = j.choose(unit, &candidates);
                node.and_then(|node| Some((node, j.grant(unit, node, me, cx)?)))
            });
            if let Some((node, lease)) = granted.flatten()
                && let Some(bid) = self.bids.remove(&node)
            {
                candidates.remove(node);
                self.answer(bid.ask, Response::Lease(Box::new(lease)));
            }
        }
    }

    /// The held bids that units of a class can be leased to now.
    fn candidates(&self, now: Time, (kind, po2): Class) -> Candidates {
        let mut candidates = Candidates::default();
        for node in self.bids.keys() {
            let Some(peer) = self.peers.get(node).filter(|peer| !peer.is_blocked(now)) else { continue };
            let offer = peer.capabilities.as_ref().filter(|offer| offer.zkvm == self.zkvm && is_able(offer, kind, po2));
            if offer.is_some() && has_free_slot(&self.peers, &self.holding, node) {
                candidates.insert(*node, peer.predict_ms(&self.policy, kind, po2));
            }
        }
        candidates
    }

    fn answer(&mut self, ask: AskId, response: Response) {
        self.out.command(Command::Answer { ask, response });
    }
}

/// Whether a node works on fewer leases than it has slots; one that never stated them has one.
fn has_free_slot(peers: &PeerBook, holding: &Holding, node: &NodeId) -> bool {
    let capabilities = peers.get(node).and_then(|peer| peer.capabilities.as_ref());
    holding.count(node) < capabilities.map_or(1, |offer| usize::from(offer.slots))
}
