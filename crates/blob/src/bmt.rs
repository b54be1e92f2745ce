//! Keccak-256 and the binary Merkle tree over one chunk's payload. Pure; knows nothing of spans, files or peers.

use std::sync::LazyLock;

use tiny_keccak::{Hasher as _, Keccak};

/// A keccak-256 digest, with the padding that Ethereum and Swarm use.
pub(crate) type Hash = [u8; 32];

/// Levels of hashing between the 128 segments of 32 bytes and the root.
const LEVELS: usize = 7;
/// Two segments, which is what the lowest level hashes at a time.
const PAIR_BYTES: usize = 64;

/// At index `i` the root of a subtree over 2^i segments of zeros: Swarm pads every payload with zeros to 4096 bytes,
/// and with these a short payload costs hashes in proportion to its length.
static ZERO_SUBTREES: LazyLock<[Hash; LEVELS + 1]> = LazyLock::new(|| {
    let mut hash = [0; 32];
    std::array::from_fn(|level| {
        if level > 0 {
            hash = keccak256(&[&hash, &hash]);
        }
        hash
    })
});

/// Keccak-256 over the concatenation of `parts`.
pub(crate) fn keccak256(parts: &[&[u8]]) -> Hash {
    let mut hasher = Keccak::v256();
    parts.iter().for_each(|part| hasher.update(part));
    let mut hash = [0; 32];
    hasher.finalize(&mut hash);
    hash
}

/// The BMT root over `payload`, which the caller has bounded to 4096 bytes, padded with zeros.
pub(crate) fn root(payload: &[u8]) -> Hash {
    let mut layer: Vec<Hash> = payload.chunks(PAIR_BYTES).map(hash_pair).collect();
    for zero in ZERO_SUBTREES.iter().take(LEVELS).skip(1) {
        layer = layer.chunks(2).map(|pair| hash_siblings(pair, zero)).collect();
    }
    let [.., zero_root] = &*ZERO_SUBTREES;
    layer.first().copied().unwrap_or(*zero_root)
}

fn hash_pair(segments: &[u8]) -> Hash {
    let mut padded = [0; PAIR_BYTES];
    padded.iter_mut().zip(segments).for_each(|(to, from)| *to = *from);
    keccak256(&[&padded])
}

fn hash_siblings(pair: &[Hash], zero: &Hash) -> Hash {
    match pair {
        [left, right] => keccak256(&[left, right]),
        [left] => keccak256(&[left, zero]),
        _ => *zero,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

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

    #[test]
    fn keccak_is_the_variant_of_ethereum() {
        // keccak-256 of nothing, as in the Ethereum yellow paper (the hash of an account without code).
        let empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(manyhands_proto::Reference(keccak256(&[])).to_string(), empty);
    }
}
