//! Keccak requests: batches of permutations that a guest left to its host, the receipts that prove them, and their unions.
//!
//! The guest's library hashes the claims of its requests into a Merkle mountain range and relies on the root, as on any other assumption.

use manyhands_proto::limits::KECCAK_PO2_MAX;
use manyhands_proto::{BlobRef, Digest, Po2};
use risc0_binfmt::Digestible as _;
use risc0_circuit_keccak::{KECCAK_CONTROL_ROOT, KECCAK_PO2_RANGE, get_control_id};
use risc0_zkp::adapter::{CircuitInfo as _, PROOF_SYSTEM_INFO};
use risc0_zkvm::sha::Impl;
use risc0_zkvm::{
    Assumption, SuccinctReceipt, SuccinctReceiptVerifierParameters, UnionClaim, Unknown, VerifierContext,
};

use crate::verify::{Rejection, check_blob, check_place, decode};
use crate::{Reliance, from_proto, to_proto, verifier_context};

/// A receipt of keccak requests that was checked. Only [`verify_keccak`] and [`verify_union`] make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedKeccak {
    proves: Reliance,
    blob: BlobRef,
}

impl VerifiedKeccak {
    /// What is proved, as a guest that relies on it says it.
    pub const fn proves(&self) -> Reliance {
        self.proves
    }

    /// Where the receipt is.
    pub const fn blob(&self) -> BlobRef {
        self.blob
    }
}

/// Checks the receipt of a keccak request, whose bytes are those of `blob`. Takes some 10 ms.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn verify_keccak(bytes: &[u8], blob: BlobRef, claim: Digest, po2: Po2) -> Result<VerifiedKeccak, Rejection> {
    check_blob(bytes, blob)?;
    check_keccak(bytes, claim, po2)?;
    Ok(VerifiedKeccak { proves: of_request(claim), blob })
}

/// Checks the receipt of a union, whose bytes are those of `blob`. Takes some 10 ms.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn verify_union(
    bytes: &[u8],
    blob: BlobRef,
    left: &VerifiedKeccak,
    right: &VerifiedKeccak,
) -> Result<VerifiedKeccak, Rejection> {
    check_blob(bytes, blob)?;
    let proves = left.proves.united(right.proves);
    check_union(bytes, proves.claim)?;
    Ok(VerifiedKeccak { proves, blob })
}

/// What a guest that made requests of these claims, in this order, relies on; nothing if it made none.
pub fn keccak_root(claims: impl IntoIterator<Item = Digest>) -> Option<Reliance> {
    // Peaks with their heights: equal ones are merged as they come (`mmr.rs` of risc0-zkvm 3.0.6).
    let mut peaks: Vec<(u32, Reliance)> = Vec::new();
    for claim in claims {
        let (mut height, mut peak) = (0, of_request(claim));
        while let Some((_, last)) = peaks.pop_if(|last| last.0 == height) {
            (height, peak) = (height + 1, last.united(peak));
        }
        peaks.push((height, peak));
    }
    peaks.into_iter().map(|(_, peak)| peak).reduce(Reliance::united)
}

/// What the receipt of one request proves.
fn of_request(claim: Digest) -> Reliance {
    Reliance { claim, control_root: to_proto(KECCAK_CONTROL_ROOT) }
}

impl Reliance {
    /// What the union of two receipts proves. Its claim has them in the order of their digests, whichever came first.
    #[must_use]
    pub fn united(self, other: Self) -> Self {
        let digest = |of: Self| {
            let assumption = Assumption { claim: from_proto(of.claim), control_root: from_proto(of.control_root) };
            assumption.digest::<Impl>()
        };
        let (one, two) = (digest(self), digest(other));
        let claim = UnionClaim { left: one.min(two), right: one.max(two) };
        Self::usual(to_proto(claim.digest::<Impl>()))
    }
}

/// All checks of [`verify_keccak`] but the blob's.
pub(crate) fn check_keccak(bytes: &[u8], claim: Digest, po2: Po2) -> Result<SuccinctReceipt<Unknown>, Rejection> {
    let receipt: SuccinctReceipt<Unknown> = decode(bytes)?;
    let parameters = keccak_parameters();
    check_place(&receipt, &parameters)?;
    if !is_keccak_po2(po2) || receipt.control_id != *get_control_id(po2.get().into()) {
        return Err(Rejection::WrongVersion { what: "keccak program" });
    }
    check_claim(&receipt, claim)?;
    let context = keccak_context(parameters);
    receipt.verify_integrity_with_context(&context).map_err(|error| Rejection::Integrity { why: error.to_string() })?;
    Ok(receipt)
}

/// All checks of [`verify_union`] but the blob's.
pub(crate) fn check_union(bytes: &[u8], claim: Digest) -> Result<SuccinctReceipt<Unknown>, Rejection> {
    let receipt: SuccinctReceipt<Unknown> = decode(bytes)?;
    check_place(&receipt, &SuccinctReceiptVerifierParameters::default())?;
    check_claim(&receipt, claim)?;
    let checked = receipt.verify_integrity_with_context(&verifier_context());
    checked.map_err(|error| Rejection::Integrity { why: error.to_string() })?;
    Ok(receipt)
}

fn check_claim(receipt: &SuccinctReceipt<Unknown>, expected: Digest) -> Result<(), Rejection> {
    let got = to_proto(receipt.claim.digest::<Impl>());
    if got == expected { Ok(()) } else { Err(Rejection::WrongClaim { got, expected }) }
}

/// Whether keccak proofs of this size are made.
pub fn is_keccak_po2(po2: Po2) -> bool {
    po2.get() <= KECCAK_PO2_MAX && KECCAK_PO2_RANGE.contains(&usize::from(po2.get()))
}

/// What receipts of single requests are verified with: their programs are a set of their own.
pub(crate) fn keccak_parameters() -> SuccinctReceiptVerifierParameters {
    SuccinctReceiptVerifierParameters {
        control_root: KECCAK_CONTROL_ROOT,
        inner_control_root: None,
        proof_system_info: PROOF_SYSTEM_INFO,
        circuit_info: risc0_circuit_recursion::CircuitImpl::CIRCUIT_INFO,
    }
}

/// The context for it.
pub(crate) fn keccak_context(parameters: SuccinctReceiptVerifierParameters) -> VerifierContext {
    VerifierContext::empty()
        .with_dev_mode(false)
        .with_suites(VerifierContext::default_hash_suites())
        .with_succinct_verifier_parameters(parameters)
}
