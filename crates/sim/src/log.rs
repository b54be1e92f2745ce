//! The event log, of which only the hash is kept: SHA-256 over everything that the machines said and decided, in order.

use manyhands_proto::{LeaseId, Unit};
use sha2::{Digest as _, Sha256};

/// Hashed in pieces of this size.
const PIECE_BYTES: usize = 1 << 14;

/// The log. A line is a moment, a machine, a code and what the code needs; all numbers in little-endian order.
#[derive(Debug, Default)]
pub(crate) struct Log {
    hasher: Sha256,
    piece: Vec<u8>,
}

impl Log {
    /// Begins a line. Codes are the caller's; each means one shape of line.
    pub(crate) fn line(&mut self, now_ms: u64, machine: u32, code: u8) -> &mut Self {
        if self.piece.len() >= PIECE_BYTES {
            self.hasher.update(&self.piece);
            self.piece.clear();
        }
        self.number(now_ms).number(u64::from(machine) << 8 | u64::from(code))
    }

    /// Adds a number to the line.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.piece.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// Adds a lease to the line.
    pub(crate) fn lease(&mut self, lease: &LeaseId) -> &mut Self {
        let (kind, mid) = match lease.unit {
            Unit::Prove(_) => (0, 0),
            Unit::Lift(_) => (1, 0),
            Unit::Join { mid, .. } => (2, mid),
            Unit::Resolve { index, .. } => (3, index),
            Unit::Keccak(_) => (4, 0),
            Unit::Union { mid, .. } => (5, mid),
        };
        let range = lease.unit.range();
        self.piece.extend_from_slice(&lease.job.0);
        let (first, second) = (pair(range.start, range.end), pair(mid, lease.attempt));
        self.number(first).number(second).number(kind)
    }

    /// The hash, in hexadecimal.
    pub(crate) fn finish(mut self) -> String {
        self.hasher.update(&self.piece);
        self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
