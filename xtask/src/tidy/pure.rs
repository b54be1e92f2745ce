//! Purity: a crate that holds rules has no clock, thread, socket, file, randomness or unordered map, and never waits or prints.

use super::table::Table;
use super::{Finding, SourceFile, rust};

/// Parts of a path that are forbidden wherever they appear, each with what to do instead.
const NAMES: [(&str, &str); 12] = [
    ("HashMap", "its order differs from run to run; use BTreeMap"),
    ("HashSet", "its order differs from run to run; use BTreeSet"),
    ("Instant", "take the time as an argument"),
    ("SystemTime", "take the time as an argument"),
    ("async", "give back a command, and let the shell wait"),
    ("await", "give back a command, and let the shell wait"),
    ("rand", "take the random bytes as an argument"),
    ("print!", "give back a value, and let the shell print"),
    ("println!", "give back a value, and let the shell print"),
    ("eprint!", "give back a value, and let the shell print"),
    ("eprintln!", "give back a value, and let the shell print"),
    ("thread_local!", "keep the state in a value that the caller owns"),
];

/// Modules of the standard library that are forbidden with all they hold.
const MODULES: [(&str, &str); 5] = [
    ("std::net", "sockets belong to the shells"),
    ("std::fs", "files belong to the shells"),
    ("std::thread", "threads belong to the shells"),
    ("std::process", "processes belong to the shells"),
    ("std::env", "take the setting as an argument"),
];

/// Every forbidden name in the sources of the table's pure crates.
pub fn check(table: &Table, files: &[SourceFile]) -> Vec<Finding> {
    let folders: Vec<String> =
        table.crates.iter().filter(|(_, layer)| layer.pure).map(|(name, _)| sources_of(name)).collect();
    let is_pure = |file: &&SourceFile| file.is_rust() && folders.iter().any(|folder| file.path.starts_with(folder));
    files.iter().filter(is_pure).flat_map(check_file).collect()
}

/// Where a member's sources lie: `crates/` and its name without the project's.
fn sources_of(name: &str) -> String {
    format!("crates/{}/src/", name.strip_prefix("manyhands-").unwrap_or(name))
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let paths = match rust::paths(&file.text) {
        Ok(paths) => paths,
        Err(error) => return vec![Finding::about(&file.path, error)],
    };
    let breaks = |named: &rust::NamedPath| {
        let advice = forbidden(&named.path)?;
        Some(Finding::at(&file.path, named.line, format!("a pure crate has no `{}`: {advice}", named.path)))
    };
    paths.iter().filter_map(breaks).collect()
}

/// What to do instead of this path, if it is forbidden.
fn forbidden(path: &str) -> Option<&'static str> {
    let in_module =
        |module: &str| path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let by_module = MODULES.iter().find(|(module, _)| in_module(module));
    let by_name = NAMES.iter().find(|(name, _)| path.split("::").any(|part| part == *name));
    by_module.or(by_name).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    const TABLE: &str =
        "[owners]\n[crates.manyhands-core]\nis = \"rules\"\npure = true\n[crates.manyhands-net]\nis = \"wires\"\n";

    fn found_in(path: &str, text: &str) -> Vec<String> {
        let file = SourceFile { path: path.into(), text: text.into() };
        check(&Table::parse(TABLE).unwrap(), &[file]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_effect_is_found_where_it_is() {
        for (text, path) in [
            ("use std::{collections::HashMap};", "std::collections::HashMap"),
            ("use std::time;\nfn f() { time::Instant::now() }", "time::Instant::now"),
            ("use std::net;", "std::net"),
            ("fn f() { std::fs::read(\"x\"); }", "std::fs::read"),
            ("fn f() { std::thread::spawn(g); }", "std::thread::spawn"),
            ("async fn f() {}", "async"),
            ("fn f() { let x = rand::random(); }", "rand::random"),
            ("fn f() { assert!(SystemTime::now() > x); }", "SystemTime::now"),
            ("fn f() { println!(); }", "println!"),
        ] {
            let found = found_in("crates/core/src/a.rs", text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(&format!("has no `{path}`: ")), "{found:?}");
        }
        assert!(found_in("crates/core/src/a.rs", "\n\nuse std::fs;")[0].starts_with("crates/core/src/a.rs:3: "));
    }

    #[test]
    fn similar_names_and_prose_pass() {
        let text = "//! No HashMap, no Instant, no std::fs.\nuse std::collections::BTreeMap;\nstruct InstantLike;\nfn network() { operand(\"println!\") }\nmod std_net {}";
        assert_eq!(found_in("crates/core/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn shells_tests_and_benches_may_do_what_they_like() {
        for path in
            ["crates/net/src/a.rs", "crates/core/tests/a.rs", "crates/core/benches/a.rs", "crates/corex/src/a.rs"]
        {
            assert_eq!(found_in(path, "use std::fs;"), [""; 0], "{path}");
        }
    }
}
