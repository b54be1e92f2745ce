//! Which programs a chore runs, as data: the steps of a build, of the tests, and of continuous integration. Starts nothing.

use std::path::Path;

use crate::run::Step;
use crate::workspace::Metadata;

/// The package with the prover.
pub const WORKER: &str = "manyhands-worker";
/// The package around RISC Zero. Its prover, and the tests of that, are compiled only where the worker asks for them.
const ZKVM: &str = "manyhands-zkvm";
/// The package with the command line program.
pub const CLI: &str = "manyhands-cli";
/// Where the tests find the command line program.
pub const BIN_ENV: &str = "MANYHANDS_BIN";
/// Where the tests, and the program itself, find the worker.
pub const WORKER_ENV: &str = "MANYHANDS_WORKER";
/// The programs that depend on stock `risc0-zkvm` only, by package and folder under `tools/`, and where the tests find them.
pub const STOCK_TOOLS: [(&str, &str); 2] =
    [("stock-verifier", "MANYHANDS_STOCK_VERIFIER"), ("stock-prover", "MANYHANDS_STOCK_PROVER")];

/// Builds one package in release; the steps are separate so that the prover's features stay out of the other programs.
pub fn build(package: &str) -> Step {
    let words = ["build", "--release", "--locked", "--message-format", "json-render-diagnostics", "-p", package];
    Step::cargo(format!("build {package}"), &words)
}

/// Builds one of the tools that have a workspace of their own, into the common target directory.
pub fn build_tool(manifest: &str, target_directory: &Path) -> Step {
    let words = ["build", "--release", "--locked", "--message-format", "json-render-diagnostics", "--manifest-path"];
    let mut step = Step::cargo(format!("build {manifest}"), &words);
    step.args.push(manifest.to_owned());
    step.with_env("CARGO_TARGET_DIR", target_directory)
}

/// Tests of the default members in the dev profile, in one step.
pub fn dev_tests(metadata: &Metadata) -> Step {
    let mut step = Step::cargo("test (dev profile)", &["test", "--locked"]);
    for member in metadata.default_members() {
        step.args.extend(["-p".to_owned(), member]);
    }
    step
}

/// Tests of all other members in release, one step each so that each has the features that it asks for.
pub fn release_tests(metadata: &Metadata) -> Vec<Step> {
    let step = |member: &String| {
        let mut step = Step::cargo(format!("test {member}"), &["test", "--release", "--locked", "-p", member]);
        step.args.extend(with_the_prover(member));
        step
    };
    metadata.other_members().iter().map(step).collect()
}

/// What else is checked in the worker's step, with the features that the worker asks of it.
fn with_the_prover(member: &str) -> Vec<String> {
    if member == WORKER { vec!["-p".to_owned(), ZKVM.to_owned()] } else { Vec::new() }
}

/// Manifests of the tools that stand alone: `tools/<name>/Cargo.toml`.
pub fn tools(tracked: &[String]) -> Vec<&str> {
    let is_tool = |path: &&str| {
        path.strip_prefix("tools/")
            .and_then(|rest| rest.strip_suffix("/Cargo.toml"))
            .is_some_and(|name| !name.contains('/'))
    };
    tracked.iter().map(String::as_str).filter(is_tool).collect()
}

/// Formatting of the workspace and of every workspace beside it.
pub fn format_checks(tracked: &[String]) -> Vec<Step> {
    let mut steps = vec![Step::cargo("fmt", &["fmt", "--all", "--check"])];
    for manifest in own_workspaces(tracked) {
        steps.push(Step::cargo(format!("fmt {manifest}"), &["fmt", "--check", "--manifest-path", manifest]));
    }
    steps
}

/// Clippy. The members with the prover are checked in release, each by itself: a dev build, or another mix of features, would
/// compile its kernels a second time.
pub fn clippy(metadata: &Metadata, tracked: &[String]) -> Vec<Step> {
    let prover = metadata.prover_members();
    let others = metadata.default_members().into_iter().chain(metadata.other_members());
    let mut dev = Step::cargo("clippy (dev profile)", &["clippy", "--locked", "--all-targets"]);
    dev.args.extend(others.filter(|member| !prover.contains(member)).flat_map(|member| ["-p".to_owned(), member]));
    let mut steps = vec![dev];
    for member in &prover {
        let words = ["clippy", "--release", "--locked", "--all-targets", "-p", member];
        let mut step = Step::cargo(format!("clippy {member}"), &words);
        step.args.extend(with_the_prover(member));
        steps.push(step);
    }
    for manifest in tools(tracked) {
        let words = ["clippy", "--locked", "--all-targets", "--manifest-path", manifest];
        steps.push(
            Step::cargo(format!("clippy {manifest}"), &words).with_env("CARGO_TARGET_DIR", &metadata.target_directory),
        );
    }
    for step in &mut steps {
        step.args.extend(["--", "-D", "warnings"].map(str::to_owned));
    }
    steps
}

/// The documentation of the default members, private items too, without a warning.
pub fn rustdoc() -> Step {
    Step::cargo("rustdoc", &["doc", "--locked", "--no-deps", "--document-private-items"])
        .with_env("RUSTDOCFLAGS", "-D warnings")
}

/// Manifests of all workspaces beside the main one: they have a lock file of their own.
pub fn own_workspaces(tracked: &[String]) -> Vec<&str> {
    let has_lock = |path: &&String| {
        path.strip_suffix("/Cargo.toml").is_some_and(|folder| tracked.contains(&format!("{folder}/Cargo.lock")))
    };
    tracked.iter().filter(has_lock).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn metadata() -> Metadata {
        let package =
            |name: &str| format!(r#"{{"name":"{name}","id":"{name}","dependencies":[],"manifest_path":"Cargo.toml"}}"#);
        let packages = ["manyhands-core", "xtask", "manyhands-e2e", WORKER].map(package).join(",");
        let text = format!(
            r#"{{"packages":[{packages}],"workspace_default_members":["manyhands-core","xtask"],"target_directory":"out"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn paths(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_prover_is_never_built_in_the_dev_profile() {
        let dev = dev_tests(&metadata()).args.join(" ");
        assert_eq!(dev, "test --locked -p manyhands-core -p xtask");
        let release: Vec<String> = release_tests(&metadata()).iter().map(|step| step.args.join(" ")).collect();
        assert_eq!(
            release,
            [
                "test --release --locked -p manyhands-worker -p manyhands-zkvm",
                "test --release --locked -p manyhands-e2e"
            ]
        );
        for step in clippy(&metadata(), &[]).iter().filter(|step| step.args.iter().any(|word| word == WORKER)) {
            assert!(step.args.contains(&"--release".to_owned()));
        }
    }

    #[test]
    fn every_step_of_cargo_is_locked() {
        let mut steps = vec![build(WORKER), build_tool("tools/a/Cargo.toml", Path::new("t")), rustdoc()];
        steps.push(dev_tests(&metadata()));
        steps.extend(release_tests(&metadata()));
        steps.extend(clippy(&metadata(), &paths(&["tools/a/Cargo.toml"])));
        for step in steps {
            assert!(step.args.contains(&"--locked".to_owned()), "{}", step.title);
        }
    }

    #[test]
    fn clippys_own_words_come_last() {
        for step in clippy(&metadata(), &paths(&["tools/a/Cargo.toml"])) {
            assert!(step.args.join(" ").ends_with("-- -D warnings"), "{}", step.title);
        }
    }

    #[test]
    fn tools_and_their_workspaces_are_found() {
        let tracked = paths(&[
            "Cargo.lock",
            "Cargo.toml",
            "crates/core/Cargo.toml",
            "guests/programs/Cargo.lock",
            "guests/programs/Cargo.toml",
            "tools/a/Cargo.lock",
            "tools/a/Cargo.toml",
            "tools/a/inner/Cargo.toml",
        ]);
        assert_eq!(tools(&tracked), ["tools/a/Cargo.toml"]);
        assert_eq!(own_workspaces(&tracked), ["guests/programs/Cargo.toml", "tools/a/Cargo.toml"]);
        assert_eq!(format_checks(&tracked).len(), 3);
    }
}
