//! The tables of the store's file, and the few lookups that readers and the writer share.
//!
//! # Formats
//! Format 1 knew blobs only. Format 2 has roots of all kinds, the cache, and the time of a download's last progress; a
//! file of format 1 is brought to it when it is opened, in one transaction, and an older program then refuses it.

use manyhands_proto::Reference;
use redb::{ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::file::StoreFile;
use super::root::{Extent, Root, RootRow};
use super::{StoreError, file, pack};
use crate::any::AnyChunk;
use crate::chunk::Chunk;

/// Version of what is written here. An older one is migrated, a newer one refused.
const FORMAT: u64 = 2;

/// Chunk address to pack number, uses (places in roots and partial downloads) and length in bytes.
pub(super) const CHUNKS: TableDefinition<'_, &[u8; 32], ChunkRow> = TableDefinition::new("chunks");
/// Pack number to chunks, laid out as in `pack`.
pub(super) const PACKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("packs");
/// Reference to what is complete there: see `root`.
pub(super) const ROOTS: TableDefinition<'_, &[u8; 32], RootRow> = TableDefinition::new("roots of all kinds");
/// Format 1's: reference of a complete blob to its size in bytes, the number of its holders, and whether it was found
/// damaged.
pub(super) const BLOBS_1: TableDefinition<'_, &[u8; 32], (u64, u64, bool)> = TableDefinition::new("roots");
/// Number of a list and number of a part of it to addresses laid end to end: the chunks of a tree whose shape its
/// reference alone does not tell. Addresses only; keys are never stored.
pub(super) const LISTS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("lists");
/// Reference of a root that nobody holds to the number of its last use; greater is later.
pub(super) const CACHE: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("cache");
/// The same the other way round: the order of eviction.
pub(super) const CACHE_ORDER: TableDefinition<'_, u64, &[u8; 32]> = TableDefinition::new("cache order");
/// Chunk address to those of its uses that are by roots in the cache; without a row there are none. A chunk with no
/// other uses can be evicted.
pub(super) const IDLE: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("idle uses");
/// Owner and reference: the owner holds the root. Pins are held by [`PINS`].
pub(super) const HOLDS: TableDefinition<'_, (&str, &[u8; 32]), ()> = TableDefinition::new("holds");
/// Reference of a blob being downloaded to its size in bytes, chunks held in pre-order, bytes still reserved, and
/// owner.
pub(super) const PARTIALS: TableDefinition<'_, &[u8; 32], (u64, u64, u64, &str)> = TableDefinition::new("partials");
/// Reference of a blob being downloaded to the time of its last progress, in seconds since 1970.
pub(super) const PARTIAL_TIMES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("partial times");
/// Single numbers, by the names below.
pub(super) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

pub(super) const USED_BYTES: &str = "used bytes";
pub(super) const RESERVED_BYTES: &str = "reserved bytes";
/// Bytes of the chunks that can be evicted.
pub(super) const CACHED_BYTES: &str = "cached bytes";
pub(super) const NEXT_PACK: &str = "next pack";
pub(super) const NEXT_LIST: &str = "next list";
pub(super) const NEXT_USE: &str = "next use";
const FORMAT_KEY: &str = "format";

/// In place of an owner's name for pins: no [`Owner`](super::Owner) can have it.
pub(super) const PINS: &str = "";

/// Pack number, uses, length of the wire form in bytes.
pub(super) type ChunkRow = (u64, u64, u16);

/// Gives a new file its tables, brings one of format 1 to this format, and refuses others.
pub(super) fn check_format(file: &StoreFile) -> Result<(), StoreError> {
    let found = match file.begin_read()?.open_table(COUNTERS) {
        Ok(counters) => Some(counter(&counters, FORMAT_KEY)?),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match found {
        Some(FORMAT) => Ok(()),
        None | Some(1) => upgrade(file),
        Some(found) => Err(StoreError::Format { found, wanted: FORMAT }),
    }
}

/// Makes the tables that are not there yet, and moves the rows of those that have changed.
fn upgrade(file: &StoreFile) -> Result<(), StoreError> {
    let txn = file.begin_write()?;
    txn.open_table(CHUNKS)?;
    txn.open_table(PACKS)?;
    txn.open_table(HOLDS)?;
    txn.open_table(LISTS)?;
    txn.open_table(CACHE)?;
    txn.open_table(CACHE_ORDER)?;
    txn.open_table(IDLE)?;
    move_blobs(&txn)?;
    date_partials(&txn)?;
    txn.open_table(COUNTERS)?.insert(FORMAT_KEY, FORMAT)?;
    Ok(txn.commit()?)
}

fn move_blobs(txn: &WriteTransaction) -> Result<(), StoreError> {
    let (blobs, mut roots) = (txn.open_table(BLOBS_1)?, txn.open_table(ROOTS)?);
    for row in blobs.iter()? {
        let (reference, row) = row?;
        let (size_bytes, holders, damaged) = row.value();
        let root = Root { extent: Extent::Blob { size_bytes }, holders, damaged };
        roots.insert(reference.value(), root.to_row())?;
    }
    drop(blobs);
    txn.delete_table(BLOBS_1)?;
    Ok(())
}

/// Downloads of format 1 do not say when they last went on: they are as old as the migration.
fn date_partials(txn: &WriteTransaction) -> Result<(), StoreError> {
    let (partials, mut times) = (txn.open_table(PARTIALS)?, txn.open_table(PARTIAL_TIMES)?);
    let now = file::unix_seconds();
    for row in partials.iter()? {
        times.insert(row?.0.value(), now)?;
    }
    Ok(())
}

/// The number called `name`, 0 if it was never set.
pub(super) fn counter(counters: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, StoreError> {
    Ok(counters.get(name)?.map(|value| value.value()).unwrap_or_default())
}

/// The references held under the name `holder`.
pub(super) fn references_held(
    holds: &impl ReadableTable<(&'static str, &'static [u8; 32]), ()>,
    holder: &str,
) -> Result<Vec<Reference>, StoreError> {
    let rows = holds.range((holder, &[0; 32])..=(holder, &[0xff; 32]))?;
    rows.map(|row| Ok(Reference(*row?.0.value().1))).collect()
}

/// The root at `reference`, if one is there.
pub(super) fn root(
    roots: &impl ReadableTable<&'static [u8; 32], RootRow>,
    reference: &Reference,
) -> Result<Option<Root>, StoreError> {
    let row = roots.get(reference.as_bytes())?.map(|row| row.value());
    row.map(|row| Root::of_row(row).ok_or(StoreError::Corrupt { reference: *reference })).transpose()
}

/// A part of a list of addresses; none after the last.
pub(super) fn list_part(
    lists: &impl ReadableTable<(u64, u32), &'static [u8]>,
    list: u64,
    part: u32,
) -> Result<Option<Vec<Reference>>, StoreError> {
    let bytes = lists.get((list, part))?;
    Ok(bytes.map(|bytes| bytes.value().as_chunks().0.iter().copied().map(Reference).collect()))
}

/// The content-addressed chunk at `reference`, verified; [`StoreError::Corrupt`] if it is damaged or lost.
pub(super) fn load_chunk(
    chunks: &impl ReadableTable<&'static [u8; 32], ChunkRow>,
    packs: &impl ReadableTable<u64, &'static [u8]>,
    reference: Reference,
) -> Result<Chunk, StoreError> {
    let take = |wire: &[u8]| Chunk::verify(reference, wire).ok();
    with_wire(chunks, packs, reference, take)?.ok_or(StoreError::Corrupt { reference })
}

/// The chunk at `reference` of whatever kind, verified, if the store has one; [`StoreError::Corrupt`] if it is damaged.
pub(super) fn load_any(
    chunks: &impl ReadableTable<&'static [u8; 32], ChunkRow>,
    packs: &impl ReadableTable<u64, &'static [u8]>,
    reference: Reference,
) -> Result<Option<AnyChunk>, StoreError> {
    with_wire(chunks, packs, reference, |wire| AnyChunk::verify(reference, wire))
}

/// What `take` makes of the bytes at `reference`; none if there is no row, damaged if it makes nothing of them.
fn with_wire<T>(
    chunks: &impl ReadableTable<&'static [u8; 32], ChunkRow>,
    packs: &impl ReadableTable<u64, &'static [u8]>,
    reference: Reference,
    take: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let corrupt = || StoreError::Corrupt { reference };
    let Some(row) = chunks.get(reference.as_bytes())? else { return Ok(None) };
    let bytes = packs.get(row.value().0)?.ok_or_else(corrupt)?;
    let wire = pack::find(bytes.value(), &reference).ok_or_else(corrupt)?;
    take(wire).map(Some).ok_or_else(corrupt)
}
