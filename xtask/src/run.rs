//! Runs other programs, one after the other: prints each, times it, counts the tests that it reports, and stops at a failure.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Longest line that is looked at; what is beyond goes through unread.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// One program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the summary calls it.
    pub title: String,
    /// Program, or its path.
    pub program: OsString,
    /// Its words.
    pub args: Vec<String>,
    /// Settings on top of the runner's.
    pub env: Vec<(String, OsString)>,
}

impl Step {
    /// The cargo that runs us, or the one in the path, with these words.
    pub fn cargo(title: impl Into<String>, args: &[&str]) -> Self {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Self { title: title.into(), program, args: args.iter().map(ToString::to_string).collect(), env: Vec::new() }
    }

    /// The same step with one more setting.
    pub fn with_env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.env.push((key.to_owned(), value.into()));
        self
    }

    /// As a person would type it.
    fn typed(&self) -> String {
        let name = Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy().into_owned();
        let settings = self.env.iter().map(|(key, value)| format!("{key}={:?} ", value.to_string_lossy()));
        settings.chain([name]).chain(self.args.iter().map(|word| format!(" {word}"))).collect()
    }
}

/// A program that was run and did not succeed.
#[derive(Debug)]
pub struct StepFailed {
    /// The step's title.
    pub title: String,
    /// Its exit status; none when a signal ended it.
    pub code: Option<i32>,
}

impl fmt::Display for StepFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{} failed with status {code}", self.title),
            None => write!(f, "{} was ended by a signal", self.title),
        }
    }
}

impl std::error::Error for StepFailed {}

/// A failure that was printed already; only its status is left to tell.
#[derive(Debug)]
pub struct Reported {
    /// The status that this process is to end with.
    pub status: u8,
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed with status {}", self.status)
    }
}

impl std::error::Error for Reported {}

/// The status that this process ends with for an error: a failed program's own where it has one, else 1.
pub fn status_of(error: &anyhow::Error) -> u8 {
    if let Some(reported) = error.downcast_ref::<Reported>() {
        return reported.status;
    }
    let code = error.downcast_ref::<StepFailed>().and_then(|failed| failed.code);
    code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1)
}

/// Sums of the closing lines of cargo's test programs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TestCounts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were left out.
    pub skipped: u64,
}

impl TestCounts {
    /// Adds what `line` reports, if it is a closing line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    pub fn count(&mut self, line: &str) {
        let Some(result) = line.trim().strip_prefix("test result: ") else { return };
        let body = result.split_once(". ").map_or(result, |(_, body)| body);
        for part in body.split(';') {
            let mut words = part.split_whitespace();
            let number = words.next().and_then(|word| word.parse::<u64>().ok());
            match (number, words.next()) {
                (Some(number), Some("passed")) => self.passed = self.passed.saturating_add(number),
                (Some(number), Some("failed")) => self.failed = self.failed.saturating_add(number),
                (Some(number), Some("ignored")) => self.skipped = self.skipped.saturating_add(number),
                _ => {}
            }
        }
    }
}

impl fmt::Display for TestCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

/// Runs steps in a directory with an environment, and remembers how long each took.
pub struct Runner {
    directory: std::path::PathBuf,
    env: Vec<(String, OsString)>,
    done: Vec<(String, Duration)>,
    tests: TestCounts,
}

impl Runner {
    /// A runner that has done nothing.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), env: Vec::new(), done: Vec::new(), tests: TestCounts::default() }
    }

    /// Gives every later step this setting.
    pub fn set_env(&mut self, key: &str, value: impl Into<OsString>) {
        self.env.push((key.to_owned(), value.into()));
    }

    /// Tests counted so far.
    pub fn tests(&self) -> TestCounts {
        self.tests
    }

    /// Runs a program whose output goes straight to the terminal.
    ///
    /// # Errors
    /// [`StepFailed`] when it does not succeed; an ordinary error when it cannot be started.
    pub fn run(&mut self, step: &Step) -> anyhow::Result<()> {
        self.timed(step, |runner| runner.spawn(step, Stdio::inherit()).and_then(|child| finish(step, child)))
    }

    /// Runs a program that reports tests: its output is passed on and counted.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn run_tests(&mut self, step: &Step) -> anyhow::Result<()> {
        self.run_counting(step, &mut io::stdout())
    }

    fn run_counting(&mut self, step: &Step, out: &mut impl io::Write) -> anyhow::Result<()> {
        self.timed(step, |runner| {
            let mut child = runner.spawn(step, Stdio::piped())?;
            let tests = &mut runner.tests;
            read_lines(&mut child, |line| {
                tests.count(&String::from_utf8_lossy(line));
                out.write_all(line)
            })?;
            finish(step, child)
        })
    }

    /// Runs a program and gives each line of its standard output to `line` instead of the terminal.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn run_reading(&mut self, step: &Step, mut line: impl FnMut(&str)) -> anyhow::Result<()> {
        self.timed(step, |runner| {
            let mut child = runner.spawn(step, Stdio::piped())?;
            read_lines(&mut child, |bytes| {
                line(&String::from_utf8_lossy(bytes));
                Ok(())
            })?;
            finish(step, child)
        })
    }

    /// Does a step of our own, timed as the others.
    ///
    /// # Errors
    /// Whatever `work` gives.
    pub fn within(&mut self, title: &str, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        println!("\n==> {title}");
        let start = Instant::now();
        let result = work();
        self.done.push((title.to_owned(), start.elapsed()));
        result
    }

    /// Prints how long each step took.
    pub fn print_summary(&self) {
        let width = self.done.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        println!();
        for (title, took) in &self.done {
            println!("  {title:<width$}  {:>9}", in_words(*took));
        }
        println!("  {:<width$}  {:>9}", "all", in_words(total));
    }

    fn timed(&mut self, step: &Step, work: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        println!("\n==> {}", step.typed());
        let start = Instant::now();
        let result = work(self);
        let took = start.elapsed();
        self.done.push((step.title.clone(), took));
        println!("    {} {} after {}", step.title, if result.is_ok() { "done" } else { "FAILED" }, in_words(took));
        result
    }

    fn spawn(&self, step: &Step, stdout: Stdio) -> anyhow::Result<Child> {
        io::stdout().flush().context("standard output is closed")?;
        let mut command = command(&step.program);
        command.args(&step.args).current_dir(&self.directory).stdin(Stdio::null()).stdout(stdout);
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command.envs(step.env.iter().map(|(key, value)| (key, value)));
        command.spawn().with_context(|| format!("cannot start {:?}; is it installed?", step.program))
    }
}

/// A program without the settings that `cargo run` adds for us: some build scripts watch them, and would rebuild their crates
/// each time that cargo is called from here and by hand in turn.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(is_set_by_cargo) {
            command.env_remove(key);
        }
    }
    command
}

fn is_set_by_cargo(key: &str) -> bool {
    matches!(key, "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR")
        || key.starts_with("CARGO_PKG_")
        || key.starts_with("CARGO_MANIFEST_")
}

/// Minutes and seconds, or seconds with one digit.
pub fn in_words(took: Duration) -> String {
    let seconds = took.as_secs();
    if seconds < 60 {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

fn finish(step: &Step, mut child: Child) -> anyhow::Result<()> {
    let status = child.wait().with_context(|| format!("lost sight of {}", step.title))?;
    if status.success() {
        return Ok(());
    }
    Err(StepFailed { title: step.title.clone(), code: status.code() }.into())
}

fn read_lines(child: &mut Child, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> anyhow::Result<()> {
    let Some(stdout) = child.stdout.take() else { return Ok(()) };
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = io::Read::take(&mut reader, LINE_BYTES_MAX).read_until(b'\n', &mut line).context("broken pipe")?;
        if read == 0 {
            return Ok(());
        }
        each(&line).context("standard output is closed")?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn sh(script: &str) -> Step {
        Step { title: "script".into(), program: "sh".into(), args: vec!["-c".into(), script.into()], env: Vec::new() }
    }

    #[test]
    fn closing_lines_are_summed() {
        let mut counts = TestCounts::default();
        counts.count("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.31s");
        counts.count(
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n",
        );
        counts.count("test a::b ... ok");
        counts.count("test result: gibberish. 99999999999999999999999 passed; x failed");
        counts.count("a line that quotes 'test result: ok. 5 passed'");
        assert_eq!(counts, TestCounts { passed: 14, failed: 3, skipped: 1 });
        assert_eq!(counts.to_string(), "14 passed, 3 failed, 1 skipped");
        assert_eq!(TestCounts::default().to_string(), "0 passed, 0 failed");
    }

    #[test]
    fn a_failure_keeps_its_status_and_its_tests() {
        let mut runner = Runner::new(Path::new("."));
        let mut out = Vec::new();
        let step = sh("echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101");
        let error = runner.run_counting(&step, &mut out).expect_err("status 101");
        assert!(out.starts_with(b"test result: FAILED."));
        assert_eq!(status_of(&error), 101);
        assert_eq!(runner.tests(), TestCounts { passed: 1, failed: 2, skipped: 0 });
        assert_eq!(status_of(&runner.run(&sh("kill -9 $$")).expect_err("killed")), 1);
        assert_eq!(status_of(&anyhow::anyhow!("anything else")), 1);
    }

    #[test]
    fn settings_reach_the_program_and_its_lines_come_back() {
        let mut runner = Runner::new(Path::new("."));
        runner.set_env("XTASK_OUTER", "1");
        let mut lines = Vec::new();
        runner
            .run_reading(&sh("echo $XTASK_OUTER$XTASK_INNER; cat").with_env("XTASK_INNER", "2"), |line| {
                lines.push(line.trim().to_owned());
            })
            .unwrap();
        assert_eq!(lines, ["12"], "and standard input was empty, or this would hang");
    }

    #[test]
    fn a_missing_program_is_named() {
        let step = Step { program: "no-such-program-here".into(), ..sh("") };
        let error = Runner::new(Path::new(".")).run(&step).expect_err("missing");
        assert!(format!("{error:#}").contains("no-such-program-here"));
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(in_words(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(in_words(Duration::from_secs(725)), "12 min 05 s");
    }

    #[test]
    fn cargos_own_settings_stop_here() {
        assert!(is_set_by_cargo("CARGO_PKG_VERSION") && is_set_by_cargo("CARGO_MANIFEST_DIR"));
        assert!(!is_set_by_cargo("CARGO_TARGET_DIR") && !is_set_by_cargo("CARGO_HOME") && !is_set_by_cargo("PATH"));
    }
}
