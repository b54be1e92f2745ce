//! The bytes of Manyhands: blobs in Swarm's format, where they are kept, and how they travel.
//!
//! A *blob* is a segment, a receipt, a program or an input. It is cut into *chunks* of 4096 bytes; each has a
//! keccak-256 address from a binary Merkle tree (BMT), and interior chunks hold up to 128 addresses each. The address
//! of the topmost chunk is the blob's [`Reference`](manyhands_proto::Reference), equal to the one that a Bee node
//! computes, at each of its redundancy levels. Manyhands itself sends level 0, where size and reference say all.
//!
//! | module | what it is |
//! |---|---|
//! | [`chunk`] | [`Chunk`]: payload, span and address that belong together; no other kind can be made |
//! | [`shape`] | the tree's shape, which follows from size and scheme (level, encryption) |
//! | [`split`] | bytes in, chunks out, in constant memory |
//! | [`walk`] | which chunk comes next, in pre-order, and whether the one at hand fits: level 0, size known |
//! | [`read`] | a blob from its reference alone, of any scheme, with chunks missing |
//! | [`redundancy`] | Bee's levels: parities, and replicas of the root |
//! | [`encryption`] | chunks that only the reference opens |
//! | [`manifest`] | paths below one reference: Bee's mantaray, for files and folders of its API |
//! | [`soc`] | single-owner chunks, which a signature puts at their address |
//! | [`store`] | [`ChunkStore`]: blobs, trees and chunks on disk, shared and counted, bounded, pinned or cached, resumable downloads |
//! | [`transfer`] | `/manyhands/blob/2`: [`fetch`](transfer::fetch) from one, [`fetch_shared`](transfer::fetch_shared) from several at once, and [`BlobServer`](transfer::BlobServer), over any byte stream |
//!
//! # Trust
//! A stranger sends chunks. [`Chunk::verify`] recomputes the address, and [`Walk`] holds every chunk against the tree
//! that the expected size prescribes; only then does the store keep it. Of what comes from elsewhere the size may not be
//! known: a [`Reader`] takes it from the root, within the caller's bound, and holds the tree against that. On reading, the store verifies again, so a
//! bad disk shows as an error and never as wrong bytes. Nothing here allocates by a number that a peer sent.
//!
//! # What this crate must never do
//! Dial or listen, decide whom to ask, evict a blob that somebody holds, or return bytes that it did not verify.
//!
//! # Example
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use manyhands_blob::{ChunkStore, Owner};
//!
//! let folder = tempfile::tempdir()?;
//! let store = ChunkStore::open(&folder.path().join("chunks.redb"), 1 << 30)?;
//! let job = Owner::new("job 7")?;
//! let blob = store.put_blob(&job, b"hello world")?;
//! assert_eq!(blob.reference.short(), "92672a47");
//! assert_eq!(store.read_blob(&blob, 1024)?, b"hello world");
//! store.release(&job, &blob.reference)?;
//! assert!(!store.has(&blob)?);
//! # Ok(())
//! # }
//! ```

mod any;
mod bmt;
pub mod chunk;
pub mod encryption;
mod keccak;
pub mod manifest;
pub mod read;
pub mod redundancy;
pub mod seal;
pub mod shape;
pub mod soc;
pub mod split;
pub mod store;
pub mod transfer;
pub mod walk;

pub use any::{AnyChunk, AnyReference, NotAReference};
pub use chunk::{Chunk, ChunkError};
pub use read::{ReadError, Reader, Step, SupplyError};
pub use split::{Splitter, reference_of};
pub use store::{ChunkStore, Owner, StoreError};
pub use walk::{Expected, ShapeError, Walk};
