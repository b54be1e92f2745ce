//! Receipts that a job's guest relies on (`env::verify`): checked when the job is taken, and resolved when everything else is joined.

use manyhands_api::types::{Problem, ProblemKind};
use manyhands_blob::StoreError;
use manyhands_proto::limits::{ASSUMPTIONS_MAX, RECEIPT_BYTES_MAX};
use manyhands_proto::{BlobRef, Digest, JobId, Reference};
use manyhands_zkvm::{AssumptionReceipt, ReceiptError};

use super::door::of_store;
use super::owners::owner_of;
use super::tasks::Tasks;

/// A receipt that a guest may rely on, in the form that provers take, held by the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assumed {
    /// What it proves.
    pub(crate) claim: Digest,
    pub(crate) receipt: BlobRef,
}

/// Bytes of one in the database: claim, reference, size.
const RECORD_BYTES: usize = 32 + 32 + 8;

/// As the database has them.
pub(super) fn to_bytes(assumed: &[Assumed]) -> Vec<u8> {
    let record =
        |one: &Assumed| [&one.claim.0[..], &one.receipt.reference.0, &one.receipt.size_bytes.to_le_bytes()].concat();
    assumed.iter().flat_map(record).collect()
}

/// The same back; what is no whole record is left out.
pub(super) fn of_bytes(bytes: &[u8]) -> Vec<Assumed> {
    let record = |record: &[u8; RECORD_BYTES]| {
        let (claim, rest) = record.split_first_chunk()?;
        let (reference, size) = rest.split_first_chunk()?;
        let size_bytes = u64::from_le_bytes(*size.first_chunk()?);
        let receipt = BlobRef { reference: Reference(*reference), size_bytes };
        Some(Assumed { claim: Digest(*claim), receipt })
    };
    bytes.as_chunks().0.iter().filter_map(record).collect()
}

/// The receipts with which what a guest relied on is resolved, in that order.
///
/// # Errors
/// A sentence if one was not given, which the executor would have noticed.
pub(super) fn in_order(given: &[Assumed], relied_on: &[Digest]) -> Result<Vec<BlobRef>, String> {
    let of_claim = |claim: &Digest| {
        let one = given.iter().find(|one| one.claim == *claim);
        one.map(|one| one.receipt)
            .ok_or_else(|| format!("the guest relies on claim {claim}, whose receipt was not given"))
    };
    relied_on.iter().map(of_claim).collect()
}

/// Refuses a number of receipts that is too large.
pub(super) fn check_count(count: usize) -> Result<(), Problem> {
    if count <= ASSUMPTIONS_MAX {
        return Ok(());
    }
    Err(Problem::invalid(format!("a program may rely on at most {ASSUMPTIONS_MAX} receipts, and {count} were given")))
}

/// Why a receipt cannot be relied on.
pub(super) fn unfit(error: &ReceiptError) -> Problem {
    Problem::invalid(format!("a receipt to rely on (assumption) is not usable: {error}"))
}

/// Refuses a receipt that is larger than any that can be resolved with.
pub(super) fn check_size(size_bytes: u64) -> Result<(), Problem> {
    if size_bytes <= RECEIPT_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "a receipt to rely on (assumption) has at most {RECEIPT_BYTES_MAX} bytes, and this one has {size_bytes}: make a succinct one of it first"
    );
    Err(Problem::new(ProblemKind::TooLarge, message))
}

impl Tasks {
    /// Checks uploaded receipts, and has the job hold them in the form that provers take.
    pub(super) async fn assume(&self, job: JobId, receipts: &[BlobRef]) -> Result<Vec<Assumed>, Problem> {
        check_count(receipts.len())?;
        let mut assumed = Vec::with_capacity(receipts.len());
        for blob in receipts.iter().copied() {
            check_size(blob.size_bytes)?;
            assumed.push(self.assume_one(job, blob).await?);
        }
        Ok(assumed)
    }

    async fn assume_one(&self, job: JobId, uploaded: BlobRef) -> Result<Assumed, Problem> {
        let read = self.on_store(move |store| {
            let bytes = store.read_blob(&uploaded, RECEIPT_BYTES_MAX)?;
            let receipt = match AssumptionReceipt::read(&bytes) {
                Ok(receipt) => receipt,
                Err(error) => return Ok(Err(error)),
            };
            let blob = store.put_blob(&owner_of(job), receipt.encoded())?;
            Ok(Ok(Assumed { claim: receipt.claim(), receipt: blob }))
        });
        match read.await {
            Ok(assumed) => assumed.map_err(|error| unfit(&error)),
            Err(error @ (StoreError::NotFound { .. } | StoreError::SizeMismatch { .. })) => {
                Err(Problem::invalid(format!("a receipt to rely on (assumption) was not uploaded: {error}")))
            }
            Err(error) => Err(of_store(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assumed(number: u8) -> Assumed {
        let receipt = BlobRef { reference: Reference([number; 32]), size_bytes: u64::from(number) << 40 };
        Assumed { claim: Digest([number ^ 0xff; 32]), receipt }
    }

    #[test]
    fn the_database_gives_them_back() {
        let all: Vec<Assumed> = (0..3).map(assumed).collect();
        let mut bytes = to_bytes(&all);
        assert_eq!(bytes.len(), 3 * RECORD_BYTES);
        assert_eq!(of_bytes(&bytes), all);
        bytes.pop();
        assert_eq!(of_bytes(&bytes), all[..2]);
    }

    #[test]
    fn they_are_resolved_in_the_order_of_the_claim_and_as_often() {
        let given = [assumed(1), assumed(2)];
        let [first, second] = given.map(|one| one.receipt);
        let claims = [given[1].claim, given[0].claim, given[1].claim];
        assert_eq!(in_order(&given, &claims).unwrap(), [second, first, second]);
        assert_eq!(in_order(&given, &[]).unwrap(), []);
        assert!(in_order(&given, &[Digest([7; 32])]).unwrap_err().contains("was not given"));
    }
}
