//! The chunk store: verified chunks in one redb file, shared between blobs and counted, within a size limit.
//!
//! # Promises
//! - A blob appears when it is complete and on disk, all at once. A crash before that leaves no trace of a
//!   [`ChunkStore::put_blob`] and leaves a download where its last saved batch was.
//! - A blob stays while any [`Owner`] holds it; nothing is evicted to make room. At the limit the next chunk is
//!   refused with [`StoreError::Full`], which says by how much. A download reserves its whole size before its first
//!   chunk.
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

mod download;
mod error;
mod file;
mod ledger;
mod owner;
mod pack;
mod reader;
mod sweep;
mod tables;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use manyhands_proto::{BlobRef, Reference};
use redb::ReadableTable as _;

pub use download::{Download, SAVE_CHUNKS};
pub use error::StoreError;
pub use owner::{Owner, OwnerError};
pub use reader::BlobReader;

use crate::split::Splitter;
use file::StoreFile;
use ledger::Ledger;

/// Bytes taken from a reader at a time: a multiple of the payload that keeps the calls few and the memory small.
const READ_BYTES: usize = 64 * 1024;

/// A store of blobs. Cheap to clone; clones share the open file.
#[derive(Debug, Clone)]
pub struct ChunkStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: StoreFile,
    limit_bytes: u64,
    /// Blobs that a [`Download`] of this process is working on.
    active: Mutex<BTreeSet<Reference>>,
}

/// How full a store is. All sizes count chunks (payload and span), each distinct one once; the file is 1.14
/// to 1.25 times as large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the chunks kept.
    pub used_bytes: u64,
    /// Bytes promised to downloads that are not complete.
    pub reserved_bytes: u64,
    /// The limit that both together stay within.
    pub limit_bytes: u64,
}

/// A download that was begun and is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// The blob.
    pub blob: BlobRef,
    /// Chunks held, in pre-order from the root.
    pub held_chunks: u64,
    /// Who began it last.
    pub owner: Owner,
}

impl ChunkStore {
    /// Opens the store in the file `path`, or makes it; the folder must exist. `limit_bytes` bounds what [`Usage`]
    /// counts. A lower limit than what is kept deletes nothing, it only refuses more.
    ///
    /// # Errors
    /// [`StoreError::AlreadyOpen`] if this or another process has it open, [`StoreError::Open`] if the file cannot be
    /// opened or is something else, [`StoreError::Format`] if another version wrote it.
    pub fn open(path: &Path, limit_bytes: u64) -> Result<Self, StoreError> {
        Self::with_file(StoreFile::at_path(path)?, limit_bytes)
    }

    fn with_file(file: StoreFile, limit_bytes: u64) -> Result<Self, StoreError> {
        tables::check_format(&file)?;
        Ok(Self { inner: Arc::new(Inner { file, limit_bytes, active: Mutex::default() }) })
    }

    /// Stores `bytes` for `owner`. When it returns, the blob is on disk. Storing what is already there adds the owner
    /// and repairs chunks that the disk has spoilt.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::DiskFull`] or another storage error; nothing is kept then.
    pub fn put_blob(&self, owner: &Owner, bytes: &[u8]) -> Result<BlobRef, StoreError> {
        self.put_reader(owner, bytes, bytes.len() as u64)
    }

    /// Stores what `reader` gives, in constant memory. Other writers wait meanwhile, so give it a file or a pipe, not
    /// a slow network stream.
    ///
    /// # Errors
    /// As [`ChunkStore::put_blob`]; [`StoreError::TooLarge`] as soon as more than `size_bytes_max` came,
    /// [`StoreError::Source`] if the reader fails.
    pub fn put_reader(&self, owner: &Owner, reader: impl Read, size_bytes_max: u64) -> Result<BlobRef, StoreError> {
        self.write(|ledger| {
            let blob = split_into(ledger, reader, size_bytes_max)?;
            ledger.commit_blob(owner, &blob)?;
            Ok(blob)
        })
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
        BlobReader::open(&self.inner.file, blob)
    }

    /// Whether the complete blob is here.
    ///
    /// # Errors
    /// Those of [`ChunkStore::reader`], except not found.
    pub fn has(&self, blob: &BlobRef) -> Result<bool, StoreError> {
        match self.reader(blob) {
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

    /// Ends `owner`'s hold on a blob, and its download of it; the last one to go frees the chunks, except those that
    /// other blobs share. Tells whether there was a hold or a download.
    ///
    /// # Errors
    /// Storage errors only; a spoilt interior chunk does not keep a blob from being released.
    pub fn release(&self, owner: &Owner, reference: &Reference) -> Result<bool, StoreError> {
        self.write(|ledger| ledger.release(owner, reference))
    }

    /// Ends all that `owner` holds, downloads included. Tells how many blobs and downloads that were.
    ///
    /// # Errors
    /// As [`ChunkStore::release`].
    pub fn release_owner(&self, owner: &Owner) -> Result<usize, StoreError> {
        self.write(|ledger| ledger.release_owner(owner))
    }

    /// Removes a blob, or what there is of its download, whoever holds it. For a blob that reads as
    /// [`StoreError::Corrupt`]: fetch or store it again afterwards. Tells whether there was anything.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn discard(&self, reference: &Reference) -> Result<bool, StoreError> {
        self.write(|ledger| ledger.discard(reference))
    }

    /// The blobs that `owner` holds.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn held_by(&self, owner: &Owner) -> Result<Vec<BlobRef>, StoreError> {
        let txn = self.inner.file.begin_read()?;
        let (roots, holds) = (txn.open_table(tables::ROOTS)?, txn.open_table(tables::HOLDS)?);
        let mut blobs = Vec::new();
        for reference in tables::references_held(&holds, owner)? {
            if let Some(row) = roots.get(reference.as_bytes())? {
                blobs.push(BlobRef { reference, size_bytes: row.value().0 });
            }
        }
        Ok(blobs)
    }

    /// All who hold a blob or have begun a download.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn owners(&self) -> Result<BTreeSet<Owner>, StoreError> {
        let txn = self.inner.file.begin_read()?;
        let (holds, partials) = (txn.open_table(tables::HOLDS)?, txn.open_table(tables::PARTIALS)?);
        let mut owners = BTreeSet::new();
        for row in holds.iter()? {
            owners.insert(Owner::from_row(row?.0.value().0));
        }
        for row in partials.iter()? {
            owners.insert(Owner::from_row(row?.1.value().3));
        }
        Ok(owners)
    }

    /// The downloads that are begun and not complete, whether or not anybody works on them.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn partials(&self) -> Result<Vec<Partial>, StoreError> {
        let txn = self.inner.file.begin_read()?;
        let partials = txn.open_table(tables::PARTIALS)?;
        let rows = partials.iter()?.map(|row| {
            let (reference, row) = row?;
            let (size_bytes, held_chunks, _, owner) = row.value();
            let blob = BlobRef { reference: Reference(*reference.value()), size_bytes };
            Ok(Partial { blob, held_chunks, owner: Owner::from_row(owner) })
        });
        rows.collect()
    }

    /// How full the store is.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let txn = self.inner.file.begin_read()?;
        let counters = txn.open_table(tables::COUNTERS)?;
        Ok(Usage {
            used_bytes: tables::counter(&counters, tables::USED_BYTES)?,
            reserved_bytes: tables::counter(&counters, tables::RESERVED_BYTES)?,
            limit_bytes: self.inner.limit_bytes,
        })
    }

    /// Bytes of the chunks kept; see [`Usage`].
    ///
    /// # Errors
    /// Storage errors only.
    pub fn used_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.usage()?.used_bytes)
    }

    /// Runs `work` in one transaction: all of it is on disk afterwards, or nothing.
    fn write<T>(&self, work: impl FnOnce(&mut Ledger<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let txn = self.inner.file.begin_write()?;
        let mut ledger = Ledger::open(&txn, self.inner.limit_bytes)?;
        let outcome = work(&mut ledger)?;
        ledger.finish()?;
        txn.commit()?;
        Ok(outcome)
    }
}

impl Inner {
    fn active(&self) -> std::sync::MutexGuard<'_, BTreeSet<Reference>> {
        // The set is valid after any panic: each change is a single call.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn split_into(ledger: &mut Ledger<'_>, mut reader: impl Read, size_bytes_max: u64) -> Result<BlobRef, StoreError> {
    let mut splitter = Splitter::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut keep = |chunk| ledger.add_chunk(&chunk);
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(StoreError::Source { source }),
        };
        let size_bytes = splitter.size_bytes() + count as u64;
        if size_bytes > size_bytes_max {
            return Err(StoreError::TooLarge { size_bytes, max_bytes: size_bytes_max });
        }
        splitter.update(buffer.get(..count).unwrap_or_default(), &mut keep)?;
    }
    splitter.finish(&mut keep)
}

#[cfg(test)]
mod tests;
