//! Shows how a guest is cut: `cargo run --release -p manyhands-worker --example segment -- guests/built/tiny.bin 15 [input file]`

#![allow(clippy::print_stdout)]

use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result};
use manyhands_proto::Po2;
use manyhands_proto::worker::Report;
use manyhands_zkvm::prove::{ExecuteTask, execute};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let program = std::fs::read(arguments.next().context("a program binary is needed")?)?;
    let po2 = Po2::try_from(arguments.next().context("a segment size is needed")?.parse::<u8>()?)?;
    let input = arguments.next().map(std::fs::read).transpose()?.unwrap_or_default();
    let start = Instant::now();
    let lines = Mutex::new(Vec::new());
    let task = ExecuteTask {
        program: &program,
        input: &input.into(),
        assumptions: &[],
        po2,
        cycles_max: 1 << 40,
        blobs: false,
    };
    let outcome = execute(&task, &|report| {
        let line = match report {
            Report::Segment(segment) => format!(
                "{:>6} ms  segment {:>4}  2^{}  {:>8} user cycles  {:>8} blob bytes",
                start.elapsed().as_millis(),
                segment.index,
                segment.po2,
                segment.user_cycles,
                segment.blob_bytes
            ),
            Report::Log { bytes, .. } => String::from_utf8_lossy(&bytes).into_owned(),
            other => format!("{other:?}"),
        };
        lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
        Ok(())
    });
    println!("{}", lines.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).join("\n"));
    match outcome {
        Ok(execution) => println!(
            "image {}: {} segments, {} user cycles, {} total cycles, journal of {} bytes, {} ms",
            execution.image_id,
            execution.segments,
            execution.user_cycles,
            execution.total_cycles,
            execution.journal.len(),
            start.elapsed().as_millis()
        ),
        Err(failure) => println!("{failure}"),
    }
    Ok(())
}
