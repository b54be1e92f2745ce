//! `build`, `demo` and `guests`: makes the two programs, and starts what the user asked for.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::run::{self, Runner, Step};
use crate::{plan, recursion, workspace};

/// The programs that a build made.
pub struct Programs {
    /// `manyhands-worker`.
    pub worker: PathBuf,
    /// `manyhands`.
    pub cli: PathBuf,
}

/// Builds, and says where the programs are.
///
/// # Errors
/// When a step fails.
pub fn build() -> anyhow::Result<()> {
    let root = workspace::root()?;
    let mut runner = Runner::new(&root);
    let programs = build_programs(&mut runner, &root)?;
    runner.print_summary();
    println!("\n{}\n{}", programs.worker.display(), programs.cli.display());
    Ok(())
}

/// Builds, then becomes `manyhands demo` with these words.
///
/// # Errors
/// When a step fails, or the demo does: then with its status.
pub fn demo(args: &[String]) -> anyhow::Result<()> {
    let root = workspace::root()?;
    let mut runner = Runner::new(&root);
    let programs = build_programs(&mut runner, &root)?;
    println!("\n==> manyhands demo {}", args.join(" "));
    let mut command = run::command(&programs.cli);
    command.arg("demo").args(args).env(plan::WORKER_ENV, &programs.worker).current_dir(&root);
    become_program(command)
}

/// Runs `guests/build.sh` with these words.
///
/// # Errors
/// When there is no such script, or it fails: then with its status.
pub fn guests(args: &[String]) -> anyhow::Result<()> {
    let root = workspace::root()?;
    let script = root.join("guests/build.sh");
    if !script.is_file() {
        bail!("there is no {}", script.display());
    }
    let mut command = run::command("bash");
    command.arg(script).args(args).current_dir(root);
    become_program(command)
}

/// The release builds that every chore with real proofs starts from.
///
/// # Errors
/// When a step fails.
pub fn build_programs(runner: &mut Runner, root: &Path) -> anyhow::Result<Programs> {
    let target = workspace::members(root)?.target_directory;
    let found = recursion::find()?;
    println!("{found}");
    found.prepare(&target)?;
    for (key, value) in found.environment() {
        runner.set_env(key, value);
    }
    let worker = build_program(runner, &plan::build(plan::WORKER), "manyhands-worker")?;
    let cli = build_program(runner, &plan::build(plan::CLI), "manyhands")?;
    Ok(Programs { worker, cli })
}

/// Runs one build step and gives the path of the program `name` that it made.
///
/// # Errors
/// When the step fails, or made no such program.
pub fn build_program(runner: &mut Runner, step: &Step, name: &str) -> anyhow::Result<PathBuf> {
    let mut program = None;
    runner.run_reading(step, |line| program = executable_in(line, name).or(program.take()))?;
    program.with_context(|| format!("{} made no program called {name}", step.title))
}

/// The path of the program `name`, if this line of cargo's messages announces it.
fn executable_in(line: &str, name: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        target: Option<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    let message: Message = serde_json::from_str(line).ok()?;
    let target = message.target?;
    if target.name == name && target.kind.iter().any(|kind| kind == "bin") { message.executable } else { None }
}

/// Replaces this process, so that signals, terminal and status are the program's own.
#[cfg(unix)]
fn become_program(mut command: std::process::Command) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {:?}", command.get_program()))
}

#[cfg(not(unix))]
fn become_program(mut command: std::process::Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if status.success() {
        return Ok(());
    }
    let title = command.get_program().to_string_lossy().into_owned();
    Err(run::StepFailed { title, code: status.code() }.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn only_the_named_program_is_taken_from_cargos_messages() {
        let line = |name: &str, kind: &str, path: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}","kind":["{kind}"]}},"executable":{path}}}"#
            )
        };
        let found = |line: &str| executable_in(line, "manyhands");
        assert_eq!(found(&line("manyhands", "bin", "\"t/manyhands\"")), Some("t/manyhands".into()));
        assert_eq!(found(&line("manyhands", "lib", "null")), None);
        assert_eq!(found(&line("manyhands-worker", "bin", "\"t/w\"")), None);
        assert_eq!(found(&line("manyhands", "custom-build", "\"t/b\"")), None);
        assert_eq!(found(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(found("not json"), None);
    }
}
