//! Signatures: only what passes here is a [`CheckedScore`], and only that is kept or counted.

use ed25519_dalek::{Signature, VerifyingKey};
use manyhands_proto::codec::Checked as _;
use manyhands_proto::score::{self, Score, SignedScore, signed_bytes};
use manyhands_proto::{DecodeError, NodeId};

/// A score that its verifier did sign. It says who speaks, not that what he says is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedScore(SignedScore);

/// Why a score counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// It states what no honest verifier would.
    #[error(transparent)]
    Impossible(DecodeError),
    /// Its verifier did not sign it.
    #[error("the score is not signed by {}, who is said to have checked it", .verifier.short())]
    Forged {
        /// Who is said to have.
        verifier: NodeId,
    },
    /// It is about somebody else than who shows it.
    #[error("the score is of {}, not of {}, who shows it", .of.short(), .shown_by.short())]
    AnothersScore {
        /// Of whom it is.
        of: NodeId,
        /// Who shows it.
        shown_by: NodeId,
    },
    /// It counts no more, or not yet.
    #[error("the score has expired, or is from the future")]
    Expired,
}

impl CheckedScore {
    /// Checks the statement's bounds and the signature. Strictly: a key or signature of which there are two forms is refused.
    ///
    /// # Errors
    /// [`ScoreError::Impossible`] or [`ScoreError::Forged`].
    pub fn check(signed: SignedScore) -> Result<Self, ScoreError> {
        signed.check().map_err(ScoreError::Impossible)?;
        let verifier = signed.score.verifier;
        let key = VerifyingKey::from_bytes(&verifier.0).map_err(|_| ScoreError::Forged { verifier })?;
        let signature = Signature::from_bytes(&signed.signature.0);
        key.verify_strict(&signed_bytes(&signed.score), &signature).map_err(|_| ScoreError::Forged { verifier })?;
        Ok(Self(signed))
    }

    /// The same, for one that `shown_by` shows of itself at `unix_s`.
    ///
    /// # Errors
    /// [`ScoreError`].
    pub fn check_shown(signed: SignedScore, shown_by: NodeId, unix_s: u64) -> Result<Self, ScoreError> {
        let of = signed.score.peer;
        if of != shown_by {
            return Err(ScoreError::AnothersScore { of, shown_by });
        }
        if !signed.score.is_valid_at(unix_s) {
            return Err(ScoreError::Expired);
        }
        Self::check(signed)
    }

    /// What is said.
    pub const fn score(&self) -> &Score {
        &self.0.score
    }

    /// With its signature, as it travels.
    pub const fn signed(&self) -> &SignedScore {
        &self.0
    }
}

/// Signs a score with the verifier's key.
pub fn sign(score: Score, with: impl FnOnce(&[u8]) -> [u8; 64]) -> SignedScore {
    let signature = score::Signature(with(&signed_bytes(&score)));
    SignedScore { score, signature }
}
