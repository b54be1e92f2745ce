//! `manyhands attach`: back to a job that was left.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use manyhands_proto::{Digest, JobId};

use crate::failure::Failure;
use crate::files::Draft;
use crate::interrupt::unless_interrupted;
use crate::job;
use crate::options::GatewayOptions;
use crate::screen::progress::Progress;
use crate::screen::{self, Paint};

/// Options of `attach`.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The job's id, as `prove` and `status` show it.
    job: JobId,
    /// The program's image id to verify the receipt against [default: the one that the gateway names].
    #[arg(long, value_name = "ID")]
    image_id: Option<Digest>,
    /// Where the receipt goes; a file that is there is replaced [default: the job's first digits with .receipt].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Follows the job and takes its receipt. Ctrl-C leaves the job to the gateway, and nothing here.
pub async fn run(args: AttachArgs) -> Result<ExitCode, Failure> {
    let job = args.job;
    unless_interrupted(attach(args), || job::goes_on(job)).await
}

async fn attach(args: AttachArgs) -> Result<ExitCode, Failure> {
    let client = args.gateway.client()?;
    let draft = Draft::new(&args.output.unwrap_or_else(|| PathBuf::from(format!("{}.receipt", args.job.short()))))?;
    client.job(args.job).await?;
    let status = job::follow(&client, args.job, Progress::new("attached")).await?;
    if args.image_id.is_none() {
        screen::err("the image id is the gateway's word: compare it with your program's, or give --image-id");
    }
    let summary = job::deliver(&client, &status, args.image_id.unwrap_or(status.image_id), draft).await?;
    if args.json {
        screen::json(&summary);
    } else {
        screen::out(&summary.lines(Paint::stdout()).join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}
