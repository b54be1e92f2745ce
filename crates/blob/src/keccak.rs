//! Keccak-256 and its permutation, `Keccak-f[1600]`, over one state or over several side by side. Pure. All of the time that
//! a reference takes is spent here, so pairs of digests have a path of their own: one block each, no buffer.
//!
//! The permutation is that of the Keccak reference (keccak.team), with the padding that Ethereum and Swarm kept.

#![expect(
    clippy::indexing_slicing,
    reason = "no index depends on data: they are the permutation's constants, all of which each call uses"
)]

/// A keccak-256 digest, with the padding that Ethereum and Swarm use.
pub(crate) type Hash = [u8; 32];
/// A digest as the words of the permutation.
pub(crate) type Words = [u64; 4];

/// States side by side: four fill a vector of AVX2, and the compiler makes the loops over them vector instructions.
const LANES: usize = 4;
/// `N` states of 25 words, word by word.
type States<const N: usize> = [[u64; N]; 25];

/// Bytes that a state takes between two permutations, for 256 bits of security.
const RATE_BYTES: usize = 136;
/// The padding's first and last bit, as bytes of the block.
const PADDING: (u8, u8) = (0x01, 0x80);

const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];
/// Where the words go one after another, and by how many bits each is turned on the way.
const MOVES: [(usize, u32); 24] = [
    (10, 1),
    (7, 3),
    (11, 6),
    (17, 10),
    (18, 15),
    (3, 21),
    (5, 28),
    (16, 36),
    (8, 45),
    (21, 55),
    (24, 2),
    (4, 14),
    (15, 27),
    (23, 41),
    (19, 56),
    (13, 8),
    (12, 25),
    (2, 43),
    (20, 62),
    (14, 18),
    (22, 39),
    (9, 61),
    (6, 20),
    (1, 44),
];

/// Keccak-256 over the concatenation of `parts`.
pub(crate) fn keccak256(parts: &[&[u8]]) -> Hash {
    let (mut state, mut block, mut filled) = ([[0]; 25], [0; RATE_BYTES], 0);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let (taken, left) = rest.split_at(rest.len().min(RATE_BYTES - filled));
            block[filled..filled + taken.len()].copy_from_slice(taken);
            (rest, filled) = (left, filled + taken.len());
            if filled == RATE_BYTES {
                absorb(&mut state, &block);
                (block, filled) = ([0; RATE_BYTES], 0);
            }
        }
    }
    block[filled] ^= PADDING.0;
    block[RATE_BYTES - 1] ^= PADDING.1;
    absorb(&mut state, &block);
    to_hash([state[0][0], state[1][0], state[2][0], state[3][0]])
}

/// Keccak-256 of each pair in `pairs`, into the first of `digests` in the same order; the shorter of the two ends it.
pub(crate) fn hash_pairs(pairs: &[[Words; 2]], digests: &mut [Words]) {
    let (groups, rest) = pairs.as_chunks::<LANES>();
    let mut places = digests.iter_mut();
    for group in groups {
        hash_group(group).into_iter().zip(&mut places).for_each(|(digest, place)| *place = digest);
    }
    for (pair, place) in rest.iter().zip(places) {
        [*place] = hash_group(&[*pair]);
    }
}

/// A digest as bytes.
pub(crate) fn to_hash(words: Words) -> Hash {
    let mut hash = [0; 32];
    hash.as_chunks_mut().0.iter_mut().zip(words).for_each(|(to, word)| *to = word.to_le_bytes());
    hash
}

fn hash_group<const N: usize>(pairs: &[[Words; 2]; N]) -> [Words; N] {
    let mut states: States<N> = [[0; N]; 25];
    for (lane, pair) in pairs.iter().enumerate() {
        for (word, from) in pair.as_flattened().iter().enumerate() {
            states[word][lane] = *from;
        }
    }
    states[8] = [u64::from(PADDING.0); N];
    states[RATE_BYTES / 8 - 1] = [u64::from(PADDING.1) << 56; N];
    permute(&mut states);
    std::array::from_fn(|lane| std::array::from_fn(|word| states[word][lane]))
}

fn absorb(state: &mut States<1>, block: &[u8; RATE_BYTES]) {
    for ([word], bytes) in state.iter_mut().zip(block.as_chunks().0) {
        *word ^= u64::from_le_bytes(*bytes);
    }
    permute(state);
}

fn permute<const N: usize>(states: &mut States<N>) {
    for constant in ROUND_CONSTANTS {
        // Round by round over all states, and not state by state: this order is what becomes vector instructions.
        for lane in 0..N {
            let mut state: [u64; 25] = std::array::from_fn(|word| states[word][lane]);
            round(&mut state, constant);
            states.iter_mut().zip(state).for_each(|(lanes, word)| lanes[lane] = word);
        }
    }
}

#[inline(always)]
fn round(state: &mut [u64; 25], constant: u64) {
    // Theta.
    let parity: [u64; 5] =
        std::array::from_fn(|x| state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20]);
    for x in 0..5 {
        let change = parity[(x + 4) % 5] ^ parity[(x + 1) % 5].rotate_left(1);
        for y in 0..5 {
            state[5 * y + x] ^= change;
        }
    }
    // Rho and pi.
    let mut moved = state[1];
    for (to, bits) in MOVES {
        (state[to], moved) = (moved.rotate_left(bits), state[to]);
    }
    // Chi.
    for y in 0..5 {
        let row: [u64; 5] = std::array::from_fn(|x| state[5 * y + x]);
        for x in 0..5 {
            state[5 * y + x] = row[x] ^ (!row[(x + 1) % 5] & row[(x + 2) % 5]);
        }
    }
    // Iota.
    state[0] ^= constant;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use proptest::prelude::*;
    use tiny_keccak::{Hasher as _, Keccak};

    fn other_keccak256(bytes: &[u8]) -> Hash {
        let mut hasher = Keccak::v256();
        hasher.update(bytes);
        let mut hash = [0; 32];
        hasher.finalize(&mut hash);
        hash
    }

    #[test]
    fn it_is_the_variant_of_ethereum() {
        // keccak-256 of nothing, as in the Ethereum yellow paper (the hash of an account without code).
        let empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(manyhands_proto::Reference(keccak256(&[])).to_string(), empty);
    }

    #[test]
    fn every_length_around_a_block_is_right() {
        let bytes: Vec<u8> = (0..420).map(|i| (i % 251) as u8).collect();
        for len in 0..bytes.len() {
            assert_eq!(keccak256(&[&bytes[..len]]), other_keccak256(&bytes[..len]), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn another_implementation_agrees(parts: Vec<Vec<u8>>) {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(keccak256(&slices), other_keccak256(&parts.concat()));
        }

        /// In groups and one by one: each pair has its own hash in its own place.
        #[test]
        fn pairs_side_by_side_are_pairs_alone(pairs in prop::collection::vec(any::<[Words; 2]>(), 0..14)) {
            let mut digests = vec![[7; 4]; pairs.len() + 5];
            hash_pairs(&pairs, &mut digests);
            prop_assert_eq!(&digests[pairs.len()..], [[7; 4]; 5]);
            for (pair, digest) in pairs.iter().zip(digests) {
                let [left, right] = pair.map(to_hash);
                prop_assert_eq!(to_hash(digest), keccak256(&[&left, &right]));
            }
        }
    }
}
