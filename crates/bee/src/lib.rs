//! The archive: a client of the user's own [Bee](https://docs.ethswarm.org) node, through which blobs go to Swarm and
//! come back. Serves step II, where blobs are stored.
//!
//! | module | what it is |
//! |---|---|
//! | [`Bee`] | the node: upload, download, batches, pins, stewardship, tags |
//! | [`mode`] | where a daemon keeps its blobs, in the words of its configuration |
//! | [`batch`], [`room`], [`purchase`] | postage: what a batch takes, which is chosen, what to buy if none will do |
//! | [`call`], [`error`] | what Bee's refusals mean; whose fault an error is and what to do |
//! | [`patience`], [`world`] | when a call is tried again; time and chance, handed in |
//!
//! # Trust
//! The node is the user's own, and is believed nothing all the same: versions differ, disks rot, and whatever listens on
//! a port may be something else. What is uploaded must get the reference that was computed here; what is downloaded must
//! hash to what was asked for; each answer has its bound, and no number in one is allocated by.
//!
//! # What this crate must never do
//! Buy or dilute a batch, log a token, return unverified bytes, or ask for another redundancy level than 0.
//!
//! # Example
//! ```no_run
//! # async fn archive() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use std::time::Duration;
//! use manyhands_bee::{Bee, Need, Push, Upload, blob_of};
//!
//! let (bee, about) = Bee::find().await?;
//! println!("{about} at {}", bee.address());
//!
//! let bytes: Arc<[u8]> = Arc::from(&b"hello world"[..]);
//! let blob = blob_of(&bytes).await?;
//! let need = Need { size_bytes: blob.size_bytes, time_to_live: Duration::from_secs(7 * 24 * 3600) };
//! let batch = bee.choose_batch(&need).await?;
//! bee.upload(&blob, &bytes, &Upload { batch: batch.id, pin: true, push: Push::Direct }).await?;
//! assert_eq!(bee.download(&blob, Duration::from_secs(60)).await?, b"hello world");
//! # Ok(())
//! # }
//! ```

mod about;
mod address;
pub mod batch;
pub mod call;
mod client;
mod download;
pub mod error;
mod json;
mod keep;
pub mod mode;
pub mod patience;
pub mod purchase;
pub mod room;
mod source;
mod stamps;
mod upload;
pub mod world;

pub use about::{About, NodeMode};
pub use address::{DEFAULT_ADDRESS, Token};
pub use batch::{Batch, BatchId, Need};
pub use client::{Bee, JSON_BYTES_MAX};
pub use error::{BeeError, Fault};
pub use keep::{PinCheck, Tag};
pub use mode::Mode;
pub use patience::{Patience, Retry};
pub use source::{Pieces, Source, blob_of};
pub use upload::{Push, Upload, Uploaded, Way};
