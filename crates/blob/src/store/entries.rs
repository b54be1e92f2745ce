//! The list of what is in the store: each root with what it is, how large, and who keeps it. From a snapshot, for people
//! and programs that look after a store.

use std::collections::BTreeMap;

use manyhands_proto::Reference;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable as _};

use super::list::PART_ADDRESSES;
use super::root::{Extent, Root, RootRow};
use super::{ChunkStore, Owner, StoreError, tables};
use crate::any::AnyChunk;
use crate::chunk::PAYLOAD_BYTES_MAX;
use crate::redundancy::{Level, Span};
use crate::shape::{self, REFERENCE_BYTES};

/// A root that is complete here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its reference; of an encrypted tree the address alone.
    pub reference: Reference,
    /// What it is.
    pub kind: Kind,
    /// Bytes of its content, where the store can tell them.
    pub size_bytes: Option<u64>,
    /// Its chunks, interior ones, parities and repeated ones included.
    pub chunks: u64,
    /// Who holds it, in the order of their names.
    pub owners: Vec<Owner>,
    /// Whether it is pinned as well.
    pub is_pinned: bool,
    /// Whether a chunk on the way to its leaves was found damaged: it can only be stored again or discarded.
    pub is_damaged: bool,
}

/// What a root is, as far as the store knows without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tree of level 0, what Manyhands sends.
    Blob,
    /// A tree with parities of this level.
    Tree(Level),
    /// A tree whose root does not say what it is: it is encrypted, or its root is damaged.
    Opaque,
    /// A single chunk.
    Chunk,
}

impl Entry {
    /// Whether nobody holds it: it goes when its room is needed.
    pub fn is_cached(&self) -> bool {
        self.owners.is_empty() && !self.is_pinned
    }
}

/// Who keeps a root.
#[derive(Debug, Default)]
struct Keepers {
    owners: Vec<Owner>,
    is_pinned: bool,
}

struct Snapshot {
    chunks: ReadOnlyTable<&'static [u8; 32], tables::ChunkRow>,
    packs: ReadOnlyTable<u64, &'static [u8]>,
    roots: ReadOnlyTable<&'static [u8; 32], RootRow>,
    lists: ReadOnlyTable<(u64, u32), &'static [u8]>,
    holds: ReadOnlyTable<(&'static str, &'static [u8; 32]), ()>,
}

impl ChunkStore {
    /// All roots, in the order of their references. Chunks that are here only as parts of a root are not listed, nor are
    /// downloads, which are in [`ChunkStore::partials`].
    ///
    /// # Errors
    /// Storage errors only.
    pub fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let snapshot = Snapshot::open(&self.inner.file.begin_read()?)?;
        let mut keepers = snapshot.keepers(|_| true)?;
        let mut entries = Vec::new();
        for row in snapshot.roots.iter()? {
            let (reference, row) = row?;
            let reference = Reference(*reference.value());
            if let Some(root) = Root::of_row(row.value()) {
                entries.push(snapshot.entry(reference, root, keepers.remove(&reference))?);
            }
        }
        Ok(entries)
    }

    /// The root at `reference`, if there is one.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn entry(&self, reference: &Reference) -> Result<Option<Entry>, StoreError> {
        let snapshot = Snapshot::open(&self.inner.file.begin_read()?)?;
        let Some(root) = tables::root(&snapshot.roots, reference)? else { return Ok(None) };
        let keepers = snapshot.keepers(|held| held == reference)?.remove(reference);
        snapshot.entry(*reference, root, keepers).map(Some)
    }
}

impl Snapshot {
    fn open(txn: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            chunks: txn.open_table(tables::CHUNKS)?,
            packs: txn.open_table(tables::PACKS)?,
            roots: txn.open_table(tables::ROOTS)?,
            lists: txn.open_table(tables::LISTS)?,
            holds: txn.open_table(tables::HOLDS)?,
        })
    }

    /// Who keeps the roots that are `wanted`. The rows are ordered by owner, so all of them are read.
    fn keepers(&self, wanted: impl Fn(&Reference) -> bool) -> Result<BTreeMap<Reference, Keepers>, StoreError> {
        let mut keepers = BTreeMap::<Reference, Keepers>::new();
        for row in self.holds.iter()? {
            let row = row?.0;
            let (holder, reference) = row.value();
            let reference = Reference(*reference);
            if !wanted(&reference) {
                continue;
            }
            let found = keepers.entry(reference).or_default();
            if holder == tables::PINS {
                found.is_pinned = true;
            } else {
                found.owners.push(Owner::from_row(holder));
            }
        }
        Ok(keepers)
    }

    fn entry(&self, reference: Reference, root: Root, keepers: Option<Keepers>) -> Result<Entry, StoreError> {
        let Keepers { owners, is_pinned } = keepers.unwrap_or_default();
        let (kind, size_bytes, chunks) = match root.extent {
            Extent::Blob { size_bytes } => (Kind::Blob, Some(size_bytes), shape::chunk_count(size_bytes)),
            Extent::Listed { list } => {
                let chunks = self.listed_chunks(list)?;
                match self.levelled_span(reference, chunks)? {
                    Some(span) => (Kind::Tree(span.level), Some(span.bytes), chunks),
                    None => (Kind::Opaque, None, chunks),
                }
            }
            Extent::Single => (Kind::Chunk, self.leaf_bytes(reference)?, 1),
        };
        Ok(Entry { reference, kind, size_bytes, chunks, owners, is_pinned, is_damaged: root.damaged })
    }

    /// The number of addresses in a list, told by its last part: all others are full.
    fn listed_chunks(&self, list: u64) -> Result<u64, StoreError> {
        let last = self.lists.range((list, 0)..=(list, u32::MAX))?.next_back().transpose()?;
        Ok(last.map_or(0, |(key, bytes)| {
            let full = u64::from(key.value().1) * PART_ADDRESSES as u64;
            full + (bytes.value().len() / REFERENCE_BYTES) as u64
        }))
    }

    /// What the root of a listed tree says, if it can be what its number of chunks allows. The span of an encrypted root
    /// is random: that it passes for a level and for so few bytes is less likely than 2^-40 for any store.
    fn levelled_span(&self, reference: Reference, chunks: u64) -> Result<Option<Span>, StoreError> {
        let chunk = match tables::load_chunk(&self.chunks, &self.packs, reference) {
            Ok(chunk) => chunk,
            Err(StoreError::Corrupt { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let span = Span::decode(chunk.span_bytes());
        let bytes_max = chunks.saturating_mul(PAYLOAD_BYTES_MAX as u64);
        Ok(span.filter(|span| span.level != Level::None && span.bytes <= bytes_max))
    }

    /// The payload of a chunk that is no interior one.
    fn leaf_bytes(&self, reference: Reference) -> Result<Option<u64>, StoreError> {
        match tables::load_any(&self.chunks, &self.packs, reference) {
            Ok(Some(AnyChunk::Content(chunk))) => {
                Ok(Some(chunk.span_bytes()).filter(|bytes| *bytes == chunk.payload().len() as u64))
            }
            Ok(Some(AnyChunk::SingleOwner(_)) | None) | Err(StoreError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn store() -> (tempfile::TempDir, ChunkStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&folder.path().join("chunks.redb"), 1 << 30).unwrap();
        (folder, store)
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count as u32).flat_map(|number| number.to_le_bytes()).take(count).collect()
    }

    #[test]
    fn each_kind_of_root_is_told_with_its_size_and_keepers() {
        let (_folder, store) = store();
        let (job, other) = (Owner::new("job").unwrap(), Owner::new("other").unwrap());
        assert_eq!(store.entries().unwrap(), []);
        let data = bytes(300_000);
        let blob = store.put_blob(&other, &data).unwrap();
        store.hold(&job, &blob).unwrap();
        store.pin(&blob.reference).unwrap();
        let tree = store.put_tree(&job, data.as_slice(), u64::MAX, Level::Paranoid).unwrap();
        let random = |slice: &mut [u8]| slice.fill(7);
        let sealed = store.put_encrypted_tree(&job, data.as_slice(), u64::MAX, Level::Medium, random).unwrap();
        let chunk = crate::Chunk::from_payload(3, b"foo").unwrap();
        store.put_chunk(&job, &AnyChunk::Content(chunk.clone())).unwrap();
        store.release_to_cache(&job, &chunk.reference()).unwrap();

        let entries = store.entries().unwrap();
        assert!(entries.is_sorted_by_key(|entry| entry.reference) && entries.len() == 4, "{entries:?}");
        let of = |reference| {
            let entry = entries.iter().find(|entry| entry.reference == reference).unwrap();
            assert_eq!(store.entry(&reference).unwrap().as_ref(), Some(entry));
            entry
        };
        let found = of(blob.reference);
        assert_eq!((found.kind, found.size_bytes, found.chunks), (Kind::Blob, Some(300_000), 75));
        assert_eq!((found.owners.as_slice(), found.is_pinned), ([job.clone(), other].as_slice(), true));
        assert!(!found.is_cached() && !found.is_damaged);
        let found = of(tree.reference);
        assert_eq!((found.kind, found.size_bytes), (Kind::Tree(Level::Paranoid), Some(300_000)));
        assert!(found.chunks > 150 && found.owners == [job.clone()] && !found.is_pinned, "{found:?}");
        let found = of(sealed.address);
        assert_eq!((found.kind, found.size_bytes), (Kind::Opaque, None));
        let found = of(chunk.reference());
        assert_eq!((found.kind, found.size_bytes, found.chunks), (Kind::Chunk, Some(3), 1));
        assert!(found.is_cached());
        assert_eq!(store.entry(&Reference([9; 32])).unwrap(), None);
    }

    #[test]
    fn a_list_of_several_parts_is_counted_whole() {
        let (_folder, store) = store();
        let job = Owner::new("job").unwrap();
        let size_bytes = 5_000_000;
        let data = bytes(size_bytes);
        let mut count = 0_u64;
        let mut keep = |_| {
            count += 1;
            Ok::<(), std::convert::Infallible>(())
        };
        let mut splitter = crate::Splitter::with_level(Level::Medium);
        splitter.update(&data, &mut keep).unwrap();
        splitter.finish(&mut keep).unwrap();
        store.put_tree(&job, data.as_slice(), u64::MAX, Level::Medium).unwrap();
        let entries = store.entries().unwrap();
        assert!(count > PART_ADDRESSES as u64, "{count} chunks fit one part");
        assert_eq!((entries[0].chunks, entries[0].size_bytes), (count, Some(size_bytes as u64)));
    }
}
