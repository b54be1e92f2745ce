//! What ends a transfer, and whose fault it is.

use std::io;
use std::time::Duration;

use manyhands_proto::message::Blame;

use super::{Status, WireError};
use crate::{ChunkError, ReadError, ShapeError, StoreError};

/// Why a blob was not fetched. What was verified before it is kept; asking again resumes there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The stated size is above what this side takes; nobody was asked.
    #[error("the blob is said to have {size_bytes} bytes, at most {max_bytes} are taken")]
    TooLarge {
        /// The stated size.
        size_bytes: u64,
        /// The bound: [`TransferLimits::blob_bytes_max`](super::TransferLimits::blob_bytes_max), for an encrypted one
        /// [`SEALED_BYTES_MAX`](super::SEALED_BYTES_MAX) if that is less.
        max_bytes: u64,
    },
    /// The holder gave no chunks.
    #[error("the holder refused: {status:?}")]
    Refused {
        /// Its answer.
        status: Status,
    },
    /// The status is none of this protocol.
    #[error("the holder does not speak this protocol")]
    Answer(#[source] WireError),
    /// A chunk was announced with a length that it cannot have.
    #[error("chunk {chunk} was announced with {got_bytes} bytes, it has {due_bytes}")]
    Length {
        /// Its number in pre-order.
        chunk: u64,
        /// The length announced.
        got_bytes: usize,
        /// The length that the tree prescribes.
        due_bytes: usize,
    },
    /// A chunk's bytes are wrong.
    #[error("chunk {chunk} is wrong")]
    Chunk {
        /// Its number in pre-order.
        chunk: u64,
        /// In what way.
        #[source]
        source: ChunkError,
    },
    /// A chunk is genuine but cannot be part of a blob of that size.
    #[error("chunk {chunk} does not fit the blob's size")]
    Shape {
        /// Its number in pre-order.
        chunk: u64,
        /// In what way.
        #[source]
        source: ShapeError,
    },
    /// A chunk of an encrypted tree is genuine, but the tree was not made right.
    #[error("chunk {chunk} is not part of an encrypted blob of that size")]
    Malformed {
        /// Its number in the order in which they are sent.
        chunk: u64,
        /// In what way.
        #[source]
        source: ReadError,
    },
    /// Not one byte came for that long.
    #[error("the holder was silent for {waited:?}")]
    Silent {
        /// The time waited.
        waited: Duration,
    },
    /// Bytes came too slowly.
    #[error("the holder sent {got_bytes} bytes in {waited:?}, at least {due_bytes} were due")]
    TooSlow {
        /// The time measured over.
        waited: Duration,
        /// Bytes that came in it.
        got_bytes: u64,
        /// Bytes that were due in it.
        due_bytes: u64,
    },
    /// The stream ended in the middle.
    #[error("the stream ended after {chunks} of {chunk_count} chunks")]
    CutShort {
        /// Chunks that are here now.
        chunks: u64,
        /// Chunks of the whole blob.
        chunk_count: u64,
    },
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// Our own store refused or failed.
    #[error("the blob could not be kept")]
    Store(#[from] StoreError),
}

impl FetchError {
    /// Who is at fault.
    ///
    /// A stream that ends early or breaks is nobody's fault here: a lost connection looks the same (yamux reports it
    /// as an end of stream). A caller that sees the connection alive may judge otherwise. Likewise for silence the
    /// other way round. Refusals and a size above the bound cost the holder nothing: the blame is with whoever stated
    /// that the blob is there, or its size, or made it, and only the caller knows who that was.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Store(_) | Self::Refused { status: Status::Malformed } => Blame::Us,
            Self::Malformed { .. }
            | Self::TooLarge { .. }
            | Self::Refused { .. }
            | Self::CutShort { .. }
            | Self::Io(_) => Blame::Network,
            Self::Answer(_) | Self::Length { .. } | Self::Chunk { .. } | Self::Shape { .. } => Blame::Peer,
            Self::Silent { .. } | Self::TooSlow { .. } => Blame::Peer,
        }
    }
}

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The request was none of this protocol; the asker was told.
    #[error("the asker's request makes no sense")]
    Request(#[source] WireError),
    /// The asker did not send its request, or did not take what it asked for in time.
    #[error("the asker was not done after {waited:?}")]
    Stalled {
        /// The time it was given.
        waited: Duration,
    },
    /// The connection failed or was closed, as when the asker has enough.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// Our own store failed; the asker was told that the blob is not here, or its stream ended.
    #[error("the blob could not be read")]
    Store(#[from] StoreError),
}

impl ServeError {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Request(_) | Self::Stalled { .. } => Blame::Peer,
            Self::Io(_) => Blame::Network,
            Self::Store(_) => Blame::Us,
        }
    }
}
