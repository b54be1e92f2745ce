//! Turns at fetching results (step IV): many in all, few for each node, so that a node that drips holds up nobody but itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use manyhands_proto::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Results fetched from all nodes at the same time. Each has up to 525 kB in memory (`SAVE_CHUNKS`), so 34 MB at most.
const FETCHES_MAX: usize = 64;

/// Results fetched from one node at the same time: more do not come faster over one connection.
const FETCHES_PER_NODE_MAX: usize = 4;

/// Who may fetch now. Cheap to clone; clones share the turns.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    nodes: Arc<Mutex<BTreeMap<NodeId, Arc<Semaphore>>>>,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(FETCHES_MAX)), nodes: Arc::default() }
    }

    /// Waits for a turn to fetch from `node`. None never comes: the semaphores are not closed.
    pub(crate) async fn take(&self, node: NodeId) -> Option<Turn> {
        let own = self.of(node).acquire_owned().await.ok()?;
        let shared = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _own: own, _shared: shared })
    }

    /// A node's own turns. Those of nodes that have none under way are forgotten.
    fn of(&self, node: NodeId) -> Arc<Semaphore> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|_, turns| Arc::strong_count(turns) > 1);
        Arc::clone(nodes.entry(node).or_insert_with(|| Arc::new(Semaphore::new(FETCHES_PER_NODE_MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_node_that_holds_its_turns_holds_up_nobody_else() {
        let turns = Turns::new();
        let now = |node: u8| turns.take(NodeId([node; 32])).now_or_never().flatten();
        let mut held: Vec<Turn> = std::iter::from_fn(|| now(1)).collect();
        assert_eq!(held.len(), FETCHES_PER_NODE_MAX);
        assert!(now(2).is_some());
        held.pop();
        assert!(now(1).is_some());
        drop(held);
        drop(now(3));
        assert_eq!(turns.nodes.lock().unwrap().len(), 1, "who has no turn is forgotten");
    }

    #[tokio::test]
    async fn all_together_have_a_bound() {
        let turns = Turns::new();
        let held: Vec<Turn> =
            (0..=255).filter_map(|node| turns.take(NodeId([node; 32])).now_or_never().flatten()).collect();
        assert_eq!(held.len(), FETCHES_MAX);
    }
}
