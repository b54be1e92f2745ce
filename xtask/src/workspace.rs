//! What cargo and git say about the repository: its members, their dependencies, its files. Reads only.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// The part of `cargo metadata` that the chores need.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// The packages; with `--no-deps` the members only.
    pub packages: Vec<Package>,
    /// Ids of the default members.
    #[serde(default)]
    workspace_default_members: Vec<String>,
    /// Where cargo builds.
    pub target_directory: PathBuf,
}

/// One package.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Cargo's own identifier.
    pub id: String,
    /// What it depends on, as its manifest says.
    pub dependencies: Vec<Dependency>,
    /// Its manifest.
    pub manifest_path: PathBuf,
}

/// One line of a manifest's dependency tables.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    /// The package's name, whatever the crate is renamed to.
    pub name: String,
    /// None for a normal one, else "dev" or "build".
    pub kind: Option<String>,
    /// Whether it counts only with a feature of its own.
    #[serde(default)]
    pub optional: bool,
    /// Features asked for.
    #[serde(default)]
    pub features: Vec<String>,
}

impl Metadata {
    /// Names of the default members, in the manifest's order: those that build without the prover.
    pub fn default_members(&self) -> Vec<String> {
        let name = |id: &String| self.packages.iter().find(|package| package.id == *id).map(|found| found.name.clone());
        self.workspace_default_members.iter().filter_map(name).collect()
    }

    /// Names of the members whose build compiles the prover's kernels: the worker, and whoever depends on it or asks for `prove`.
    pub fn prover_members(&self) -> Vec<String> {
        let asks = |edge: &Dependency| {
            edge.name == crate::plan::WORKER || (!edge.optional && edge.features.iter().any(|asked| asked == "prove"))
        };
        let compiles =
            |package: &&Package| package.name == crate::plan::WORKER || package.dependencies.iter().any(asks);
        self.packages.iter().filter(compiles).map(|package| package.name.clone()).collect()
    }

    /// Names of all members outside the default: those that need the programs. The worker comes first, as the others start it.
    pub fn other_members(&self) -> Vec<String> {
        let default = self.default_members();
        let mut others: Vec<String> =
            self.packages.iter().map(|package| package.name.clone()).filter(|name| !default.contains(name)).collect();
        others.sort_by_key(|name| (name != crate::plan::WORKER, name.clone()));
        others
    }
}

/// The repository's root: the folder above this package's.
///
/// # Errors
/// When that folder holds no workspace.
pub fn root() -> anyhow::Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = match package.as_deref().and_then(Path::parent) {
        Some(parent) => parent.to_owned(),
        None => std::env::current_dir().context("there is no current directory")?,
    };
    if !root.join("Cargo.toml").is_file() {
        bail!("{} is not the repository's root; run `cargo xtask` inside the repository", root.display());
    }
    Ok(root)
}

/// Members and target directory of the workspace in `root`.
///
/// # Errors
/// When cargo cannot read it, or the lock file is missing or would have to change.
pub fn members(root: &Path) -> anyhow::Result<Metadata> {
    let text = cargo(root, &["metadata", "--format-version", "1", "--locked", "--no-deps"])
        .context("cargo metadata --locked failed (a stale lock file is renewed by any `cargo check`)")?;
    serde_json::from_str(&text).context("cargo metadata answered with something unknown")
}

/// What cargo prints for these words.
///
/// # Errors
/// When cargo refuses; its own words are in the error.
pub fn cargo(root: &Path, words: &[&str]) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    capture(crate::run::command(cargo).args(words).current_dir(root))
}

/// Paths, relative to `root` and with `/`, of all files that git tracks or would track.
///
/// # Errors
/// Where there is no git, or the folder is no repository.
pub fn tracked_files(root: &Path) -> anyhow::Result<Vec<String>> {
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let text = capture(crate::run::command("git").args(words).current_dir(root))
        .context("git ls-files failed; these checks need a git clone")?;
    let mut paths: Vec<String> = text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    // A file that was deleted and not yet committed is still listed.
    paths.retain(|path| root.join(path).is_file());
    Ok(paths)
}

fn capture(command: &mut std::process::Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("the answer is not text")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn members_are_told_apart() {
        let package = |name: &str, edge: &str| {
            format!(r#"{{"name":"{name}","id":"{name}#0","dependencies":[{edge}],"manifest_path":"Cargo.toml"}}"#)
        };
        let optional = r#"{"name":"risc0-x","kind":null,"optional":true,"features":["prove"]}"#;
        let asking = r#"{"name":"a","kind":"dev","optional":false,"features":["std","prove"]}"#;
        let packages = [
            package("a", optional),
            package("b", ""),
            package("bench", asking),
            package("e2e", ""),
            package("manyhands-worker", ""),
        ];
        let text = format!(
            r#"{{"packages":[{}],"workspace_default_members":["b#0","a#0"],"target_directory":"t"}}"#,
            packages.join(",")
        );
        let metadata: Metadata = serde_json::from_str(&text).unwrap();
        assert_eq!(metadata.default_members(), ["b", "a"]);
        assert_eq!(metadata.other_members(), ["manyhands-worker", "bench", "e2e"]);
        assert_eq!(metadata.prover_members(), ["bench", "manyhands-worker"]);
    }

    #[test]
    fn this_repository_is_read() {
        let root = root().unwrap();
        let metadata = members(&root).unwrap();
        assert!(metadata.default_members().contains(&"xtask".to_owned()));
        assert!(tracked_files(&root).unwrap().contains(&"xtask/src/main.rs".to_owned()));
    }
}
