//! The daemons: a gateway and a prover node around the pure rules, and the worker process that they host.
//!
//! A daemon is one event loop. It turns network events, finished tasks and the clock into inputs of its state machine, and the
//! machine's commands into tasks. It decides nothing about jobs itself, and it never awaits the network or the disk inside the loop.

pub mod benchmark;
pub mod config;
pub mod data_dir;
pub mod error;
pub mod gateway;
pub mod machine;
pub mod proofs;
pub mod prover;
pub mod scores;
pub mod worker;

mod bee_door;
mod blobs;
mod clock;
mod providers;
mod store;
mod swarm;

/// The Bee node of the client's own tests, which plays back what real ones were seen to do.
#[cfg(test)]
#[path = "../../bee/tests/bee/support.rs"]
#[allow(dead_code)]
mod stub;

#[cfg(test)]
mod loopback;

pub use config::{Config, ConfigError};
pub use error::StartError;
pub use manyhands_net::node_of_text;
pub use store::open as open_store;
