//! The repository's chores: `cargo xtask demo`, `build`, `test`, `recursion`, `guests`, `tidy`, `licences`, `ci`.
//!
//! This program depends on none of our crates, so that it runs when they do not compile. It never writes into the source tree,
//! apart from what `guests --write` asks for, and it reaches nothing but loopback, the package registries and RISC Zero's server.
#![expect(clippy::print_stdout, reason = "what the chores print is their purpose")]

mod build;
mod ci;
mod cli;
mod licences;
mod plan;
mod recursion;
mod run;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use crate::cli::Command;

/// Status for a command line that was not understood.
const USAGE_STATUS: u8 = 2;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {error}\n\n{}", cli::overview());
            return ExitCode::from(USAGE_STATUS);
        }
    };
    match perform(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<run::Reported>() {
                eprintln!("error: {error:#}");
            }
            ExitCode::from(run::status_of(&error))
        }
    }
}

fn perform(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Help(text) => {
            println!("{text}");
            Ok(())
        }
        Command::Demo { args } => build::demo(&args),
        Command::Build => build::build(),
        Command::Test { fast } => test::test(fast),
        Command::Recursion => recursion::report(),
        Command::Guests { args } => build::guests(&args),
        Command::Tidy => tidy::tidy(),
        Command::Licences => licences::licences(),
        Command::Ci => ci::ci(),
    }
}
