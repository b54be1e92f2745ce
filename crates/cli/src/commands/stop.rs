//! `manyhands stop`: ends a job.

use std::process::ExitCode;

use clap::Args;
use manyhands_proto::JobId;

use crate::failure::Failure;
use crate::options::GatewayOptions;
use crate::screen;

/// Options of `stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// The job's id, as `prove` and `status` show it.
    job: JobId,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Stops the job.
pub async fn run(args: StopArgs) -> Result<ExitCode, Failure> {
    args.gateway.client()?.abort(args.job).await?;
    if args.json {
        screen::json(&serde_json::json!({ "stopped": args.job }));
    } else {
        screen::out(&format!("job {} is stopped", args.job));
    }
    Ok(ExitCode::SUCCESS)
}
