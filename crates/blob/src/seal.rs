//! How the splitter turns a payload into a chunk, and what a parent keeps of it: [`Plain`] chunks and their addresses
//! here, encrypted ones and their keys in [`encryption`](crate::encryption). Pure.

use manyhands_proto::Reference;

use crate::chunk::Chunk;

/// What a parent holds of a child: enough to find it and, if it is encrypted, to read it.
pub trait Link: Copy {
    /// The child's address.
    fn address(&self) -> Reference;
    /// Writes the link as a parent's payload has it.
    fn append_to(&self, payload: &mut Vec<u8>);
}

/// Makes chunks of payloads.
pub trait Seal {
    /// What finds the chunk again.
    type Link: Link;
    /// Whether the links hold keys, which decides the tree's shape.
    const ENCRYPTED: bool;
    /// The chunk of `payload`, which has at most 4096 bytes, with the number `span` in front.
    fn seal(&mut self, span: u64, payload: &[u8]) -> (Chunk, Self::Link);
}

/// Chunks as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Link for Reference {
    fn address(&self) -> Reference {
        *self
    }

    fn append_to(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(self.as_bytes());
    }
}

impl Seal for Plain {
    type Link = Reference;
    const ENCRYPTED: bool = false;

    fn seal(&mut self, span: u64, payload: &[u8]) -> (Chunk, Reference) {
        let chunk = Chunk::assemble(span, payload);
        let reference = chunk.reference();
        (chunk, reference)
    }
}
