//! The command line.

use std::ffi::OsString;

/// What `--help` prints.
pub const HELP: &str = "\
manyhands-worker: executes guests and proves segments for the manyhands daemon

Usage: manyhands-worker [--memory-bytes N] [--threads N]
       manyhands-worker --identify | --version | --help

Without a mode it reads task frames from stdin and writes report frames to stdout.

  --memory-bytes N  end the process rather than let its data (heap, stacks, private mappings) grow beyond N bytes.
                    That suffices, in MB: 2^14 190, 2^15 350, 2^16 650, 2^17 1300, a lift, join or keccak proof 1700
  --threads N       prove with N threads (default: one for each core)
  --identify        print what this worker can do, as JSON
  --version         print the versions
  --help            print this

Exit codes: 0 stdin or stdout was closed (in the middle of a task it ends by SIGKILL); 64 wrong arguments; 65 stdin is not made of task frames; 71 the limits cannot be set.
RISC0_* variables of the environment have no effect.
";

/// What the process is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Work on tasks.
    Serve,
    /// Print what it is, as JSON.
    Identify,
    /// Print the versions.
    Version,
    /// Print the help text.
    Help,
}

/// The command line, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arguments {
    /// What to do.
    pub mode: Mode,
    /// Limit of the process's data, in bytes.
    pub memory_bytes: Option<u64>,
    /// Threads to prove with.
    pub threads: Option<usize>,
}

impl Arguments {
    /// Parses the command line, the program's name not included.
    ///
    /// # Errors
    /// A sentence about the first argument that makes no sense.
    pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut arguments = Self { mode: Mode::Serve, memory_bytes: None, threads: None };
        let mut words = words.map(|word| word.to_string_lossy().into_owned());
        while let Some(word) = words.next() {
            match word.as_str() {
                "--memory-bytes" => arguments.memory_bytes = Some(number(&word, words.next())?),
                "--threads" => {
                    let threads = number(&word, words.next())?;
                    arguments.threads =
                        Some(usize::try_from(threads).map_err(|_| format!("{word} {threads} is too large"))?);
                }
                "--identify" => arguments.mode = Mode::Identify,
                "--version" => arguments.mode = Mode::Version,
                "--help" | "-h" => arguments.mode = Mode::Help,
                _ => return Err(format!("unknown argument {word:?}")),
            }
        }
        Ok(arguments)
    }
}

fn number(option: &str, word: Option<String>) -> Result<u64, String> {
    let word = word.ok_or_else(|| format!("{option} needs a number"))?;
    match word.parse() {
        Ok(0) | Err(_) => Err(format!("{option} needs a number above 0, got {word:?}")),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, String> {
        Arguments::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn options_are_read_in_any_order() {
        let expected = Arguments { mode: Mode::Serve, memory_bytes: Some(700), threads: Some(2) };
        assert_eq!(parse(&["--threads", "2", "--memory-bytes", "700"]), Ok(expected));
        assert_eq!(parse(&[]).unwrap().mode, Mode::Serve);
        assert_eq!(parse(&["--identify"]).unwrap().mode, Mode::Identify);
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(parse(&["--thread"]), Err("unknown argument \"--thread\"".into()));
        assert_eq!(parse(&["--threads"]), Err("--threads needs a number".into()));
        assert_eq!(parse(&["--memory-bytes", "1GB"]), Err("--memory-bytes needs a number above 0, got \"1GB\"".into()));
        assert_eq!(parse(&["--threads", "0"]), Err("--threads needs a number above 0, got \"0\"".into()));
    }
}
