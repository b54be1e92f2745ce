//! Jobs that are not for everybody: their segments hold private inputs, so only the nodes that their requester named get a lease, a
//! reference or a key. Serves steps I and III.

use std::collections::BTreeSet;

use manyhands_proto::message::Capabilities;
use manyhands_proto::{JobId, NodeId};

use super::Requester;
use crate::ProofSystem;

impl<P: ProofSystem> Requester<P> {
    /// Who may work on a job, if that is not everybody.
    pub fn circle(&self, job: &JobId) -> Option<&BTreeSet<NodeId>> {
        self.circles.get(job)
    }

    /// Whether `node` may work on `job`.
    pub(crate) fn lets(&self, job: &JobId, node: &NodeId) -> bool {
        self.circle(job).is_none_or(|circle| circle.contains(node))
    }

    /// Whether `job` is not for everybody, and `node` may work on it.
    pub(crate) fn is_circled(&self, job: &JobId, node: &NodeId) -> bool {
        self.circle(job).is_some_and(|circle| circle.contains(node))
    }

    /// What the connected nodes offer that may work on `job`.
    pub(crate) fn offers_for(&self, job: &JobId) -> impl Iterator<Item = (&NodeId, &Capabilities)> {
        let circle = self.circle(job);
        self.offers().filter(move |(node, _)| circle.is_none_or(|circle| circle.contains(node)))
    }
}
