//! How much room work takes on a disk: what a node must have before it asks for a lease, and a gateway before it takes a job. Whoever begins
//! without it fails half-way, with work of others lost.

use manyhands_proto::Po2;
use manyhands_proto::limits::SEGMENT_BYTES_MAX;
use manyhands_proto::message::Capabilities;
use manyhands_proto::unit::UnitKind;

use crate::job::UnitState;
use crate::{Outcome, ProofSystem, Requester, Survey};

/// Bytes of a segment's blob, by po2 from 14: the paper's Table 2, which has no size for 2^14; that is halved.
const SEGMENT_BYTES: [u64; 11] =
    [10_000, 19_000, 38_000, 67_000, 133_000, 265_000, 529_000, 1_100_000, 2_000_000, 4_100_000, 6_400_000];

/// The receipt of a lift or join, in bytes (own measurement).
pub const RANGE_RECEIPT_BYTES: u64 = 223_000;

/// A guest whose segments touch more memory than the paper's has larger ones: so many times the table's are allowed for.
const GUESTS_DIFFER: u64 = 2;

/// Segments that a job is thought to have before its guest was looked at. Shorter ones gain little from a network; one of 16 at 2^16 takes 8 MB,
/// which fits into the smallest store that a daemon may have.
const SEGMENTS_LIKELY: u64 = 16;

/// Whether there is room for what the next lease brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Enough,
    /// There is not: a lease would fail half-way.
    Short,
}

/// Usual size of a segment's blob, in bytes.
pub fn segment_bytes(po2: Po2) -> u64 {
    let row = usize::from(po2.get().saturating_sub(Po2::MIN.get()));
    SEGMENT_BYTES.get(row).or(SEGMENT_BYTES.last()).copied().unwrap_or_default()
}

/// Usual size of a unit's receipt, in bytes: 209 kB at 2^15, 221 at 2^16, 244 at 2^17 (own measurement), some 20 kB more with each po2.
pub const fn receipt_bytes(kind: UnitKind, po2: Po2) -> u64 {
    match (kind, po2.get()) {
        (UnitKind::Lift | UnitKind::Join | UnitKind::Keccak, _) => RANGE_RECEIPT_BYTES,
        (UnitKind::Prove, ..=14) => 197_000,
        (UnitKind::Prove, 15) => 209_000,
        (UnitKind::Prove, 16) => 221_000,
        (UnitKind::Prove, po2) => 244_000 + 20_000 * (po2 as u64 - 17),
    }
}

/// Bytes that the leases of a node bring when every slot has one: inputs and output of the largest segment that it offers, or of a join if
/// that is more.
pub fn leases_bytes(offered: &Capabilities) -> u64 {
    let segment = segment_bytes(offered.po2_max).saturating_mul(GUESTS_DIFFER).min(SEGMENT_BYTES_MAX);
    let prove = segment.saturating_add(receipt_bytes(UnitKind::Prove, offered.po2_max));
    // Two of its like go into a join, or the proof of a segment into a lift.
    let recursion = if offered.recursion { RANGE_RECEIPT_BYTES.saturating_mul(3) } else { 0 };
    prove.max(recursion).saturating_mul(u64::from(offered.slots.max(1)))
}

/// Bytes that a job will likely bring beside its program and input, as far as anybody knows before its guest has run: segments, their
/// receipts, and the receipt that is put together of them.
pub fn job_bytes(po2: Po2, outcome: Outcome, cycles_max: u64) -> u64 {
    let segments = cycles_max.div_ceil(po2.cycles()).clamp(1, SEGMENTS_LIKELY);
    let segment = segment_bytes(po2).saturating_add(results_bytes(po2, outcome));
    segments.saturating_mul(segment)
}

/// Bytes that come of one segment: its receipt, and its part of the final one; or, to be joined, a lift and a join beside it.
const fn results_bytes(po2: Po2, outcome: Outcome) -> u64 {
    let proof = receipt_bytes(UnitKind::Prove, po2);
    match outcome {
        Outcome::Composite => proof.saturating_mul(2),
        Outcome::Succinct => proof.saturating_add(RANGE_RECEIPT_BYTES * 2),
    }
}

impl Survey {
    /// Bytes that the job will bring at least, by what was seen of its guest: at the size that takes the fewest. None if nothing was seen.
    pub fn bytes_min(&self, outcome: Outcome) -> Option<u64> {
        let of = |cut: &crate::sizing::Cut| {
            let segments = cut.segments.saturating_mul(results_bytes(cut.po2, outcome));
            // Of each request a receipt, and a union's.
            let keccaks = cut.keccaks.saturating_mul(RANGE_RECEIPT_BYTES * 2);
            cut.blob_bytes.saturating_add(segments).saturating_add(keccaks)
        };
        // Only the longest look has seen as much of the guest as is known of it.
        let longest = self.cuts.iter().map(|cut| cut.user_cycles).max()?;
        self.cuts.iter().filter(|cut| cut.user_cycles == longest).map(of).min()
    }
}

impl<P: ProofSystem> Requester<P> {
    /// Bytes that the open jobs will still bring, as far as their units are known.
    pub fn bytes_due(&self) -> u64 {
        let of_job = |job: &crate::job::Job<P>| {
            let due = job.units().filter(|(_, state)| *state != UnitState::Verified);
            let results = due.map(|(unit, _)| receipt_bytes(unit.kind(), job.spec.po2)).fold(0, u64::saturating_add);
            let proofs = job.units().filter(|(unit, _)| unit.kind() == UnitKind::Prove).count() as u64;
            let whole = match job.spec.outcome {
                Outcome::Composite => proofs.saturating_mul(receipt_bytes(UnitKind::Prove, job.spec.po2)),
                Outcome::Succinct => RANGE_RECEIPT_BYTES,
            };
            results.saturating_add(whole)
        };
        self.jobs().filter(|job| job.is_open()).map(of_job).fold(0, u64::saturating_add)
    }
}
