//! `layers.toml`: which crate may depend on what, and the named exceptions from the limits of size.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;

/// The table's place, from the root.
pub const FILE: &str = "layers.toml";

/// The whole table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// For a pattern of packages (`libp2p*`), or of one of their features (`risc0-*/prove`): the members that may name them.
    pub owners: BTreeMap<String, Vec<String>>,
    /// For each member: what it may depend on.
    pub crates: BTreeMap<String, Layer>,
    /// Functions that may be longer than the limit.
    #[serde(default)]
    pub long_functions: Vec<LongFunction>,
}

/// What one member may depend on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// What the member is, for people.
    #[serde(rename = "is")]
    pub _is: String,
    /// Whether its sources must be free of clocks, threads, sockets, files and unordered maps.
    #[serde(default)]
    pub pure: bool,
    /// Whether it may depend on anything: for a member that only tests.
    #[serde(default)]
    pub unbound: bool,
    /// Members that it may depend on.
    #[serde(default)]
    pub ours: Vec<String>,
    /// Packages of others that it may depend on; patterns as in `owners`.
    #[serde(default)]
    pub others: Vec<String>,
}

/// A function that may be long, because a reader is better served so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongFunction {
    /// Its file, from the root.
    pub file: String,
    /// Its name.
    pub function: String,
    /// Its longest allowed length, in lines.
    pub lines_max: usize,
    /// Why it is better whole.
    #[serde(rename = "reason")]
    pub _reason: String,
}

impl Table {
    /// Reads the table.
    ///
    /// # Errors
    /// When it is not TOML, or says something unknown.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        toml::from_str(text).context("layers.toml is not understood")
    }
}

/// Whether a name fits a pattern: equal, or with the same beginning where the pattern ends in `*`.
pub fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

/// Whether any pattern of a list fits.
pub fn any_fits(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| fits(pattern, name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn patterns_fit_by_their_beginning() {
        assert!(fits("libp2p*", "libp2p") && fits("libp2p*", "libp2p-stream") && fits("*", "anything"));
        assert!(!fits("libp2p", "libp2p-stream") && !fits("risc0-*", "risc0"));
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        assert!(Table::parse("[owners]\n[crates.a]\nis = \"a\"\npure = true\n").is_ok());
        assert!(Table::parse("[owners]\n[crates.a]\nis = \"a\"\npurr = true\n").is_err());
        assert!(Table::parse("[owners]\n[crates.a]\npure = true\n").is_err(), "says not what it is");
    }
}
