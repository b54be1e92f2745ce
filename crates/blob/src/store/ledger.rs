//! One write transaction on the store: its tables, the numbers that go with them, and the room that is left. What it
//! did is kept by [`Ledger::finish`] and the commit after it, or not at all. What it does with chunks is in `chunks`,
//! with roots and their holders in `roots`, with the cache in `cache`, with downloads in `download`.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::Reference;
use redb::{ReadableTable as _, Table, WriteTransaction};

use super::members::Pages;
use super::root::{Root, RootRow};
use super::space::Bounds;
use super::{StoreError, pack, tables};
use crate::any::AnyChunk;
use crate::chunk::Chunk;

pub(super) struct Ledger<'t> {
    pub(super) txn: &'t WriteTransaction,
    pub(super) chunks: Table<'t, &'static [u8; 32], tables::ChunkRow>,
    pub(super) packs: Table<'t, u64, &'static [u8]>,
    pub(super) idle: Table<'t, &'static [u8; 32], u64>,
    pub(super) roots: Table<'t, &'static [u8; 32], RootRow>,
    pub(super) lists: Table<'t, (u64, u32), &'static [u8]>,
    pub(super) holds: Table<'t, (&'static str, &'static [u8; 32]), ()>,
    pub(super) cache: Table<'t, &'static [u8; 32], u64>,
    pub(super) cache_order: Table<'t, u64, &'static [u8; 32]>,
    pub(super) partials: Table<'t, &'static [u8; 32], (u64, u64, u64, &'static str)>,
    pub(super) partial_times: Table<'t, &'static [u8; 32], u64>,
    counters: Table<'t, &'static str, u64>,
    /// The pack being filled, not yet in the table.
    pub(super) open_pack: Vec<u8>,
    pub(super) open_chunks: usize,
    pub(super) next_pack: u64,
    pub(super) next_list: u64,
    pub(super) next_use: u64,
    /// Chunks without a use, by pack; buried at the end so that each pack is rewritten once.
    pub(super) dead: BTreeMap<u64, BTreeSet<Reference>>,
    pub(super) used_bytes: u64,
    pub(super) reserved_bytes: u64,
    pub(super) cached_bytes: u64,
    /// Bytes of chunks that went in this transaction: only the next one uses their pages anew.
    pub(super) buried_bytes: u64,
    /// Chunks that this transaction brought.
    pub(super) new_chunks: u64,
    /// Where among the cache's uses eviction goes on: what is before it could not be evicted.
    pub(super) evict_from: u64,
    pub(super) bounds: &'t Bounds,
    /// What the file took of the disk when this transaction began.
    file_bytes: u64,
}

impl<'t> Ledger<'t> {
    pub(super) fn open(txn: &'t WriteTransaction, bounds: &'t Bounds, file_bytes: u64) -> Result<Self, StoreError> {
        let counters = txn.open_table(tables::COUNTERS)?;
        let counter = |name| tables::counter(&counters, name);
        Ok(Self {
            txn,
            chunks: txn.open_table(tables::CHUNKS)?,
            packs: txn.open_table(tables::PACKS)?,
            idle: txn.open_table(tables::IDLE)?,
            roots: txn.open_table(tables::ROOTS)?,
            lists: txn.open_table(tables::LISTS)?,
            holds: txn.open_table(tables::HOLDS)?,
            cache: txn.open_table(tables::CACHE)?,
            cache_order: txn.open_table(tables::CACHE_ORDER)?,
            partials: txn.open_table(tables::PARTIALS)?,
            partial_times: txn.open_table(tables::PARTIAL_TIMES)?,
            open_pack: Vec::new(),
            open_chunks: 0,
            next_pack: counter(tables::NEXT_PACK)?,
            next_list: counter(tables::NEXT_LIST)?,
            next_use: counter(tables::NEXT_USE)?,
            dead: BTreeMap::new(),
            used_bytes: counter(tables::USED_BYTES)?,
            reserved_bytes: counter(tables::RESERVED_BYTES)?,
            cached_bytes: counter(tables::CACHED_BYTES)?,
            buried_bytes: 0,
            new_chunks: 0,
            evict_from: 0,
            bounds,
            file_bytes,
            counters,
        })
    }

    /// Refuses if the disk, or the room inside the file beside `kept_bytes` of chunks, does not take `needed_bytes` of new ones.
    pub(super) fn require_disk(&self, needed_bytes: u64, kept_bytes: u64) -> Result<(), StoreError> {
        let Some(floor) = &self.bounds.floor else { return Ok(()) };
        floor.require(needed_bytes, self.file_bytes, kept_bytes, 0)
    }

    /// Writes what was held back. The transaction can be committed after it.
    pub(super) fn finish(mut self) -> Result<(), StoreError> {
        self.close_pack()?;
        for (number, dead) in std::mem::take(&mut self.dead) {
            let Some(live) = self.packs.get(number)?.map(|bytes| pack::without(bytes.value(), &dead)) else { continue };
            if live.is_empty() {
                self.packs.remove(number)?;
            } else {
                self.packs.insert(number, live.as_slice())?;
            }
        }
        self.counters.insert(tables::NEXT_PACK, self.next_pack)?;
        self.counters.insert(tables::NEXT_LIST, self.next_list)?;
        self.counters.insert(tables::NEXT_USE, self.next_use)?;
        self.counters.insert(tables::USED_BYTES, self.used_bytes)?;
        self.counters.insert(tables::RESERVED_BYTES, self.reserved_bytes)?;
        self.counters.insert(tables::CACHED_BYTES, self.cached_bytes)?;
        Ok(())
    }

    /// Makes room for `needed_bytes` within the limit, out of the cache if need be, or refuses.
    pub(super) fn require_room(&mut self, needed_bytes: u64) -> Result<(), StoreError> {
        let limit_bytes = self.bounds.limit_bytes;
        let used_bytes = self.taken_bytes();
        let full = StoreError::Full { used_bytes, limit_bytes, needed_bytes };
        let held_bytes = used_bytes.saturating_sub(self.cached_bytes);
        if held_bytes.saturating_add(needed_bytes) > limit_bytes {
            return Err(full);
        }
        while self.taken_bytes().saturating_add(needed_bytes) > limit_bytes {
            if !self.evict_oldest()? {
                return Err(full);
            }
        }
        Ok(())
    }

    fn taken_bytes(&self) -> u64 {
        self.used_bytes.saturating_add(self.reserved_bytes)
    }

    pub(super) fn root(&self, reference: &Reference) -> Result<Option<Root>, StoreError> {
        tables::root(&self.roots, reference)
    }

    /// The chunk at `reference` of whatever kind, verified, if there is one.
    pub(super) fn load_any(&self, reference: Reference) -> Result<Option<AnyChunk>, StoreError> {
        match pack::find(&self.open_pack, &reference) {
            Some(wire) => AnyChunk::verify(reference, wire).map(Some).ok_or(StoreError::Corrupt { reference }),
            None => tables::load_any(&self.chunks, &self.packs, reference),
        }
    }

    pub(super) fn close_pack(&mut self) -> Result<(), StoreError> {
        if self.open_chunks > 0 {
            self.packs.insert(self.next_pack, self.open_pack.as_slice())?;
            self.open_pack.clear();
            self.open_chunks = 0;
            self.next_pack += 1;
        }
        Ok(())
    }
}

impl Pages for Ledger<'_> {
    fn chunk(&self, reference: Reference) -> Result<Chunk, StoreError> {
        match pack::find(&self.open_pack, &reference) {
            Some(wire) => Chunk::verify(reference, wire).map_err(|_| StoreError::Corrupt { reference }),
            None => tables::load_chunk(&self.chunks, &self.packs, reference),
        }
    }

    fn list_part(&self, list: u64, part: u32) -> Result<Option<Vec<Reference>>, StoreError> {
        tables::list_part(&self.lists, list, part)
    }
}
