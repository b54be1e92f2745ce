//! Chunks that came before their turn. Pure.
//!
//! A chunk's span and length follow from its number and the blob's size. Its address stands in the chunk above it, which may come
//! later, from somebody else: until then the chunk is held with its computed address and whoever sent it. As soon as the address is known the
//! chunk is *proven*, or it was made up, and its sender is named. What is held is bounded by the window of [`Parts`](super::parts::Parts).

use std::collections::BTreeMap;

use manyhands_proto::Reference;

use super::FetchError;
use crate::chunk::{Chunk, ChunkError, SPAN_BYTES};
use crate::shape;
use crate::walk::{ShapeError, Walk};

/// What came before its turn of one blob.
#[derive(Debug)]
pub(super) struct Ahead {
    size_bytes: u64,
    /// Addresses of chunks to come, by number: what proven interior chunks name and is not in the store yet.
    known: BTreeMap<u64, Reference>,
    held: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    chunk: Chunk,
    source: usize,
    is_proven: bool,
}

/// A chunk that was made up, found out after it had come.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Who sent it.
    pub(super) source: usize,
    /// Why it is wrong.
    pub(super) error: FetchError,
    /// The numbers of that chunk, of all others of this source that are not proven, and of those between them; they are not held any more.
    pub(super) lost: Vec<u64>,
}

impl Ahead {
    /// Nothing is held yet, and known is what the walk knows.
    pub(super) fn new(walk: &Walk) -> Self {
        let known = walk.known().into_iter().map(|(number, expected)| (number, expected.reference)).collect();
        Self { size_bytes: walk.blob().size_bytes, known, held: BTreeMap::new() }
    }

    /// Chunks held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// The length of the wire form of the chunk of that number, which the blob must have.
    pub(super) fn wire_bytes(&self, number: u64) -> usize {
        SPAN_BYTES + shape::payload_bytes(self.span_bytes(number))
    }

    /// Takes the chunk of that number, of the right length, from a source. It may prove others, or prove them wrong: those are returned.
    ///
    /// # Errors
    /// [`FetchError::Chunk`] or [`FetchError::Shape`] if it cannot be that chunk; it is not held then.
    pub(super) fn take(&mut self, number: u64, source: usize, wire: &[u8]) -> Result<Vec<Wrong>, FetchError> {
        let chunk = match self.known.get(&number) {
            Some(due) => Chunk::verify(*due, wire),
            None if wire.len() == self.wire_bytes(number) => Ok(Chunk::of_wire(wire)),
            None => Err(ChunkError::Length { got_bytes: wire.len() }),
        };
        let chunk = chunk.map_err(|source| FetchError::Chunk { chunk: number, source })?;
        let (stated_bytes, due_bytes) = (chunk.span_bytes(), self.span_bytes(number));
        if stated_bytes != due_bytes {
            let source = ShapeError::Span { reference: chunk.reference(), stated_bytes, due_bytes };
            return Err(FetchError::Shape { chunk: number, source });
        }
        let is_proven = self.known.contains_key(&number);
        self.held.insert(number, Held { chunk, source, is_proven });
        Ok(if is_proven { self.prove_below(number) } else { Vec::new() })
    }

    /// Takes out the chunk of that number, if it is here and proven.
    pub(super) fn pop(&mut self, number: u64) -> Option<Chunk> {
        self.held.get(&number).filter(|held| held.is_proven)?;
        self.known.remove(&number);
        self.held.remove(&number).map(|held| held.chunk)
    }

    fn span_bytes(&self, number: u64) -> u64 {
        shape::span_bytes_at(self.size_bytes, number).unwrap_or_default()
    }

    /// A proven chunk names those below it: they are proven as well, or wrong.
    fn prove_below(&mut self, number: u64) -> Vec<Wrong> {
        let (mut proven, mut wrong) = (vec![number], BTreeMap::new());
        while let Some(parent) = proven.pop() {
            for (child, due) in self.children(parent) {
                self.known.insert(child, due);
                let Some(held) = self.held.get_mut(&child) else { continue };
                let got = held.chunk.reference();
                if got == due {
                    held.is_proven = true;
                    proven.push(child);
                    continue;
                }
                let source = held.source;
                let error = FetchError::Chunk { chunk: child, source: ChunkError::Address { expected: due, got } };
                wrong.entry(source).or_insert(error);
            }
        }
        // Only now, as what was just proven is none of what they lose.
        let lost = |(source, error)| Wrong { source, error, lost: self.drop_doubtful(source) };
        wrong.into_iter().map(lost).collect()
    }

    fn children(&self, number: u64) -> Vec<(u64, Reference)> {
        let span_bytes = self.span_bytes(number);
        let Some(held) = self.held.get(&number).filter(|_| !shape::is_leaf(span_bytes)) else { return Vec::new() };
        let below_chunks = shape::chunk_count(shape::child_capacity_bytes(span_bytes));
        let numbers = (0..).map(|child: u64| number + 1 + child * below_chunks);
        numbers.zip(held.chunk.children()).collect()
    }

    /// Lets go of all that a source sent and that is not proven, and tells the numbers. Proven chunks of its own that lie between such go
    /// as well: otherwise a liar that mixes true and false ones would have each false one asked for by itself.
    pub(super) fn drop_doubtful(&mut self, source: usize) -> Vec<u64> {
        let (mut lost, mut between, mut before, mut is_after_lost) = (Vec::new(), Vec::new(), None, false);
        for (number, held) in self.held.iter().filter(|(_, held)| held.source == source) {
            if before.replace(*number).is_none_or(|before| before + 1 != *number) {
                between.clear();
                is_after_lost = false;
            }
            if !held.is_proven {
                lost.append(&mut between);
                lost.push(*number);
                is_after_lost = true;
            } else if is_after_lost {
                between.push(*number);
            }
        }
        lost.iter().for_each(|number| drop(self.held.remove(number)));
        lost
    }
}

#[cfg(test)]
mod tests;
