//! The room on the disk below the store, and the floor that new chunks must leave: a full disk is met with an error in
//! time, while there is still room to delete. Reading the room is behind a trait, so that tests can make it up.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;

/// New chunks between two looks at the disk: 4 MB, so that the floor is missed by little more, and the look (one
/// system call) costs nothing beside it.
pub(super) const CHECK_CHUNKS: u64 = 1024;

/// What a file has beside its chunks, however few they are (a new one has 1.6 MB, own measurement), and what deleting takes.
const OVERHEAD_BYTES: u64 = 4 << 20;

/// Tells how much room there is below a store.
pub trait FreeSpace: fmt::Debug + Send + Sync {
    /// Bytes that this process may still write.
    ///
    /// # Errors
    /// The system's.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// The room on the file system that a path is on.
#[derive(Debug, Clone)]
pub struct DiskSpace {
    path: PathBuf,
}

impl DiskSpace {
    /// Of the file system with `path`, which must exist: the store's folder.
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl FreeSpace for DiskSpace {
    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.path)?;
        // What is left to users who are not root.
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// How a store is bounded.
#[derive(Debug)]
pub struct Bounds {
    pub(super) limit_bytes: u64,
    pub(super) floor: Option<Floor>,
}

#[derive(Debug)]
pub(super) struct Floor {
    bytes: u64,
    space: Box<dyn FreeSpace>,
}

impl Bounds {
    /// A store of at most `limit_bytes`, as [`Usage`](super::Usage) counts them, on a disk that nobody watches.
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, floor: None }
    }

    /// Refuses new chunks while `space` has less than `floor_bytes` free. Leave room for deleting, which writes too:
    /// 100 MB is plenty.
    #[must_use]
    pub fn with_floor(self, floor_bytes: u64, space: impl FreeSpace + 'static) -> Self {
        Self { floor: Some(Floor { bytes: floor_bytes, space: Box::new(space) }), ..self }
    }
}

impl Floor {
    /// Refuses if there is not room for `needed_bytes` of chunks: `inside_bytes` of the file, then what the disk has above the floor.
    pub(super) fn require(&self, needed_bytes: u64, inside_bytes: u64) -> Result<(), StoreError> {
        let free_bytes = self.space.free_bytes().map_err(|source| StoreError::Io { source })?;
        let inside_bytes = if may_rewrite(free_bytes, self.bytes) { inside_bytes } else { 0 };
        let growth_bytes = in_file(needed_bytes).saturating_sub(inside_bytes);
        if growth_bytes == 0 && inside_bytes > 0 {
            return Ok(());
        }
        if free_bytes < self.bytes.saturating_add(growth_bytes) {
            return Err(StoreError::LowSpace { free_bytes, floor_bytes: self.bytes });
        }
        Ok(())
    }
}

/// Whether the file's inside may be used anew, or cleared, on a disk that is below its floor. That takes some new room too, and a write that
/// fails on a full disk costs reads as well: redb closes the file then. So a disk that others have filled is left alone.
pub(super) const fn may_rewrite(free_bytes: u64, floor_bytes: u64) -> bool {
    free_bytes >= floor_bytes / 2
}

/// What a file that takes `file_bytes` of the disk, with `kept_bytes` of chunks, takes in before it grows. A file shrinks little when chunks
/// go, except by [`ChunkStore::gc`](super::ChunkStore::gc): their pages wait for others.
pub(super) fn inside_bytes(file_bytes: u64, kept_bytes: u64) -> u64 {
    file_bytes.saturating_sub(in_file(kept_bytes)).saturating_sub(OVERHEAD_BYTES)
}

/// The file is up to 1.25 times as large as its chunks; see [`Usage`](super::Usage).
const fn in_file(chunk_bytes: u64) -> u64 {
    chunk_bytes.saturating_add(chunk_bytes / 4)
}
