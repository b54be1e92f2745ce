//! Makes the receipts that `manyhands-zkvm` tests its rules with, and prints what each took. Of segments and ranges, some four minutes on two
//! cores, and of keccak requests, some eight:
//! `cargo run --release -p manyhands-worker --example make_fixtures -- segments guests/built/tiny.bin crates/zkvm/testdata`
//! `cargo run --release -p manyhands-worker --example make_fixtures -- requests guests/built/hashes.bin crates/zkvm/testdata`

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use manyhands_proto::worker::{Execution, KeccakReport, Report, SegmentReport};
use manyhands_proto::{Binding, NodeId, Nonce, Po2, Seed};
use manyhands_zkvm::prove::{ExecuteTask, execute, join, lift, prove_keccak, prove_segment, unite};
use manyhands_zkvm::{Claim, keccak_root};

/// Turns of the guest's wheel: enough for a full segment of 2^16 and a small last one.
const TURNS: u32 = 3_000;

/// Permutations of a request of 2^15.
const REQUEST: u32 = 163;

/// The nonce of node `maker`'s proof of segment `index`, asked for in `epoch`.
fn nonce(maker: u8, index: u32, epoch: u32) -> Nonce {
    Nonce::bound(NodeId([maker; 32]), index, Binding { seed: Seed([7; 16]), epoch })
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().context("say `segments` or `requests`")?;
    let program = std::fs::read(arguments.next().context("the guest is needed")?)?;
    let directory = PathBuf::from(arguments.next().context("a directory to write to is needed")?);
    match what.as_str() {
        "segments" => segments(&program, &directory),
        "requests" => requests(&program, &directory),
        _ => bail!("{what} is neither `segments` nor `requests`"),
    }
}

fn segments(program: &[u8], directory: &Path) -> Result<()> {
    let ran = run(program, [&TURNS.to_le_bytes()[..], b"manyhands"].concat(), 16)?;
    let [first, last] = ran.segments.as_slice() else { bail!("{} segments instead of two", ran.segments.len()) };
    write(directory, "journal", &ran.execution.journal)?;
    write(directory, "image_id", &ran.execution.image_id.0)?;
    write(directory, "segment0.claim", &first.claim)?;
    write(directory, "segment1.claim", &last.claim)?;

    let proof0 = timed("prove 0", || prove_segment(&first.blob, nonce(1, 0, 1)))?;
    let proof1 = timed("prove 1", || prove_segment(&last.blob, nonce(1, 1, 1)))?;
    let other = timed("prove 1", || prove_segment(&last.blob, nonce(2, 1, 2)))?;
    write(directory, "segment0.receipt", &proof0)?;
    write(directory, "segment1.receipt", &proof1)?;
    write(directory, "segment1.other_node.receipt", &other)?;

    let lift0 = timed("lift 0", || lift(&proof0))?;
    let lift1 = timed("lift 1", || lift(&proof1))?;
    let joined = timed("join", || join(&lift0, &lift1))?;
    write(directory, "lift0.receipt", &lift0)?;
    write(directory, "lift1.receipt", &lift1)?;
    write(directory, "join.receipt", &joined)?;
    sizes(first, last)
}

/// A guest with one permutation more than a request has, whose requests are proved and united, and one with that permutation alone, whose
/// segment is.
fn requests(program: &[u8], directory: &Path) -> Result<()> {
    let hashes = |count: u32, value: &[u8]| [&count.to_le_bytes()[..], value].concat();
    let many = run(program, hashes(REQUEST + 1, &[7; 32]), 18)?;
    let [first, second] = many.requests.as_slice() else { bail!("{} requests instead of two", many.requests.len()) };
    let last = relying_on(&many)?;
    write(directory, "keccak.claim", &last)?;
    write(directory, "keccak0.claim", &first.claim.0)?;
    write(directory, "keccak1.claim", &second.claim.0)?;

    let value = run(program, hashes(REQUEST, &[7; 32]), 18)?.execution.journal;
    let alone = run(program, hashes(1, &value), 16)?;
    let [segment] = alone.segments.as_slice() else { bail!("{} segments instead of one", alone.segments.len()) };
    ensure!(alone.requests.iter().map(|request| request.claim).eq([second.claim]), "it hashes something else");
    write(directory, "hashed.claim", &relying_on(&alone)?)?;
    write(directory, "hashed.journal", &alone.execution.journal)?;
    let proof = timed("prove", || prove_segment(&segment.blob, nonce(1, 0, 1)))?;
    write(directory, "hashed.receipt", &proof)?;

    let proof0 = timed("request 0", || prove_keccak(&first.blob))?;
    let proof1 = timed("request 1", || prove_keccak(&second.blob))?;
    write(directory, "keccak0.receipt", &proof0)?;
    write(directory, "keccak1.receipt", &proof1)?;
    let union = timed("union", || unite(&proof0, &proof1))?;
    write(directory, "union.receipt", &union)
}

/// What came of a guest.
struct Ran {
    segments: Vec<SegmentReport>,
    requests: Vec<KeccakReport>,
    execution: Execution,
}

fn run(program: &[u8], input: Vec<u8>, po2: u8) -> Result<Ran> {
    let (segments, requests) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let task = ExecuteTask {
        program,
        input: &input.into(),
        assumptions: &[],
        po2: Po2::try_from(po2)?,
        cycles_max: 1 << 30,
        blobs: true,
    };
    let execution = execute(&task, &|report| {
        match report {
            Report::Segment(segment) => segments.lock().unwrap_or_else(PoisonError::into_inner).push(segment),
            Report::Keccak(request) => requests.lock().unwrap_or_else(PoisonError::into_inner).push(request),
            _ => {}
        }
        Ok(())
    })?;
    let segments = segments.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Ran { segments, requests: requests.into_inner().unwrap_or_else(PoisonError::into_inner), execution })
}

/// The claim of the last segment, which relies on the union of the guest's requests.
fn relying_on(ran: &Ran) -> Result<Vec<u8>> {
    let last = Claim::decode(&ran.segments.last().context("no segment")?.claim)?;
    let root = keccak_root(ran.requests.iter().map(|request| request.claim));
    ensure!(last.assumptions().into_iter().eq(root), "the guest relies on {:?}, not on {root:?}", last.assumptions());
    Ok(last.encode())
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
