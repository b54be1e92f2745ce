//! Receipts as people and programs outside Manyhands know them: made of checked parts (step VI), and checked.
//!
//! A receipt is version-1 bincode of `risc0_zkvm::Receipt`, which is what RISC Zero's own services send and stock programs read.

use std::io;

use manyhands_proto::Digest;
use risc0_binfmt::Digestible as _;
use risc0_zkvm::sha::Impl;
use risc0_zkvm::{
    CompositeReceiptVerifierParameters, Groth16Receipt, InnerAssumptionReceipt, InnerReceipt, Journal, Receipt,
    ReceiptClaim, SegmentReceipt, SuccinctReceipt, Unknown,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::verify::{decode_range, decode_segment};
use crate::{AssumptionReceipt, Claim, Rejection, encoding, from_proto, seal, to_proto, verifier_context};

/// How deep a composite receipt may be nested in assumptions of others. RISC Zero's type is recursive, and a file of 20 bytes a level
/// would overflow the stack; honest receipts have one level or two.
const NESTING_MAX: usize = 8;

/// What to do about a receipt of another kind.
pub(crate) const SUCCINCT: &str =
    "make a succinct receipt of it first (ProverOpts::succinct(), or `manyhands prove --succinct`)";

/// The sizes that a segment may have in a receipt made elsewhere (`MIN_CYCLES_PO2` and `MAX_CYCLES_PO2` of risc0-zkp 3.0.5).
const SEAL_PO2S: core::ops::RangeInclusive<u32> = 13..=24;

/// How a receipt proves its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptKind {
    /// One proof for each segment: grows with the execution.
    Composite,
    /// One STARK proof of constant size.
    Succinct,
    /// One Groth16 proof of a few hundred bytes.
    Groth16,
}

impl core::fmt::Display for ReceiptKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Composite => "composite",
            Self::Succinct => "succinct",
            Self::Groth16 => "groth16",
        })
    }
}

/// What a receipt that was checked says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptSummary {
    /// How it proves it.
    pub kind: ReceiptKind,
    /// Number of segment proofs in it; 1 when it is not composite.
    pub segments: usize,
    /// Size of all its proofs, in bytes.
    pub seal_bytes: u64,
    /// The digest of the claim that it proves.
    pub claim: Digest,
    /// What the guest committed.
    pub journal: Vec<u8>,
}

/// Why a receipt is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The bytes are no receipt.
    #[error("not a RISC Zero receipt (bincode 1, risc0-zkvm 3): {why}")]
    Malformed {
        /// What the decoder says.
        why: String,
    },
    /// A receipt of RISC Zero's development mode, which proves nothing.
    #[error("this is a fake receipt from RISC Zero's development mode (RISC0_DEV_MODE): it proves nothing")]
    Fake,
    /// A receipt of a kind that does not serve here.
    #[error("{why}")]
    Unfit {
        /// What it is, and what to do.
        why: String,
    },
    /// A sound receipt of another program.
    #[error("the receipt is for program {got}, not {expected}")]
    WrongImage {
        /// The receipt's image id.
        got: Digest,
        /// What was asked for.
        expected: Digest,
    },
    /// The proof does not verify, or is not of this journal and a successful end.
    #[error("the receipt does not verify: {why}")]
    NotValid {
        /// What the verifier says.
        why: String,
    },
}

/// Why checked parts do not make a receipt. All of these are our own fault, or our disk's.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A part could not be read back.
    #[error("receipt {index} could not be read back")]
    Read {
        /// Which part.
        index: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A part that was read back is not the receipt that was checked.
    #[error("receipt {index} changed since it was checked")]
    Part {
        /// Which part.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: Rejection,
    },
    /// The whole does not verify.
    #[error("the parts do not make a receipt of this program and journal")]
    Whole(#[source] ReceiptError),
}

/// The composite receipt of all segments' receipts, in order, and of the receipts of what the guest relies on, in the order of its claim;
/// checked as a whole: some 20 ms for each.
///
/// # Errors
/// [`AssembleError`] when a part cannot be read, is not a segment's receipt, or the parts do not prove that `image_id` committed
/// `journal`.
pub fn composite_receipt(
    segments: impl IntoIterator<Item = io::Result<Vec<u8>>>,
    assumptions: &[AssumptionReceipt],
    journal: &[u8],
    image_id: Digest,
) -> Result<Vec<u8>, AssembleError> {
    let mut receipts = Vec::new();
    for (index, bytes) in segments.into_iter().enumerate() {
        let bytes = bytes.map_err(|source| AssembleError::Read { index, source })?;
        receipts.push(decode_segment(&bytes).map_err(|source| AssembleError::Part { index, source })?);
    }
    let proven = |assumption: &AssumptionReceipt| assumption.receipt().map(InnerAssumptionReceipt::Succinct);
    let assumption_receipts = assumptions.iter().map(proven).collect::<Result<_, _>>();
    let assumption_receipts =
        assumption_receipts.map_err(|why| AssembleError::Whole(ReceiptError::Malformed { why }))?;
    let verifier_parameters = CompositeReceiptVerifierParameters::default().digest::<Impl>();
    let inner = InnerParts::Composite(CompositeParts { segments: receipts, assumption_receipts, verifier_parameters });
    assemble(&inner, verifier_parameters, journal, image_id)
}

/// The succinct receipt of a whole execution, made of the receipt of the range of all its segments.
///
/// # Errors
/// As [`composite_receipt`].
pub fn succinct_receipt(range: &[u8], journal: &[u8], image_id: Digest) -> Result<Vec<u8>, AssembleError> {
    let receipt = decode_range(range).map_err(|source| AssembleError::Part { index: 0, source })?;
    let verifier_parameters = receipt.verifier_parameters;
    assemble(&InnerParts::Succinct(Box::new(receipt)), verifier_parameters, journal, image_id)
}

/// Checks that a receipt proves that `image_id` ran to its end and committed the journal in it.
///
/// # Errors
/// [`ReceiptError`]. Never panics or overflows the stack, whatever the bytes.
pub fn verify_receipt(bytes: &[u8], image_id: Digest) -> Result<ReceiptSummary, ReceiptError> {
    check_nesting(bytes)?;
    let receipt: Receipt = encoding::decode(bytes).map_err(|why| malformed(&why))?;
    let (kind, segments) = match &receipt.inner {
        InnerReceipt::Composite(inner) => (ReceiptKind::Composite, inner.segments.len()),
        InnerReceipt::Succinct(_) => (ReceiptKind::Succinct, 1),
        InnerReceipt::Groth16(_) => (ReceiptKind::Groth16, 1),
        InnerReceipt::Fake(_) => return Err(ReceiptError::Fake),
        _ => return Err(malformed("an unknown kind of receipt")),
    };
    receipt.verify_with_context(&verifier_context(), from_proto(image_id)).map_err(|error| {
        let other = image_of(&receipt).filter(|got| *got != image_id);
        match other {
            Some(got) if receipt.inner.verify_integrity_with_context(&verifier_context()).is_ok() => {
                ReceiptError::WrongImage { got, expected: image_id }
            }
            _ => ReceiptError::NotValid { why: error.to_string() },
        }
    })?;
    Ok(ReceiptSummary {
        kind,
        segments,
        seal_bytes: receipt.seal_size() as u64,
        claim: Claim::of_success(image_id, &receipt.journal.bytes),
        journal: receipt.journal.bytes,
    })
}

/// RISC Zero's types for whole receipts cannot be built outside its crate; these have the same encoding.
#[derive(Serialize)]
struct ReceiptParts<'a> {
    inner: &'a InnerParts,
    journal: Journal,
    metadata: risc0_zkvm::Digest,
}

#[derive(Serialize)]
enum InnerParts {
    Composite(CompositeParts),
    Succinct(Box<SuccinctReceipt<ReceiptClaim>>),
}

#[derive(Serialize)]
struct CompositeParts {
    segments: Vec<SegmentReceipt>,
    assumption_receipts: Vec<InnerAssumptionReceipt>,
    verifier_parameters: risc0_zkvm::Digest,
}

fn assemble(
    inner: &InnerParts,
    metadata: risc0_zkvm::Digest,
    journal: &[u8],
    image_id: Digest,
) -> Result<Vec<u8>, AssembleError> {
    let parts = ReceiptParts { inner, journal: Journal::new(journal.to_vec()), metadata };
    let whole = |why| AssembleError::Whole(ReceiptError::Malformed { why });
    let bytes = encoding::encode(&parts).map_err(whole)?;
    verify_receipt(&bytes, image_id).map_err(AssembleError::Whole)?;
    Ok(bytes)
}

/// The image id that a receipt's claim states.
fn image_of(receipt: &Receipt) -> Option<Digest> {
    let claim = receipt.claim().ok()?;
    Some(to_proto(claim.as_value().ok()?.pre.digest::<Impl>()))
}

/// Walks through the parts of a receipt that may hold others, and refuses what RISC Zero's code would not survive.
pub(crate) fn check_nesting(bytes: &[u8]) -> Result<(), ReceiptError> {
    let mut rest = bytes;
    match front(&mut rest)? {
        0_u32 => walk_composite(&mut rest, NESTING_MAX),
        3 => Err(ReceiptError::Fake),
        // The other kinds hold no receipts; their decoders say what is wrong with them.
        _ => Ok(()),
    }
}

fn walk_composite(rest: &mut &[u8], levels: usize) -> Result<(), ReceiptError> {
    let levels = levels.checked_sub(1).ok_or_else(|| malformed("assumptions are nested too deep"))?;
    let segments: Vec<SegmentReceipt> = front(rest)?;
    // Upstream indexes into a seal before it looks at its length.
    let sound =
        |segment: &SegmentReceipt| seal::front(&segment.seal).is_some_and(|front| SEAL_PO2S.contains(&front.po2));
    if !segments.iter().all(sound) {
        return Err(malformed("a seal is cut short or of another version"));
    }
    let assumptions: u64 = front(rest)?;
    for _ in 0..assumptions {
        match front::<u32>(rest)? {
            0 => walk_composite(rest, levels)?,
            1 => drop(front::<SuccinctReceipt<Unknown>>(rest)?),
            2 => drop(front::<Groth16Receipt<Unknown>>(rest)?),
            3 => return Err(ReceiptError::Fake),
            _ => return Err(malformed("an unknown kind of assumption")),
        }
    }
    front::<risc0_zkvm::Digest>(rest).map(drop)
}

fn front<T: DeserializeOwned>(rest: &mut &[u8]) -> Result<T, ReceiptError> {
    encoding::decode_front(rest).map_err(|why| ReceiptError::Malformed { why })
}

fn malformed(why: &str) -> ReceiptError {
    ReceiptError::Malformed { why: why.to_owned() }
}
