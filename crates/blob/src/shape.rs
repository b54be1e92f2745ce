//! The shape of a blob's tree. It follows from the size and the [`Scheme`], so every span, every payload length and the
//! number of chunks can be told before the first byte is seen. The functions are for level 0 without encryption, which
//! is what Manyhands sends; the scheme's methods are for all. Pure arithmetic, total for every u64.
//!
//! A subtree over `span` bytes is one leaf if the span fits a leaf; otherwise it has the lowest height that is
//! enough, its children are full subtrees of one height less, and the last child is the subtree over what remains -
//! however low that is. So a single leaf at the end hangs directly below a tall parent (Bee's carrier rule) without
//! being wrapped.

use crate::chunk::{PAYLOAD_BYTES_MAX, SPAN_BYTES};
use crate::redundancy::Level;

/// Bytes of one address inside an interior chunk.
pub const REFERENCE_BYTES: usize = 32;
/// Most children of an interior chunk (Swarm's format): 4096 / 32.
pub const BRANCHES: usize = PAYLOAD_BYTES_MAX / REFERENCE_BYTES;

const LEAF_BYTES: u64 = PAYLOAD_BYTES_MAX as u64;

/// Whether a subtree over `span_bytes` is a single leaf.
pub const fn is_leaf(span_bytes: u64) -> bool {
    span_bytes <= LEAF_BYTES
}

/// Blob bytes below each child but the last of an interior chunk over `span_bytes`.
pub const fn child_capacity_bytes(span_bytes: u64) -> u64 {
    capacity_bytes(span_bytes, BRANCHES)
}

/// Children of the topmost chunk of a subtree over `span_bytes`: 0 for a leaf, else 2 to [`BRANCHES`].
pub const fn child_count(span_bytes: u64) -> usize {
    if is_leaf(span_bytes) { 0 } else { span_bytes.div_ceil(child_capacity_bytes(span_bytes)) as usize }
}

/// Payload bytes of the topmost chunk of a subtree over `span_bytes`, at most [`PAYLOAD_BYTES_MAX`].
pub const fn payload_bytes(span_bytes: u64) -> usize {
    if is_leaf(span_bytes) { span_bytes as usize } else { child_count(span_bytes) * REFERENCE_BYTES }
}

/// Chunks of a blob of `size_bytes`, interior chunks and repeated chunks included.
pub const fn chunk_count(size_bytes: u64) -> u64 {
    count_with(size_bytes, BRANCHES)
}

/// The span of the chunk of that number, in pre-order, of a blob of `size_bytes`; none if it has no such chunk.
pub const fn span_bytes_at(size_bytes: u64, number: u64) -> Option<u64> {
    if number >= chunk_count(size_bytes) {
        return None;
    }
    let (mut span_bytes, mut below) = (size_bytes, number);
    while below > 0 {
        let child_bytes = child_capacity_bytes(span_bytes);
        let child_chunks = chunk_count(child_bytes);
        let child = (below - 1) / child_chunks;
        let rest_bytes = span_bytes - child * child_bytes;
        span_bytes = if rest_bytes < child_bytes { rest_bytes } else { child_bytes };
        below = below - 1 - child * child_chunks;
    }
    Some(span_bytes)
}

/// Chunks of an encrypted tree over `size_bytes` at level 0, where half as many links fit into a chunk.
pub const fn sealed_chunk_count(size_bytes: u64) -> u64 {
    count_with(size_bytes, BRANCHES / 2)
}

/// Bytes that an encrypted tree over `size_bytes` takes as chunks, which all have the full length.
pub const fn sealed_bytes(size_bytes: u64) -> u64 {
    sealed_chunk_count(size_bytes).saturating_mul((SPAN_BYTES + PAYLOAD_BYTES_MAX) as u64)
}

const fn count_with(size_bytes: u64, branches: usize) -> u64 {
    let mut count = 0;
    let mut rest_bytes = size_bytes;
    while !is_leaf(rest_bytes) {
        let capacity = capacity_bytes(rest_bytes, branches);
        count += 1 + (rest_bytes / capacity) * full_chunk_count(capacity, branches);
        rest_bytes %= capacity;
        if rest_bytes == 0 {
            return count;
        }
    }
    count + 1
}

/// Bytes that a blob of `size_bytes` takes as chunks: each has its span, each but the root an address in its parent.
pub const fn stored_bytes(size_bytes: u64) -> u64 {
    let count = chunk_count(size_bytes);
    let overhead = count * (SPAN_BYTES + REFERENCE_BYTES) as u64 - REFERENCE_BYTES as u64;
    size_bytes.saturating_add(overhead)
}

/// How a blob's tree was made; with the size it decides the tree's whole shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheme {
    /// The redundancy level.
    pub level: Level,
    /// Whether each chunk is encrypted and each link holds a key.
    pub encrypted: bool,
}

impl Scheme {
    /// Most data chunks below one interior chunk: 20 to [`BRANCHES`].
    pub fn branches(self) -> usize {
        self.level.branches(self.encrypted)
    }

    /// Bytes of the link to a data chunk in its parent: the address, and the key if there is one.
    pub const fn link_bytes(self) -> usize {
        if self.encrypted { 2 * REFERENCE_BYTES } else { REFERENCE_BYTES }
    }

    /// Parity chunks beside `shards` siblings.
    pub fn parities(self, shards: usize) -> usize {
        self.level.parities(shards, self.encrypted)
    }

    /// As [`child_capacity_bytes`].
    pub fn child_capacity_bytes(self, span_bytes: u64) -> u64 {
        capacity_bytes(span_bytes, self.branches())
    }

    /// Data chunks below the topmost chunk of a subtree over `span_bytes`: 0 for a leaf, else 2 to
    /// [`Scheme::branches`].
    pub fn child_count(self, span_bytes: u64) -> usize {
        if is_leaf(span_bytes) { 0 } else { span_bytes.div_ceil(self.child_capacity_bytes(span_bytes)) as usize }
    }

    /// Payload bytes of the topmost chunk of a subtree over `span_bytes`, parities' addresses included and the padding
    /// of encryption not; at most [`PAYLOAD_BYTES_MAX`].
    pub fn payload_bytes(self, span_bytes: u64) -> usize {
        if is_leaf(span_bytes) {
            return span_bytes as usize;
        }
        let children = self.child_count(span_bytes);
        children * self.link_bytes() + self.parities(children) * REFERENCE_BYTES
    }
}

const fn capacity_bytes(span_bytes: u64, branches: usize) -> u64 {
    let mut capacity = LEAF_BYTES;
    while capacity.saturating_mul(branches as u64) < span_bytes {
        capacity = capacity.saturating_mul(branches as u64);
    }
    capacity
}

/// Chunks of a full subtree over `capacity_bytes`, which is a leaf times a power of `branches`.
const fn full_chunk_count(capacity_bytes: u64, branches: usize) -> u64 {
    let mut level = capacity_bytes / LEAF_BYTES;
    let mut count = level;
    while level > 1 {
        level /= branches as u64;
        count += level;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_that_bee_writes() {
        let known = [(0, 1), (1, 1), (4096, 1), (4097, 3), (8192, 3), (200_000, 50), (265_000, 66), (524_288, 129)];
        let more = [(524_289, 131), (700_000, 174), (3_000_000, 740), (67_108_864, 16_513), (67_108_865, 16_515)];
        for (size_bytes, count) in known.into_iter().chain(more) {
            assert_eq!(chunk_count(size_bytes), count, "{size_bytes} bytes");
        }
    }

    #[test]
    fn the_carrier_rule_shows_in_the_children() {
        assert_eq!((child_count(524_288), child_capacity_bytes(524_288)), (128, 4096));
        assert_eq!((child_count(524_289), child_capacity_bytes(524_289)), (2, 524_288));
        assert_eq!((child_count(67_108_865), child_capacity_bytes(67_108_865)), (2, 67_108_864));
        assert_eq!(payload_bytes(524_289), 64);
    }

    #[test]
    fn every_chunks_span_is_told_by_its_number() {
        /// The spans below and at a chunk, in pre-order.
        fn spans(span_bytes: u64, out: &mut Vec<u64>) {
            out.push(span_bytes);
            let (mut rest_bytes, child_bytes) = (span_bytes, child_capacity_bytes(span_bytes));
            while !is_leaf(span_bytes) && rest_bytes > 0 {
                spans(rest_bytes.min(child_bytes), out);
                rest_bytes -= rest_bytes.min(child_bytes);
            }
        }
        for size_bytes in [0, 1, 4096, 4097, 265_000, 524_288, 524_289, 524_289 + 4096, 3_000_000, 67_108_865] {
            let mut all = Vec::new();
            spans(size_bytes, &mut all);
            assert_eq!(all.len() as u64, chunk_count(size_bytes));
            for (number, span_bytes) in (0..).zip(&all) {
                assert_eq!(span_bytes_at(size_bytes, number), Some(*span_bytes), "{number} of {size_bytes}");
            }
            assert_eq!(span_bytes_at(size_bytes, chunk_count(size_bytes)), None);
        }
    }

    #[test]
    fn total_for_the_largest_number() {
        let last = chunk_count(u64::MAX) - 1;
        assert_eq!(span_bytes_at(u64::MAX, last), Some(4095));
        assert_eq!((span_bytes_at(u64::MAX, 0), span_bytes_at(u64::MAX, u64::MAX)), (Some(u64::MAX), None));
        assert_eq!(child_count(u64::MAX), 8);
        assert_eq!(child_capacity_bytes(u64::MAX), 1 << 61);
        assert!(chunk_count(u64::MAX) > 1 << 52);
        assert_eq!(stored_bytes(u64::MAX), u64::MAX);
        assert_eq!(stored_bytes(0), 8);
        assert_eq!(stored_bytes(4097), 4097 + 3 * 8 + 2 * 32);
    }
}
