//! `licences`: every package that a lock file of this repository brings in must be under terms that we accept.
//!
//! The policy is `xtask/licences.toml`: licences that are fine for all, and packages that are fine for a written reason. An
//! expression is evaluated as a whole, so `MIT OR GPL-3.0` is fine and `MIT AND GPL-3.0` is not. What is looked at is what cargo
//! really builds on this host (`cargo tree`), not all that a lock file could bring in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::{plan, workspace};

/// The policy's place, from the root.
const FILE: &str = "xtask/licences.toml";

/// What we accept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    /// Licences that are fine for every package, as SPDX writes them.
    allow: Vec<String>,
    /// Packages that are fine all the same.
    #[serde(default)]
    exception: Vec<Exception>,
}

/// One package that is fine all the same.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    /// The package's name.
    package: String,
    /// The licence that is accepted for it; none for a package that states none.
    licence: Option<String>,
    /// Why.
    reason: String,
    /// Whether only the members that need the prover may link it: the default members are then checked to do without.
    #[serde(default)]
    prover_only: bool,
}

/// A package of somebody else, as `cargo tree` prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
}

/// A package and its verdict.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Fine for all.
    Fine,
    /// Fine for a written reason.
    Excepted,
    /// Not fine; the sentence says why.
    Refused(String),
}

/// Checks all lock files, and prints a count per licence.
///
/// # Errors
/// When a package is refused, an exception is not needed, or cargo cannot tell.
pub fn licences() -> anyhow::Result<()> {
    let root = workspace::root()?;
    let text = std::fs::read_to_string(root.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    let policy: Policy = toml::from_str(&text).with_context(|| format!("{FILE} is not understood"))?;
    let packages = all_packages(&root)?;
    let in_default_members = tree(&root, &["-e", "normal"])?;
    print_counts(&policy, &packages);
    let mut troubles = refused(&policy, &packages);
    troubles.extend(unneeded(&policy, &packages));
    troubles.extend(misplaced(&policy, &in_default_members));
    for trouble in &troubles {
        println!("  {trouble}");
    }
    if !troubles.is_empty() {
        bail!("{} licences to look at; the policy is {FILE}", troubles.len());
    }
    println!("licences: {} packages, all accepted", packages.len());
    Ok(())
}

/// All packages of others that the repository's lock files bring in, each version once.
fn all_packages(root: &Path) -> anyhow::Result<BTreeSet<Package>> {
    let mut packages = tree(root, &["--workspace", "-e", "normal,build,dev"])?;
    for manifest in plan::own_workspaces(&workspace::tracked_files(root)?) {
        // Guests are built for another target, so what only that target needs counts as well.
        let target: &[&str] = if manifest.starts_with("guests/") { &["--target", "all"] } else { &[] };
        let words = ["--workspace", "--manifest-path", manifest, "-e", "normal,build,dev"];
        packages.extend(tree(root, &[&words, target].concat())?);
    }
    Ok(packages)
}

/// The packages of others in what `cargo tree` prints for these words.
fn tree(root: &Path, words: &[&str]) -> anyhow::Result<BTreeSet<Package>> {
    let words = [&["tree", "--locked", "--prefix", "none", "--format", "{p}|{l}"], words].concat();
    let text = workspace::cargo(root, &words).context("cargo tree --locked failed")?;
    Ok(text.lines().filter_map(package_in).collect())
}

/// Reads `name v1.2.3|MIT`, with `(proc-macro)` after the version or `(*)` at the end where cargo adds them. Ours come with a path.
fn package_in(line: &str) -> Option<Package> {
    let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
    let mut words = package.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    let is_version = version.starts_with(|mark: char| mark.is_ascii_digit());
    if !is_version || words.any(|word| word != "(proc-macro)") {
        return None;
    }
    let licence = (!licence.is_empty()).then(|| licence.to_owned());
    Some(Package { name: name.to_owned(), version: version.to_owned(), licence })
}

fn refused(policy: &Policy, packages: &BTreeSet<Package>) -> Vec<String> {
    let sentence = |package| match judge(policy, package) {
        Verdict::Refused(sentence) => Some(sentence),
        Verdict::Fine | Verdict::Excepted => None,
    };
    packages.iter().filter_map(sentence).collect()
}

/// Packages that only the prover's members may link, and the others do.
fn misplaced(policy: &Policy, in_default_members: &BTreeSet<Package>) -> Vec<String> {
    let bound = policy.exception.iter().filter(|exception| exception.prover_only);
    let linked = bound.filter(|bound| in_default_members.iter().any(|package| package.name == bound.package));
    let sentence = |bound: &Exception| {
        format!(
            "{} is accepted in the worker only, and a default member links it; cargo tree -i {0} says which",
            bound.package
        )
    };
    linked.map(sentence).collect()
}

fn judge(policy: &Policy, package: &Package) -> Verdict {
    let exception = policy.exception.iter().find(|exception| exception.package == package.name);
    let own = exception.and_then(|exception| exception.licence.as_deref());
    let who = format!("{} {}", package.name, package.version);
    let Some(licence) = &package.licence else {
        return match exception {
            Some(exception) if exception.licence.is_none() => Verdict::Excepted,
            _ => Verdict::Refused(format!(
                "{who} states no licence; read its sources and add an exception with the reason"
            )),
        };
    };
    // Old packages write MIT/Apache-2.0.
    let expression = match spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => {
            return Verdict::Refused(format!("{who}: {licence:?} is no licence expression: {}", error.reason));
        }
    };
    let allows = |list: &[&str]| expression.evaluate(|asked| list.iter().any(|allowed| *allowed == asked.to_string()));
    let everywhere: Vec<&str> = policy.allow.iter().map(String::as_str).collect();
    let here: Vec<&str> = everywhere.iter().copied().chain(own).collect();
    if allows(&everywhere) {
        Verdict::Fine
    } else if allows(&here) {
        Verdict::Excepted
    } else {
        Verdict::Refused(format!(
            "{who} is under {licence}, which is not accepted; do without it, or add an exception with the reason"
        ))
    }
}

/// Exceptions that no package needs, and those without a reason.
fn unneeded(policy: &Policy, packages: &BTreeSet<Package>) -> Vec<String> {
    let is_used = |exception: &&Exception| {
        packages.iter().any(|package| package.name == exception.package && judge(policy, package) == Verdict::Excepted)
    };
    let idle = policy.exception.iter().filter(|exception| !is_used(exception));
    let idle = idle.map(|exception| format!("no package needs the exception for {}; remove it", exception.package));
    let silent = policy.exception.iter().filter(|exception| exception.reason.trim().is_empty());
    let silent = silent.map(|exception| format!("the exception for {} gives no reason", exception.package));
    idle.chain(silent).collect()
}

fn print_counts(policy: &Policy, packages: &BTreeSet<Package>) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for package in packages {
        let licence = package.licence.as_deref().map_or("none stated".to_owned(), in_order);
        let note = if judge(policy, package) == Verdict::Excepted { " (by exception)" } else { "" };
        let count = counts.entry(format!("{licence}{note}")).or_default();
        *count = count.saturating_add(1);
    }
    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by_key(|(licence, count)| (std::cmp::Reverse(*count), licence.clone()));
    for (licence, count) in rows {
        println!("  {count:>4}  {licence}");
    }
}

/// A choice of licences in alphabetical order, so that equal choices count as one.
fn in_order(licence: &str) -> String {
    if licence.contains(['(', ')']) || licence.contains(" AND ") {
        return licence.to_owned();
    }
    let slashes = licence.replace('/', " OR ");
    let mut choices: Vec<&str> = slashes.split(" OR ").map(str::trim).collect();
    choices.sort_unstable();
    choices.join(" OR ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn policy() -> Policy {
        toml::from_str(
            r#"
            allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
            [[exception]]
            package = "weak"
            licence = "MPL-2.0"
            reason = "unmodified"
            prover_only = true
            [[exception]]
            package = "silent"
            reason = "its repository says MIT"
            "#,
        )
        .unwrap()
    }

    fn package(name: &str, licence: Option<&str>) -> Package {
        Package { name: name.into(), version: "1.0.0".into(), licence: licence.map(Into::into) }
    }

    fn verdict(name: &str, licence: Option<&str>) -> Verdict {
        judge(&policy(), &package(name, licence))
    }

    #[test]
    fn expressions_are_evaluated_as_a_whole() {
        for licence in [
            "MIT",
            "MIT/Apache-2.0",
            "MIT OR GPL-3.0-only",
            "(MIT OR LGPL-2.1-only) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert_eq!(verdict("a", Some(licence)), Verdict::Fine, "{licence}");
        }
        for licence in [
            "GPL-3.0-only",
            "AGPL-3.0-or-later",
            "LGPL-2.1-only",
            "MIT AND GPL-3.0-only",
            "BUSL-1.1",
            "MPL-2.0",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "Proprietary",
            "",
        ] {
            assert!(matches!(verdict("a", Some(licence)), Verdict::Refused(_)), "{licence}");
        }
    }

    #[test]
    fn an_exception_is_for_one_package_and_one_licence() {
        assert_eq!(verdict("weak", Some("MPL-2.0")), Verdict::Excepted);
        assert_eq!(verdict("weak", Some("MPL-2.0 AND MIT")), Verdict::Excepted);
        assert!(matches!(verdict("weak", Some("GPL-3.0-only")), Verdict::Refused(_)));
        assert!(matches!(verdict("weak", None), Verdict::Refused(_)));
        assert_eq!(verdict("silent", None), Verdict::Excepted);
        let Verdict::Refused(sentence) = verdict("other", None) else { panic!("accepted") };
        assert!(sentence.starts_with("other 1.0.0 states no licence"));
    }

    #[test]
    fn exceptions_that_nobody_needs_are_found() {
        let packages = BTreeSet::from([package("weak", Some("MPL-2.0")), package("silent", None)]);
        assert!(unneeded(&policy(), &packages).is_empty());
        let packages = BTreeSet::from([package("weak", Some("MIT"))]);
        assert_eq!(unneeded(&policy(), &packages).len(), 2);
    }

    #[test]
    fn what_only_the_worker_may_link_is_found_elsewhere() {
        assert!(misplaced(&policy(), &BTreeSet::from([package("silent", None)])).is_empty());
        let found = misplaced(&policy(), &BTreeSet::from([package("weak", Some("MPL-2.0"))]));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("cargo tree -i weak"), "{}", found[0]);
    }

    #[test]
    fn equal_choices_count_as_one() {
        for licence in ["MIT OR Apache-2.0", "Apache-2.0 OR MIT", "MIT/Apache-2.0", "Apache-2.0 / MIT"] {
            assert_eq!(in_order(licence), "Apache-2.0 OR MIT");
        }
        assert_eq!(in_order("(MIT OR Apache-2.0) AND ISC"), "(MIT OR Apache-2.0) AND ISC");
    }

    #[test]
    fn lines_of_the_tree_are_read() {
        assert_eq!(package_in("weak v1.0.0|MPL-2.0"), Some(package("weak", Some("MPL-2.0"))));
        assert_eq!(
            package_in("weak v1.0.0 (proc-macro)|MIT OR Apache-2.0 (*)"),
            Some(package("weak", Some("MIT OR Apache-2.0")))
        );
        assert_eq!(package_in("silent v1.0.0|"), Some(package("silent", None)));
        assert_eq!(package_in("ours v0.1.0 (/somewhere/ours)|MIT OR Apache-2.0"), None);
        assert_eq!(package_in("ours v0.1.0 (proc-macro) (/some where)|MIT"), None);
        assert_eq!(package_in(""), None);
        assert_eq!(package_in("no version|MIT"), None);
    }
}
