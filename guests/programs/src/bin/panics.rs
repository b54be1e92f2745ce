//! A guest that fails: it panics with a message that ends in a piece of its input.
//!
//! Input: any bytes. The first 64 are shown, as text. It never has a journal.

use std::io::Read;

use risc0_zkvm::guest::env;

const SHOWN_BYTES_MAX: u64 = 64;

fn main() {
    let mut input = Vec::new();
    env::stdin().take(SHOWN_BYTES_MAX).read_to_end(&mut input).expect("the input can be read");
    panic!("this guest always panics; its input begins with: {}", String::from_utf8_lossy(&input));
}
