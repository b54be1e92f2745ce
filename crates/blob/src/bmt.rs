//! The binary Merkle tree over one chunk's payload. Pure; knows nothing of spans, files or peers.

use std::sync::LazyLock;

use crate::keccak::{Hash, Words, hash_pairs, to_hash};

/// Segments of 32 bytes below the root.
const SEGMENTS: usize = 128;
/// Levels of hashing between the segments and the root.
const LEVELS: usize = 7;
const SEGMENT_BYTES: usize = 32;

/// At index `i` the root of a subtree over 2^i segments of zeros: Swarm pads every payload with zeros to 4096 bytes,
/// and with these a short payload costs hashes in proportion to its length.
static ZERO_SUBTREES: LazyLock<[Words; LEVELS]> = LazyLock::new(|| {
    let mut subtree = [0; 4];
    std::array::from_fn(|level| {
        if level > 0 {
            let mut above = [[0; 4]];
            hash_pairs(&[[subtree; 2]], &mut above);
            [subtree] = above;
        }
        subtree
    })
});

/// The BMT root over `payload`, which the caller has bounded to 4096 bytes, padded with zeros.
pub(crate) fn root(payload: &[u8]) -> Hash {
    let (mut layer, mut next) = (&mut segments(payload), &mut [[0; 4]; SEGMENTS]);
    // An empty payload has one segment of zeros.
    let mut count = payload.len().div_ceil(SEGMENT_BYTES).max(1);
    for zero in ZERO_SUBTREES.iter() {
        if let Some(right) = layer.get_mut(count).filter(|_| count % 2 == 1) {
            *right = *zero;
        }
        count = count.div_ceil(2);
        let pairs = layer.as_chunks().0;
        hash_pairs(pairs.get(..count).unwrap_or(pairs), next);
        std::mem::swap(&mut layer, &mut next);
    }
    let [root, ..] = *layer;
    to_hash(root)
}

fn segments(payload: &[u8]) -> [Words; SEGMENTS] {
    let mut segments = [[0; 4]; SEGMENTS];
    let words = segments.as_flattened_mut();
    let (whole, rest) = payload.as_chunks();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let read = whole.iter().chain([&last]).map(|bytes| u64::from_le_bytes(*bytes));
    words.iter_mut().zip(read).for_each(|(word, read)| *word = read);
    segments
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::keccak::keccak256;

    /// The definition, without shortcuts: 128 padded segments, seven levels.
    fn plain_root(payload: &[u8]) -> Hash {
        let mut padded = payload.to_vec();
        padded.resize(4096, 0);
        let mut layer: Vec<Hash> = padded.chunks(32).map(|s| s.try_into().unwrap()).collect();
        while layer.len() > 1 {
            layer = layer.chunks(2).map(|p| keccak256(&[&p[0], &p[1]])).collect();
        }
        layer[0]
    }

    #[test]
    fn the_shortcut_over_zeros_changes_nothing() {
        for len in (0..=200).chain([255, 256, 257, 2047, 2048, 2049, 4064, 4095, 4096]) {
            let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8 + 1).collect();
            assert_eq!(root(&payload), plain_root(&payload), "length {len}");
        }
    }
}
