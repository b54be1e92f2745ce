//! Encrypted trees as they travel: chunk by chunk, by who need not have the key. A list of such a tree's chunks has each
//! parent after its children; read backwards, the root comes first, and whoever has the key knows which chunk is next.

use manyhands_proto::Reference;
use redb::ReadOnlyTable;

use super::list::{Listing, PART_ADDRESSES};
use super::reader::ChunkPages;
use super::root::Extent;
use super::{ChunkStore, Owner, StoreError, tables};
use crate::chunk::Chunk;

impl ChunkStore {
    /// Reads the chunks of the encrypted tree at `address` from a snapshot: root first, then the children of each, the
    /// last one first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no tree, or one without encryption whose shape its size tells;
    /// [`StoreError::Corrupt`] if it was found damaged.
    pub fn sealed_reader(&self, address: &Reference) -> Result<SealedReader, StoreError> {
        self.note_use(*address);
        let txn = self.inner.file.begin_read()?;
        let root = tables::root(&txn.open_table(tables::ROOTS)?, address)?;
        let root = root.ok_or(StoreError::NotFound { reference: *address })?;
        if root.damaged {
            return Err(StoreError::Corrupt { reference: *address });
        }
        let lists = txn.open_table(tables::LISTS)?;
        let (list, part, rest) = match root.extent {
            Extent::Listed { list } => {
                let part = parts(&lists, list)?.saturating_sub(1);
                (list, part, tables::list_part(&lists, list, part)?.unwrap_or_default())
            }
            Extent::Single => (0, 0, vec![*address]),
            Extent::Blob { .. } => return Err(StoreError::NotFound { reference: *address }),
        };
        Ok(SealedReader { pages: ChunkPages::open(&txn)?, lists, list, part, rest })
    }

    /// Stores the chunks of one encrypted tree for `owner`, given in the order in which a [`SealedReader`] gives them.
    /// Their belonging together is the caller's to have checked, and their number to have bounded: they are in its memory.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::LowSpace`] or another storage error; nothing is kept then.
    pub fn put_sealed(&self, owner: &Owner, address: &Reference, chunks: &[Chunk]) -> Result<(), StoreError> {
        self.write(|ledger| {
            let mut listing = Listing::begin(ledger);
            for chunk in chunks.iter().rev() {
                listing.keep(ledger, chunk)?;
            }
            ledger.commit_list(owner, *address, listing)
        })
    }
}

/// Gives the chunks of an encrypted tree, root first. Each is verified on the way out. It holds 1024 addresses and one chunk at a time, however
/// large the tree is.
pub struct SealedReader {
    pages: ChunkPages,
    lists: ReadOnlyTable<(u64, u32), &'static [u8]>,
    list: u64,
    /// Parts of the list that were not begun; all of them are full.
    part: u32,
    /// What is left of the part at hand; its end is next.
    rest: Vec<Reference>,
}

impl SealedReader {
    /// The next chunk, none at the end.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a chunk that is damaged or lost; storage errors.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, StoreError> {
        self.next_address()?.map(|reference| self.pages.chunk(reference)).transpose()
    }

    /// Chunks that are still to come.
    pub fn chunks_left(&self) -> u64 {
        u64::from(self.part) * PART_ADDRESSES as u64 + self.rest.len() as u64
    }

    /// Moves past the first `count` chunks, without reading them.
    ///
    /// # Errors
    /// Storage errors.
    pub fn skip(&mut self, count: u64) -> Result<(), StoreError> {
        for _ in 0..count {
            if self.next_address()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn next_address(&mut self) -> Result<Option<Reference>, StoreError> {
        loop {
            if let Some(reference) = self.rest.pop() {
                return Ok(Some(reference));
            }
            let Some(part) = self.part.checked_sub(1) else { return Ok(None) };
            self.part = part;
            self.rest = tables::list_part(&self.lists, self.list, part)?.unwrap_or_default();
        }
    }
}

impl std::fmt::Debug for SealedReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedReader").field("list", &self.list).field("part", &self.part).finish_non_exhaustive()
    }
}

/// The number of parts of a list.
fn parts(lists: &ReadOnlyTable<(u64, u32), &'static [u8]>, list: u64) -> Result<u32, StoreError> {
    let last = lists.range((list, 0)..=(list, u32::MAX))?.next_back().transpose()?;
    Ok(last.map_or(0, |row| row.0.value().1 + 1))
}
