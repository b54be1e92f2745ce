//! Counting all uses afresh. Uses are right by construction as long as trees can be walked; when a spoilt interior
//! chunk prevents that, the whole store is walked once instead, so that nothing leaks and nothing shared is lost.

use manyhands_proto::{BlobRef, Reference};
use redb::{ReadableTable as _, Table, TableDefinition};

use super::StoreError;
use super::ledger::Ledger;
use super::members::Members;
use super::root::Root;

/// Uses and idle uses by chunk, only while counting. On disk, because a large store's chunks do not fit a weak
/// machine's memory.
const USES: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("uses");

type Uses<'t> = Table<'t, &'static [u8; 32], (u64, u64)>;

impl Ledger<'_> {
    /// Sets every chunk's uses to what the roots and downloads need. A root that cannot be walked is marked as damaged
    /// and has no uses, or goes if it is in the cache; a download that cannot be walked is forgotten.
    pub(super) fn recount(&mut self) -> Result<(), StoreError> {
        let mut uses = self.txn.open_table(USES)?;
        self.count_roots(&mut uses)?;
        self.count_partials(&mut uses)?;
        self.apply(&uses)?;
        drop(uses);
        self.txn.delete_table(USES)?;
        Ok(())
    }

    fn count_roots(&mut self, uses: &mut Uses<'_>) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for row in self.roots.iter()? {
            let (reference, row) = row?;
            rows.extend(Root::of_row(row.value()).map(|root| (Reference(*reference.value()), root)));
        }
        for (reference, root) in rows {
            let is_cached = self.cache.get(reference.as_bytes())?.is_some();
            if root.damaged || self.count(|| Members::of(reference, root.extent), is_cached, uses)? {
                continue;
            }
            if is_cached {
                self.forget_cached(&reference)?;
                self.roots.remove(reference.as_bytes())?;
                self.drop_list(root.extent)?;
            } else {
                self.roots.insert(reference.as_bytes(), Root { damaged: true, ..root }.to_row())?;
            }
        }
        Ok(())
    }

    fn count_partials(&mut self, uses: &mut Uses<'_>) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for row in self.partials.iter()? {
            let (reference, row) = row?;
            let (size_bytes, held_chunks, reserved_bytes, _) = row.value();
            rows.push((BlobRef { reference: Reference(*reference.value()), size_bytes }, held_chunks, reserved_bytes));
        }
        for (blob, held_chunks, reserved_bytes) in rows {
            if !self.count(|| Members::first(blob, held_chunks), false, uses)? {
                self.partials.remove(blob.reference.as_bytes())?;
                self.partial_times.remove(blob.reference.as_bytes())?;
                self.reserved_bytes = self.reserved_bytes.saturating_sub(reserved_bytes);
            }
        }
        Ok(())
    }

    /// Counts one use for each place, or none and says false if they cannot all be found.
    fn count(&self, members: impl Fn() -> Members, is_idle: bool, uses: &mut Uses<'_>) -> Result<bool, StoreError> {
        if !self.has_all(members())? {
            return Ok(false);
        }
        let mut members = members();
        while let Some(reference) = members.next(self)? {
            let (known, idle) = uses.get(reference.as_bytes())?.map(|row| row.value()).unwrap_or_default();
            uses.insert(reference.as_bytes(), (known + 1, idle + u64::from(is_idle)))?;
        }
        Ok(true)
    }

    /// Only rows that change are held in memory: those below what was spoilt.
    fn apply(&mut self, uses: &Uses<'_>) -> Result<(), StoreError> {
        let (mut changed, mut cached_bytes) = (Vec::new(), 0);
        for row in self.chunks.iter()? {
            let (reference, row) = row?;
            let (_, counted, length) = row.value();
            let (due, idle_due) = uses.get(reference.value())?.map(|row| row.value()).unwrap_or_default();
            let idle = self.idle.get(reference.value())?.map(|row| row.value()).unwrap_or_default();
            if due > 0 && due == idle_due {
                cached_bytes += u64::from(length);
            }
            if (due, idle_due) != (counted, idle) {
                changed.push((Reference(*reference.value()), due, idle_due));
            }
        }
        for (reference, due, idle_due) in changed {
            let row = self.chunks.get(reference.as_bytes())?.map(|row| row.value());
            match row {
                Some((pack, _, length)) if due > 0 => {
                    self.chunks.insert(reference.as_bytes(), (pack, due, length))?;
                    self.set_idle(reference, idle_due)?;
                }
                Some(_) | None => self.bury(reference)?,
            }
        }
        self.cached_bytes = cached_bytes;
        Ok(())
    }
}
