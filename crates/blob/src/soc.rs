//! Single-owner chunks: an ordinary chunk inside, an identifier, and the signature of an Ethereum key over both. The
//! address follows from identifier and owner, so whoever has the key can put any chunk there, and nobody else can.
//! Pure. Manyhands reads and makes them for the replicas of root chunks; feeds and Bee's API know them too.

use std::fmt;

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use manyhands_proto::Reference;

use crate::chunk::{Chunk, SPAN_BYTES, WIRE_BYTES_MAX};
use crate::keccak::keccak256;

/// Bytes of an identifier.
pub const ID_BYTES: usize = 32;
/// Bytes of a signature: r, s, and a byte that tells which of the possible keys made it.
pub const SIGNATURE_BYTES: usize = 65;
/// Bytes in front of the chunk inside.
const HEADER_BYTES: usize = ID_BYTES + SIGNATURE_BYTES;
/// Shortest wire form: with an empty chunk inside.
pub const SOC_BYTES_MIN: usize = HEADER_BYTES + SPAN_BYTES;
/// Longest wire form: with a full chunk inside.
pub const SOC_BYTES_MAX: usize = HEADER_BYTES + WIRE_BYTES_MAX;

/// What Ethereum's wallets put in front of 32 bytes that they sign (EIP-191).
const SIGNED_PREFIX: &[u8] = b"\x19Ethereum Signed Message:\n32";
/// What Ethereum adds to the number of the key.
const RECOVERY_OFFSET: u8 = 27;

/// An Ethereum address: the last 20 bytes of the keccak-256 of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocOwner(pub [u8; 20]);

/// A chunk, its place, and the signature that puts it there. One exists only if the signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleOwnerChunk {
    reference: Reference,
    id: [u8; ID_BYTES],
    signature: [u8; SIGNATURE_BYTES],
    owner: SocOwner,
    chunk: Chunk,
}

/// Bytes that are not the single-owner chunk they were said to be, or a key that cannot sign one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocError {
    /// None is that short or that long.
    #[error("a single-owner chunk has {SOC_BYTES_MIN} to {SOC_BYTES_MAX} bytes, got {got_bytes}")]
    Length {
        /// The length given, in bytes.
        got_bytes: usize,
    },
    /// No key made this signature.
    #[error("the signature of the single-owner chunk is of no key")]
    Signature,
    /// It is another identifier's or another owner's.
    #[error("these bytes are single-owner chunk {got}, not {expected} that was asked for")]
    Address {
        /// The address asked for.
        expected: Reference,
        /// The address of the bytes.
        got: Reference,
    },
    /// Zero, or beyond the curve's order.
    #[error("the bytes given are no private key of secp256k1")]
    Key,
}

/// The address of the single-owner chunk `id` of `owner`.
pub fn address_of(id: &[u8; ID_BYTES], owner: &SocOwner) -> Reference {
    Reference(keccak256(&[id, &owner.0]))
}

impl SingleOwnerChunk {
    /// Takes `wire` for the chunk at `reference`, if it is that.
    ///
    /// # Errors
    /// [`SocError::Length`] before anything is hashed; [`SocError::Signature`] or [`SocError::Address`] if any bit is
    /// wrong.
    pub fn verify(reference: Reference, wire: &[u8]) -> Result<Self, SocError> {
        let read = Self::read(wire)?;
        if read.reference != reference {
            return Err(SocError::Address { expected: reference, got: read.reference });
        }
        Ok(read)
    }

    /// Reads `wire` (identifier, signature, span, payload) and finds out whose it is. A good signature of anybody will
    /// do: compare the owner or the address.
    ///
    /// # Errors
    /// [`SocError::Length`], [`SocError::Signature`].
    pub fn read(wire: &[u8]) -> Result<Self, SocError> {
        if !(SOC_BYTES_MIN..=SOC_BYTES_MAX).contains(&wire.len()) {
            return Err(SocError::Length { got_bytes: wire.len() });
        }
        let too_short = SocError::Length { got_bytes: wire.len() };
        let (id, rest) = wire.split_first_chunk().ok_or(too_short.clone())?;
        let (signature, inner) = rest.split_first_chunk().ok_or(too_short)?;
        let chunk = Chunk::of_wire(inner);
        let owner = signer(&signed_digest(id, chunk.reference()), signature).ok_or(SocError::Signature)?;
        Ok(Self { reference: address_of(id, &owner), id: *id, signature: *signature, owner, chunk })
    }

    /// The address, which is not the address of the chunk inside.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// The identifier, which the owner chose.
    pub fn id(&self) -> &[u8; ID_BYTES] {
        &self.id
    }

    /// Who signed it.
    pub fn owner(&self) -> SocOwner {
        self.owner
    }

    /// The chunk inside.
    pub fn chunk(&self) -> &Chunk {
        &self.chunk
    }

    /// The chunk inside, alone.
    pub fn into_chunk(self) -> Chunk {
        self.chunk
    }

    /// Identifier, signature, span and payload, as sent and stored.
    pub fn to_wire(&self) -> Vec<u8> {
        [&self.id[..], &self.signature, self.chunk.wire()].concat()
    }
}

/// A private key that signs single-owner chunks. `Debug` does not show it.
#[derive(Clone)]
pub struct OwnerKey(SigningKey);

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerKey(hidden)")
    }
}

impl OwnerKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// [`SocError::Key`] if they are zero or not below the order of the curve.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, SocError> {
        SigningKey::from_slice(bytes).map(Self).map_err(|_| SocError::Key)
    }

    /// Whose chunks it signs.
    pub fn owner(&self) -> SocOwner {
        owner_of(self.0.verifying_key())
    }

    /// Puts `chunk` at the address of `id`. The signature is a function of the arguments (RFC 6979).
    ///
    /// # Errors
    /// [`SocError::Signature`] if the curve's arithmetic finds none, which no known input causes.
    pub fn sign(&self, id: [u8; ID_BYTES], chunk: Chunk) -> Result<SingleOwnerChunk, SocError> {
        let digest = signed_digest(&id, chunk.reference());
        let (made, recovery) = self.0.sign_prehash_recoverable(&digest).map_err(|_| SocError::Signature)?;
        let mut signature = [RECOVERY_OFFSET + recovery.to_byte(); SIGNATURE_BYTES];
        signature.iter_mut().zip(made.to_bytes()).for_each(|(to, from)| *to = from);
        let owner = self.owner();
        Ok(SingleOwnerChunk { reference: address_of(&id, &owner), id, signature, owner, chunk })
    }
}

fn signed_digest(id: &[u8; ID_BYTES], inner: Reference) -> [u8; 32] {
    keccak256(&[SIGNED_PREFIX, &keccak256(&[id, inner.as_bytes()])])
}

fn signer(digest: &[u8; 32], signature: &[u8; SIGNATURE_BYTES]) -> Option<SocOwner> {
    let (recovery, parts) = signature.split_last()?;
    let recovery = RecoveryId::from_byte(recovery.checked_sub(RECOVERY_OFFSET)?)?;
    let signature = Signature::from_slice(parts).ok()?;
    VerifyingKey::recover_from_prehash(digest, &signature, recovery).ok().as_ref().map(owner_of)
}

fn owner_of(key: &VerifyingKey) -> SocOwner {
    let point = key.to_encoded_point(false);
    // Without the byte that says that the point is not compressed.
    let hash = keccak256(&[point.as_bytes().get(1..).unwrap_or_default()]);
    SocOwner(std::array::from_fn(|i| hash.get(12 + i).copied().unwrap_or_default()))
}
