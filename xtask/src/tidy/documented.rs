//! Module documentation: every Rust file begins by saying what it is.

use super::{Finding, SourceFile};

/// Every Rust file whose first line is not `//!`.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let is_silent = |file: &&SourceFile| file.is_rust() && !file.text.starts_with("//!");
    let advice = "must begin with a //! line that says what the module is and what it must never do";
    files.iter().filter(is_silent).map(|file| Finding::at(&file.path, 1, advice)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn only_rust_files_must_say_what_they_are() {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let files = [
            file("a.rs", "//! A module.\n"),
            file("tests/b.rs", "use a;\n//! too late"),
            file("c.rs", ""),
            file("d.md", "prose"),
            file("e.rs", "// A plain comment.\n"),
        ];
        let found: Vec<_> = check(&files).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3);
        assert!(found[0].starts_with("tests/b.rs:1: must begin with a //! line"));
    }
}
