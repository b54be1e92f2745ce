//! Content-addressed chunks. A [`Chunk`] exists only if its address was computed from its bytes, so an unverified one
//! cannot be passed where a chunk is wanted.

use manyhands_proto::Reference;

use crate::bmt;
use crate::keccak::keccak256;

/// Largest payload of a chunk, in bytes (Swarm's format).
pub const PAYLOAD_BYTES_MAX: usize = 4096;
/// Bytes of the span in front of the payload: a little-endian u64 (Swarm's format).
pub const SPAN_BYTES: usize = 8;
/// Largest wire form of a chunk, span and payload, in bytes.
pub const WIRE_BYTES_MAX: usize = SPAN_BYTES + PAYLOAD_BYTES_MAX;

/// A span and a payload together with the address they hash to.
///
/// The span is the number of blob bytes below the chunk. That it hashes right says nothing about whether the span is
/// sensible: [`Walk`](crate::Walk) decides that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    reference: Reference,
    wire: Box<[u8]>,
}

/// Bytes that are not the chunk they were said to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// No chunk is that short or that long.
    #[error("a chunk has 8 to {WIRE_BYTES_MAX} bytes (span and payload), got {got_bytes}")]
    Length {
        /// The length given, span included, in bytes.
        got_bytes: usize,
    },
    /// The bytes hash to another address.
    #[error("these bytes are chunk {got}, not the chunk {expected} that was asked for")]
    Address {
        /// The address asked for.
        expected: Reference,
        /// The address of the bytes.
        got: Reference,
    },
}

impl Chunk {
    /// Takes `wire` (span, then payload) for the chunk at `reference`, if it is that.
    ///
    /// # Errors
    /// [`ChunkError::Length`] before anything is hashed or copied, [`ChunkError::Address`] if any bit is wrong.
    pub fn verify(reference: Reference, wire: &[u8]) -> Result<Self, ChunkError> {
        let payload = match wire.split_at_checked(SPAN_BYTES) {
            Some((_, payload)) if payload.len() <= PAYLOAD_BYTES_MAX => payload,
            _ => return Err(ChunkError::Length { got_bytes: wire.len() }),
        };
        let got = address(wire.first_chunk().unwrap_or(&[0; SPAN_BYTES]), payload);
        if got != reference {
            return Err(ChunkError::Address { expected: reference, got });
        }
        Ok(Self { reference, wire: wire.into() })
    }

    /// Makes the chunk of `payload` with `span_bytes` blob bytes below it and computes its address.
    ///
    /// # Errors
    /// [`ChunkError::Length`] if the payload is longer than [`PAYLOAD_BYTES_MAX`].
    pub fn from_payload(span_bytes: u64, payload: &[u8]) -> Result<Self, ChunkError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(ChunkError::Length { got_bytes: SPAN_BYTES + payload.len() });
        }
        Ok(Self::assemble(span_bytes, payload))
    }

    /// As [`Chunk::from_payload`], for a payload that is bounded by how it was made.
    pub(crate) fn assemble(span_bytes: u64, payload: &[u8]) -> Self {
        debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX, "the caller bounds the payload");
        let span = span_bytes.to_le_bytes();
        Self { reference: address(&span, payload), wire: [&span, payload].concat().into() }
    }

    /// The chunk of `wire`, for a wire form that is bounded by how it was made.
    pub(crate) fn of_wire(wire: &[u8]) -> Self {
        let (span, payload) = wire.split_first_chunk().unwrap_or((&[0; SPAN_BYTES], &[]));
        Self::assemble(u64::from_le_bytes(*span), payload)
    }

    /// The chunk's address.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// Blob bytes below this chunk, as its span states: the number as it is. At a redundancy level above 0 its highest
    /// byte has the level ([`Span::decode`](crate::redundancy::Span::decode)), and a parity's or an encrypted chunk's
    /// says nothing.
    pub fn span_bytes(&self) -> u64 {
        u64::from_le_bytes(*self.wire.first_chunk().unwrap_or(&[0; SPAN_BYTES]))
    }

    /// The payload: a piece of the blob, or the addresses of the children.
    pub fn payload(&self) -> &[u8] {
        self.wire.get(SPAN_BYTES..).unwrap_or_default()
    }

    /// Span and payload, as sent and stored.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// The payload read as addresses of children; meaningful for an interior chunk only.
    pub fn children(&self) -> impl Iterator<Item = Reference> {
        self.payload().as_chunks().0.iter().map(|bytes| Reference(*bytes))
    }
}

fn address(span: &[u8; SPAN_BYTES], payload: &[u8]) -> Reference {
    Reference(keccak256(&[span, &bmt::root(payload)]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_chunk_survives_its_wire_form() {
        let chunk = Chunk::from_payload(3, b"foo").unwrap();
        assert_eq!(chunk.reference().to_string(), "2387e8e7d8a48c2a9339c97c1dc3461a9a7aa07e994c5cb8b38fd7c1b3e6ea48");
        assert_eq!(chunk.wire(), b"\x03\0\0\0\0\0\0\0foo");
        assert_eq!(Chunk::verify(chunk.reference(), chunk.wire()), Ok(chunk));
    }

    #[test]
    fn lengths_are_bounded_before_hashing() {
        let anywhere = Reference([1; 32]);
        for len in [0, 7, WIRE_BYTES_MAX + 1, 100_000] {
            assert_eq!(Chunk::verify(anywhere, &vec![0; len]), Err(ChunkError::Length { got_bytes: len }));
        }
        assert!(matches!(Chunk::from_payload(0, &[0; PAYLOAD_BYTES_MAX + 1]), Err(ChunkError::Length { .. })));
        assert!(Chunk::from_payload(0, &[0; PAYLOAD_BYTES_MAX]).is_ok());
    }

    #[test]
    fn padding_is_not_part_of_a_chunk_but_span_tells_lengths_apart() {
        let short = Chunk::from_payload(1, &[7]).unwrap();
        let padded = Chunk::from_payload(2, &[7, 0]).unwrap();
        assert_ne!(short.reference(), padded.reference());
        // Equal span and zero padding do collide, by Swarm's format; the walk refuses the length that does not fit
        // the span.
        let collides = Chunk::from_payload(1, &[7, 0]).unwrap();
        assert_eq!(short.reference(), collides.reference());
    }
}
