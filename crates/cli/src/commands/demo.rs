//! `manyhands demo`: the main job from beginning to end on this machine, for newcomers and for `cargo xtask demo`.
//!
//! Everything it makes is in a temporary directory that goes with it, and every port is the system's choice, so it disturbs nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use manyhands_core::Outcome;
use manyhands_proto::Po2;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use crate::failure::{Exit, Failure};
use crate::files::{Draft, Program, Source};
use crate::interrupt::unless_interrupted;
use crate::job::{self, Terms};
use crate::network::{Network, Plan};
use crate::options::{ConfigOptions, Po2Choice, po2};
use crate::screen::progress::Progress;
use crate::screen::text::{bytes, plural};
use crate::screen::{self, Paint};

/// Where the program is in a clone of the repository.
const PROGRAM: &str = "guests/built/inflate.bin";

/// Makes the same numbers each time, so that two runs can be compared.
const SEED: u64 = 0x6d61_6e79_6861_6e64;

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// One receipt of constant size: lifts and joins all proofs too, which takes a few minutes more.
    #[arg(long)]
    succinct: bool,
    /// Number of nodes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// Segment size, 14 to 24.
    #[arg(long, value_name = "N", default_value = "16", value_parser = po2)]
    po2: Po2,
    /// The program binary, which reads numbers of 32 bits [default: guests/built/inflate.bin].
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// How many numbers it is given: cycles grow with them.
    #[arg(long, value_name = "N", default_value_t = 1_200, value_parser = clap::value_parser!(u32).range(0..=1 << 24))]
    numbers: u32,
    /// Keeps the temporary directory, with the receipt and the logs.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    config: ConfigOptions,
}

/// Runs the whole thing.
pub async fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    let program = program(args.program.as_deref())?;
    let no_directory = |error| {
        Failure::failed(format!("cannot make a temporary directory: {error}"))
            .hint("set TMPDIR to a place that can be written")
    };
    let mut directory = tempfile::Builder::new().prefix("manyhands-demo-").tempdir().map_err(no_directory)?;
    directory.disable_cleanup(args.keep);
    let plan = Plan {
        base: args.config.load()?,
        dir: directory.path().to_owned(),
        http: ([127, 0, 0, 1], 0).into(),
        nodes: args.nodes,
        po2_max: Some(args.po2),
        recursion: args.succinct,
    };
    screen::err(&format!(
        "starting a gateway and {} ({} of memory each) ...",
        plural(plan.nodes.into(), "node"),
        bytes(plan.memory_bytes())
    ));
    let result = on_network(&args, &plan, &program).await;
    if result.as_ref().is_err_and(|failure| failure.exit != Exit::Interrupted) {
        // The logs are what a failure leaves behind.
        directory.disable_cleanup(true);
    }
    if args.keep || result.is_err() {
        screen::err(&format!("logs and data: {}", directory.path().display()));
    }
    result.map(|()| ExitCode::SUCCESS)
}

fn program(path: Option<&Path>) -> Result<Program, Failure> {
    let path = path.unwrap_or(Path::new(PROGRAM));
    if !path.exists() {
        let hint = "run it at the root of the repository, or name a program with --program";
        return Err(Failure::usage(format!("the demo's program {} is not there", path.display())).hint(hint));
    }
    Program::read(path, false)
}

async fn on_network(args: &DemoArgs, plan: &Plan, program: &Program) -> Result<(), Failure> {
    let stopped = || Failure::new(Exit::Interrupted, "the demo was stopped before its end");
    let mut network = unless_interrupted(Network::start(plan), stopped).await?;
    let http = network.http();
    let result = tokio::select! {
        result = unless_interrupted(prove(args, plan, program, &http), stopped) => result,
        death = network.a_death() => Err(death),
    };
    network.stop().await;
    result
}

/// Proves the program, and shows what came of it.
async fn prove(args: &DemoArgs, plan: &Plan, program: &Program, http: &str) -> Result<(), Failure> {
    let client = manyhands_api::Client::new(http)?;
    let input = numbers(args.numbers);
    let draft = Draft::new(&plan.dir.join(format!("{}.receipt", program.name)))?;
    let outcome = if args.succinct { Outcome::Succinct } else { Outcome::Composite };
    let terms = Terms {
        po2: Po2Choice::Size(args.po2),
        outcome,
        cycles_max: None,
        priority: manyhands_core::Priority::Normal,
        private: None,
    };
    screen::err(&format!(
        "proving {} over {} on {}",
        program.name,
        plural(args.numbers.into(), "number"),
        plural(plan.nodes.into(), "node")
    ));
    let submitted = job::submit(&client, program, Source::Bytes(input), Vec::new(), terms).await?;
    let status = job::follow(&client, submitted.job, Progress::new(&program.name)).await?;
    let summary = job::deliver(&client, &status, program.image_id, draft).await?;
    screen::out(&summary.lines(Paint::stdout()).join("\n"));
    Ok(())
}

/// `count` pseudo-random numbers of 32 bits, little-endian.
fn numbers(count: u32) -> Vec<u8> {
    let mut bytes = vec![0; count as usize * 4];
    SmallRng::seed_from_u64(SEED).fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_the_same_each_time() {
        assert_eq!(numbers(100), numbers(100));
        assert_eq!(numbers(100).len(), 400);
        assert_ne!(numbers(100)[..4], numbers(100)[4..8]);
        assert!(numbers(0).is_empty());
    }
}
