//! The holders of one blob in the order in which they are asked, and what each is given of time.

use std::time::Duration;

use manyhands_blob::transfer::{Sources, TransferLimits};
use manyhands_net::BlobStream;
use manyhands_proto::message::Holder;
use tokio::time::Instant;

use super::Providers;
use super::shunned::SHUN;
use crate::blobs::BlobError;

/// How long a provider may take to be reached while there is another: an intercontinental handshake is four round trips, about a second.
pub(super) const REACH: Duration = Duration::from_secs(3);

/// The holders of one blob, in the order in which to ask.
pub(super) struct Order<'a> {
    pub(super) providers: &'a Providers,
    pub(super) holders: &'a [Holder],
}

impl Order<'_> {
    fn is_last(&self, source: usize) -> bool {
        source + 1 == self.holders.len()
    }
}

impl Sources for Order<'_> {
    type Stream = BlobStream;
    type Error = BlobError;

    fn count(&self) -> usize {
        self.holders.len()
    }

    async fn open(&self, source: usize) -> Result<BlobStream, BlobError> {
        let holder = self.holders.get(source).ok_or(BlobError::NoHolder)?;
        self.providers.reach(holder, self.is_last(source)).await
    }

    fn limits(&self, source: usize) -> TransferLimits {
        limits(self.is_last(source))
    }

    fn failed(&self, source: usize, error: &BlobError) {
        if let Some(holder) = self.holders.get(source) {
            self.providers.note(holder.node, error);
        }
    }

    fn slow(&self, source: usize, sent_chunks: u64) {
        let Some(holder) = self.holders.get(source) else { return };
        tracing::debug!(node = %holder.node.short(), sent_chunks, "a provider was much slower than another");
        // While others gave whole parts it was not even reached.
        if sent_chunks == 0 {
            self.providers.shunned().add(holder.node, Instant::now() + SHUN);
        }
    }
}

/// What a provider may take: the last one as long as a home line needs, the others only as long as they are no loss of time.
pub(super) fn limits(is_last: bool) -> TransferLimits {
    if is_last {
        return TransferLimits::default();
    }
    TransferLimits {
        request_timeout: REACH,
        answer_timeout: REACH,
        window: Duration::from_secs(5),
        grace: Duration::from_secs(5),
        ..TransferLimits::default()
    }
}
