//! Where the kind does not matter: a chunk of either kind, as it is stored and handed out under an address, and a
//! reference of either kind, as people and programs write it. Pure.

use std::str::FromStr;

use manyhands_proto::Reference;

use crate::chunk::Chunk;
use crate::encryption::EncryptedReference;
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

/// A reference of either kind. `Debug` does not show a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnyReference {
    /// Of what anybody can read.
    Plain(Reference),
    /// Of what is encrypted, with the key.
    Encrypted(EncryptedReference),
}

/// A text that is no reference. It does not repeat the text, in which a key may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reference has 64 hexadecimal digits, or 128 if it is encrypted")]
pub struct NotAReference;

impl AnyReference {
    /// The address of the root chunk.
    pub const fn address(&self) -> Reference {
        match self {
            Self::Plain(reference) => *reference,
            Self::Encrypted(root) => root.address,
        }
    }

    /// Whether it has a key.
    pub const fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }

    /// All its digits, the key's too if there is one: for handing it on only.
    pub fn reveal(&self) -> String {
        match self {
            Self::Plain(reference) => reference.to_string(),
            Self::Encrypted(root) => root.reveal(),
        }
    }

    /// The 32 or 64 bytes, as a manifest has them.
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Plain(reference) => reference.as_bytes().to_vec(),
            Self::Encrypted(root) => root.to_bytes().to_vec(),
        }
    }

    /// Reads 32 or 64 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if let Ok(address) = bytes.try_into() {
            return Some(Self::Plain(Reference(address)));
        }
        bytes.try_into().ok().map(|bytes| Self::Encrypted(EncryptedReference::from_bytes(bytes)))
    }
}

impl From<Reference> for AnyReference {
    fn from(reference: Reference) -> Self {
        Self::Plain(reference)
    }
}

impl FromStr for AnyReference {
    type Err = NotAReference;

    /// Reads 64 or 128 digits; a `bzz://` or `0x` in front is allowed.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("bzz://").unwrap_or(text);
        // Both kinds take an 0x themselves.
        if text.strip_prefix("0x").unwrap_or(text).len() == 4 * Reference::LEN {
            return text.parse().map(Self::Encrypted).map_err(|_| NotAReference);
        }
        text.parse().map(Self::Plain).map_err(|_| NotAReference)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_of_either_kind_are_read_in_every_usual_form() {
        let (plain, key) = ("ab".repeat(32), "cd".repeat(32));
        for text in [plain.clone(), format!("0x{plain}"), format!("bzz://{plain}"), plain.to_uppercase()] {
            assert_eq!(text.parse::<AnyReference>().unwrap().reveal(), plain, "{text}");
        }
        let both = format!("{plain}{key}");
        let read: AnyReference = both.parse().unwrap();
        assert_eq!((read.reveal(), read.address().to_string()), (both, plain.clone()));
        assert!(!format!("{read:?}").contains("cdcd"));
        for wrong in ["", "0x", "abc", &plain[1..], &format!("{plain}00"), &format!("0x0x{plain}"), &"g".repeat(64)] {
            assert_eq!(wrong.parse::<AnyReference>(), Err(NotAReference), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            match AnyReference::from_bytes(&bytes) {
                Some(reference) => {
                    prop_assert_eq!(reference.to_bytes(), bytes);
                    prop_assert_eq!(reference.reveal().parse(), Ok(reference));
                }
                None => prop_assert!(bytes.len() != 32 && bytes.len() != 64),
            }
        }

        #[test]
        fn any_text_is_a_reference_or_not(text in "\\PC{0,140}") {
            let _ = text.parse::<AnyReference>();
        }
    }
}
