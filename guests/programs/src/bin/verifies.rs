//! A guest that relies on another proof: it has the journal of another program verified (an assumption, which the host must
//! resolve with that program's receipt), and commits it again. Tests choose how often it asks, and how long it runs.
//!
//! Input: turns and askings, each 32 bits, little-endian; the other program's image id, 32 bytes; its journal, the rest.
//! Journal: the other program's.

use std::hint::black_box;
use std::io::Read;

use risc0_zkvm::Digest;
use risc0_zkvm::guest::env;

fn main() {
    let mut input = Vec::new();
    env::stdin().read_to_end(&mut input).expect("the input can be read");
    let (turns, rest) = input.split_first_chunk().expect("the input has the turns");
    let (askings, rest) = rest.split_first_chunk().expect("the input has the askings");
    let (image_id, journal) = rest.split_first_chunk::<32>().expect("the input has an image id");
    let mut wheel = 1_u32;
    for _ in 0..u32::from_le_bytes(*turns) {
        wheel = black_box(wheel).wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    }
    for _ in 0..u32::from_le_bytes(*askings) {
        env::verify(Digest::from_bytes(*image_id), journal).expect("verify never returns an error");
    }
    env::commit_slice(journal);
}
