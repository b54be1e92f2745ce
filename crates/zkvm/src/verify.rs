//! Step IV: a unit's receipt is checked against what was asked for, cheap checks first.
//!
//! RISC Zero's own integrity check says that *some* segment was proved and that the receipt's claim is the proved one. It does not
//! look at the receipt's index, its nonce, its size, its verifier parameters or the form its claim is written in, and a receipt may
//! lie about all of these. So every field is compared here, and what passes differs from the honest prover's receipt in nothing but
//! the proof's own randomness.

use manyhands_proto::limits::RECEIPT_BYTES_MAX;
use manyhands_proto::message::Blame;
use manyhands_proto::{BlobRef, Digest, Nonce, Po2, Score, SegmentRange};
use risc0_binfmt::Digestible as _;
use risc0_zkvm::sha::Impl;
use risc0_zkvm::{MaybePruned, SuccinctReceiptVerifierParameters};
use risc0_zkvm::{ReceiptClaim, SegmentReceipt, SegmentReceiptVerifierParameters, SuccinctReceipt};

use crate::{Claim, ClaimError, ZKVM_VERSION, encoding, seal, to_proto, verifier_context};

/// The hash that proofs of this version are made with.
const HASHFN: &str = "poseidon2";

/// Depth of the tree of allowed recursion programs (`ALLOWED_CODE_MERKLE_DEPTH` of risc0-zkvm 3.0.6).
const CONTROL_TREE_DEPTH: usize = 8;

/// What a segment's receipt must prove.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The segment's claim, as the executor made it.
    pub claim: &'a Claim,
    /// The segment's index.
    pub index: u32,
    /// The segment's size.
    pub po2: Po2,
    /// The nonce of the lease; nothing if it was compared before.
    pub nonce: Option<Nonce>,
}

/// Why a receipt is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is larger than any honest one.
    #[error("the receipt has {got_bytes} bytes, over the limit of {RECEIPT_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        got_bytes: u64,
    },
    /// It is no receipt.
    #[error("not a receipt: {why}")]
    Malformed {
        /// What the decoder says.
        why: String,
    },
    /// It was made by another version of the prover, or with other parameters.
    #[error("the receipt's {what} is not that of {ZKVM_VERSION}")]
    WrongVersion {
        /// What differs.
        what: &'static str,
    },
    /// It is for another segment.
    #[error("the receipt is for segment {got}, not {expected}")]
    WrongIndex {
        /// The receipt's.
        got: u32,
        /// The lease's.
        expected: u32,
    },
    /// It proves a trace of another size.
    #[error("the receipt is for a segment of 2^{got} cycles, not 2^{expected}")]
    WrongPo2 {
        /// The receipt's exponent.
        got: u32,
        /// The segment's.
        expected: Po2,
    },
    /// It was made under another lease: a copy.
    #[error("the receipt was proved under another lease's nonce")]
    WrongNonce,
    /// The proof does not verify.
    #[error("the proof is not valid: {why}")]
    Integrity {
        /// What the verifier says.
        why: String,
    },
    /// It proves something else than was asked for.
    #[error("the receipt proves claim {got}, not {expected}")]
    WrongClaim {
        /// The receipt's claim.
        got: Digest,
        /// What was asked for.
        expected: Digest,
    },
    /// It proves what was asked for, but its claim, or its place among the recursion programs, is not written in the one form.
    #[error("the receipt's {part} is not in the form that the prover writes")]
    WrongForm {
        /// Which part.
        part: &'static str,
    },
    /// The caller named a blob of another size than the bytes it gave.
    #[error("the bytes are not those of blob {}", blob.reference)]
    WrongBlob {
        /// The named blob.
        blob: BlobRef,
    },
    /// The caller asked for the join of two ranges that do not follow on each other, or to resolve what relies on nothing.
    #[error("{0}")]
    NotAskedFor(#[source] ClaimError),
}

impl Rejection {
    /// Whose fault it is.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::WrongVersion { .. }
            | Self::WrongIndex { .. }
            | Self::WrongPo2 { .. }
            | Self::WrongNonce
            | Self::Integrity { .. }
            | Self::WrongClaim { .. }
            | Self::WrongForm { .. } => Blame::Peer,
            Self::WrongBlob { .. } | Self::NotAskedFor(_) => Blame::Us,
        }
    }
}

/// A segment whose proof was checked. The receipt itself is in its blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSegment {
    claim: Claim,
    blob: BlobRef,
    index: u32,
    po2: Po2,
}

impl VerifiedSegment {
    /// What is proved.
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Where the receipt is.
    pub const fn blob(&self) -> BlobRef {
        self.blob
    }

    /// The segment's index.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The segment's size.
    pub const fn po2(&self) -> Po2 {
        self.po2
    }
}

/// A range of segments with one succinct receipt that was checked. The receipt itself is in its blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRange {
    claim: Claim,
    blob: BlobRef,
    range: SegmentRange,
}

impl VerifiedRange {
    /// What is proved.
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Where the receipt is.
    pub const fn blob(&self) -> BlobRef {
        self.blob
    }

    /// Which segments it covers.
    pub const fn range(&self) -> SegmentRange {
        self.range
    }
}

/// Checks a segment's receipt, whose bytes are those of `blob`. Takes 15 to 30 ms.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn verify_segment(bytes: &[u8], blob: BlobRef, expected: &Expected<'_>) -> Result<VerifiedSegment, Rejection> {
    check_blob(bytes, blob)?;
    check_segment(bytes, expected)?;
    Ok(VerifiedSegment { claim: expected.claim.clone(), blob, index: expected.index, po2: expected.po2 })
}

/// Checks the receipt of a lifted segment, whose bytes are those of `blob`. Takes some 10 ms.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn verify_lift(bytes: &[u8], blob: BlobRef, segment: &VerifiedSegment) -> Result<VerifiedRange, Rejection> {
    check_blob(bytes, blob)?;
    check_range(bytes, &segment.claim)?;
    Ok(VerifiedRange { claim: segment.claim.clone(), blob, range: SegmentRange::single(segment.index) })
}

/// Checks the receipt of two joined neighbours, whose bytes are those of `blob`. Takes some 10 ms.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn verify_join(
    bytes: &[u8],
    blob: BlobRef,
    left: &VerifiedRange,
    right: &VerifiedRange,
) -> Result<VerifiedRange, Rejection> {
    check_blob(bytes, blob)?;
    if left.range.end != right.range.start {
        return Err(Rejection::NotAskedFor(ClaimError::NotNeighbours { why: "there are segments between them" }));
    }
    let claim = left.claim.join(&right.claim).map_err(Rejection::NotAskedFor)?;
    check_range(bytes, &claim)?;
    Ok(VerifiedRange { claim, blob, range: SegmentRange { start: left.range.start, end: right.range.end } })
}

/// Checks the receipt of a range whose first assumption was resolved, whose bytes are those of `blob`. Takes some 10 ms. That a receipt of
/// the assumption was used needs no check of its own: nothing else takes it out of a proved claim.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn verify_resolve(bytes: &[u8], blob: BlobRef, range: &VerifiedRange) -> Result<VerifiedRange, Rejection> {
    check_blob(bytes, blob)?;
    let claim = range.claim.resolved().map_err(Rejection::NotAskedFor)?;
    check_range(bytes, &claim)?;
    Ok(VerifiedRange { claim, blob, range: range.range })
}

/// Checks that a blob's bytes are the proof that `score` is of: of that size, made by its peer under its binding. What the proof is worth does
/// not depend on what it proves, as each of a size costs the same; `claim` is compared where it is known, which it is of a benchmark.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn verify_scored(bytes: &[u8], score: &Score, claim: Option<&Claim>) -> Result<(), Rejection> {
    check_blob(bytes, score.receipt)?;
    let receipt = check_front(bytes, score.index, score.po2, Some(score.nonce()))?;
    if let Some(claim) = claim {
        check_claim(&receipt.claim, claim)?;
    }
    check_integrity(&receipt)
}

/// All checks of [`verify_segment`] but the blob's.
pub(crate) fn check_segment(bytes: &[u8], expected: &Expected<'_>) -> Result<(), Rejection> {
    let receipt = check_front(bytes, expected.index, expected.po2, expected.nonce)?;
    check_claim(&receipt.claim, expected.claim)?;
    check_integrity(&receipt)
}

/// What is compared before the proof is: whatever the claim is.
fn check_front(bytes: &[u8], index: u32, po2: Po2, nonce: Option<Nonce>) -> Result<SegmentReceipt, Rejection> {
    let receipt = decode_segment(bytes)?;
    if receipt.index != index {
        return Err(Rejection::WrongIndex { got: receipt.index, expected: index });
    }
    let Some(front) = seal::front(&receipt.seal) else { return Err(Rejection::WrongVersion { what: "seal" }) };
    if front.po2 != u32::from(po2.get()) {
        return Err(Rejection::WrongPo2 { got: front.po2, expected: po2 });
    }
    if nonce.is_some_and(|nonce| front.nonce != nonce) {
        return Err(Rejection::WrongNonce);
    }
    Ok(receipt)
}

fn check_integrity(receipt: &SegmentReceipt) -> Result<(), Rejection> {
    receipt
        .verify_integrity_with_context(&verifier_context())
        .map_err(|error| Rejection::Integrity { why: error.to_string() })
}

/// All checks of a succinct receipt for `claim`.
pub(crate) fn check_range(bytes: &[u8], claim: &Claim) -> Result<SuccinctReceipt<ReceiptClaim>, Rejection> {
    let receipt = decode_range(bytes)?;
    match &receipt.claim {
        MaybePruned::Value(open) => check_claim(open, claim)?,
        MaybePruned::Pruned(digest) if to_proto(*digest) == claim.digest() => {
            return Err(Rejection::WrongForm { part: "claim" });
        }
        MaybePruned::Pruned(digest) => {
            return Err(Rejection::WrongClaim { got: to_proto(*digest), expected: claim.digest() });
        }
    }
    receipt
        .verify_integrity_with_context(&verifier_context())
        .map_err(|error| Rejection::Integrity { why: error.to_string() })?;
    Ok(receipt)
}

/// Decodes a segment's receipt of this version; its proof, claim and index are still the sender's word.
pub(crate) fn decode_segment(bytes: &[u8]) -> Result<SegmentReceipt, Rejection> {
    let receipt: SegmentReceipt = decode(bytes)?;
    if receipt.hashfn != HASHFN {
        return Err(Rejection::WrongVersion { what: "hash function" });
    }
    if receipt.verifier_parameters != SegmentReceiptVerifierParameters::default().digest::<Impl>() {
        return Err(Rejection::WrongVersion { what: "set of verifier parameters" });
    }
    Ok(receipt)
}

/// Decodes a succinct receipt of this version; its proof and claim are still the sender's word.
pub(crate) fn decode_range(bytes: &[u8]) -> Result<SuccinctReceipt<ReceiptClaim>, Rejection> {
    let receipt: SuccinctReceipt<ReceiptClaim> = decode(bytes)?;
    check_place(&receipt, &SuccinctReceiptVerifierParameters::default())?;
    Ok(receipt)
}

/// Whether a succinct receipt says that it was made by this version, and where its program is listed among those of `parameters`.
pub(crate) fn check_place<C>(
    receipt: &SuccinctReceipt<C>,
    parameters: &SuccinctReceiptVerifierParameters,
) -> Result<(), Rejection> {
    if receipt.hashfn != HASHFN {
        return Err(Rejection::WrongVersion { what: "hash function" });
    }
    if receipt.verifier_parameters != parameters.digest::<Impl>() {
        return Err(Rejection::WrongVersion { what: "set of verifier parameters" });
    }
    // Upstream walks from the leaf by the index's low bits and never looks at the others.
    let place = &receipt.control_inclusion_proof;
    if place.digests.len() != CONTROL_TREE_DEPTH || place.index >> CONTROL_TREE_DEPTH != 0 {
        return Err(Rejection::WrongForm { part: "inclusion proof" });
    }
    Ok(())
}

pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Rejection> {
    if bytes.len() as u64 > RECEIPT_BYTES_MAX {
        return Err(Rejection::TooLarge { got_bytes: bytes.len() as u64 });
    }
    encoding::decode(bytes).map_err(|why| Rejection::Malformed { why })
}

fn check_claim(got: &ReceiptClaim, expected: &Claim) -> Result<(), Rejection> {
    let digest = to_proto(got.digest::<Impl>());
    if digest != expected.digest() {
        return Err(Rejection::WrongClaim { got: digest, expected: expected.digest() });
    }
    if expected.is(got) { Ok(()) } else { Err(Rejection::WrongForm { part: "claim" }) }
}

pub(crate) fn check_blob(bytes: &[u8], blob: BlobRef) -> Result<(), Rejection> {
    if bytes.len() as u64 == blob.size_bytes { Ok(()) } else { Err(Rejection::WrongBlob { blob }) }
}
