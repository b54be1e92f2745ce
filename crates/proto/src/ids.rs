//! Identifiers: fixed-size byte strings that print as lower-case hexadecimal and never mix with each other.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::LeaseId;

/// A text that is not the hexadecimal form of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {digits} hexadecimal digits, got {got:?}")]
pub struct ParseIdError {
    what: &'static str,
    digits: usize,
    got: String,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $bytes;

            /// The identifier's bytes.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The first eight hexadecimal digits, for tables and log lines that people read.
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(8);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            /// Reads the hexadecimal form; an `0x` in front is allowed.
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseIdError {
                    what: $what,
                    digits: 2 * $bytes,
                    got: text.chars().take(80).collect(),
                })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; $bytes]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

hex_id!(
    /// The address of a blob in Swarm's format at redundancy level 0: the root of its chunk tree, keccak-256.
    Reference, 32, "a reference"
);
hex_id!(
    /// A SHA-256 digest as RISC Zero uses it: an image id or the digest of a claim.
    Digest, 32, "a digest"
);
hex_id!(
    /// Names a job on one gateway. Random, so that nobody guesses another's.
    JobId, 16, "a job id"
);
hex_id!(
    /// A peer: its Ed25519 public key. The same 32 bytes are in its libp2p peer id.
    NodeId, 32, "a node id"
);

hex_id!(
    /// What a proof is asked for under: it is made anew for each lease, and nobody knows it before.
    Seed, 16, "a seed"
);

impl JobId {
    /// The name of a gateway's `number`th challenge, from its `secret`: to whoever does not know that it looks like a job's.
    pub fn of_challenge(secret: &[u8; 32], number: u64) -> Self {
        Self(first_bytes(&tagged(b"manyhands/challenge/1", &[secret, &number.to_le_bytes()])))
    }
}

/// A blob's address together with its size, so that a receiver can bound what it accepts before the first byte arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// Where the blob is.
    pub reference: Reference,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What ties a proof to one lease and to the time of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Binding {
    /// Known to nobody before the lease.
    pub seed: Seed,
    /// Which [`EPOCH_S`](crate::limits::EPOCH_S) since 1970 it was given out in, so that a proof cannot pass for one of another time.
    pub epoch: u32,
}

impl Binding {
    /// The binding of `node`'s `lease`, from a gateway's `secret`: without that nobody can tell it before the lease.
    pub fn of_lease(secret: &[u8; 32], node: NodeId, lease: &LeaseId, epoch: u32) -> Self {
        let lease = crate::encode(lease);
        Self { seed: Seed(first_bytes(&tagged(b"manyhands/seed/1", &[secret, &node.0, &lease]))), epoch }
    }

    /// The epoch of a time in seconds since 1970.
    pub fn epoch_at(unix_s: u64) -> u32 {
        u32::try_from(unix_s / crate::limits::EPOCH_S).unwrap_or(u32::MAX)
    }
}

/// The public nonce that binds a segment's proof to the lease it was made under.
///
/// RISC Zero's circuit carries it as the PoVW nonce: 160 bits of log id, 64 of job, 32 of segment. It costs no cycles, is no part
/// of the claim, and cannot be changed in a finished seal, so it tells whose proof it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nonce {
    /// The first 160 bits of SHA-256 over the prover's [`NodeId`].
    pub log: [u8; 20],
    /// 64 bits of SHA-256 over seed, segment and epoch.
    pub job: u64,
    /// The segment's index.
    pub segment: u32,
}

impl Nonce {
    /// The nonce for `node`'s proof of segment `index` under `binding`.
    pub fn bound(node: NodeId, index: u32, binding: Binding) -> Self {
        let log = first_bytes(&tagged(b"manyhands/nonce/log/1", &[&node.0]));
        let (seed, epoch) = (&binding.seed.0, binding.epoch.to_le_bytes());
        let bound = tagged(b"manyhands/nonce/job/1", &[seed, &index.to_le_bytes(), &epoch]);
        Self { log, job: u64::from_le_bytes(first_bytes(&bound)), segment: index }
    }
}

fn tagged(tag: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(tag);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

fn first_bytes<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    core::array::from_fn(|i| digest.get(i).copied().unwrap_or_default())
}
