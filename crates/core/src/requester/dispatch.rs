//! Step III over all jobs: which unit meets which waiting bid.
//!
//! Jobs share the fleet by priority, then by age. A unit goes to the waiting node that is predicted to be done first; a node that would
//! only be done long after the fleet could do everything else waits, and so does the unit. Leases that are late, or that a free node
//! would overtake, get a copy, within a budget.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use manyhands_proto::message::{Lease, Response};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{JobId, LeaseId, NodeId, Unit};

use super::{AskId, Command, Context, Requester, has_free_slot};
use crate::bids::Place;
use crate::capacity::{self, horizon_ms};
use crate::job::ready::Class;
use crate::job::step3_dispatch::is_able;
use crate::job::{Doubt, Entry};
use crate::peers::Peer;
use crate::policy::Ranking;
use crate::timers::Wake;
use crate::{ProofSystem, Time};

mod standing;

/// Waiting nodes looked at for one unit. More are only needed if that many have failed at it or share an operator.
const NODES_SCANNED: usize = 64;

/// Units of a class looked at for one lease. More are only needed if that many wait for the node near their inputs.
const UNITS_SCANNED: usize = 64;

/// What the fleet can do, as reckoned from time to time, and who wants what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// Set by the wake-up that asks for a new reckoning.
    pub(crate) is_due: bool,
    at: Time,
    next: Time,
    armed: Option<Time>,
    /// When the fleet could be done with all waiting units of a class; nothing if no node that is there is able.
    horizons: BTreeMap<Class, Option<Time>>,
    /// When a job's last segment proof is expected.
    proofs_end: BTreeMap<JobId, Time>,
    /// The latest of them.
    proofs_end_max: Time,
    /// Whether a node is there that has delivered before.
    has_proven: bool,
    /// When a unit of a class was leased last, or began to be wanted.
    leased: BTreeMap<Class, Time>,
    /// The jobs with units that nobody works on.
    demand: BTreeMap<Class, BTreeSet<JobId>>,
    /// The jobs with units that want a copy.
    copy_demand: BTreeMap<Class, BTreeSet<JobId>>,
}

/// What became of the search for a node.
enum Pick {
    Node(NodeId),
    /// The node near the unit's inputs is about to bid.
    Near(Time),
    /// Nobody who waits may have this unit; another of its class might go.
    NotThis,
    /// Nobody who waits may have any unit of the class.
    Nobody,
}

impl Plan {
    fn note_wants<P: ProofSystem>(&mut self, job: &crate::job::Job<P>) {
        let classes = |of: &mut BTreeMap<Class, BTreeSet<JobId>>, wanted: &mut dyn Iterator<Item = Class>| {
            of.retain(|_, jobs| {
                jobs.remove(&job.id);
                !jobs.is_empty()
            });
            wanted.for_each(|class| {
                of.entry(class).or_default().insert(job.id);
            });
        };
        classes(&mut self.demand, &mut job.ready.classes());
        classes(&mut self.copy_demand, &mut job.ready.copy_classes());
    }

    fn is_wanted(&self, class: &Class) -> bool {
        self.demand.contains_key(class) || self.copy_demand.contains_key(class)
    }

    /// Takes a class into the reckoning that was never wanted before. At most 33 there are.
    fn note_new_classes(&mut self) -> bool {
        let known = self.horizons.len();
        for class in self.demand.keys().chain(self.copy_demand.keys()) {
            self.horizons.entry(*class).or_insert(None);
        }
        self.horizons.len() > known
    }

    fn is_idle(&self) -> bool {
        self.demand.is_empty() && self.copy_demand.is_empty()
    }
}

impl<P: ProofSystem> Requester<P> {
    /// Holds a bid until a unit needs it.
    pub(super) fn hold_bid(&mut self, now: Time, node: NodeId, ask: AskId) {
        let until = now.after(self.policy.bid_hold_ms);
        self.place_bid(node, ask, until);
        self.timers.add(until, Wake::Bid(node));
    }

    /// Orders the bid of a node anew that said what it can do while it waited.
    pub(super) fn place_again(&mut self, node: &NodeId) {
        if let Some(held) = self.bids.remove(node) {
            self.place_bid(*node, held.ask, held.until);
        }
    }

    fn place_bid(&mut self, node: NodeId, ask: AskId, until: Time) {
        let (peers, policy, zkvm) = (&self.peers, &self.policy, &self.zkvm);
        let place = |class, arrival| peers.get(&node).and_then(|peer| place(peer, policy, zkvm, class, arrival));
        self.bids.hold(node, ask, until, place);
        self.bidder = Some(node);
    }

    /// Matches what has changed, and announces what is left.
    pub(super) fn settle(&mut self, now: Time) {
        let touched = std::mem::take(&mut self.touched);
        for id in &touched {
            if let Some(job) = self.jobs.get(id) {
                self.plan.note_wants(job);
            }
        }
        let bidder = self.bidder.take();
        if !self.bids.is_empty() {
            self.index_wanted();
            if self.is_plan_stale(now) {
                self.reckon(now);
                let all: BTreeSet<JobId> =
                    self.plan.demand.values().chain(self.plan.copy_demand.values()).flatten().copied().collect();
                self.share_out(now, all);
            } else {
                self.share_out(now, touched.iter().copied());
                bidder.into_iter().for_each(|node| self.serve(now, &node));
            }
        }
        touched.into_iter().for_each(|job| self.announce(now, job));
        if let Some(next) = self.next_plan().filter(|next| self.plan.armed != Some(*next)) {
            self.plan.armed = Some(next);
            self.timers.add(next, Wake::Plan);
        }
        self.trim_timers();
    }

    fn announce(&mut self, now: Time, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.announce(now, self.policy.announce_ms) {
            let recursion = job.spec.outcome == crate::Outcome::Succinct;
            self.out.command(Command::Announce { job: id, po2: job.spec.po2, recursion });
            job.announce_at.into_iter().for_each(|at| self.timers.add(at, Wake::Announce(id)));
        }
    }

    /// When the fleet's capacity is to be reckoned anew, if anybody waits for that.
    pub(super) fn next_plan(&self) -> Option<Time> {
        let may_hurry =
            self.policy.late_gain_percent > 0 && self.jobs.values().any(|job| job.is_open() && job.live > 0);
        let is_wanted = !self.bids.is_empty() && (may_hurry || !self.plan.is_idle());
        is_wanted.then_some(self.plan.next)
    }

    fn is_plan_stale(&mut self, now: Time) -> bool {
        let has_news = self.plan.note_new_classes();
        std::mem::take(&mut self.plan.is_due) || has_news || (self.next_plan().is_some() && self.plan.next <= now)
    }

    fn index_wanted(&mut self) {
        let (peers, policy, zkvm) = (&self.peers, &self.policy, &self.zkvm);
        for class in self.plan.demand.keys().chain(self.plan.copy_demand.keys()) {
            let place = |node: &NodeId, arrival| place(peers.get(node)?, policy, zkvm, *class, arrival);
            self.bids.index(*class, place);
        }
    }

    /// Gives a node that has just bid a unit, if one is for it.
    fn serve(&mut self, now: Time, node: &NodeId) {
        let Some(peer) = self.peers.get(node) else { return };
        let suits = |class: &Class| {
            let takes_ms = peer.predict_ms(&self.policy, class.0, class.1);
            let is_late = !self.plan.copy_demand.contains_key(class)
                && self.latest(now, *class).is_some_and(|limit| now.after(takes_ms) > limit);
            self.bids.is_able(*class, node) && (!is_late || !peer.is_measured(class.0))
        };
        let of = |demand: &BTreeMap<Class, BTreeSet<JobId>>| -> BTreeSet<JobId> {
            demand.iter().filter(|(class, _)| suits(class)).flat_map(|(_, jobs)| jobs.iter().copied()).collect()
        };
        let mut jobs = of(&self.plan.demand);
        if !self.plan.copy_demand.is_empty() && self.may_copy(Doubt::Late) {
            jobs.extend(of(&self.plan.copy_demand));
        }
        self.share_out(now, jobs);
    }

    /// Leases units of `jobs` one by one, each time of the job with the smallest share of the fleet, until nothing fits.
    fn share_out(&mut self, now: Time, jobs: impl IntoIterator<Item = JobId>) {
        let mut order: BinaryHeap<_> = jobs.into_iter().filter_map(|job| self.turn(job)).map(Reverse).collect();
        while let Some(Reverse((_, _, job))) = order.pop() {
            if self.bids.is_empty() {
                break;
            }
            if self.lease_one(now, job) {
                order.extend(self.turn(job).map(Reverse));
            }
        }
    }

    /// A job's place in the order of jobs: its share of the fleet, then its age.
    fn turn(&self, id: JobId) -> Option<(u64, Time, JobId)> {
        let job = self.jobs.get(&id).filter(|job| job.is_open())?;
        let share = (job.live as u64).saturating_mul(1_000) / job.spec.priority.weight();
        Some((share, job.submitted, id))
    }

    /// Leases one unit of a job, if a waiting node suits one.
    fn lease_one(&mut self, now: Time, id: JobId) -> bool {
        let Some(job) = self.jobs.get(&id) else { return false };
        let copies: Vec<Class> = if job.ready.wants_copies() && self.may_copy(Doubt::Late) {
            job.ready.copy_classes().collect()
        } else {
            Vec::new()
        };
        for class in copies {
            let units = |job: &crate::job::Job<P>| job.ready.copies(class).take(UNITS_SCANNED).collect::<Vec<Unit>>();
            if self.lease_of(now, id, class, units, true) {
                return true;
            }
        }
        let classes: Vec<Class> = self.jobs.get(&id).map(|job| job.ready.classes().collect()).unwrap_or_default();
        classes.into_iter().any(|class| {
            let units = |job: &crate::job::Job<P>| job.ready.needed(class).take(UNITS_SCANNED).collect::<Vec<Unit>>();
            self.lease_of(now, id, class, units, false)
        })
    }

    fn lease_of(
        &mut self,
        now: Time,
        id: JobId,
        class: Class,
        units: impl Fn(&crate::job::Job<P>) -> Vec<Unit>,
        is_copy: bool,
    ) -> bool {
        let listed = self.jobs.get(&id).map(units).unwrap_or_default();
        for unit in listed {
            match self.pick(now, id, class, unit, is_copy) {
                Pick::Node(node) => return self.grant(now, id, class, unit, node),
                Pick::Near(until) => self.await_near(id, until),
                Pick::NotThis => {}
                Pick::Nobody => return false,
            }
        }
        false
    }

    fn await_near(&mut self, id: JobId, until: Time) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.near_until.is_none_or(|at| until < at)) {
            job.near_until = Some(until);
            self.timers.add(until, Wake::Near(id));
        }
    }

    fn grant(&mut self, now: Time, id: JobId, class: Class, unit: Unit, node: NodeId) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let mut cx = Context {
            now,
            policy: &self.policy,
            peers: &mut self.peers,
            holding: &mut self.holding,
            timers: &mut self.timers,
            out: &mut self.out,
        };
        let lease: Option<Lease> = job.grant(unit, node, &self.me, &mut cx);
        job.is_touched = false;
        self.plan.note_wants(job);
        let (Some(lease), Some(bid)) = (lease, self.bids.remove(&node)) else { return false };
        self.plan.leased.insert(class, now);
        self.answer(bid.ask, Response::Lease(Box::new(lease)));
        true
    }

    /// The waiting node that suits a unit best.
    fn pick(&self, now: Time, id: JobId, class: Class, unit: Unit, is_copy: bool) -> Pick {
        let Some(entry) = self.jobs.get(&id).and_then(|job| job.ledger.get(&unit)) else { return Pick::NotThis };
        let mut limit = self.limit(now, id, class);
        if is_copy && !entry.is_late() {
            if !self.may_copy(Doubt::Slower) {
                return Pick::NotThis;
            }
            limit = earlier(limit, self.overtakes_by(now, entry));
        }
        let mut is_anybody = false;
        let (mut best, mut last_resort) = (None, None);
        for (score, node) in self.bids.best(class, self.penalty_percent()).take(NODES_SCANNED) {
            let Some(peer) = self.peers.get(&node) else { continue };
            let is_late =
                self.policy.ranking == Ranking::Fastest && limit.is_some_and(|limit| now.after(score) > limit);
            if is_late && peer.is_measured(class.0) {
                break;
            }
            if peer.is_blocked(now) || !has_free_slot(&self.peers, &self.holding, &self.policy, &node) {
                continue;
            }
            is_anybody = true;
            if entry.live().any(|(_, lease)| lease.node == node) {
                continue;
            }
            // A unit that failed goes to a node whose word counts if it fails again.
            let is_tried = entry.worker_failures.contains_key(&node);
            let is_doubtful = self.plan.has_proven && !entry.worker_failures.is_empty() && peer.delivered == 0;
            if is_doubtful {
                continue;
            }
            if is_tried || self.shares_origin(entry, peer) {
                last_resort = last_resort.or(Some(node));
                continue;
            }
            best = Some((score, node));
            break;
        }
        if let Some(pick) = self.pick_near(now, class, entry, best.map(|(score, _)| score)).filter(|_| !is_copy) {
            return pick;
        }
        match best.map(|(_, node)| node).or(last_resort) {
            Some(node) => Pick::Node(node),
            None if is_anybody => Pick::NotThis,
            None => Pick::Nobody,
        }
    }

    /// The node that made a unit's input, if it is about as good as the `best` other one: it need not fetch.
    fn pick_near(&self, now: Time, class: Class, entry: &Entry<P>, best: Option<u64>) -> Option<Pick> {
        let (kind, po2) = class;
        let suits = |node: &NodeId| {
            let peer = self.peers.get(node)?;
            let offer = peer.capabilities.as_ref()?;
            let takes_ms = peer.predict_ms(&self.policy, kind, po2);
            let is_free = !peer.is_blocked(now) && has_free_slot(&self.peers, &self.holding, &self.policy, node);
            let is_good = best.is_none_or(|best| takes_ms <= best.saturating_add(self.policy.near_gain_ms));
            let is_good = is_good && is_able(offer, kind, po2) && !entry.worker_failures.contains_key(node);
            (peer.connected && is_free && is_good).then_some(takes_ms)
        };
        let (_, node) = entry.near.iter().filter_map(|node| Some((suits(node)?, *node))).min()?;
        if self.bids.is_able(class, &node) {
            return Some(Pick::Node(node));
        }
        let until = entry.since.after(self.policy.near_wait_ms);
        // With nobody else there, the unit waits in any case.
        (now < until && best.is_some() && self.bids.get(&node).is_none()).then_some(Pick::Near(until))
    }

    fn shares_origin(&self, entry: &Entry<P>, peer: &Peer) -> bool {
        let origins = entry.live().filter_map(|(_, lease)| self.peers.get(&lease.node)).map(|other| other.origin);
        origins.into_iter().any(|origin| origin.is_shared_with(&peer.origin))
    }

    /// How much a newcomer's prediction is worse than it says: by what newcomers deliver in vain.
    fn penalty_percent(&self) -> u64 {
        match self.policy.ranking {
            Ranking::Fastest => self.peers.newcomers().per_hundred(),
            Ranking::Arrival => 0,
        }
    }

    /// When a lease of a class must be done by, to be of use: within the fleet's horizon and its margin, longer by the time in which the
    /// class waited in vain for a better node. Lifts and joins may also take until the job's last segment proof.
    fn limit(&self, now: Time, job: JobId, class: Class) -> Option<Time> {
        self.limit_beside(now, class, self.plan.proofs_end.get(&job).copied())
    }

    /// The same for whichever job allows most.
    fn latest(&self, now: Time, class: Class) -> Option<Time> {
        self.limit_beside(now, class, Some(self.plan.proofs_end_max))
    }

    fn limit_beside(&self, now: Time, class: Class, proofs_end: Option<Time>) -> Option<Time> {
        if self.policy.gate_percent == 0 {
            return None;
        }
        let horizon = (*self.plan.horizons.get(&class)?)?;
        let margin = horizon.since(self.plan.at).saturating_mul(self.policy.gate_percent) / 100;
        let waited = now.since(self.plan.leased.get(&class).copied().unwrap_or(now));
        let limit = self.plan.at.after(margin);
        let proofs_end = proofs_end.filter(|_| class.0 != UnitKind::Prove);
        Some(limit.max(proofs_end.unwrap_or(limit)).after(waited))
    }

    /// When a copy must be done by to be worth it, where no lease of the unit is late: well before the first of them.
    fn overtakes_by(&self, now: Time, entry: &Entry<P>) -> Option<Time> {
        let is_slow = entry.live().all(|(_, lease)| lease.doubt == Some(Doubt::Slower));
        let ends = entry.live().map(|(_, lease)| lease.end());
        let end = ends.min().filter(|_| is_slow)?;
        Some(now.after(end.since(now).saturating_mul(100_u64.saturating_sub(self.policy.late_gain_percent)) / 100))
    }

    /// When the fleet could be done with a lease's unit if that were leased anew, by a reckoning that is not old and knows of the lease.
    pub(super) fn again_by(&self, now: Time, lease: LeaseId) -> Option<Time> {
        let granted = self.jobs.get(&lease.job)?.running(lease)?.granted;
        let is_young = now.since(self.plan.at) <= 2 * self.policy.plan_ms_max && self.plan.at > granted;
        let is_fresh = is_young && self.policy.late_gain_percent > 0;
        let class = self.class_of(lease).filter(|_| is_fresh)?;
        *self.plan.horizons.get(&class)?
    }

    /// Whether the budget allows one more copy: a share of all live leases, more where many leases come to nothing, and for leases that
    /// are late also a share of the nodes that would be idle otherwise.
    fn may_copy(&self, doubt: Doubt) -> bool {
        let sum = |(live, copies), job: &crate::job::Job<P>| (live + job.live, copies + job.copies);
        let (live, copies) = self.jobs.values().fold((0, 0), sum);
        let waiting: usize = self.jobs.values().map(|job| job.ready.len()).sum();
        let spare = if doubt == Doubt::Late { self.bids.len().saturating_sub(waiting) } else { 0 };
        copies < self.copies_allowed(live, spare)
    }

    /// Copies that may be live beside each other when `live` leases are, and `spare` nodes wait for which there is nothing else.
    pub fn copies_allowed(&self, live: usize, spare: usize) -> usize {
        let lost = usize::try_from(self.peers.losses().per_hundred()).unwrap_or(usize::MAX);
        let percent = self.policy.copies_percent.max(lost);
        let spared = spare.saturating_mul(self.policy.spare_percent) / 100;
        live.saturating_mul(percent) / 100 + spared + self.policy.copies_min
    }

    /// Reckons what the fleet can do with everything that waits, and which leases a free node would overtake.
    fn reckon(&mut self, now: Time) {
        self.plan.at = now;
        self.plan.has_proven = self.peers.has_proven(now);
        let classes: Vec<Class> = self.plan.horizons.keys().copied().collect();
        let places = self.places(now, &classes);
        let mut soonest = u64::MAX;
        for (class, places) in classes.into_iter().zip(places) {
            if !self.plan.is_wanted(&class) {
                self.plan.leased.remove(&class);
            }
            self.plan.leased.entry(class).or_insert(now);
            let horizon = horizon_ms(&places, self.backlog(class).max(1));
            soonest = soonest.min(horizon.unwrap_or(u64::MAX));
            self.plan.horizons.insert(class, horizon.map(|ms| now.after(ms)));
        }
        self.expect_proofs(now);
        self.plan.next = now.after((soonest / 16).clamp(self.policy.plan_ms_min, self.policy.plan_ms_max));
        if self.policy.late_gain_percent > 0 {
            self.doubt_slow_leases(now);
        }
    }

    /// Where units of each class can be done, and when: every node that is there and able. One that is late already is not counted.
    fn places(&self, now: Time, classes: &[Class]) -> Vec<Vec<capacity::Place>> {
        let mut places = vec![Vec::new(); classes.len()];
        let mut holding = self.holding.nodes().peekable();
        for (node, peer) in self.peers.iter() {
            while holding.next_if(|(holder, _)| *holder < node).is_some() {}
            let leases = holding.next_if(|(holder, _)| *holder == node).map(|(_, leases)| leases);
            let is_there = peer.connected && !peer.is_blocked(now) && now.since(peer.heard) < self.policy.present_ms;
            let offer = peer.capabilities.as_ref().filter(|offer| is_there && offer.zkvm == self.zkvm);
            let Some((offer, free_in_ms)) = offer.zip(self.free_in_ms(now, peer, leases)) else { continue };
            for ((kind, po2), places) in classes.iter().zip(&mut places) {
                if is_able(offer, *kind, *po2) {
                    let takes_ms = peer.predict_ms(&self.policy, *kind, *po2);
                    places.push(capacity::Place { free_in_ms, takes_ms });
                }
            }
        }
        places
    }

    /// Milliseconds until a node has a free slot, as predicted; nothing if one of its leases is late.
    fn free_in_ms(&self, now: Time, peer: &Peer, leases: Option<&BTreeSet<LeaseId>>) -> Option<u64> {
        let Some(leases) = leases.filter(|leases| leases.len() >= peer.slots(&self.policy)) else { return Some(0) };
        let running = |lease: &LeaseId| self.jobs.get(&lease.job)?.running(*lease);
        let ends = leases
            .iter()
            .filter_map(running)
            .map(|record| (record.doubt != Some(Doubt::Late)).then(|| record.end().since(now)));
        ends.min().unwrap_or(Some(0))
    }

    /// What waits, in units of a class: proofs of all sizes by their cycles; lifts and joins, which take about the same, by number.
    fn backlog(&self, (kind, po2): Class) -> u64 {
        let counts = self.jobs.values().filter(|job| job.is_open()).flat_map(|job| job.ready.counts());
        let work = counts.filter(|((other, _), _)| (*other == UnitKind::Prove) == (kind == UnitKind::Prove));
        let per_unit =
            |other: manyhands_proto::Po2| if kind == UnitKind::Prove { other.cycles() } else { po2.cycles() };
        let sum =
            work.map(|((_, other), units)| per_unit(other).saturating_mul(units as u64)).fold(0, u64::saturating_add);
        sum.div_ceil(po2.cycles())
    }

    /// When each job's last segment proof is expected: of those leased, by their predictions; of those that wait, by the horizon.
    fn expect_proofs(&mut self, now: Time) {
        self.plan.proofs_end.clear();
        for (_, lease) in self.holding.iter().filter(|(_, lease)| lease.unit.kind() == UnitKind::Prove) {
            let Some(record) = self.jobs.get(&lease.job).and_then(|job| job.running(lease)) else { continue };
            // A late one may end at any time; its copy takes about as long as it was to take.
            let is_late = record.doubt == Some(Doubt::Late);
            let expected = if is_late { now.after(record.predicted_ms) } else { record.end() };
            let end = self.plan.proofs_end.entry(lease.job).or_insert(now);
            *end = (*end).max(expected);
        }
        let proofs = self.plan.demand.iter().filter(|((kind, _), _)| *kind == UnitKind::Prove);
        for (class, jobs) in proofs {
            let Some(horizon) = self.plan.horizons.get(class).copied().flatten() else { continue };
            for job in jobs {
                let end = self.plan.proofs_end.entry(*job).or_insert(horizon);
                *end = (*end).max(horizon);
            }
        }
        self.plan.proofs_end_max = self.plan.proofs_end.values().copied().max().unwrap_or(now);
    }

    /// Marks, in jobs where nothing else waits, the leases that a waiting node would overtake, the last to end first.
    fn doubt_slow_leases(&mut self, now: Time) {
        let waiting: usize = self.jobs.values().map(|job| job.ready.len()).sum();
        if self.bids.len() <= waiting {
            return;
        }
        let mut slow: Vec<(Time, LeaseId)> = Vec::new();
        for job in self.jobs.values().filter(|job| job.is_open() && job.ready.is_empty() && job.live > 0) {
            slow.extend(job.undoubted());
        }
        slow.sort_unstable_by_key(|(end, lease)| (Reverse(*end), *lease));
        for class in slow.iter().map(|(_, lease)| self.class_of(*lease)).collect::<BTreeSet<_>>().into_iter().flatten()
        {
            let (peers, policy, zkvm) = (&self.peers, &self.policy, &self.zkvm);
            self.bids.index(class, |node, arrival| place(peers.get(node)?, policy, zkvm, class, arrival));
        }
        let mut used: BTreeMap<Class, usize> = BTreeMap::new();
        for (end, lease) in slow.into_iter().take(self.policy.copies_min.max(self.bids.len() / 4)) {
            let Some(class) = self.class_of(lease) else { continue };
            let nth = used.entry(class).or_default();
            let Some((score, _)) = self.bids.best(class, self.penalty_percent()).nth(*nth) else { continue };
            let kept = 100_u64.saturating_sub(self.policy.late_gain_percent);
            if score > end.since(now).saturating_mul(kept) / 100 {
                continue;
            }
            *nth += 1;
            if let Some(job) = self.jobs.get_mut(&lease.job) {
                job.doubt(lease, Doubt::Slower, &self.policy);
                job.is_touched = false;
                self.plan.note_wants(job);
            }
        }
        self.index_wanted();
    }

    fn class_of(&self, lease: LeaseId) -> Option<Class> {
        let entry = self.jobs.get(&lease.job)?.ledger.get(&lease.unit)?;
        Some((lease.unit.kind(), entry.po2))
    }
}

/// Where a node stands among those that wait for a class of units, if it is able to do them.
fn place(peer: &Peer, policy: &crate::Policy, zkvm: &str, (kind, po2): Class, arrival: u64) -> Option<Place> {
    peer.capabilities.as_ref().filter(|offer| offer.zkvm == zkvm && is_able(offer, kind, po2))?;
    Some(match policy.ranking {
        Ranking::Fastest => Place { rank: peer.predict_ms(policy, kind, po2), is_trusted: peer.is_trusted(policy) },
        Ranking::Arrival => Place { rank: arrival, is_trusted: true },
    })
}

fn earlier(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
