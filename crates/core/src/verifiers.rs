//! How far another verifier's word has come true here. Named or not, one whose nodes fail more often than they deliver is believed no more for
//! a day: its owner may have been robbed of its key, or the name was a mistake.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::NodeId;

use crate::peers::{LossRate, PeerBook};
use crate::{Policy, Time};

/// Failures for each hundred first leases that deliver, from which on a verifier is believed no more: one of two. A rate over 64 leases is
/// there only after some forty failures, more than any honest one's nodes have in a row.
const LIES_PERCENT: u64 = 100;

/// Verifiers that something is remembered of: a stranger's key costs nothing, but each word that counts cost a proof.
const VERIFIERS_MAX: usize = 4_096;

/// What came of one verifier's words.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Credibility {
    lost: LossRate,
    ignored_until: Option<Time>,
}

impl Credibility {
    fn is_ignored(&self, now: Time) -> bool {
        self.ignored_until.is_some_and(|until| now < until)
    }
}

impl PeerBook {
    /// Whether a verifier's word counts for nothing now, whoever named it.
    pub(crate) fn is_ignored(&self, now: Time, verifier: &NodeId) -> bool {
        self.verifiers.get(verifier).is_some_and(|known| known.is_ignored(now))
    }

    /// A node has delivered, or not, that this gateway knew by others' words only: they came true, or not.
    pub(crate) fn words_came(&mut self, now: Time, node: &NodeId, is_true: bool, policy: &Policy) {
        let Some(peer) = self.peers.get(node) else { return };
        if peer.scores().any(|(_, held)| held.verifier.is_none()) {
            return;
        }
        let verifiers: BTreeSet<NodeId> = peer.scores().filter_map(|(_, held)| held.verifier).collect();
        for verifier in verifiers {
            if self.verifiers.len() >= VERIFIERS_MAX && !self.verifiers.contains_key(&verifier) {
                self.verifiers.retain(|_, known| known.is_ignored(now));
            }
            let known = self.verifiers.entry(verifier).or_default();
            known.lost.note(!is_true);
            if known.lost.per_hundred() >= LIES_PERCENT {
                *known = Credibility { lost: LossRate::default(), ignored_until: Some(now.after(policy.block_ms_max)) };
                self.forget_words(verifier);
            }
        }
    }

    /// What a verifier said counts no more.
    fn forget_words(&mut self, verifier: NodeId) {
        for (node, peer) in &mut self.peers {
            if peer.forget_words(&verifier) {
                self.moved.insert(*node);
            }
        }
        self.distrusted.insert(verifier);
    }
}

/// What is known of verifiers.
pub(crate) type Verifiers = BTreeMap<NodeId, Credibility>;
