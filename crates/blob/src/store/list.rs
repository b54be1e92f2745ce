//! Writing the list of a tree's chunks, part by part as they come, in constant memory.

use manyhands_proto::Reference;

use super::StoreError;
use super::ledger::Ledger;
use super::root::Extent;
use crate::chunk::Chunk;
use crate::shape::REFERENCE_BYTES;

/// Addresses in one part: 32 KiB, half a page of the size that packs take.
pub(super) const PART_ADDRESSES: usize = 1024;

/// A list being written.
#[derive(Debug)]
pub(super) struct Listing {
    list: u64,
    part: u32,
    buffer: Vec<u8>,
}

impl Listing {
    pub(super) fn begin(ledger: &mut Ledger<'_>) -> Self {
        let list = ledger.next_list;
        ledger.next_list += 1;
        Self { list, part: 0, buffer: Vec::new() }
    }

    pub(super) fn push(&mut self, ledger: &mut Ledger<'_>, reference: Reference) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(reference.as_bytes());
        if self.buffer.len() == PART_ADDRESSES * REFERENCE_BYTES { self.write_part(ledger) } else { Ok(()) }
    }

    /// Adds a chunk to the store and to the list.
    pub(super) fn keep(&mut self, ledger: &mut Ledger<'_>, chunk: &Chunk) -> Result<(), StoreError> {
        ledger.add_chunk(chunk)?;
        self.push(ledger, chunk.reference())
    }

    /// Gives the list up; the chunks stay.
    pub(super) fn abandon(self, ledger: &mut Ledger<'_>) -> Result<(), StoreError> {
        ledger.drop_list(Extent::Listed { list: self.list })
    }

    /// Writes the rest; the list is complete.
    pub(super) fn finish(mut self, ledger: &mut Ledger<'_>) -> Result<Extent, StoreError> {
        if !self.buffer.is_empty() {
            self.write_part(ledger)?;
        }
        Ok(Extent::Listed { list: self.list })
    }

    fn write_part(&mut self, ledger: &mut Ledger<'_>) -> Result<(), StoreError> {
        ledger.lists.insert((self.list, self.part), self.buffer.as_slice())?;
        self.part += 1;
        self.buffer.clear();
        Ok(())
    }
}
