//! Checking all that is on the disk: every chunk against its address, every row against its pack, and the numbers that
//! are kept against what they count. On a snapshot, so that nobody waits. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use manyhands_proto::Reference;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable as _, ReadableTableMetadata as _};

use super::members::{Members, Pages};
use super::root::{Extent, Root, RootRow};
use super::{ChunkStore, StoreError, pack, tables};
use crate::any::AnyChunk;
use crate::chunk::Chunk;
use crate::shape;

/// What [`ChunkStore::scrub`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Chunks that were verified and found good.
    pub good_chunks: u64,
    /// Chunks that are damaged or lost, and the roots that need them.
    pub corrupt: Vec<Corruption>,
    /// Numbers that do not agree with what they count, in words. A defect of this program, or damage.
    pub disagreements: Vec<String>,
    /// Where to go on: give it to the next scrub. None if all was checked.
    pub next: Option<u64>,
}

/// A chunk that is not what was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// Its address.
    pub chunk: Reference,
    /// The roots that it belongs to, in the order of their addresses. Of a root whose tree cannot be walked any more
    /// only the chunks on the way are known.
    pub roots: Vec<Reference>,
}

struct Snapshot {
    chunks: ReadOnlyTable<&'static [u8; 32], tables::ChunkRow>,
    packs: ReadOnlyTable<u64, &'static [u8]>,
    idle: ReadOnlyTable<&'static [u8; 32], u64>,
    roots: ReadOnlyTable<&'static [u8; 32], RootRow>,
    lists: ReadOnlyTable<(u64, u32), &'static [u8]>,
    cache: ReadOnlyTable<&'static [u8; 32], u64>,
    partials: ReadOnlyTable<&'static [u8; 32], (u64, u64, u64, &'static str)>,
    counters: ReadOnlyTable<&'static str, u64>,
}

/// What the rows of the chunks add up to.
#[derive(Default)]
struct Sums {
    /// Chunks by pack: about 20 bytes for each 60 kB stored.
    members: BTreeMap<u64, u64>,
    used_bytes: u64,
    cached_bytes: u64,
    uses: u64,
    idle: u64,
}

impl ChunkStore {
    /// Verifies all chunks, from where an earlier scrub said that it would go on or from the start. `progress` is told
    /// after each pack of up to 15 chunks how many packs are done and how many there are; it may break off. The numbers
    /// are checked each time.
    ///
    /// # Errors
    /// Storage errors only; damage is what the report is for.
    pub fn scrub(
        &self,
        from: Option<u64>,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Report, StoreError> {
        let snapshot = Snapshot::open(&self.inner.file.begin_read()?)?;
        let sums = snapshot.sums()?;
        let mut report = Report { disagreements: snapshot.disagreements(&sums)?, ..Report::default() };
        let bad = snapshot.verify_packs(&sums, from.unwrap_or_default(), &mut progress, &mut report)?;
        let corrupt = snapshot.corrupt_in(&bad)?;
        report.corrupt = snapshot.blame(corrupt)?;
        Ok(report)
    }
}

impl Snapshot {
    fn open(txn: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            chunks: txn.open_table(tables::CHUNKS)?,
            packs: txn.open_table(tables::PACKS)?,
            idle: txn.open_table(tables::IDLE)?,
            roots: txn.open_table(tables::ROOTS)?,
            lists: txn.open_table(tables::LISTS)?,
            cache: txn.open_table(tables::CACHE)?,
            partials: txn.open_table(tables::PARTIALS)?,
            counters: txn.open_table(tables::COUNTERS)?,
        })
    }

    fn sums(&self) -> Result<Sums, StoreError> {
        let mut sums = Sums::default();
        for row in self.chunks.iter()? {
            let (reference, row) = row?;
            let (pack, uses, length) = row.value();
            let idle = self.idle.get(reference.value())?.map(|row| row.value()).unwrap_or_default();
            *sums.members.entry(pack).or_default() += 1;
            sums.used_bytes += u64::from(length);
            sums.cached_bytes += if idle == uses { u64::from(length) } else { 0 };
            sums.uses += uses;
            sums.idle += idle;
        }
        Ok(sums)
    }

    /// Verifies packs as they lie in the file. Gives the numbers of those in which something is wrong.
    fn verify_packs(
        &self,
        sums: &Sums,
        from: u64,
        progress: &mut impl FnMut(u64, u64) -> ControlFlow<()>,
        report: &mut Report,
    ) -> Result<BTreeSet<u64>, StoreError> {
        let total = sums.members.len() as u64;
        let mut done = sums.members.range(..from).count() as u64;
        let mut bad = BTreeSet::new();
        for (number, due) in sums.members.range(from..) {
            let bytes = self.packs.get(*number)?;
            let slots = bytes.iter().flat_map(|bytes| pack::slots(bytes.value()));
            let good = slots.filter(|(reference, wire)| AnyChunk::verify(*reference, wire).is_some()).count() as u64;
            report.good_chunks += good.min(*due);
            if good != *due {
                bad.insert(*number);
            }
            done += 1;
            if progress(done, total).is_break() {
                report.next = sums.members.range(number + 1..).next().map(|(next, _)| *next);
                break;
            }
        }
        Ok(bad)
    }

    /// The chunks of these packs that are damaged or lost.
    fn corrupt_in(&self, bad: &BTreeSet<u64>) -> Result<BTreeSet<Reference>, StoreError> {
        let mut corrupt = BTreeSet::new();
        if bad.is_empty() {
            return Ok(corrupt);
        }
        for row in self.chunks.iter()? {
            let (reference, row) = row?;
            let reference = Reference(*reference.value());
            if !bad.contains(&row.value().0) {
                continue;
            }
            match tables::load_any(&self.chunks, &self.packs, reference) {
                Ok(_) => {}
                Err(StoreError::Corrupt { .. }) => drop(corrupt.insert(reference)),
                Err(error) => return Err(error),
            }
        }
        Ok(corrupt)
    }

    /// Finds the roots that the corrupt chunks belong to.
    fn blame(&self, corrupt: BTreeSet<Reference>) -> Result<Vec<Corruption>, StoreError> {
        let mut found: BTreeMap<Reference, BTreeSet<Reference>> =
            corrupt.into_iter().map(|chunk| (chunk, BTreeSet::new())).collect();
        if found.is_empty() {
            return Ok(Vec::new());
        }
        for row in self.roots.iter()? {
            let (reference, row) = row?;
            let reference = Reference(*reference.value());
            let Some(root) = Root::of_row(row.value()) else { continue };
            let mut members = Members::of(reference, root.extent);
            let mut is_walkable = true;
            while is_walkable {
                let chunk = match members.next(self) {
                    Ok(None) => break,
                    Ok(Some(chunk)) => chunk,
                    Err(StoreError::Corrupt { reference: chunk }) => {
                        is_walkable = false;
                        chunk
                    }
                    Err(error) => return Err(error),
                };
                if let Some(roots) = found.get_mut(&chunk) {
                    roots.insert(reference);
                }
            }
        }
        let corruptions = found.into_iter();
        Ok(corruptions.map(|(chunk, roots)| Corruption { chunk, roots: roots.into_iter().collect() }).collect())
    }

    /// Compares the counters with what they count.
    fn disagreements(&self, sums: &Sums) -> Result<Vec<String>, StoreError> {
        let (mut places, mut idle_places, mut reserved_bytes) = (0, 0, 0);
        for row in self.roots.iter()? {
            let (reference, row) = row?;
            let Some(root) = Root::of_row(row.value()).filter(|root| !root.damaged) else { continue };
            let count = self.places(Reference(*reference.value()), root.extent)?;
            places += count;
            idle_places += if self.cache.get(reference.value())?.is_some() { count } else { 0 };
        }
        for row in self.partials.iter()? {
            let (_, held_chunks, reserved, _) = row?.1.value();
            places += held_chunks;
            reserved_bytes += reserved;
        }
        let counter = |name| tables::counter(&self.counters, name);
        let compared = [
            ("bytes used", counter(tables::USED_BYTES)?, sums.used_bytes),
            ("bytes cached", counter(tables::CACHED_BYTES)?, sums.cached_bytes),
            ("bytes reserved", counter(tables::RESERVED_BYTES)?, reserved_bytes),
            ("uses of chunks", sums.uses, places),
            ("idle uses of chunks", sums.idle, idle_places),
            ("rows of packs", self.packs.len()?, sums.members.len() as u64),
        ];
        let wrong = compared.into_iter().filter(|(_, kept, counted)| kept != counted);
        Ok(wrong.map(|(what, kept, counted)| format!("{what}: {kept} kept, {counted} counted")).collect())
    }

    /// The number of places that a root has.
    fn places(&self, reference: Reference, extent: Extent) -> Result<u64, StoreError> {
        let Extent::Blob { size_bytes } = extent else {
            let (mut members, mut count) = (Members::of(reference, extent), 0);
            while members.next(self)?.is_some() {
                count += 1;
            }
            return Ok(count);
        };
        Ok(shape::chunk_count(size_bytes))
    }
}

impl Pages for Snapshot {
    fn chunk(&self, reference: Reference) -> Result<Chunk, StoreError> {
        tables::load_chunk(&self.chunks, &self.packs, reference)
    }

    fn list_part(&self, list: u64, part: u32) -> Result<Option<Vec<Reference>>, StoreError> {
        tables::list_part(&self.lists, list, part)
    }
}
