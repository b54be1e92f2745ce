//! `manyhands prove`: a program in, a verified receipt out.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use manyhands_core::{Outcome, Priority};
use manyhands_proto::JobId;

use crate::failure::Failure;
use crate::files::{self, Draft, Program};
use crate::interrupt::unless_interrupted;
use crate::job::{self, Terms};
use crate::options::{GatewayOptions, Po2Choice};
use crate::screen::progress::Progress;
use crate::screen::{self, Paint};

/// Options of `prove`.
#[derive(Debug, Args)]
pub struct ProveArgs {
    /// The program binary (`.bin`, begins with R0BF).
    program: PathBuf,
    /// The guest's input, as it is; up to 4 GiB, which are sent as they are read.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Reads the guest's input from standard input.
    #[arg(long, conflicts_with = "input")]
    stdin: bool,
    /// A succinct receipt of another program that the guest relies on (env::verify); once for each.
    #[arg(long = "assumption", value_name = "FILE")]
    assumptions: Vec<PathBuf>,
    /// Segment size, 14 to 24: 2^N cycles. `auto` runs the guest at several sizes and takes the one at which the connected nodes are
    /// predicted to be done first; `explain` says why.
    #[arg(long, value_name = "N|auto", default_value = "auto")]
    po2: Po2Choice,
    /// One receipt of constant size: lifts and joins all proofs, which costs more than proving small segments.
    #[arg(long)]
    succinct: bool,
    /// Where the receipt goes; a file that is there is replaced [default: PROGRAM's name with .receipt, in this directory].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Stops the guest after this many cycles [default: the gateway's limit].
    #[arg(long, value_name = "N")]
    cycles_max: Option<u64>,
    /// The job's share of the fleet beside other jobs: each step up gives four times as many nodes, and no job is starved.
    #[arg(long, value_name = "low|normal|high", default_value = "normal")]
    priority: Priority,
    /// Only the peers named with --peer, or those that the gateway's configuration trusts, get work of this job, and its segments
    /// are encrypted on their way to them. They still see all that the guest sees: docs/threat-model.md.
    #[arg(long)]
    private: bool,
    /// A peer that may work on a private job, as `manyhands node` says its id, 12D3Koo..; once for each.
    #[arg(long = "peer", value_name = "ID", requires = "private")]
    peers: Vec<String>,
    /// Takes a bare ELF file too, wrapped with the v1compat kernel.
    #[arg(long)]
    wrap: bool,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Proves. Ctrl-C leaves the job to the gateway, and nothing here.
pub async fn run(args: ProveArgs) -> Result<ExitCode, Failure> {
    let job = Cell::new(None);
    unless_interrupted(prove(args, &job), || job.get().map_or_else(job::not_submitted, job::goes_on)).await
}

async fn prove(args: ProveArgs, job: &Cell<Option<JobId>>) -> Result<ExitCode, Failure> {
    let client = args.gateway.client()?;
    let program = Program::read(&args.program, args.wrap)?;
    let input = files::source(args.input.as_deref(), args.stdin)?;
    let assumptions = files::assumptions(&args.assumptions)?;
    let path = args.output.unwrap_or_else(|| PathBuf::from(format!("{}.receipt", program.name)));
    let sources = [&args.program].into_iter().chain(&args.input).chain(&args.assumptions);
    protect(&path, sources)?;
    let draft = Draft::new(&path)?;
    let outcome = if args.succinct { Outcome::Succinct } else { Outcome::Composite };
    let private = args.private.then_some(args.peers);
    let (po2, cycles_max, priority) = (args.po2, args.cycles_max, args.priority);
    let terms = Terms { po2, outcome, cycles_max, priority, private };
    let assumptions = assumptions.into_iter().map(|assumption| assumption.bytes).collect();
    let submitted = job::submit(&client, &program, input, assumptions, terms).await?;
    job.set(Some(submitted.job));
    let size = args.po2.size().map_or_else(String::new, |po2| format!(" at po2 {po2}"));
    screen::err(&format!("job {}{size}, image id {}", submitted.job, program.image_id));
    let status = job::follow(&client, submitted.job, Progress::new(&program.name)).await?;
    let summary = job::deliver(&client, &status, program.image_id, draft).await?;
    if args.json {
        screen::json(&summary);
    } else {
        screen::out(&summary.lines(Paint::stdout()).join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses to put the receipt where something is that goes in.
fn protect<'a>(output: &Path, mut sources: impl Iterator<Item = &'a PathBuf>) -> Result<(), Failure> {
    let is_source = |source: &&PathBuf| match (output.canonicalize(), source.canonicalize()) {
        (Ok(output), Ok(source)) => output == source,
        _ => false,
    };
    match sources.find(is_source) {
        Some(source) => {
            Err(Failure::usage(format!("the receipt would replace {}", source.display()))
                .hint("name another file with -o"))
        }
        None => Ok(()),
    }
}
