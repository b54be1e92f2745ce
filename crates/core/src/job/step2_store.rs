//! Step II: the blob of a segment or keccak request is in the store. Only now can the unit be leased, as only its reference travels.

use manyhands_proto::message::BlobKey;
use manyhands_proto::{BlobRef, Unit};

use super::Job;
use crate::ProofSystem;
use crate::requester::Context;

impl<P: ProofSystem> Job<P> {
    /// The blob that `unit` works on, a segment or a keccak request, is stored; `key` opens it if it is encrypted.
    pub(crate) fn stored(&mut self, unit: Unit, blob: BlobRef, key: Option<BlobKey>, cx: &mut Context<'_, P>) {
        if !self.is_open() || !unit.is_first() {
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
