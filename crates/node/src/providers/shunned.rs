//! Providers that come last for a while, for what they did.

use std::collections::BTreeMap;
use std::time::Duration;

use manyhands_blob::transfer::{FetchError, Status};
use manyhands_proto::NodeId;
use manyhands_proto::message::Holder;
use tokio::time::Instant;

use crate::blobs::BlobError;

/// How long one that could not be reached or was too slow comes last.
pub(super) const SHUN: Duration = Duration::from_secs(10 * 60);

/// The same for one that sent wrong bytes.
pub(super) const SHUN_LIAR: Duration = Duration::from_secs(60 * 60);

/// Providers remembered for what they did; beyond it the ones whose time ends first are forgotten.
const SHUNNED_MAX: usize = 1_024;

/// Who comes last, and until when.
#[derive(Debug, Default)]
pub(super) struct Shunned(BTreeMap<NodeId, Instant>);

impl Shunned {
    pub(super) fn add(&mut self, node: NodeId, until: Instant) {
        let until = self.0.get(&node).map_or(until, |old| until.max(*old));
        self.0.insert(node, until);
        if self.0.len() > SHUNNED_MAX {
            let soonest = self.0.iter().min_by_key(|(_, until)| **until).map(|(node, _)| *node);
            soonest.map(|node| self.0.remove(&node));
        }
    }

    /// The order in which to ask. With a last one to fall back on, those that are shunned are not asked at all.
    pub(super) fn order(&mut self, holders: &[Holder], now: Instant) -> Vec<Holder> {
        self.0.retain(|_, until| now < *until);
        let Some((last, others)) = holders.split_last() else { return Vec::new() };
        let mut order: Vec<Holder> =
            others.iter().filter(|holder| !self.0.contains_key(&holder.node)).cloned().collect();
        order.push(last.clone());
        order
    }
}

/// How long a provider comes last after this. That it has not got the blob, or is busy, is no reason.
pub(super) fn shun_time(error: &BlobError) -> Option<Duration> {
    match error {
        BlobError::NoHolder | BlobError::Bee { .. } => None,
        BlobError::Fetch { source: FetchError::Refused { status: Status::NotFound | Status::Busy } } => None,
        BlobError::Fetch { source: FetchError::Store(_) } => None,
        BlobError::Fetch {
            source:
                FetchError::Answer(_) | FetchError::Length { .. } | FetchError::Chunk { .. } | FetchError::Shape { .. },
        } => Some(SHUN_LIAR),
        BlobError::Fetch { .. } => Some(SHUN),
        BlobError::Dial { .. } | BlobError::Open { .. } | BlobError::Unreached { .. } => Some(SHUN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::order::REACH;
    use manyhands_blob::StoreError;

    fn holder(number: u8) -> Holder {
        Holder { node: NodeId([number; 32]), addresses: Vec::new() }
    }

    fn order(shunned: &mut Shunned, holders: &[u8], now: Instant) -> Vec<u8> {
        let holders: Vec<Holder> = holders.iter().map(|number| holder(*number)).collect();
        shunned.order(&holders, now).iter().map(|holder| holder.node.0[0]).collect()
    }

    #[test]
    fn who_failed_is_left_out_for_a_while_but_the_last_is_always_asked() {
        let now = Instant::now();
        let mut shunned = Shunned::default();
        assert_eq!(order(&mut shunned, &[], now), [0; 0]);
        assert_eq!(order(&mut shunned, &[1, 2, 9], now), [1, 2, 9]);
        shunned.add(NodeId([1; 32]), now + SHUN);
        shunned.add(NodeId([9; 32]), now + SHUN_LIAR);
        assert_eq!(order(&mut shunned, &[1, 2, 9], now), [2, 9]);
        assert_eq!(order(&mut shunned, &[1, 2, 9], now + SHUN), [1, 2, 9]);
        // A short time does not end a long one.
        shunned.add(NodeId([2; 32]), now + SHUN_LIAR);
        shunned.add(NodeId([2; 32]), now + SHUN);
        assert_eq!(order(&mut shunned, &[2, 9], now + SHUN), [9]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let mut shunned = Shunned::default();
        for number in 0..2 * SHUNNED_MAX {
            let mut node = NodeId([0; 32]);
            node.0[..8].copy_from_slice(&(number as u64).to_le_bytes());
            shunned.add(node, now + SHUN + Duration::from_millis(number as u64));
        }
        assert_eq!(shunned.0.len(), SHUNNED_MAX);
    }

    #[test]
    fn only_harm_and_delay_are_held_against_a_provider() {
        let refused = |status| BlobError::Fetch { source: FetchError::Refused { status } };
        assert_eq!(shun_time(&refused(Status::NotFound)), None);
        assert_eq!(shun_time(&refused(Status::Busy)), None);
        let full = BlobError::Fetch { source: FetchError::Store(StoreError::Interrupted) };
        assert_eq!(shun_time(&full), None);
        let slow = BlobError::Fetch { source: FetchError::Silent { waited: REACH } };
        assert_eq!(shun_time(&slow), Some(SHUN));
        let node = NodeId([1; 32]);
        assert_eq!(shun_time(&BlobError::Unreached { node, waited: REACH }), Some(SHUN));
        let wrong = BlobError::Fetch { source: FetchError::Length { chunk: 0, got_bytes: 1, due_bytes: 2 } };
        assert_eq!(shun_time(&wrong), Some(SHUN_LIAR));
    }
}
