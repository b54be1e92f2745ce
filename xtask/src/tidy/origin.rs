//! Test data: every `testdata` folder says where its contents come from, in a README or in each file.

use std::collections::BTreeSet;

use super::{Finding, SourceFile};

/// How far into a file that is not JSON its origin may be, in lines.
const HEAD_LINES: usize = 5;

/// Every file under a `testdata` folder that has neither a README beside it nor an origin inside.
pub fn check(files: &[SourceFile], paths: &[String]) -> Vec<Finding> {
    let explained: BTreeSet<&str> =
        paths.iter().filter(|path| is_readme(path)).filter_map(|path| folder_of(path)).collect();
    let stated = |path: &str| files.iter().any(|file| file.path == path && states_origin(file));
    let advice = "does not say where it comes from; add an \"origin\" field to it, or a README.md to its folder";
    paths
        .iter()
        .filter(|path| is_data(path) && !is_readme(path))
        .filter(|path| !folders_above(path).any(|folder| explained.contains(folder)) && !stated(path))
        .map(|path| Finding::about(path.as_str(), advice))
        .collect()
}

fn is_data(path: &str) -> bool {
    folder_of(path).is_some_and(|folder| folder.split('/').any(|part| part == "testdata"))
}

fn is_readme(path: &str) -> bool {
    is_data(path) && path.rsplit('/').next().is_some_and(|name| name.starts_with("README"))
}

fn folder_of(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(folder, _)| folder)
}

/// A file's folder, and those above it as far as `testdata`.
fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(folder_of(path), |folder| folder_of(folder))
        .take_while(|folder| is_data(&format!("{folder}/")))
}

/// A JSON object with a text `origin`, or `origin` with a colon or equals sign in the head of another file.
fn states_origin(file: &SourceFile) -> bool {
    if file.path.ends_with(".json") {
        let value: Option<serde_json::Value> = serde_json::from_str(&file.text).ok();
        return value.is_some_and(|value| {
            value.get("origin").and_then(|origin| origin.as_str()).is_some_and(|text| !text.is_empty())
        });
    }
    file.text.lines().take(HEAD_LINES).any(|line| {
        let line = line.trim_start_matches(['#', '/', ';', ' ']);
        let rest = line.strip_prefix("origin").map(str::trim_start);
        rest.is_some_and(|rest| rest.starts_with([':', '=']) && rest.len() > 2)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn found(tree: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> =
            tree.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() }).collect();
        let paths: Vec<String> = tree.iter().map(|(path, _)| (*path).into()).collect();
        check(&files, &paths).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_readme_speaks_for_its_folder_and_those_below() {
        let tree =
            [("a/testdata/README.md", "Made by ..."), ("a/testdata/x.hex", "00"), ("a/testdata/deep/y.hex", "00")];
        assert!(found(&tree).is_empty());
        assert_eq!(found(&[("a/README.md", "no"), ("a/testdata/x.hex", "00")]), ["a/testdata/x.hex"]);
        assert_eq!(found(&[("a/testdata/deep/README.md", "no"), ("a/testdata/x.hex", "00")]), ["a/testdata/x.hex"]);
    }

    #[test]
    fn a_file_may_speak_for_itself() {
        assert!(found(&[("testdata/v.json", r#"{"origin": "spec 1.0, section 3", "vectors": []}"#)]).is_empty());
        assert!(found(&[("testdata/v.toml", "# Vectors\norigin = \"spec 1.0\"\n")]).is_empty());
        assert!(found(&[("testdata/v.hex", "# origin: spec 1.0\n00")]).is_empty());
        for text in [r#"{"origin": ""}"#, r#"{"origin": 1}"#, r#"[1]"#, "not json"] {
            assert_eq!(found(&[("testdata/v.json", text)]).len(), 1, "{text}");
        }
        assert_eq!(found(&[("testdata/v.hex", "originally 00")]).len(), 1);
    }

    #[test]
    fn other_folders_need_nothing() {
        assert!(found(&[("a/data/x.json", "{}"), ("testdata.rs", "")]).is_empty());
    }
}
