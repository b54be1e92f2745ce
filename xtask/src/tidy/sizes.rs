//! Sizes: no source file over 600 lines, no function over 70 outside tests, save by a named exception that is itself a ratchet.

use super::table::{FILE, LongFunction, Table};
use super::{Finding, SourceFile, rust};

/// Longest source file, in lines, tests included.
const FILE_LINES_MAX: usize = 600;
/// Longest function, in lines, from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Every file and function that is too long, and every exception that is not needed any more.
pub fn check(table: &Table, files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = vec![false; table.long_functions.len()];
    for file in files.iter().filter(|file| file.is_rust()) {
        findings.extend(too_long(file));
        if is_test(&file.path) {
            continue;
        }
        match rust::functions(&file.text) {
            Ok(functions) => {
                let long = functions.iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
                findings.extend(long.filter_map(|function| check_function(table, &mut used, file, function)));
            }
            Err(error) => findings.push(Finding::about(&file.path, error)),
        }
    }
    findings
        .extend(table.long_functions.iter().zip(used).filter(|(_, used)| !used).map(|(exception, _)| stale(exception)));
    findings
}

fn too_long(file: &SourceFile) -> Option<Finding> {
    let lines = file.text.lines().count();
    let message = format!(
        "has {lines} lines, at most {FILE_LINES_MAX}; move a part with a story of its own to a new file, or a long suite to tests/"
    );
    (lines > FILE_LINES_MAX).then(|| Finding::about(&file.path, message))
}

fn check_function(table: &Table, used: &mut [bool], file: &SourceFile, function: &rust::Function) -> Option<Finding> {
    let is_named = |exception: &LongFunction| exception.file == file.path && exception.function == function.name;
    let limit = match table.long_functions.iter().zip(used).find(|(exception, _)| is_named(exception)) {
        Some((exception, used)) => {
            *used = true;
            exception.lines_max
        }
        None => FUNCTION_LINES_MAX,
    };
    let message = format!(
        "`{}` has {} lines, at most {limit}; split it, or if it is one flat table, name it in [[long_functions]] of {FILE}",
        function.name, function.lines
    );
    (function.lines > limit).then(|| Finding::at(&file.path, function.line, message))
}

fn stale(exception: &LongFunction) -> Finding {
    let message = format!(
        "`{}` of {} has at most {FUNCTION_LINES_MAX} lines now, or is gone; remove its [[long_functions]] entry",
        exception.function, exception.file
    );
    Finding::about(FILE, message)
}

/// Whether a file holds nothing but tests or benchmarks.
fn is_test(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "benches" | "tests.rs"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn found(exceptions: &str, path: &str, text: String) -> Vec<String> {
        let table = Table::parse(&format!("[owners]\n[crates]\n{exceptions}")).unwrap();
        check(&table, &[SourceFile { path: path.into(), text }]).iter().map(ToString::to_string).collect()
    }

    /// A file whose only function has this many lines.
    fn function(lines: usize) -> String {
        format!("//! A module.\nfn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2))
    }

    const EXCEPTION: &str =
        "[[long_functions]]\nfile = \"src/a.rs\"\nfunction = \"f\"\nlines_max = 90\nreason = \"one flat table\"\n";

    #[test]
    fn the_limits_are_exact() {
        assert_eq!(found("", "src/a.rs", function(FUNCTION_LINES_MAX)), [""; 0]);
        let long = found("", "src/a.rs", function(FUNCTION_LINES_MAX + 1));
        assert!(long[0].starts_with("src/a.rs:2: `f` has 71 lines, at most 70; split it"), "{long:?}");
        assert_eq!(found("", "src/a.rs", "// x\n".repeat(FILE_LINES_MAX)), [""; 0]);
        assert!(found("", "src/a.rs", "// x\n".repeat(FILE_LINES_MAX + 1))[0].starts_with("src/a.rs: has 601 lines"));
        assert_eq!(found("", "tests/a.rs", function(200)), [""; 0]);
        assert_eq!(found("", "src/job/tests.rs", function(200)), [""; 0]);
    }

    #[test]
    fn an_exception_is_a_ratchet() {
        assert_eq!(found(EXCEPTION, "src/a.rs", function(90)), [""; 0]);
        assert!(found(EXCEPTION, "src/a.rs", function(91))[0].contains("at most 90"));
        assert!(found(EXCEPTION, "src/a.rs", function(70))[0].starts_with("layers.toml: `f` of src/a.rs"));
        assert_eq!(
            found(EXCEPTION, "src/b.rs", function(80)).len(),
            2,
            "too long, and the exception is for another file"
        );
    }
}
