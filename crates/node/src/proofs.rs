//! RISC Zero as the rules' proof system.

use manyhands_core::{Check, Checked, ProofSystem, Refusal};
use manyhands_proto::{BlobRef, Digest};
use manyhands_zkvm::{
    Claim, Expected, Rejection, VerifiedKeccak, VerifiedRange, VerifiedSegment, verify_join, verify_keccak,
    verify_lift, verify_resolve, verify_segment, verify_union,
};

/// RISC Zero.
#[derive(Debug, Clone, Copy)]
pub struct Zkvm;

impl ProofSystem for Zkvm {
    type Claim = Claim;
    type Segment = VerifiedSegment;
    type Range = VerifiedRange;
    type Request = Digest;
    type Keccak = VerifiedKeccak;
}

/// Checks a receipt against what was asked for. Takes 15 to 28 ms for a segment (own measurement), so call it off the event loop.
///
/// # Errors
/// A [`Refusal`] with the verifier's reason and blame.
pub fn check(bytes: &[u8], blob: BlobRef, check: &Check<Zkvm>) -> Result<Checked<Zkvm>, Refusal> {
    let result = match check {
        Check::Segment { index, po2, nonce, claim } => {
            let expected = Expected { claim, index: *index, po2: *po2, nonce: *nonce };
            verify_segment(bytes, blob, &expected).map(Checked::Segment)
        }
        Check::Lift { segment } => verify_lift(bytes, blob, segment).map(Checked::Range),
        Check::Join { left, right } => verify_join(bytes, blob, left, right).map(Checked::Range),
        Check::Resolve { range } => verify_resolve(bytes, blob, range).map(Checked::Range),
        Check::Keccak { po2, claim } => verify_keccak(bytes, blob, *claim, *po2).map(Checked::Keccak),
        Check::Union { left, right } => verify_union(bytes, blob, left, right).map(Checked::Keccak),
    };
    result.map_err(|rejection: Rejection| Refusal { blame: rejection.blame(), reason: rejection.to_string() })
}
