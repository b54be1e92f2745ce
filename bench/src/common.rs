//! What benchmarks share: a guest's segments; medians, and the machine and commit that the figures are of.

use std::sync::Mutex;

use anyhow::{Result, anyhow};
use manyhands_proto::Po2;
use manyhands_proto::worker::{Execution, Report, SegmentReport};
use manyhands_zkvm::prove::{ExecuteTask, execute};

/// Runs a program in this process, and gives its segments of 2^16 cycles.
pub fn cut(program: &[u8], input: Vec<u8>) -> Result<(Execution, Vec<SegmentReport>)> {
    let segments = Mutex::new(Vec::new());
    let (input, po2) = (input.into(), Po2::try_from(16)?);
    let task = ExecuteTask { program, input: &input, assumptions: &[], po2, cycles_max: 1 << 30, blobs: true };
    let keep = |report| {
        if let Report::Segment(segment) = report {
            segments.lock().map_err(|_| std::io::Error::other("poisoned"))?.push(segment);
        }
        Ok(())
    };
    let execution = execute(&task, &keep)?;
    Ok((execution, segments.into_inner().map_err(|_| anyhow!("a thread of the executor panicked"))?))
}

/// The middle of the values; of an even number the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or(f64::NAN);
    let lower = if values.len().is_multiple_of(2) {
        values.get(middle.wrapping_sub(1)).copied().unwrap_or(upper)
    } else {
        upper
    };
    f64::midpoint(lower, upper)
}

/// Processor, cores and commit, for whoever reads the figures later.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(" unknown")
        .trim_matches([' ', '\t', ':']);
    let commit = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    format!("machine: {model}, {} cores; commit {commit}", manyhands_node::machine::cores())
}
