//! The tables of the store's file, and the few lookups that readers and the writer share.

use manyhands_proto::Reference;
use redb::{ReadableTable, TableDefinition, TableError};

use super::file::StoreFile;
use super::{Owner, StoreError, pack};
use crate::chunk::Chunk;

/// Version of what is written here; another number in the file is refused.
const FORMAT: u64 = 1;

/// Chunk address to pack number, uses (places in complete trees and partial downloads) and length in bytes.
pub(super) const CHUNKS: TableDefinition<'_, &[u8; 32], ChunkRow> = TableDefinition::new("chunks");
/// Pack number to chunks, laid out as in `pack`.
pub(super) const PACKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("packs");
/// Reference of a complete blob to its size in bytes, the number of its holders, and whether it was found damaged, in
/// which case its chunks have no uses from it.
pub(super) const ROOTS: TableDefinition<'_, &[u8; 32], (u64, u64, bool)> = TableDefinition::new("roots");
/// Owner and reference: the owner holds the blob.
pub(super) const HOLDS: TableDefinition<'_, (&str, &[u8; 32]), ()> = TableDefinition::new("holds");
/// Reference of a blob being downloaded to its size in bytes, chunks held in pre-order, bytes still reserved, and
/// owner.
pub(super) const PARTIALS: TableDefinition<'_, &[u8; 32], (u64, u64, u64, &str)> = TableDefinition::new("partials");
/// Single numbers, by the names below.
pub(super) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

pub(super) const USED_BYTES: &str = "used bytes";
pub(super) const RESERVED_BYTES: &str = "reserved bytes";
pub(super) const NEXT_PACK: &str = "next pack";
const FORMAT_KEY: &str = "format";

/// Pack number, uses, length of the wire form in bytes.
pub(super) type ChunkRow = (u64, u64, u16);

/// Refuses a file of another format; gives a new file its tables.
pub(super) fn check_format(file: &StoreFile) -> Result<(), StoreError> {
    let found = match file.begin_read()?.open_table(COUNTERS) {
        Ok(counters) => Some(counter(&counters, FORMAT_KEY)?),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(StoreError::Format { found, wanted: FORMAT }),
        None => create(file),
    }
}

fn create(file: &StoreFile) -> Result<(), StoreError> {
    let txn = file.begin_write()?;
    txn.open_table(CHUNKS)?;
    txn.open_table(PACKS)?;
    txn.open_table(ROOTS)?;
    txn.open_table(HOLDS)?;
    txn.open_table(PARTIALS)?;
    txn.open_table(COUNTERS)?.insert(FORMAT_KEY, FORMAT)?;
    Ok(txn.commit()?)
}

/// The number called `name`, 0 if it was never set.
pub(super) fn counter(counters: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, StoreError> {
    Ok(counters.get(name)?.map(|value| value.value()).unwrap_or_default())
}

/// The references that `owner` holds.
pub(super) fn references_held(
    holds: &impl ReadableTable<(&'static str, &'static [u8; 32]), ()>,
    owner: &Owner,
) -> Result<Vec<Reference>, StoreError> {
    let rows = holds.range((owner.as_str(), &[0; 32])..=(owner.as_str(), &[0xff; 32]))?;
    rows.map(|row| Ok(Reference(*row?.0.value().1))).collect()
}

/// The chunk at `reference`, verified; [`StoreError::Corrupt`] if it is damaged or lost.
pub(super) fn load_chunk(
    chunks: &impl ReadableTable<&'static [u8; 32], ChunkRow>,
    packs: &impl ReadableTable<u64, &'static [u8]>,
    reference: Reference,
) -> Result<Chunk, StoreError> {
    let corrupt = || StoreError::Corrupt { reference };
    let (pack, _, _) = chunks.get(reference.as_bytes())?.ok_or_else(corrupt)?.value();
    let bytes = packs.get(pack)?.ok_or_else(corrupt)?;
    let wire = pack::find(bytes.value(), &reference).ok_or_else(corrupt)?;
    Chunk::verify(reference, wire).map_err(|_| corrupt())
}
