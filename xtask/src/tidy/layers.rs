//! Layers: who may depend on whom. Only what ends up in our programs counts; tests may depend on anything.

use super::Finding;
use super::table::{FILE, Table, any_fits, fits};
use crate::workspace::{Dependency, Package};

/// Every edge that the table does not allow.
pub fn check(table: &Table, packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(|package| check_package(table, packages, package)).collect()
}

fn check_package(table: &Table, packages: &[Package], package: &Package) -> Vec<Finding> {
    let manifest = manifest_of(package);
    let name = &package.name;
    let Some(layer) = table.crates.get(name) else {
        let advice = format!("{name} is not in {FILE}; add [crates.{name}] and say what it is and may depend on");
        return vec![Finding::about(manifest, advice)];
    };
    if layer.unbound {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for edge in package.dependencies.iter().filter(|edge| edge.kind.as_deref() != Some("dev")) {
        let is_ours = packages.iter().any(|other| other.name == edge.name);
        let (allowed, list) = if is_ours { (&layer.ours, "ours") } else { (&layer.others, "others") };
        if !any_fits(allowed, &edge.name) {
            findings.push(Finding::about(
                manifest.clone(),
                format!(
                    "{name} may not depend on {}; if it must, say why in the commit and add it to `{list}` of [crates.{name}] in {FILE}",
                    edge.name
                ),
            ));
        }
        findings.extend(owned(table, name, edge).map(|message| Finding::about(manifest.clone(), message)));
    }
    findings
}

/// Sentences about an edge to what belongs to another member.
fn owned<'a>(table: &'a Table, name: &'a str, edge: &'a Dependency) -> impl Iterator<Item = String> + 'a {
    table
        .owners
        .iter()
        .filter(move |(pattern, owners)| names(pattern, edge) && !owners.iter().any(|owner| owner == name))
        .map(move |(pattern, owners)| {
            format!(
                "{name} may not name {pattern}, which is for {} alone; move what needs {} there",
                owners.join(" and "),
                edge.name
            )
        })
}

/// Whether an edge names this package pattern, or asks for this feature of it.
fn names(pattern: &str, edge: &Dependency) -> bool {
    match pattern.split_once('/') {
        Some((package, feature)) => fits(package, &edge.name) && edge.features.iter().any(|asked| asked == feature),
        None => fits(pattern, &edge.name),
    }
}

/// `crates/<folder>/Cargo.toml`, from the root, as far as the absolute path tells.
fn manifest_of(package: &Package) -> String {
    let parts: Vec<_> = package.manifest_path.iter().rev().take(3).map(|part| part.to_string_lossy()).collect();
    let under_crates = parts.get(2).is_some_and(|part| part == "crates");
    let kept = if under_crates { 3 } else { 2 };
    parts.into_iter().take(kept).rev().collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    const TABLE: &str = r#"
        [owners]
        "libp2p*" = ["net"]
        "risc0-*/prove" = ["worker"]
        [crates.proto]
        is = "the words"
        pure = true
        others = ["serde"]
        [crates.net]
        is = "the wires"
        ours = ["proto"]
        others = ["libp2p*", "tokio"]
        [crates.node]
        is = "the glue"
        ours = ["proto", "net"]
        others = ["libp2p*", "tokio", "risc0-zkvm"]
        [crates.e2e]
        is = "the tests"
        unbound = true
    "#;

    fn package(name: &str, dependencies: &[(&str, Option<&str>, &[&str])]) -> Package {
        Package {
            name: name.into(),
            id: name.into(),
            manifest_path: format!("/r/crates/{name}/Cargo.toml").into(),
            dependencies: dependencies
                .iter()
                .map(|(name, kind, features)| Dependency {
                    name: (*name).into(),
                    kind: kind.map(Into::into),
                    optional: false,
                    features: features.iter().map(ToString::to_string).collect(),
                })
                .collect(),
        }
    }

    fn found(packages: &[Package]) -> Vec<String> {
        check(&Table::parse(TABLE).unwrap(), packages).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn allowed_edges_and_those_of_tests_pass() {
        let proto = package("proto", &[("serde", None, &[]), ("tokio", Some("dev"), &[])]);
        let net = package("net", &[("proto", None, &[]), ("libp2p-stream", None, &[]), ("tokio", None, &[])]);
        assert_eq!(found(&[proto, net]), [""; 0]);
    }

    #[test]
    fn an_edge_that_is_not_listed_fails_with_a_sentence() {
        let proto = package("proto", &[("tokio", None, &[]), ("net", None, &[]), ("cc", Some("build"), &[])]);
        let net = package("net", &[]);
        let found = found(&[proto, net]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("crates/proto/Cargo.toml: proto may not depend on tokio; "), "{}", found[0]);
        assert!(found[0].contains("`others` of [crates.proto]"), "{}", found[0]);
        assert!(found[1].contains("may not depend on net; ") && found[1].contains("`ours`"), "{}", found[1]);
    }

    #[test]
    fn an_owner_is_stronger_than_a_list() {
        let node = package("node", &[("libp2p", None, &[])]);
        let found_in_node = found(&[node]);
        assert_eq!(found_in_node.len(), 1);
        assert!(found_in_node[0].contains("node may not name libp2p*, which is for net alone"), "{}", found_in_node[0]);
    }

    #[test]
    fn a_member_that_only_tests_is_unbound() {
        assert!(
            found(&[package("e2e", &[("libp2p", None, &[]), ("proto", None, &[])]), package("proto", &[])]).is_empty()
        );
    }

    #[test]
    fn a_feature_may_have_an_owner_too() {
        assert!(found(&[package("node", &[("risc0-zkvm", None, &["std"])])]).is_empty());
        assert_eq!(found(&[package("node", &[("risc0-zkvm", None, &["std", "prove"])])]).len(), 1);
    }

    #[test]
    fn a_member_that_is_not_in_the_table_is_found() {
        let found = found(&[package("fresh", &[])]);
        assert!(found[0].contains("fresh is not in layers.toml; add [crates.fresh]"), "{}", found[0]);
    }
}
