//! The hive: [Bee](https://docs.ethswarm.org)'s HTTP API over a daemon's own chunk store, so that programs made for a
//! Swarm node, `bee-js` above all, can store and fetch here. Serves step II, where blobs are stored.
//!
//! | module | calls |
//! |---|---|
//! | [`about`] | `/`, `/health`, `/readiness`, `/node`, `/chainstate` |
//! | [`bytes`] | `POST /bytes`, `GET` and `HEAD /bytes/{reference}` |
//! | [`chunks`] | `POST /chunks`, `GET` and `HEAD /chunks/{address}`, `POST /soc/{owner}/{id}` |
//! | [`bzz`] | `POST /bzz`, `GET` and `HEAD /bzz/{reference}/{path}`: files and folders |
//! | [`pins`], [`stewardship`] | `/pins`, `/stewardship/{reference}` |
//! | [`stamps`], [`tags`] | `/stamps`, `/tags` |
//!
//! Every path is there below `/v1` too. What this store is not is answered with 501 and a sentence: it has no chain, no
//! peers of Swarm's, no feeds.
//!
//! # What differs from a Bee
//! - Batches are bookkeeping ([`batches`]): nobody is paid. What is uploaded stays while its batch lives, which the
//!   amount and the depth say as for a real one; then it is cache. One batch is there from the start.
//! - "The network" is this store: an upload is on disk when it is answered, deferred or not, and a tag is full at once.
//! - An encrypted blob is pinned by its address; the list of pins does not show keys, since none are kept.
//! - Without the header `swarm-redundancy-level` the level is the configured one; the same reference as this program's
//!   own takes 0, and a Bee from 2.8.1 would take 1.
//!
//! # Trust
//! There are no passwords: the door belongs on loopback, and pages of strangers in a browser are turned away as at the
//! gateway's door. Bodies are bounded, spooled to disk, and stored only when they are complete; a tar is looked through
//! before any of it is stored, and of an upload that fails nothing stays. Only where all is stored and the pin that was asked
//! for with it fails, the upload stays with its batch, unpinned.
//!
//! # What this crate must never do
//! Answer an upload before it is on disk, keep or log the key of an encrypted reference, or hold the store's only
//! writer while a client is slow.

pub mod about;
pub mod batches;
pub mod bytes;
pub mod bzz;
pub mod chunks;
mod deliver;
mod headers;
mod hive;
mod look;
pub mod pins;
mod range;
mod refusal;
mod router;
mod spool;
pub mod stamps;
pub mod stewardship;
pub mod tags;
mod upload;

pub use batches::{BatchBook, BatchError};
pub use hive::{Hive, HiveOptions, serve};
