//! Whose word counts.

use std::collections::BTreeSet;

use manyhands_proto::NodeId;
use serde::{Deserialize, Serialize};

/// How a score is known, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// This process measured it itself.
    Own,
    /// A verifier that this process's owner named says so.
    Named,
    /// A stranger says so, and this process has checked the proof: that there is one, of that peer, size and epoch. The time is the
    /// stranger's word.
    Reverified,
    /// A stranger says so. Counts for nothing.
    Stranger,
}

/// Who is believed.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    me: NodeId,
    named: BTreeSet<NodeId>,
}

impl Trust {
    /// Of a process whose id is `me`, and whose owner named these verifiers.
    pub const fn new(me: NodeId, named: BTreeSet<NodeId>) -> Self {
        Self { me, named }
    }

    /// What a word of `verifier` is before its proof is looked at.
    pub fn source(&self, verifier: &NodeId) -> Source {
        if *verifier == self.me {
            Source::Own
        } else if self.named.contains(verifier) {
            Source::Named
        } else {
            Source::Stranger
        }
    }
}
