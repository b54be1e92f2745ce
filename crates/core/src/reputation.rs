//! What a gateway holds against a node, or for it, beyond the moment: it outlives a restart. Serves step III.

use manyhands_proto::NodeId;
use serde::{Deserialize, Serialize};

use crate::peers::{Peer, PeerBook};
use crate::{Policy, Time};

/// What the gateway's operator says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is known: no newcomer, whatever it has delivered. What it did before is forgiven; what it does from now on is not.
    Allowed,
    /// It gets no work.
    Denied,
}

/// A verdict, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// What was said.
    pub verdict: Verdict,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
}

/// What of a node's standing is written down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Times it sent what no honest node sends.
    pub offences: u32,
    /// Gets no lease before this time.
    pub blocked_until: Option<Time>,
    /// Why it was blocked last.
    pub blocked_for: Option<String>,
    /// What the operator said of it.
    pub ruling: Option<Ruling>,
}

/// Why a node gets no work, and for how many milliseconds more; without a number until the operator says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) reason: String,
    pub(crate) left_ms: Option<u64>,
}

impl Peer {
    fn verdict(&self) -> Option<Verdict> {
        self.ruling.as_ref().map(|ruling| ruling.verdict)
    }

    /// Whether the operator lets it have no work.
    pub fn is_denied(&self) -> bool {
        self.verdict() == Some(Verdict::Denied)
    }

    /// Whether the operator knows it.
    pub fn is_allowed(&self) -> bool {
        self.verdict() == Some(Verdict::Allowed)
    }

    /// Whether it gets no lease at `now`.
    pub fn is_blocked(&self, now: Time) -> bool {
        self.is_denied() || self.blocked_until.is_some_and(|until| now < until)
    }

    /// Why it gets no lease at `now`, if it gets none.
    pub(crate) fn bar(&self, now: Time) -> Option<Bar> {
        if let Some(ruling) = self.ruling.as_ref().filter(|_| self.is_denied()) {
            let colon = if ruling.reason.is_empty() { "" } else { ": " };
            let reason = format!("denied by this gateway's operator{colon}{}", ruling.reason);
            return Some(Bar { reason, left_ms: None });
        }
        let until = self.blocked_until.filter(|until| now < *until)?;
        Some(Bar { reason: self.blocked_for.clone().unwrap_or_default(), left_ms: Some(until.since(now)) })
    }

    /// Blocks the node, unless it is blocked for longer already.
    fn block(&mut self, until: Time, reason: &str) {
        if self.blocked_until.is_none_or(|old| old < until) {
            self.blocked_until = Some(until);
            self.blocked_for = Some(reason.to_owned());
        }
    }

    /// What of it is written down.
    pub fn standing(&self) -> Standing {
        Standing {
            offences: self.offences,
            blocked_until: self.blocked_until,
            blocked_for: self.blocked_for.clone(),
            ruling: self.ruling.clone(),
        }
    }
}

impl PeerBook {
    /// Gives a node that could not do a lease a rest, longer with each in a row. Too short to be written down.
    pub fn stumble(&mut self, now: Time, node: &NodeId, reason: &str, policy: &Policy) {
        if let Some(peer) = self.peers.get_mut(node) {
            let doubled = policy.rest_ms.saturating_mul(1 << peer.stumbles.min(20));
            peer.stumbles = peer.stumbles.saturating_add(1);
            peer.block(now.after(doubled.min(policy.pause_ms)), reason);
        }
    }

    /// Gives a node that let a lease lapse a rest, longer with each in a row. Leases that it had already when it was given the last one ended
    /// with that: a machine whose lid is closed loses all of them at once.
    pub fn pause(&mut self, now: Time, node: &NodeId, granted: Time, reason: &str, policy: &Policy) {
        self.count(node, true, policy);
        self.suspend(now, node, policy);
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.valid = 0;
        if peer.paused.replace(now).is_some_and(|last| granted <= last) {
            return;
        }
        // What it gave back itself before that is no sign of a node that takes work and keeps it.
        let doubled = policy.pause_ms.saturating_mul(1 << peer.lapses.min(20));
        peer.lapses = peer.lapses.saturating_add(1);
        peer.block(now.after(doubled.min(policy.block_ms_max)), reason);
        if doubled > policy.pause_ms {
            self.changed.insert(*node);
        }
        self.range_failed(node, policy);
    }

    /// Blocks a node that sent what no honest node sends, for longer each time; a long time without counts as none before. Returns until when.
    pub fn offend(&mut self, now: Time, node: &NodeId, reason: &str, policy: &Policy) -> Option<Time> {
        self.count(node, true, policy);
        self.suspend(now, node, policy);
        self.range_failed(node, policy);
        let peer = self.peers.get_mut(node)?;
        if peer.blocked_until.is_some_and(|until| now.since(until) > policy.forgive_ms) {
            peer.offences = 0;
        }
        let doubled = policy.block_ms.saturating_mul(1 << peer.offences.min(20));
        let until = now.after(doubled.min(policy.block_ms_max));
        peer.offences = peer.offences.saturating_add(1);
        peer.valid = 0;
        peer.delivered = 0;
        peer.block(until, reason);
        self.changed.insert(*node);
        peer.blocked_until
    }

    /// Notes what the operator says of a node, or that he says nothing any more. What the node did before is forgiven either way.
    pub fn rule(&mut self, now: Time, node: NodeId, ruling: Option<Ruling>, policy: &Policy) {
        let peer = self.known(now, node, policy);
        peer.ruling = ruling;
        (peer.offences, peer.stumbles, peer.lapses) = (0, 0, 0);
        (peer.blocked_until, peer.blocked_for) = (None, None);
        self.changed.insert(node);
    }

    /// Takes up what was written down of a node before a restart.
    pub fn recall(&mut self, now: Time, node: NodeId, standing: Standing, policy: &Policy) {
        let peer = self.known(now, node, policy);
        peer.offences = standing.offences;
        peer.blocked_until = standing.blocked_until;
        peer.blocked_for = standing.blocked_for;
        peer.ruling = standing.ruling;
    }

    /// The nodes whose standing has changed since this was asked last, as it is now.
    pub(crate) fn take_changed(&mut self) -> Vec<(NodeId, Standing)> {
        let changed = std::mem::take(&mut self.changed);
        // One that was forgotten meanwhile has none.
        changed.into_iter().filter_map(|node| Some((node, self.peers.get(&node)?.standing()))).collect()
    }
}
