//! The pinned benchmark guest: what a challenge is made of, and how anybody makes the same segment again.
//!
//! The guest is run to its end, in one segment. A run that is cut comes out differently each time: RISC Zero's guest library fills some memory
//! with random bytes when it starts, and the claim of a segment in the middle names all of memory. That of a guest that has ended does not.

use std::path::Path;

use manyhands_proto::worker::{SegmentReport, Task};
use manyhands_proto::{Po2, Seed};
use serde_bytes::ByteBuf;

use crate::worker::{Heard, Worker, WorkerError, WorkerOptions};

/// The guest: it turns a wheel as often as its input says, and commits a message. What a proof costs depends on its size alone, not on what
/// is proved, so the smallest guest will do.
const PROGRAM: &[u8] = include_bytes!("../../../guests/built/tiny.bin");

/// Its image id, as in `guests/built/guests.json`.
pub const IMAGE_ID: &str = "875652b59e2096fb2fc77c7f4d81d437347374eb391a044807c67cb076166fd2";

/// Cycles of one turn, and those of a run without turns with what is paged in and out, rounded up (own count with risc0-zkvm 3.0.6).
const TURN_CYCLES: u64 = 6;
const REST_CYCLES: u64 = 40_000;

/// How often the wheel turns in the one segment of this size: as often as takes it to three quarters of the size, so that it is no smaller one.
/// Nothing at 2^14, into which no run of the guest fits.
fn turns(po2: Po2) -> Option<u32> {
    let turns = match po2.get() {
        ..15 => return None,
        15 => 100,
        16 => 2_700,
        _ => (po2.cycles() / 4 * 3).saturating_sub(REST_CYCLES) / TURN_CYCLES,
    };
    u32::try_from(turns).ok()
}

/// Whether everybody makes the same segment of this size.
pub fn is_repeatable(po2: Po2) -> bool {
    turns(po2).is_some()
}

/// The benchmark's segment of this size, with the seed as the guest's message; at 2^14 the first one of a run that is cut.
///
/// # Errors
/// [`WorkerError`].
pub async fn segment(worker: &Path, po2: Po2, seed: Seed) -> Result<SegmentReport, WorkerError> {
    let mut worker = Worker::spawn(worker, WorkerOptions::default())?;
    let whole = Po2::try_from(manyhands_zkvm::PO2_MAX).unwrap_or(po2);
    let (turns, limit) = turns(po2).map_or((u32::MAX, po2), |turns| (turns, whole));
    let (program, input) = (ByteBuf::from(PROGRAM), [&turns.to_le_bytes()[..], &seed.0].concat().into());
    let cycles_max = 4 * po2.cycles();
    worker
        .begin(&Task::Execute { program, input, assumptions: Vec::new(), po2: limit, cycles_max, blobs: true })
        .await?;
    loop {
        // Returning drops the worker, which ends the guest.
        match worker.hear().await? {
            Heard::Segment(segment) if segment.po2 == po2 => return Ok(segment),
            Heard::Log(_) => {}
            Heard::Segment(_) | Heard::Keccak(_) | Heard::Ended(_) => {
                return Err(WorkerError::Protocol { what: "another segment than the benchmark's".to_owned() });
            }
        }
    }
}
