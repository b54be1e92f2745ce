//! Clearing up: what should not be there, what nobody will go on with, and the room that the file takes beyond its
//! chunks.

use std::time::Duration;

use manyhands_proto::Reference;
use redb::ReadableTable as _;

use super::{ChunkStore, StoreError, file};

/// What [`ChunkStore::gc`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Downloads given up.
    pub partials: usize,
    /// Cached roots that could not be read.
    pub unreadable: usize,
    /// Bytes of chunks that no root needed: a defect of this program, or damage.
    pub stray_bytes: u64,
    /// Bytes by which the file became shorter.
    pub file_bytes: u64,
    /// Whether the file was compacted; not while somebody reads or writes.
    pub compacted: bool,
}

impl ChunkStore {
    /// Drops downloads that have not gone on for `age_max` and that nobody in this process works on, cached roots that
    /// cannot be read, and chunks that no root needs; then compacts the file. It reads the whole index and every
    /// interior chunk, and others wait meanwhile: for quiet hours.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn gc(&self, age_max: Duration) -> Result<Collected, StoreError> {
        let before_bytes = self.inner.file.size_bytes()?;
        let last = file::unix_seconds().saturating_sub(age_max.as_secs());
        let active = self.inner.active().clone();
        let (partials, unreadable, stray_bytes) = self.write(|ledger| {
            let mut stale = Vec::new();
            for row in ledger.partial_times.iter()? {
                let (reference, seconds) = row?;
                stale.extend((seconds.value() <= last).then_some(Reference(*reference.value())));
            }
            stale.retain(|reference| !active.contains(reference));
            for reference in &stale {
                ledger.remove_partial(reference)?;
            }
            let unreadable = ledger.drop_unreadable_cache()?;
            let used_bytes = ledger.used_bytes;
            ledger.recount()?;
            Ok((stale.len(), unreadable, used_bytes.saturating_sub(ledger.used_bytes)))
        })?;
        let compacted = self.inner.file.compact()?;
        let file_bytes = before_bytes.saturating_sub(self.inner.file.size_bytes()?);
        Ok(Collected { partials, unreadable, stray_bytes, file_bytes, compacted })
    }
}
