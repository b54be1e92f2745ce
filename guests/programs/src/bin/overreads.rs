//! A guest that was given too little: it reads every number of its input and then one more, as a program does whose input
//! was made for another version of it.
//!
//! Input: any number of 32-bit numbers, none included. It never has a journal: reading past the end panics.

use risc0_zkvm::guest::env;
use risc0_zkvm::serde::WordRead;

fn main() {
    let mut input = env::stdin();
    let mut number = [0_u32];
    let mut sum = 0_u32;
    while input.read_words(&mut number).is_ok() {
        sum = sum.wrapping_add(number[0]);
    }
    let missing: u32 = env::read();
    env::commit_slice(&[sum.wrapping_add(missing)]);
}
