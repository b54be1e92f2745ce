//! Makes the keccak receipts that `manyhands-zkvm` tests its rules with, and prints what each took. Some seven minutes on two cores:
//! `cargo run --release -p manyhands-worker --example make_keccak_fixtures -- guests/built/hashes.bin crates/zkvm/testdata`

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use manyhands_proto::Po2;
use manyhands_proto::worker::Report;
use manyhands_zkvm::prove::{ExecuteTask, execute, prove_keccak, unite};
use manyhands_zkvm::{Claim, keccak_root};

/// One permutation more than a request of 2^15 has.
const HASHES: u32 = 164;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let program = std::fs::read(arguments.next().context("the guest `hashes` is needed")?)?;
    let directory = arguments.next().context("a directory to write to is needed")?;
    let input = [&HASHES.to_le_bytes()[..], &[7; 32]].concat();

    let (segments, requests) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let task = ExecuteTask {
        program: &program,
        input: &input.into(),
        assumptions: &[],
        po2: Po2::try_from(18)?,
        cycles_max: 1 << 30,
        blobs: true,
    };
    execute(&task, &|report| {
        match report {
            Report::Segment(segment) => segments.lock().unwrap_or_else(PoisonError::into_inner).push(segment),
            Report::Keccak(request) => requests.lock().unwrap_or_else(PoisonError::into_inner).push(request),
            _ => {}
        }
        Ok(())
    })?;
    let requests = requests.into_inner().unwrap_or_else(PoisonError::into_inner);
    let [first, second] = requests.as_slice() else { anyhow::bail!("{} requests instead of two", requests.len()) };
    let segments = segments.into_inner().unwrap_or_else(PoisonError::into_inner);
    let last = Claim::decode(&segments.last().context("no segment")?.claim)?;
    let root = keccak_root([first.claim, second.claim]);
    ensure!(last.assumptions().into_iter().eq(root), "the guest relies on {:?}, not on {root:?}", last.assumptions());
    write(&directory, "keccak.claim", &last.encode())?;
    write(&directory, "keccak0.claim", &first.claim.0)?;
    write(&directory, "keccak1.claim", &second.claim.0)?;

    let proof0 = timed("request 0", || prove_keccak(&first.blob))?;
    let proof1 = timed("request 1", || prove_keccak(&second.blob))?;
    write(&directory, "keccak0.receipt", &proof0)?;
    write(&directory, "keccak1.receipt", &proof1)?;
    let union = timed("union", || unite(&proof0, &proof1))?;
    write(&directory, "union.receipt", &union)
}

fn timed<T, E>(what: &str, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let start = Instant::now();
    let result = run();
    println!("{what}: {} ms", start.elapsed().as_millis());
    result
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = directory.join(name);
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{name}: {} bytes", bytes.len());
    Ok(())
}
