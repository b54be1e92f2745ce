//! A proof system without cryptography, and short names for ids.

use manyhands_core::{Binder, ProofSystem};
use manyhands_proto::message::{Bid, Capabilities, Holder};
use manyhands_proto::{BlobRef, JobId, NodeId, Po2, Reference, SegmentRange};

/// A claim and a segment's proof are the segment's index, a range's receipt is the range; the same for keccak requests.
#[derive(Debug, Clone)]
pub struct Fake;

impl ProofSystem for Fake {
    type Claim = u32;
    type Segment = u32;
    type Range = SegmentRange;
    type Request = u32;
    type Keccak = SegmentRange;
}

pub const ZKVM: &str = "risc0 3.0.6";
/// What [`Time`](manyhands_core::Time) zero is in the tests, in seconds since 1970.
pub const UNIX_S: u64 = 1_785_600_000;
pub const JOB: JobId = JobId([7; 16]);

pub fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

pub fn po2(number: u8) -> Po2 {
    Po2::try_from(number).unwrap()
}

pub fn blob(number: u64) -> BlobRef {
    let mut reference = [0xb1; 32];
    reference[..8].copy_from_slice(&number.to_le_bytes());
    BlobRef { reference: Reference(reference), size_bytes: 200_000 }
}

pub fn holder(node: NodeId) -> Holder {
    Holder { node, addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()] }
}

/// A node with one slot that can do everything up to 2^17.
pub fn able() -> Capabilities {
    Capabilities {
        zkvm: ZKVM.to_owned(),
        po2_max: po2(17),
        memory_bytes: 4 << 30,
        slots: 1,
        cores: 4,
        recursion: true,
        timings: Vec::new(),
    }
}

/// An offer of all slots.
pub fn bid(capabilities: Capabilities) -> Bid {
    let slots_free = capabilities.slots;
    Bid { capabilities, slots_free, score: None }
}

/// What the gateways of all tests bind proofs with.
pub fn binder() -> Binder {
    Binder::new([7; 32], UNIX_S)
}
