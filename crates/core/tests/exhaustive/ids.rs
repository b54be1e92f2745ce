//! Who is who in this world, and hashes over what machines and messages show of themselves.

use std::fmt::{Debug, Write};
use std::hash::{DefaultHasher, Hasher};

use manyhands_proto::{BlobRef, JobId, LeaseId, NodeId};

use crate::fake::{blob, node};

/// A hash over all that a value shows of itself.
pub fn mark(value: &impl Debug) -> u64 {
    struct Sink(DefaultHasher);
    impl Write for Sink {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut sink = Sink(DefaultHasher::new());
    write!(sink, "{value:?}").unwrap();
    sink.0.finish()
}

/// Each gateway has one job.
pub fn job_of(gateway: usize) -> JobId {
    JobId([u8::try_from(gateway).unwrap(); 16])
}

pub fn gateway_id(which: usize) -> NodeId {
    node(0xe0 + u8::try_from(which).unwrap())
}

pub fn gateway_of(id: NodeId) -> usize {
    usize::from(id.0[0] - 0xe0)
}

pub fn node_id(which: usize) -> NodeId {
    node(u8::try_from(which + 1).unwrap())
}

pub fn node_of(id: NodeId) -> usize {
    usize::from(id.0[0]) - 1
}

/// The receipt of this work: another one for each node and attempt.
pub fn receipt(node: NodeId, lease: LeaseId) -> BlobRef {
    blob(mark(&(node, lease)))
}
