//! `manyhands blob`: Swarm references and the chunk store from the command line (step II). It needs no daemon; those of its commands that
//! open a store have it for themselves meanwhile.

mod damage;
mod gc;
mod get;
mod ls;
mod pin;
mod put;
mod reference;
mod refs;
mod rm;
mod scrub;
mod source;
mod store;

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::interrupt::unless_interrupted;
use crate::screen;

/// What can be done with blobs.
#[derive(Debug, Subcommand)]
pub enum BlobCommand {
    /// Computes Swarm references, without a store: the same as a Bee node's.
    Ref(refs::RefArgs),
    /// Stores a file, and prints its reference.
    Put(put::PutArgs),
    /// Writes what is at a reference to standard output or a file.
    Get(get::GetArgs),
    /// Lists what the store has, who keeps it, and how full the store is.
    Ls(ls::LsArgs),
    /// Keeps what is at a reference until it is unpinned, whoever lets go of it.
    Pin(pin::PinArgs),
    /// Ends a pin. What nobody else holds stays until its room is needed.
    Unpin(pin::PinArgs),
    /// Removes what was put, and says so if others keep it.
    Rm(rm::RmArgs),
    /// Gives up old downloads, removes what nothing needs, and makes the store's file smaller.
    Gc(gc::GcArgs),
    /// Verifies every chunk in the store.
    Scrub(scrub::ScrubArgs),
}

/// What a command has to say at its end.
#[derive(Debug)]
struct Outcome {
    /// For standard output; nothing if it is empty.
    text: String,
    /// For standard error.
    note: Option<String>,
    /// For standard output in place of the text, if that was asked for.
    json: Value,
    exit: ExitCode,
}

impl Outcome {
    /// The end of a command that did what it was asked.
    fn done(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), note: None, json, exit: ExitCode::SUCCESS }
    }

    /// Adds a sentence that is not the result.
    fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

impl BlobCommand {
    /// Whether standard output is for a program.
    pub const fn wants_json(&self) -> bool {
        match self {
            Self::Ref(args) => args.json,
            Self::Put(args) => args.json,
            Self::Get(args) => args.json,
            Self::Ls(args) => args.json,
            Self::Pin(args) | Self::Unpin(args) => args.json,
            Self::Rm(args) => args.json,
            Self::Gc(args) => args.json,
            Self::Scrub(args) => args.json,
        }
    }

    async fn outcome(self) -> Result<Outcome, Failure> {
        match self {
            Self::Get(args) => get::run(args).await,
            Self::Ref(args) => off_thread(move || refs::run(&args)).await,
            Self::Put(args) => off_thread(move || put::run(&args)).await,
            Self::Ls(args) => off_thread(move || ls::run(&args)).await,
            Self::Pin(args) => off_thread(move || pin::pin(&args)).await,
            Self::Unpin(args) => off_thread(move || pin::unpin(&args)).await,
            Self::Rm(args) => off_thread(move || rm::run(&args)).await,
            Self::Gc(args) => off_thread(move || gc::run(&args)).await,
            Self::Scrub(args) => off_thread(move || scrub::run(&args)).await,
        }
    }
}

/// Does it, unless the user ends it first.
pub async fn run(command: BlobCommand) -> Result<ExitCode, Failure> {
    let wants_json = command.wants_json();
    damage::listen();
    // The store is as after a crash then: what was not committed is not there.
    let stopped = || Failure::new(Exit::Interrupted, "stopped; what was not complete is not kept");
    let outcome = unless_interrupted(command.outcome(), stopped).await?;
    if let Some(note) = outcome.note {
        screen::err(&note);
    }
    if wants_json {
        screen::json(&outcome.json);
    } else if !outcome.text.is_empty() {
        screen::out(&outcome.text);
    }
    Ok(outcome.exit)
}

/// Does what blocks, on the disk or on a core, where it does not keep signals from being seen.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| damage::failure())?
}
