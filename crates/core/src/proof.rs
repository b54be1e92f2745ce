//! What the rules know of a proof system: opaque types, of which those of verified proofs only a verifier can make.

use core::fmt::Debug;

use manyhands_proto::message::Blame;

/// A proof system, seen from the rules.
///
/// The rules never look inside. They hand a claim to the verifier and get a verified proof back; as none of
/// [`ProofSystem::Segment`], [`ProofSystem::Range`] and [`ProofSystem::Keccak`] can be made anywhere else, an unverified receipt cannot be
/// combined.
pub trait ProofSystem: Clone + Debug {
    /// What a segment claims, as the executor that made it says.
    type Claim: Clone + Debug;
    /// A segment's proof that was checked against its claim, nonce and size.
    type Segment: Clone + Debug;
    /// A succinct receipt over a range of segments that was checked against the range's claim.
    type Range: Clone + Debug;
    /// What a keccak request claims, as the executor that made it says.
    type Request: Clone + Debug;
    /// A receipt over a range of keccak requests that was checked against what they claim.
    type Keccak: Clone + Debug;
}

/// What a verifier found to be right.
#[derive(Debug, Clone)]
pub enum Checked<P: ProofSystem> {
    /// A segment's proof.
    Segment(P::Segment),
    /// A lift's or a join's receipt.
    Range(P::Range),
    /// The receipt of a keccak request or of a union.
    Keccak(P::Keccak),
}

/// Why a result was not accepted, and whose fault that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Only [`Blame::Peer`] costs the sender's standing.
    pub blame: Blame,
    /// A sentence for the log and for the owner of the node.
    pub reason: String,
}
