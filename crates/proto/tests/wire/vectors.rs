//! The bytes on the wire are those that a second encoder wrote down, and no message goes without.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::DecodeError;

use crate::samples::{name, names, samples};

/// Vectors by name, as written in testdata.
fn vectors() -> BTreeMap<String, Vec<u8>> {
    let lines = include_str!("../../testdata/vectors.txt").lines().filter(|line| !line.starts_with('#'));
    let vector = |line: &str| {
        let (name, digits) = line.split_once(' ').unwrap();
        (name.to_owned(), hex::decode(digits).unwrap())
    };
    lines.map(vector).collect()
}

#[test]
fn every_variant_has_a_sample_and_a_vector_and_no_vector_is_left_over() {
    let wanted: BTreeSet<String> = names().map(str::to_owned).collect();
    let sampled: BTreeSet<String> = samples().iter().map(|sample| name(sample).to_owned()).collect();
    let written: BTreeSet<String> = vectors().into_keys().collect();
    assert_eq!(sampled, wanted);
    assert_eq!(written, wanted);
    assert_eq!(samples().len(), wanted.len(), "two samples share a name");
}

#[test]
fn samples_are_written_as_their_vectors_and_read_back() {
    let vectors = vectors();
    for sample in samples() {
        let name = name(&sample);
        let bytes = &vectors[name];
        assert_eq!(hex::encode(sample.encode()), hex::encode(bytes), "{name}");
        assert_eq!(sample.decode(bytes).unwrap(), sample, "{name}");
    }
}

#[test]
fn no_vector_is_read_with_a_byte_more_or_less() {
    for sample in samples() {
        let mut bytes = sample.encode();
        let name = name(&sample);
        for len in 0..bytes.len() {
            let result = sample.decode(&bytes[..len]);
            assert_eq!(result, Err(DecodeError::Malformed), "{name} cut to {len} bytes");
        }
        bytes.push(0);
        assert_eq!(sample.decode(&bytes), Err(DecodeError::Trailing { extra_bytes: 1 }), "{name}");
    }
}

#[test]
fn an_empty_frame_is_no_message() {
    for sample in samples() {
        assert_eq!(sample.decode(&[]), Err(DecodeError::Malformed));
    }
}

/// Flipping any one bit gives another message or an error, never the same message: no bit is without meaning.
#[test]
fn every_bit_of_every_vector_means_something() {
    for sample in samples() {
        let bytes = sample.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = sample.decode(&flipped) {
                assert_ne!(other, sample, "{} bit {bit}", name(&sample));
                assert_eq!(other.encode(), flipped, "{} bit {bit}", name(&sample));
            }
        }
    }
}
