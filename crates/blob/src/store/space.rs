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
    /// Refuses if a file of `bytes` beside the store would not leave the floor alone.
    pub(super) fn require_beside(&self, bytes: u64) -> Result<(), StoreError> {
        let free_bytes = self.space.free_bytes().map_err(|source| StoreError::Io { source })?;
        let missing_bytes = self.bytes.saturating_add(bytes).saturating_sub(free_bytes);
        if missing_bytes == 0 {
            return Ok(());
        }
        Err(StoreError::LowSpace { free_bytes, floor_bytes: self.bytes, missing_bytes })
    }

    /// Refuses if there is not room for `needed_bytes` of chunks: inside the file, which takes `file_bytes` of the disk and has `kept_bytes` of
    /// chunks, then in what the disk has above the floor without `beside_bytes` of another file.
    pub(super) fn require(
        &self,
        needed_bytes: u64,
        file_bytes: u64,
        kept_bytes: u64,
        beside_bytes: u64,
    ) -> Result<(), StoreError> {
        let free_bytes = self.space.free_bytes().map_err(|source| StoreError::Io { source })?;
        let left_bytes = free_bytes.saturating_sub(beside_bytes);
        let inside_bytes = if may_rewrite(left_bytes, self.bytes) { inside_bytes(file_bytes, kept_bytes) } else { 0 };
        let growth_bytes = in_file(needed_bytes).saturating_sub(inside_bytes);
        if growth_bytes == 0 && inside_bytes > 0 {
            return Ok(());
        }
        if left_bytes < self.bytes.saturating_add(growth_bytes) {
            let room_bytes = file_bytes.saturating_add(left_bytes.saturating_sub(self.bytes));
            let due_bytes = in_file(needed_bytes.saturating_add(kept_bytes)).saturating_add(OVERHEAD_BYTES);
            let missing_bytes = of_file(due_bytes.saturating_sub(room_bytes));
            return Err(StoreError::LowSpace { free_bytes, floor_bytes: self.bytes, missing_bytes });
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
fn inside_bytes(file_bytes: u64, kept_bytes: u64) -> u64 {
    file_bytes.saturating_sub(in_file(kept_bytes)).saturating_sub(OVERHEAD_BYTES)
}

/// The file is up to 1.25 times as large as its chunks; see [`Usage`](super::Usage).
const fn in_file(chunk_bytes: u64) -> u64 {
    chunk_bytes.saturating_add(chunk_bytes / 4)
}

/// The most that a file with so many bytes of chunks takes of the disk.
pub(super) const fn file_bytes(chunk_bytes: u64) -> u64 {
    in_file(chunk_bytes).saturating_add(OVERHEAD_BYTES)
}

/// Chunks that give way to so much of the file, rounded up.
const fn of_file(file_bytes: u64) -> u64 {
    file_bytes.saturating_sub(file_bytes / 5)
}

/// What the cache yields to a write that found no room on the disk, in bytes, if it has as much: a segment's blob and more, so that
/// not each one of many small writes is refused.
const YIELD_BYTES: u64 = 64 << 20;

/// What of `cached_bytes` goes when `missing_bytes` would have to. Nothing if that would not be enough: it would be lost for nothing.
pub(super) fn yield_bytes(missing_bytes: u64, cached_bytes: u64) -> u64 {
    if missing_bytes > cached_bytes { 0 } else { missing_bytes.max(YIELD_BYTES).min(cached_bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u64);

    impl FreeSpace for Fixed {
        fn free_bytes(&self) -> io::Result<u64> {
            Ok(self.0)
        }
    }

    const MB: u64 = 1 << 20;

    #[test]
    fn a_refusal_says_what_would_have_to_go() {
        for (free_bytes, file_bytes, kept_bytes, needed_bytes) in [
            (90 * MB, 100 * MB, 70 * MB, 20 * MB),
            (90 * MB, 100 * MB, 80 * MB, 1),
            (101 * MB, 100 * MB, 70 * MB, 20 * MB),
            (150 * MB, 400 * MB, 320 * MB, 300 * MB),
            (99 * MB, 0, 0, 5_000),
        ] {
            let floor = Floor { bytes: 100 * MB, space: Box::new(Fixed(free_bytes)) };
            let refused = floor.require(needed_bytes, file_bytes, kept_bytes, 0);
            let Err(StoreError::LowSpace { missing_bytes, .. }) = refused else { panic!("{refused:?}") };
            if missing_bytes <= kept_bytes {
                floor.require(needed_bytes, file_bytes, kept_bytes - missing_bytes, 0).unwrap();
            }
            let fewer = kept_bytes - (missing_bytes.min(kept_bytes) - missing_bytes.min(kept_bytes) / 50);
            floor.require(needed_bytes, file_bytes, fewer, 0).unwrap_err();
        }
    }

    /// A file and the store's copy of it both take of the disk, also where either alone would fit.
    #[test]
    fn what_lies_beside_is_counted_with_what_is_stored() {
        let of = |free_bytes| Floor { bytes: 100 * MB, space: Box::new(Fixed(free_bytes)) };
        let floor = of(160 * MB);
        floor.require(40 * MB, 0, 0, 10 * MB).unwrap();
        floor.require(40 * MB, 0, 0, 0).unwrap();
        floor.require_beside(40 * MB).unwrap();
        let refused = floor.require(40 * MB, 0, 0, 40 * MB);
        assert!(
            matches!(refused, Err(StoreError::LowSpace { free_bytes, .. }) if free_bytes == 160 * MB),
            "{refused:?}"
        );
        // Inside the file there is room whatever lies beside it, unless the disk would be too full to use it.
        of(110 * MB).require(40 * MB, 100 * MB, 10 * MB, 40 * MB).unwrap();
        of(110 * MB).require(40 * MB, 100 * MB, 10 * MB, 90 * MB).unwrap_err();
    }

    #[test]
    fn the_cache_yields_as_much_as_is_missing_or_nothing() {
        assert_eq!(yield_bytes(0, 0), 0);
        assert_eq!(yield_bytes(5 * MB, 4 * MB), 0, "it would not be enough");
        assert_eq!(yield_bytes(5 * MB, 5 * MB), 5 * MB);
        assert_eq!(yield_bytes(5 * MB, 500 * MB), 64 * MB);
        assert_eq!(yield_bytes(200 * MB, 500 * MB), 200 * MB);
    }
}
