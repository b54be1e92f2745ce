//! Segment sizes: a segment of size po2 has at most 2^po2 cycles.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A segment size that the network offers: 14 to 24.
///
/// RISC Zero's executor also takes 13, but such a segment can never be lifted (`MIN_LIFT_PO2` is 14 in risc0-circuit-recursion
/// 4.0.5), and ordinary guests do not fit in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Po2(u8);

/// A number that is no segment size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a segment size must be a po2 from 14 to 24, got {0}")]
pub struct Po2Error(pub u8);

impl Po2 {
    /// The smallest: 16,384 cycles.
    pub const MIN: Self = Self(14);
    /// The largest that the executor cuts: 16,777,216 cycles (`MAX_CYCLES_PO2` in risc0-zkp 3.0.5). Stock verifiers take less, see
    /// `PO2_MAX` in `manyhands-zkvm`.
    pub const MAX: Self = Self(24);

    /// The exponent.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Cycles of a full segment.
    pub const fn cycles(self) -> u64 {
        1 << self.0
    }

    /// Memory that proving one segment takes, in bytes: 512 MB at 2^16, doubling with each step (the paper's Table 1), a quarter more,
    /// and 32 MiB for the worker itself. Measured with the prover of risc0-zkvm 3.0.6 under a limit: 2^14 dies at 176 MB and lives at
    /// 184; 2^16 dies at 600 MB and lives at 650; 2^17 lives at 1,300.
    pub const fn memory_bytes(self) -> u64 {
        self.cycles() * 8_192 * 5 / 4 + (32 << 20)
    }

    /// The largest size whose proof fits into `memory_bytes`, if any does.
    pub fn largest_for(memory_bytes: u64) -> Option<Self> {
        Self::all().rev().find(|po2| po2.memory_bytes() <= memory_bytes)
    }

    /// All sizes, smallest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (Self::MIN.0..=Self::MAX.0).map(Self)
    }
}

impl TryFrom<u8> for Po2 {
    type Error = Po2Error;

    fn try_from(value: u8) -> Result<Self, Po2Error> {
        if (Self::MIN.0..=Self::MAX.0).contains(&value) { Ok(Self(value)) } else { Err(Po2Error(value)) }
    }
}

impl From<Po2> for u8 {
    fn from(po2: Po2) -> u8 {
        po2.0
    }
}

impl fmt::Display for Po2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_offered_sizes_parse() {
        assert_eq!(Po2::try_from(13), Err(Po2Error(13)));
        assert_eq!(Po2::try_from(14).map(Po2::cycles), Ok(16_384));
        assert_eq!(Po2::try_from(24).map(Po2::cycles), Ok(16_777_216));
        assert_eq!(Po2::try_from(25).unwrap_err().to_string(), "a segment size must be a po2 from 14 to 24, got 25");
    }

    #[test]
    fn memory_covers_what_was_measured() {
        // Peak resident sizes of the prover, own measurement.
        for (po2, measured_mb) in [(14, 184), (15, 350), (16, 650), (17, 1_300)] {
            let planned = Po2::try_from(po2).unwrap().memory_bytes();
            assert!(planned >= measured_mb * 1_000_000, "2^{po2}: {planned}");
        }
        assert_eq!(Po2::largest_for(8 << 30), Po2::try_from(19).ok());
        assert_eq!(Po2::largest_for(1 << 20), None);
    }
}
