//! The smallest useful guest: it turns a wheel n times and echoes a message. Tests choose with n how many segments they
//! get.
//!
//! Input: n as 32 bits, little-endian (0 where the input is shorter), then a message of up to 32 bytes.
//! Journal: the wheel's last value as 32 bits, little-endian, then the message. The wheel starts at 1, and each turn is
//! x -> x * 1664525 + 1013904223 modulo 2^32.

use std::hint::black_box;
use std::io::Read;

use risc0_zkvm::guest::env;

/// The count, four bytes, and the longest message that is echoed.
const INPUT_BYTES_MAX: u64 = 4 + 32;

fn main() {
    let mut input = Vec::new();
    env::stdin().take(INPUT_BYTES_MAX).read_to_end(&mut input).expect("the input can be read");
    let (turns, message) = match input.split_first_chunk() {
        Some((turns, message)) => (u32::from_le_bytes(*turns), message),
        None => (0, &[][..]),
    };
    env::commit_slice(&[turn(turns)]);
    env::commit_slice(message);
}

fn turn(turns: u32) -> u32 {
    let mut wheel = 1_u32;
    for _ in 0..turns {
        // Opaque to the compiler, which would otherwise find shorter ways to the same value.
        wheel = black_box(wheel).wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    }
    wheel
}
