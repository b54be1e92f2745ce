//! What can go wrong on reading, by whose fault: [`SupplyError`] is of the one who sent the bytes, [`ReadError`] of the
//! blob.

use manyhands_proto::Reference;

use crate::chunk::ChunkError;
use crate::soc::SocError;

/// Why bytes were not taken. The reader stays as it was: another holder may have the chunk, or it is
/// [`lost`](crate::Reader::lost).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SupplyError {
    /// Nobody asked for it, or it came already.
    #[error("chunk {reference} is not wanted")]
    Unwanted {
        /// The address given.
        reference: Reference,
    },
    /// The bytes are not the chunk.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The bytes are not the replica.
    #[error(transparent)]
    Replica(#[from] SocError),
    /// The replica is genuine, but another chunk is inside.
    #[error("the replica holds chunk {got}, not the root {expected}")]
    AnotherRoot {
        /// The root looked for.
        expected: Reference,
        /// The chunk inside.
        got: Reference,
    },
}

/// Why a blob cannot be read. The reader is of no use after that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Found before anything but the root was asked for.
    #[error("the blob has {size_bytes} bytes, more than the {max_bytes} allowed")]
    TooLarge {
        /// The size that the root states.
        size_bytes: u64,
        /// The caller's bound.
        max_bytes: u64,
    },
    /// The root, or more of a group than its parities make good for.
    #[error(
        "chunk {reference} is lost, and what is left of its {group_chunks} siblings and parities cannot restore it"
    )]
    Lost {
        /// The first chunk lost.
        reference: Reference,
        /// Chunks of its group.
        group_chunks: usize,
    },
    /// Restored bytes that are not the chunk: the parities were not made of these siblings.
    #[error("chunk {reference} was restored from its siblings, and came out wrong: its parities are false")]
    Parity {
        /// The chunk's address.
        reference: Reference,
    },
    /// A level that does not exist, or another than the root's.
    #[error("chunk {reference} has the span {raw:#018x}, whose redundancy level has no place in this tree")]
    Level {
        /// The chunk's address.
        reference: Reference,
        /// Its span as a number.
        raw: u64,
    },
    /// A span that is not its share of the parent's.
    #[error("chunk {reference} states {stated_bytes} bytes below it where its parent leaves {due_bytes}")]
    Span {
        /// The chunk's address.
        reference: Reference,
        /// Its span.
        stated_bytes: u64,
        /// The span required.
        due_bytes: u64,
    },
    /// Bytes beyond the payload that its span prescribes.
    #[error("chunk {reference} has more than the {due_bytes} bytes of payload that its span needs")]
    Payload {
        /// The chunk's address.
        reference: Reference,
        /// The length required.
        due_bytes: usize,
    },
}
