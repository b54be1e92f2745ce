//! `manyhands status`: a gateway, its nodes, its jobs.

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;
use crate::options::GatewayOptions;
use crate::screen::{self, Paint, fleet};

/// Options of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Prints the status as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Asks and shows.
pub async fn run(args: StatusArgs) -> Result<ExitCode, Failure> {
    let client = args.gateway.client()?;
    let status = client.status().await?;
    if args.json {
        screen::json(&status);
    } else {
        screen::out(&fleet::lines(client.address(), &status, Paint::stdout()).join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}
