//! `tidy`: the rules of the source tree that no compiler checks. Each rule is a function from texts to findings; only this file
//! reads the tree.

mod documented;
mod layers;
mod origin;
mod pure;
mod rust;
mod sizes;
mod steps;
mod table;
mod words;

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::workspace;
use table::Table;

/// One place that breaks a rule, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the root.
    path: String,
    /// The line, from 1; none where the file as a whole is meant.
    line: Option<usize>,
    /// What is wrong and what to do.
    message: String,
}

impl Finding {
    /// A finding about a file as a whole.
    fn about(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), line: None, message: message.into() }
    }

    /// A finding on one line.
    fn at(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line: Some(line), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// One text file that git tracks.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// From the root, with `/`.
    path: String,
    /// All of it.
    text: String,
}

impl SourceFile {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Checks everything and prints what it found.
///
/// # Errors
/// When a rule is broken, or the tree cannot be read.
pub fn tidy() -> anyhow::Result<()> {
    let root = workspace::root()?;
    let paths = workspace::tracked_files(&root)?;
    let files = texts(&root, &paths)?;
    let table = Table::parse(&std::fs::read_to_string(root.join(table::FILE)).context("cannot read layers.toml")?)?;
    let metadata = workspace::members(&root).context("Cargo.lock must be there and agree with the manifests")?;
    let checks: [(&str, Vec<Finding>); 8] = [
        ("layers", layers::check(&table, &metadata.packages)),
        ("purity", pure::check(&table, &files)),
        ("sizes", sizes::check(&table, &files)),
        ("module documentation", documented::check(&files)),
        ("the six steps", steps::check(&paths)),
        ("origin of test data", origin::check(&files, &paths)),
        ("forbidden words", words::check(&files)),
        ("lock file", lock_file(&paths)),
    ];
    let mut total: usize = 0;
    for (name, findings) in &checks {
        println!(
            "{name}: {}",
            if findings.is_empty() { "ok".to_owned() } else { format!("{} to mend", findings.len()) }
        );
        for finding in findings {
            println!("  {finding}");
        }
        total = total.saturating_add(findings.len());
    }
    if total > 0 {
        bail!("{total} places break the rules of the source tree (CONTRIBUTING.md has them)");
    }
    println!("tidy: {} checks over {} files, nothing to mend", checks.len(), files.len());
    Ok(())
}

/// The text files among these; what holds a zero byte or is not UTF-8 is left out.
fn texts(root: &Path, paths: &[String]) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for path in paths {
        let bytes = std::fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        if !text.contains('\0') {
            files.push(SourceFile { path: path.clone(), text });
        }
    }
    Ok(files)
}

fn lock_file(paths: &[String]) -> Vec<Finding> {
    if paths.iter().any(|path| path == "Cargo.lock") {
        return Vec::new();
    }
    vec![Finding::about(
        "Cargo.lock",
        "is missing or ignored by git; everybody must build the same versions, so commit it",
    )]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn findings_read_as_file_and_line() {
        assert_eq!(Finding::at("a/b.rs", 7, "is wrong").to_string(), "a/b.rs:7: is wrong");
        assert_eq!(Finding::about("a/b.rs", "is wrong").to_string(), "a/b.rs: is wrong");
    }

    #[test]
    fn a_missing_lock_file_is_found() {
        assert_eq!(lock_file(&["Cargo.toml".into(), "a/Cargo.lock".into()]).len(), 1);
        assert!(lock_file(&["Cargo.lock".into()]).is_empty());
    }

    #[test]
    fn binaries_are_not_read_as_text() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.bin"), [b'a', 0]).unwrap();
        std::fs::write(folder.path().join("b.bin"), [0xff, 0xfe]).unwrap();
        std::fs::write(folder.path().join("c.rs"), "//! Text.").unwrap();
        let files = texts(folder.path(), &["a.bin".into(), "b.bin".into(), "c.rs".into()]).unwrap();
        assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["c.rs"]);
    }
}
