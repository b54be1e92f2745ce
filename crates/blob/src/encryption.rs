//! Encrypted chunks as Bee makes them: each has a random key of its own, and its reference is address and key. Pure; the
//! caller brings the randomness. Serves step II for blobs that not every holder of the chunks may read.
//!
//! Segment `i` of 32 bytes is XORed with `keccak(keccak(key || i))`, `i` as a little-endian u32; the span comes after
//! the payload's 128 segments. Payloads are padded to 4096 bytes with random bytes, so that all
//! encrypted chunks are of one length; the true length is in the span, which only the key's holder can read.
//!
//! An [`EncryptedReference`] *is* the permission to read. It is never logged or gossiped: neither `Debug` nor anything
//! else prints its key but [`EncryptedReference::reveal`].

use std::fmt;
use std::str::FromStr;

use manyhands_proto::Reference;

use crate::chunk::{Chunk, PAYLOAD_BYTES_MAX, SPAN_BYTES};
use crate::keccak::keccak256;
use crate::redundancy::Level;
use crate::seal::{Link, Seal};
use crate::shape::REFERENCE_BYTES;
use crate::split::Splitter;

/// Bytes of a chunk's key, and of what one counter encrypts.
const KEY_BYTES: usize = 32;
/// The span's counter: the one after those of the payload (Swarm's format).
const SPAN_COUNTER: u32 = (PAYLOAD_BYTES_MAX / KEY_BYTES) as u32;

/// The key of one chunk. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChunkKey([u8; KEY_BYTES]);

/// Where an encrypted chunk is, and the key that opens it: 64 bytes. `Debug` shows the address only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EncryptedReference {
    /// The address of the encrypted bytes.
    pub address: Reference,
    /// What opens them.
    pub key: ChunkKey,
}

/// A text that is no encrypted reference. It does not repeat the text, in which a key may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an encrypted reference has 128 hexadecimal digits: 64 of the address, 64 of the key")]
pub struct NotAnEncryptedReference;

impl ChunkKey {
    /// The key of these bytes.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for handing it on only.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Encrypts or decrypts `data`, whose first segment has the number `counter`: the two are the same XOR.
    fn apply(&self, data: &mut [u8], counter: u32) {
        for (segment, counter) in data.chunks_mut(KEY_BYTES).zip(counter..) {
            let pad = keccak256(&[&keccak256(&[&self.0, &counter.to_le_bytes()])]);
            segment.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
        }
    }

    /// Opens a chunk's span and payload.
    pub(crate) fn open(&self, span: u64, payload: &[u8]) -> (u64, Vec<u8>) {
        let (mut span, mut payload) = (span.to_le_bytes(), payload.to_vec());
        // Zeros at the end may have been left out, which the address does not tell.
        payload.resize(PAYLOAD_BYTES_MAX, 0);
        self.apply(&mut span, SPAN_COUNTER);
        self.apply(&mut payload, 0);
        (u64::from_le_bytes(span), payload)
    }
}

impl fmt::Debug for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkKey(hidden)")
    }
}

impl EncryptedReference {
    /// The 64 bytes as a parent's payload has them.
    pub fn from_bytes(bytes: [u8; REFERENCE_BYTES + KEY_BYTES]) -> Self {
        let half = |skip| std::array::from_fn(|i| bytes.get(skip + i).copied().unwrap_or_default());
        Self { address: Reference(half(0)), key: ChunkKey(half(REFERENCE_BYTES)) }
    }

    /// The 64 bytes, key included, as a parent's payload or a manifest has them.
    pub(crate) fn to_bytes(self) -> [u8; REFERENCE_BYTES + KEY_BYTES] {
        let both = self.address.as_bytes().iter().chain(&self.key.0);
        let mut bytes = [0; REFERENCE_BYTES + KEY_BYTES];
        bytes.iter_mut().zip(both).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// The 128 hexadecimal digits, key included: whoever sees them can read the blob. For handing it on only.
    pub fn reveal(&self) -> String {
        format!("{}{}", self.address, Reference(self.key.0))
    }
}

impl fmt::Debug for EncryptedReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedReference").field("address", &self.address).field("key", &self.key).finish()
    }
}

impl FromStr for EncryptedReference {
    type Err = NotAnEncryptedReference;

    /// Reads the 128 digits; an `0x` in front is allowed.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let (address, key) = digits.split_at_checked(2 * REFERENCE_BYTES).ok_or(NotAnEncryptedReference)?;
        let parse = |digits: &str| digits.parse::<Reference>().map_err(|_| NotAnEncryptedReference);
        Ok(Self { address: parse(address)?, key: ChunkKey(parse(key)?.0) })
    }
}

impl Link for EncryptedReference {
    fn address(&self) -> Reference {
        self.address
    }

    fn append_to(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&self.to_bytes());
    }
}

/// Makes encrypted chunks. `R` fills a slice with random bytes that nobody can guess: from the operating system, or in
/// a test from anything.
#[derive(Clone)]
pub struct Encrypting<R>(R);

impl<R> fmt::Debug for Encrypting<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encrypting")
    }
}

impl<R: FnMut(&mut [u8])> Seal for Encrypting<R> {
    type Link = EncryptedReference;
    const ENCRYPTED: bool = true;

    fn seal(&mut self, span: u64, payload: &[u8]) -> (Chunk, EncryptedReference) {
        let mut key = [0; KEY_BYTES];
        (self.0)(&mut key);
        let key = ChunkKey(key);
        let mut padded = Vec::with_capacity(PAYLOAD_BYTES_MAX);
        padded.extend_from_slice(payload);
        padded.resize(PAYLOAD_BYTES_MAX, 0);
        if let Some(padding) = padded.get_mut(payload.len()..) {
            (self.0)(padding);
        }
        key.apply(&mut padded, 0);
        let mut span: [u8; SPAN_BYTES] = span.to_le_bytes();
        key.apply(&mut span, SPAN_COUNTER);
        let chunk = Chunk::assemble(u64::from_le_bytes(span), &padded);
        let address = chunk.reference();
        (chunk, EncryptedReference { address, key })
    }
}

impl<R: FnMut(&mut [u8])> Splitter<Encrypting<R>> {
    /// A splitter for encrypted chunks with the parities of `level`. `randomness` fills a slice with random bytes; it is
    /// asked for 32 bytes of key and up to 4096 of padding for each chunk.
    pub fn encrypting(level: Level, randomness: R) -> Self {
        Self::sealing(level, Encrypting(randomness))
    }

    /// Emits the last leaf and the interior chunks above it, and tells the reference that opens the blob.
    ///
    /// # Errors
    /// Whatever `emit` says.
    pub fn finish<E>(self, emit: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<EncryptedReference, E> {
        self.close(emit)
    }
}
