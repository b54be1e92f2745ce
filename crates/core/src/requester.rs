//! The gateway's side: many jobs, one book of peers, one set of held bids.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use manyhands_proto::message::{Bid, Holder, Response};
use manyhands_proto::{JobId, LeaseId, NodeId};

use crate::bids::Bids;
use crate::binder::Binder;
use crate::holding::Holding;
use crate::job::Job;
use crate::peers::{Origin, Peer, PeerBook};
use crate::reputation::Ruling;
use crate::scores::Shown;
use crate::text::clip;
use crate::timers::{Timers, Wake};
use crate::{Policy, ProofSystem, Time};

pub(crate) mod challenges;
mod circle;
mod dispatch;
mod interface;

use dispatch::Plan;
pub use interface::{AskId, Command, Event, Input};

/// Commands and events on their way out.
#[derive(Debug, Clone)]
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
    pub(crate) me: &'a Holder,
    /// Whether the job is not for everybody.
    pub(crate) is_private: bool,
    pub(crate) binder: &'a Binder,
    pub(crate) peers: &'a mut PeerBook,
    pub(crate) holding: &'a mut Holding,
    pub(crate) timers: &'a mut Timers,
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
        has_free_slot(self.peers, self.holding, self.policy, node)
    }

    fn answer(&mut self, ask: Option<AskId>, response: Response) {
        if let Some(ask) = ask {
            self.out.command(Command::Answer { ask, response });
        }
    }
}

/// The error of a job that its requester stopped.
pub const STOPPED: &str = "stopped by the requester";

/// The gateway's state machine.
#[derive(Debug, Clone)]
pub struct Requester<P: ProofSystem> {
    policy: Policy,
    me: Holder,
    zkvm: String,
    binder: Binder,
    pub(crate) jobs: BTreeMap<JobId, Job<P>>,
    /// Who may work on the jobs that are not for everybody.
    circles: BTreeMap<JobId, BTreeSet<NodeId>>,
    peers: PeerBook,
    pub(crate) bids: Bids,
    pub(crate) holding: Holding,
    timers: Timers,
    challenges: challenges::Challenges<P>,
    plan: Plan,
    /// Jobs whose units' wants may have changed since the last dispatch.
    touched: BTreeSet<JobId>,
    /// Nodes whose bids came or were ordered anew since the last dispatch.
    bidders: BTreeSet<NodeId>,
    out: Outbox<P>,
}

/// Splits the requester into one job and the context that its steps need.
macro_rules! with_job {
    ($self:ident, $now:expr, $job:expr, |$j:ident, $cx:ident| $body:expr) => {
        if let Some($j) = $self.jobs.get_mut(&$job) {
            let $cx = &mut Context {
                now: $now,
                policy: &$self.policy,
                me: &$self.me,
                is_private: $self.circles.contains_key(&$job),
                binder: &$self.binder,
                peers: &mut $self.peers,
                holding: &mut $self.holding,
                timers: &mut $self.timers,
                out: &mut $self.out,
            };
            let result = $body;
            if std::mem::take(&mut $j.is_touched) {
                $self.touched.insert($job);
            }
            Some(result)
        } else {
            None
        }
    };
}

impl<P: ProofSystem> Requester<P> {
    /// A gateway that is reached as `me`, whose jobs need workers of version `zkvm`, and whose leases `binder` binds.
    pub fn new(policy: Policy, me: Holder, zkvm: String, binder: Binder) -> Self {
        Self {
            policy,
            me,
            zkvm,
            binder,
            jobs: BTreeMap::new(),
            circles: BTreeMap::new(),
            peers: PeerBook::default(),
            bids: Bids::default(),
            holding: Holding::default(),
            timers: Timers::default(),
            challenges: challenges::Challenges::default(),
            plan: Plan::default(),
            touched: BTreeSet::new(),
            bidders: BTreeSet::new(),
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

    /// Bids that wait for a unit.
    pub fn bids_held(&self) -> usize {
        self.bids.len()
    }

    /// The constants that it goes by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The version that nodes must have.
    pub fn zkvm(&self) -> &str {
        &self.zkvm
    }

    /// Forgets a job that has ended.
    pub fn forget(&mut self, job: &JobId) {
        if self.jobs.get(job).is_some_and(|job| !job.is_open()) {
            self.jobs.remove(job);
            self.circles.remove(job);
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Time, input: Input<P>) {
        match input {
            Input::Restrict { job, to } => drop(self.circles.insert(job, to)),
            Input::Submit { job, spec, restored, attempts_from } => {
                let sizes = if spec.is_auto { self.sizes_offered(Some(job)) } else { Vec::new() };
                if let Entry::Vacant(vacant) = self.jobs.entry(job) {
                    vacant.insert(Job::new(now, job, spec, restored, attempts_from));
                    with_job!(self, now, job, |j, cx| j.start(sizes, cx));
                }
            }
            Input::Surveyed { job, survey } => {
                let outcome = self.jobs.get(&job).map(|job| job.spec.outcome);
                let sizing =
                    survey.zip(outcome).and_then(|(survey, outcome)| self.size_for(now, job, outcome, &survey));
                with_job!(self, now, job, |j, cx| j.sized(sizing, cx));
            }
            Input::Segmented { job, segment } => {
                with_job!(self, now, job, |j, _cx| j.segmented(segment));
            }
            Input::Requested { job, request } => {
                with_job!(self, now, job, |j, _cx| j.requested(request));
            }
            Input::Stored { job, unit, blob, key } => {
                with_job!(self, now, job, |j, cx| j.stored(unit, blob, key, cx));
            }
            Input::Executed { job, result } => {
                with_job!(self, now, job, |j, cx| j.executed(result, cx));
            }
            Input::Anew { job, attempts_from } => {
                with_job!(self, now, job, |j, cx| j.begin_anew(attempts_from, cx));
            }
            Input::Abort { job } => {
                with_job!(self, now, job, |j, cx| j.fail(STOPPED.to_owned(), cx));
            }
            Input::Broken { job, reason } => {
                with_job!(self, now, job, |j, cx| j.fail(reason, cx));
            }
            Input::Challenged { id, made } => self.challenge_made(now, id, made),
            Input::Checked { node, lease, result } if !self.jobs.contains_key(&lease.job) => {
                self.challenge_checked(now, node, lease, result);
            }
            Input::Checked { node, lease, result } => {
                with_job!(self, now, lease.job, |j, cx| j.checked(node, lease, result, cx));
                self.refuse_if_blocked(now, &node);
            }
            Input::Assembled { job, result } => {
                with_job!(self, now, job, |j, cx| j.assembled(result, cx));
            }
            Input::Located { node, addresses } => self.peers.locate(now, node, addresses, &self.policy),
            Input::Gone { node } => self.gone(now, node),
            Input::Rule { node, ruling } => self.rule(now, node, ruling),
            Input::Shown { node, shown } => self.show(now, &node, &shown),
            Input::Recall { node, standing } => self.peers.recall(now, node, standing, &self.policy),
            Input::Misbehaved { node, reason } => {
                self.peers.heard(now, node, &self.policy);
                self.peers.offend(now, &node, &reason, &self.policy);
                self.refuse_if_blocked(now, &node);
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
        while let Some((_, wake)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.pop();
            match self.due(wake) {
                Some((at, _)) if at > now => self.timers.add(at, wake),
                Some(_) => self.wake(now, wake),
                None => {}
            }
        }
        self.settle(now);
    }

    fn wake(&mut self, now: Time, wake: Wake) {
        match wake {
            Wake::Bid(node) => self.release_bid(now, &node),
            Wake::Challenge(id) => self.challenge_lapsed(now, id),
            Wake::Lease(node, lease) => {
                with_job!(self, now, lease.job, |j, cx| j.expire(node, lease, cx));
                self.refuse_if_blocked(now, &node);
                if let Some((at, _)) = self.due(wake) {
                    self.timers.add(at, wake);
                }
            }
            Wake::Announce(id) | Wake::Near(id) => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    if matches!(wake, Wake::Near(_)) {
                        job.near_until = None
                    } else {
                        job.announce_at = None
                    }
                    self.touched.insert(id);
                }
            }
            Wake::Plan => self.plan.is_due = true,
        }
    }

    /// What a wake-up is really due at, and why; nothing if there is no need for it any more.
    fn due(&self, wake: Wake) -> Option<(Time, &'static str)> {
        match wake {
            Wake::Bid(node) => self.bids.get(&node).map(|bid| (bid.until, "a held bid")),
            Wake::Lease(_, lease) => self.jobs.get(&lease.job)?.running(lease).map(|record| record.due(&self.policy)),
            Wake::Announce(job) => {
                let job = self.jobs.get(&job).filter(|job| job.is_open())?;
                job.announce_at.map(|at| (at, "a job's announcement"))
            }
            Wake::Near(job) => {
                let job = self.jobs.get(&job).filter(|job| job.is_open())?;
                job.near_until.map(|at| (at, "a unit that waits for the node near its inputs"))
            }
            Wake::Challenge(id) => self.challenge_due(&id),
            Wake::Plan => self.next_plan().map(|at| (at, "units that wait for a better node")),
        }
    }

    /// Drops wake-ups that are needed no more, and moves back those that were noted too early.
    fn trim_timers(&mut self) {
        while let Some((at, wake)) = self.timers.first() {
            match self.due(wake) {
                Some((due, _)) if due <= at => return,
                Some((due, _)) => {
                    self.timers.pop();
                    self.timers.add(due, wake);
                }
                None => self.timers.pop(),
            }
        }
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
        let (_, wake) = self.timers.first()?;
        self.due(wake)
    }

    /// Takes a question of a peer.
    fn asked(&mut self, now: Time, input: Input<P>) {
        match input {
            Input::Hello { node, from, capabilities, ask } => {
                self.peers.introduce(now, node, from, capabilities, &self.policy);
                self.place_again(now, &node);
                self.answer(ask, Response::Ok);
            }
            Input::Bid { node, from, bid, shown, ask } => self.bid(now, node, from, bid, shown.as_deref(), ask),
            Input::Heartbeat { node, lease, stage, remaining_ms, ask } => {
                self.peers.heard(now, node, &self.policy);
                let (word, again_by) = ((stage, remaining_ms), self.again_by(now, lease));
                let answer = with_job!(self, now, lease.job, |j, cx| j.heartbeat(node, lease, word, again_by, cx));
                let answer = answer.or_else(|| self.challenge_heard(now, node, lease));
                self.answer(ask, answer.unwrap_or(Response::Stale));
            }
            Input::Done { node, lease, receipt, elapsed_ms, ask } => {
                self.peers.heard(now, node, &self.policy);
                let known =
                    with_job!(self, now, lease.job, |j, cx| j.claimed(node, lease, receipt, elapsed_ms, ask, cx));
                if known.is_none() && !self.challenge_claimed(now, node, lease, receipt, ask) {
                    self.answer(ask, Response::Stale);
                }
                // Its slot is free now, perhaps for a bid that overtook this word.
                self.bidders.insert(node);
            }
            Input::Fail { node, lease, reason, ask } => {
                self.peers.heard(now, node, &self.policy);
                let known = with_job!(self, now, lease.job, |j, cx| j.given_back(node, lease, &reason, cx));
                if known.is_none() {
                    self.challenge_given_back(now, node, lease, "it gave a challenge back");
                }
                self.refuse_if_blocked(now, &node);
                self.answer(ask, Response::Ok);
            }
            _ => {}
        }
    }

    fn bid(&mut self, now: Time, node: NodeId, from: Origin, bid: Bid, shown: Option<&Shown>, ask: AskId) {
        self.let_bid_go(&node);
        let zkvm = bid.capabilities.zkvm.clone();
        let busy = usize::from(bid.capabilities.slots.saturating_sub(bid.slots_free));
        self.peers.introduce(now, node, from, bid.capabilities, &self.policy);
        self.lose_surplus(now, node, busy);
        if let Some(shown) = shown {
            self.show(now, &node, shown);
        }
        if let Some(refusal) = self.refusal_of_blocked(now, &node) {
            return self.answer(ask, refusal);
        }
        if zkvm != self.zkvm {
            let reason = clip(&format!("this gateway's jobs need {}, and this node has {zkvm}", self.zkvm));
            return self.answer(ask, Response::Refused { reason, retry_ms: self.policy.block_ms });
        }
        if busy == 0 && bid.slots_free > 0 {
            self.lose_challenge(now, &node);
            self.peers.idle(now, &node);
        }
        let is_idle = !self.jobs.values().any(Job::is_open);
        if is_idle && bid.slots_free > 0 && self.challenge(now, node, ask) {
            return;
        }
        let is_range_full = self.peers.is_range_full(&node, &self.bids, &self.holding, &self.policy);
        if is_range_full && bid.slots_free > 0 && self.challenge(now, node, ask) {
            return;
        }
        if is_idle || is_range_full || bid.slots_free == 0 || self.bids.len() >= self.policy.bids_held_max {
            return self.answer(ask, Response::Wait { retry_ms: self.policy.retry_ms });
        }
        self.hold_bid(now, node, ask);
    }

    fn show(&mut self, now: Time, node: &NodeId, shown: &Shown) {
        let score = shown.score.score();
        let (issued, until) = (self.binder.time(score.issued_s), self.binder.time(score.expires_s));
        self.peers.show(now, node, shown, issued, until);
    }

    /// What a blocked node is told.
    fn refusal_of_blocked(&self, now: Time, node: &NodeId) -> Option<Response> {
        let bar = self.peers.get(node)?.bar(now)?;
        Some(Response::Refused { reason: clip(&bar.reason), retry_ms: bar.left_ms.unwrap_or(self.policy.block_ms) })
    }

    /// Lets go of the bid of a node that was blocked while it waited.
    fn refuse_if_blocked(&mut self, now: Time, node: &NodeId) {
        if self.bids.get(node).is_none() {
            return;
        }
        if let Some(refusal) = self.refusal_of_blocked(now, node)
            && let Some(bid) = self.bids.remove(node)
        {
            self.answer(bid.ask, refusal);
        }
    }

    /// A bid states how many slots are busy. Leases in our book beyond that number are not with the node: their answer was lost, or
    /// the node restarted. Those not heard of for longest are given up, but none that was just heard of: its result may be
    /// overtaken by the bid that follows it.
    fn lose_surplus(&mut self, now: Time, node: NodeId, busy: usize) {
        let grace_ms = self.policy.heartbeat_ms.saturating_mul(2);
        let heard = |lease: LeaseId| Some((self.jobs.get(&lease.job)?.running(lease)?.heard, lease));
        let mut leases: Vec<(Time, LeaseId)> = self.holding.of(&node).filter_map(heard).collect();
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

    /// A bid was held for long enough, and there was no work for it.
    fn release_bid(&mut self, now: Time, node: &NodeId) {
        if let Some(bid) = self.bids.remove(node)
            && !self.challenge(now, *node, bid.ask)
        {
            self.answer(bid.ask, Response::Wait { retry_ms: 0 });
        }
    }

    /// Lets go of the bid of a node that bids again.
    fn let_bid_go(&mut self, node: &NodeId) {
        if let Some(bid) = self.bids.remove(node) {
            self.answer(bid.ask, Response::Wait { retry_ms: 0 });
        }
    }

    /// The operator's word counts at once: what a denied node works on is taken back.
    fn rule(&mut self, now: Time, node: NodeId, ruling: Option<Ruling>) {
        self.peers.rule(now, node, ruling, &self.policy);
        self.refuse_if_blocked(now, &node);
        if !self.peers.get(&node).is_some_and(Peer::is_denied) {
            return;
        }
        for lease in self.holding.of(&node).collect::<Vec<_>>() {
            self.lose(now, node, lease, "the gateway's operator has denied it");
            self.out.command(Command::Cancel { node, lease });
        }
        self.take_challenge_back(&node);
    }

    fn gone(&mut self, now: Time, node: NodeId) {
        self.peers.gone(&node);
        if let Some(bid) = self.bids.remove(&node) {
            self.out.command(Command::Drop { ask: bid.ask });
        }
        self.challenge_gone(&node);
        for lease in self.holding.of(&node).collect::<Vec<_>>() {
            self.lose(now, node, lease, "its connection broke");
        }
    }

    fn answer(&mut self, ask: AskId, response: Response) {
        self.out.command(Command::Answer { ask, response });
    }
}

/// Whether a node works on fewer leases than it may hold.
fn has_free_slot(peers: &PeerBook, holding: &Holding, policy: &Policy, node: &NodeId) -> bool {
    holding.count(node) < peers.get(node).map_or(1, |peer| peer.slots(policy))
}
