//! A second file with what is kept here, made while the store is in use: the store's part of a back-up.
//!
//! A [`Snapshot`] is a read transaction: what is stored, released or evicted after it does not change it. Its copy leaves the cache out,
//! which is often most of the file and can all be had again; whatever is held, pinned or being downloaded is in it, with the same counts as if
//! the cache had been evicted. Memory is bounded, however large the store: the page caches of both files and a pack while it is copied, and
//! while the copy is compacted the places of its last pages, a million at most at a time: some 100 MB by redb's source, for a copy of 4 GB or more.

use std::fs::File;
use std::io;
use std::path::Path;

use manyhands_proto::Reference;
use redb::{
    Builder, Database, Key, ReadOnlyTable, ReadTransaction, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition, Value, WriteTransaction,
};

use super::root::{Extent, Root};
use super::{ChunkStore, StoreError, Usage, file, pack, space, tables};

/// Bytes of packs between two commits of the copy. Each waits for the disk, so that it is never far behind, and little is lost of the memory
/// that other programs' files are cached in.
const COMMIT_BYTES: u64 = 128 << 20;

/// Rows of other tables between two commits: some 100 bytes each.
const COMMIT_ROWS: u64 = 1 << 20;

/// Rows that bring no chunks between two looks at whether to go on.
const LOOK_ROWS: u64 = 4096;

/// What the index takes for each chunk, in bytes: rows of 60 bytes in pages that are two thirds full.
const ROW_BYTES: u64 = 100;

/// The store as it was at one moment. While it lives, pages that are given up meanwhile are not used anew, so the store's file grows by what
/// is written meanwhile. The store must stay open.
pub struct Snapshot {
    txn: ReadTransaction,
    usage: Usage,
    /// All chunks, the cache's included.
    chunks: u64,
}

/// Why there is no copy: which of the two files failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store could not be read.
    #[error(transparent)]
    Unread(#[from] StoreError),
    /// The copy could not be written. The store is as it was.
    #[error("the copy of the chunk store could not be written")]
    Unwritten {
        /// Why; what is no error of the system is the database's.
        #[source]
        source: io::Error,
    },
}

impl ChunkStore {
    /// Holds the store as it is now, to be copied. Waits for no writer; costs as little as beginning to read.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let txn = self.inner.file.begin_read()?;
        let usage = self.usage_in(&txn)?;
        let chunks = txn.open_table(tables::CHUNKS)?.len()?;
        Ok(Snapshot { txn, usage, chunks })
    }
}

impl Snapshot {
    /// Bytes of the chunks that the copy will have.
    pub const fn kept_bytes(&self) -> u64 {
        self.usage.used_bytes.saturating_sub(self.usage.cached_bytes)
    }

    /// The most that the copy's file takes, in bytes.
    pub fn file_bytes(&self) -> u64 {
        space::file_bytes(self.kept_bytes()).saturating_add(self.chunks.saturating_mul(ROW_BYTES))
    }

    /// Writes the copy to `path`, a new or empty file, which is complete and on disk when this returns. `on_bytes` hears of so many more bytes
    /// of chunks that are copied, [`Snapshot::kept_bytes`] in all, and ends the work with its own error; it hears of 0 bytes where there is
    /// much to do without chunks. The store is let go as soon as all of it is read, before the copy is compacted.
    ///
    /// # Errors
    /// `on_bytes`' own; [`CopyError`]. What is at `path` is nothing then, and the caller's to remove.
    pub fn copy_to<E: From<CopyError>>(
        self,
        path: &Path,
        mut on_bytes: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut database = Builder::new().set_cache_size(file::CACHE_BYTES).create(path).map_err(unwritten)?;
        self.copy_small(&database, &mut Pace::new(&mut on_bytes))?;
        self.copy_chunks(&database, &mut Pace::new(&mut on_bytes))?;
        self.copy_packs(&database, &mut on_bytes)?;
        drop(self);
        on_bytes(0)?;
        // redb makes a file longer by half and more before it writes there.
        database.compact().map_err(unwritten)?;
        // Closing writes what the next opening needs.
        drop(database);
        let synced = File::open(path).and_then(|file| file.sync_all());
        Ok(synced.map_err(|source| CopyError::Unwritten { source })?)
    }

    /// Everything but the chunks. What is in the cache, nobody holds: it has no other rows than those that are left out here.
    fn copy_small<E: From<CopyError>>(
        &self,
        to: &Database,
        pace: &mut Pace<'_, impl FnMut(u64) -> Result<(), E>>,
    ) -> Result<(), E> {
        let mut batch = Batch::new(to);
        batch.make(tables::CACHE)?;
        batch.make(tables::CACHE_ORDER)?;
        batch.make(tables::IDLE)?;
        self.copy_roots(&mut batch, pace)?;
        batch.put_all(tables::HOLDS, &self.txn, pace)?;
        batch.put_all(tables::PARTIALS, &self.txn, pace)?;
        batch.put_all(tables::PARTIAL_TIMES, &self.txn, pace)?;
        batch.put_all(tables::COUNTERS, &self.txn, pace)?;
        batch.put(tables::COUNTERS, tables::CACHED_BYTES, 0)?;
        Ok(batch.finish()?)
    }

    fn copy_roots<E: From<CopyError>>(
        &self,
        batch: &mut Batch<'_>,
        pace: &mut Pace<'_, impl FnMut(u64) -> Result<(), E>>,
    ) -> Result<(), E> {
        let (cache, lists) = (read(self.txn.open_table(tables::CACHE))?, read(self.txn.open_table(tables::LISTS))?);
        batch.make(tables::LISTS)?;
        batch.make(tables::ROOTS)?;
        for row in read(read(self.txn.open_table(tables::ROOTS))?.iter())? {
            let (reference, row) = read(row)?;
            let reference = reference.value();
            pace.row()?;
            if read(cache.get(reference))?.is_some() {
                continue;
            }
            batch.put(tables::ROOTS, reference, row.value())?;
            let Some(Extent::Listed { list }) = Root::of_row(row.value()).map(|root| root.extent) else { continue };
            for part in read(lists.range((list, 0)..=(list, u32::MAX)))? {
                let (number, addresses) = read(part)?;
                batch.put(tables::LISTS, number.value(), addresses.value())?;
                pace.row()?;
            }
        }
        Ok(())
    }

    /// The index of the chunks that are kept, and how many bytes those are. Nothing of it counts for `pace`, which may end it.
    fn copy_chunks<E: From<CopyError>>(
        &self,
        to: &Database,
        pace: &mut Pace<'_, impl FnMut(u64) -> Result<(), E>>,
    ) -> Result<(), E> {
        let (mut batch, mut used_bytes) = (Batch::new(to), 0_u64);
        batch.make(tables::CHUNKS)?;
        let kept = Kept::open(&self.txn)?;
        for row in read(kept.chunks.iter())? {
            let (address, row) = read(row)?;
            let (pack, uses, length) = row.value();
            let uses = uses.saturating_sub(kept.idle_uses(address.value())?);
            if uses > 0 {
                batch.put(tables::CHUNKS, address.value(), (pack, uses, length))?;
                used_bytes = used_bytes.saturating_add(length.into());
            }
            pace.row()?;
        }
        batch.put(tables::COUNTERS, tables::USED_BYTES, used_bytes)?;
        Ok(batch.finish()?)
    }

    /// The chunks themselves.
    fn copy_packs<E: From<CopyError>>(
        &self,
        to: &Database,
        on_bytes: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let packs = read(self.txn.open_table(tables::PACKS))?;
        let kept = Kept::open(&self.txn)?;
        let mut batch = Batch::new(to);
        batch.make(tables::PACKS)?;
        for row in read(packs.iter())? {
            let (number, bytes) = read(row)?;
            let copy = kept.of_pack(number.value(), bytes.value())?;
            if !copy.is_empty() {
                batch.put(tables::PACKS, number.value(), copy.as_slice())?;
            }
            on_bytes(copy.len() as u64)?;
        }
        Ok(batch.finish()?)
    }
}

/// What was read of the store.
fn read<T>(found: Result<T, impl Into<StoreError>>) -> Result<T, CopyError> {
    found.map_err(|error| CopyError::Unread(error.into()))
}

fn unwritten(error: impl Into<redb::Error>) -> CopyError {
    let source = match error.into() {
        redb::Error::Io(source) => source,
        error => io::Error::other(error),
    };
    CopyError::Unwritten { source }
}

/// Looks now and then whether to go on with rows that bring no chunks.
struct Pace<'f, F> {
    on_bytes: &'f mut F,
    rows: u64,
}

impl<'f, E, F: FnMut(u64) -> Result<(), E>> Pace<'f, F> {
    const fn new(on_bytes: &'f mut F) -> Self {
        Self { on_bytes, rows: 0 }
    }

    /// One more row.
    fn row(&mut self) -> Result<(), E> {
        self.rows += 1;
        if self.rows.is_multiple_of(LOOK_ROWS) { (self.on_bytes)(0) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("usage", &self.usage).finish_non_exhaustive()
    }
}

/// Tells which chunks somebody needs beside the cache.
struct Kept {
    chunks: ReadOnlyTable<&'static [u8; 32], tables::ChunkRow>,
    idle: ReadOnlyTable<&'static [u8; 32], u64>,
}

impl Kept {
    fn open(txn: &ReadTransaction) -> Result<Self, CopyError> {
        Ok(Self { chunks: read(txn.open_table(tables::CHUNKS))?, idle: read(txn.open_table(tables::IDLE))? })
    }

    fn idle_uses(&self, address: &[u8; 32]) -> Result<u64, CopyError> {
        Ok(read(self.idle.get(address))?.map(|uses| uses.value()).unwrap_or_default())
    }

    /// The pack without what only the cache needs.
    fn of_pack(&self, number: u64, bytes: &[u8]) -> Result<Vec<u8>, CopyError> {
        let mut copy = Vec::with_capacity(bytes.len());
        for (reference, wire) in pack::slots(bytes) {
            if self.is_kept(number, &reference)? {
                pack::push(&mut copy, &reference, wire);
            }
        }
        Ok(copy)
    }

    fn is_kept(&self, number: u64, reference: &Reference) -> Result<bool, CopyError> {
        let Some(row) = read(self.chunks.get(reference.as_bytes()))? else { return Ok(false) };
        let (pack, uses, _) = row.value();
        Ok(pack == number && uses > self.idle_uses(reference.as_bytes())?)
    }
}

/// Writes to the copy, committed now and then.
struct Batch<'d> {
    database: &'d Database,
    /// None after a commit.
    txn: Option<WriteTransaction>,
    rows: u64,
    bytes: u64,
}

impl<'d> Batch<'d> {
    const fn new(database: &'d Database) -> Self {
        Self { database, txn: None, rows: 0, bytes: 0 }
    }

    /// Makes a table that may stay empty.
    fn make<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<(), CopyError> {
        let txn = self.take()?;
        txn.open_table(table).map_err(unwritten)?;
        self.txn = Some(txn);
        Ok(())
    }

    fn put<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        key: K::SelfType<'_>,
        value: V::SelfType<'_>,
    ) -> Result<(), CopyError> {
        let txn = self.take()?;
        self.rows += 1;
        self.bytes = self.bytes.saturating_add(V::as_bytes(&value).as_ref().len() as u64);
        txn.open_table(table).map_err(unwritten)?.insert(key, value).map_err(unwritten)?;
        if self.rows < COMMIT_ROWS && self.bytes < COMMIT_BYTES {
            self.txn = Some(txn);
            return Ok(());
        }
        (self.rows, self.bytes) = (0, 0);
        txn.commit().map_err(unwritten)
    }

    /// Copies a table as it is.
    fn put_all<K: Key + 'static, V: Value + 'static, E: From<CopyError>>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        from: &ReadTransaction,
        pace: &mut Pace<'_, impl FnMut(u64) -> Result<(), E>>,
    ) -> Result<(), E> {
        self.make(table)?;
        for row in read(read(from.open_table(table))?.iter())? {
            let (key, value) = read(row)?;
            self.put(table, key.value(), value.value())?;
            pace.row()?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), CopyError> {
        self.txn.map_or(Ok(()), |txn| txn.commit().map_err(unwritten))
    }

    fn take(&mut self) -> Result<WriteTransaction, CopyError> {
        self.txn.take().map_or_else(|| self.database.begin_write().map_err(unwritten), Ok)
    }
}
