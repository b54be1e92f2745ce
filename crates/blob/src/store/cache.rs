//! The cache: roots that nobody holds, kept as long as there is room, the one that was not used for the longest time
//! first to go. Serves what is likely to be asked for again, as a program that the next job runs too.
//!
//! A use is a read of the root or its entry into the cache. Reads are told in memory and written down with the next
//! change of the store; a crash forgets them, which costs no more than an eviction in another order.

use std::collections::BTreeSet;

use manyhands_proto::Reference;
use redb::ReadableTable as _;

use super::ledger::Ledger;
use super::members::Members;
use super::root::Extent;
use super::roots::Last;
use super::{ChunkStore, Owner, StoreError, space};

/// Reads that are remembered between two changes; further ones do not count as uses. 32 kB.
pub(super) const RECENT_MAX: usize = 1024;

impl ChunkStore {
    /// As [`ChunkStore::release`], but what the last holder leaves stays as cache until its room is needed.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn release_to_cache(&self, owner: &Owner, reference: &Reference) -> Result<bool, StoreError> {
        self.write(|ledger| ledger.release(owner, reference, Last::Cache))
    }

    /// As [`ChunkStore::release_owner`], but what nobody else holds stays as cache. Downloads are dropped.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn release_owner_to_cache(&self, owner: &Owner) -> Result<usize, StoreError> {
        self.write(|ledger| ledger.release_owner(owner, Last::Cache))
    }

    /// The roots in the cache, the next one to be evicted first.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn cached(&self) -> Result<Vec<Reference>, StoreError> {
        // Written down now, so that the order is the one that eviction would take.
        self.write(|ledger| {
            let rows = ledger.cache_order.iter()?;
            rows.map(|row| Ok(Reference(*row?.1.value()))).collect()
        })
    }

    /// Evicts, oldest use first, until the cache takes no more than `bytes_max`. Tells how many roots went.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn shrink_cache(&self, bytes_max: u64) -> Result<usize, StoreError> {
        self.write(|ledger| {
            let mut count = 0;
            while ledger.cached_bytes > bytes_max && ledger.evict_oldest()? {
                count += 1;
            }
            Ok(count)
        })
    }

    /// Remembers a read of `reference`, which need not be a root.
    pub(super) fn note_use(&self, reference: Reference) {
        let mut recent = self.inner.recent();
        if let Some(at) = recent.iter().position(|known| *known == reference) {
            recent.remove(at);
        }
        if recent.len() < RECENT_MAX {
            recent.push(reference);
        }
    }

    /// Remembers reads again that a transaction which failed was to write down; those that came meanwhile are later ones.
    pub(super) fn recall_uses(&self, mut earlier: Vec<Reference>) {
        let mut recent = self.inner.recent();
        let later: BTreeSet<Reference> = recent.iter().copied().collect();
        earlier.retain(|reference| !later.contains(reference));
        earlier.append(&mut recent);
        earlier.truncate(RECENT_MAX);
        *recent = earlier;
    }

    /// Lets some of the cache go after a write was refused that misses `missing_bytes` on the disk. Nothing is written if that would not help.
    /// Tells whether any went.
    pub(super) fn make_cache_yield(&self, missing_bytes: u64) -> Result<bool, StoreError> {
        let bytes = space::yield_bytes(missing_bytes, self.usage()?.cached_bytes);
        if bytes == 0 { Ok(false) } else { self.transact(|ledger| ledger.yield_cache(bytes)) }
    }
}

impl Ledger<'_> {
    /// Writes down uses, oldest first, of those that are in the cache.
    pub(super) fn note_uses(&mut self, recent: &[Reference]) -> Result<(), StoreError> {
        for reference in recent {
            if self.forget_cached(reference)? {
                self.stamp(*reference)?;
            }
        }
        Ok(())
    }

    /// Puts a root whose last holder has gone into the cache.
    pub(super) fn lay_in_cache(&mut self, reference: Reference, extent: Extent) -> Result<(), StoreError> {
        match self.shift_all(Members::of(reference, extent), 0, 1) {
            Ok(()) => self.stamp(reference),
            // It cannot be read, so it is worth nothing as cache; the count puts its uses right.
            Err(StoreError::Corrupt { .. }) => {
                self.roots.remove(reference.as_bytes())?;
                self.recount()?;
                self.drop_list(extent)
            }
            Err(error) => Err(error),
        }
    }

    fn stamp(&mut self, reference: Reference) -> Result<(), StoreError> {
        self.cache.insert(reference.as_bytes(), self.next_use)?;
        self.cache_order.insert(self.next_use, reference.as_bytes())?;
        self.next_use += 1;
        Ok(())
    }

    /// Takes a root out of the cache, if it is there, because it will be held: its uses are not idle any more.
    pub(super) fn wake(&mut self, reference: Reference) -> Result<(), StoreError> {
        if !self.forget_cached(&reference)? {
            return Ok(());
        }
        let Some(root) = self.root(&reference)? else { return Ok(()) };
        // Found damaged, it must not be held: the transaction ends with the error.
        self.shift_all(Members::of(reference, root.extent), 0, -1)
    }

    /// Removes the cache's rows of a root. Tells whether there were any.
    pub(super) fn forget_cached(&mut self, reference: &Reference) -> Result<bool, StoreError> {
        let number = self.cache.remove(reference.as_bytes())?.map(|row| row.value());
        if let Some(number) = number {
            self.cache_order.remove(number)?;
        }
        Ok(number.is_some())
    }

    /// Evicts the root whose last use is the oldest. False if there is none. One that cannot be read stays for
    /// [`ChunkStore::gc`]: counting all uses afresh, which it takes, is not possible amid a blob that is being put.
    pub(super) fn evict_oldest(&mut self) -> Result<bool, StoreError> {
        loop {
            let next = self.cache_order.range(self.evict_from..)?.next().transpose()?;
            let Some((number, reference)) = next.map(|(number, row)| (number.value(), Reference(*row.value()))) else {
                return Ok(false);
            };
            self.evict_from = number + 1;
            let Some(root) = self.root(&reference)? else { continue };
            if self.has_all(Members::of(reference, root.extent))? {
                self.remove_root(&reference)?;
                return Ok(true);
            }
        }
    }

    /// Evicts, oldest use first, until `bytes` have gone or nothing is left. Tells whether any went.
    fn yield_cache(&mut self, bytes: u64) -> Result<bool, StoreError> {
        let before_bytes = self.cached_bytes;
        let left_bytes = before_bytes.saturating_sub(bytes);
        while self.cached_bytes > left_bytes && self.evict_oldest()? {}
        Ok(self.cached_bytes < before_bytes)
    }

    /// Removes cached roots that cannot be read. Tells how many.
    pub(super) fn drop_unreadable_cache(&mut self) -> Result<usize, StoreError> {
        let mut unreadable = BTreeSet::new();
        for row in self.cache.iter()? {
            let reference = Reference(*row?.0.value());
            let Some(root) = self.root(&reference)? else { continue };
            if !self.has_all(Members::of(reference, root.extent))? {
                unreadable.insert(reference);
            }
        }
        for reference in &unreadable {
            self.remove_root(reference)?;
        }
        Ok(unreadable.len())
    }
}
