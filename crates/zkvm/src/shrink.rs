//! Groth16 receipts: which receipts they are made of, and whether what was made proves the same. After step VI, and only where it is asked for.

use manyhands_proto::Digest;
use risc0_binfmt::Digestible as _;
use risc0_zkvm::sha::Impl;
use risc0_zkvm::{InnerReceipt, Receipt, SuccinctReceiptVerifierParameters};

use crate::receipt::{SUCCINCT, check_nesting};
use crate::verify::check_place;
use crate::{ReceiptError, encoding, to_proto, verifier_context};

/// The container in which RISC Zero's prover makes Groth16 proofs (`prove/docker.rs` of risc0-groth16 3.0.5, which names it nowhere else).
pub const GROTH16_IMAGE: &str = "risczero/risc0-groth16-prover:v2025-04-03.1";

/// A whole succinct receipt that was checked: a Groth16 receipt can be made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrinkable {
    claim: Digest,
    journal: Vec<u8>,
}

impl Shrinkable {
    /// Reads a succinct receipt, the bincode of `risc0_zkvm::Receipt`, and checks it. Some 10 ms. Which program it is of is nobody's matter
    /// here: the Groth16 receipt says the same as this one.
    ///
    /// # Errors
    /// [`ReceiptError`] when it is none, proves nothing, or is of a kind that no Groth16 receipt is made of.
    pub fn read(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let receipt = decode(bytes)?;
        let unfit = |what: &str| Err(ReceiptError::Unfit { why: what.to_owned() });
        match &receipt.inner {
            InnerReceipt::Succinct(inner) => {
                check_place(inner, &SuccinctReceiptVerifierParameters::default()).map_err(|why| not_valid(&why))?
            }
            InnerReceipt::Composite(_) => {
                return unfit(&format!("a Groth16 receipt is not made of a composite one; {SUCCINCT}"));
            }
            InnerReceipt::Groth16(_) => return unfit("this is a Groth16 receipt already: there is nothing to be made"),
            InnerReceipt::Fake(_) => return Err(ReceiptError::Fake),
            _ => return Err(ReceiptError::Malformed { why: "an unknown kind of receipt".to_owned() }),
        }
        Self::of(receipt)
    }

    /// Whether `bytes` are a Groth16 receipt that proves what this one does, with the same journal.
    ///
    /// # Errors
    /// [`ReceiptError`] when they are not.
    pub fn check(&self, bytes: &[u8]) -> Result<(), ReceiptError> {
        let receipt = decode(bytes)?;
        if !matches!(receipt.inner, InnerReceipt::Groth16(_)) {
            return Err(ReceiptError::Unfit { why: "this is no Groth16 receipt".to_owned() });
        }
        if Self::of(receipt)? != *self {
            return Err(ReceiptError::Unfit { why: "the Groth16 receipt proves something else".to_owned() });
        }
        Ok(())
    }

    /// What a receipt proves, if it does.
    fn of(receipt: Receipt) -> Result<Self, ReceiptError> {
        receipt.verify_integrity_with_context(&verifier_context()).map_err(|error| not_valid(&error))?;
        let claim = receipt.claim().map_err(|error| not_valid(&error))?;
        Ok(Self { claim: to_proto(claim.digest::<Impl>()), journal: receipt.journal.bytes })
    }
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
    check_nesting(bytes)?;
    encoding::decode(bytes).map_err(|why| ReceiptError::Malformed { why })
}

fn not_valid(error: &impl std::fmt::Display) -> ReceiptError {
    ReceiptError::NotValid { why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use risc0_zkvm::{FakeReceipt, MaybePruned, ReceiptClaim};

    use super::*;
    use crate::{ReceiptKind, composite_receipt, succinct_receipt, verify_receipt};

    const JOURNAL: &[u8] = b"just a simple receipt";
    /// The program of `groth16.receipt`.
    const IMAGE: &str = "11d264ed8dfdee222b820f0278e4d7f55d4b69a5472253a471c102265a91ea1a";

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn image() -> Digest {
        IMAGE.parse().unwrap()
    }

    fn groth16() -> Vec<u8> {
        fixture("groth16.receipt")
    }

    /// The real one with other parts.
    fn tampered(change: impl FnOnce(&mut Vec<u8>, &mut MaybePruned<ReceiptClaim>, &mut Vec<u8>)) -> Vec<u8> {
        let mut receipt: Receipt = encoding::decode(&groth16()).unwrap();
        let InnerReceipt::Groth16(inner) = &mut receipt.inner else { panic!("another kind") };
        change(&mut inner.seal, &mut inner.claim, &mut receipt.journal.bytes);
        encoding::encode(&receipt).unwrap()
    }

    fn succinct() -> Vec<u8> {
        let image_id = Digest(fixture("image_id").try_into().unwrap());
        succinct_receipt(&fixture("join.receipt"), &fixture("journal"), image_id).unwrap()
    }

    #[test]
    fn a_real_groth16_receipt_is_taken_for_what_it_proves_and_nothing_else() {
        let real = groth16();
        let summary = verify_receipt(&real, image()).unwrap();
        assert_eq!((summary.kind, summary.journal.as_slice()), (ReceiptKind::Groth16, JOURNAL));
        let of_same = Shrinkable { claim: summary.claim, journal: JOURNAL.to_vec() };
        assert_eq!(of_same.check(&real), Ok(()));
        let of_other = Shrinkable::read(&succinct()).unwrap();
        assert!(of_other.check(&real).unwrap_err().to_string().contains("proves something else"));
        let refused = |bytes: &[u8]| assert!(matches!(of_same.check(bytes), Err(ReceiptError::NotValid { .. })));
        refused(&tampered(|_, _, journal| *journal = b"just a simpler receipt".to_vec()));
        // A claim that fits the journal, and was not proved.
        refused(&tampered(|_, claim, journal| {
            *journal = b"just a simpler receipt".to_vec();
            *claim = MaybePruned::Value(ReceiptClaim::ok(crate::from_proto(image()), journal.clone()));
        }));
        for byte in [0, 100, 255] {
            refused(&tampered(|seal, _, _| seal[byte] ^= 1));
        }
        for seal in [vec![], vec![0; 256], vec![0xff; 256], vec![7; 1_000]] {
            refused(&tampered(|old, _, _| *old = seal));
        }
        assert!(of_other.check(&succinct()).unwrap_err().to_string().contains("no Groth16 receipt"));
        assert!(matches!(of_other.check(b"garbage"), Err(ReceiptError::Malformed { .. })));
    }

    #[test]
    fn only_a_succinct_receipt_that_verifies_is_made_smaller() {
        let read = Shrinkable::read(&succinct()).unwrap();
        assert_eq!(read.journal, fixture("journal"));
        let unfit = |bytes: &[u8], said: &str| {
            let error = Shrinkable::read(bytes).unwrap_err();
            assert!(matches!(error, ReceiptError::Unfit { .. }) && error.to_string().contains(said), "{error}");
        };
        unfit(&groth16(), "a Groth16 receipt already");
        let image_id = Digest(fixture("image_id").try_into().unwrap());
        let segments = [0, 1].map(|index| Ok(fixture(&format!("segment{index}.receipt"))));
        unfit(&composite_receipt(segments, &[], &fixture("journal"), image_id).unwrap(), "ProverOpts::succinct()");
        let claim = ReceiptClaim::ok(crate::from_proto(image()), JOURNAL.to_vec());
        let fake = Receipt::new(InnerReceipt::Fake(FakeReceipt::new(claim)), JOURNAL.to_vec());
        assert_eq!(Shrinkable::read(&encoding::encode(&fake).unwrap()), Err(ReceiptError::Fake));
        let mut wrong = succinct();
        wrong[5_000] ^= 1;
        assert!(matches!(Shrinkable::read(&wrong), Err(ReceiptError::NotValid { .. })));
        for garbage in [&b""[..], b"garbage", &succinct()[..1_000], &fixture("join.receipt")] {
            assert!(matches!(Shrinkable::read(garbage), Err(ReceiptError::Malformed { .. })));
        }
    }

    /// The prover names its container in its own source, and tells nobody: with another version it has to be read there again.
    #[test]
    fn the_container_was_read_in_the_source_of_the_linked_prover() {
        let lock = std::fs::read_to_string(format!("{}/../../Cargo.lock", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(
            lock.contains("name = \"risc0-groth16\"\nversion = \"3.0.5\"\n"),
            "src/prove/docker.rs, `GROTH16_IMAGE`"
        );
    }
}
