//! The splitter: bytes in, chunks out, in memory bounded by the tree's height. Pure; what happens to a chunk is the
//! caller's.

use std::convert::Infallible;

use manyhands_proto::{BlobRef, Reference};

use crate::chunk::{Chunk, PAYLOAD_BYTES_MAX};
use crate::shape::{BRANCHES, REFERENCE_BYTES};

/// Cuts a stream of bytes into chunks as Bee does at redundancy level 0.
///
/// Each chunk is emitted once for every place it has in the tree, children before their parent. At most 4 KiB of
/// payload and 128 addresses per level of the tree are held.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// At index 0 the leaves that have no parent yet, above them the interior chunks; never [`BRANCHES`] at one level.
    levels: Vec<Vec<Child>>,
    size_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Child {
    reference: Reference,
    span_bytes: u64,
}

impl Splitter {
    /// A splitter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes taken so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Takes the next bytes and emits the chunks that they complete.
    ///
    /// # Errors
    /// Whatever `emit` says; the splitter is of no use after that.
    pub fn update<E>(&mut self, bytes: &[u8], emit: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = PAYLOAD_BYTES_MAX - self.buffer.len();
            let (taken, left) = rest.split_at(room.min(rest.len()));
            self.buffer.extend_from_slice(taken);
            self.size_bytes += taken.len() as u64;
            rest = left;
            if self.buffer.len() == PAYLOAD_BYTES_MAX {
                self.emit_leaf(emit)?;
            }
        }
        Ok(())
    }

    /// Emits the last leaf and the interior chunks above it, and tells the blob's reference and size.
    ///
    /// # Errors
    /// Whatever `emit` says.
    pub fn finish<E>(mut self, emit: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<BlobRef, E> {
        if !self.buffer.is_empty() || self.size_bytes == 0 {
            self.emit_leaf(emit)?;
        }
        let mut carried: Option<Child> = None;
        for mut children in self.levels {
            children.extend(carried.take());
            carried = match children.as_slice() {
                [] => None,
                // A lone address moves up as it is: no chunk is made with one child.
                [only] => Some(*only),
                several => Some(emit_parent(several, emit)?),
            };
        }
        let reference = carried.map(|root| root.reference).unwrap_or_default();
        Ok(BlobRef { reference, size_bytes: self.size_bytes })
    }

    fn emit_leaf<E>(&mut self, emit: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        let span_bytes = self.buffer.len() as u64;
        let chunk = Chunk::assemble(span_bytes, &self.buffer);
        self.buffer.clear();
        let mut child = Child { reference: chunk.reference(), span_bytes };
        emit(chunk)?;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let Some(children) = self.levels.get_mut(level) else { break };
            children.push(child);
            if children.len() < BRANCHES {
                break;
            }
            child = emit_parent(&std::mem::take(children), emit)?;
        }
        Ok(())
    }
}

fn emit_parent<E>(children: &[Child], emit: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<Child, E> {
    let mut payload = Vec::with_capacity(children.len() * REFERENCE_BYTES);
    children.iter().for_each(|child| payload.extend_from_slice(child.reference.as_bytes()));
    let span_bytes = children.iter().map(|child| child.span_bytes).sum();
    let chunk = Chunk::assemble(span_bytes, &payload);
    let parent = Child { reference: chunk.reference(), span_bytes };
    emit(chunk)?;
    Ok(parent)
}

/// The reference of `bytes`, as Bee computes it at redundancy level 0.
pub fn reference_of(bytes: &[u8]) -> Reference {
    let mut drop_chunk = |_| Ok::<(), Infallible>(());
    let mut splitter = Splitter::new();
    let Ok(()) = splitter.update(bytes, &mut drop_chunk);
    let Ok(blob) = splitter.finish(&mut drop_chunk);
    blob.reference
}
