//! Bee's redundancy levels: how many parity chunks stand beside the data chunks below one interior chunk, how many
//! replicas the root has, and how a span tells the level. Pure arithmetic and tables; which chunks are made or asked
//! for is decided in [`split`](crate::split) and [`read`](crate::read). Serves step II, where blobs are stored.
//!
//! A parity is a chunk of its own. Reed-Solomon codes run over the wire forms of the siblings, each padded with zeros
//! to 4104 bytes, and a parity's first eight bytes are taken for its span. Any data chunks of a group can be lost as
//! long as as many of its chunks are left as it has data chunks.

pub(crate) mod code;
pub mod replicas;
mod tables;

use crate::shape::BRANCHES;

/// How many losses a blob survives. The numbers are Swarm's; so are the loss rates, under which all of a group is
/// there with a probability of 1 - 10^-6 (arXiv 2409.01259, and the header `Swarm-Redundancy-Level`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Level {
    /// No parities, no replicas: what a Bee up to 2.8.0 does unless told otherwise, and what Manyhands sends.
    #[default]
    None = 0,
    /// For 1% of chunks lost; what a Bee from 2.8.1 does unless told otherwise.
    Medium = 1,
    /// For 5%.
    Strong = 2,
    /// For 10%.
    Insane = 3,
    /// For 50%.
    Paranoid = 4,
}

impl Level {
    /// All levels, weakest first.
    pub const ALL: [Level; 5] = [Level::None, Level::Medium, Level::Strong, Level::Insane, Level::Paranoid];

    /// The level of a number from 0 to 4.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The number that names the level in a span and in Bee's headers.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Parity chunks beside `shards` data chunks below one interior chunk; encrypted trees have a table of their own.
    pub fn parities(self, shards: usize, encrypted: bool) -> usize {
        tables::parities(self, shards, encrypted)
    }

    /// Most data chunks below one interior chunk: what its 4096 bytes hold beside the parities of a full group.
    pub fn branches(self, encrypted: bool) -> usize {
        // An encrypted child's link holds its key, so that it takes the room of two addresses. Parities have no key.
        let addresses_per_child = if encrypted { 2 } else { 1 };
        let most = BRANCHES / addresses_per_child;
        (BRANCHES - self.parities(most, encrypted)) / addresses_per_child
    }

    /// Replicas of the root chunk, as [`replicas`] places them.
    pub const fn replica_count(self) -> usize {
        match self {
            Level::None => 0,
            Level::Medium => 2,
            Level::Strong => 4,
            Level::Insane => 8,
            Level::Paranoid => 16,
        }
    }
}

/// What a chunk's span says: the bytes below it and, in an interior chunk with parities, its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The level that the parities below were made at; none says that there are none.
    pub level: Level,
    /// Blob bytes below the chunk.
    pub bytes: u64,
}

/// The bit of the highest byte that says that a level is there (Swarm's format).
const LEVEL_FLAG: u8 = 0x80;
/// With a level, seven bytes are left for the length.
const LEVELLED_BYTES_MAX: u64 = (1 << 56) - 1;

impl Span {
    /// Reads the eight bytes of a span as a little-endian number; `None` if it has a level that does not exist.
    pub fn decode(raw: u64) -> Option<Self> {
        let [.., top] = raw.to_le_bytes();
        if top & LEVEL_FLAG == 0 {
            return Some(Self { level: Level::None, bytes: raw });
        }
        match Level::from_number(top & !LEVEL_FLAG)? {
            Level::None => None,
            level => Some(Self { level, bytes: raw & LEVELLED_BYTES_MAX }),
        }
    }

    /// The number that a chunk carries. Bytes beyond seven digits do not fit beside a level and are cut; no blob has
    /// so many.
    pub fn encode(self) -> u64 {
        match self.level {
            Level::None => self.bytes,
            level => (self.bytes & LEVELLED_BYTES_MAX) | u64::from(level.number() | LEVEL_FLAG) << 56,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::shape::Scheme;
    use proptest::prelude::*;

    #[test]
    fn full_groups_are_those_of_the_format() {
        let plain = Level::ALL.map(|level| level.branches(false));
        let encrypted = Level::ALL.map(|level| level.branches(true));
        assert_eq!(plain, [128, 119, 107, 97, 39]);
        assert_eq!(encrypted, [64, 59, 53, 48, 20]);
        for level in Level::ALL {
            for scheme in [false, true].map(|encrypted| Scheme { level, encrypted }) {
                let full = scheme.branches() * scheme.link_bytes() + scheme.parities(scheme.branches()) * 32;
                assert!(full <= 4096, "{scheme:?}");
            }
        }
    }

    #[test]
    fn a_span_with_a_level_that_does_not_exist_is_none() {
        for top in [0x80_u64, 0x85, 0xFF] {
            assert_eq!(Span::decode(top << 56 | 5000), None);
        }
        assert_eq!(Span::decode(0x81 << 56 | 4097), Some(Span { level: Level::Medium, bytes: 4097 }));
        assert_eq!(Span::decode(0x7F << 56), Some(Span { level: Level::None, bytes: 0x7F << 56 }));
    }

    proptest! {
        #[test]
        fn spans_survive(raw: u64) {
            if let Some(span) = Span::decode(raw) {
                prop_assert_eq!(span.encode(), raw);
            }
        }
    }
}
