//! Step VI: the receipt is put together, verified against the image id, and handed over.

use manyhands_proto::BlobRef;

use super::{Job, Phase};
use crate::ProofSystem;
use crate::requester::{Context, Event};

/// What a final receipt is made of: verified proofs and where their receipts are.
#[derive(Debug, Clone)]
pub enum Parts<P: ProofSystem> {
    /// Every segment's proof, in order, and the receipts of what the guest relies on.
    Composite(Vec<(P::Segment, BlobRef)>, Vec<BlobRef>),
    /// One receipt over all segments, which relies on nothing any more.
    Succinct(P::Range, BlobRef),
}

impl<P: ProofSystem> Job<P> {
    /// The receipt was assembled, verified and stored; or it could not be.
    pub(crate) fn assembled(&mut self, result: Result<(), String>, cx: &mut Context<'_, P>) {
        if self.phase != Phase::Assembling {
            return;
        }
        match result {
            Ok(()) => {
                self.phase = Phase::Done { at: cx.now };
                cx.out.event(Event::JobDone { job: self.id });
            }
            Err(reason) => self.fail(format!("the receipt could not be put together: {reason}"), cx),
        }
    }
}
