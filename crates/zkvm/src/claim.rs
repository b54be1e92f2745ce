//! Claims: what a segment, or a range of neighbouring segments, is proved to have done.

use core::fmt;

use manyhands_proto::Digest;
use manyhands_proto::limits::ASSUMPTIONS_MAX;
use risc0_zkvm::sha::Digestible;
use risc0_zkvm::{ALLOWED_CONTROL_ROOT, Assumption, Assumptions, ExitCode, MaybePruned, Output, ReceiptClaim};

use crate::{encoding, from_proto, to_proto};

/// Largest encoded claim, in bytes: one that ends with an output has 177, and 68 more for each assumption.
pub const CLAIM_BYTES_MAX: usize = 512 + 68 * ASSUMPTIONS_MAX;

/// The claim of a segment or range: the state of memory before and after, how it ended, its input and output.
///
/// Always in one form: states are open, the input is a digest, and an output is open with the journal as a digest and each assumption
/// written out.
/// So claims of equal digest are equal byte by byte, and a receipt whose claim is written in any other form is not accepted: with
/// states hidden behind digests it would verify alone and then break the join or the composite receipt it goes into.
#[derive(Clone)]
pub struct Claim {
    inner: ReceiptClaim,
    digest: Digest,
}

/// Something that a claim relies on: another claim, proved by a program of one set of recursion programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reliance {
    /// The digest of the claim.
    pub claim: Digest,
    /// The root of the set. Zero, which is what `env::verify` says, is the same set as the receipt's own.
    pub control_root: Digest,
}

impl Reliance {
    /// Whether what a receipt proves is what this asks for.
    pub fn is_met_by(&self, proven: Self) -> bool {
        let root =
            if self.control_root == Digest([0; 32]) { to_proto(ALLOWED_CONTROL_ROOT) } else { self.control_root };
        (self.claim, root) == (proven.claim, proven.control_root)
    }

    /// What a succinct receipt of `claim` proves, made with the usual set.
    pub fn usual(claim: Digest) -> Self {
        Self { claim, control_root: to_proto(ALLOWED_CONTROL_ROOT) }
    }

    pub(crate) fn of(assumption: &Assumption) -> Self {
        Self { claim: to_proto(assumption.claim), control_root: to_proto(assumption.control_root) }
    }
}

/// Why something is not a claim that Manyhands works with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The bytes are no claim.
    #[error("not a claim: {why}")]
    Malformed {
        /// What the decoder says.
        why: String,
    },
    /// A part that must be open is given as a digest only, or the bytes are not the one form.
    #[error("the claim's {part} is not written out")]
    Form {
        /// Which part.
        part: &'static str,
    },
    /// The guest has more receipts verified than anybody will resolve.
    #[error(
        "the guest verifies {count} receipts (env::verify); at most {ASSUMPTIONS_MAX} are resolved for one program"
    )]
    TooManyAssumptions {
        /// How many, those that it verifies twice counted twice.
        count: usize,
    },
    /// There is nothing to resolve.
    #[error("the claim has no assumptions")]
    NoAssumption,
    /// Two claims that are to be joined do not follow on each other.
    #[error("the claims are no neighbours: {why}")]
    NotNeighbours {
        /// In which way.
        why: &'static str,
    },
}

impl Claim {
    /// Reads a claim as [`Claim::encode`] writes it.
    ///
    /// # Errors
    /// [`ClaimError`] when the bytes are too many, malformed, or a claim in another form.
    pub fn decode(bytes: &[u8]) -> Result<Self, ClaimError> {
        if bytes.len() > CLAIM_BYTES_MAX {
            return Err(ClaimError::Malformed {
                why: format!("{} bytes are over the limit of {CLAIM_BYTES_MAX}", bytes.len()),
            });
        }
        let claim = Self::new(encoding::decode(bytes).map_err(|why| ClaimError::Malformed { why })?)?;
        if claim.encode() == bytes { Ok(claim) } else { Err(ClaimError::Form { part: "output" }) }
    }

    /// Writes the claim.
    pub fn encode(&self) -> Vec<u8> {
        // Plain data of known length has no failure; an empty claim, which no decoder takes, stands for the impossible.
        encoding::encode(&self.inner).unwrap_or_default()
    }

    /// The claim's digest, which is what a proof commits to.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest of the state before; that of a program's first segment is its image id.
    pub fn pre(&self) -> Digest {
        to_proto(self.inner.pre.digest())
    }

    /// The digest of the state after.
    pub fn post(&self) -> Digest {
        to_proto(self.inner.post.digest())
    }

    /// Whether the guest had not ended: another segment follows.
    pub fn continues(&self) -> bool {
        self.inner.exit_code == ExitCode::SystemSplit
    }

    /// The claim of this range and its right neighbour together.
    ///
    /// # Errors
    /// [`ClaimError::NotNeighbours`] when the guest had ended on the left, or the right does not begin where the left stops.
    pub fn join(&self, right: &Self) -> Result<Self, ClaimError> {
        if !self.continues() {
            return Err(ClaimError::NotNeighbours { why: "the guest had ended on the left" });
        }
        if self.post() != right.pre() {
            return Err(ClaimError::NotNeighbours { why: "the right begins in another state than the left ends in" });
        }
        Self::new(self.inner.join(&right.inner))
    }

    /// What this claim relies on, in the order in which it is resolved; one is there as often as the guest had it verified.
    pub fn assumptions(&self) -> Vec<Reliance> {
        let Ok(Some(output)) = self.inner.output.as_value() else { return Vec::new() };
        let Ok(list) = output.assumptions.as_value() else { return Vec::new() };
        list.0.iter().filter_map(|assumption| assumption.as_value().ok()).map(Reliance::of).collect()
    }

    /// The claim without its first assumption, which is what its receipt proves once that was resolved.
    ///
    /// # Errors
    /// [`ClaimError::NoAssumption`] when there is none.
    pub fn resolved(&self) -> Result<Self, ClaimError> {
        let mut inner = self.inner.clone();
        let output = inner.output.as_value_mut().ok().and_then(Option::as_mut).ok_or(ClaimError::NoAssumption)?;
        let list = output.assumptions.as_value_mut().map_err(|_| ClaimError::NoAssumption)?;
        if list.0.is_empty() {
            return Err(ClaimError::NoAssumption);
        }
        list.0.remove(0);
        Self::new(inner)
    }

    /// Whether this is the claim that `image_id` ran to its end, succeeded, and committed `journal`.
    pub fn is_success(&self, image_id: Digest, journal: &[u8]) -> bool {
        self.digest == Self::of_success(image_id, journal)
    }

    /// The digest of the claim that `image_id` ran to its end, succeeded, and committed `journal`.
    pub(crate) fn of_success(image_id: Digest, journal: &[u8]) -> Digest {
        to_proto(ReceiptClaim::ok(from_proto(image_id), MaybePruned::Pruned(journal.digest())).digest())
    }

    /// Brings a claim into the one form.
    pub(crate) fn new(claim: ReceiptClaim) -> Result<Self, ClaimError> {
        claim.pre.as_value().map_err(|_| ClaimError::Form { part: "state before" })?;
        claim.post.as_value().map_err(|_| ClaimError::Form { part: "state after" })?;
        let inner = ReceiptClaim {
            input: MaybePruned::Pruned(claim.input.digest()),
            output: MaybePruned::Value(one_output(claim.output)?),
            ..claim
        };
        Ok(Self { digest: to_proto(inner.digest()), inner })
    }

    /// Whether a receipt's claim is this one, in its one form.
    pub(crate) fn is(&self, claim: &ReceiptClaim) -> bool {
        let own = self.encode();
        !own.is_empty() && encoding::encode(claim).is_ok_and(|bytes| bytes == own)
    }

    /// The claim in RISC Zero's type.
    #[cfg(feature = "prove")]
    pub(crate) const fn inner(&self) -> &ReceiptClaim {
        &self.inner
    }
}

fn one_output(output: MaybePruned<Option<Output>>) -> Result<Option<Output>, ClaimError> {
    if output.is_none() {
        return Ok(None);
    }
    let output = output.value().map_err(|_| ClaimError::Form { part: "output" })?;
    output.map(in_one_form).transpose()
}

/// An output with its journal as a digest: the journal travels once, beside the claims, not in every copy of the last one.
fn in_one_form(output: Output) -> Result<Output, ClaimError> {
    let listed = match output.assumptions {
        MaybePruned::Value(list) => list.0,
        MaybePruned::Pruned(digest) if digest == risc0_zkvm::Digest::ZERO => Vec::new(),
        MaybePruned::Pruned(_) => return Err(ClaimError::Form { part: "list of assumptions" }),
    };
    if listed.len() > ASSUMPTIONS_MAX {
        return Err(ClaimError::TooManyAssumptions { count: listed.len() });
    }
    let open = |assumption: MaybePruned<Assumption>| {
        assumption.value().map(MaybePruned::Value).map_err(|_| ClaimError::Form { part: "assumption" })
    };
    Ok(Output {
        journal: MaybePruned::Pruned(output.journal.digest()),
        assumptions: MaybePruned::Value(Assumptions(listed.into_iter().map(open).collect::<Result<_, _>>()?)),
    })
}

impl PartialEq for Claim {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.is(&other.inner)
    }
}

impl Eq for Claim {}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("digest", &self.digest)
            .field("pre", &self.pre())
            .field("post", &self.post())
            .field("exit", &self.inner.exit_code)
            .finish()
    }
}
