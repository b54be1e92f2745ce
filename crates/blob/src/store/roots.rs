//! Roots and their holders within a transaction.

use manyhands_proto::{BlobRef, Reference};
use redb::ReadableTable as _;

use super::ledger::Ledger;
use super::members::Members;
use super::root::{Extent, Root};
use super::{Owner, StoreError, tables};

/// What becomes of a root whose last holder goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// Its chunks go, except those that others share.
    Free,
    /// It stays as cache.
    Cache,
}

impl Ledger<'_> {
    fn set_root(&mut self, reference: &Reference, root: Root) -> Result<(), StoreError> {
        self.roots.insert(reference.as_bytes(), root.to_row())?;
        Ok(())
    }

    /// Makes a root of chunks that have all been added for it. Without a holder yet, so a hold must follow.
    pub(super) fn adopt(&mut self, reference: Reference, new: Extent) -> Result<(), StoreError> {
        match self.root(&reference)? {
            None => self.set_root(&reference, Root { extent: new, holders: 0, damaged: false }),
            // It is whole again; the uses that it had went when the damage was found.
            Some(old) if old.damaged => self.set_root(&reference, Root { extent: new, damaged: false, ..old }),
            // It was here already: its chunks have been counted twice now.
            Some(old) if old.extent.covers(new) => self.drop_extent(reference, new),
            Some(old) => {
                self.wake(reference)?;
                self.set_root(&reference, Root { extent: new, ..old })?;
                self.drop_extent(reference, old.extent)
            }
        }
    }

    /// Makes a blob complete whose chunks have all been added, and lets `owner` hold it.
    pub(super) fn commit_blob(&mut self, owner: &Owner, blob: &BlobRef) -> Result<(), StoreError> {
        self.adopt(blob.reference, Extent::Blob { size_bytes: blob.size_bytes })?;
        self.hold_root(owner.as_str(), blob.reference).map(drop)
    }

    pub(super) fn hold(&mut self, owner: &Owner, blob: &BlobRef) -> Result<(), StoreError> {
        let (reference, stated_bytes) = (blob.reference, blob.size_bytes);
        match self.root(&reference)?.map(|root| root.extent) {
            Some(Extent::Blob { size_bytes: stored_bytes }) if stored_bytes != stated_bytes => {
                Err(StoreError::SizeMismatch { reference, stated_bytes, stored_bytes })
            }
            Some(Extent::Blob { .. }) => self.hold_root(owner.as_str(), reference).map(drop),
            Some(Extent::Listed { .. } | Extent::Single) | None => Err(StoreError::NotFound { reference }),
        }
    }

    /// Adds a holder to a root that is here, and takes it out of the cache. Tells whether the hold is new.
    pub(super) fn hold_root(&mut self, holder: &str, reference: Reference) -> Result<bool, StoreError> {
        let root = self.root(&reference)?.ok_or(StoreError::NotFound { reference })?;
        if root.damaged {
            return Err(StoreError::Corrupt { reference });
        }
        let is_new = self.holds.insert((holder, reference.as_bytes()), ())?.is_none();
        if is_new {
            self.wake(reference)?;
            self.set_root(&reference, Root { holders: root.holders + 1, ..root })?;
        }
        Ok(is_new)
    }

    /// Ends an owner's hold on a root and its download of it. Tells whether there was one.
    pub(super) fn release(&mut self, owner: &Owner, reference: &Reference, last: Last) -> Result<bool, StoreError> {
        let partial = self.partials.get(reference.as_bytes())?;
        let is_begun = partial.is_some_and(|row| row.value().3 == owner.as_str());
        if is_begun {
            self.remove_partial(reference)?;
        }
        Ok(self.let_go(owner.as_str(), reference, last)? || is_begun)
    }

    /// Ends a hold. Tells whether there was one.
    pub(super) fn let_go(&mut self, holder: &str, reference: &Reference, last: Last) -> Result<bool, StoreError> {
        if self.holds.remove((holder, reference.as_bytes()))?.is_none() {
            return Ok(false);
        }
        match self.root(reference)? {
            Some(root) if root.holders > 1 => {
                self.set_root(reference, Root { holders: root.holders - 1, ..root })?;
            }
            Some(root) if last == Last::Cache && !root.damaged => {
                self.set_root(reference, Root { holders: 0, ..root })?;
                self.lay_in_cache(*reference, root.extent)?;
            }
            Some(_) | None => self.remove_root(reference)?,
        }
        Ok(true)
    }

    pub(super) fn release_owner(&mut self, owner: &Owner, last: Last) -> Result<usize, StoreError> {
        let held = tables::references_held(&self.holds, owner.as_str())?;
        for reference in &held {
            self.release(owner, reference, last)?;
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

    pub(super) fn hand_over(&mut self, from: &Owner, to: &Owner) -> Result<usize, StoreError> {
        let held = tables::references_held(&self.holds, from.as_str())?;
        for reference in held.iter().filter(|_| from != to) {
            self.hold_root(to.as_str(), *reference)?;
            self.let_go(from.as_str(), reference, Last::Free)?;
        }
        Ok(held.len())
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
        self.partial_times.remove(reference.as_bytes())?;
        self.reserved_bytes = self.reserved_bytes.saturating_sub(reserved_bytes);
        self.drop_uses(Members::first(BlobRef { reference: *reference, size_bytes }, held_chunks), 0)?;
        Ok(true)
    }

    /// Removes a root, held or cached, and its uses.
    pub(super) fn remove_root(&mut self, reference: &Reference) -> Result<(), StoreError> {
        let idle = if self.forget_cached(reference)? { -1 } else { 0 };
        let row = self.roots.remove(reference.as_bytes())?.map(|row| row.value());
        let Some(root) = row.and_then(Root::of_row) else { return Ok(()) };
        if !root.damaged {
            self.drop_uses(Members::of(*reference, root.extent), idle)?;
        }
        self.drop_list(root.extent)
    }

    /// Ends the uses, none of them idle, that an extent has beside the one that its root's row states.
    pub(super) fn drop_extent(&mut self, reference: Reference, extent: Extent) -> Result<(), StoreError> {
        self.drop_uses(Members::of(reference, extent), 0)?;
        self.drop_list(extent)
    }

    /// Ends one use of each. If they cannot be found any more, all uses are counted afresh; so the row that these uses
    /// come from must be gone, or they be too many by one.
    fn drop_uses(&mut self, members: Members, idle: i64) -> Result<(), StoreError> {
        match self.shift_all(members, -1, idle) {
            Err(StoreError::Corrupt { .. }) => self.recount(),
            outcome => outcome,
        }
    }

    pub(super) fn drop_list(&mut self, extent: Extent) -> Result<(), StoreError> {
        if let Extent::Listed { list } = extent {
            self.lists.retain_in((list, 0)..=(list, u32::MAX), |_, _| false)?;
        }
        Ok(())
    }
}
