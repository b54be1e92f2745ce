//! `test`: the pure crates in the dev profile, then everything that makes real proofs, in release.

use std::path::Path;

use crate::run::{Reported, Runner, status_of};
use crate::workspace::Metadata;
use crate::{build, plan, workspace};

/// Runs the tests, prints how long each step took and, last, the sum of all tests.
///
/// # Errors
/// The first step that fails, after the summary.
pub fn test(fast: bool) -> anyhow::Result<()> {
    let root = workspace::root()?;
    let mut runner = Runner::new(&root);
    let result = run_tests(&mut runner, &root, fast);
    close(&runner, result)
}

/// Ends a chore that ran tests: how long each step took, what went wrong, and the sum of all tests as the very last line.
///
/// # Errors
/// [`Reported`] where `result` is one.
pub fn close(runner: &Runner, result: anyhow::Result<()>) -> anyhow::Result<()> {
    runner.print_summary();
    let end = result.map_err(|error| {
        println!("\nerror: {error:#}; stopped at this first failure");
        Reported { status: status_of(&error) }
    });
    println!("\n{}", runner.tests());
    Ok(end?)
}

/// The tests themselves, for `test` and for `ci`.
///
/// # Errors
/// The first step that fails.
pub fn run_tests(runner: &mut Runner, root: &Path, fast: bool) -> anyhow::Result<()> {
    let metadata = workspace::members(root)?;
    if fast {
        return runner.run_tests(&plan::dev_tests(&metadata));
    }
    let programs = build::build_programs(runner, root)?;
    runner.set_env(plan::WORKER_ENV, &programs.worker);
    runner.set_env(plan::BIN_ENV, &programs.cli);
    runner.run_tests(&plan::dev_tests(&metadata))?;
    build_tools(runner, root, &metadata)?;
    for step in plan::release_tests(&metadata) {
        runner.run_tests(&step)?;
    }
    Ok(())
}

/// Builds every tool that stands alone, and tells the tests where those are that use stock RISC Zero.
fn build_tools(runner: &mut Runner, root: &Path, metadata: &Metadata) -> anyhow::Result<()> {
    let tracked = workspace::tracked_files(root)?;
    for manifest in plan::tools(&tracked) {
        let step = plan::build_tool(manifest, &metadata.target_directory);
        let name = manifest.trim_start_matches("tools/").trim_end_matches("/Cargo.toml");
        let program = build::build_program(runner, &step, name)?;
        if let Some((_, variable)) = plan::STOCK_TOOLS.iter().find(|(tool, _)| *tool == name) {
            runner.set_env(variable, program);
        }
    }
    Ok(())
}
