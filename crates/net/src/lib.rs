//! The wires of Manyhands: peers, their messages, job notices and blob streams, over libp2p.
//!
//! This is the only crate that names libp2p. It turns bytes into the messages of `manyhands-proto` and back, finds peers, bounds
//! what they may cost, and reports who broke the protocol. It never decides anything about jobs, leases or standing: a peer that
//! misbehaves is named in [`NetEvent::Misbehaved`] and stays connected until the node calls [`Net::block`] or
//! [`Net::disconnect`].
//!
//! [`start`] spawns one task that owns every socket. [`Net`] is a handle to it, cheap to clone; what happens comes out of the one
//! bounded receiver of [`NetEvent`].
//!
//! # The rule for whoever drains the events
//! Events are never dropped. When the receiver is full the task stops reading from the network, so peers feel the pressure, and
//! goes on taking commands. [`Net::request`], [`Net::dial`], [`Net::connect_to`] and [`Net::open_blob_stream`] wait for the
//! network; **the task that drains the receiver must not await them itself** but spawns them. Should it do so all the same, they
//! end with their timeout instead of hanging for ever. Every other method, and [`Reply::send`], completes without the network.
//!
//! Dropping the receiver, or the last [`Net`], closes all connections and ends the task.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod address;
mod admission;
mod behaviour;
mod blob_stream;
mod codec;
mod config;
mod error;
mod event;
mod gossip;
mod handle;
mod identity;
mod rate;
mod runner;
mod streams;

pub use address::{node_of_text, peer_text, with_node};
pub use blob_stream::BlobStream;
pub use codec::FrameError;
pub use config::{NetConfig, NetLimits};
pub use error::{Cause, DialFailure, NetError, Offence, RequestError, StreamError};
pub use event::{NetEvent, PeerInfo, Reply};
pub use handle::{Net, start};
pub use identity::{Identity, IdentityError};
