//! Proves one segment.

use manyhands_proto::Nonce;
use manyhands_proto::worker::Failure;

use super::blob::Blob;
use super::{failed, guarded, prover, unusable};
use crate::verify::{Expected, check_segment};
use crate::{encoding, verifier_context};

/// Proves the segment in `blob` under `nonce`, and checks the proof as its receiver will.
///
/// # Errors
/// [`Failure::Input`] when the blob is no segment, or not one that can be run again; [`Failure::Prover`] when the proof failed.
pub fn prove_segment(blob: &[u8], nonce: Nonce) -> Result<Vec<u8>, Failure> {
    let blob = Blob::decode(blob).map_err(|error| unusable(&error))?;
    let claim = blob.claim().map_err(|error| unusable(&error))?;
    let po2 = blob.po2().ok_or_else(|| Failure::Input("not a segment size that is offered".into()))?;
    let index = blob.index();
    let segment = blob.into_segment(nonce).map_err(|why| failed(&why))?;
    let prover = prover()?;
    let preflight = guarded(
        |panic| Failure::Input(format!("the segment cannot be run again: {panic}")),
        || prover.segment_preflight(&segment).map_err(|error| unusable(&error)),
    )?;
    drop(segment);
    let receipt = guarded(Failure::Prover, || {
        prover.prove_segment_core(&verifier_context(), preflight).map_err(|error| failed(&error))
    })?;
    let bytes = encoding::encode(&receipt).map_err(|why| failed(&why))?;
    check_segment(&bytes, &Expected { claim: &claim, index, po2, nonce: Some(nonce) })
        .map_err(|error| failed(&error))?;
    Ok(bytes)
}
