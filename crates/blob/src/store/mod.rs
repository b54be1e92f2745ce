//! The chunk store: verified chunks in one redb file, shared between blobs and counted, within a size limit.
//!
//! # Promises
//! - A blob appears when it is complete and on disk, all at once. A crash before that leaves no trace of a
//!   [`ChunkStore::put_blob`] and leaves a download where its last saved batch was.
//! - What is kept has a *root*: a blob, a tree of any redundancy level, encrypted or not, or a single chunk. It stays
//!   while any [`Owner`] holds its root or it is pinned, and nothing evicts it. Chunks that roots share are kept once,
//!   and go with the last.
//! - What nobody holds is gone, unless it was released to the cache: that is evicted, oldest use first, when its room is
//!   needed.
//! - At the limit the next chunk is refused with [`StoreError::Full`], which says by how much. A download reserves its
//!   whole size before its first chunk. Where the file would have to grow below the disk's floor
//!   ([`Bounds::with_floor`]) new chunks are refused with [`StoreError::LowSpace`] while reading and deleting go on;
//!   some of the cache goes before that, and leaves them room inside the file. What comes from a reader cannot be
//!   had again, so it is refused then, and finds the room when it comes again.
//! - Every chunk is verified again when read: a bad disk shows as [`StoreError::Corrupt`], never as wrong bytes.
//!
//! # Layout
//! A chunk of 4104 bytes as a value of its own would take 8 KiB of redb's pages, and 3.5 times its size once the file
//! has grown piecemeal (measured). So chunks lie in packs of 15, which fill a 64 KiB page to 95 %: the file has 1.14
//! times the size of 168 blobs of 265 kB. See `pack`, `tables`.
//!
//! # Use
//! All calls block on the disk: async callers go through `spawn_blocking`. Writers take turns; readers see a snapshot
//! and wait for nobody. Clones share one open file.

mod cache;
mod chunks;
mod download;
mod entries;
mod error;
mod file;
mod gc;
mod ledger;
mod list;
mod members;
mod owner;
mod pack;
mod pins;
mod reader;
mod root;
mod roots;
mod scrub;
mod sealed;
mod snapshot;
mod space;
mod sweep;
mod tables;
mod trace;
mod trees;
mod view;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use manyhands_proto::{BlobRef, Reference};

pub use download::{Batch, Download, SAVE_CHUNKS};
pub use entries::{Entry, Kind};
pub use error::StoreError;
pub use gc::Collected;
pub use owner::{Owner, OwnerError};
pub use reader::BlobReader;
pub use scrub::{Corruption, Report};
pub use sealed::SealedReader;
pub use snapshot::{CopyError, Snapshot};
pub use space::{Bounds, DiskSpace, FreeSpace};
pub use trees::TreeReader;
pub use view::{Admission, Partial, Usage};

use crate::chunk::Chunk;
use crate::seal::Seal;
use crate::split::Splitter;
use file::StoreFile;
use ledger::Ledger;
use roots::Last;

/// Bytes taken from a reader at a time: a multiple of the payload that keeps the calls few and the memory small.
const READ_BYTES: usize = 64 * 1024;

/// How often a write is begun, if the cache yields each time that it finds no room on the disk. The first refusal tells what misses for the
/// chunks at hand only, the next one what misses for the rest.
const WRITE_TRIES_MAX: usize = 3;

/// A store of blobs. Cheap to clone; clones share the open file.
#[derive(Debug, Clone)]
pub struct ChunkStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: StoreFile,
    bounds: Bounds,
    /// Reads that are not written down yet; see `cache`.
    recent: Mutex<Vec<Reference>>,
    /// Blobs that a [`Download`] of this process is working on.
    active: Mutex<BTreeSet<Reference>>,
}

impl ChunkStore {
    /// Opens the store in the file `path`, or makes it; the folder must exist. `limit_bytes` bounds what [`Usage`]
    /// counts. A lower limit than what is kept deletes nothing, it only refuses more.
    ///
    /// # Errors
    /// [`StoreError::AlreadyOpen`] if this or another process has it open, [`StoreError::Open`] if the file cannot be
    /// opened or is something else, [`StoreError::Format`] if a newer version wrote it.
    pub fn open(path: &Path, limit_bytes: u64) -> Result<Self, StoreError> {
        Self::open_within(path, Bounds::new(limit_bytes))
    }

    /// As [`ChunkStore::open`], with a floor below which the disk is not filled if `bounds` has one.
    ///
    /// # Errors
    /// As [`ChunkStore::open`].
    pub fn open_within(path: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        Self::with_file(StoreFile::at_path(path)?, bounds)
    }

    fn with_file(file: StoreFile, bounds: Bounds) -> Result<Self, StoreError> {
        tables::check_format(&file)?;
        Ok(Self { inner: Arc::new(Inner { file, bounds, recent: Mutex::default(), active: Mutex::default() }) })
    }

    /// Stores `bytes` for `owner`. When it returns, the blob is on disk. Storing what is already there adds the owner
    /// and repairs chunks that the disk has spoilt.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::LowSpace`], [`StoreError::DiskFull`] or another storage error; nothing is
    /// kept then.
    pub fn put_blob(&self, owner: &Owner, bytes: &[u8]) -> Result<BlobRef, StoreError> {
        self.write(|ledger| ledger.put(owner, bytes, bytes.len() as u64))
    }

    /// Stores what `reader` gives, in constant memory. Other writers wait meanwhile, so give it a file or a pipe, not
    /// a slow network stream.
    ///
    /// # Errors
    /// As [`ChunkStore::put_blob`]; [`StoreError::TooLarge`] as soon as more than `size_bytes_max` came,
    /// [`StoreError::Source`] if the reader fails.
    pub fn put_reader(&self, owner: &Owner, reader: impl Read, size_bytes_max: u64) -> Result<BlobRef, StoreError> {
        self.write_once(|ledger| ledger.put(owner, reader, size_bytes_max))
    }

    /// The whole blob, if it is at most `max_bytes`.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] before anything is read, and those of [`ChunkStore::reader`] and
    /// [`BlobReader::next_chunk`].
    pub fn read_blob(&self, blob: &BlobRef, max_bytes: u64) -> Result<Vec<u8>, StoreError> {
        if blob.size_bytes > max_bytes {
            return Err(StoreError::TooLarge { size_bytes: blob.size_bytes, max_bytes });
        }
        let mut reader = self.reader(blob)?;
        // The store has a blob of exactly this size, so the number is not a stranger's any more.
        let mut bytes = Vec::with_capacity(blob.size_bytes as usize);
        while let Some(leaf) = reader.next_leaf()? {
            bytes.extend_from_slice(leaf.payload());
        }
        Ok(bytes)
    }

    /// Reads a blob chunk by chunk from a snapshot: a removal meanwhile does not disturb it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the blob is not here or not complete, [`StoreError::SizeMismatch`] if it is here
    /// with another size, [`StoreError::Corrupt`] if it was found damaged before.
    pub fn reader(&self, blob: &BlobRef) -> Result<BlobReader, StoreError> {
        self.note_use(blob.reference);
        BlobReader::open(&self.inner.file, blob)
    }

    /// Whether the complete blob is here.
    ///
    /// # Errors
    /// Those of [`ChunkStore::reader`], except not found.
    pub fn has(&self, blob: &BlobRef) -> Result<bool, StoreError> {
        match BlobReader::open(&self.inner.file, blob) {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds `owner` to those who hold a blob that is here.
    ///
    /// # Errors
    /// As [`ChunkStore::reader`]; storage errors.
    pub fn hold(&self, owner: &Owner, blob: &BlobRef) -> Result<(), StoreError> {
        self.write(|ledger| ledger.hold(owner, blob))
    }

    /// Ends `owner`'s hold on a blob or another root, and its download of it; the last one to go frees the chunks, except those that
    /// other blobs share. Tells whether there was a hold or a download.
    ///
    /// # Errors
    /// Storage errors only; a spoilt interior chunk does not keep a blob from being released.
    pub fn release(&self, owner: &Owner, reference: &Reference) -> Result<bool, StoreError> {
        self.write(|ledger| ledger.release(owner, reference, Last::Free))
    }

    /// Ends all that `owner` holds, downloads included. Tells how many blobs and downloads that were.
    ///
    /// # Errors
    /// As [`ChunkStore::release`].
    pub fn release_owner(&self, owner: &Owner) -> Result<usize, StoreError> {
        self.write(|ledger| ledger.release_owner(owner, Last::Free))
    }

    /// Lets `to` hold all roots that `from` holds, in its place and all at once. Tells how many that were. Downloads stay with who began
    /// them.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if one of them was found damaged; storage errors. Nothing has changed hands then.
    pub fn hand_over(&self, from: &Owner, to: &Owner) -> Result<usize, StoreError> {
        self.write(|ledger| ledger.hand_over(from, to))
    }

    /// Removes a root, or what there is of its download, whoever holds it and also if it is pinned. For a blob that reads as
    /// [`StoreError::Corrupt`]: fetch or store it again afterwards. Tells whether there was anything.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn discard(&self, reference: &Reference) -> Result<bool, StoreError> {
        self.write(|ledger| ledger.discard(reference))
    }

    /// Runs `work` in one transaction: all of it is on disk afterwards, or nothing. For want of room on the disk some of the cache goes, and
    /// `work` is begun again: pages are used anew by the next transaction only.
    fn write<T>(&self, mut work: impl FnMut(&mut Ledger<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        for _ in 1..WRITE_TRIES_MAX {
            match self.transact(&mut work) {
                Err(error) if self.has_yielded(&error) => {}
                outcome => return outcome,
            }
        }
        self.write_once(work)
    }

    /// As [`ChunkStore::write`], for work that cannot be begun again. The cache yields to the next one like it.
    fn write_once<T>(&self, work: impl FnOnce(&mut Ledger<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.transact(work).inspect_err(|error| {
            self.has_yielded(error);
        })
    }

    /// Lets some of the cache go if a write was refused for want of room on the disk. Tells whether any went.
    fn has_yielded(&self, error: &StoreError) -> bool {
        let StoreError::LowSpace { free_bytes, floor_bytes, missing_bytes } = *error else { return false };
        // The refusal is what the caller must hear, not what goes wrong here: who waits for room tells it by that.
        space::may_rewrite(free_bytes, floor_bytes) && self.make_cache_yield(missing_bytes).unwrap_or_default()
    }

    fn transact<T>(&self, work: impl FnOnce(&mut Ledger<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let txn = self.inner.file.begin_write()?;
        // Not before its turn: whoever had the turn before may have made the file longer.
        let file_bytes = self.inner.file.disk_bytes()?;
        let recent = std::mem::take(&mut *self.inner.recent());
        let worked = Ledger::open(&txn, &self.inner.bounds, file_bytes).and_then(|mut ledger| {
            ledger.note_uses(&recent)?;
            let outcome = work(&mut ledger)?;
            ledger.finish()?;
            Ok(outcome)
        });
        let outcome = worked.and_then(|outcome| {
            txn.commit()?;
            Ok(outcome)
        });
        if outcome.is_err() {
            self.recall_uses(recent);
        }
        outcome
    }
}

impl Inner {
    fn recent(&self) -> MutexGuard<'_, Vec<Reference>> {
        // As below.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> MutexGuard<'_, BTreeSet<Reference>> {
        // The set is valid after any panic: each change is a single call.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger<'_> {
    fn put(&mut self, owner: &Owner, reader: impl Read, size_bytes_max: u64) -> Result<BlobRef, StoreError> {
        let mut splitter = Splitter::new();
        let mut keep = |chunk: Chunk| self.add_chunk(&chunk);
        feed(&mut splitter, reader, size_bytes_max, &mut keep)?;
        let blob = splitter.finish(&mut keep)?;
        self.commit_blob(owner, &blob)?;
        Ok(blob)
    }
}

/// Cuts all that `reader` gives, at most `size_bytes_max`; finishing is left to the caller.
fn feed<S: Seal>(
    splitter: &mut Splitter<S>,
    mut reader: impl Read,
    size_bytes_max: u64,
    keep: &mut impl FnMut(Chunk) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(StoreError::Source { source }),
        };
        let size_bytes = splitter.size_bytes() + count as u64;
        if size_bytes > size_bytes_max {
            return Err(StoreError::TooLarge { size_bytes, max_bytes: size_bytes_max });
        }
        splitter.update(buffer.get(..count).unwrap_or_default(), keep)?;
    }
}

#[cfg(test)]
mod tests;
