//! Makes the receipts that `manyhands-zkvm` tests its rules with, and prints what each took. Some four minutes on two cores:
//! `cargo run --release -p manyhands-worker --example make_fixtures -- guests/built/tiny.bin crates/zkvm/testdata`

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use manyhands_proto::worker::{Report, SegmentReport};
use manyhands_proto::{JobId, NodeId, Nonce, Po2};
use manyhands_zkvm::prove::{ExecuteTask, execute, join, lift, prove_segment};

/// Turns of the guest's wheel: enough for a full segment of 2^16 and a small last one.
const TURNS: u32 = 3_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let program = std::fs::read(arguments.next().context("the tiny guest is needed")?)?;
    let directory = arguments.next().context("a directory to write to is needed")?;
    let input = [&TURNS.to_le_bytes()[..], b"manyhands"].concat();

    let segments = Mutex::new(Vec::new());
    let task = ExecuteTask {
        program: &program,
        input: &input.into(),
        assumptions: &[],
        po2: Po2::try_from(16)?,
        cycles_max: 1 << 30,
        blobs: true,
    };
    let execution = execute(&task, &|report| {
        if let Report::Segment(segment) = report {
            segments.lock().unwrap_or_else(PoisonError::into_inner).push(segment);
        }
        Ok(())
    })?;
    let segments = segments.into_inner().unwrap_or_else(PoisonError::into_inner);
    let [first, last] = segments.as_slice() else { anyhow::bail!("{} segments instead of two", segments.len()) };
    write(&directory, "journal", &execution.journal)?;
    write(&directory, "image_id", &execution.image_id.0)?;
    write(&directory, "segment0.claim", &first.claim)?;
    write(&directory, "segment1.claim", &last.claim)?;

    let job = JobId([7; 16]);
    let proof0 = timed("prove 0", || prove_segment(&first.blob, Nonce::for_lease(NodeId([1; 32]), job, 0, 1)))?;
    let proof1 = timed("prove 1", || prove_segment(&last.blob, Nonce::for_lease(NodeId([1; 32]), job, 1, 1)))?;
    let other = timed("prove 1", || prove_segment(&last.blob, Nonce::for_lease(NodeId([2; 32]), job, 1, 2)))?;
    write(&directory, "segment0.receipt", &proof0)?;
    write(&directory, "segment1.receipt", &proof1)?;
    write(&directory, "segment1.other_node.receipt", &other)?;

    let lift0 = timed("lift 0", || lift(&proof0))?;
    let lift1 = timed("lift 1", || lift(&proof1))?;
    let joined = timed("join", || join(&lift0, &lift1))?;
    write(&directory, "lift0.receipt", &lift0)?;
    write(&directory, "lift1.receipt", &lift1)?;
    write(&directory, "join.receipt", &joined)?;
    sizes(first, last)
}

fn sizes(first: &SegmentReport, last: &SegmentReport) -> Result<()> {
    ensure!(first.index == 0 && last.index == 1, "segments out of order");
    println!(
        "segment 0: 2^{}, blob {} bytes; segment 1: 2^{}, blob {} bytes",
        first.po2, first.blob_bytes, last.po2, last.blob_bytes
    );
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("no peak memory known"));
    Ok(())
}

fn timed<T, E>(what: &str, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let start = Instant::now();
    let result = run();
    println!("{what}: {} ms", start.elapsed().as_millis());
    result
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    println!("{name}: {} bytes", bytes.len());
    std::fs::write(directory.join(name), bytes).with_context(|| format!("{name} cannot be written"))
}
