//! Which running leases each node holds: an index into the ledgers of all jobs, so that lost connections and surplus leases are found
//! without walking through every unit.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::{LeaseId, NodeId};

use crate::peers::Origin;
use crate::ranges::Counts;

/// The index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holding {
    by_node: BTreeMap<NodeId, BTreeSet<LeaseId>>,
    /// The ranges that leases are counted in.
    ranges: BTreeMap<LeaseId, Origin>,
    by_range: Counts,
}

impl Holding {
    /// A lease begins, which counts in this range.
    pub(crate) fn begin(&mut self, node: NodeId, lease: LeaseId, range: Option<Origin>) {
        if self.by_node.entry(node).or_default().insert(lease) {
            self.by_range.add(range);
            range.map(|range| self.ranges.insert(lease, range));
        }
    }

    pub(crate) fn end(&mut self, node: NodeId, lease: LeaseId) {
        if let Some(leases) = self.by_node.get_mut(&node) {
            if leases.remove(&lease) {
                self.by_range.remove(self.ranges.remove(&lease));
            }
            if leases.is_empty() {
                self.by_node.remove(&node);
            }
        }
    }

    /// Leases that count in a range.
    pub(crate) fn in_range(&self, range: &Origin) -> usize {
        self.by_range.of(range)
    }

    /// Whether the leases of each range are as many as are counted, and all of them are held.
    pub(crate) fn is_counted(&self) -> bool {
        let held = self.iter().map(|(_, lease)| self.ranges.get(&lease).copied());
        held.collect::<Counts>() == self.by_range
            && self.ranges.values().copied().map(Some).collect::<Counts>() == self.by_range
    }

    pub(crate) fn of(&self, node: &NodeId) -> impl Iterator<Item = LeaseId> {
        self.by_node.get(node).into_iter().flatten().copied()
    }

    /// The nodes that hold leases, in the order of their ids.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&NodeId, &BTreeSet<LeaseId>)> {
        self.by_node.iter()
    }

    /// How many leases a node works on.
    pub(crate) fn count(&self, node: &NodeId) -> usize {
        self.by_node.get(node).map_or(0, BTreeSet::len)
    }

    /// Every running lease with its node.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, LeaseId)> {
        self.by_node.iter().flat_map(|(node, leases)| leases.iter().map(|lease| (*node, *lease)))
    }
}
