//! The oracle: it sees everything, and says after each event whether a rule of the product is broken. Each look costs O(log n).
//!
//! It keeps its own books from what the gateways say, so it cannot inherit a mistake from theirs.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_core::{Parts, Receipted};
use manyhands_proto::{LeaseId, Reference, SegmentRange, Unit};

use crate::fleet::number_of;

mod proofs;

pub use proofs::FakeProofs;
pub(crate) use proofs::{Claim, Receipt, Receipts, segment_reference};

/// Why nothing can be there to be resolved.
const NOTHING_ASSUMED: &str = "the simulated guests rely on no other proofs, and leave no keccak permutations";

/// A rule that was broken: the seed and the moment that show it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, at {at_ms} ms: {what}")]
pub struct Violation {
    /// The world's seed.
    pub seed: u64,
    /// The virtual time.
    pub at_ms: u64,
    /// What is wrong, in a sentence.
    pub what: String,
}

/// The oracle's books.
#[derive(Debug)]
pub(crate) struct Oracle {
    gateways: usize,
    slots: u8,
    /// The most leases of one unit at once, if the rules promise a bound.
    copies_max: Option<u32>,
    /// Running leases by gateway and node.
    load: Vec<u8>,
    /// Running leases by gateway, and copies among them.
    books: Vec<(usize, usize)>,
    running: BTreeMap<LeaseId, u32>,
    granted: BTreeMap<(u32, Unit), Granted>,
    passed: BTreeSet<(LeaseId, u32, Reference)>,
    jobs: Vec<Progress>,
}

#[derive(Debug, Default)]
struct Granted {
    attempts: u32,
    running: u32,
}

#[derive(Debug, Default)]
struct Progress {
    proofs: BTreeSet<u32>,
    lifts: BTreeSet<u32>,
    /// Verified ranges that no verified join has taken up.
    ranges: BTreeMap<u32, u32>,
    is_assembled: bool,
    is_done: bool,
}

impl Oracle {
    pub(crate) fn new(gateways: u32, nodes: u32, jobs: u32, slots: u8, copies_max: Option<u32>) -> Self {
        Self {
            gateways: gateways as usize,
            slots,
            copies_max,
            load: vec![0; gateways as usize * nodes as usize],
            books: vec![(0, 0); gateways as usize],
            running: BTreeMap::new(),
            granted: BTreeMap::new(),
            passed: BTreeSet::new(),
            jobs: (0..jobs).map(|_| Progress::default()).collect(),
        }
    }

    /// A gateway leased a unit. Tells whether another lease of it runs.
    pub(crate) fn granted(&mut self, gateway: u32, job: u32, node: u32, lease: LeaseId) -> Result<bool, String> {
        let unit = self.granted.entry((job, lease.unit)).or_default();
        if lease.attempt <= unit.attempts {
            return Err(format!("{lease} is granted, and attempt {} of the unit was granted before", unit.attempts));
        }
        unit.attempts = lease.attempt;
        let is_verified = self.jobs.get(job as usize).is_none_or(|job| job.has(lease.unit) || job.is_assembled);
        if is_verified {
            return Err(format!("{lease} is granted, and its result is verified already"));
        }
        self.begun(gateway, job, node, lease)
    }

    /// A lease that had ended goes on.
    pub(crate) fn resumed(&mut self, gateway: u32, job: u32, node: u32, lease: LeaseId) -> Result<(), String> {
        let is_known = self.granted.get(&(job, lease.unit)).is_some_and(|unit| lease.attempt <= unit.attempts);
        if !is_known || self.running.contains_key(&lease) {
            return Err(format!("{lease} goes on, and it had not ended"));
        }
        self.begun(gateway, job, node, lease).map(drop)
    }

    /// Running leases of a gateway, and copies among them.
    pub(crate) fn load(&self, gateway: u32) -> (usize, usize) {
        self.books.get(gateway as usize).copied().unwrap_or_default()
    }

    fn begun(&mut self, gateway: u32, job: u32, node: u32, lease: LeaseId) -> Result<bool, String> {
        let unit = self.granted.entry((job, lease.unit)).or_default();
        unit.running += 1;
        let is_copy = unit.running > 1;
        if self.copies_max.is_some_and(|max| unit.running > max) {
            return Err(format!("{lease} is the unit's {}th lease at once", unit.running));
        }
        if let Some((live, copies)) = self.books.get_mut(gateway as usize) {
            (*live, *copies) = (*live + 1, *copies + usize::from(is_copy));
        }
        self.running.insert(lease, node);
        let slots = self.slots;
        let load = self.load_of(gateway, node).ok_or_else(|| format!("{lease} is granted to nobody"))?;
        *load += 1;
        if *load > slots {
            return Err(format!("node {node} has {slots} slots and holds {load} leases of gateway {gateway}"));
        }
        Ok(is_copy)
    }

    /// A lease ended, in whatever way. Tells whether it was running as far as the oracle knows.
    pub(crate) fn ended(&mut self, gateway: u32, job: u32, lease: LeaseId) -> bool {
        let Some(node) = self.running.remove(&lease) else { return false };
        if let Some(load) = self.load_of(gateway, node) {
            *load = load.saturating_sub(1);
        }
        if let Some(unit) = self.granted.get_mut(&(job, lease.unit)) {
            unit.running = unit.running.saturating_sub(1);
            if let Some((live, copies)) = self.books.get_mut(gateway as usize) {
                (*live, *copies) = (live.saturating_sub(1), copies.saturating_sub(usize::from(unit.running > 0)));
            }
        }
        true
    }

    /// The verifier passed a result.
    pub(crate) fn passed(&mut self, node: u32, lease: LeaseId, reference: Reference) {
        self.passed.insert((lease, node, reference));
    }

    /// A gateway says that a result is verified.
    pub(crate) fn verified(&mut self, job: u32, result: &Receipted) -> Result<(), String> {
        let lease = result.lease;
        if !self.passed.remove(&(lease, number_of(&result.node), result.receipt.reference)) {
            return Err(format!("{lease} counts, and its receipt was never checked"));
        }
        let progress = self.jobs.get_mut(job as usize).ok_or_else(|| format!("{lease} is of no job"))?;
        let is_new = match lease.unit {
            Unit::Prove(index) => progress.proofs.insert(index),
            Unit::Lift(index) => {
                if !progress.proofs.contains(&index) {
                    return Err(format!("{lease} lifts a proof that was never verified"));
                }
                progress.lifts.insert(index) && progress.ranges.insert(index, index.saturating_add(1)).is_none()
            }
            Unit::Join { start, mid, end } => {
                let parts = (progress.ranges.remove(&start), progress.ranges.remove(&mid));
                if parts != (Some(mid), Some(end)) {
                    return Err(format!("{lease} joins ranges that are not there: {parts:?}"));
                }
                progress.ranges.insert(start, end).is_none()
            }
            Unit::Resolve { .. } | Unit::Keccak(_) | Unit::Union { .. } => {
                return Err(format!("{lease}: {NOTHING_ASSUMED}"));
            }
        };
        if is_new { Ok(()) } else { Err(format!("{lease} is accepted, and the unit was accepted before")) }
    }

    /// A gateway puts a job's receipt together.
    pub(crate) fn assembled(&mut self, job: u32, segments: u32, parts: &Parts<FakeProofs>) -> Result<(), String> {
        let progress = self.jobs.get_mut(job as usize).ok_or("a job is assembled that is none")?;
        let is_whole = match parts {
            Parts::Composite(parts, _) => {
                let is_next = |(at, (proof, _)): (usize, &(proofs::Proof, _))| proof.index() as usize == at;
                parts.len() == segments as usize
                    && progress.proofs.len() == segments as usize
                    && parts.iter().enumerate().all(is_next)
            }
            Parts::Succinct(span, _) => {
                let whole = SegmentRange { start: 0, end: segments };
                span.range() == whole && progress.ranges.get(&0) == Some(&segments)
            }
        };
        if !is_whole || progress.is_assembled {
            return Err(format!("job {job} is assembled of parts that are not the whole, or twice"));
        }
        progress.is_assembled = true;
        Ok(())
    }

    /// A gateway says that a job is done.
    pub(crate) fn done(&mut self, job: u32) -> Result<(), String> {
        let progress = self.jobs.get_mut(job as usize).ok_or("a job is done that is none")?;
        if !progress.is_assembled || progress.is_done {
            return Err(format!("job {job} is done without a receipt, or twice"));
        }
        progress.is_done = true;
        Ok(())
    }

    fn load_of(&mut self, gateway: u32, node: u32) -> Option<&mut u8> {
        self.load.get_mut((node as usize).checked_mul(self.gateways)?.checked_add(gateway as usize)?)
    }
}

impl Progress {
    fn has(&self, unit: Unit) -> bool {
        match unit {
            Unit::Prove(index) => self.proofs.contains(&index),
            Unit::Lift(index) => self.lifts.contains(&index),
            Unit::Join { start, end, .. } => self.ranges.get(&start) == Some(&end),
            Unit::Resolve { .. } | Unit::Keccak(_) | Unit::Union { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::node_id;
    use manyhands_proto::{BlobRef, JobId};

    fn lease(unit: Unit, attempt: u32) -> LeaseId {
        LeaseId { job: JobId::default(), unit, attempt }
    }

    fn result(lease: LeaseId) -> Receipted {
        let receipt = BlobRef { reference: Reference::default(), size_bytes: 1 };
        Receipted { lease, node: node_id(0), receipt, elapsed_ms: 1 }
    }

    #[test]
    fn leases_are_counted() {
        let mut oracle = Oracle::new(2, 3, 1, 1, Some(2));
        assert_eq!(oracle.granted(0, 0, 0, lease(Unit::Prove(0), 1)), Ok(false));
        assert_eq!(oracle.granted(0, 0, 1, lease(Unit::Prove(0), 2)), Ok(true));
        assert!(oracle.granted(0, 0, 2, lease(Unit::Prove(0), 2)).is_err(), "an attempt twice");
        assert!(oracle.granted(0, 0, 2, lease(Unit::Prove(0), 3)).is_err(), "a copy too many");
        assert_eq!(oracle.granted(1, 0, 0, lease(Unit::Prove(1), 1)), Ok(false), "another gateway's book");
        assert!(oracle.granted(0, 0, 0, lease(Unit::Prove(2), 1)).is_err(), "more leases than slots");
        assert!(oracle.ended(0, 0, lease(Unit::Prove(0), 1)));
        assert!(!oracle.ended(0, 0, lease(Unit::Prove(0), 1)));
    }

    #[test]
    fn copies_are_counted_and_a_lease_that_goes_on_is_counted_again() {
        let mut oracle = Oracle::new(2, 3, 1, 1, None);
        let (first, second) = (lease(Unit::Prove(1), 1), lease(Unit::Prove(1), 2));
        assert_eq!(oracle.granted(1, 0, 0, first), Ok(false));
        assert!(oracle.resumed(1, 0, 0, first).is_err(), "it still runs");
        assert!(oracle.ended(1, 0, first));
        assert_eq!(oracle.load(1), (0, 0));
        assert!(oracle.resumed(1, 0, 0, lease(Unit::Prove(7), 1)).is_err(), "it was never granted");
        assert_eq!(oracle.resumed(1, 0, 0, first), Ok(()));
        assert_eq!(oracle.granted(1, 0, 1, second), Ok(true));
        assert_eq!((oracle.load(1), oracle.load(0)), ((2, 1), (0, 0)));
        assert!(oracle.ended(1, 0, first));
        assert_eq!(oracle.load(1), (1, 0));
    }

    #[test]
    fn what_was_not_checked_does_not_count() {
        let mut oracle = Oracle::new(1, 1, 1, 1, None);
        let mut accept = |unit, is_checked: bool| {
            let result = result(lease(unit, 1));
            if is_checked {
                oracle.passed(0, result.lease, result.receipt.reference);
            }
            oracle.verified(0, &result)
        };
        assert!(accept(Unit::Prove(0), false).is_err());
        assert!(accept(Unit::Lift(0), true).is_err(), "of no proof");
        for unit in [Unit::Prove(0), Unit::Lift(0), Unit::Prove(1)] {
            assert_eq!(accept(unit, true), Ok(()));
        }
        assert!(accept(Unit::Prove(0), true).is_err(), "twice");
        assert!(accept(Unit::Join { start: 0, mid: 1, end: 2 }, true).is_err(), "a part is missing");
        assert!(oracle.done(0).is_err(), "without a receipt");
    }
}
