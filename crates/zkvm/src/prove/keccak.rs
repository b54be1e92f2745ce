//! Keccak requests: what the network stores and sends of them, their proofs and the unions of these. Steps I, III and V.
//!
//! A request's blob is postcard of its format's number, the size of its proof, the digest that it claims, and the states before each
//! permutation. Like a segment's it is public unless the job is private, and has no nonce: whoever proves it makes the same claim.

use manyhands_proto::codec::Checked;
use manyhands_proto::limits::{KECCAK_PO2_MAX, SEGMENT_BYTES_MAX};
use manyhands_proto::worker::Failure;
use manyhands_proto::{DecodeError, Digest, Po2};
use risc0_circuit_keccak::{KECCAK_CONTROL_ROOT, KeccakState, compute_keccak_digest, max_keccak_inputs};
use risc0_zkvm::{ProveKeccakRequest, SuccinctReceipt, Unknown};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{failed, guarded, prover, require_recursion, unusable};
use crate::keccak::{check_keccak, check_union, is_keccak_po2};
use crate::{AssumptionReceipt, encoding, from_proto, to_proto};

/// The number of this format.
const FORMAT: u8 = 1;

/// Bytes of a state: 25 words of 64 bits.
const STATE_BYTES: usize = 200;

/// A keccak request in the form of its blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    format: u8,
    pub(super) po2: Po2,
    pub(super) claim: Digest,
    /// States, one after the other, words in little-endian order.
    states: ByteBuf,
}

impl Request {
    /// Takes over a request from the executor.
    ///
    /// # Errors
    /// A sentence about the guest: it asked for the proof of another circuit, of nothing, or of what is not so.
    pub(super) fn of(request: &ProveKeccakRequest) -> Result<Self, String> {
        if request.control_root != KECCAK_CONTROL_ROOT {
            return Err("it asked for a keccak proof of another circuit than risc0-zkvm 3.0.6 has".to_owned());
        }
        let fits = |po2: &u8| max_keccak_inputs((*po2).into()) >= request.input.len();
        // What is claimed does not depend on the size, and a smaller one costs less.
        let po2 = (Po2::MIN.get()..=KECCAK_PO2_MAX).find(fits).and_then(|po2| Po2::try_from(po2).ok());
        let po2 =
            po2.ok_or_else(|| format!("it asked for a keccak proof of {} permutations at once", request.input.len()))?;
        let words = request.input.iter().flatten();
        let states = ByteBuf::from(words.flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>());
        let request = Self { format: FORMAT, po2, claim: to_proto(request.claim_digest), states };
        request.check().map_err(|error| format!("it asked for {error}"))?;
        Ok(request)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        manyhands_proto::encode(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        manyhands_proto::decode(bytes, usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX))
    }

    fn states(&self) -> Vec<KeccakState> {
        let mut words = self.states.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let count = self.states.len() / STATE_BYTES;
        (0..count).map(|_| std::array::from_fn(|_| words.next().unwrap_or_default())).collect()
    }
}

impl Checked for Request {
    fn check(&self) -> Result<(), DecodeError> {
        if self.format != FORMAT {
            return Err(DecodeError::Invalid("a keccak request of another format"));
        }
        if !is_keccak_po2(self.po2) {
            return Err(DecodeError::Invalid("a keccak request of a size that is not made"));
        }
        let count = self.states.len() / STATE_BYTES;
        if !self.states.len().is_multiple_of(STATE_BYTES)
            || count == 0
            || count > max_keccak_inputs(self.po2.get().into())
        {
            return Err(DecodeError::Invalid("a keccak request of a wrong number of permutations"));
        }
        if to_proto(compute_keccak_digest(&self.states)) != self.claim {
            return Err(DecodeError::Invalid("a keccak request that claims what is not so"));
        }
        Ok(())
    }
}

/// Proves a keccak request and lifts the proof, and checks the result as its receiver will.
///
/// # Errors
/// [`Failure::Input`] when the bytes are no request, [`Failure::Prover`] when the proof failed.
pub fn prove_keccak(request: &[u8]) -> Result<Vec<u8>, Failure> {
    let request = guarded(Failure::Input, || Request::decode(request).map_err(|error| unusable(&error)))?;
    let task = ProveKeccakRequest {
        claim_digest: from_proto(request.claim),
        po2: request.po2.get().into(),
        control_root: KECCAK_CONTROL_ROOT,
        input: request.states(),
    };
    let prover = prover()?;
    let receipt = guarded(Failure::Prover, || prover.prove_keccak(&task).map_err(|error| failed(&error)))?;
    let bytes = encoding::encode(&receipt).map_err(|why| failed(&why))?;
    check_keccak(&bytes, request.claim, request.po2).map_err(|error| failed(&error))?;
    Ok(bytes)
}

/// Unites the receipts of two ranges of keccak requests, and checks the result as its receiver will. Costs what a join does.
///
/// # Errors
/// [`Failure::NoRecursion`] without the recursion programs, [`Failure::Input`] when a receipt is none or does not verify,
/// [`Failure::Prover`] when the union failed.
pub fn unite(left: &[u8], right: &[u8]) -> Result<Vec<u8>, Failure> {
    require_recursion()?;
    let read = |bytes| guarded(Failure::Input, || AssumptionReceipt::decode(bytes).map_err(|error| unusable(&error)));
    let (left, right) = (read(left)?, read(right)?);
    let claim = left.proves().united(right.proves()).claim;
    let receipt = |of: &AssumptionReceipt| of.receipt().map_err(|why| unusable(&why));
    let (left, right) = (receipt(&left)?, receipt(&right)?);
    let prover = prover()?;
    let united: SuccinctReceipt<Unknown> =
        guarded(Failure::Prover, || Ok(prover.union(&left, &right).map_err(|error| failed(&error))?.into_unknown()))?;
    let bytes = encoding::encode(&united).map_err(|why| failed(&why))?;
    check_union(&bytes, claim).map_err(|error| failed(&error))?;
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn asked(count: usize) -> ProveKeccakRequest {
        let input: Vec<KeccakState> = (0..count).map(|number| [number as u64; 25]).collect();
        let bytes: Vec<u8> = input.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        // RISC Zero's function panics for nothing at all.
        let claim_digest = if count == 0 { Default::default() } else { compute_keccak_digest(&bytes) };
        ProveKeccakRequest { claim_digest, po2: 14, control_root: KECCAK_CONTROL_ROOT, input }
    }

    #[test]
    fn a_request_is_what_its_blob_says() {
        let sizes = [1, 81, 82, 163].map(|count| Request::of(&asked(count)).unwrap().po2.get());
        assert_eq!(sizes, [14, 14, 15, 15], "the smallest that they fit into");
        let asked = asked(82);
        let request = Request::of(&asked).unwrap();
        let blob = request.encode();
        // Format, size, claim, the states' length in three bytes, the states.
        assert_eq!(blob.len(), 1 + 1 + 32 + 3 + 82 * STATE_BYTES);
        let read = Request::decode(&blob).unwrap();
        assert_eq!((read.states(), &read), (asked.input, &request));
    }

    #[test]
    fn what_nobody_could_prove_is_found_before_it_is_tried() {
        for (wrong, why) in [
            (ProveKeccakRequest { claim_digest: [7; 32].into(), ..asked(1) }, "claims what is not so"),
            (ProveKeccakRequest { control_root: [7; 32].into(), ..asked(1) }, "another circuit"),
            (asked(0), "wrong number of permutations"),
            (asked(164), "164 permutations at once"),
        ] {
            let error = Request::of(&wrong).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let mut blob = Request::of(&asked(2)).unwrap().encode();
        let last = blob.len() - 1;
        blob[last] ^= 1;
        assert!(matches!(prove_keccak(&blob), Err(Failure::Input(why)) if why.contains("claims what is not so")));
        blob[last] ^= 1;
        blob[1] = 16;
        assert!(matches!(prove_keccak(&blob), Err(Failure::Input(why)) if why.contains("size that is not made")));
        assert!(matches!(prove_keccak(b"no request"), Err(Failure::Input(_))));
    }
}
