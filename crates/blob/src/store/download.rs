//! A blob on its way in: chunks are checked against the tree as they come, saved in batches, and the blob appears
//! with the last one.
//!
//! What is held of a download is always a prefix of the pre-order, so one number tells where to go on after a crash
//! or a lost connection, and the same number is what a peer is asked to skip.

use std::sync::Arc;

use manyhands_proto::{BlobRef, Reference};
use redb::ReadableTable as _;

use super::ledger::Ledger;
use super::reader::ChunkPages;
use super::root::Extent;
use super::{ChunkStore, Inner, Owner, StoreError, file};
use crate::chunk::Chunk;
use crate::shape;
use crate::walk::{Expected, ShapeError, Walk};

/// Chunks to gather before [`Download::save`]: 525 kB, so that a slow disk syncs twice a second at most at 1 MB/s,
/// and a crash loses no more than a weak connection brings in some seconds. A segment or receipt of the usual size is
/// one batch.
pub const SAVE_CHUNKS: usize = 128;

/// A download in progress; the only one for its blob in this process. Dropping it keeps what was saved.
#[derive(Debug)]
pub struct Download {
    store: ChunkStore,
    owner: Owner,
    walk: Walk,
    pending: Vec<Chunk>,
    saved_chunks: u64,
    claim: Arc<Claim>,
}

/// Chunks of a [`Download`] on their way to the disk, while it takes more. Nobody else in this process downloads the blob
/// until it is saved or dropped, whatever becomes of the download.
#[derive(Debug)]
pub struct Batch {
    store: ChunkStore,
    owner: Owner,
    blob: BlobRef,
    from_chunks: u64,
    chunks: Vec<Chunk>,
    is_last: bool,
    _claim: Arc<Claim>,
}

/// While it lives, nobody else in this process downloads the same blob.
#[derive(Debug)]
struct Claim {
    inner: Arc<Inner>,
    reference: Reference,
}

impl ChunkStore {
    /// Begins to download `blob` for `owner`, or goes on where an earlier download was. None if the blob is here; the
    /// owner then holds it. Space for the whole blob is reserved before this returns, and stays so until the download
    /// is complete, discarded or its owner released.
    ///
    /// # Errors
    /// [`StoreError::Full`] or [`StoreError::LowSpace`] if there is no room for the whole blob, [`StoreError::DownloadActive`] if one is running,
    /// [`StoreError::SizeMismatch`] if the blob is known to have another size; storage errors.
    pub fn begin_download(&self, owner: &Owner, blob: BlobRef) -> Result<Option<Download>, StoreError> {
        let claim = Arc::new(Claim::new(&self.inner, blob.reference)?);
        let Some(held_chunks) = self.write(|ledger| ledger.begin_partial(owner, &blob))? else { return Ok(None) };
        let mut walk = Walk::new(blob);
        let resumed = self.chunk_pages()?.advance_to(&mut walk, held_chunks);
        if let Err(StoreError::Corrupt { reference: _ }) = resumed {
            // What was held cannot be read any more: from the start then.
            walk = Walk::new(blob);
            self.write(|ledger| {
                ledger.remove_partial(&blob.reference)?;
                ledger.begin_partial(owner, &blob)
            })?;
        } else {
            resumed?;
        }
        let saved_chunks = walk.passed_chunks();
        let owner = owner.clone();
        Ok(Some(Download { store: self.clone(), owner, walk, pending: Vec::new(), saved_chunks, claim }))
    }

    fn chunk_pages(&self) -> Result<ChunkPages, StoreError> {
        ChunkPages::open(&self.inner.file.begin_read()?)
    }
}

impl Download {
    /// The blob.
    pub fn blob(&self) -> BlobRef {
        self.walk.blob()
    }

    /// The chunk that must come next; none once the last was accepted.
    pub fn expected(&self) -> Option<Expected> {
        self.walk.expected()
    }

    /// The walk over its chunks: where it is, and what is known of those to come.
    pub(crate) fn walk(&self) -> &Walk {
        &self.walk
    }

    /// Chunks on disk, in pre-order, and those of batches that were taken.
    pub fn saved_chunks(&self) -> u64 {
        self.saved_chunks
    }

    /// Chunks accepted and not yet on disk. The caller saves when they reach [`SAVE_CHUNKS`].
    pub fn pending_chunks(&self) -> usize {
        self.pending.len()
    }

    /// Whether the blob is in the store, as soon as the batches that were taken are saved.
    pub fn is_complete(&self) -> bool {
        self.walk.expected().is_none() && self.pending.is_empty()
    }

    /// Takes the next chunk, in memory; does not touch the disk.
    ///
    /// # Errors
    /// [`ShapeError`] if it is not the chunk expected; the download can go on with the right one.
    pub fn accept(&mut self, chunk: Chunk) -> Result<(), ShapeError> {
        self.walk.accept(&chunk)?;
        self.pending.push(chunk);
        Ok(())
    }

    /// Puts the pending chunks on disk. With the last chunk the blob appears in the same moment.
    ///
    /// # Errors
    /// [`StoreError::DownloadGone`] if it was discarded or its owner released meanwhile; storage errors, after which
    /// saving may be tried again.
    pub fn save(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (blob, is_last) = (self.walk.blob(), self.walk.expected().is_none());
        write_chunks(&self.store, &self.owner, &blob, self.saved_chunks, &self.pending, is_last)?;
        self.saved_chunks += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Takes the pending chunks out, to be saved on another thread while more are accepted. One batch after the other: one
    /// that overtakes the one before, or follows one that failed, is refused.
    pub fn take_batch(&mut self) -> Batch {
        let chunks = std::mem::take(&mut self.pending);
        let from_chunks = self.saved_chunks;
        self.saved_chunks += chunks.len() as u64;
        Batch {
            store: self.store.clone(),
            owner: self.owner.clone(),
            blob: self.walk.blob(),
            from_chunks,
            is_last: self.walk.expected().is_none() && !chunks.is_empty(),
            chunks,
            _claim: Arc::clone(&self.claim),
        }
    }
}

impl Batch {
    /// Puts the chunks on disk. With the last chunk the blob appears in the same moment.
    ///
    /// # Errors
    /// As [`Download::save`]; [`StoreError::DownloadGone`] also if it does not follow what is on disk. The chunks are lost then, and
    /// a new download goes on before them.
    pub fn save(self) -> Result<(), StoreError> {
        let Self { store, owner, blob, from_chunks, chunks, is_last, _claim } = self;
        if chunks.is_empty() { Ok(()) } else { write_chunks(&store, &owner, &blob, from_chunks, &chunks, is_last) }
    }
}

/// Puts the chunks after the first `from` of a download on disk, all or none.
fn write_chunks(
    store: &ChunkStore,
    owner: &Owner,
    blob: &BlobRef,
    from: u64,
    chunks: &[Chunk],
    is_last: bool,
) -> Result<(), StoreError> {
    store.write(|ledger| {
        ledger.keep(blob, from, chunks)?;
        if is_last { ledger.complete_partial(owner, blob) } else { Ok(()) }
    })
}

impl Ledger<'_> {
    /// Enters a download and tells how many chunks of it are held; none if the blob is complete, and then `owner`
    /// holds it.
    fn begin_partial(&mut self, owner: &Owner, blob: &BlobRef) -> Result<Option<u64>, StoreError> {
        let (reference, stated_bytes) = (blob.reference, blob.size_bytes);
        let mismatch = |stored_bytes| StoreError::SizeMismatch { reference, stated_bytes, stored_bytes };
        match self.root(&reference)?.map(|root| (root.extent, root.damaged)) {
            Some((Extent::Blob { size_bytes: stored_bytes }, _)) if stored_bytes != stated_bytes => {
                return Err(mismatch(stored_bytes));
            }
            Some((Extent::Blob { .. }, false)) => {
                self.remove_partial(&reference)?;
                return self.hold(owner, blob).map(|()| None);
            }
            // The root alone may be here, or a tree of another kind.
            Some(_) | None => {}
        }
        let known = self.partials.get(reference.as_bytes())?.map(|row| {
            let (size_bytes, held_chunks, reserved_bytes, _) = row.value();
            (size_bytes, held_chunks, reserved_bytes)
        });
        let (held_chunks, reserved_bytes) = match known {
            Some((size_bytes, held_chunks, reserved_bytes)) if size_bytes == stated_bytes => {
                (held_chunks, reserved_bytes)
            }
            // The root is here and proves its size.
            Some((stored_bytes, 1.., _)) => return Err(mismatch(stored_bytes)),
            Some(_) => {
                self.remove_partial(&reference)?;
                (0, self.reserve(stated_bytes)?)
            }
            None => (0, self.reserve(stated_bytes)?),
        };
        self.partials.insert(reference.as_bytes(), (stated_bytes, held_chunks, reserved_bytes, owner.as_str()))?;
        self.partial_times.insert(reference.as_bytes(), file::unix_seconds())?;
        Ok(Some(held_chunks))
    }

    fn reserve(&mut self, size_bytes: u64) -> Result<u64, StoreError> {
        let bytes = shape::stored_bytes(size_bytes);
        self.require_room(bytes)?;
        // What goes for it in this transaction makes room: its chunks come in later ones.
        self.require_disk(bytes, self.used_bytes.saturating_add(self.reserved_bytes))?;
        self.reserved_bytes += bytes;
        Ok(bytes)
    }

    /// Adds the chunks that follow the first `from`.
    fn keep(&mut self, blob: &BlobRef, from: u64, chunks: &[Chunk]) -> Result<(), StoreError> {
        let reference = blob.reference;
        let row = self.partials.get(reference.as_bytes())?.map(|row| {
            let (size_bytes, held_chunks, reserved_bytes, owner) = row.value();
            (size_bytes, held_chunks, reserved_bytes, Owner::from_row(owner))
        });
        let gone = StoreError::DownloadGone { reference };
        let Some((size_bytes, held_chunks, mut reserved_bytes, owner)) = row else { return Err(gone) };
        if held_chunks != from || size_bytes != blob.size_bytes {
            return Err(gone);
        }
        for chunk in chunks {
            let due_bytes = reserved_bytes.min(chunk.wire().len() as u64);
            reserved_bytes -= due_bytes;
            self.reserved_bytes = self.reserved_bytes.saturating_sub(due_bytes);
            self.add_chunk(chunk)?;
        }
        let row = (size_bytes, from + chunks.len() as u64, reserved_bytes, owner.as_str());
        self.partials.insert(reference.as_bytes(), row)?;
        self.partial_times.insert(reference.as_bytes(), file::unix_seconds())?;
        Ok(())
    }

    /// Turns a download that has all its chunks into a complete blob.
    fn complete_partial(&mut self, owner: &Owner, blob: &BlobRef) -> Result<(), StoreError> {
        if let Some(row) = self.partials.remove(blob.reference.as_bytes())? {
            self.reserved_bytes = self.reserved_bytes.saturating_sub(row.value().2);
        }
        self.partial_times.remove(blob.reference.as_bytes())?;
        self.commit_blob(owner, blob)
    }
}

impl Claim {
    fn new(inner: &Arc<Inner>, reference: Reference) -> Result<Self, StoreError> {
        if !inner.active().insert(reference) {
            return Err(StoreError::DownloadActive { reference });
        }
        Ok(Self { inner: Arc::clone(inner), reference })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.inner.active().remove(&self.reference);
    }
}
