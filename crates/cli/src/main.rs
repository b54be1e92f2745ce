//! The `manyhands` command: for requesters, for operators of nodes and gateways, and for developers.
//!
//! This file only chooses. Each command has its file in `commands/`, with its options; what is printed is made in `screen/`. Nothing here
//! knows a rule of the protocol.

mod commands;
mod daemon;
mod facts;
mod failure;
mod files;
mod health;
mod interrupt;
mod job;
mod network;
mod options;
mod screen;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use commands::Command;
use failure::{Exit, Failure};

/// Proves RISC Zero programs of any size on many weak machines.
#[derive(Debug, Parser)]
#[command(name = "manyhands", version, after_help = EXIT_STATUSES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUSES: &str = "\
Begin with `manyhands doctor` and `manyhands up`.

Exit status: 0 done; 1 the job, the check or the daemon failed; 2 wrong options or input; 3 no gateway was reached; 130 interrupted.
With --json, standard output holds exactly one JSON object, also for a failure: {\"error\": .., \"hint\": ..}.";

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => {
            let wants_json = cli.command.wants_json();
            cli.command.run().unwrap_or_else(|failure| failure.report(wants_json))
        }
        Err(error) => wrong_options(&error),
    }
}

/// Prints what clap has to say, which for `--help` and `--version` is no error.
fn wrong_options(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        screen::out(&error.render().to_string());
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|word| word == "--json") {
        let text = error.render().to_string();
        let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").trim();
        return Failure::new(Exit::Usage, message).hint("see --help").report(true);
    }
    let _ = error.print();
    Exit::Usage.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_explained() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let named = format!("{} {}", command.get_name(), argument.get_id());
                assert!(argument.get_help().is_some(), "{named} has no help");
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
