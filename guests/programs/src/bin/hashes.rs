//! A guest that uses RISC Zero's keccak accelerator: it hashes a value again and again. Each hash is one permutation, which the
//! guest hands to the host, and for each batch of them it asks the host for a keccak proof that it then relies on.
//!
//! Input: how many hashes, 32 bits, little-endian; the value to begin with, 32 bytes. More is ignored.
//! Journal: the last hash, 32 bytes; without a hash the value itself.

use std::io::Read;

use risc0_zkvm::guest::env;

/// Bytes of a block of Keccak-256, its rate: the state's 200 less twice the digest's 32.
const RATE_BYTES: usize = 136;

fn main() {
    let mut input = Vec::new();
    env::stdin().read_to_end(&mut input).expect("the input can be read");
    let (hashes, rest) = input.split_first_chunk().expect("the input has the number of hashes");
    let mut value = *rest.first_chunk::<32>().expect("the input has a value of 32 bytes");
    for _ in 0..u32::from_le_bytes(*hashes) {
        value = keccak256(value);
    }
    env::commit_slice(&value);
}

/// Keccak-256, as Ethereum has it, of 32 bytes, which is one permutation of the accelerator. By hand, as the crates that know the
/// accelerator are forks: the message and its padding fill one block. The padding is a 1 bit, zeros, and a 1 bit at the block's end,
/// bits counted from a byte's lowest: 0x01 after the message and 0x80 in the block's last byte. (SHA3-256 would begin it with 0x06.)
fn keccak256(message: [u8; 32]) -> [u8; 32] {
    let mut block = [0_u8; RATE_BYTES];
    block[..32].copy_from_slice(&message);
    block[32] = 0x01;
    block[RATE_BYTES - 1] |= 0x80;
    // The state is 25 lanes of 64 bits, little-endian; what the block does not fill, its capacity, begins as zeros.
    let mut state = [0_u64; 25];
    for (lane, bytes) in state.iter_mut().zip(block.chunks_exact(8)) {
        *lane = u64::from_le_bytes(bytes.try_into().expect("a lane has 8 bytes"));
    }
    env::risc0_keccak_update(&mut state);
    let mut digest = [0; 32];
    for (bytes, lane) in digest.chunks_exact_mut(8).zip(state) {
        bytes.copy_from_slice(&lane.to_le_bytes());
    }
    digest
}
