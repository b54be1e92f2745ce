//! Benchmark scores: a verifier's signed word that a peer delivered a proof of one size class, in what time, and what for.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteArray;

use crate::codec::Checked;
use crate::limits::{EPOCH_S, RECEIPT_BYTES_MAX};
use crate::{Binding, BlobRef, DecodeError, NodeId, Nonce, Po2};

/// The gossip topic for scores.
pub const SCORE_TOPIC: &str = "manyhands/scores/1";

/// What a scored proof was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// The pinned benchmark guest, run with the seed in its input: above 2^14 anybody can make the segment again and compare the claim.
    Benchmark,
    /// A segment of a job. Others can check that it is a proof of that size made under that binding, but not what it proves.
    Job,
}

/// What a score says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Who made the proof.
    pub peer: NodeId,
    /// Who asked for it, checked it, and says so.
    pub verifier: NodeId,
    /// The size class.
    pub po2: Po2,
    /// Milliseconds from the lease until the receipt was there and checked, on the verifier's clock.
    pub elapsed_ms: u64,
    /// The receipt. The peer keeps it until it has another score of that size.
    pub receipt: BlobRef,
    /// What was proved.
    pub work: Work,
    /// The segment's index.
    pub index: u32,
    /// What the proof is bound to.
    pub binding: Binding,
    /// When it was signed, in seconds since 1970.
    pub issued_s: u64,
    /// When it counts no more, in seconds since 1970.
    pub expires_s: u64,
}

impl Score {
    /// Cycles that the peer proves in a second, with what it takes to fetch the segment and hand the receipt over.
    pub const fn cycles_per_s(&self) -> u64 {
        self.po2.cycles().saturating_mul(1000) / if self.elapsed_ms == 0 { 1 } else { self.elapsed_ms }
    }

    /// The nonce that the proof must carry.
    pub fn nonce(&self) -> Nonce {
        Nonce::bound(self.peer, self.index, self.binding)
    }

    /// Whether it counts at `unix_s`. A verifier's clock may be five minutes ahead.
    pub const fn is_valid_at(&self, unix_s: u64) -> bool {
        self.issued_s <= unix_s.saturating_add(CLOCK_SKEW_S) && unix_s < self.expires_s
    }
}

/// How far apart the clocks of honest machines may be, in seconds. Bounds how long a score from the future counts too long.
const CLOCK_SKEW_S: u64 = 300;

/// A score with its verifier's Ed25519 signature over [`signed_bytes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedScore {
    /// What is said.
    pub score: Score,
    /// The signature.
    pub signature: Signature,
}

/// An Ed25519 signature; hexadecimal for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&hex::encode(self.0))
        } else {
            ByteArray::new(self.0).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return ByteArray::deserialize(deserializer).map(|bytes: ByteArray<64>| Self(bytes.into_array()));
        }
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        hex::decode_to_slice(text.as_ref(), &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// What a verifier signs: a tag that no other signature of ours has, and the score's one encoding.
pub fn signed_bytes(score: &Score) -> Vec<u8> {
    let mut bytes = b"manyhands/score/1".to_vec();
    bytes.extend(crate::encode(score));
    bytes
}

impl Checked for SignedScore {
    fn check(&self) -> Result<(), DecodeError> {
        let score = &self.score;
        if score.peer == score.verifier {
            return Err(DecodeError::Invalid("nobody scores himself"));
        }
        if score.elapsed_ms == 0 || score.elapsed_ms / 1000 > EPOCH_S {
            return Err(DecodeError::Invalid("a scored proof takes between a millisecond and two hours"));
        }
        if score.receipt.size_bytes == 0 || score.receipt.size_bytes > RECEIPT_BYTES_MAX {
            return Err(DecodeError::Invalid("a score's receipt has an impossible size"));
        }
        if score.expires_s <= score.issued_s || score.expires_s - score.issued_s > EPOCH_S {
            return Err(DecodeError::Invalid("a score counts for at most two hours"));
        }
        // The binding is made at the lease, which is at most an epoch before.
        let age = Binding::epoch_at(score.issued_s).checked_sub(score.binding.epoch);
        if age.is_none_or(|age| age > 1) {
            return Err(DecodeError::Invalid("a score's proof is of another time"));
        }
        Ok(())
    }
}
