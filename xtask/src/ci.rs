//! `ci`: every check of the repository, quick ones first. `.ci/run` is a thin wrapper around it.

use std::path::Path;

use crate::run::Runner;
use crate::{licences, plan, recursion, test, tidy, workspace};

/// Runs all checks and all tests; the last line is the sum of the tests.
///
/// # Errors
/// The first check or step that fails, after the summary.
pub fn ci() -> anyhow::Result<()> {
    let root = workspace::root()?;
    let mut runner = Runner::new(&root);
    let result = checks(&mut runner, &root).and_then(|()| test::run_tests(&mut runner, &root, false));
    test::close(&runner, result)
}

fn checks(runner: &mut Runner, root: &Path) -> anyhow::Result<()> {
    let metadata = workspace::members(root)?;
    let tracked = workspace::tracked_files(root)?;
    for step in plan::format_checks(&tracked) {
        runner.run(&step)?;
    }
    runner.within("tidy", tidy::tidy)?;
    runner.within("licences", licences::licences)?;
    // Clippy runs the build scripts of the prover, which need what a build needs.
    let found = recursion::find()?;
    found.prepare(&metadata.target_directory)?;
    for (key, value) in found.environment() {
        runner.set_env(key, value);
    }
    for step in plan::clippy(&metadata, &tracked) {
        runner.run(&step)?;
    }
    runner.run(&plan::rustdoc())
}
