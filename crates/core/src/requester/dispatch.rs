//! Step III over all jobs: which unit meets which waiting bid.
//!
//! Jobs share the fleet by priority, then by age. A unit goes to the waiting node that is predicted to be done first; a node that would
//! only be done long after the fleet could do everything else waits, and so does the unit. Leases that are late, or that a free node
//! would overtake, get a copy, within a budget.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use manyhands_proto::message::{Lease, Response};
use manyhands_proto::{JobId, LeaseId, NodeId, Unit};

use super::{AskId, Command, Context, Event, Requester, has_free_slot};
use crate::bids::{Footing, Place};
use crate::job::ready::Class;
use crate::job::step3_dispatch::is_able;
use crate::job::{Doubt, Entry};
use crate::peers::Peer;
use crate::policy::Ranking;
use crate::timers::Wake;
use crate::{ProofSystem, Time};

mod plan;
mod standing;

pub(crate) use plan::Plan;

/// Waiting nodes looked at for one unit. More are only needed if that many have failed at it or share an operator.
const NODES_SCANNED: usize = 64;

/// Units of a class looked at for one lease. More are only needed if that many wait for the node near their inputs.
const UNITS_SCANNED: usize = 64;

/// What was found among some of the waiting nodes.
#[derive(Default)]
struct Found {
    /// The best, with its score.
    best: Option<(u64, NodeId)>,
    /// One that had better not have the unit, if there is nobody else.
    last_resort: Option<NodeId>,
    /// Whether any is free at all.
    is_anybody: bool,
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

impl<P: ProofSystem> Requester<P> {
    /// Holds a bid until a unit needs it.
    pub(super) fn hold_bid(&mut self, now: Time, node: NodeId, ask: AskId) {
        let until = now.after(self.policy.bid_hold_ms);
        let (peers, policy, zkvm) = (&self.peers, &self.policy, &self.zkvm);
        let place = |class, arrival| peers.get(&node).and_then(|peer| place(now, peer, policy, zkvm, class, arrival));
        self.bids.hold(node, (ask, until), peers.counted_in(&node, policy), place);
        self.bidders.insert(node);
        self.timers.add(until, Wake::Bid(node));
    }

    /// Orders the bid of a node anew, if one waits: the node said what it can do, or what it is known for has changed.
    pub(super) fn place_again(&mut self, now: Time, node: &NodeId) {
        let (peers, policy, zkvm) = (&self.peers, &self.policy, &self.zkvm);
        let place = |class, arrival| peers.get(node).and_then(|peer| place(now, peer, policy, zkvm, class, arrival));
        if self.bids.place_again(node, place) {
            self.bidders.insert(*node);
        }
    }

    /// Matches what has changed, and announces what is left.
    pub(super) fn settle(&mut self, now: Time) {
        let changed = self.peers.take_changed();
        if !changed.is_empty() {
            self.out.event(Event::Standings { changed });
        }
        for node in std::mem::take(&mut self.peers.moved) {
            self.place_again(now, &node);
        }
        let suspended = std::mem::take(&mut self.peers.suspended);
        if !suspended.is_empty() {
            self.out.event(Event::Suspended { nodes: suspended.into_iter().collect() });
        }
        for verifier in std::mem::take(&mut self.peers.distrusted) {
            self.out.event(Event::Distrusted { verifier, for_ms: self.policy.block_ms_max });
        }
        let touched = std::mem::take(&mut self.touched);
        for id in &touched {
            if let Some(job) = self.jobs.get(id) {
                self.plan.note_wants(job);
            }
        }
        let bidders = std::mem::take(&mut self.bidders);
        if !self.bids.is_empty() {
            self.index_wanted(now);
            if self.is_plan_stale(now) {
                self.reckon(now);
                let all: BTreeSet<JobId> =
                    self.plan.demand.values().chain(self.plan.copy_demand.values()).flatten().copied().collect();
                self.share_out(now, all);
            } else {
                self.share_out(now, touched.iter().copied());
                bidders.iter().for_each(|node| self.serve(now, node));
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

    fn index_wanted(&mut self, now: Time) {
        let (peers, policy, zkvm) = (&self.peers, &self.policy, &self.zkvm);
        for class in self.plan.demand.keys().chain(self.plan.copy_demand.keys()) {
            let place = |node: &NodeId, arrival| place(now, peers.get(node)?, policy, zkvm, *class, arrival);
            self.bids.index(*class, place);
        }
    }

    /// Gives a node that has just bid a unit, if one is for it.
    fn serve(&mut self, now: Time, node: &NodeId) {
        let Some(peer) = self.peers.get(node) else { return };
        let suits = |class: &Class| {
            let takes_ms = peer.predict_ms(&self.policy, class.0, class.1);
            let is_late = self.latest(now, *class).is_some_and(|limit| now.after(takes_ms) > limit);
            !is_late || !peer.is_measured(class.0)
        };
        let of = |demand: &BTreeMap<Class, BTreeSet<JobId>>| -> BTreeSet<JobId> {
            let mut found = BTreeSet::new();
            for (class, jobs) in demand.iter().filter(|(class, _)| self.bids.is_able(**class, node)) {
                let suits = suits(class);
                found.extend(jobs.iter().filter(|job| suits || self.is_circled(job, node)));
            }
            found
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
        let is_leased = classes.into_iter().any(|class| {
            let units = |job: &crate::job::Job<P>| job.ready.needed(class).take(UNITS_SCANNED).collect::<Vec<Unit>>();
            self.lease_of(now, id, class, units, false)
        });
        is_leased || self.lease_tried(now, id)
    }

    /// Leases a unit that only strangers work on to a node that has a score, where nothing else waits for it.
    fn lease_tried(&mut self, now: Time, id: JobId) -> bool {
        if self.bids.len() <= self.plan.waiting() || !self.may_copy(Doubt::Late) {
            return false;
        }
        let classes: Vec<Class> = self.jobs.get(&id).map(|job| job.ready.tried_classes().collect()).unwrap_or_default();
        classes.into_iter().any(|class| {
            let units = |job: &crate::job::Job<P>| job.ready.tried(class).take(UNITS_SCANNED).collect::<Vec<Unit>>();
            self.lease_of(now, id, class, units, true)
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
            me: &self.me,
            is_private: self.circles.contains_key(&id),
            binder: &self.binder,
            peers: &mut self.peers,
            holding: &mut self.holding,
            timers: &mut self.timers,
            out: &mut self.out,
        };
        let lease: Option<Lease> = job.grant(unit, node, &mut cx);
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
        // The rest of the fleet does nothing for a job that is not for everybody, so nobody in its circle is too slow for it.
        let circle = self.circle(&id);
        let mut limit = self.limit(now, id, class).filter(|_| circle.is_none());
        let is_tried = entry.is_tried();
        if is_tried {
            limit = earlier(limit, self.awaited_by(now, entry));
        } else if is_copy && !entry.is_late() {
            if !self.may_copy(Doubt::Slower) {
                return Pick::NotThis;
            }
            limit = earlier(limit, self.overtakes_by(now, entry));
        }
        let percent = self.penalty_percent();
        let mut found = self.scan(now, &id, class, entry, limit, self.bids.known(class, percent));
        if found.best.is_none() && !is_tried {
            let strangers = self.scan(now, &id, class, entry, limit, self.bids.strangers(class, percent));
            found = Found {
                best: strangers.best,
                last_resort: found.last_resort.or(strangers.last_resort),
                is_anybody: found.is_anybody || strangers.is_anybody,
            };
        }
        if let Some(pick) = self.pick_near(now, id, class, entry, found.best).filter(|_| !is_copy) {
            return pick;
        }
        match found.best.map(|(_, node)| node).or(found.last_resort) {
            Some(node) => Pick::Node(node),
            None if found.is_anybody => Pick::NotThis,
            None => Pick::Nobody,
        }
    }

    /// The first of some waiting nodes, best first, that may have a unit and is done with it in time.
    fn scan(
        &self,
        now: Time,
        id: &JobId,
        class: Class,
        entry: &Entry<P>,
        limit: Option<Time>,
        nodes: impl Iterator<Item = (u64, NodeId)>,
    ) -> Found {
        let mut found = Found::default();
        for (score, node) in nodes.filter(|(_, node)| self.lets(id, node)).take(NODES_SCANNED) {
            let Some(peer) = self.peers.get(&node) else { continue };
            let is_late =
                self.policy.ranking == Ranking::Fastest && limit.is_some_and(|limit| now.after(score) > limit);
            if is_late && peer.is_measured(class.0) {
                break;
            }
            if peer.is_blocked(now) || !has_free_slot(&self.peers, &self.holding, &self.policy, &node) {
                continue;
            }
            found.is_anybody = true;
            if entry.live().any(|(_, lease)| lease.node == node) {
                continue;
            }
            // A unit that failed goes to a node whose word counts if it fails again.
            let has_failed = entry.worker_failures.contains_key(&node);
            let is_doubtful = self.plan.has_proven && !entry.worker_failures.is_empty() && peer.delivered == 0;
            if is_doubtful {
                continue;
            }
            if has_failed || self.shares_origin(entry, peer) {
                found.last_resort = found.last_resort.or(Some(node));
                continue;
            }
            found.best = Some((score, node));
            break;
        }
        found
    }

    /// The node that made a unit's input, if it is about as good as the `best` other one: it need not fetch.
    fn pick_near(
        &self,
        now: Time,
        id: JobId,
        class: Class,
        entry: &Entry<P>,
        best: Option<(u64, NodeId)>,
    ) -> Option<Pick> {
        let (kind, po2) = class;
        let is_stranger = |peer: &Peer| peer.is_stranger(now, kind, po2, &self.policy);
        let is_known = best.and_then(|(_, best)| self.peers.get(&best)).is_some_and(|best| !is_stranger(best));
        let suits = |node: &NodeId| {
            let peer = self.peers.get(node).filter(|peer| !is_known || !is_stranger(peer))?;
            let offer = peer.capabilities.as_ref()?;
            let takes_ms = peer.predict_ms(&self.policy, kind, po2);
            let is_free = !peer.is_blocked(now) && has_free_slot(&self.peers, &self.holding, &self.policy, node);
            let is_good = best.is_none_or(|(best, _)| takes_ms <= best.saturating_add(self.policy.near_gain_ms));
            let is_good = is_good && is_able(offer, kind, po2) && !entry.worker_failures.contains_key(node);
            (peer.connected && is_free && is_good).then_some(takes_ms)
        };
        let near = entry.near.iter().filter(|node| self.lets(&id, node));
        let (_, node) = near.filter_map(|node| Some((suits(node)?, *node))).min()?;
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

    /// When the first of the strangers that work on a unit may be expected, by what strangers deliver in vain.
    fn awaited_by(&self, now: Time, entry: &Entry<P>) -> Option<Time> {
        let percent = self.penalty_percent().saturating_add(100);
        entry.live().map(|(_, lease)| now.after(lease.end().since(now).saturating_mul(percent) / 100)).min()
    }

    /// When a copy must be done by to be worth it, where no lease of the unit is late: well before the first of them.
    fn overtakes_by(&self, now: Time, entry: &Entry<P>) -> Option<Time> {
        let is_slow = entry.live().all(|(_, lease)| lease.doubt == Some(Doubt::Slower));
        let ends = entry.live().map(|(_, lease)| lease.end());
        let end = ends.min().filter(|_| is_slow)?;
        Some(now.after(end.since(now).saturating_mul(100_u64.saturating_sub(self.policy.late_gain_percent)) / 100))
    }

    fn class_of(&self, lease: LeaseId) -> Option<Class> {
        let entry = self.jobs.get(&lease.job)?.ledger.get(&lease.unit)?;
        Some((lease.unit.kind(), entry.po2))
    }
}

/// Where a node stands among those that wait for a class of units, if it is able to do them.
fn place(
    now: Time,
    peer: &Peer,
    policy: &crate::Policy,
    zkvm: &str,
    (kind, po2): Class,
    arrival: u64,
) -> Option<Place> {
    peer.capabilities.as_ref().filter(|offer| offer.zkvm == zkvm && is_able(offer, kind, po2))?;
    let footing = if peer.is_stranger(now, kind, po2, policy) {
        Footing::Stranger
    } else if policy.ranking == Ranking::Arrival || peer.is_trusted(policy) {
        Footing::Trusted
    } else {
        Footing::Newcomer
    };
    let rank = match policy.ranking {
        Ranking::Fastest => peer.predict_ms(policy, kind, po2),
        Ranking::Arrival => arrival,
    };
    Some(Place { rank, footing })
}

fn earlier(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
