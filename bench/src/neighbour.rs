//! What a node costs the other programs of its machine: the throughput of a program that uses every core, alone, beside a node's worker, and
//! beside the same prover as anybody would start it, alternately in one run.
//!
//! `neighbour [ROUNDS] [SECONDS]`: rounds of all (default 5), and the length of one measurement (default 8). Two programs are disturbed: one
//! that only computes, and one that reads memory, of which provers use much. Prints the median of what each keeps of its throughput alone.
//! The limit is 1. Below it are the worker's memory traffic, the caches that it empties, and threads that share a core.
#![allow(clippy::print_stdout)]

mod common;

use std::hint::black_box;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use common::{cut, machine, median};
use manyhands_e2e::{guest, program, tiny_input};
use manyhands_node::worker::{Worker, WorkerOptions};
use manyhands_proto::worker::{Report, Task};
use manyhands_proto::{Binding, NodeId, Nonce};
use manyhands_zkvm::prove::prove_segment;
use serde_bytes::ByteBuf;

/// Says to the program's own child that it is to prove, and what.
const CHILD: &str = "--prove";

/// Bytes that one thread of the second program reads again and again: more than any cache.
const MEMORY_BYTES: usize = 64 << 20;

#[derive(Clone, Copy)]
enum Foreground {
    Computes,
    Reads,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq(CHILD).is_some() {
        return tokio::task::block_in_place(prove_for_ever);
    }
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(8), |text| text.parse())?;
    let time = Duration::from_secs(seconds);
    let segment = tokio::task::block_in_place(segment)?;
    for (what, foreground) in [("computes", Foreground::Computes), ("reads memory", Foreground::Reads)] {
        let (mut beside_node, mut beside_prover) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            let before = throughput(foreground, time)?;
            let node = Node::start(&segment).await?;
            let with_node = throughput(foreground, time)?;
            node.stop().await?;
            // The better of two, so that a bad moment of the machine is not taken for what it can do.
            let alone = throughput(foreground, time)?.max(before);
            let prover = Prover::start()?;
            let with_prover = throughput(foreground, time)? / alone;
            drop(prover);
            let with_node = with_node / alone;
            println!(
                "round {round}: a program that {what} keeps {with_node:.3} beside a node, {with_prover:.3} beside a prover"
            );
            beside_node.push(with_node);
            beside_prover.push(with_prover);
        }
        let (node, prover) = (median(beside_node), median(beside_prover));
        println!(
            "median: a program that {what} keeps {node:.3} beside a node (goal: at least 0.90), {prover:.3} beside a prover"
        );
    }
    println!("{}", machine());
    Ok(())
}

/// Work done in `time` by as many threads as there are cores, in units of its own.
fn throughput(foreground: Foreground, time: Duration) -> Result<f64> {
    let (done, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let memory = vec![1_u64; if matches!(foreground, Foreground::Reads) { MEMORY_BYTES / 8 } else { 0 }];
        while !is_over.load(Ordering::Relaxed) {
            black_box(match foreground {
                Foreground::Computes => (0..1_000_000_u64)
                    .fold(1, |sum, number| black_box(sum) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                Foreground::Reads => memory.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)),
            });
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..manyhands_node::machine::cores() {
            scope.spawn(work);
        }
        // Memory is there, and clocks are up.
        std::thread::sleep(Duration::from_secs(1));
        let (before, began) = (done.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(time);
        let rate = (done.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        Ok(rate)
    })
}

/// A node's worker that proves the same segment again and again.
struct Node {
    work: tokio::task::JoinHandle<Result<()>>,
}

impl Node {
    async fn start(segment: &[u8]) -> Result<Self> {
        let mut worker = Worker::spawn(&program("MANYHANDS_WORKER")?, WorkerOptions::default())?;
        let task = Task::Prove {
            segment: ByteBuf::from(segment),
            nonce: Nonce::bound(NodeId([1; 32]), 0, Binding::default()),
        };
        worker.begin(&task).await?;
        let work = tokio::spawn(async move {
            loop {
                if let Report::Receipt { .. } = worker.report().await? {
                    worker.begin(&task).await?;
                }
            }
        });
        // The worker has read the segment, and its threads are at work.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(Self { work })
    }

    async fn stop(self) -> Result<()> {
        anyhow::ensure!(!self.work.is_finished(), "the worker ended");
        self.work.abort();
        // The worker is killed with it.
        let _ = self.work.await;
        Ok(())
    }
}

/// The same proofs as by anybody else's program: at the usual priority.
struct Prover(Child);

impl Prover {
    fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg(CHILD).stdout(Stdio::piped()).spawn()?;
        let mut ready = [0];
        child.stdout.as_mut().context("it has an output")?.read_exact(&mut ready)?;
        std::thread::sleep(Duration::from_secs(2));
        Ok(Self(child))
    }
}

impl Drop for Prover {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prove_for_ever() -> Result<()> {
    let segment = segment()?;
    println!("ready");
    loop {
        prove_segment(&segment, Nonce::bound(NodeId([1; 32]), 0, Binding::default()))?;
    }
}

/// The first segment of a run of `tiny`, of 2^16.
fn segment() -> Result<Vec<u8>> {
    let (program, _) = guest("tiny")?;
    let (_, segments) = cut(&program, tiny_input(3_000, "neighbour"))?;
    Ok(segments.into_iter().next().context("it has a segment")?.blob.into_vec())
}
