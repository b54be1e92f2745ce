//! The two fixed messages of the protocol. Pure and total.

use manyhands_proto::{BlobRef, Reference};

use crate::shape;

/// Length of an encoded [`Request`], in bytes.
pub const REQUEST_BYTES: usize = 1 + Reference::LEN + 8 + 4 + 4;

/// In what form a blob travels; the first byte of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A blob of level 0, its chunks in pre-order.
    Plain = 1,
    /// An encrypted tree of level 0, its chunks backwards: the root, then the children of each, the last one first.
    Sealed = 2,
}

/// What an asker wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Its form.
    pub kind: Kind,
    /// The blob.
    pub blob: BlobRef,
    /// Chunks that the asker has, counted from the root in the order in which they are sent; less than the blob has.
    pub skip_chunks: u32,
    /// Chunks wanted after those, at least one and no more than there are. An asker that has several holders asks each for a part, and
    /// so that nothing is sent which it does not want, it says where the part ends.
    pub take_chunks: u32,
}

/// A holder's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The chunks follow.
    Ok,
    /// The blob is not here, or not complete.
    NotFound,
    /// Too many askers; come again.
    Busy,
    /// The blob is here, with another size.
    SizeMismatch,
    /// The request made no sense.
    Malformed,
}

/// Bytes that are no message of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The request is of no known kind.
    #[error("request of kind {got}, this program knows 1 (plain) and 2 (encrypted)")]
    Kind {
        /// The byte.
        got: u8,
    },
    /// The request skips as many chunks as the blob has, or more.
    #[error("request skips {skip_chunks} chunks of a blob that has {chunk_count}")]
    Skip {
        /// Chunks to skip.
        skip_chunks: u32,
        /// Chunks of a blob of the stated size.
        chunk_count: u64,
    },
    /// The request wants no chunk, or more than there are.
    #[error("request wants {take_chunks} chunks after {skip_chunks} of a blob that has {chunk_count}")]
    Take {
        /// Chunks to skip.
        skip_chunks: u32,
        /// Chunks wanted after them.
        take_chunks: u32,
        /// Chunks of a blob of the stated size.
        chunk_count: u64,
    },
    /// No status has that number.
    #[error("status {got} is unknown")]
    Status {
        /// The byte.
        got: u8,
    },
}

impl Kind {
    /// Chunks of a blob of `size_bytes` in this form.
    pub fn chunk_count(self, size_bytes: u64) -> u64 {
        match self {
            Self::Plain => shape::chunk_count(size_bytes),
            Self::Sealed => shape::sealed_chunk_count(size_bytes),
        }
    }

    /// Bytes of those chunks.
    pub fn stored_bytes(self, size_bytes: u64) -> u64 {
        match self {
            Self::Plain => shape::stored_bytes(size_bytes),
            Self::Sealed => shape::sealed_bytes(size_bytes),
        }
    }
}

impl Request {
    /// For a plain blob, to its end.
    pub fn plain(blob: BlobRef, skip_chunks: u32) -> Self {
        Self::rest(Kind::Plain, blob, skip_chunks)
    }

    /// For an encrypted tree, to its end.
    pub fn sealed(blob: BlobRef, skip_chunks: u32) -> Self {
        Self::rest(Kind::Sealed, blob, skip_chunks)
    }

    /// For `take_chunks` chunks of a plain blob.
    pub fn part(blob: BlobRef, skip_chunks: u32, take_chunks: u32) -> Self {
        Self { kind: Kind::Plain, blob, skip_chunks, take_chunks }
    }

    fn rest(kind: Kind, blob: BlobRef, skip_chunks: u32) -> Self {
        let rest_chunks = kind.chunk_count(blob.size_bytes).saturating_sub(skip_chunks.into());
        Self { kind, blob, skip_chunks, take_chunks: u32::try_from(rest_chunks).unwrap_or(u32::MAX) }
    }

    /// The request's bytes.
    pub fn encode(&self) -> [u8; REQUEST_BYTES] {
        let (size, skip) = (self.blob.size_bytes.to_le_bytes(), self.skip_chunks.to_le_bytes());
        let take = self.take_chunks.to_le_bytes();
        let parts: [&[u8]; 5] = [&[self.kind as u8], self.blob.reference.as_bytes(), &size, &skip, &take];
        let mut bytes = [0; REQUEST_BYTES];
        bytes.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`WireError::Kind`], [`WireError::Skip`], [`WireError::Take`].
    pub fn decode(bytes: &[u8; REQUEST_BYTES]) -> Result<Self, WireError> {
        let [kind, rest @ ..] = bytes;
        let kind = match *kind {
            1 => Kind::Plain,
            2 => Kind::Sealed,
            got => return Err(WireError::Kind { got }),
        };
        let (reference, rest) = take(rest);
        let (size, rest) = take(rest);
        let (skip, rest) = take(rest);
        let (wanted, _) = take(rest);
        let blob = BlobRef { reference: Reference(reference), size_bytes: u64::from_le_bytes(size) };
        let (skip_chunks, take_chunks) = (u32::from_le_bytes(skip), u32::from_le_bytes(wanted));
        let chunk_count = kind.chunk_count(blob.size_bytes);
        if u64::from(skip_chunks) >= chunk_count {
            return Err(WireError::Skip { skip_chunks, chunk_count });
        }
        if take_chunks == 0 || u64::from(take_chunks) > chunk_count - u64::from(skip_chunks) {
            return Err(WireError::Take { skip_chunks, take_chunks, chunk_count });
        }
        Ok(Self { kind, blob, skip_chunks, take_chunks })
    }
}

impl Status {
    /// The status's byte.
    pub fn encode(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::NotFound => 1,
            Self::Busy => 2,
            Self::SizeMismatch => 3,
            Self::Malformed => 4,
        }
    }

    /// Reads a status.
    ///
    /// # Errors
    /// [`WireError::Status`] for a byte that is none.
    pub fn decode(byte: u8) -> Result<Self, WireError> {
        match byte {
            0 => Ok(Self::Ok),
            1 => Ok(Self::NotFound),
            2 => Ok(Self::Busy),
            3 => Ok(Self::SizeMismatch),
            4 => Ok(Self::Malformed),
            got => Err(WireError::Status { got }),
        }
    }
}

/// The first `N` bytes and the rest; zeros if there are fewer, which a request's fixed length excludes.
fn take<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    bytes.split_first_chunk().map_or(([0; N], &[]), |(first, rest)| (*first, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_has_these_bytes() {
        let blob = BlobRef { reference: Reference([0xaa; 32]), size_bytes: 265_000 };
        let bytes = Request::plain(blob, 64).encode();
        assert_eq!(bytes[..2], [1, 0xaa]);
        assert_eq!(bytes[33..], [0x28, 0x0b, 4, 0, 0, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(Request::decode(&bytes), Ok(Request::plain(blob, 64)));
        let part = Request::part(blob, 3, 7);
        assert_eq!(part.encode()[41..], [3, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(Request::decode(&part.encode()), Ok(part));
        let sealed = Request::sealed(blob, 66);
        assert_eq!(
            (sealed.encode()[0], Request::decode(&sealed.encode())),
            (2, Ok(sealed)),
            "65 leaves, one chunk over 64 of them, the root"
        );
    }

    #[test]
    fn nonsense_is_named() {
        let blob = BlobRef { reference: Reference([0xaa; 32]), size_bytes: 265_000 };
        let mut bytes = Request::plain(blob, 66).encode();
        assert_eq!(Request::decode(&bytes), Err(WireError::Skip { skip_chunks: 66, chunk_count: 66 }));
        for take_chunks in [0, 63, u32::MAX] {
            let part = Request::part(blob, 4, take_chunks);
            let error = WireError::Take { skip_chunks: 4, take_chunks, chunk_count: 66 };
            assert_eq!(Request::decode(&part.encode()), Err(error));
        }
        bytes[0] = 2;
        bytes[41] = 67;
        assert_eq!(Request::decode(&bytes), Err(WireError::Skip { skip_chunks: 67, chunk_count: 67 }));
        bytes[0] = 3;
        assert_eq!(Request::decode(&bytes), Err(WireError::Kind { got: 3 }));
    }

    #[test]
    fn every_status_has_its_byte() {
        for byte in 0..=u8::MAX {
            match Status::decode(byte) {
                Ok(status) => assert_eq!(status.encode(), byte),
                Err(error) => assert_eq!((byte > 4, error), (true, WireError::Status { got: byte })),
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(bytes in proptest::array::uniform::<_, REQUEST_BYTES>(any::<u8>()), valid: bool) {
            let mut bytes = bytes;
            if valid {
                bytes[0] = 1 + bytes[0] % 2;
                bytes[43..45].fill(0);
                bytes[47..].fill(0);
            }
            if let Ok(request) = Request::decode(&bytes) {
                prop_assert_eq!(request.encode(), bytes);
            }
        }
    }
}
