//! Forbidden words: paths of somebody's machine, and notes of what is not done. What is not done is an issue, or is done.

use super::{Finding, SourceFile};

/// Folders at the root of somebody's machine. Split, so that this file does not break its own rule.
const MACHINE_PATHS: [&str; 2] = [concat!("/", "work"), concat!("/", "root")];
/// Notes of unfinished work, in any text.
const NOTES: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
/// Macros of unfinished work, in Rust.
const MACROS: [&str; 2] = [concat!("to", "do!"), concat!("unimple", "mented!")];

/// Every forbidden word, once per line.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let numbered = file.text.lines().enumerate();
    numbered
        .filter_map(|(at, line)| Some(Finding::at(&file.path, at.saturating_add(1), trouble(file, line)?)))
        .collect()
}

fn trouble(file: &SourceFile, line: &str) -> Option<String> {
    if let Some(path) = MACHINE_PATHS.iter().find(|path| has_path(line, path)) {
        return Some(format!(
            "names {path}, a folder of one machine; use a relative path, or take it from the environment"
        ));
    }
    if let Some(note) = NOTES.iter().find(|note| has_word(line, note)) {
        return Some(format!("has a {note}; finish it, or open an issue and drop the note"));
    }
    let unfinished = MACROS.iter().find(|name| file.is_rust() && has_word(line, name));
    unfinished.map(|name| format!("has {name}, which panics when it is reached; write the code or give back an error"))
}

/// Whether the line names this folder from the root, not as a part of a longer path or address.
fn has_path(line: &str, path: &str) -> bool {
    let is_path =
        |mark: char| mark.is_alphanumeric() || matches!(mark, '/' | '.' | '_' | '-' | '~' | '}' | '$' | '*' | ')');
    occurrences(line, path).any(|(before, after)| {
        !before.is_some_and(is_path) && !after.is_some_and(|mark| mark.is_alphanumeric() || matches!(mark, '_' | '-'))
    })
}

fn has_word(line: &str, word: &str) -> bool {
    let is_word = |mark: char| mark.is_alphanumeric() || mark == '_';
    occurrences(line, word).any(|(before, after)| !before.is_some_and(is_word) && !after.is_some_and(is_word))
}

/// For each place where `word` stands: the characters before and after it.
fn occurrences<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = (Option<char>, Option<char>)> + 'a {
    line.match_indices(word).map(move |(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at.saturating_add(word.len())..).and_then(|text| text.chars().next());
        (before, after)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&[SourceFile { path: path.into(), text: text.into() }]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let [work, root] = MACHINE_PATHS;
        for text in [
            format!("cd {work}"),
            format!("\"{work}/main\""),
            format!("`{root}/.cache`"),
            format!("A={root}"),
            root.into(),
        ] {
            let found = found("a.md", &format!("fine\n{text}\n"));
            assert_eq!(found.len(), 1, "{text}");
            assert!(found[0].starts_with("a.md:2: names /"), "{found:?}");
        }
    }

    #[test]
    fn longer_paths_and_addresses_pass() {
        let [work, root] = MACHINE_PATHS;
        for text in [
            format!("network{work}"),
            format!("{work}er/path"),
            format!("https://host{work}/x"),
            format!("~{root}"),
            format!("$HOME{work}"),
            format!("read/write{work}"),
            format!("{root}-hash"),
            format!("..{work}"),
        ] {
            assert_eq!(found("a.md", &text), [""; 0], "{text}");
        }
    }

    #[test]
    fn notes_and_macros_of_unfinished_work_are_found() {
        let [note, other] = NOTES;
        let [first, second] = MACROS;
        assert_eq!(found("a.rs", &format!("// {note}: x\n/* {other} */\n{first}()\n{second}(\"x\")")).len(), 4);
        assert_eq!(found("a.md", &format!("MAS{note}S, {}", note.to_lowercase())), [""; 0]);
        assert_eq!(found("a.md", &format!("the macro {first} is forbidden")), [""; 0], "prose may name it");
    }
}
