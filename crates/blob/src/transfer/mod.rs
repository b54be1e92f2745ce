//! The blob stream protocol `/manyhands/blob/2`: one stream, one blob, verified as it comes.
//!
//! ```text
//! asker:  kind u8 (1 plain, 2 encrypted) | reference 32 bytes | size u64 | skip u32 | take u32   49 bytes, numbers little-endian
//! holder: status u8, and if it is Ok `take` chunks from number `skip` on, in pre-order
//!         (of an encrypted tree backwards: the root, then the children of each, the last one first):
//!         length u16 | span u64 | payload
//! ```
//! The asker knows each chunk's address and length before its first byte comes ([`Walk`](crate::Walk)), so the first
//! wrong byte ends the stream, nothing is allocated by the holder's numbers, and a stream can be cut anywhere and
//! resumed with `skip`. Bytes after the last chunk are not read, and an asker may close the
//! stream before it.
//!
//! [`fetch()`] takes a blob from one holder; [`fetch_shared`] takes a large one from several at once, each giving another part. What comes
//! before its turn is held until the chunk above it proves it, and whoever sent what is not proven so is named.
//!
//! Works over any [`futures::io`] stream; who is asked and how streams are opened is the caller's. Needs a tokio
//! runtime for timers and for the store's blocking calls.

mod ahead;
mod error;
mod fetch;
mod limits;
mod pace;
mod parts;
mod sealed;
mod serve;
mod shared;
mod wire;

pub use error::{FetchError, ServeError};
pub use fetch::{Fetched, fetch};
pub use limits::TransferLimits;
pub use sealed::{SEALED_BYTES_MAX, SealedDownload, fetch_sealed};
pub use serve::{BlobServer, SERVE_BATCH_CHUNKS, Served};
pub use shared::{SHARED_BYTES_MIN, SOURCES_AT_ONCE, Shared, Sources, fetch_shared};
pub use wire::{Kind, REQUEST_BYTES, Request, Status, WireError};

use crate::StoreError;

/// Runs work on the store on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Interrupted))
}
