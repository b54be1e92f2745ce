//! `manyhands config`: the effective configuration.

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;
use crate::options::ConfigOptions;
use crate::screen;

/// What can be done with it.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints the effective configuration as a file that can be used as it is.
    Show(ConfigOptions),
}

/// Shows it.
pub fn run(command: &ConfigCommand) -> Result<ExitCode, Failure> {
    let ConfigCommand::Show(options) = command;
    screen::out(&options.load()?.to_toml());
    Ok(ExitCode::SUCCESS)
}
