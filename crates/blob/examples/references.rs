//! How fast references are computed, beside what the hashing in them costs alone, in one run.
//!
//! `references [MEGABYTES] [ROUNDS]`: the bytes of one blob (default 16) and the rounds (default 5). Each round measures a permutation
//! of ours among side-by-side states, a permutation of tiny-keccak, then the reference of the blob on one thread, and of two blobs
//! on two. Times are those that a thread was on a core, so that a machine which does other things too gives figures; of two threads
//! the slower one's counts. Prints each round, then the medians: MB/s, permutations per second, and the ratios.
#![allow(clippy::print_stdout)]

#[path = "../src/keccak.rs"]
#[allow(dead_code)]
mod keccak;

mod common;

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use common::{median, seconds_on_core};
use manyhands_blob::{Chunk, Splitter, reference_of};

/// Enough to see past the clock, few enough to stay in the first cache.
const PAIRS: usize = 64;
const REPEATS: usize = 2000;

struct Round {
    ours_ns: f64,
    other_ns: f64,
    one_thread_s: f64,
    two_threads_s: f64,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let megabytes = arguments.next().unwrap_or(16);
    let rounds = arguments.next().unwrap_or(5).max(1);
    let bytes: Vec<u8> = (0..megabytes * 1_000_000).map(|i| ((i * i) >> 7) as u8).collect();
    let permutations = permutations(&bytes) as f64;
    let mut all = Vec::new();
    for number in 1..=rounds {
        let round = measure(&bytes);
        println!(
            "round {number}: permutation {:.0} ns (tiny-keccak {:.0}), one thread {:.3} s, each of two threads {:.3} s",
            round.ours_ns, round.other_ns, round.one_thread_s, round.two_threads_s
        );
        all.push(round);
    }
    let median = |of: fn(&Round) -> f64| median(all.iter().map(of));
    let seconds = median(|round| round.one_thread_s);
    println!(
        "one thread: {:.1} MB/s, {:.2} million permutations/s",
        megabytes as f64 / seconds,
        permutations / seconds / 1e6
    );
    let floor = |ns: f64| permutations * ns / 1e9 / seconds;
    println!("of the speed of our permutation alone: {:.2} (goal: at least 0.8)", floor(median(|round| round.ours_ns)));
    println!("of the speed of tiny-keccak's permutation: {:.2}", floor(median(|round| round.other_ns)));
    println!(
        "two threads do {:.2} times the work of one",
        2.0 * median(|round| round.one_thread_s / round.two_threads_s)
    );
}

fn measure(bytes: &[u8]) -> Round {
    let mut pairs = [[[7; 4]; 2]; PAIRS];
    let mut digests = [[0; 4]; PAIRS];
    let ours_ns = seconds_of(|| {
        for _ in 0..REPEATS {
            keccak::hash_pairs(black_box(&pairs), &mut digests);
            pairs.iter_mut().zip(digests).for_each(|(pair, digest)| *pair = [digest; 2]);
        }
    }) * 1e9
        / (PAIRS * REPEATS) as f64;
    let mut state = [7; 25];
    let other_ns = seconds_of(|| {
        (0..PAIRS * REPEATS).for_each(|_| tiny_keccak::keccakf(black_box(&mut state)));
    }) * 1e9
        / (PAIRS * REPEATS) as f64;
    let reference_s = || {
        seconds_of(|| {
            black_box(reference_of(bytes));
        })
    };
    let one_thread_s = reference_s();
    let two_threads_s = std::thread::scope(|scope| {
        let threads = [scope.spawn(reference_s), scope.spawn(reference_s)];
        threads.into_iter().filter_map(|thread| thread.join().ok()).fold(0.0, f64::max)
    });
    Round { ours_ns, other_ns, one_thread_s, two_threads_s }
}

/// On a core; where that is not counted, on the wall.
fn seconds_of(work: impl FnOnce()) -> f64 {
    let (start, on_core) = (Instant::now(), seconds_on_core());
    work();
    let passed = seconds_on_core().zip(on_core).map(|(end, start)| end - start);
    passed.unwrap_or_else(|| start.elapsed().as_secs_f64())
}

/// Permutations in the reference of `bytes`: one for each pair at each of the seven levels over a payload, zeros left out, and
/// one for the address.
fn permutations(bytes: &[u8]) -> u64 {
    let mut permutations = 0;
    let mut count = |chunk: Chunk| {
        let mut segments = chunk.payload().len().div_ceil(32).max(1);
        for _ in 0..7 {
            segments = segments.div_ceil(2);
            permutations += segments as u64;
        }
        permutations += 1;
        Ok::<(), Infallible>(())
    };
    let mut splitter = Splitter::new();
    let Ok(()) = splitter.update(bytes, &mut count);
    let Ok(_) = splitter.finish(&mut count);
    permutations
}
