//! Assumptions: receipts of other programs that a guest relies on (`env::verify`).

use manyhands_proto::Digest;
use risc0_binfmt::Digestible as _;
use risc0_zkvm::sha::Impl;
use risc0_zkvm::{InnerAssumptionReceipt, InnerReceipt, Receipt, SuccinctReceipt, Unknown};

use crate::receipt::check_nesting;
use crate::verify::check_place;
use crate::{ReceiptError, encoding, to_proto, verifier_context};

/// A receipt that was checked, to resolve an assumption with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumptionReceipt {
    claim: Digest,
    bytes: Vec<u8>,
}

impl AssumptionReceipt {
    /// Reads a receipt as it was uploaded, and checks it: the bincode of `risc0_zkvm::Receipt`, as people have it, or of
    /// `InnerAssumptionReceipt`, as RISC Zero's Bonsai client sends it. Some 10 ms.
    ///
    /// # Errors
    /// [`ReceiptError`] when it is none, proves nothing, or is of a kind that nothing can be resolved with.
    pub fn read(bytes: &[u8]) -> Result<Self, ReceiptError> {
        check_nesting(bytes)?;
        let receipt = match encoding::decode::<Receipt>(bytes) {
            Ok(receipt) => of_kind(receipt.inner.into())?,
            // What RISC Zero's client makes of it has the claim's digest in the claim's place.
            Err(_) => {
                of_kind(encoding::decode::<InnerReceipt>(bytes).map_err(|why| ReceiptError::Malformed { why })?.into())?
            }
        };
        Self::checked(receipt)
    }

    /// Reads one as [`AssumptionReceipt::encoded`] gave it.
    ///
    /// # Errors
    /// As [`AssumptionReceipt::read`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ReceiptError> {
        Self::checked(encoding::decode(bytes).map_err(|why| ReceiptError::Malformed { why })?)
    }

    /// The digest of the claim that it proves.
    pub const fn claim(&self) -> Digest {
        self.claim
    }

    /// The receipt in the one form that provers take.
    pub fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// The receipt in RISC Zero's type.
    pub(crate) fn receipt(&self) -> Result<SuccinctReceipt<Unknown>, String> {
        encoding::decode(&self.bytes)
    }

    fn checked(receipt: SuccinctReceipt<Unknown>) -> Result<Self, ReceiptError> {
        check_place(&receipt).map_err(|why| ReceiptError::NotValid { why: why.to_string() })?;
        receipt
            .verify_integrity_with_context(&verifier_context())
            .map_err(|error| ReceiptError::NotValid { why: error.to_string() })?;
        let bytes = encoding::encode(&receipt).map_err(|why| ReceiptError::Malformed { why })?;
        Ok(Self { claim: to_proto(receipt.claim.digest::<Impl>()), bytes })
    }
}

/// What to do about a receipt of another kind.
const SUCCINCT: &str = "make a succinct receipt of it first (ProverOpts::succinct(), or `manyhands prove --succinct`)";

fn of_kind(receipt: InnerAssumptionReceipt) -> Result<SuccinctReceipt<Unknown>, ReceiptError> {
    let unfit = |kind| {
        Err(ReceiptError::Unfit { why: format!("an assumption is not resolved with a {kind} receipt; {SUCCINCT}") })
    };
    match receipt {
        InnerAssumptionReceipt::Succinct(receipt) => Ok(receipt),
        InnerAssumptionReceipt::Composite(_) => unfit("composite"),
        InnerAssumptionReceipt::Groth16(_) => unfit("groth16"),
        InnerAssumptionReceipt::Fake(_) => Err(ReceiptError::Fake),
        _ => Err(ReceiptError::Malformed { why: "an unknown kind of receipt".to_owned() }),
    }
}
