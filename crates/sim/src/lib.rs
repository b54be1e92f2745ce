//! The simulator: the real state machines of gateways and nodes (steps I to VI) in a discrete-event world on virtual time.
//!
//! Nothing here reads a clock, opens a socket or draws a number that the seed does not decide; the same scenario and seed give the
//! same event log on every machine.

mod book;
mod bound;
mod draw;
mod figures;
mod fleet;
mod link;
mod log;
mod oracle;
mod queue;
pub mod record;
pub mod report;
pub mod scenario;
mod world;

pub use fleet::villains;
pub use oracle::Violation;
pub use record::Run;
pub use scenario::{Scenario, ScenarioError};
pub use world::run;
