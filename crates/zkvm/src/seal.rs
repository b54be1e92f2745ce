//! The front of a segment's seal: the values that the proof is about.
//!
//! The seal's first word is its version, the next 90 are the circuit's public values, and then comes the segment's size. All of them
//! go into the proof's transcript, so none can be changed in a finished seal. They are read before the proof is checked, which is a
//! hundred times dearer, and a seal that passes here cannot make RISC Zero's decoders panic.

use manyhands_proto::Nonce;
use risc0_binfmt::PovwNonce;
use risc0_circuit_rv32im::{CircuitImpl, RV32IM_SEAL_VERSION, decode_povw_nonce};
use risc0_zkp::adapter::CircuitInfo;

/// The prime of the BabyBear field (`risc0_core::field::baby_bear::P`): no element of a seal is as large.
const FIELD_PRIME: u32 = 15 * (1 << 27) + 1;

/// What the front of a seal states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealFront {
    /// The segment's size as an exponent; any number below the field's prime.
    pub po2: u32,
    /// The nonce it was proved under.
    pub nonce: Nonce,
}

/// Reads the front of a seal; nothing when it is too short, of another version, or holds impossible values.
pub(crate) fn front(seal: &[u32]) -> Option<SealFront> {
    let (version, rest) = seal.split_first()?;
    let (values, rest) = rest.split_at_checked(CircuitImpl::OUTPUT_SIZE)?;
    let po2 = *rest.first()?;
    // Upstream casts the values to field elements without looking: out of range, that panics.
    if *version != RV32IM_SEAL_VERSION || values.iter().any(|value| *value >= FIELD_PRIME) {
        return None;
    }
    let nonce = from_povw(decode_povw_nonce(seal).ok()?);
    Some(SealFront { po2, nonce })
}

/// The nonce as the circuit has it: 32 little-endian bytes, first the segment's index, then the job, then the log.
#[cfg(any(test, feature = "prove"))]
pub(crate) fn to_povw(nonce: Nonce) -> PovwNonce {
    let mut bytes = [0; 32];
    let parts = nonce.segment.to_le_bytes().into_iter().chain(nonce.job.to_le_bytes()).chain(nonce.log);
    bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
    PovwNonce::from_bytes(bytes)
}

fn from_povw(nonce: PovwNonce) -> Nonce {
    let bytes = nonce.to_bytes();
    let log = core::array::from_fn(|i| bytes.get(12 + i).copied().unwrap_or_default());
    Nonce { log, job: nonce.job, segment: nonce.segment }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_field_prime_is_upstreams() {
        assert_eq!(FIELD_PRIME, risc0_zkp::field::baby_bear::P);
    }

    proptest! {
        #[test]
        fn a_nonce_survives_the_circuits_form(log: [u8; 20], job: u64, segment: u32) {
            let nonce = Nonce { log, job, segment };
            prop_assert_eq!(from_povw(to_povw(nonce)), nonce);
        }

        #[test]
        fn any_words_are_read_without_panic(version in 0_u32..4, mut words in proptest::collection::vec(any::<u32>(), 0..120)) {
            words.insert(0, version);
            let _ = front(&words);
        }

        #[test]
        fn words_below_the_prime_are_read_without_panic(words in proptest::collection::vec(0..FIELD_PRIME, 91..95)) {
            let seal: Vec<u32> = std::iter::once(RV32IM_SEAL_VERSION).chain(words).collect();
            let _ = front(&seal);
        }
    }
}
