//! The words of Manyhands: identifiers, segment sizes, wire messages, worker frames and their limits.
//!
//! This crate is pure and total. It has no clock, socket, thread or global, and its decoders accept any bytes: they answer with a
//! value or a [`codec::DecodeError`], never with a panic, and never allocate by a number that the bytes merely state.

mod bounded;
pub mod codec;
pub mod ids;
pub mod limits;
pub mod message;
pub mod po2;
pub mod score;
pub mod unit;
pub mod worker;

pub use codec::{DecodeError, decode, encode};
pub use ids::{Binding, BlobRef, Digest, JobId, NodeId, Nonce, Reference, Seed};
pub use po2::Po2;
pub use score::{Score, SignedScore};
pub use unit::{LeaseId, SegmentRange, Unit};
