//! Counting all uses afresh. Uses are right by construction as long as trees can be walked; when a spoilt interior
//! chunk prevents that, the whole store is walked once instead, so that nothing leaks and nothing shared is lost.

use manyhands_proto::{BlobRef, Reference};
use redb::{ReadableTable as _, Table, TableDefinition};

use super::StoreError;
use super::ledger::Ledger;
use crate::walk::Walk;

/// Uses by chunk, only while counting. On disk, because a large store's chunks do not fit a weak machine's memory.
const USES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("uses");

type Uses<'t> = Table<'t, &'static [u8; 32], u64>;

impl Ledger<'_> {
    /// Sets every chunk's uses to what the blobs and downloads need. A blob that cannot be walked is marked as
    /// damaged and has no uses; a download that cannot be walked is forgotten.
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
            rows.push((Reference(*reference.value()), row.value()));
        }
        for (reference, (size_bytes, holders, damaged)) in rows {
            let blob = BlobRef { reference, size_bytes };
            if !damaged && !self.count_tree(&blob, u64::MAX, uses)? {
                self.roots.insert(reference.as_bytes(), (size_bytes, holders, true))?;
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
            if !self.count_tree(&blob, held_chunks, uses)? {
                self.partials.remove(blob.reference.as_bytes())?;
                self.reserved_bytes = self.reserved_bytes.saturating_sub(reserved_bytes);
            }
        }
        Ok(())
    }

    /// Counts one use for each of the blob's first `count` chunks, or none and says false if they cannot all be found.
    fn count_tree(&self, blob: &BlobRef, count: u64, uses: &mut Uses<'_>) -> Result<bool, StoreError> {
        match self.visit_tree(blob, count, &mut |_| Ok(())) {
            Err(StoreError::Corrupt { .. }) => return Ok(false),
            outcome => outcome?,
        }
        self.visit_tree(blob, count, &mut |reference| {
            let known = uses.get(reference.as_bytes())?.map(|row| row.value()).unwrap_or_default();
            uses.insert(reference.as_bytes(), known + 1)?;
            Ok(())
        })?;
        Ok(true)
    }

    fn visit_tree(
        &self,
        blob: &BlobRef,
        count: u64,
        visit: &mut impl FnMut(Reference) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut walk = Walk::new(*blob);
        while let Some(expected) = walk.expected().filter(|_| walk.passed_chunks() < count) {
            let reference = expected.reference;
            let corrupt = || StoreError::Corrupt { reference };
            if !expected.is_leaf() {
                walk.accept(&self.load_chunk(reference)?).map_err(|_| corrupt())?;
            } else {
                self.chunks.get(reference.as_bytes())?.ok_or_else(corrupt)?;
                walk.skip();
            }
            visit(reference)?;
        }
        Ok(())
    }

    /// Only rows that change are held in memory: those below what was spoilt.
    fn apply(&mut self, uses: &Uses<'_>) -> Result<(), StoreError> {
        let mut changed = Vec::new();
        for row in self.chunks.iter()? {
            let (reference, row) = row?;
            let (pack, counted, length) = row.value();
            let due = uses.get(reference.value())?.map(|row| row.value()).unwrap_or_default();
            if due != counted {
                changed.push((Reference(*reference.value()), (pack, due, length)));
            }
        }
        for (reference, (pack, due, length)) in changed {
            if due == 0 {
                self.bury(reference)?;
            } else {
                self.chunks.insert(reference.as_bytes(), (pack, due, length))?;
            }
        }
        Ok(())
    }
}
