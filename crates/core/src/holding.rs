//! Which running leases each node holds: an index into the ledgers of all jobs, so that lost connections and surplus leases are found
//! without walking through every unit.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::{LeaseId, NodeId};

/// The index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holding(BTreeMap<NodeId, BTreeSet<LeaseId>>);

impl Holding {
    pub(crate) fn begin(&mut self, node: NodeId, lease: LeaseId) {
        self.0.entry(node).or_default().insert(lease);
    }

    pub(crate) fn end(&mut self, node: NodeId, lease: LeaseId) {
        if let Some(leases) = self.0.get_mut(&node) {
            leases.remove(&lease);
            if leases.is_empty() {
                self.0.remove(&node);
            }
        }
    }

    pub(crate) fn of(&self, node: &NodeId) -> impl Iterator<Item = LeaseId> {
        self.0.get(node).into_iter().flatten().copied()
    }

    /// How many leases a node works on.
    pub(crate) fn count(&self, node: &NodeId) -> usize {
        self.0.get(node).map_or(0, BTreeSet::len)
    }

    /// Every running lease with its node.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, LeaseId)> {
        self.0.iter().flat_map(|(node, leases)| leases.iter().map(|lease| (*node, *lease)))
    }
}
