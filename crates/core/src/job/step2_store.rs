//! Step II: a segment's blob is in the store. Only now can the unit be leased, as only its reference travels.

use manyhands_proto::message::BlobKey;
use manyhands_proto::{BlobRef, Unit};

use super::Job;
use crate::ProofSystem;
use crate::requester::Context;

impl<P: ProofSystem> Job<P> {
    /// The blob of segment `index` is stored; `key` opens it if it is encrypted.
    pub(crate) fn stored(&mut self, index: u32, blob: BlobRef, key: Option<BlobKey>, cx: &mut Context<'_, P>) {
        let unit = Unit::Prove(index);
        if !self.is_open() {
            return;
        }
        if let Some(mut entry) = self.ledger.remove(&unit) {
            if entry.inputs.is_empty() {
                entry.inputs.push(blob);
                entry.key = key;
            }
            self.open(unit, entry, cx);
        }
    }
}
