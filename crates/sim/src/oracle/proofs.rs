//! Proofs without cryptography, and the verifier that knows who made which receipt, for what and under which nonce.
//!
//! The proof types have private fields and are made in this file only, so nothing that was not checked can be combined.

use std::convert::Infallible;

use manyhands_core::{Check, Checked, ProofSystem, Refusal};
use manyhands_proto::message::Blame;
use manyhands_proto::{BlobRef, Nonce, Reference, SegmentRange, Unit};

/// The simulated proof system.
#[derive(Debug, Clone)]
pub struct FakeProofs;

impl ProofSystem for FakeProofs {
    type Claim = Claim;
    type Segment = Proof;
    type Range = Span;
    // No simulated guest leaves keccak permutations to its host.
    type Request = Infallible;
    type Keccak = Infallible;
}

/// What a segment claims: to be that segment of that job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    job: u32,
    index: u32,
}

impl Claim {
    pub(crate) fn new(job: u32, index: u32) -> Self {
        Self { job, index }
    }
}

/// A segment's proof that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof(Claim);

impl Proof {
    pub(crate) fn index(self) -> u32 {
        self.0.index
    }
}

/// A receipt over a range of segments that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    job: u32,
    range: SegmentRange,
}

impl Span {
    pub(crate) fn range(self) -> SegmentRange {
        self.range
    }
}

/// A receipt that some node made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receipt {
    pub(crate) node: u32,
    /// Which life of the node made it.
    pub(crate) life: u32,
    pub(crate) job: u32,
    pub(crate) unit: Unit,
    /// The nonce it was made under; means nothing for lifts and joins.
    pub(crate) nonce: Nonce,
    pub(crate) is_garbage: bool,
    pub(crate) size_bytes: u64,
    /// Whether the node still has it.
    pub(crate) is_held: bool,
}

/// Every receipt that was ever made. A blob's reference is its number here.
#[derive(Debug, Default)]
pub(crate) struct Receipts(Vec<Receipt>);

impl Receipts {
    pub(crate) fn store(&mut self, receipt: Receipt) -> BlobRef {
        let number = self.0.len() as u64;
        self.0.push(receipt);
        BlobRef { reference: receipt_reference(number), size_bytes: receipt.size_bytes }
    }

    pub(crate) fn get(&self, reference: &Reference) -> Option<&Receipt> {
        self.0.get(receipt_number(reference)?)
    }

    pub(crate) fn get_mut(&mut self, reference: &Reference) -> Option<&mut Receipt> {
        self.0.get_mut(receipt_number(reference)?)
    }

    /// The verifier: compares a receipt with what was asked for.
    ///
    /// # Errors
    /// The outer error is a broken rule of the gateway: it asked for something that cannot be. The inner one is the sender's fault.
    pub(crate) fn check(
        &self,
        job: u32,
        reference: &Reference,
        check: &Check<FakeProofs>,
    ) -> Result<Result<Checked<FakeProofs>, Refusal>, String> {
        let Some(receipt) = self.get(reference) else { return Ok(refuse("it is no receipt")) };
        let (unit, checked) = match check {
            Check::Segment { index, claim, .. } => {
                if (claim.job, claim.index) != (job, *index) {
                    return Err(format!("segment {index} of job {job} is checked against {claim:?}"));
                }
                (Unit::Prove(*index), Checked::Segment(Proof(*claim)))
            }
            Check::Lift { segment: Proof(claim) } => {
                let span = Span { job: claim.job, range: SegmentRange::single(claim.index) };
                (Unit::Lift(claim.index), Checked::Range(span))
            }
            Check::Join { left, right } => {
                if left.range.end != right.range.start || left.job != right.job {
                    return Err(format!("{left:?} and {right:?} are no neighbours and are to be joined"));
                }
                let (start, mid, end) = (left.range.start, left.range.end, right.range.end);
                let span = Span { job: left.job, range: SegmentRange { start, end } };
                (Unit::Join { start, mid, end }, Checked::Range(span))
            }
            Check::Resolve { range } => return Err(format!("{range:?}: {}", super::NOTHING_ASSUMED)),
            Check::Keccak { claim, .. } => match *claim {},
            Check::Union { left, .. } => match *left {},
        };
        if receipt.is_garbage {
            return Ok(refuse("the proof is false"));
        }
        if (receipt.job, receipt.unit) != (job, unit) {
            return Ok(refuse("the proof is of something else"));
        }
        match check {
            Check::Segment { nonce, .. } if nonce.is_some_and(|nonce| receipt.nonce != nonce) => {
                Ok(refuse("the proof has another lease's nonce"))
            }
            _ => Ok(Ok(checked)),
        }
    }
}

/// The reference of a segment's blob.
pub(crate) fn segment_reference(job: u32, index: u32) -> Reference {
    reference(0, u64::from(job) << 32 | u64::from(index))
}

fn receipt_reference(number: u64) -> Reference {
    reference(1, number)
}

fn receipt_number(reference: &Reference) -> Option<usize> {
    let [kind, a, b, c, d, e, f, g, h, ..] = reference.0;
    (kind == 1).then(|| usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).ok())?
}

fn reference(kind: u8, number: u64) -> Reference {
    let mut bytes = [0; Reference::LEN];
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    bytes.iter_mut().zip([kind, a, b, c, d, e, f, g, h]).for_each(|(to, from)| *to = from);
    Reference(bytes)
}

fn refuse(reason: &str) -> Result<Checked<FakeProofs>, Refusal> {
    Err(Refusal { blame: Blame::Peer, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use manyhands_proto::{Binding, NodeId, Po2};

    fn receipt(unit: Unit, nonce: Nonce) -> Receipt {
        Receipt { node: 1, life: 0, job: 2, unit, nonce, is_garbage: false, size_bytes: 9, is_held: true }
    }

    #[test]
    fn only_the_right_receipt_passes() {
        let nonce = |node| Nonce::bound(NodeId([node; 32]), 3, Binding::default());
        let mut receipts = Receipts::default();
        let good = receipts.store(receipt(Unit::Prove(3), nonce(1))).reference;
        let stolen = receipts.store(receipt(Unit::Prove(3), nonce(2))).reference;
        let garbage = receipts.store(Receipt { is_garbage: true, ..receipt(Unit::Prove(3), nonce(1)) }).reference;
        let other = receipts.store(receipt(Unit::Prove(4), nonce(1))).reference;
        let check = Check::Segment { index: 3, po2: Po2::MIN, nonce: Some(nonce(1)), claim: Claim::new(2, 3) };
        let verdict = |reference: &Reference| receipts.check(2, reference, &check).unwrap();
        assert!(matches!(verdict(&good), Ok(Checked::Segment(proof)) if proof.index() == 3));
        for reference in [stolen, garbage, other, segment_reference(2, 3)] {
            assert_eq!(verdict(&reference).unwrap_err().blame, Blame::Peer);
        }
        assert!(receipts.check(5, &good, &check).is_err(), "another job's claim");
    }

    #[test]
    fn only_neighbours_are_joined() {
        let span = |start, end| Span { job: 2, range: SegmentRange { start, end } };
        let mut receipts = Receipts::default();
        let nonce = Nonce { log: [0; 20], job: 0, segment: 0 };
        let joined = receipts.store(receipt(Unit::Join { start: 0, mid: 2, end: 3 }, nonce)).reference;
        let check = |left, right| Check::Join { left, right };
        assert!(receipts.check(2, &joined, &check(span(0, 2), span(2, 3))).unwrap().is_ok());
        assert!(receipts.check(2, &joined, &check(span(0, 1), span(1, 3))).unwrap().is_err());
        assert!(receipts.check(2, &joined, &check(span(0, 1), span(2, 3))).is_err());
    }
}
