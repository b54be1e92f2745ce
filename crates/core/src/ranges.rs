//! What nodes of one address range may do before they have shown that they deliver: an owner of many identities cannot fill a gateway's leases
//! with them. As with a new connection in TCP, a range begins with little, each result makes room for one more, and a failure halves it.

use std::collections::BTreeMap;

use manyhands_proto::NodeId;

use crate::Policy;
use crate::bids::Bids;
use crate::holding::Holding;
use crate::peers::{Origin, Peer, PeerBook};

/// A counter for each range that something is counted in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts(BTreeMap<Origin, usize>);

impl FromIterator<Option<Origin>> for Counts {
    fn from_iter<I: IntoIterator<Item = Option<Origin>>>(ranges: I) -> Self {
        let mut counts = Self::default();
        ranges.into_iter().for_each(|range| counts.add(range));
        counts
    }
}

impl Counts {
    pub(crate) fn add(&mut self, range: Option<Origin>) {
        if let Some(range) = range {
            *self.0.entry(range).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, range: Option<Origin>) {
        if let Some(range) = range
            && let Some(count) = self.0.get_mut(&range)
        {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&range);
            }
        }
    }

    pub(crate) fn of(&self, range: &Origin) -> usize {
        self.0.get(range).copied().unwrap_or_default()
    }
}

/// How many leases the unproven nodes of a range may have, where that is not what a range begins with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowances(BTreeMap<Origin, usize>);

impl Allowances {
    fn of(&self, range: &Origin, policy: &Policy) -> usize {
        self.0.get(range).copied().unwrap_or(policy.range_slots)
    }

    fn set(&mut self, range: Origin, allowance: usize, policy: &Policy) {
        if self.0.len() >= policy.peers_max && !self.0.contains_key(&range) {
            self.0.pop_first();
        }
        self.0.insert(range, allowance);
    }
}

impl Peer {
    /// The range that what it does is counted in: none if it has delivered often enough, or if its range tells nothing.
    fn counted_in(&self, policy: &Policy) -> Option<Origin> {
        Some(self.origin).filter(|range| policy.range_slots > 0 && !self.is_trusted(policy) && range.is_public())
    }
}

impl PeerBook {
    /// The range that what a node does is counted in, if it is in one.
    pub(crate) fn counted_in(&self, node: &NodeId, policy: &Policy) -> Option<Origin> {
        self.peers.get(node)?.counted_in(policy)
    }

    /// Whether a node can have a lease beside those of its range that were counted before; it is counted then. A fleet of more than that is
    /// there in name only.
    pub(crate) fn counts_beside(&self, peer: &Peer, counted: &mut Counts, policy: &Policy) -> bool {
        let Some(range) = peer.counted_in(policy) else { return true };
        let has_room = counted.of(&range) < self.allowances.of(&range, policy);
        if has_room {
            counted.add(Some(range));
        }
        has_room
    }

    /// A node of a range has delivered.
    pub(crate) fn range_delivered(&mut self, node: &NodeId, policy: &Policy) {
        if let Some(range) = self.counted_in(node, policy) {
            let allowance = self.allowances.of(&range, policy).saturating_add(1);
            self.allowances.set(range, allowance, policy);
        }
    }

    /// A node of a range has not done what it took on. One lease is left in any case, so that honest nodes there have a way back.
    pub(crate) fn range_failed(&mut self, node: &NodeId, policy: &Policy) {
        let range = self.peers.get(node).map(|peer| peer.origin);
        if let Some(range) = range.filter(|range| policy.range_slots > 0 && range.is_public()) {
            let allowance = (self.allowances.of(&range, policy) / 2).max(1);
            self.allowances.set(range, allowance, policy);
        }
    }

    /// Whether the range of a node has as many leases, and bids that wait for one, as it may.
    pub(crate) fn is_range_full(&self, node: &NodeId, bids: &Bids, holding: &Holding, policy: &Policy) -> bool {
        self.counted_in(node, policy).is_some_and(|range| {
            bids.in_range(&range).saturating_add(holding.in_range(&range)) >= self.allowances.of(&range, policy)
        })
    }
}
