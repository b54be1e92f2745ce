//! A second file with what is kept here, made while the store is in use: the store's part of a back-up.
//!
//! A [`Snapshot`] is a read transaction: what is stored, released or evicted after it does not change it. Its copy leaves the cache out,
//! which is often most of the file and can all be had again; whatever is held, pinned or being downloaded is in it, with the same counts as if
//! the cache had been evicted. Memory does not grow with the store.

use std::path::Path;

use manyhands_proto::Reference;
use redb::{
    Builder, Database, Key, Range, ReadOnlyTable, ReadTransaction, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition, Value, WriteTransaction,
};

use super::root::{Extent, Root};
use super::{ChunkStore, StoreError, Usage, file, pack, space, tables};

/// Bytes of packs between two commits of the copy. Each waits for the disk, so that it is never far behind, and little is lost of the memory
/// that other programs' files are cached in.
const COMMIT_BYTES: u64 = 128 << 20;

/// Rows of other tables between two commits: some 100 bytes each.
const COMMIT_ROWS: u64 = 1 << 20;

/// Rows of the index between two looks at whether to go on.
const LOOK_ROWS: usize = 4096;

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
    /// of chunks that are copied, [`Snapshot::kept_bytes`] in all, and ends the work with its own error.
    ///
    /// # Errors
    /// `on_bytes`' own; storage errors of either file. What is at `path` is nothing then, and the caller's to remove.
    pub fn copy_to<E: From<StoreError>>(
        &self,
        path: &Path,
        mut on_bytes: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut database = Builder::new().set_cache_size(file::CACHE_BYTES).create(path).map_err(StoreError::from)?;
        self.copy_small(&database)?;
        self.copy_chunks(&database, &mut on_bytes)?;
        self.copy_packs(&database, &mut on_bytes)?;
        // redb makes a file longer by half and more before it writes there.
        database.compact().map_err(|error| StoreError::from(redb::Error::from(error)))?;
        // Closing writes what the next opening needs.
        drop(database);
        let sync = || std::fs::File::open(path)?.sync_all();
        Ok(sync().map_err(|source| StoreError::Io { source })?)
    }

    /// Everything but the chunks. What is in the cache, nobody holds: it has no other rows than those that are left out here.
    fn copy_small(&self, to: &Database) -> Result<(), StoreError> {
        let cache = self.txn.open_table(tables::CACHE)?;
        let lists = self.txn.open_table(tables::LISTS)?;
        let mut batch = Batch::new(to);
        batch.make(tables::CACHE)?;
        batch.make(tables::CACHE_ORDER)?;
        batch.make(tables::IDLE)?;
        batch.make(tables::LISTS)?;
        batch.make(tables::ROOTS)?;
        for row in self.txn.open_table(tables::ROOTS)?.iter()? {
            let (reference, row) = row?;
            let reference = reference.value();
            if cache.get(reference)?.is_some() {
                continue;
            }
            batch.put(tables::ROOTS, reference, row.value())?;
            let Some(Extent::Listed { list }) = Root::of_row(row.value()).map(|root| root.extent) else { continue };
            for part in lists.range((list, 0)..=(list, u32::MAX))? {
                let (number, addresses) = part?;
                batch.put(tables::LISTS, number.value(), addresses.value())?;
            }
        }
        batch.put_all(tables::HOLDS, &self.txn)?;
        batch.put_all(tables::PARTIALS, &self.txn)?;
        batch.put_all(tables::PARTIAL_TIMES, &self.txn)?;
        batch.put_all(tables::COUNTERS, &self.txn)?;
        batch.put(tables::COUNTERS, tables::CACHED_BYTES, 0)?;
        batch.finish()
    }

    /// The index of the chunks that are kept, and how many bytes those are. Nothing of it counts for `on_bytes`, which may end it.
    fn copy_chunks<E: From<StoreError>>(
        &self,
        to: &Database,
        on_bytes: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut batch, mut used_bytes) = (Batch::new(to), 0_u64);
        batch.make(tables::CHUNKS)?;
        let kept = Kept::open(&self.txn)?;
        let mut rows = kept.chunks.iter().map_err(StoreError::from)?;
        while kept.copy_rows(&mut rows, &mut batch, &mut used_bytes)? {
            on_bytes(0)?;
        }
        batch.put(tables::COUNTERS, tables::USED_BYTES, used_bytes)?;
        Ok(batch.finish()?)
    }

    /// The chunks themselves.
    fn copy_packs<E: From<StoreError>>(
        &self,
        to: &Database,
        on_bytes: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let packs = self.txn.open_table(tables::PACKS).map_err(StoreError::from)?;
        let kept = Kept::open(&self.txn)?;
        let mut batch = Batch::new(to);
        batch.make(tables::PACKS)?;
        for row in packs.iter().map_err(StoreError::from)? {
            let (number, bytes) = row.map_err(StoreError::from)?;
            let copy = kept.of_pack(number.value(), bytes.value())?;
            if !copy.is_empty() {
                batch.put(tables::PACKS, number.value(), copy.as_slice())?;
                on_bytes(copy.len() as u64)?;
            }
        }
        Ok(batch.finish()?)
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
    fn open(txn: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self { chunks: txn.open_table(tables::CHUNKS)?, idle: txn.open_table(tables::IDLE)? })
    }

    fn idle_uses(&self, address: &[u8; 32]) -> Result<u64, StoreError> {
        Ok(self.idle.get(address)?.map(|uses| uses.value()).unwrap_or_default())
    }

    /// Copies some rows of the index. False if there are no more.
    fn copy_rows(
        &self,
        rows: &mut Range<'_, &'static [u8; 32], tables::ChunkRow>,
        batch: &mut Batch<'_>,
        used_bytes: &mut u64,
    ) -> Result<bool, StoreError> {
        for _ in 0..LOOK_ROWS {
            let Some(row) = rows.next() else { return Ok(false) };
            let (address, row) = row?;
            let (pack, uses, length) = row.value();
            let uses = uses.saturating_sub(self.idle_uses(address.value())?);
            if uses > 0 {
                batch.put(tables::CHUNKS, address.value(), (pack, uses, length))?;
                *used_bytes = used_bytes.saturating_add(length.into());
            }
        }
        Ok(true)
    }

    /// The pack without what only the cache needs.
    fn of_pack(&self, number: u64, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut copy = Vec::with_capacity(bytes.len());
        for (reference, wire) in pack::slots(bytes) {
            if self.is_kept(number, &reference)? {
                pack::push(&mut copy, &reference, wire);
            }
        }
        Ok(copy)
    }

    fn is_kept(&self, number: u64, reference: &Reference) -> Result<bool, StoreError> {
        let Some(row) = self.chunks.get(reference.as_bytes())? else { return Ok(false) };
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
    ) -> Result<(), StoreError> {
        let txn = self.take()?;
        txn.open_table(table)?;
        self.txn = Some(txn);
        Ok(())
    }

    fn put<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        key: K::SelfType<'_>,
        value: V::SelfType<'_>,
    ) -> Result<(), StoreError> {
        let txn = self.take()?;
        self.rows += 1;
        self.bytes = self.bytes.saturating_add(V::as_bytes(&value).as_ref().len() as u64);
        txn.open_table(table)?.insert(key, value)?;
        if self.rows < COMMIT_ROWS && self.bytes < COMMIT_BYTES {
            self.txn = Some(txn);
            return Ok(());
        }
        (self.rows, self.bytes) = (0, 0);
        Ok(txn.commit()?)
    }

    /// Copies a table as it is.
    fn put_all<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        from: &ReadTransaction,
    ) -> Result<(), StoreError> {
        self.make(table)?;
        for row in from.open_table(table)?.iter()? {
            let (key, value) = row?;
            self.put(table, key.value(), value.value())?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), StoreError> {
        self.txn.map_or(Ok(()), |txn| Ok(txn.commit()?))
    }

    fn take(&mut self) -> Result<WriteTransaction, StoreError> {
        self.txn.take().map_or_else(|| Ok(self.database.begin_write()?), Ok)
    }
}
