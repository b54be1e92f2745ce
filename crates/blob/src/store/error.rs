//! What can go wrong in the store, in the words of the person who has to act on it.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use manyhands_proto::Reference;

use crate::read::ReadError;

/// A refusal or failure of the store. None of them is a peer's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file is locked by another opener.
    #[error("the chunk store {} is already open; stop the other daemon or give this one its own data directory", path.display())]
    AlreadyOpen {
        /// The store's file.
        path: PathBuf,
    },
    /// The file cannot be opened, or is no chunk store.
    #[error("cannot open the chunk store {}; check that the folder exists and is writable and that the file is a chunk store", path.display())]
    Open {
        /// The store's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// A newer version of this program wrote the file; older formats are migrated.
    #[error(
        "the chunk store has format {found}, this program reads format {wanted}; use the program that wrote it, or a new data directory"
    )]
    Format {
        /// The format in the file.
        found: u64,
        /// The format of this program.
        wanted: u64,
    },
    /// The limit is reached, also without the cache. Nothing held or pinned is ever evicted.
    #[error(
        "the chunk store is full: {used_bytes} bytes used or reserved of {limit_bytes}, {needed_bytes} more needed; \
         remove finished jobs or raise the store's limit"
    )]
    Full {
        /// Bytes kept and bytes reserved.
        used_bytes: u64,
        /// The store's limit.
        limit_bytes: u64,
        /// Bytes that the refused chunk or download needs.
        needed_bytes: u64,
    },
    /// The disk has no room, whatever the store's limit says.
    #[error("the disk or quota below the chunk store is full; free some space, then try again")]
    DiskFull {
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The room on the disk is below the floor that was set. Nothing new is taken; what is here can be read and deleted.
    #[error(
        "the disk below the chunk store has {free_bytes} bytes free, and the store leaves {floor_bytes} alone; \
         free some space on the disk, then try again"
    )]
    LowSpace {
        /// Bytes free on the disk.
        free_bytes: u64,
        /// Bytes that must stay free.
        floor_bytes: u64,
        /// Bytes of chunks that would have to leave the store for what was refused to find room, as far as it was known: of a reader's
        /// bytes only those that had come.
        missing_bytes: u64,
    },
    /// The tree is not here as a whole.
    #[error("of the tree {reference} {missing_count} chunks or more are missing here; fetch or store it again")]
    Incomplete {
        /// The root.
        reference: Reference,
        /// The first 100 chunks that miss. What is below a missing interior chunk is not known.
        missing: Vec<Reference>,
        /// The number of chunks known to miss.
        missing_count: u64,
    },
    /// There is no readable tree at this reference.
    #[error("there is no tree at {reference} that can be read")]
    Malformed {
        /// The root.
        reference: Reference,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The blob is not here, or not complete.
    #[error("blob {reference} is not in the store")]
    NotFound {
        /// The blob.
        reference: Reference,
    },
    /// The blob is here, and its size is not the stated one; a reference has only one size.
    #[error("blob {reference} has {stored_bytes} bytes, not the {stated_bytes} that were stated with it")]
    SizeMismatch {
        /// The blob.
        reference: Reference,
        /// The size asked for.
        stated_bytes: u64,
        /// The true size.
        stored_bytes: u64,
    },
    /// The blob is larger than the caller allows.
    #[error("the blob has {size_bytes} bytes or more, at most {max_bytes} are allowed here")]
    TooLarge {
        /// The size, as far as it is known.
        size_bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// A chunk is missing or not what was stored. The bytes were not returned.
    #[error("chunk {reference} in the store is damaged or lost; check the disk, discard the blob and fetch it again")]
    Corrupt {
        /// The chunk.
        reference: Reference,
    },
    /// Another [`Download`](super::Download) of this process works on the same blob.
    #[error("blob {reference} is being downloaded already; wait for that download")]
    DownloadActive {
        /// The blob.
        reference: Reference,
    },
    /// The download was discarded, or its owner released, while it ran.
    #[error("the download of blob {reference} was discarded meanwhile; begin it again if it is still wanted")]
    DownloadGone {
        /// The blob.
        reference: Reference,
    },
    /// The reader that was to be stored failed.
    #[error("the data to be stored could not be read")]
    Source {
        /// The reader's error.
        #[source]
        source: io::Error,
    },
    /// The disk failed.
    #[error("the disk below the chunk store failed")]
    Io {
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The database failed, or found itself damaged.
    #[error("the chunk store's database failed; if it persists, move the file away and start with a new one")]
    Database {
        /// The database's error.
        #[source]
        source: Box<redb::Error>,
    },
    /// The thread that worked on the store ended before its work did.
    #[error("work on the chunk store was interrupted; the program is shutting down or met a defect")]
    Interrupted,
}

impl StoreError {
    /// Whether it says that a tree is not here, or not whole. Whatever else the store says, of the disk say, tells nothing of the tree.
    pub const fn is_absence(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Malformed { .. } | Self::Corrupt { .. } | Self::Incomplete { .. })
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(source) if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                Self::DiskFull { source }
            }
            redb::Error::Io(source) => Self::Io { source },
            error => Self::Database { source: Box::new(error) },
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}
from_redb!(StorageError, TableError, TransactionError, CommitError, DatabaseError);
