//! Segment blobs: everything that a prover needs to prove one segment, as the network stores and sends it.
//!
//! A blob is postcard of its format's number, the segment's index, RISC Zero's segment, and the output if the guest ended in it. It is
//! public: whoever proves a segment sees the memory pages that the guest touched in it. It has no nonce, so that all provers of a
//! segment have the same blob. The journal is in it as a digest only.
//!
//! Two executions of one program have different segments all the same: the guest's library draws 16 random bytes at its start (for
//! zero knowledge), and they are in memory from then on. So segments of two executions never fit together.

use manyhands_proto::codec::Checked;
use manyhands_proto::limits::SEGMENT_BYTES_MAX;
use manyhands_proto::{DecodeError, Nonce, Po2};
use risc0_circuit_rv32im::TerminateState;
use risc0_circuit_rv32im::execute::Segment as Trace;
use risc0_zkvm::{Digest, ExitCode, MaybePruned, Output, ReceiptClaim, Segment, SystemState};
use serde::{Deserialize, Serialize};

use crate::{Claim, ClaimError, PO2_MAX, encoding, seal};

/// The number of this format.
const FORMAT: u8 = 1;

/// How a guest that ends says so, in the upper half of the register that it leaves (`halt` in risc0-zkvm-platform 2.2.3).
const HALT_TERMINATE: u16 = 0;
const HALT_PAUSE: u16 = 1;

/// A segment in the form of its blob.
#[derive(Serialize, Deserialize)]
pub(super) struct Blob {
    format: u8,
    parts: Parts,
}

/// RISC Zero's `Segment`, two fields of which are private, has this encoding.
#[derive(Serialize, Deserialize)]
struct Parts {
    index: u32,
    inner: Trace,
    output: Option<Output>,
}

/// What one can tell of a blob without proving it: its claim and size. For tests and tools.
///
/// # Errors
/// A sentence when the bytes are no segment blob.
pub fn summary(bytes: &[u8]) -> Result<(Claim, u32, Po2), String> {
    let blob = Blob::decode(bytes).map_err(|error| error.to_string())?;
    let claim = blob.claim().map_err(|error| error.to_string())?;
    Ok((claim, blob.index(), blob.po2().ok_or("not a segment size")?))
}

impl Blob {
    /// Takes over a segment from the executor.
    ///
    /// # Errors
    /// A sentence for the log when RISC Zero's encoding is not what it was, or the guest relies on other proofs.
    pub(super) fn of(segment: &Segment) -> Result<Self, String> {
        let mut parts: Parts = encoding::decode(&encoding::encode(segment)?)?;
        parts.inner.povw_nonce = None;
        // A last segment may be smaller than any that can be lifted; a larger trace of the same cycles is as good.
        parts.inner.po2 = parts.inner.po2.max(u32::from(Po2::MIN.get()));
        if let Some(output) = &mut parts.output {
            output.journal = MaybePruned::Pruned(risc0_zkvm::sha::Digestible::digest(&output.journal));
        }
        Ok(Self { format: FORMAT, parts })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        manyhands_proto::encode(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        manyhands_proto::decode(bytes, usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX))
    }

    pub(super) const fn index(&self) -> u32 {
        self.parts.index
    }

    pub(super) fn po2(&self) -> Option<Po2> {
        Po2::try_from(u8::try_from(self.parts.inner.po2).ok()?).ok().filter(|po2| po2.get() <= PO2_MAX)
    }

    /// Cycles of the guest's own instructions.
    pub(super) const fn user_cycles(&self) -> u64 {
        self.parts.inner.suspend_cycle as u64
    }

    /// The claim that a proof of this segment will have.
    ///
    /// # Errors
    /// [`ClaimError`] when the segment ends in an unknown way or relies on other proofs.
    pub(super) fn claim(&self) -> Result<Claim, ClaimError> {
        let claim = &self.parts.inner.claim;
        let exit_code = exit_code(claim.terminate_state).ok_or(ClaimError::Form { part: "end" })?;
        let post = if matches!(exit_code, ExitCode::Halted(_)) { Digest::ZERO } else { claim.post_state };
        Claim::new(ReceiptClaim {
            pre: MaybePruned::Value(SystemState { pc: 0, merkle_root: claim.pre_state }),
            post: MaybePruned::Value(SystemState { pc: 0, merkle_root: post }),
            exit_code,
            input: MaybePruned::Pruned(claim.input),
            output: MaybePruned::Value(self.parts.output.clone()),
        })
    }

    /// RISC Zero's segment, to be proved under `nonce`.
    ///
    /// # Errors
    /// A sentence for the log when RISC Zero's encoding is not what it was.
    pub(super) fn into_segment(mut self, nonce: Nonce) -> Result<Segment, String> {
        self.parts.inner.povw_nonce = Some(seal::to_povw(nonce));
        encoding::decode(&encoding::encode(&self.parts)?)
    }
}

impl Checked for Blob {
    fn check(&self) -> Result<(), DecodeError> {
        let Parts { index, inner, .. } = &self.parts;
        if self.format != FORMAT {
            return Err(DecodeError::Invalid("a segment blob of another format"));
        }
        if inner.index != u64::from(*index) || inner.povw_nonce.is_some() {
            return Err(DecodeError::Invalid("a segment blob that contradicts itself"));
        }
        if self.po2().is_none() {
            return Err(DecodeError::Invalid("a segment blob of a size that is not offered"));
        }
        Ok(())
    }
}

fn exit_code(end: Option<TerminateState>) -> Option<ExitCode> {
    let Some(end) = end else { return Some(ExitCode::SystemSplit) };
    match end.a0.1 {
        HALT_TERMINATE => Some(ExitCode::Halted(end.a0.0.into())),
        HALT_PAUSE => Some(ExitCode::Paused(end.a0.0.into())),
        _ => None,
    }
}
