//! A guest that never ends: only a limit on its cycles, or whoever cancels it, stops it.
//!
//! Input: none is read. It never has a journal.

use std::hint::black_box;

// Without a use of the zkVM's library nothing links the start-up code that calls main.
use risc0_zkvm as _;

fn main() {
    let mut turns = 0_u32;
    loop {
        turns = black_box(turns).wrapping_add(1);
    }
}
