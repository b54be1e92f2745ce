//! `manyhands config`: the effective configuration.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::options::ConfigOptions;
use crate::screen;

/// What can be done with it.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints the effective configuration as a file that can be used as it is.
    Show(ShowArgs),
}

/// Options of `config show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    config: ConfigOptions,
    /// Prints the configuration as JSON on standard output, with the same keys as the file.
    #[arg(long)]
    json: bool,
}

impl ConfigCommand {
    /// Whether standard output is for a program.
    pub const fn wants_json(&self) -> bool {
        let Self::Show(args) = self;
        args.json
    }
}

/// Shows it.
pub fn run(command: &ConfigCommand) -> Result<ExitCode, Failure> {
    let ConfigCommand::Show(args) = command;
    let config = args.config.load()?;
    if args.json {
        screen::json(&config);
    } else {
        screen::out(&config.to_toml());
    }
    Ok(ExitCode::SUCCESS)
}
