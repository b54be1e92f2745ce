//! Reading a complete blob, chunk by chunk, from a snapshot.

use std::io;

use manyhands_proto::{BlobRef, Reference};
use redb::{ReadOnlyTable, ReadTransaction};

use super::file::StoreFile;
use super::root::Extent;
use super::{StoreError, tables};
use crate::any::AnyChunk;
use crate::chunk::Chunk;
use crate::shape;
use crate::walk::Walk;

/// Gives a blob's chunks in pre-order, or, as [`io::Read`], its bytes. Each chunk is verified on the way out. The
/// store must stay open meanwhile.
pub struct BlobReader {
    pages: ChunkPages,
    walk: Walk,
    /// The leaf that [`io::Read`] is in, and how much of it was read.
    leaf: Option<(Chunk, usize)>,
}

/// The two tables that a chunk is found with, as of one moment.
pub(super) struct ChunkPages {
    chunks: ReadOnlyTable<&'static [u8; 32], tables::ChunkRow>,
    packs: ReadOnlyTable<u64, &'static [u8]>,
}

impl BlobReader {
    pub(super) fn open(file: &StoreFile, blob: &BlobRef) -> Result<Self, StoreError> {
        let txn = file.begin_read()?;
        let (reference, stated_bytes) = (blob.reference, blob.size_bytes);
        let root = tables::root(&txn.open_table(tables::ROOTS)?, &reference)?;
        match root.map(|root| (root.extent, root.damaged)) {
            None | Some((Extent::Listed { .. } | Extent::Single, _)) => Err(StoreError::NotFound { reference }),
            Some((Extent::Blob { size_bytes: stored_bytes }, _)) if stored_bytes != stated_bytes => {
                Err(StoreError::SizeMismatch { reference, stated_bytes, stored_bytes })
            }
            Some((_, true)) => Err(StoreError::Corrupt { reference }),
            Some(_) => Ok(Self { pages: ChunkPages::open(&txn)?, walk: Walk::new(*blob), leaf: None }),
        }
    }

    /// The next chunk in pre-order, none at the end.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a chunk that is damaged or lost; storage errors.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, StoreError> {
        self.pages.next_chunk(&mut self.walk)
    }

    /// The next chunk that is a piece of the blob, none at the end.
    ///
    /// # Errors
    /// As [`BlobReader::next_chunk`].
    pub fn next_leaf(&mut self) -> Result<Option<Chunk>, StoreError> {
        loop {
            match self.next_chunk()? {
                Some(chunk) if !shape::is_leaf(chunk.span_bytes()) => {}
                found => return Ok(found),
            }
        }
    }

    /// Moves past the first `count` chunks. Leaves are not read for that.
    ///
    /// # Errors
    /// As [`BlobReader::next_chunk`], for interior chunks.
    pub fn skip_to(&mut self, count: u64) -> Result<(), StoreError> {
        self.pages.advance_to(&mut self.walk, count)
    }
}

impl ChunkPages {
    pub(super) fn open(txn: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self { chunks: txn.open_table(tables::CHUNKS)?, packs: txn.open_table(tables::PACKS)? })
    }

    /// Whether there is a chunk at `reference`, damaged or not.
    pub(super) fn has(&self, reference: Reference) -> Result<bool, StoreError> {
        Ok(self.chunks.get(reference.as_bytes())?.is_some())
    }

    /// The chunk at `reference` of whatever kind, verified, if there is one.
    pub(super) fn any(&self, reference: Reference) -> Result<Option<AnyChunk>, StoreError> {
        tables::load_any(&self.chunks, &self.packs, reference)
    }

    /// The content-addressed chunk at `reference`, verified.
    pub(super) fn chunk(&self, reference: Reference) -> Result<Chunk, StoreError> {
        tables::load_chunk(&self.chunks, &self.packs, reference)
    }

    /// Moves `walk` past its first `count` chunks, reading interior ones only.
    pub(super) fn advance_to(&self, walk: &mut Walk, count: u64) -> Result<(), StoreError> {
        while let Some(expected) = walk.expected().filter(|_| walk.passed_chunks() < count) {
            if expected.is_leaf() {
                walk.skip();
            } else {
                self.next_chunk(walk)?;
            }
        }
        Ok(())
    }

    fn next_chunk(&self, walk: &mut Walk) -> Result<Option<Chunk>, StoreError> {
        let Some(expected) = walk.expected() else { return Ok(None) };
        let reference = expected.reference;
        let chunk = tables::load_chunk(&self.chunks, &self.packs, reference)?;
        walk.accept(&chunk).map_err(|_| StoreError::Corrupt { reference })?;
        Ok(Some(chunk))
    }
}

impl io::Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((chunk, done)) = &mut self.leaf {
                let rest = chunk.payload().get(*done..).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                if count > 0 || buffer.is_empty() {
                    buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                    *done += count;
                    return Ok(count);
                }
            }
            match self.next_leaf().map_err(io::Error::other)? {
                Some(chunk) => self.leaf = Some((chunk, 0)),
                None => return Ok(0),
            }
        }
    }
}

impl std::fmt::Debug for ChunkPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkPages").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (blob, passed_chunks) = (self.walk.blob(), self.walk.passed_chunks());
        f.debug_struct("BlobReader").field("blob", &blob).field("passed_chunks", &passed_chunks).finish_non_exhaustive()
    }
}
