//! Assumptions: receipts of other programs that a guest relies on (`env::verify`).

use manyhands_proto::Digest;
use risc0_binfmt::Digestible as _;
use risc0_zkvm::sha::Impl;
use risc0_zkvm::{
    InnerAssumptionReceipt, InnerReceipt, Receipt, SuccinctReceipt, SuccinctReceiptVerifierParameters, Unknown,
};

use crate::keccak::{keccak_context, keccak_parameters};
use crate::receipt::{SUCCINCT, check_nesting};
use crate::verify::check_place;
use crate::{ReceiptError, Reliance, encoding, to_proto, verifier_context};

/// A receipt that was checked, to resolve an assumption with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumptionReceipt {
    proves: Reliance,
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
        Self::checked(receipt, Set::Usual)
    }

    /// Reads one as [`AssumptionReceipt::encoded`] gave it, or the receipt of keccak requests.
    ///
    /// # Errors
    /// As [`AssumptionReceipt::read`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let receipt: SuccinctReceipt<Unknown> =
            encoding::decode(bytes).map_err(|why| ReceiptError::Malformed { why })?;
        let is_keccak = receipt.verifier_parameters == keccak_parameters().digest::<Impl>();
        Self::checked(receipt, if is_keccak { Set::Keccak } else { Set::Usual })
    }

    /// The digest of the claim that it proves.
    pub const fn claim(&self) -> Digest {
        self.proves.claim
    }

    /// What it proves, as a guest that relies on it says it.
    pub const fn proves(&self) -> Reliance {
        self.proves
    }

    /// The receipt in the one form that provers take.
    pub fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// The receipt in RISC Zero's type.
    pub(crate) fn receipt(&self) -> Result<SuccinctReceipt<Unknown>, String> {
        encoding::decode(&self.bytes)
    }

    fn checked(receipt: SuccinctReceipt<Unknown>, set: Set) -> Result<Self, ReceiptError> {
        let (parameters, context) = match set {
            Set::Usual => (SuccinctReceiptVerifierParameters::default(), verifier_context()),
            Set::Keccak => (keccak_parameters(), keccak_context(keccak_parameters())),
        };
        check_place(&receipt, &parameters).map_err(|why| ReceiptError::NotValid { why: why.to_string() })?;
        receipt
            .verify_integrity_with_context(&context)
            .map_err(|error| ReceiptError::NotValid { why: error.to_string() })?;
        let bytes = encoding::encode(&receipt).map_err(|why| ReceiptError::Malformed { why })?;
        let (claim, control_root) = (to_proto(receipt.claim.digest::<Impl>()), to_proto(parameters.control_root));
        Ok(Self { proves: Reliance { claim, control_root }, bytes })
    }
}

/// The recursion programs that a receipt's program is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// Lift, join, resolve, union.
    Usual,
    /// Those of single keccak requests.
    Keccak,
}

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
