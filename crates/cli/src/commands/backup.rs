//! `manyhands backup`: has a gateway back up its data directory while it runs.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use manyhands_api::types::{BackupEnd, Backups};
use manyhands_api::{Client, ClientError, ProblemKind};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::interrupt::unless_interrupted;
use crate::options::GatewayOptions;
use crate::screen;
use crate::screen::meter::Meter;
use crate::screen::text::{bytes, duration, plural};

/// Pause between two questions about it.
const POLL: Duration = Duration::from_millis(200);

/// Options of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// A back-up that was made.
#[derive(Debug, Serialize)]
struct Made {
    path: String,
    size_bytes: u64,
    elapsed_ms: u64,
    /// All that are there, the newest first.
    kept: Vec<String>,
    kept_max: u32,
}

/// Asks for a back-up and waits for its end. Ctrl-C leaves it to the gateway.
pub async fn run(args: BackupArgs) -> Result<ExitCode, Failure> {
    let goes_on = || Failure::new(Exit::Interrupted, "the back-up goes on at the gateway, if it had begun");
    unless_interrupted(back_up(args), goes_on).await
}

async fn back_up(args: BackupArgs) -> Result<ExitCode, Failure> {
    let client = args.gateway.client()?;
    let begun = client.back_up().await.map_err(refused)?;
    let made = follow(&client, &begun.name).await?;
    if args.json {
        screen::json(&made);
    } else {
        screen::out(&lines(&made).join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn follow(client: &Client, name: &str) -> Result<Made, Failure> {
    let mut meter: Option<Meter> = None;
    loop {
        let found = client.backups().await.map_err(|error| {
            let unknown = error.is_unreachable();
            let failure = Failure::from(error);
            if unknown {
                failure.hint("a gateway that stops ends its back-up: ask again when it is back")
            } else {
                failure
            }
        })?;
        if let Some(running) = found.running.as_ref().filter(|running| running.name == name) {
            if running.total_bytes > 0 {
                let total_bytes = running.total_bytes.max(running.done_bytes);
                meter.get_or_insert_with(|| Meter::new("backing up", Some(total_bytes))).reach(running.done_bytes);
            }
            tokio::time::sleep(POLL).await;
            continue;
        }
        drop(meter);
        return match found.last.clone().filter(|last| last.name == name) {
            Some(end) => made(end, found),
            None => Err(Failure::failed("the gateway was started anew meanwhile, and the back-up with it was cut off")
                .hint("ask again: what was not whole is removed")),
        };
    }
}

fn made(end: BackupEnd, found: Backups) -> Result<Made, Failure> {
    match (end.path, end.error) {
        (Some(path), _) => Ok(Made {
            path,
            size_bytes: end.size_bytes,
            elapsed_ms: end.elapsed_ms,
            kept: found.kept,
            kept_max: found.kept_max,
        }),
        (None, Some(problem)) => Err(ClientError::Problem(problem).into()),
        (None, None) => Err(Failure::failed("the back-up failed, and the gateway does not say why")),
    }
}

fn lines(made: &Made) -> Vec<String> {
    let (size, time) = (bytes(made.size_bytes), duration(made.elapsed_ms));
    let kept = plural(made.kept.len() as u64, "back-up");
    vec![
        format!("backed up {size} in {time} to {}", made.path),
        format!(
            "{kept} kept, {} at most. To go back, stop the gateway and copy one in place of its data directory",
            made.kept_max
        ),
    ]
}

fn refused(error: ClientError) -> Failure {
    let is_old = matches!(&error, ClientError::Problem(problem) if problem.kind == ProblemKind::NotFound);
    let failure = Failure::from(error);
    if is_old {
        failure.hint("this gateway is of an older version: stop it and copy its data directory")
    } else {
        failure
    }
}
