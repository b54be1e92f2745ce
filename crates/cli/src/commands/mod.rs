//! The commands, one file each.

mod attach;
mod backup;
mod blob;
mod config;
mod demo;
mod doctor;
mod explain;
mod gateway;
mod keys;
mod node;
mod nodes;
mod prove;
mod scores;
mod segment;
pub mod sim;
mod status;
mod stop;
mod up;
mod verify;
mod wrap;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::{Exit, Failure};

/// What `manyhands` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a whole network on this machine until Ctrl-C: a gateway and some nodes.
    Up(up::UpArgs),
    /// Proves a program and writes its receipt.
    Prove(prove::ProveArgs),
    /// Comes back to a job that was left, and writes its receipt.
    Attach(attach::AttachArgs),
    /// Stops a job.
    Stop(stop::StopArgs),
    /// Checks a receipt.
    Verify(verify::VerifyArgs),
    /// Cuts a program's execution at several segment sizes, without proving: segments, cycles, inflation, blob sizes.
    Segment(segment::SegmentArgs),
    /// Makes a program binary of a bare ELF file.
    Wrap(wrap::WrapArgs),
    /// Computes Swarm references, and looks after the chunk store: put, get, ls, pin, rm, gc, scrub.
    #[command(subcommand)]
    Blob(blob::BlobCommand),
    /// Simulates networks of weak, unreliable and hostile machines, and compares policies.
    Sim(sim::SimArgs),
    /// Shows a gateway, its nodes and its jobs.
    Status(status::StatusArgs),
    /// Says why a job is not done yet: what waits and why, who is able, what is under way, what happens next.
    Explain(explain::ExplainArgs),
    /// Checks whether this machine is fit, and says what to do where it is not.
    Doctor(doctor::DoctorArgs),
    /// Runs a gateway in the foreground.
    Gateway(gateway::GatewayArgs),
    /// Runs a prover node in the foreground.
    Node(node::NodeArgs),
    /// Starts a small network in a temporary directory, proves a program on it, and ends it.
    Demo(demo::DemoArgs),
    /// Says which nodes a gateway gives work to, beside what it sees of them itself; asked for on its own machine.
    #[command(subcommand)]
    Nodes(nodes::NodesCommand),
    /// Shows what verifiers say of nodes' speed, and checks the proofs of it.
    Scores(scores::ScoresArgs),
    /// Has a gateway back up its data directory while it runs; asked for on its own machine.
    Backup(backup::BackupArgs),
    /// Makes, lists and revokes the keys of a gateway's Bonsai API.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Shows the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

impl Command {
    /// Whether standard output is for a program.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Prove(args) => args.json,
            Self::Attach(args) => args.json,
            Self::Stop(args) => args.json,
            Self::Verify(args) => args.json,
            Self::Segment(args) => args.json,
            Self::Wrap(args) => args.json,
            Self::Blob(command) => command.wants_json(),
            Self::Sim(args) => args.wants_json(),
            Self::Status(args) => args.json,
            Self::Explain(args) => args.json,
            Self::Doctor(args) => args.json,
            Self::Nodes(command) => command.wants_json(),
            Self::Scores(args) => args.wants_json(),
            Self::Backup(args) => args.json,
            Self::Keys(command) => command.wants_json(),
            Self::Config(command) => command.wants_json(),
            Self::Up(_) | Self::Gateway(_) | Self::Node(_) | Self::Demo(_) => false,
        }
    }

    /// Does it.
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Up(args) => small(up::run(args)),
            Self::Prove(args) => small(prove::run(args)),
            Self::Attach(args) => small(attach::run(args)),
            Self::Stop(args) => small(stop::run(args)),
            Self::Verify(args) => verify::run(&args),
            Self::Segment(args) => small(segment::run(args)),
            Self::Wrap(args) => wrap::run(&args),
            Self::Blob(command) => small(blob::run(command)),
            Self::Sim(args) => sim::run(args),
            Self::Status(args) => small(status::run(args)),
            Self::Explain(args) => small(explain::run(args)),
            Self::Doctor(args) => small(doctor::run(args)),
            Self::Gateway(args) => daemon(gateway::run(args)),
            Self::Node(args) => daemon(node::run(args)),
            Self::Demo(args) => small(demo::run(args)),
            Self::Nodes(command) => small(nodes::run(command)),
            Self::Scores(args) => small(scores::run(args)),
            Self::Backup(args) => small(backup::run(args)),
            Self::Keys(command) => keys::run(command),
            Self::Config(command) => config::run(&command),
        }
    }
}

/// Runs a command that mostly waits.
fn small(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    block_on(tokio::runtime::Builder::new_current_thread().enable_all(), work)
}

/// Runs a daemon, which hashes and verifies on several cores.
fn daemon(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    block_on(tokio::runtime::Builder::new_multi_thread().enable_all(), work)
}

fn block_on(
    runtime: &mut tokio::runtime::Builder,
    work: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let no_runtime = |error| Failure::new(Exit::Failed, format!("cannot start: {error}"));
    let runtime = runtime.build().map_err(no_runtime)?;
    let result = runtime.block_on(work);
    // Whatever still blocks (a disk, a name server) must not keep the command from ending.
    runtime.shutdown_background();
    result
}
