//! `manyhands segment`: the paper's Table 2 for a program of one's own, without proving.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use manyhands_node::worker::{self, Worker, WorkerError, WorkerOptions};
use manyhands_proto::worker::{Failure as TaskFailure, Report, Task};
use manyhands_proto::{Digest, Po2};
use serde::Serialize;
use serde_bytes::ByteBuf;

use crate::failure::{Exit, Failure};
use crate::files::{self, Program};
use crate::interrupt::unless_interrupted;
use crate::options::{ConfigOptions, Po2List};
use crate::screen;
use crate::screen::table::{Align, table};
use crate::screen::text::{bytes, clip, count, inflation, plural, printable, ratio};

/// Options of `segment`.
#[derive(Debug, Args)]
pub struct SegmentArgs {
    /// The program binary (`.bin`, begins with R0BF).
    program: PathBuf,
    /// The guest's input, as it is.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Reads the guest's input from standard input.
    #[arg(long, conflicts_with = "input")]
    stdin: bool,
    /// A succinct receipt of another program that the guest relies on (env::verify); once for each.
    #[arg(long = "assumption", value_name = "FILE")]
    assumptions: Vec<PathBuf>,
    /// Segment sizes: 16, 14..=20 or 14,16,18.
    #[arg(long, value_name = "N..=M", default_value = "14..=20")]
    po2: Po2List,
    /// Stops the guest after this many cycles [default: the configuration's].
    #[arg(long, value_name = "N")]
    cycles_max: Option<u64>,
    /// Takes a bare ELF file too, wrapped with the v1compat kernel.
    #[arg(long)]
    wrap: bool,
    #[command(flatten)]
    config: ConfigOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// What an execution at one segment size gives.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Row {
    Cut(Cut),
    Failed { po2: Po2, failed: String },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Cut {
    po2: Po2,
    segments: u32,
    user_cycles: u64,
    /// Of the segments.
    total_cycles: u64,
    inflation: Option<f64>,
    /// Keccak requests, each a proof beside the segments'.
    keccaks: u32,
    blob_bytes: Blobs,
    /// What proving one segment takes, as planned for.
    memory_bytes: u64,
}

/// Sizes of the segments' blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct Blobs {
    min: u64,
    median: u64,
    max: u64,
    total: u64,
}

/// Executes at each size and shows the table.
pub async fn run(args: SegmentArgs) -> Result<ExitCode, Failure> {
    let config = args.config.load()?;
    let program = Program::read(&args.program, args.wrap)?;
    let input = files::input(args.input.as_deref(), args.stdin)?;
    let claims = files::assumptions(&args.assumptions)?.iter().map(|receipt| receipt.claim).collect::<Vec<_>>();
    let path = worker::locate(config.worker.as_deref())?;
    let cycles_max = args.cycles_max.unwrap_or(config.gateway.cycles_max);
    let mut rows = Vec::new();
    for po2 in &args.po2.0 {
        screen::err(&format!("executing at po2 {po2} ..."));
        let task = task(&program, &input, &claims, *po2, cycles_max);
        let stopped = || Failure::new(Exit::Interrupted, "stopped; nothing is left behind");
        rows.push(unless_interrupted(execute(&path, &task, *po2), stopped).await?);
    }
    if let [first, ..] = rows.as_slice()
        && rows.iter().all(|row| matches!(row, Row::Failed { .. }))
        && let Row::Failed { failed, .. } = first
    {
        let at = if rows.len() == 1 { "this size" } else { "any of these sizes" };
        return Err(Failure::failed(format!("the guest does not come to its end at {at}: {failed}")));
    }
    if args.json {
        screen::json(&serde_json::json!({ "image_id": program.image_id, "input_bytes": input.len(), "rows": rows }));
    } else {
        screen::out(&format!("program {} with an input of {}\n", program.image_id, bytes(input.len() as u64)));
        screen::out(&lines(&rows).join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn task(program: &Program, input: &[u8], claims: &[Digest], po2: Po2, cycles_max: u64) -> Task {
    Task::Execute {
        program: ByteBuf::from(program.bytes.clone()),
        input: input.to_vec().into(),
        assumptions: claims.to_vec(),
        po2,
        cycles_max,
        blobs: false,
    }
}

/// Executes in a worker of its own. That a guest fails at one size need not mean that it fails at the next.
async fn execute(path: &Path, task: &Task, po2: Po2) -> Result<Row, Failure> {
    let mut worker = Worker::spawn(path, WorkerOptions::default())?;
    let mut heard = Heard::default();
    match run_task(&mut worker, task, &mut heard).await {
        Ok(Report::Executed(execution)) => Ok(Row::Cut(Cut {
            po2,
            segments: execution.segments,
            user_cycles: execution.user_cycles,
            total_cycles: execution.total_cycles,
            inflation: ratio(execution.total_cycles, execution.user_cycles),
            keccaks: heard.keccaks,
            blob_bytes: blobs(heard.sizes),
            memory_bytes: po2.memory_bytes(),
        })),
        Ok(_) => {
            Err(Failure::failed("the worker answered another question; is it of the same version as this program?"))
        }
        Err(WorkerError::Failed(failure @ TaskFailure::Program(_))) => Err(WorkerError::Failed(failure).into()),
        Err(WorkerError::Failed(failure)) => Ok(Row::Failed { po2, failed: printable(&failure.to_string()) }),
        Err(error) => Err(error.into()),
    }
}

/// What comes of an execution on the way.
#[derive(Debug, Default)]
struct Heard {
    /// Bytes of each segment's blob.
    sizes: Vec<u64>,
    keccaks: u32,
}

/// Runs the task and notes what comes on the way.
async fn run_task(worker: &mut Worker, task: &Task, heard: &mut Heard) -> Result<Report, WorkerError> {
    worker.begin(task).await?;
    loop {
        match worker.report().await? {
            Report::Segment(segment) => heard.sizes.push(segment.blob_bytes),
            Report::Keccak(_) => heard.keccaks = heard.keccaks.saturating_add(1),
            report if report.is_final() => return Ok(report),
            _ => {}
        }
    }
}

fn blobs(mut sizes: Vec<u64>) -> Blobs {
    sizes.sort_unstable();
    Blobs {
        min: sizes.first().copied().unwrap_or_default(),
        median: sizes.get(sizes.len() / 2).copied().unwrap_or_default(),
        max: sizes.last().copied().unwrap_or_default(),
        total: sizes.iter().fold(0, |sum, size| sum.saturating_add(*size)),
    }
}

fn lines(rows: &[Row]) -> Vec<String> {
    let columns = [
        ("po2", Align::Right),
        ("segments", Align::Right),
        ("total cycles", Align::Right),
        ("inflation", Align::Right),
        ("blob min", Align::Right),
        ("median", Align::Right),
        ("max", Align::Right),
        ("all blobs", Align::Right),
        ("memory to prove", Align::Right),
    ];
    let cells = |row: &Row| match row {
        Row::Cut(cut) => vec![
            cut.po2.to_string(),
            count(cut.segments.into()),
            count(cut.total_cycles),
            inflation(cut.total_cycles, cut.user_cycles),
            bytes(cut.blob_bytes.min),
            bytes(cut.blob_bytes.median),
            bytes(cut.blob_bytes.max),
            bytes(cut.blob_bytes.total),
            bytes(cut.memory_bytes),
        ],
        Row::Failed { po2, .. } => {
            std::iter::once(po2.to_string()).chain((1..columns.len()).map(|_| "-".to_owned())).collect()
        }
    };
    let mut lines = table(&columns, &rows.iter().map(cells).collect::<Vec<_>>());
    lines.push(String::new());
    if let Some(Row::Cut(cut)) = rows.iter().find(|row| matches!(row, Row::Cut(_))) {
        lines.push(format!(
            "{} of the guest's own; inflation is what paging and padding add",
            plural(cut.user_cycles, "cycle")
        ));
        if cut.keccaks > 0 {
            lines.push(format!(
                "beside the segments, {} to be proved, each with a lift (1.5 GB)",
                plural(cut.keccaks.into(), "keccak request")
            ));
        }
    }
    for row in rows {
        if let Row::Failed { po2, failed } = row {
            lines.push(format!("- at po2 {po2}: {}", clip(&failed.replace('\n', " "), 200)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let po2 = |number: u8| Po2::try_from(number).unwrap();
        let cut = Cut {
            po2: po2(16),
            segments: 2_174,
            user_cycles: 83_922_261,
            total_cycles: 142_500_000,
            inflation: None,
            keccaks: 0,
            blob_bytes: blobs(vec![52_000, 5_000, 38_000]),
            memory_bytes: po2(16).memory_bytes(),
        };
        vec![Row::Failed { po2: po2(14), failed: "segment limit (16384) too small".into() }, Row::Cut(cut)]
    }

    #[test]
    fn a_size_too_small_is_a_dash_with_its_reason() {
        let lines = lines(&rows());
        assert_eq!(
            lines[1],
            " 14         -             -          -         -       -      -          -                -"
        );
        assert_eq!(
            lines[2],
            " 16     2,174   142,500,000     1.698x    5.0 kB   38 kB  52 kB      95 kB           705 MB"
        );
        assert_eq!(lines.last().unwrap(), "- at po2 14: segment limit (16384) too small");
    }

    #[test]
    fn keccak_requests_are_told_of_where_there_are_any() {
        let mut rows = rows();
        assert!(!lines(&rows).iter().any(|line| line.contains("keccak")));
        let Some(Row::Cut(cut)) = rows.last_mut() else { panic!("it was cut") };
        cut.keccaks = 2;
        assert!(
            lines(&rows)
                .contains(&"beside the segments, 2 keccak requests to be proved, each with a lift (1.5 GB)".to_owned())
        );
    }

    #[test]
    fn as_json_each_row_has_its_size() {
        let value = serde_json::to_value(rows()).unwrap();
        assert_eq!(value[0]["po2"], 14);
        assert_eq!(value[0]["failed"], "segment limit (16384) too small");
        assert_eq!(value[1]["blob_bytes"]["median"], 38_000);
    }

    #[test]
    fn no_blobs_are_no_sizes() {
        assert_eq!(blobs(Vec::new()), Blobs::default());
    }
}
