//! What is known of each node: what it offers, how fast it was, whether it can be trusted with work now.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::limits::ADDRESSES_MAX;
use manyhands_proto::message::Capabilities;
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{NodeId, Po2};

use crate::ranges::Allowances;
use crate::reputation::Ruling;
use crate::scores::Held;
use crate::verifiers::Verifiers;
use crate::{Policy, Time};

/// The address range that a node is reached from: an IPv4 /24 or an IPv6 /48. Nodes of one range are likely one operator's, and fail
/// together. All zeros where the range is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Origin(pub [u8; 8]);

impl Origin {
    /// The range of an IPv4 address.
    pub const fn v4([a, b, c, _]: [u8; 4]) -> Self {
        Self([4, a, b, c, 0, 0, 0, 0])
    }

    /// The range of an IPv6 address.
    pub const fn v6([a, b, c, d, e, f, ..]: [u8; 16]) -> Self {
        Self([6, a, b, c, d, e, f, 0])
    }

    /// Whether it is a range of the public internet. Who comes from a private one is on the gateway's own network or machine.
    pub const fn is_public(&self) -> bool {
        match self.0 {
            [4, 10 | 127, ..] | [4, 192, 168, ..] | [4, 169, 254, ..] => false,
            [4, 172, 16..=31, ..] => false,
            [6, 0xfc..=0xfe, ..] | [6, 0, 0, 0, 0, 0, 0, _] => false,
            [4 | 6, ..] => true,
            _ => false,
        }
    }

    /// Whether both are known to be the same range.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        self == other && *self != Self::default()
    }
}

/// The share of leases that came to nothing, as it was lately: an average in which each lease counts 1/64 and older ones ever less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LossRate {
    millionths: u64,
}

impl LossRate {
    /// Takes one lease into account.
    pub fn note(&mut self, is_lost: bool) {
        let latest = if is_lost { 1_000_000 } else { 0 };
        self.millionths = (self.millionths * 63 + latest) / 64;
    }

    /// Leases in vain for each hundred that deliver: what is lost, in percent of what comes. At most 900.
    pub fn per_hundred(&self) -> u64 {
        let lost = self.millionths.min(900_000);
        lost * 100 / (1_000_000 - lost)
    }
}

/// What is known of one node.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is reached from.
    pub origin: Origin,
    /// Where others can dial it; empty if nobody knows.
    pub addresses: Vec<String>,
    /// What it last said it can do.
    pub capabilities: Option<Capabilities>,
    /// When it was last heard of.
    pub heard: Time,
    /// Whether it is connected.
    pub connected: bool,
    /// Valid results in a row; an offence sets it to zero.
    pub valid: u32,
    /// Valid results ever; an offence sets it to zero.
    pub delivered: u32,
    /// Times it sent what no honest node sends.
    pub offences: u32,
    /// Leases in a row that it gave back, or that others were done with long before it.
    pub stumbles: u32,
    /// Times in a row that it let leases lapse; those that lapsed for the same reason count once.
    pub(crate) lapses: u32,
    /// When it was last given a rest for a lease that lapsed.
    pub(crate) paused: Option<Time>,
    /// Gets no lease before this time.
    pub blocked_until: Option<Time>,
    /// Why it was blocked last.
    pub blocked_for: Option<String>,
    /// What the gateway's operator said of it.
    pub ruling: Option<Ruling>,
    pub(crate) scores: BTreeMap<Po2, Held>,
    /// Since when it has no lease and asks for work.
    pub(crate) idle_since: Option<Time>,
    /// When it last failed here: scores from before that count no more.
    pub(crate) suspended: Option<Time>,
    observed_ms: BTreeMap<(UnitKind, Po2), u64>,
}

impl Peer {
    fn new(now: Time) -> Self {
        Self {
            origin: Origin::default(),
            addresses: Vec::new(),
            capabilities: None,
            heard: now,
            connected: false,
            valid: 0,
            delivered: 0,
            offences: 0,
            stumbles: 0,
            lapses: 0,
            paused: None,
            blocked_until: None,
            blocked_for: None,
            ruling: None,
            scores: BTreeMap::new(),
            idle_since: None,
            suspended: None,
            observed_ms: BTreeMap::new(),
        }
    }

    /// Whether it has delivered often enough, without a failure since, to be no newcomer; or the operator knows it.
    pub fn is_trusted(&self, policy: &Policy) -> bool {
        self.is_allowed() || self.valid >= policy.trusted_after
    }

    /// Leases that it may hold at once.
    pub fn slots(&self, policy: &Policy) -> usize {
        let slots = self.capabilities.as_ref().map_or(1, |offer| usize::from(offer.slots));
        if self.is_allowed() { slots } else { slots.min(policy.newcomer_slots.saturating_add(self.valid as usize)) }
    }

    /// Whether there is anything to predict its time for this kind of unit from.
    pub fn is_measured(&self, kind: UnitKind) -> bool {
        let stated = || self.capabilities.iter().flat_map(|offer| &offer.timings).any(|timing| timing.kind == kind);
        let is_scored = kind == UnitKind::Prove && !self.scores.is_empty();
        is_scored || self.observed_ms.keys().any(|(seen, _)| *seen == kind) || stated()
    }

    /// Predicted milliseconds for a unit: what was seen here, else what its scores say, else what the node says, else the paper's laptop.
    pub fn predict_ms(&self, policy: &Policy, kind: UnitKind, po2: Po2) -> u64 {
        if let Some(ms) = self.observed_ms.get(&(kind, po2)) {
            return *ms;
        }
        let scale = |from: Po2, ms: u64| match kind {
            UnitKind::Prove => ms.saturating_mul(po2.cycles()) / from.cycles(),
            // Of a keccak proof a third or more is its lift, and there are two sizes.
            UnitKind::Lift | UnitKind::Join | UnitKind::Keccak => ms,
        };
        let seen =
            self.observed_ms.iter().find(|((seen, _), _)| *seen == kind).map(|((_, from), ms)| scale(*from, *ms));
        let stated = || {
            let timings = self.capabilities.iter().flat_map(|capabilities| &capabilities.timings);
            timings.filter(|timing| timing.kind == kind).map(|timing| scale(timing.po2, timing.elapsed_ms)).min()
        };
        let scored = || self.scored_ms(po2).filter(|_| kind == UnitKind::Prove);
        let believed_max = policy.believed_ms_max(kind, po2);
        let known = seen.or_else(scored);
        known.or_else(|| stated().map(|ms| ms.min(believed_max))).unwrap_or_else(|| policy.default_ms(kind, po2))
    }

    /// Takes a measured time into the prediction: the mean of the old prediction and the new time.
    fn observe(&mut self, kind: UnitKind, po2: Po2, elapsed_ms: u64) {
        let entry = self.observed_ms.entry((kind, po2)).or_insert(elapsed_ms);
        *entry = entry.midpoint(elapsed_ms);
    }

    /// It did not deliver within `elapsed_ms`, so it takes longer than that.
    fn observe_at_least(&mut self, kind: UnitKind, po2: Po2, elapsed_ms: u64) {
        let entry = self.observed_ms.entry((kind, po2)).or_insert(elapsed_ms);
        *entry = (*entry).max(elapsed_ms);
    }
}

/// All nodes that were heard of.
#[derive(Debug, Clone, Default)]
pub struct PeerBook {
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    /// Whose standing has changed and is to be written down.
    pub(crate) changed: BTreeSet<NodeId>,
    /// Whose scores count no more, which those who keep scores are to be told.
    pub(crate) suspended: BTreeSet<NodeId>,
    /// Whose place among those that wait for work may have changed.
    pub(crate) moved: BTreeSet<NodeId>,
    pub(crate) allowances: Allowances,
    pub(crate) verifiers: Verifiers,
    /// Verifiers that are believed no more, of which the operator is to be told.
    pub(crate) distrusted: BTreeSet<NodeId>,
    newcomers: LossRate,
    all: LossRate,
}

impl PeerBook {
    /// All nodes, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Peer)> {
        self.peers.iter()
    }

    /// One node.
    pub fn get(&self, node: &NodeId) -> Option<&Peer> {
        self.peers.get(node)
    }

    /// Notes that a node was heard of.
    pub fn heard(&mut self, now: Time, node: NodeId, policy: &Policy) -> &mut Peer {
        let peer = self.known(now, node, policy);
        peer.heard = now;
        peer.connected = true;
        peer
    }

    /// A node, which need not be there.
    pub(crate) fn known(&mut self, now: Time, node: NodeId, policy: &Policy) -> &mut Peer {
        if !self.peers.contains_key(&node) && self.peers.len() >= policy.peers_max {
            self.forget_stalest();
        }
        self.peers.entry(node).or_insert_with(|| Peer::new(now))
    }

    /// Notes what a node can do, and where it is.
    pub fn introduce(&mut self, now: Time, node: NodeId, from: Origin, capabilities: Capabilities, policy: &Policy) {
        let peer = self.heard(now, node, policy);
        peer.origin = from;
        peer.capabilities = Some(capabilities);
    }

    /// Notes that a node without a lease asks for work.
    pub(crate) fn idle(&mut self, now: Time, node: &NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.idle_since.get_or_insert(now);
        }
    }

    /// Notes that a node has work.
    pub(crate) fn busy(&mut self, node: &NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.idle_since = None;
        }
    }

    /// Notes where a node can be dialled.
    pub fn locate(&mut self, now: Time, node: NodeId, addresses: Vec<String>, policy: &Policy) {
        let peer = self.heard(now, node, policy);
        peer.addresses = addresses.into_iter().take(ADDRESSES_MAX).collect();
    }

    /// Whether a node has delivered a valid result, so that its word about what is impossible counts.
    pub fn is_proven(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.delivered > 0)
    }

    /// Whether a connected node that may get work has delivered before.
    pub fn has_proven(&self, now: Time) -> bool {
        self.peers.values().any(|peer| peer.connected && peer.delivered > 0 && !peer.is_blocked(now))
    }

    /// How many of a newcomer's leases came to nothing lately.
    pub fn newcomers(&self) -> LossRate {
        self.newcomers
    }

    /// How many leases of all nodes came to nothing lately.
    pub fn losses(&self) -> LossRate {
        self.all
    }

    /// Counts a lease that delivered, or that did not.
    pub(crate) fn count(&mut self, node: &NodeId, is_lost: bool, policy: &Policy) {
        if !self.peers.get(node).is_some_and(|peer| peer.is_trusted(policy)) {
            self.newcomers.note(is_lost);
        }
        self.all.note(is_lost);
    }

    /// Notes that a node's connection is gone.
    pub fn gone(&mut self, node: &NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.connected = false;
            peer.idle_since = None;
        }
    }

    /// Credits a verified result that took `elapsed_ms` on the gateway's clock.
    pub fn credit(&mut self, now: Time, node: &NodeId, kind: UnitKind, po2: Po2, elapsed_ms: u64, policy: &Policy) {
        self.count(node, false, policy);
        if kind == UnitKind::Prove {
            self.score(now, node, po2, elapsed_ms, policy);
        }
        self.range_delivered(node, policy);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.valid = peer.valid.saturating_add(1);
            peer.delivered = peer.delivered.saturating_add(1);
            (peer.stumbles, peer.lapses) = (0, 0);
            peer.observe(kind, po2, elapsed_ms);
            self.moved.insert(*node);
        }
    }

    /// A node's lease was late when another's result came: it is a newcomer again, and known to take longer than `elapsed_ms`. With each
    /// such lease in a row it rests longer, for a node that takes work and never delivers looks just like this.
    pub fn late(&mut self, now: Time, node: &NodeId, kind: UnitKind, po2: Po2, elapsed_ms: u64, policy: &Policy) {
        self.count(node, true, policy);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.valid = 0;
        }
        self.suspend(now, node, policy);
        self.range_failed(node, policy);
        self.took_longer(node, kind, po2, elapsed_ms);
        self.stumble(now, node, "another node was done long before it", policy);
    }

    /// A node needs longer than `elapsed_ms` for such a unit: the next lease's deadline is to allow for that.
    pub fn took_longer(&mut self, node: &NodeId, kind: UnitKind, po2: Po2, elapsed_ms: u64) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.observe_at_least(kind, po2, elapsed_ms);
        }
    }

    /// Offenders are forgotten last, so that nobody is rid of a block by the coming of many; who was ruled on is never.
    fn forget_stalest(&mut self) {
        let absent = self.peers.iter().filter(|(_, peer)| !peer.connected && peer.ruling.is_none());
        let stalest = absent.min_by_key(|(_, peer)| (peer.offences > 0, peer.heard));
        if let Some(node) = stalest.map(|(node, _)| *node) {
            self.peers.remove(&node);
        }
    }
}
