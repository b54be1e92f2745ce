//! How a command fails: a sentence on what and why, a hint on what to do, and an exit status.

use std::error::Error;
use std::process::ExitCode;

use manyhands_api::{ClientError, ProblemKind};
use manyhands_blob::{ReadError, StoreError};
use manyhands_node::worker::WorkerError;
use manyhands_node::{ConfigError, StartError};
use manyhands_proto::worker;
use manyhands_zkvm::ProgramError;
use serde::Serialize;

use crate::screen;

/// The exit statuses that are not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The job, the check or the daemon failed.
    Failed = 1,
    /// Wrong options or input.
    Usage = 2,
    /// No gateway was reached.
    Unreachable = 3,
    /// The user pressed Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, and why.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What the process ends with.
    pub exit: Exit,
}

#[derive(Serialize)]
struct FailureJson<'a> {
    error: &'a str,
    hint: Option<&'a str>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit }
    }

    /// The job, the check or the daemon failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Wrong options or input.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on stderr, and as JSON on stdout if that was asked for.
    pub fn report(&self, as_json: bool) -> ExitCode {
        let paint = screen::Paint::stderr();
        let word = if self.exit == Exit::Interrupted { "interrupted" } else { "error" };
        screen::err(&format!("{} {}", paint.red(&format!("{word}:")), self.message));
        if let Some(hint) = &self.hint {
            screen::err(&format!("{} {hint}", paint.bold("hint:")));
        }
        if as_json {
            screen::json(&FailureJson { error: &self.message, hint: self.hint.as_deref() });
        }
        self.exit.into()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable { .. } | ClientError::NotAGateway { .. } => Exit::Unreachable,
            ClientError::Address { .. } => Exit::Usage,
            ClientError::Problem(problem) => of_problem(problem.kind),
            _ => Exit::Failed,
        };
        Self { message: error.to_string(), hint: error.hint().map(str::to_owned), exit }
    }
}

fn of_problem(kind: ProblemKind) -> Exit {
    match kind {
        ProblemKind::Invalid | ProblemKind::NotFound | ProblemKind::Unfit | ProblemKind::TooLarge => Exit::Usage,
        ProblemKind::Unauthorized
        | ProblemKind::TooMany
        | ProblemKind::Forbidden
        | ProblemKind::NotAllowed
        | ProblemKind::TooSlow
        | ProblemKind::Internal
        | ProblemKind::Busy
        | ProblemKind::NoSpace => Exit::Failed,
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = if matches!(error, StartError::GatewayAddress { .. }) { Exit::Usage } else { Exit::Failed };
        Self::new(exit, error.to_string())
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Failed(worker::Failure::Program(why)) => {
                Self::usage(format!("the program cannot be run: {why}"))
            }
            error => Self::failed(error.to_string()),
        }
    }
}

impl From<ProgramError> for Failure {
    fn from(error: ProgramError) -> Self {
        let hint = match &error {
            ProgramError::BareElf => {
                Some("add --wrap, or make a program binary once with `manyhands wrap ELF -o PROGRAM.bin`")
            }
            ProgramError::Malformed { .. } => Some("copy or build the file again"),
            _ => None,
        };
        Self { message: error.to_string(), hint: hint.map(str::to_owned), exit: Exit::Usage }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::NotFound { .. }
            | StoreError::SizeMismatch { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Source { .. }
            | StoreError::Malformed { source: ReadError::TooLarge { .. }, .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        let hint = match &error {
            StoreError::NotFound { .. } => Some("`manyhands blob ls` shows what is there"),
            StoreError::Malformed { source: ReadError::TooLarge { .. }, .. } => {
                Some("allow more with --max-bytes; what is encrypted needs its whole reference of 128 digits")
            }
            StoreError::Malformed { source: ReadError::Lost { .. } | ReadError::Parity { .. }, .. }
            | StoreError::Corrupt { .. } => Some("`manyhands blob scrub` says what is damaged, and what to do"),
            StoreError::Malformed { .. } => Some("what is encrypted needs its whole reference of 128 digits"),
            StoreError::LowSpace { .. } => Some("or lower store_floor_bytes in the configuration file"),
            StoreError::Incomplete { .. } => Some("`manyhands blob put` stores all of a file"),
            _ => None,
        };
        Self { message: with_causes(&error), hint: hint.map(str::to_owned), exit }
    }
}

/// An error and what it comes from, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
