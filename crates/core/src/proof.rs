//! What the rules know of a proof system: three opaque types, of which two only a verifier can make.

use core::fmt::Debug;

use manyhands_proto::message::Blame;

/// A proof system, seen from the rules.
///
/// The rules never look inside. They hand a claim to the verifier and get a verified proof back; as neither
/// [`ProofSystem::Segment`] nor [`ProofSystem::Range`] can be made anywhere else, an unverified receipt cannot be combined.
pub trait ProofSystem: Clone + Debug {
    /// What a segment claims, as the executor that made it says.
    type Claim: Clone + Debug;
    /// A segment's proof that was checked against its claim, nonce and size.
    type Segment: Clone + Debug;
    /// A succinct receipt over a range of segments that was checked against the range's claim.
    type Range: Clone + Debug;
}

/// What a verifier found to be right.
#[derive(Debug, Clone)]
pub enum Checked<P: ProofSystem> {
    /// A segment's proof.
    Segment(P::Segment),
    /// A lift's or a join's receipt.
    Range(P::Range),
}

/// Why a result was not accepted, and whose fault that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Only [`Blame::Peer`] costs the sender's standing.
    pub blame: Blame,
    /// A sentence for the log and for the owner of the node.
    pub reason: String,
}
