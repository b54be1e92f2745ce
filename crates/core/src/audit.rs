//! Checks of the requester's own books, for tests and for a daemon that wants to assert them. It reads everything and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::{LeaseId, NodeId, Unit};

use crate::job::{Entry, Job, LeaseStatus, UnitState};
use crate::{ProofSystem, Requester};

impl<P: ProofSystem> Requester<P> {
    /// Whether the indexes agree with the ledgers and no rule of the books is broken. Walks every unit: for tests.
    ///
    /// # Errors
    /// A sentence about the first thing that is wrong.
    pub fn audit(&self) -> Result<(), String> {
        let mut running: BTreeSet<(NodeId, LeaseId)> = BTreeSet::new();
        for job in self.jobs.values() {
            job.audit(&mut running)?;
        }
        let held: BTreeSet<(NodeId, LeaseId)> = self.holding.iter().collect();
        if let Some((node, lease)) = held.symmetric_difference(&running).next() {
            return Err(format!("the index of leases and the ledger differ on {lease} of {node}"));
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
    fn audit(&self, running: &mut BTreeSet<(NodeId, LeaseId)>) -> Result<(), String> {
        let mut ready: BTreeSet<Unit> = BTreeSet::new();
        for (unit, entry) in &self.ledger {
            self.audit_entry(*unit, entry)?;
            if self.is_open() && entry.state() == UnitState::Stored {
                ready.insert(*unit);
            }
            let runs = entry.live().filter(|(_, lease)| matches!(lease.status, LeaseStatus::Running(_)));
            running.extend(runs.map(|(attempt, lease)| (lease.node, self.lease_id(*unit, attempt))));
        }
        for ((kind, po2), unit) in self.ready.iter() {
            if !ready.remove(&unit)
                || unit.kind() != kind
                || self.ledger.get(&unit).is_none_or(|entry| entry.po2 != po2)
            {
                return Err(format!("{unit} is in the index of ready units and should not be, or not there"));
            }
        }
        match ready.first() {
            Some(unit) => Err(format!("{unit} is ready and not in the index")),
            None => Ok(()),
        }
    }

    fn audit_entry(&self, unit: Unit, entry: &Entry<P>) -> Result<(), String> {
        let live = entry.live().count();
        if live > 0 && (entry.result.is_some() || !self.is_open()) {
            return Err(format!("{unit} has {live} live leases and needs none"));
        }
        let running = entry.live().filter(|(_, lease)| matches!(lease.status, LeaseStatus::Running(_))).count();
        if running > 1 {
            return Err(format!("{unit} is leased {running} times at once"));
        }
        if entry.live().any(|(attempt, _)| attempt > entry.attempts) {
            return Err(format!("{unit} has a lease beyond its {} attempts", entry.attempts));
        }
        Ok(())
    }
}
