//! Step V: verified proofs are combined. For a composite receipt they are collected in order; for a succinct one each is lifted, and
//! any two neighbouring ranges are joined as soon as both are there; in the end what the guest relies on is resolved, one assumption after
//! the other, as each is taken out of the receipt that the one before it left. Keccak proofs are united meanwhile (`unite`).

use std::collections::BTreeMap;

use manyhands_proto::{BlobRef, NodeId, Unit};

use super::unite::United;
use super::{Assumption, Entry, Job, Outcome, Phase, Receipted, Work};
use crate::ProofSystem;
use crate::job::step6_deliver::Parts;
use crate::requester::{Command, Context};

/// The verified proofs that wait to be combined.
#[derive(Debug, Clone)]
pub(crate) struct Frontier<P: ProofSystem> {
    /// Verified segment proofs by index, for a composite receipt.
    segments: BTreeMap<u32, (P::Segment, BlobRef)>,
    /// Verified ranges by their first segment, without gaps inside and never overlapping.
    ranges: BTreeMap<u32, Ready<P>>,
    /// Verified receipts of keccak requests, by the first request.
    pub(super) keccaks: BTreeMap<u32, United<P>>,
}

#[derive(Debug, Clone)]
struct Ready<P: ProofSystem> {
    end: u32,
    range: P::Range,
    receipt: BlobRef,
    node: NodeId,
    /// Assumptions that were resolved.
    resolved: u32,
    /// Being joined with a neighbour, or resolved.
    taken: bool,
}

impl<P: ProofSystem> Default for Frontier<P> {
    fn default() -> Self {
        Self { segments: BTreeMap::new(), ranges: BTreeMap::new(), keccaks: BTreeMap::new() }
    }
}

impl<P: ProofSystem> Job<P> {
    /// A segment's own proof is verified.
    pub(crate) fn segment_verified(
        &mut self,
        index: u32,
        segment: P::Segment,
        result: Receipted,
        cx: &mut Context<'_, P>,
    ) {
        match self.spec.outcome {
            Outcome::Composite => {
                self.frontier.segments.insert(index, (segment, result.receipt));
                self.combine_if_complete(cx);
            }
            Outcome::Succinct => {
                let po2 = self.ledger.get(&Unit::Prove(index)).map_or(self.spec.po2, |entry| entry.po2);
                let entry = Entry::new(po2, Work::Lift { segment }, vec![result.receipt], vec![result.node]);
                self.open(Unit::Lift(index), entry, cx);
            }
        }
    }

    /// A lift's or join's receipt is verified: it becomes one range, and may find a neighbour.
    pub(crate) fn range_verified(&mut self, unit: Unit, range: P::Range, result: Receipted, cx: &mut Context<'_, P>) {
        if let Unit::Join { start, mid, .. } = unit {
            self.frontier.ranges.remove(&start);
            self.frontier.ranges.remove(&mid);
        }
        let covered = unit.range();
        let resolved = if let Unit::Resolve { index, .. } = unit { index.saturating_add(1) } else { 0 };
        let Receipted { receipt, node, .. } = result;
        let ready = Ready { end: covered.end, range, receipt, node, resolved, taken: false };
        self.frontier.ranges.insert(covered.start, ready);
        self.join_neighbours(covered.start, cx);
        self.combine_if_complete(cx);
    }

    /// Opens a join of the range at `start` with its right or its left neighbour, if one is free.
    fn join_neighbours(&mut self, start: u32, cx: &mut Context<'_, P>) {
        let Some(here) = self.frontier.ranges.get(&start).filter(|ready| !ready.taken) else { return };
        let right = self.frontier.ranges.get(&here.end).filter(|ready| !ready.taken).map(|_| (start, here.end));
        let left = || {
            let (before, ready) = self.frontier.ranges.range(..start).next_back()?;
            (ready.end == start && !ready.taken).then_some((*before, start))
        };
        let Some((first, second)) = right.or_else(left) else { return };
        let (Some(a), Some(b)) = (self.take(first), self.take(second)) else { return };
        let po2 = self.spec.po2;
        let work = Work::Join { left: a.range, right: b.range };
        let entry = Entry::new(po2, work, vec![a.receipt, b.receipt], vec![a.node, b.node]);
        self.open(Unit::Join { start: first, mid: second, end: b.end }, entry, cx);
    }

    /// Opens the resolution of the whole range's next assumption, if what proves it is there.
    fn resolve(&mut self, unit: Unit, assumption: Assumption, cx: &mut Context<'_, P>) {
        let Some(assumption) = self.proof_of(assumption) else { return };
        let Some(whole) = self.take(0) else { return };
        let work = Work::Resolve { range: whole.range };
        let entry = Entry::new(self.spec.po2, work, vec![whole.receipt, assumption], vec![whole.node]);
        self.open(unit, entry, cx);
    }

    /// The receipt of something that the guest relies on.
    fn proof_of(&self, assumption: Assumption) -> Option<BlobRef> {
        match assumption {
            Assumption::Given(receipt) => Some(receipt),
            Assumption::Keccak => self.keccak_root(),
        }
    }

    fn take(&mut self, start: u32) -> Option<Ready<P>> {
        let ready = self.frontier.ranges.get_mut(&start)?;
        ready.taken = true;
        Some(ready.clone())
    }

    /// Hands everything to step VI once the guest has ended and nothing is missing.
    pub(crate) fn combine_if_complete(&mut self, cx: &mut Context<'_, P>) {
        let Some(execution) = self.execution.as_ref().filter(|_| self.is_open()) else { return };
        let (segments, assumptions) = (execution.segments, &execution.assumptions);
        let parts = match self.spec.outcome {
            Outcome::Composite if self.frontier.segments.len() == segments as usize => {
                let receipts = assumptions.iter().map(|assumption| self.proof_of(*assumption));
                let Some(receipts) = receipts.collect::<Option<Vec<_>>>() else { return };
                let proofs = std::mem::take(&mut self.frontier.segments).into_values().collect();
                Parts::Composite(proofs, receipts)
            }
            Outcome::Succinct => {
                let whole = self.frontier.ranges.get(&0).filter(|ready| ready.end == segments && !ready.taken);
                let Some(whole) = whole else { return };
                if let Some(assumption) = assumptions.get(whole.resolved as usize).copied() {
                    let unit = Unit::Resolve { segments, index: whole.resolved };
                    return self.resolve(unit, assumption, cx);
                }
                Parts::Succinct(whole.range.clone(), whole.receipt)
            }
            Outcome::Composite => return,
        };
        self.phase = Phase::Assembling;
        self.recall_all(cx);
        cx.out.command(Command::Assemble { job: self.id, parts });
    }
}
