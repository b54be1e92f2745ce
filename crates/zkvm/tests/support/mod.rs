//! The receipts in `testdata`, whose README says how they were made, and ways to tamper with them.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use manyhands_proto::{Binding, BlobRef, Digest, NodeId, Nonce, Po2, Reference, Seed};
use manyhands_zkvm::{Claim, Expected, Rejection, VerifiedRange, VerifiedSegment, verify_lift, verify_segment};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn claim(index: u32) -> Claim {
    Claim::decode(&fixture(&format!("segment{index}.claim"))).unwrap()
}

pub fn receipt(index: u32) -> Vec<u8> {
    fixture(&format!("segment{index}.receipt"))
}

pub fn image_id() -> Digest {
    Digest(fixture("image_id").try_into().unwrap())
}

pub fn nonce(index: u32) -> Nonce {
    Nonce::bound(NodeId([1; 32]), index, Binding { seed: Seed([7; 16]), epoch: 1 })
}

pub fn po2(index: u32) -> Po2 {
    Po2::try_from(if index == 0 { 16 } else { 14 }).unwrap()
}

/// A reference that stands for `bytes`; addresses are another crate's matter.
pub fn blob(bytes: &[u8]) -> BlobRef {
    BlobRef { reference: Reference([bytes.len() as u8; 32]), size_bytes: bytes.len() as u64 }
}

/// Checks `bytes` as the receipt of segment `index` under its lease.
pub fn check(bytes: &[u8], index: u32) -> Result<VerifiedSegment, Rejection> {
    let claim = claim(index);
    verify_segment(bytes, blob(bytes), &Expected { claim: &claim, index, po2: po2(index), nonce: Some(nonce(index)) })
}

pub fn segment(index: u32) -> VerifiedSegment {
    check(&receipt(index), index).unwrap()
}

pub fn lifted(index: u32) -> VerifiedRange {
    let bytes = fixture(&format!("lift{index}.receipt"));
    verify_lift(&bytes, blob(&bytes), &segment(index)).unwrap()
}

/// Decodes, changes, and encodes again.
pub fn tampered<T: Serialize + DeserializeOwned>(bytes: &[u8], change: impl FnOnce(&mut T)) -> Vec<u8> {
    let mut value = bincode::deserialize(bytes).unwrap();
    change(&mut value);
    bincode::serialize(&value).unwrap()
}
