//! The walk: which chunk of a blob comes next, in pre-order, and whether the one at hand fits. Pure. It trusts
//! nothing but the reference and the size it was made with, holds at most 128 addresses per level of the tree, and
//! never goes deeper than the size allows (eight levels for any u64).

use manyhands_proto::{BlobRef, Reference};

use crate::chunk::{Chunk, SPAN_BYTES};
use crate::shape;

/// The chunk that a [`Walk`] wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Its address.
    pub reference: Reference,
    /// Its span: blob bytes below it.
    pub span_bytes: u64,
}

impl Expected {
    /// Whether its payload is a piece of the blob.
    pub fn is_leaf(&self) -> bool {
        shape::is_leaf(self.span_bytes)
    }

    /// The length of its wire form, at most [`WIRE_BYTES_MAX`](crate::chunk::WIRE_BYTES_MAX).
    pub fn wire_bytes(&self) -> usize {
        SPAN_BYTES + shape::payload_bytes(self.span_bytes)
    }
}

/// A chunk that is genuine but has no place in the tree: the reference and the size do not belong together, or the
/// tree was not made at redundancy level 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Another chunk was due.
    #[error("chunk {got} came where {expected} was due")]
    Order {
        /// The address due, or none if the blob was complete.
        expected: Reference,
        /// The address given.
        got: Reference,
    },
    /// All chunks have been seen.
    #[error("chunk {got} came after the last one")]
    Complete {
        /// The address given.
        got: Reference,
    },
    /// Its span is not the one that the blob's size prescribes.
    #[error(
        "chunk {reference} states {stated_bytes} bytes below it where the blob's size leaves {due_bytes}; \
         the blob has another size or was split at a redundancy level above 0"
    )]
    Span {
        /// The chunk's address.
        reference: Reference,
        /// Its span.
        stated_bytes: u64,
        /// The span required.
        due_bytes: u64,
    },
    /// Its payload is longer or shorter than its span prescribes.
    #[error("chunk {reference} has {got_bytes} bytes of payload where its span needs {due_bytes}")]
    Payload {
        /// The chunk's address.
        reference: Reference,
        /// Its payload's length.
        got_bytes: usize,
        /// The length required.
        due_bytes: usize,
    },
}

/// A pre-order traversal of one blob's tree, driven by verified chunks.
#[derive(Debug, Clone)]
pub struct Walk {
    blob: BlobRef,
    expected: Option<Expected>,
    levels: Vec<Level>,
    passed_chunks: u64,
}

/// The children of one interior chunk that are still to come.
#[derive(Debug, Clone)]
struct Level {
    references: std::vec::IntoIter<Reference>,
    child_bytes: u64,
    rest_bytes: u64,
}

impl Walk {
    /// A walk that wants the root of `blob`.
    pub fn new(blob: BlobRef) -> Self {
        let root = Expected { reference: blob.reference, span_bytes: blob.size_bytes };
        Self { blob, expected: Some(root), levels: Vec::new(), passed_chunks: 0 }
    }

    /// The blob walked over.
    pub fn blob(&self) -> BlobRef {
        self.blob
    }

    /// The chunk that must come next, or none when the blob is complete.
    pub fn expected(&self) -> Option<Expected> {
        self.expected
    }

    /// Chunks accepted or skipped so far; [`shape::chunk_count`] of the size at the end.
    pub fn passed_chunks(&self) -> u64 {
        self.passed_chunks
    }

    /// The chunks still to come whose addresses are known, each with its number: the expected one, and its siblings and those of
    /// the chunks above it. At most 128 for each level.
    pub fn known(&self) -> Vec<(u64, Expected)> {
        let Some(expected) = self.expected else { return Vec::new() };
        let mut known = vec![(self.passed_chunks, expected)];
        let mut number = self.passed_chunks + shape::chunk_count(expected.span_bytes);
        for level in self.levels.iter().rev() {
            let mut rest_bytes = level.rest_bytes;
            for reference in level.references.as_slice() {
                let span_bytes = level.child_bytes.min(rest_bytes);
                rest_bytes -= span_bytes;
                known.push((number, Expected { reference: *reference, span_bytes }));
                number += shape::chunk_count(span_bytes);
            }
        }
        known
    }

    /// Takes the expected chunk and moves on.
    ///
    /// # Errors
    /// [`ShapeError`] if it is another chunk, or does not fit the tree that the blob's size prescribes. The walk then
    /// stays as it was.
    pub fn accept(&mut self, chunk: &Chunk) -> Result<(), ShapeError> {
        let expected = self.check(chunk)?;
        if !expected.is_leaf() {
            let references: Vec<Reference> = chunk.children().collect();
            self.levels.push(Level {
                references: references.into_iter(),
                child_bytes: shape::child_capacity_bytes(expected.span_bytes),
                rest_bytes: expected.span_bytes,
            });
        }
        self.pass(1);
        Ok(())
    }

    /// Moves past the expected chunk and all that is below it, unseen.
    pub fn skip(&mut self) {
        if let Some(expected) = self.expected {
            self.pass(shape::chunk_count(expected.span_bytes));
        }
    }

    fn check(&self, chunk: &Chunk) -> Result<Expected, ShapeError> {
        let reference = chunk.reference();
        let expected = self.expected.ok_or(ShapeError::Complete { got: reference })?;
        if reference != expected.reference {
            return Err(ShapeError::Order { expected: expected.reference, got: reference });
        }
        let (stated_bytes, due_bytes) = (chunk.span_bytes(), expected.span_bytes);
        if stated_bytes != due_bytes {
            return Err(ShapeError::Span { reference, stated_bytes, due_bytes });
        }
        let (got_bytes, due_bytes) = (chunk.payload().len(), shape::payload_bytes(expected.span_bytes));
        if got_bytes != due_bytes {
            return Err(ShapeError::Payload { reference, got_bytes, due_bytes });
        }
        Ok(expected)
    }

    fn pass(&mut self, chunks: u64) {
        self.passed_chunks += chunks;
        self.expected = None;
        while let Some(level) = self.levels.last_mut() {
            if let Some(reference) = level.references.next() {
                let span_bytes = level.child_bytes.min(level.rest_bytes);
                level.rest_bytes -= span_bytes;
                self.expected = Some(Expected { reference, span_bytes });
                break;
            }
            self.levels.pop();
        }
    }
}
