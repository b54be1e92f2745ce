//! The chunks of a root one after the other, each once for every place it has, in constant memory.

use manyhands_proto::{BlobRef, Reference};

use super::StoreError;
use super::root::Extent;
use crate::chunk::Chunk;
use crate::walk::Walk;

/// Where chunks and lists are read from: the write transaction, or a snapshot.
pub(super) trait Pages {
    /// The content-addressed chunk at `reference`, verified; [`StoreError::Corrupt`] if it is damaged or lost.
    fn chunk(&self, reference: Reference) -> Result<Chunk, StoreError>;
    /// A part of a list; none after the last.
    fn list_part(&self, list: u64, part: u32) -> Result<Option<Vec<Reference>>, StoreError>;
}

/// A position among a root's chunks. A parent comes before its children, so it may go when it was given.
#[derive(Debug)]
pub(super) enum Members {
    Blob { walk: Box<Walk>, count: u64 },
    Listed { list: u64, part: u32, rest: std::vec::IntoIter<Reference> },
    Single(Option<Reference>),
}

impl Members {
    /// All chunks of a root.
    pub(super) fn of(reference: Reference, extent: Extent) -> Self {
        match extent {
            Extent::Blob { size_bytes } => Self::first(BlobRef { reference, size_bytes }, u64::MAX),
            Extent::Listed { list } => Self::Listed { list, part: 0, rest: Vec::new().into_iter() },
            Extent::Single => Self::Single(Some(reference)),
        }
    }

    /// The first `count` chunks of a blob in pre-order.
    pub(super) fn first(blob: BlobRef, count: u64) -> Self {
        Self::Blob { walk: Box::new(Walk::new(blob)), count }
    }

    /// The next chunk's address. [`StoreError::Corrupt`] if an interior chunk of a blob is damaged or lost.
    pub(super) fn next(&mut self, pages: &impl Pages) -> Result<Option<Reference>, StoreError> {
        match self {
            Self::Blob { walk, count } => {
                let expected = walk.expected().filter(|_| walk.passed_chunks() < *count);
                let Some(expected) = expected else { return Ok(None) };
                let reference = expected.reference;
                if expected.is_leaf() {
                    walk.skip();
                } else {
                    walk.accept(&pages.chunk(reference)?).map_err(|_| StoreError::Corrupt { reference })?;
                }
                Ok(Some(reference))
            }
            Self::Listed { list, part, rest } => loop {
                if let Some(reference) = rest.next() {
                    return Ok(Some(reference));
                }
                let Some(found) = pages.list_part(*list, *part)? else { return Ok(None) };
                (*part, *rest) = (*part + 1, found.into_iter());
            },
            Self::Single(reference) => Ok(reference.take()),
        }
    }
}
