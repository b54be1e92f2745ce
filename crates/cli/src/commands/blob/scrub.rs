//! `manyhands blob scrub`: whether all that the store has is what was put there.

use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use manyhands_blob::store::{Corruption, Report};
use serde_json::json;

use super::Outcome;
use super::store::StoreOptions;
use crate::failure::{Exit, Failure};
use crate::screen::meter::Meter;
use crate::screen::text::{count, plural};

/// Damaged chunks, and roots of each, that a report for people names; the rest is a number.
const NAMED_MAX: usize = 20;

const REPAIR: &str = "check the disk; then put or fetch these roots again, which repairs them, or remove them with \
                      `manyhands blob rm --force REF`";
const STRAY: &str = "check the disk; then run `manyhands blob gc`, which removes what nothing needs";
const RECOUNT: &str = "run `manyhands blob gc`, which counts afresh, and then this again";

/// Options of `blob scrub`.
#[derive(Debug, Args)]
#[command(
    mut_arg("worker", |worker| worker.hide(true)),
    after_help = "Exit status: 0 all is well; 1 something is damaged, or the store cannot be read; 2 wrong options."
)]
pub struct ScrubArgs {
    #[command(flatten)]
    store: StoreOptions,
    /// Prints the report as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Checks it.
pub fn run(args: &ScrubArgs) -> Result<Outcome, Failure> {
    let store = args.store.open()?.store;
    let used_bytes = store.used_bytes()?;
    let mut meter = Meter::new("checking", Some(used_bytes));
    let report = store.scrub(None, |done, total| {
        // In 128 bits, so that no store is too large to be told.
        let done_bytes = u128::from(used_bytes) * u128::from(done) / u128::from(total.max(1));
        meter.reach(u64::try_from(done_bytes).unwrap_or(used_bytes));
        ControlFlow::Continue(())
    })?;
    drop(meter);
    let next_step = next_step(&report);
    let corrupt: Vec<_> =
        report.corrupt.iter().map(|found| json!({ "chunk": found.chunk, "roots": found.roots })).collect();
    let json = json!({
        "good_chunks": report.good_chunks,
        "corrupt": corrupt,
        "disagreements": report.disagreements,
        "next_step": next_step,
    });
    let exit = if next_step.is_some() { Exit::Failed.into() } else { ExitCode::SUCCESS };
    Ok(Outcome { text: lines(&report, next_step).join("\n"), note: None, json, exit })
}

fn next_step(report: &Report) -> Option<&'static str> {
    match report {
        Report { corrupt, .. } if corrupt.iter().any(|found| !found.roots.is_empty()) => Some(REPAIR),
        Report { corrupt, .. } if !corrupt.is_empty() => Some(STRAY),
        Report { disagreements, .. } if !disagreements.is_empty() => Some(RECOUNT),
        _ => None,
    }
}

fn lines(report: &Report, next_step: Option<&str>) -> Vec<String> {
    let good = plural(report.good_chunks, "chunk");
    let Some(next_step) = next_step else { return vec![format!("all is well: {good} verified")] };
    let damaged = report.corrupt.len();
    let mut lines = vec![format!("{good} verified, {} damaged or lost", count(damaged as u64))];
    lines.extend(report.corrupt.iter().take(NAMED_MAX).map(line));
    if damaged > NAMED_MAX {
        lines.push(format!("and {} more; --json names them all", count((damaged - NAMED_MAX) as u64)));
    }
    lines.extend(report.disagreements.iter().map(|text| format!("the store's own count is wrong: {text}")));
    lines.push(format!("to do: {next_step}"));
    lines
}

fn line(found: &Corruption) -> String {
    let mut roots: Vec<String> = found.roots.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if found.roots.len() > NAMED_MAX {
        roots.push(format!("{} more", found.roots.len() - NAMED_MAX));
    }
    let of = if roots.is_empty() { "nothing that is complete".to_owned() } else { roots.join(", ") };
    format!("chunk {}, part of {of}", found.chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use manyhands_proto::Reference;

    #[test]
    fn each_finding_has_its_next_step() {
        let (chunk, root) = (Reference([1; 32]), Reference([2; 32]));
        let well = Report { good_chunks: 1_200, ..Report::default() };
        assert_eq!(lines(&well, next_step(&well)), ["all is well: 1,200 chunks verified"]);
        let of = |roots: Vec<Reference>| Report { corrupt: vec![Corruption { chunk, roots }], ..Report::default() };
        assert_eq!(next_step(&of(vec![root])), Some(REPAIR));
        assert_eq!(next_step(&of(vec![])), Some(STRAY));
        let counts = Report { disagreements: vec!["uses: 1 kept, 2 counted".to_owned()], ..Report::default() };
        assert_eq!(next_step(&counts), Some(RECOUNT));
        let lines = lines(&of(vec![root; 30]), Some(REPAIR));
        assert_eq!(lines[0], "0 chunks verified, 1 damaged or lost");
        assert!(lines[1].starts_with("chunk 0101") && lines[1].ends_with(", 10 more"), "{lines:?}");
        assert!(lines[2].starts_with("to do: check the disk"), "{lines:?}");
    }
}
