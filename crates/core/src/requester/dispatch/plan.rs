//! Step III's picture of the fleet: when all that waits could be done, who is free when, and how many copies that allows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::unit::UnitKind;
use manyhands_proto::{JobId, LeaseId, NodeId};

use super::place;
use crate::capacity::{self, horizon_ms};
use crate::job::ready::Class;
use crate::job::step3_dispatch::is_able;
use crate::job::{Doubt, Job};
use crate::peers::Peer;
use crate::ranges::Counts;
use crate::{ProofSystem, Requester, Time};

/// What the fleet can do, as reckoned from time to time, and who wants what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// Set by the wake-up that asks for a new reckoning.
    pub(crate) is_due: bool,
    pub(super) at: Time,
    pub(super) next: Time,
    pub(super) armed: Option<Time>,
    /// When the fleet could be done with all waiting units of a class; nothing if no node that is there is able.
    horizons: BTreeMap<Class, Option<Time>>,
    /// When a job's last segment proof is expected.
    proofs_end: BTreeMap<JobId, Time>,
    /// The latest of them.
    proofs_end_max: Time,
    /// Whether a node is there that has delivered before.
    pub(super) has_proven: bool,
    /// When a unit of a class was leased last, or began to be wanted.
    pub(super) leased: BTreeMap<Class, Time>,
    /// Leases and waiting units of each job that has any.
    loads: BTreeMap<JobId, Load>,
    /// The same of all jobs.
    load: Load,
    /// The jobs with units that nobody works on.
    pub(super) demand: BTreeMap<Class, BTreeSet<JobId>>,
    /// The jobs with units that want a copy.
    pub(super) copy_demand: BTreeMap<Class, BTreeSet<JobId>>,
}

/// How many leases are live, how many of them are copies, and how many units wait that nobody works on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    live: usize,
    copies: usize,
    waiting: usize,
}

impl Plan {
    /// Takes note of what a job wants and has, whenever that changed.
    pub(super) fn note_wants<P: ProofSystem>(&mut self, job: &Job<P>) {
        let new = Load { live: job.live, copies: job.copies, waiting: job.ready.len() };
        let old = if new == Load::default() { self.loads.remove(&job.id) } else { self.loads.insert(job.id, new) };
        let old = old.unwrap_or_default();
        let change = |all: usize, new: usize, old: usize| (all + new).saturating_sub(old);
        self.load = Load {
            live: change(self.load.live, new.live, old.live),
            copies: change(self.load.copies, new.copies, old.copies),
            waiting: change(self.load.waiting, new.waiting, old.waiting),
        };
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
        classes(&mut self.copy_demand, &mut job.ready.copy_classes().chain(job.ready.tried_classes()));
    }

    /// Units of all jobs that wait and nobody works on.
    pub(super) fn waiting(&self) -> usize {
        self.load.waiting
    }

    fn is_wanted(&self, class: &Class) -> bool {
        self.demand.contains_key(class) || self.copy_demand.contains_key(class)
    }

    /// Takes a class into the reckoning that was never wanted before. At most 44 there are.
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
    /// When the fleet's capacity is to be reckoned anew, if anybody waits for that.
    pub(crate) fn next_plan(&self) -> Option<Time> {
        let may_hurry =
            self.policy.late_gain_percent > 0 && self.jobs.values().any(|job| job.is_open() && job.live > 0);
        let is_wanted = !self.bids.is_empty() && (may_hurry || !self.plan.is_idle());
        is_wanted.then_some(self.plan.next)
    }

    pub(super) fn is_plan_stale(&mut self, now: Time) -> bool {
        let has_news = self.plan.note_new_classes();
        std::mem::take(&mut self.plan.is_due) || has_news || (self.next_plan().is_some() && self.plan.next <= now)
    }

    /// When a lease of a class must be done by, to be of use: within the fleet's horizon and its margin, longer by the time in which the
    /// class waited in vain for a better node. Lifts and joins may also take until the job's last segment proof.
    pub(super) fn limit(&self, now: Time, job: JobId, class: Class) -> Option<Time> {
        self.limit_beside(now, class, self.plan.proofs_end.get(&job).copied())
    }

    /// The same for whichever job allows most.
    pub(super) fn latest(&self, now: Time, class: Class) -> Option<Time> {
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
        let proofs_end = proofs_end.filter(|_| !matches!(class.0, UnitKind::Prove | UnitKind::Keccak));
        Some(limit.max(proofs_end.unwrap_or(limit)).after(waited))
    }

    /// When the fleet could be done with a lease's unit if that were leased anew, by a reckoning that is not old and knows of the lease.
    pub(crate) fn again_by(&self, now: Time, lease: LeaseId) -> Option<Time> {
        let granted = self.jobs.get(&lease.job)?.running(lease)?.granted;
        let is_young = now.since(self.plan.at) <= 2 * self.policy.plan_ms_max && self.plan.at > granted;
        let is_fresh = is_young && self.policy.late_gain_percent > 0;
        let class = self.class_of(lease).filter(|_| is_fresh)?;
        *self.plan.horizons.get(&class)?
    }

    /// Live leases, copies among them, and waiting units, of all jobs as they are counted.
    pub(crate) fn load(&self) -> (usize, usize, usize) {
        (self.plan.load.live, self.plan.load.copies, self.plan.load.waiting)
    }

    /// Whether the budget allows one more copy.
    pub(super) fn may_copy(&self, doubt: Doubt) -> bool {
        let (copies, allowed) = self.copy_budget(doubt);
        copies < allowed
    }

    /// Copies that are live, and how many may be: a share of all live leases, more where many leases come to nothing, and for leases that
    /// are late also a share of the nodes that would be idle otherwise.
    pub(super) fn copy_budget(&self, doubt: Doubt) -> (usize, usize) {
        let load = self.plan.load;
        let spare = if doubt == Doubt::Late { self.bids.len().saturating_sub(load.waiting) } else { 0 };
        (load.copies, self.copies_allowed(load.live, spare))
    }

    /// Copies that may be live beside each other when `live` leases are, and `spare` nodes wait for which there is nothing else.
    pub fn copies_allowed(&self, live: usize, spare: usize) -> usize {
        let lost = usize::try_from(self.peers.losses().per_hundred()).unwrap_or(usize::MAX);
        let percent = self.policy.copies_percent.max(lost);
        let spared = spare.saturating_mul(self.policy.spare_percent) / 100;
        live.saturating_mul(percent) / 100 + spared + self.policy.copies_min
    }

    /// Reckons what the fleet can do with everything that waits, and which leases a free node would overtake.
    pub(super) fn reckon(&mut self, now: Time) {
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

    /// Where units of each class can be done, and when: every node that is there and able. One that is late already is not counted, and
    /// strangers only where there is nobody else: what they say of themselves must make nobody look slow.
    fn places(&self, now: Time, classes: &[Class]) -> Vec<Vec<capacity::Place>> {
        let mut places = vec![(Vec::new(), Vec::new()); classes.len()];
        self.each_present(now, |_, peer, place_for| {
            for (class, (known, strangers)) in classes.iter().zip(&mut places) {
                let is_stranger = peer.is_stranger(now, class.0, class.1, &self.policy);
                let places = if is_stranger { strangers } else { known };
                places.extend(place_for(*class));
            }
        });
        places.into_iter().map(|(known, strangers)| if known.is_empty() { strangers } else { known }).collect()
    }

    /// Lets `see` look at every node that is there, may have a lease, and is not late already, by what place it is for a class; none if it is not able.
    pub(crate) fn each_present(
        &self,
        now: Time,
        mut see: impl FnMut(&NodeId, &Peer, &dyn Fn(Class) -> Option<capacity::Place>),
    ) {
        let mut holding = self.holding.nodes().peekable();
        let mut counted = Counts::default();
        for (node, peer) in self.peers.iter() {
            while holding.next_if(|(holder, _)| *holder < node).is_some() {}
            let leases = holding.next_if(|(holder, _)| *holder == node).map(|(_, leases)| leases);
            let is_there = peer.connected && !peer.is_blocked(now) && now.since(peer.heard) < self.policy.present_ms;
            let offer = peer.capabilities.as_ref().filter(|offer| is_there && offer.zkvm == self.zkvm);
            let Some((offer, free_in_ms)) = offer.zip(self.free_in_ms(now, peer, leases)) else { continue };
            if !self.peers.counts_beside(peer, &mut counted, &self.policy) {
                continue;
            }
            see(node, peer, &|(kind, po2)| {
                let takes_ms = is_able(offer, kind, po2).then(|| peer.predict_ms(&self.policy, kind, po2))?;
                Some(capacity::Place { free_in_ms, takes_ms })
            });
        }
    }

    /// Milliseconds until a node has a free slot, as predicted; nothing if one of its leases is late.
    pub(super) fn free_in_ms(&self, now: Time, peer: &Peer, leases: Option<&BTreeSet<LeaseId>>) -> Option<u64> {
        let Some(leases) = leases.filter(|leases| leases.len() >= peer.slots(&self.policy)) else { return Some(0) };
        let running = |lease: &LeaseId| self.jobs.get(&lease.job)?.running(*lease);
        let ends = leases
            .iter()
            .filter_map(running)
            .map(|record| (record.doubt != Some(Doubt::Late)).then(|| record.end().since(now)));
        ends.min().unwrap_or(Some(0))
    }

    /// What waits, in units of a class: proofs of all sizes by their cycles, keccak proofs likewise; lifts and joins, which take about the same,
    /// by number.
    pub(crate) fn backlog(&self, (kind, po2): Class) -> u64 {
        let sort = |kind: UnitKind| match kind {
            UnitKind::Lift | UnitKind::Join => UnitKind::Join,
            own @ (UnitKind::Prove | UnitKind::Keccak) => own,
        };
        let counts = self.jobs.values().filter(|job| job.is_open()).flat_map(|job| job.ready.counts());
        let work = counts.filter(|((other, _), _)| sort(*other) == sort(kind));
        let per_unit =
            |other: manyhands_proto::Po2| if sort(kind) == UnitKind::Join { po2.cycles() } else { other.cycles() };
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
        if self.bids.len() <= self.plan.load.waiting {
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
            self.bids.index(class, |node, arrival| place(now, peers.get(node)?, policy, zkvm, class, arrival));
        }
        let mut used: BTreeMap<Class, usize> = BTreeMap::new();
        for (end, lease) in slow.into_iter().take(self.policy.copies_min.max(self.bids.len() / 4)) {
            let Some(class) = self.class_of(lease) else { continue };
            let nth = used.entry(class).or_default();
            let Some((score, _)) = self.bids.known(class, self.penalty_percent()).nth(*nth) else { continue };
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
        self.index_wanted(now);
    }
}
