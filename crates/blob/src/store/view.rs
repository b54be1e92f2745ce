//! What can be asked of the store: who holds what, what is under way, how full it is.

use std::collections::BTreeSet;

use manyhands_proto::{BlobRef, Reference};
use redb::{ReadTransaction, ReadableTable as _};

use super::root::Extent;
use super::{ChunkStore, Owner, StoreError, tables};
use crate::shape;

/// How full a store is. All sizes count chunks (payload and span), each distinct one once; the file is 1.14
/// to 1.25 times as large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the chunks kept, the cache's included.
    pub used_bytes: u64,
    /// Bytes promised to downloads that are not complete.
    pub reserved_bytes: u64,
    /// Of the bytes used, those that only the cache needs: they yield as soon as there is need.
    pub cached_bytes: u64,
    /// The limit that bytes used and reserved together stay within.
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

/// Whether there is room for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// There is, with what the cache yields.
    Yes,
    /// Not within the store's limit.
    OverLimit {
        /// Bytes that are too few.
        short_bytes: u64,
    },
    /// Not on the disk.
    LowSpace {
        /// Bytes free on the disk.
        free_bytes: u64,
        /// Bytes that must stay free.
        floor_bytes: u64,
    },
}

impl ChunkStore {
    /// The blobs that `owner` holds. Trees of another kind and single chunks are in [`ChunkStore::held_roots`] only.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn held_by(&self, owner: &Owner) -> Result<Vec<BlobRef>, StoreError> {
        let txn = self.inner.file.begin_read()?;
        let (roots, holds) = (txn.open_table(tables::ROOTS)?, txn.open_table(tables::HOLDS)?);
        let mut blobs = Vec::new();
        for reference in tables::references_held(&holds, owner.as_str())? {
            if let Some(Extent::Blob { size_bytes }) = tables::root(&roots, &reference)?.map(|root| root.extent) {
                blobs.push(BlobRef { reference, size_bytes });
            }
        }
        Ok(blobs)
    }

    /// The references of all that `owner` holds: blobs, trees and single chunks.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn held_roots(&self, owner: &Owner) -> Result<Vec<Reference>, StoreError> {
        tables::references_held(&self.inner.file.begin_read()?.open_table(tables::HOLDS)?, owner.as_str())
    }

    /// All who hold something or have begun a download. A pin is nobody's.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn owners(&self) -> Result<BTreeSet<Owner>, StoreError> {
        let txn = self.inner.file.begin_read()?;
        let (holds, partials) = (txn.open_table(tables::HOLDS)?, txn.open_table(tables::PARTIALS)?);
        let mut owners = BTreeSet::new();
        for row in holds.iter()? {
            let row = row?;
            let (holder, _) = row.0.value();
            if holder != tables::PINS {
                owners.insert(Owner::from_row(holder));
            }
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
        self.usage_in(&self.inner.file.begin_read()?)
    }

    pub(super) fn usage_in(&self, txn: &ReadTransaction) -> Result<Usage, StoreError> {
        let counters = txn.open_table(tables::COUNTERS)?;
        Ok(Usage {
            used_bytes: tables::counter(&counters, tables::USED_BYTES)?,
            reserved_bytes: tables::counter(&counters, tables::RESERVED_BYTES)?,
            cached_bytes: tables::counter(&counters, tables::CACHED_BYTES)?,
            limit_bytes: self.inner.bounds.limit_bytes,
        })
    }

    /// Bytes of the chunks kept; see [`Usage`].
    ///
    /// # Errors
    /// Storage errors only.
    pub fn used_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.usage()?.used_bytes)
    }

    /// Whether a blob of `size_bytes` could be stored now: ask before taking work that brings as much. It reserves
    /// nothing; [`ChunkStore::begin_download`] does.
    ///
    /// # Errors
    /// Storage errors; [`StoreError::Io`] also if the room on the disk cannot be told.
    pub fn admits(&self, size_bytes: u64) -> Result<Admission, StoreError> {
        self.admits_beside(size_bytes, 0)
    }

    /// As [`ChunkStore::admits`], with room on the same disk for `beside_bytes` of another file at the same time.
    ///
    /// # Errors
    /// As [`ChunkStore::admits`].
    pub fn admits_beside(&self, size_bytes: u64, beside_bytes: u64) -> Result<Admission, StoreError> {
        let (usage, needed_bytes) = (self.usage()?, shape::stored_bytes(size_bytes));
        // What finds room inside the store's file needs none of the disk; the other file does.
        let beside = if beside_bytes > 0 { self.require_disk_beside(beside_bytes) } else { Ok(()) };
        match beside.and_then(|()| self.require_room(&usage, needed_bytes, beside_bytes)) {
            Ok(()) => Ok(Admission::Yes),
            Err(StoreError::Full { .. }) => {
                let short_bytes = usage.held_bytes().saturating_add(needed_bytes).saturating_sub(usage.limit_bytes);
                Ok(Admission::OverLimit { short_bytes })
            }
            Err(StoreError::LowSpace { free_bytes, floor_bytes, .. }) => {
                Ok(Admission::LowSpace { free_bytes, floor_bytes })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the store's disk has room for `bytes` of another file above the floor. It reserves nothing.
    ///
    /// # Errors
    /// [`StoreError::LowSpace`] if not; [`StoreError::Io`] if the room cannot be told.
    pub fn require_disk_beside(&self, bytes: u64) -> Result<(), StoreError> {
        self.inner.bounds.floor.as_ref().map_or(Ok(()), |floor| floor.require_beside(bytes))
    }

    /// Refuses an encrypted tree over `size_bytes` for which there is no room now, with what the cache yields, before any of it is fetched. It
    /// reserves nothing.
    pub(crate) fn require_sealed_room(&self, size_bytes: u64) -> Result<(), StoreError> {
        self.require_room(&self.usage()?, shape::sealed_bytes(size_bytes), 0)
    }

    fn require_room(&self, usage: &Usage, needed_bytes: u64, beside_bytes: u64) -> Result<(), StoreError> {
        let (held_bytes, limit_bytes) = (usage.held_bytes(), usage.limit_bytes);
        if held_bytes.saturating_add(needed_bytes) > limit_bytes {
            let used_bytes = usage.used_bytes.saturating_add(usage.reserved_bytes);
            return Err(StoreError::Full { used_bytes, limit_bytes, needed_bytes });
        }
        let Some(floor) = &self.inner.bounds.floor else { return Ok(()) };
        floor.require(needed_bytes, self.inner.file.disk_bytes()?, held_bytes, beside_bytes)
    }
}

impl Usage {
    /// What is used or reserved and does not yield.
    const fn held_bytes(&self) -> u64 {
        self.used_bytes.saturating_add(self.reserved_bytes).saturating_sub(self.cached_bytes)
    }
}
