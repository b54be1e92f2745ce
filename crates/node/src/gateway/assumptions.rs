//! Receipts that a job's guest relies on (`env::verify`): checked when the job is taken, and resolved when everything else is joined.

use manyhands_api::types::{Problem, ProblemKind};
use manyhands_blob::StoreError;
use manyhands_core::Assumption;
use manyhands_proto::limits::{ASSUMPTIONS_MAX, RECEIPT_BYTES_MAX};
use manyhands_proto::{BlobRef, Digest, JobId, Reference};
use manyhands_zkvm::{AssumptionReceipt, ReceiptError, Reliance, keccak_root};

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

/// What a guest relied on is resolved with, in that order: receipts that were given, and the union of its keccak requests, which claim
/// `requests`.
///
/// # Errors
/// A sentence if something is neither.
pub(super) fn in_order(
    given: &[Assumed],
    relied_on: &[Reliance],
    requests: &[Digest],
) -> Result<Vec<Assumption>, String> {
    let root = keccak_root(requests.iter().copied());
    let met = |reliance: &Reliance| {
        if root.is_some_and(|root| reliance.is_met_by(root)) {
            return Ok(Assumption::Keccak);
        }
        let one = given.iter().find(|one| reliance.is_met_by(Reliance::usual(one.claim)));
        let missing = || format!("the guest relies on claim {}, whose receipt was not given", reliance.claim);
        one.map(|one| Assumption::Given(one.receipt)).ok_or_else(missing)
    };
    relied_on.iter().map(met).collect()
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
    use manyhands_core::sibling;
    use manyhands_proto::SegmentRange;

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
        let zero = Digest([0; 32]);
        let relied_on = [1, 0, 1].map(|which: usize| Reliance { claim: given[which].claim, control_root: zero });
        assert_eq!(in_order(&given, &relied_on, &[]).unwrap(), [second, first, second].map(Assumption::Given));
        assert_eq!(in_order(&given, &[], &[]).unwrap(), []);
        let unknown = Reliance { claim: Digest([7; 32]), control_root: zero };
        let other_programs = Reliance { control_root: Digest([7; 32]), ..relied_on[0] };
        for wrong in [unknown, other_programs] {
            assert!(in_order(&given, &[wrong], &[]).unwrap_err().contains("was not given"));
        }
    }

    #[test]
    fn all_keccak_requests_are_one_assumption_wherever_it_stands() {
        let requests = [Digest([1; 32]), Digest([2; 32]), Digest([3; 32])];
        let root = keccak_root(requests).unwrap();
        let given = [assumed(1)];
        let usual = Reliance::usual(given[0].claim);
        let expected = [Assumption::Given(given[0].receipt), Assumption::Keccak];
        assert_eq!(in_order(&given, &[usual, root], &requests).unwrap(), expected);
        // Of other requests, or of fewer, it is not the union.
        assert!(in_order(&given, &[root], &requests[..2]).is_err());
        assert!(in_order(&given, &[root], &[]).is_err());
        assert!(in_order(&given, &[Reliance { control_root: Digest([0; 32]), ..root }], &requests[..1]).is_err());
    }

    /// The order of unions that the state machine leases gives the root that guests rely on.
    #[test]
    fn unions_in_the_order_of_the_leases_make_what_the_guest_relies_on() {
        for requests in 1..70_u32 {
            let claims: Vec<Digest> = (0..requests).map(|index| Digest([index as u8 + 1; 32])).collect();
            let mut there: std::collections::BTreeMap<u32, (u32, Reliance)> = std::collections::BTreeMap::new();
            for (index, claim) in (0..).zip(&claims) {
                let (mut range, mut proves) = (SegmentRange::single(index), keccak_root([*claim]).unwrap());
                while let Some(other) = sibling(range, Some(requests)) {
                    let Some((_, twin)) = there.get(&other.start).copied().filter(|(end, _)| *end == other.end) else {
                        break;
                    };
                    there.remove(&other.start);
                    proves = proves.united(twin);
                    range = SegmentRange { start: range.start.min(other.start), end: range.end.max(other.end) };
                }
                there.insert(range.start, (range.end, proves));
            }
            let root = keccak_root(claims).unwrap();
            assert_eq!(there, [(0, (requests, root))].into(), "{requests} requests");
        }
    }
}
