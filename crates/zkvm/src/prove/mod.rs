//! The executor and the prover: what the worker process runs.
//!
//! Inputs are hostile (a program from a user, a segment from another node), and RISC Zero answers some of them with a panic. So each
//! function here catches panics of the code it calls and turns them into a [`Failure`]; all state of the call is dropped with it.
//! Results are checked as their receiver will check them before they are handed out.
//!
//! It must never run in development mode: options and contexts say so themselves.

mod blob;
mod execute;
mod keccak;
mod recursion;
mod segment;
mod shrink;

pub use blob::summary;
pub use execute::{ExecuteTask, execute};
pub use keccak::{prove_keccak, unite};
pub use recursion::{has_recursion, join, lift, resolve};
pub use segment::prove_segment;
pub use shrink::shrink;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use manyhands_proto::worker::Failure;
use risc0_zkvm::{ProverOpts, ProverServer, get_prover_server};

/// RISC Zero's prover with the options that all nodes use.
fn prover() -> Result<Rc<dyn ProverServer>, Failure> {
    let options = ProverOpts::succinct().with_dev_mode(false);
    get_prover_server(&options).map_err(|error| failed(&error))
}

fn require_recursion() -> Result<(), Failure> {
    if has_recursion() { Ok(()) } else { Err(Failure::NoRecursion) }
}

/// Runs code that may panic on hostile input.
fn guarded<T>(on_panic: fn(String) -> Failure, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // Unwind safety: whatever the closure owned is dropped, and what it borrowed is plain input.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(on_panic(panic_text(panic.as_ref()))))
}

/// The text of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without text".to_owned())
}

fn failed(error: &impl std::fmt::Display) -> Failure {
    Failure::Prover(format!("{error:#}"))
}

fn unusable(error: &impl std::fmt::Display) -> Failure {
    Failure::Input(format!("{error:#}"))
}
