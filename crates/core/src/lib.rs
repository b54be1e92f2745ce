//! The rules of Manyhands, as two pure state machines: [`Requester`] (the gateway, steps I to VI of the paper) and
//! [`Prover`] (the other side of steps III and IV).
//!
//! Nothing here reads a clock, opens a socket, spawns a thread or draws a random number. Time and messages come in, commands go
//! out, and the same inputs always give the same commands; so the daemon and the simulator run this very code. Both machines
//! have the same five verbs: `handle(now, input)`, `handle_timeout(now)`, `poll_command`, `poll_event` (the requester) and
//! `poll_timeout`, which names the reason of each wake-up.

pub mod audit;
mod bids;
mod binder;
pub mod capacity;
pub mod explain;
pub mod gateways;
mod holding;
pub mod job;
pub mod neighbour;
pub mod peers;
pub mod policy;
pub mod proof;
pub mod prover;
mod ranges;
pub mod reputation;
pub mod requester;
pub mod room;
pub mod scores;
pub mod sizing;
mod text;
pub mod time;
mod timers;
mod verifiers;
pub mod view;

pub use binder::Binder;
pub use job::{
    Assumption, Check, ExecutionInfo, JobSpec, Outcome, Parts, Priority, Receipted, RequestInfo, Restored, SegmentInfo,
    Tally, sibling,
};
pub use peers::Origin;
pub use policy::Policy;
pub use proof::{Checked, ProofSystem, Refusal};
pub use prover::Prover;
pub use reputation::{Ruling, Standing, Verdict};
pub use requester::Requester;
pub use room::Room;
pub use sizing::{Sizing, Survey};
pub use time::Time;
