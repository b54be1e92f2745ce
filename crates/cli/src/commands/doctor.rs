//! `manyhands doctor`: is this machine fit, and what is to be done where it is not?

use std::process::ExitCode;

use clap::Args;

use crate::facts::Facts;
use crate::failure::Failure;
use crate::health::{Check, State, checks};
use crate::options::{ConfigOptions, GatewayOptions};
use crate::screen::{self, Paint};

/// Options of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 all is well; 1 there are warnings; 2 something does not work.")]
pub struct DoctorArgs {
    #[command(flatten)]
    config: ConfigOptions,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Prints the checks as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Checks.
pub async fn run(args: DoctorArgs) -> Result<ExitCode, Failure> {
    let config = args.config.load()?;
    let client = args.gateway.client_or(config.gateway.http)?;
    let checks = checks(&Facts::gather(&config, &client).await);
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Ok);
    if args.json {
        screen::json(&serde_json::json!({ "state": worst, "checks": checks }));
    } else {
        screen::out(&lines(&checks, Paint::stdout()).join("\n"));
    }
    Ok(match worst {
        State::Ok => ExitCode::SUCCESS,
        State::Warning => ExitCode::from(1),
        State::Failure => ExitCode::from(2),
    })
}

/// A line for each check; where it is not well, also why that matters and what to do.
fn lines(checks: &[Check], paint: Paint) -> Vec<String> {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for check in checks {
        let word = match check.state {
            State::Ok => paint.green("ok  "),
            State::Warning => paint.yellow("warn"),
            State::Failure => paint.red("FAIL"),
        };
        lines.push(format!("{word}  {:<width$}  {}", check.name, check.value));
        if let Some(fix) = &check.fix {
            let indent = " ".repeat(width + 8);
            lines.push(format!("{indent}{}", paint.dim(check.why)));
            lines.push(format!("{indent}to do: {fix}"));
        }
    }
    let of = |state: State| checks.iter().filter(|check| check.state == state).count();
    lines.push(String::new());
    lines.push(match (of(State::Failure), of(State::Warning)) {
        (0, 0) => "all is well".to_owned(),
        (0, warnings) => format!("it works, with {}", screen::text::plural(warnings as u64, "warning")),
        (failures, warnings) => {
            let words = screen::text::plural(failures as u64, "failure");
            format!("{words} and {} to see to", screen::text::plural(warnings as u64, "warning"))
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_well_is_explained() {
        let check = |name, state, fix: Option<&str>| Check {
            name,
            state,
            value: "v".into(),
            why: "why",
            fix: fix.map(str::to_owned),
        };
        let checks = [check("cores", State::Ok, None), check("disk", State::Failure, Some("make room"))];
        let expected = [
            "ok    cores  v",
            "FAIL  disk   v",
            "             why",
            "             to do: make room",
            "",
            "1 failure and 0 warnings to see to",
        ];
        assert_eq!(lines(&checks, Paint::PLAIN), expected);
        assert_eq!(lines(&checks[..1], Paint::PLAIN).last().unwrap(), "all is well");
    }
}
