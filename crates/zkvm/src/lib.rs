//! The proofs: what RISC Zero's segments, claims and receipts are to the rest of Manyhands, and which of them are accepted.
//!
//! Nothing outside this crate names RISC Zero. A [`VerifiedSegment`] or [`VerifiedRange`] has no public constructor: whoever holds one
//! holds proof that these bytes were checked against the claim they were asked for (step IV), so only checked work can be joined
//! (step V). Checking is always compiled and links none of the prover's kernels; feature `prove` adds the executor and the prover,
//! which only the worker process runs. No clock, socket or thread of its own, no async.
//!
//! It must never run in RISC Zero's development mode, in which invented receipts verify: every context says so itself, whatever the
//! environment says.

mod assumption;
mod claim;
mod encoding;
mod keccak;
mod program;
#[cfg(feature = "prove")]
pub mod prove;
mod receipt;
mod seal;
mod shrink;
mod verify;

pub use assumption::AssumptionReceipt;
pub use claim::{CLAIM_BYTES_MAX, Claim, ClaimError, Reliance};
pub use keccak::{VerifiedKeccak, is_keccak_po2, keccak_root, verify_keccak, verify_union};
pub use program::{IMAGE_BYTES_MAX, ProgramError, image_id, is_bare_elf, wrap_elf};
pub use receipt::{
    AssembleError, ReceiptError, ReceiptKind, ReceiptSummary, composite_receipt, succinct_receipt, verify_receipt,
};
pub use shrink::{GROTH16_IMAGE, Shrinkable};
pub use verify::{
    Expected, Rejection, VerifiedRange, VerifiedSegment, verify_join, verify_lift, verify_resolve, verify_scored,
    verify_segment,
};

use manyhands_proto::Po2;
use risc0_zkvm::VerifierContext;

/// The exact zkVM version, as nodes state it: only equal texts are matched. It changes whenever a proof made by one version might
/// not verify with the other.
pub const ZKVM_VERSION: &str = "risc0-zkvm 3.0.6";

/// The largest segment that stock verifiers take in every form: `DEFAULT_MAX_PO2` of risc0-zkvm 3.0.6, whose control root has no lifts
/// beyond it. (2^23 would need some 80 GB to prove.)
pub const PO2_MAX: u8 = risc0_zkvm::DEFAULT_MAX_PO2 as u8;

/// Whether segments of this size can be proved, lifted and verified everywhere.
pub fn is_provable(po2: Po2) -> bool {
    po2.get() <= PO2_MAX
}

/// What every check is made with: the default parameters, and never development mode.
fn verifier_context() -> VerifierContext {
    VerifierContext::default().with_dev_mode(false)
}

fn to_proto(digest: risc0_zkvm::Digest) -> manyhands_proto::Digest {
    manyhands_proto::Digest(digest.into())
}

fn from_proto(digest: manyhands_proto::Digest) -> risc0_zkvm::Digest {
    digest.0.into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_that_of_the_linked_crate() {
        assert_eq!(super::ZKVM_VERSION, format!("risc0-zkvm {}", risc0_zkvm::VERSION));
    }
}
