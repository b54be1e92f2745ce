//! The guest of the segmentation tests that the network is measured against: it reads N numbers, one at a time, keeps
//! them all in memory, and commits their SHA-256 and N. Cycles grow with N, and so do the pages each segment touches.
//!
//! Input: N numbers of 32 bits, little-endian, nothing else; up to three odd bytes at the end are ignored.
//! Journal, 36 bytes: the SHA-256 of the 4 N bytes, then N as 32 bits, little-endian.

use risc0_zkvm::guest::env;
use risc0_zkvm::serde::WordRead;
use risc0_zkvm::sha::{Impl, Sha256};

fn main() {
    let mut input = env::stdin();
    let mut numbers: Vec<u32> = Vec::new();
    let mut number = [0_u32];
    // One host call for each number, as a deserialiser makes: most of the 120 cycles that a number costs are this call.
    while input.read_words(&mut number).is_ok() {
        numbers.push(number[0]);
    }
    env::commit_slice(Impl::hash_words(&numbers).as_bytes());
    env::commit_slice(&[numbers.len() as u32]);
}
