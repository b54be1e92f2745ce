//! One write transaction on the store: chunks and their uses, complete blobs and their holders, downloads and their
//! reservations. What it did is kept by [`Ledger::finish`] and the commit after it, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::{BlobRef, Reference};
use redb::{ReadableTable as _, Table, WriteTransaction};

use super::{Owner, StoreError, pack, tables};
use crate::chunk::Chunk;
use crate::walk::Walk;

pub(super) struct Ledger<'t> {
    pub(super) txn: &'t WriteTransaction,
    pub(super) chunks: Table<'t, &'static [u8; 32], tables::ChunkRow>,
    packs: Table<'t, u64, &'static [u8]>,
    pub(super) roots: Table<'t, &'static [u8; 32], (u64, u64, bool)>,
    holds: Table<'t, (&'static str, &'static [u8; 32]), ()>,
    pub(super) partials: Table<'t, &'static [u8; 32], (u64, u64, u64, &'static str)>,
    counters: Table<'t, &'static str, u64>,
    /// The pack being filled, not yet in the table.
    open_pack: Vec<u8>,
    open_chunks: usize,
    next_pack: u64,
    /// Chunks without a use, by pack; buried at the end so that each pack is rewritten once.
    dead: BTreeMap<u64, BTreeSet<Reference>>,
    used_bytes: u64,
    pub(super) reserved_bytes: u64,
    limit_bytes: u64,
}

impl<'t> Ledger<'t> {
    pub(super) fn open(txn: &'t WriteTransaction, limit_bytes: u64) -> Result<Self, StoreError> {
        let counters = txn.open_table(tables::COUNTERS)?;
        Ok(Self {
            txn,
            chunks: txn.open_table(tables::CHUNKS)?,
            packs: txn.open_table(tables::PACKS)?,
            roots: txn.open_table(tables::ROOTS)?,
            holds: txn.open_table(tables::HOLDS)?,
            partials: txn.open_table(tables::PARTIALS)?,
            open_pack: Vec::new(),
            open_chunks: 0,
            next_pack: tables::counter(&counters, tables::NEXT_PACK)?,
            dead: BTreeMap::new(),
            used_bytes: tables::counter(&counters, tables::USED_BYTES)?,
            reserved_bytes: tables::counter(&counters, tables::RESERVED_BYTES)?,
            limit_bytes,
            counters,
        })
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
        self.counters.insert(tables::USED_BYTES, self.used_bytes)?;
        self.counters.insert(tables::RESERVED_BYTES, self.reserved_bytes)?;
        Ok(())
    }

    /// Refuses if `needed_bytes` more would pass the limit.
    pub(super) fn require_room(&self, needed_bytes: u64) -> Result<(), StoreError> {
        let used_bytes = self.used_bytes.saturating_add(self.reserved_bytes);
        if used_bytes.saturating_add(needed_bytes) > self.limit_bytes {
            return Err(StoreError::Full { used_bytes, limit_bytes: self.limit_bytes, needed_bytes });
        }
        Ok(())
    }

    /// Keeps a chunk, or counts one more use of it. What is stored under its address is put right if the disk has
    /// spoilt it.
    pub(super) fn add_chunk(&mut self, chunk: &Chunk) -> Result<(), StoreError> {
        let reference = chunk.reference();
        let row = self.chunks.get(reference.as_bytes())?.map(|row| row.value());
        if let Some((number, uses, length)) = row {
            self.chunks.insert(reference.as_bytes(), (number, uses + 1, length))?;
            return self.repair(number, chunk);
        }
        let length = chunk.wire().len();
        self.require_room(length as u64)?;
        self.used_bytes += length as u64;
        self.chunks.insert(reference.as_bytes(), (self.next_pack, 1, length as u16))?;
        pack::push(&mut self.open_pack, chunk);
        self.open_chunks += 1;
        if self.open_chunks == pack::PACK_CHUNKS { self.close_pack() } else { Ok(()) }
    }

    /// Ends one use of a chunk; without uses it goes.
    pub(super) fn drop_chunk(&mut self, reference: Reference) -> Result<(), StoreError> {
        let row = self.chunks.get(reference.as_bytes())?.map(|row| row.value());
        match row {
            None => Err(StoreError::Corrupt { reference }),
            Some((number, uses, length)) if uses > 1 => {
                self.chunks.insert(reference.as_bytes(), (number, uses - 1, length))?;
                Ok(())
            }
            Some(_) => self.bury(reference),
        }
    }

    /// Removes a chunk, whatever its uses.
    pub(super) fn bury(&mut self, reference: Reference) -> Result<(), StoreError> {
        let row = self.chunks.remove(reference.as_bytes())?.map(|row| row.value());
        if let Some((number, _, length)) = row {
            self.used_bytes = self.used_bytes.saturating_sub(length.into());
            self.dead.entry(number).or_default().insert(reference);
        }
        Ok(())
    }

    pub(super) fn load_chunk(&self, reference: Reference) -> Result<Chunk, StoreError> {
        match pack::find(&self.open_pack, &reference) {
            Some(wire) => Chunk::verify(reference, wire).map_err(|_| StoreError::Corrupt { reference }),
            None => tables::load_chunk(&self.chunks, &self.packs, reference),
        }
    }

    /// Makes a blob complete whose chunks have all been added, and lets `owner` hold it.
    pub(super) fn commit_blob(&mut self, owner: &Owner, blob: &BlobRef) -> Result<(), StoreError> {
        let key = blob.reference.as_bytes();
        let row = self.roots.get(key)?.map(|row| row.value());
        match row {
            // It was here already: its chunks have been counted twice now.
            Some((_, _, false)) => self.drop_tree(blob, u64::MAX)?,
            // It was damaged and is whole again.
            Some((_, holders, true)) => drop(self.roots.insert(key, (blob.size_bytes, holders, false))?),
            None => drop(self.roots.insert(key, (blob.size_bytes, 0, false))?),
        }
        self.hold(owner, blob)
    }

    pub(super) fn hold(&mut self, owner: &Owner, blob: &BlobRef) -> Result<(), StoreError> {
        let (reference, stated_bytes) = (blob.reference, blob.size_bytes);
        let row = self.roots.get(reference.as_bytes())?.map(|row| row.value());
        let (stored_bytes, holders, damaged) = row.ok_or(StoreError::NotFound { reference })?;
        if stored_bytes != stated_bytes {
            return Err(StoreError::SizeMismatch { reference, stated_bytes, stored_bytes });
        }
        if damaged {
            return Err(StoreError::Corrupt { reference });
        }
        if self.holds.insert((owner.as_str(), reference.as_bytes()), ())?.is_none() {
            self.roots.insert(reference.as_bytes(), (stored_bytes, holders + 1, false))?;
        }
        Ok(())
    }

    pub(super) fn release(&mut self, owner: &Owner, reference: &Reference) -> Result<bool, StoreError> {
        let partial = self.partials.get(reference.as_bytes())?;
        let is_begun = partial.is_some_and(|row| row.value().3 == owner.as_str());
        if is_begun {
            self.remove_partial(reference)?;
        }
        if self.holds.remove((owner.as_str(), reference.as_bytes()))?.is_none() {
            return Ok(is_begun);
        }
        let row = self.roots.get(reference.as_bytes())?.map(|row| row.value());
        match row {
            Some((size_bytes, holders, damaged)) if holders > 1 => {
                self.roots.insert(reference.as_bytes(), (size_bytes, holders - 1, damaged))?;
            }
            _ => self.remove_root(reference)?,
        }
        Ok(true)
    }

    pub(super) fn release_owner(&mut self, owner: &Owner) -> Result<usize, StoreError> {
        let held = tables::references_held(&self.holds, owner)?;
        for reference in &held {
            self.release(owner, reference)?;
        }
        let mut begun = Vec::new();
        for row in self.partials.iter()? {
            let (reference, row) = row?;
            if row.value().3 == owner.as_str() {
                begun.push(Reference(*reference.value()));
            }
        }
        for reference in &begun {
            self.remove_partial(reference)?;
        }
        Ok(held.len() + begun.len())
    }

    pub(super) fn discard(&mut self, reference: &Reference) -> Result<bool, StoreError> {
        let partial = self.remove_partial(reference)?;
        let complete = self.roots.get(reference.as_bytes())?.is_some();
        if complete {
            self.holds.retain(|(_, held), ()| held != reference.as_bytes())?;
            self.remove_root(reference)?;
        }
        Ok(partial || complete)
    }

    /// Forgets a download and frees what it held and reserved. Tells whether there was one.
    pub(super) fn remove_partial(&mut self, reference: &Reference) -> Result<bool, StoreError> {
        let row = self.partials.remove(reference.as_bytes())?.map(|row| {
            let (size_bytes, held_chunks, reserved_bytes, _) = row.value();
            (size_bytes, held_chunks, reserved_bytes)
        });
        let Some((size_bytes, held_chunks, reserved_bytes)) = row else { return Ok(false) };
        self.reserved_bytes = self.reserved_bytes.saturating_sub(reserved_bytes);
        self.drop_tree(&BlobRef { reference: *reference, size_bytes }, held_chunks)?;
        Ok(true)
    }

    fn remove_root(&mut self, reference: &Reference) -> Result<(), StoreError> {
        let row = self.roots.remove(reference.as_bytes())?.map(|row| row.value());
        match row {
            Some((size_bytes, _, false)) => self.drop_tree(&BlobRef { reference: *reference, size_bytes }, u64::MAX),
            Some((_, _, true)) | None => Ok(()),
        }
    }

    /// Ends one use of each of the blob's first `count` chunks. If the tree cannot be walked any more, all uses are
    /// counted afresh; the blob's row must be gone for that, or its uses be one too many.
    pub(super) fn drop_tree(&mut self, blob: &BlobRef, count: u64) -> Result<(), StoreError> {
        match self.drop_chunks(blob, count) {
            Err(StoreError::Corrupt { .. }) => self.recount(),
            outcome => outcome,
        }
    }

    fn drop_chunks(&mut self, blob: &BlobRef, count: u64) -> Result<(), StoreError> {
        let mut walk = Walk::new(*blob);
        while let Some(expected) = walk.expected().filter(|_| walk.passed_chunks() < count) {
            let reference = expected.reference;
            if expected.is_leaf() {
                walk.skip();
            } else {
                walk.accept(&self.load_chunk(reference)?).map_err(|_| StoreError::Corrupt { reference })?;
            }
            self.drop_chunk(reference)?;
        }
        Ok(())
    }

    /// Rewrites the stored form of a chunk that is here, if it is not what it should be.
    fn repair(&mut self, number: u64, chunk: &Chunk) -> Result<(), StoreError> {
        if number == self.next_pack {
            return Ok(()); // In the open pack, verified a moment ago.
        }
        let repaired = match self.packs.get(number)? {
            Some(bytes) if pack::find(bytes.value(), &chunk.reference()) == Some(chunk.wire()) => return Ok(()),
            Some(bytes) => pack::repaired(bytes.value(), chunk),
            None => pack::repaired(&[], chunk),
        };
        self.packs.insert(number, repaired.as_slice())?;
        Ok(())
    }

    fn close_pack(&mut self) -> Result<(), StoreError> {
        if self.open_chunks > 0 {
            self.packs.insert(self.next_pack, self.open_pack.as_slice())?;
            self.open_pack.clear();
            self.open_chunks = 0;
            self.next_pack += 1;
        }
        Ok(())
    }
}
