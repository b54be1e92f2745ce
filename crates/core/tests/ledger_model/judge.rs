//! What a lease must be to be right, and who must not wait. Which node gets which unit is the machine's choice; this is what it may choose.

use std::collections::BTreeMap;

use manyhands_core::Requester;
use manyhands_core::Time;
use manyhands_core::requester::AskId;
use manyhands_proto::message::Lease;
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{LeaseId, NodeId, Nonce, Unit};

use crate::book::{Book, LeaseRow, Stand, Status, UnitRow};
use crate::fake::{Fake, binder, blob, po2};

impl Book {
    /// Writes down a lease that was given out, if it may be.
    pub fn grant(
        &mut self,
        core: &Requester<Fake>,
        node: NodeId,
        lease: &Lease,
        ask: AskId,
        predicted_ms: u64,
    ) -> bool {
        let (id, now, (live_all, copies)) = (lease.id, self.now, self.live_and_copies());
        let budget = core.copies_allowed(live_all, self.bids.len());
        assert_eq!(self.bids.remove(&node).map(|(ask, _)| ask), Some(ask), "{id} answers a bid that nobody holds");
        assert!(!core.peers().get(&node).unwrap().is_blocked(now), "{id} goes to a blocked node");
        assert!(self.has_free_slot(node), "{id} goes to a node without a free slot");
        let scored = self.scored_waiting(core);
        let job = self.jobs.get_mut(&id.job).filter(|job| job.stand == Stand::Open).expect("a lease of an open job");
        let unit = job.units.get_mut(&id.unit).expect("a lease of a unit");
        let live = unit.live().count();
        assert!(unit.is_stored && unit.accepted.is_none(), "{id} is not needed");
        assert_eq!(id.attempt, unit.attempts + 1, "attempts are counted");
        assert!(unit.live().all(|(_, lease)| lease.node != node), "{id} is a copy on the same node");
        if live > 0 {
            assert!(live < self.policy.copies_max && copies < budget, "{id} is a copy too many");
            // Whoever has a score may have what only strangers work on.
            let peer = core.peers().get(&node).unwrap();
            let is_stranger = peer.is_stranger(now, id.unit.kind(), po2(16), &self.policy);
            let is_tried = !is_stranger && unit.live().all(|(_, lease)| lease.is_trial);
            let is_wanted = is_tried
                || unit.live().all(|(_, lease)| lease.is_late || lease.is_slow)
                || (unit.attempts as usize) < self.policy.copies_first;
            // With this rule in force a copy may also overtake a lease that is not late, which is for the dispatcher's tests.
            assert!(is_wanted || self.policy.late_gain_percent > 0, "{id} is a copy that nobody wants");
        }
        assert_eq!(lease.inputs.len(), if matches!(id.unit, Unit::Join { .. }) { 2 } else { 1 });
        assert!(
            !matches!(id.unit, Unit::Prove(index) if lease.inputs != [blob(u64::from(index))]),
            "{id} is of another segment"
        );
        assert_eq!(lease.po2, po2(16));
        let binding = binder().bind(now, node, &id);
        assert_eq!(lease.nonce, Nonce::bound(node, id.unit.range().start, binding));
        assert_eq!(lease.deadline_ms, self.policy.deadline_ms(predicted_ms));
        unit.attempts += 1;
        let (deadline, status) = (now.after(lease.deadline_ms), Status::Running);
        let (is_late, is_slow, told) = (false, false, None);
        let peer = core.peers().get(&node).unwrap();
        let is_trial = peer.is_stranger(now, id.unit.kind(), po2(16), &self.policy);
        // Only where nobody is too slow for a unit, this one has failed nobody, and it is no copy, which had better be another operator's.
        // Whoever bid with a score that ends meanwhile keeps his place.
        let bid_at = Time(now.0.saturating_sub(self.policy.bid_hold_ms));
        let was_stranger = peer.is_stranger(bid_at, id.unit.kind(), po2(16), &self.policy);
        if live == 0 && was_stranger && self.policy.gate_percent == 0 && unit.failures.is_empty() {
            assert_eq!(scored.first(), None, "{id} goes to stranger {node}, for whom one with a score waits");
        }
        let row = LeaseRow {
            node,
            granted: now,
            predicted_ms,
            deadline,
            heard: now,
            is_late,
            is_trial,
            is_slow,
            told,
            fetches: 0,
            status,
        };
        unit.leases.insert(id.attempt, row);
        forget_oldest(unit, self.policy.attempts_remembered);
        live > 0
    }

    /// Nodes with a score that could begin at once and wait for a unit, whichever it is.
    fn scored_waiting(&self, core: &Requester<Fake>) -> Vec<NodeId> {
        let is_scored = |node: &NodeId| {
            let peer = core.peers().get(node).unwrap();
            let is_stranger = peer.is_stranger(self.now, UnitKind::Prove, po2(16), &self.policy);
            !is_stranger && !peer.is_blocked(self.now) && self.has_free_slot(*node)
        };
        self.bids.keys().copied().filter(is_scored).collect()
    }

    /// Pairs of a unit that nobody works on and a bid that nobody answers, though they fit.
    pub fn pairs(&self, core: &Requester<Fake>) -> Vec<(LeaseId, NodeId)> {
        let is_fit = |node: &NodeId| {
            let peer = core.peers().get(node).unwrap();
            peer.blocked_until.is_none() && !peer.is_denied() && self.has_free_slot(*node)
        };
        let nodes: Vec<NodeId> = self.bids.keys().copied().filter(is_fit).collect();
        let jobs = self.jobs.iter().filter(|(_, job)| job.stand == Stand::Open);
        let units = jobs.flat_map(|(job, row)| row.units.iter().map(move |(unit, row)| (*job, *unit, row)));
        let idle = units.filter(|(_, _, row)| {
            row.is_stored && row.accepted.is_none() && row.failures.is_empty() && row.live().count() == 0
        });
        let ids = idle.map(|(job, unit, row)| LeaseId { job, unit, attempt: row.attempts });
        ids.flat_map(|id| nodes.iter().map(move |node| (id, *node))).collect()
    }
}

fn forget_oldest(unit: &mut UnitRow, remembered: usize) {
    while unit.leases.len() > remembered {
        let over = unit.leases.iter().find(|(_, lease)| lease.status == Status::Over).map(|(attempt, _)| *attempt);
        let Some(oldest) = over else { return };
        unit.leases.remove(&oldest);
    }
}

/// Since when each pair waits that should not.
#[derive(Debug, Default)]
pub struct Waiting(BTreeMap<(LeaseId, NodeId), Time>);

impl Waiting {
    pub fn note(&mut self, now: Time, pairs: &[(LeaseId, NodeId)], patience_ms: u64) {
        self.0.retain(|pair, _| pairs.contains(pair));
        for pair in pairs {
            let since = *self.0.entry(*pair).or_insert(now);
            assert!(now.since(since) <= patience_ms, "{} and {} wait for each other since {since}", pair.0, pair.1);
        }
    }
}
