//! A chunk of either kind, where the kind does not matter: what is stored and handed out under an address. Pure.

use manyhands_proto::Reference;

use crate::chunk::Chunk;
use crate::soc::SingleOwnerChunk;

/// A verified chunk: content-addressed, or put at its address by a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyChunk {
    /// Its address is the hash of its bytes.
    Content(Chunk),
    /// Its address is its owner's and its identifier's.
    SingleOwner(Box<SingleOwnerChunk>),
}

impl AnyChunk {
    /// Takes `wire` for the chunk at `reference`, of whichever kind it is; none if it is of neither.
    pub fn verify(reference: Reference, wire: &[u8]) -> Option<Self> {
        if let Ok(chunk) = Chunk::verify(reference, wire) {
            return Some(Self::Content(chunk));
        }
        SingleOwnerChunk::verify(reference, wire).ok().map(Self::from)
    }

    /// The chunk's address.
    pub fn reference(&self) -> Reference {
        match self {
            Self::Content(chunk) => chunk.reference(),
            Self::SingleOwner(chunk) => chunk.reference(),
        }
    }

    /// The bytes as sent and stored: span and payload, behind identifier and signature if it has an owner.
    pub fn to_wire(&self) -> Vec<u8> {
        match self {
            Self::Content(chunk) => chunk.wire().to_vec(),
            Self::SingleOwner(chunk) => chunk.to_wire(),
        }
    }
}

impl From<Chunk> for AnyChunk {
    fn from(chunk: Chunk) -> Self {
        Self::Content(chunk)
    }
}

impl From<SingleOwnerChunk> for AnyChunk {
    fn from(chunk: SingleOwnerChunk) -> Self {
        Self::SingleOwner(Box::new(chunk))
    }
}
