//! Lifts segments' proofs, joins neighbours and resolves assumptions: step V's work.

use manyhands_proto::worker::Failure;
use risc0_zkvm::{MaybePruned, RECURSION_PO2, ReceiptClaim, SuccinctReceipt};

use super::{failed, guarded, prover, unusable};
use crate::verify::{check_range, decode_range, decode_segment};
use crate::{AssumptionReceipt, Claim, encoding, seal, verifier_context};

/// Whether the recursion programs are inside this build. Without them (an empty archive) segments can be proved, but not lifted.
pub fn has_recursion() -> bool {
    risc0_circuit_recursion::prove::zkr::get_zkr("join.zkr", RECURSION_PO2).is_ok()
}

/// Lifts a segment's proof into a succinct receipt, and checks it as its receiver will. Some 55 s and 1.4 GB, whatever the segment's
/// size.
///
/// # Errors
/// [`Failure::NoRecursion`] without the recursion programs, [`Failure::Input`] when the receipt is none or does not verify,
/// [`Failure::Prover`] when the lift failed.
pub fn lift(receipt: &[u8]) -> Result<Vec<u8>, Failure> {
    require_recursion()?;
    let receipt = decode_segment(receipt).map_err(|error| unusable(&error))?;
    if seal::front(&receipt.seal).is_none() {
        return Err(Failure::Input("the receipt's seal is cut short or of another version".into()));
    }
    let claim = Claim::new(receipt.claim.clone()).map_err(|error| unusable(&error))?;
    // A wrong proof would cost a minute before the lift program refuses it.
    let check = || receipt.verify_integrity_with_context(&verifier_context()).map_err(|error| unusable(&error));
    guarded(Failure::Input, check)?;
    let prover = prover()?;
    let lifted = guarded(Failure::Prover, || prover.lift(&receipt).map_err(|error| failed(&error)))?;
    finish(lifted, &claim)
}

/// Joins the succinct receipts of two neighbouring ranges, and checks the result as its receiver will. Some 57 s and 1.4 GB.
///
/// # Errors
/// As [`lift`]; [`Failure::Input`] also when the ranges are no neighbours.
pub fn join(left: &[u8], right: &[u8]) -> Result<Vec<u8>, Failure> {
    require_recursion()?;
    let (left, left_claim) = range(left)?;
    let (right, right_claim) = range(right)?;
    let claim = left_claim.join(&right_claim).map_err(|error| unusable(&error))?;
    let prover = prover()?;
    let joined = guarded(Failure::Prover, || prover.join(&left, &right).map_err(|error| failed(&error)))?;
    finish(joined, &claim)
}

/// Resolves the first assumption of a range's succinct receipt with the receipt that proves it, and checks the result as its receiver
/// will. Costs what a join does.
///
/// # Errors
/// As [`lift`]; [`Failure::Input`] also when that receipt proves something else.
pub fn resolve(conditional: &[u8], assumption: &[u8]) -> Result<Vec<u8>, Failure> {
    require_recursion()?;
    let (conditional, claim) = range(conditional)?;
    let resolved = claim.resolved().map_err(|error| unusable(&error))?;
    let assumption =
        guarded(Failure::Input, || AssumptionReceipt::decode(assumption).map_err(|error| unusable(&error)))?;
    if claim.assumptions().first() != Some(&assumption.claim()) {
        return Err(Failure::Input("the receipt proves another claim than the one to be resolved".into()));
    }
    let proven = assumption.receipt().map_err(|why| unusable(&why))?;
    let prover = prover()?;
    let receipt = guarded(Failure::Prover, || prover.resolve(&conditional, &proven).map_err(|error| failed(&error)))?;
    finish(receipt, &resolved)
}

pub(super) fn require_recursion() -> Result<(), Failure> {
    if has_recursion() { Ok(()) } else { Err(Failure::NoRecursion) }
}

/// A range's receipt that verifies, and its claim.
fn range(bytes: &[u8]) -> Result<(SuccinctReceipt<ReceiptClaim>, Claim), Failure> {
    let stated = decode_range(bytes).map_err(|error| unusable(&error))?.claim;
    let stated = stated.value().map_err(|error| unusable(&error))?;
    let claim = Claim::new(stated).map_err(|error| unusable(&error))?;
    let receipt = guarded(Failure::Input, || check_range(bytes, &claim).map_err(|error| unusable(&error)))?;
    Ok((receipt, claim))
}

fn finish(mut receipt: SuccinctReceipt<ReceiptClaim>, claim: &Claim) -> Result<Vec<u8>, Failure> {
    receipt.claim = MaybePruned::Value(claim.inner().clone());
    let bytes = encoding::encode(&receipt).map_err(|why| failed(&why))?;
    check_range(&bytes, claim).map_err(|error| failed(&error))?;
    Ok(bytes)
}
