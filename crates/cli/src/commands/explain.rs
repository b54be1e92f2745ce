//! `manyhands explain`: why a job is not done yet.

use std::process::ExitCode;

use clap::Args;
use manyhands_proto::JobId;

use crate::failure::Failure;
use crate::options::GatewayOptions;
use crate::screen::{self, Paint, explain};

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The job's id, as `prove` and `status` show it.
    job: JobId,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Prints the explanation as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Asks and shows.
pub async fn run(args: ExplainArgs) -> Result<ExitCode, Failure> {
    let explanation = args.gateway.client()?.explain(args.job).await?;
    if args.json {
        screen::json(&explanation);
    } else {
        screen::out(&explain::lines(&explanation, Paint::stdout()).join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}
