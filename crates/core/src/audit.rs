//! Checks of the requester's own books, for tests and for a daemon that wants to assert them. It reads everything and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::{LeaseId, NodeId, Unit};

use crate::job::ready::{Class, Need};
use crate::job::{Entry, Job, LeaseStatus};
use crate::{Policy, ProofSystem, Requester};

impl<P: ProofSystem> Requester<P> {
    /// Whether the indexes agree with the ledgers and no rule of the books is broken. Walks every unit: for tests.
    ///
    /// # Errors
    /// A sentence about the first thing that is wrong.
    pub fn audit(&self) -> Result<(), String> {
        let mut running: BTreeSet<(NodeId, LeaseId)> = BTreeSet::new();
        let mut load = (0, 0, 0);
        for job in self.jobs.values() {
            job.audit(self.policy(), &mut running)?;
            load = (load.0 + job.live, load.1 + job.copies, load.2 + job.ready.len());
        }
        if load != self.load() {
            return Err(format!("{load:?} leases, copies and waiting units there are, {:?} are counted", self.load()));
        }
        let held: BTreeSet<(NodeId, LeaseId)> = self.holding.iter().collect();
        if let Some((node, lease)) = held.symmetric_difference(&running).next() {
            return Err(format!("the index of leases and the ledger differ on {lease} of {node}"));
        }
        if !self.holding.is_counted() || !self.bids.is_counted() {
            return Err("the leases and bids of address ranges are not as many as are counted".to_owned());
        }
        let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
        running.iter().for_each(|(node, _)| *counts.entry(*node).or_default() += 1);
        for (node, count) in counts {
            let slots =
                self.peers().get(&node).and_then(|peer| peer.capabilities.as_ref()).map_or(1, |offer| offer.slots);
            if count > usize::from(slots) {
                return Err(format!("{node} has {slots} slots and holds {count} leases"));
            }
        }
        Ok(())
    }
}

impl<P: ProofSystem> Job<P> {
    fn audit(&self, policy: &Policy, running: &mut BTreeSet<(NodeId, LeaseId)>) -> Result<(), String> {
        let mut listed: BTreeSet<(Class, Need, Unit)> = BTreeSet::new();
        let (mut live_all, mut copies_all) = (0, 0);
        for (unit, entry) in &self.ledger {
            self.audit_entry(*unit, entry, policy)?;
            let live = entry.live().count();
            live_all += live;
            copies_all += live.saturating_sub(1);
            let need = if self.is_open() { entry.need(live, policy) } else { None };
            listed.extend(need.map(|need| ((unit.kind(), entry.po2), need, *unit)));
            let runs = entry.live().filter(|(_, lease)| matches!(lease.status, LeaseStatus::Running(_)));
            running.extend(runs.map(|(attempt, lease)| (lease.node, self.lease_id(*unit, attempt))));
        }
        if (live_all, copies_all) != (self.live, self.copies) {
            let (live, copies) = (self.live, self.copies);
            return Err(format!(
                "{live} live leases and {copies} copies are counted, there are {live_all} and {copies_all}"
            ));
        }
        let indexed: BTreeSet<(Class, Need, Unit)> = self.ready.iter().collect();
        match indexed.symmetric_difference(&listed).next() {
            Some((_, need, unit)) => {
                Err(format!("the index of ready units and the ledger differ on {unit} ({need:?})"))
            }
            None => Ok(()),
        }
    }

    fn audit_entry(&self, unit: Unit, entry: &Entry<P>, policy: &Policy) -> Result<(), String> {
        let live = entry.live().count();
        if live > 0 && (entry.result.is_some() || !self.is_open()) {
            return Err(format!("{unit} has {live} live leases and needs none"));
        }
        let running = entry.live().filter(|(_, lease)| matches!(lease.status, LeaseStatus::Running(_)));
        let running: Vec<NodeId> = running.map(|(_, lease)| lease.node).collect();
        let (count, nodes) = (running.len(), running.iter().collect::<BTreeSet<_>>());
        if count > policy.copies_max {
            return Err(format!("{unit} has {count} running leases, of {} at most", policy.copies_max));
        }
        if nodes.len() < count {
            return Err(format!("{unit} is leased twice to one node"));
        }
        if entry.live().any(|(attempt, _)| attempt > entry.attempts) {
            return Err(format!("{unit} has a lease beyond its {} attempts", entry.attempts));
        }
        Ok(())
    }
}
