//! What a gateway knows of a node's speed by benchmark scores, and what follows: a node with a valid score is leased work at once; one
//! without is a stranger, whose leases are trials. Serves step III.

use manyhands_proto::limits::EPOCH_S;
use manyhands_proto::score::{Score, Work};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{Binding, BlobRef, NodeId, Po2};
use manyhands_vbs::{CheckedScore, Source};

use crate::binder::Binder;
use crate::job::{LeaseRecord, Receipted};
use crate::peers::{Peer, PeerBook};
use crate::requester::Context;
use crate::{Policy, ProofSystem, Time};

/// A score that counts for its node here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Milliseconds that a proof of its size took.
    pub elapsed_ms: u64,
    /// When it counts no more.
    pub until: Time,
    /// How it is known.
    pub source: Source,
    /// Whose word it is, if it is not ours.
    pub verifier: Option<NodeId>,
}

/// A score as a node shows it, signature, subject and time checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What it shows.
    pub score: CheckedScore,
    /// Whose word it is.
    pub source: Source,
}

impl Peer {
    /// Whether a score lets it do units of this kind and size. Who has shown that it proves a size can prove smaller ones; lifts and joins
    /// have no nonce to bind them to their maker, so whatever it has proved must do.
    pub fn is_scored(&self, now: Time, kind: UnitKind, po2: Po2) -> bool {
        let from = if kind == UnitKind::Prove { po2 } else { Po2::MIN };
        self.is_allowed() || self.scores.range(from..).any(|(_, held)| now < held.until)
    }

    /// Whether its leases of such units are trials.
    pub fn is_stranger(&self, now: Time, kind: UnitKind, po2: Po2, policy: &Policy) -> bool {
        policy.score_ms > 0 && !self.is_scored(now, kind, po2)
    }

    /// The scores that are held of it, smallest size first. Expired ones may be among them.
    pub fn scores(&self) -> impl Iterator<Item = (Po2, Held)> {
        self.scores.iter().map(|(po2, held)| (*po2, *held))
    }

    /// Milliseconds for a proof of this size by its scores: of the same size, else of the nearest larger one, else of the nearest smaller.
    pub(crate) fn scored_ms(&self, po2: Po2) -> Option<u64> {
        let near = self.scores.range(po2..).next().or_else(|| self.scores.range(..po2).next_back());
        near.map(|(of, held)| held.elapsed_ms.saturating_mul(po2.cycles()) / of.cycles())
    }

    /// Takes a score in, unless a better known one of that size still counts.
    fn hold(&mut self, now: Time, po2: Po2, held: Held) {
        let is_better = |old: &Held| old.until <= now || held.source <= old.source;
        if self.scores.get(&po2).is_none_or(is_better) {
            self.scores.insert(po2, held);
        }
    }

    /// Drops what a verifier said of it. Returns whether there was something.
    pub(crate) fn forget_words(&mut self, verifier: &NodeId) -> bool {
        let count = self.scores.len();
        self.scores.retain(|_, held| held.verifier != Some(*verifier));
        self.scores.len() < count
    }
}

impl PeerBook {
    /// Takes the score of a proof that this gateway checked itself.
    pub(crate) fn score(&mut self, now: Time, node: &NodeId, po2: Po2, elapsed_ms: u64, policy: &Policy) {
        self.words_came(now, node, true, policy);
        if let Some(peer) = self.peers.get_mut(node) {
            let until = now.after(policy.score_ms);
            peer.hold(now, po2, Held { elapsed_ms, until, source: Source::Own, verifier: None });
            self.moved.insert(*node);
        }
    }

    /// Takes a score that a node has shown: what is older than its last failure here counts no more, and a stranger's word never did.
    pub(crate) fn show(&mut self, now: Time, node: &NodeId, shown: &Shown, issued: Time, until: Time) {
        let verifier = shown.score.score().verifier;
        let is_believed = shown.source != Source::Stranger && !self.is_ignored(now, &verifier);
        let Some(peer) = self.peers.get_mut(node).filter(|_| is_believed) else { return };
        if peer.suspended.is_none_or(|at| at < issued) {
            let score = shown.score.score();
            let held = Held { elapsed_ms: score.elapsed_ms, until, source: shown.source, verifier: Some(verifier) };
            peer.hold(now, score.po2, held);
            self.moved.insert(*node);
        }
    }

    /// A node did not keep what its scores promise: they count no more, whoever gave them.
    pub(crate) fn suspend(&mut self, now: Time, node: &NodeId, policy: &Policy) {
        self.words_came(now, node, false, policy);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.suspended = Some(now);
            self.moved.insert(*node);
            if !peer.scores.is_empty() {
                peer.scores.clear();
                self.suspended.insert(*node);
            }
        }
    }
}

/// A proof that was verified, and what it was asked for.
pub(crate) struct Proved {
    pub(crate) peer: NodeId,
    pub(crate) po2: Po2,
    pub(crate) receipt: BlobRef,
    pub(crate) work: Work,
    pub(crate) index: u32,
    pub(crate) binding: Binding,
}

/// What `verifier` says of a proof that took `took_ms` on its clock; nothing of one that took longer than a score counts.
pub(crate) fn score(
    now: Time,
    proved: Proved,
    took_ms: u64,
    verifier: NodeId,
    policy: &Policy,
    binder: &Binder,
) -> Option<Score> {
    let Proved { peer, po2, receipt, work, index, binding } = proved;
    let issued_s = binder.unix_s(now);
    let expires_s = issued_s.saturating_add(policy.score_ms / 1000);
    let is_scored = policy.score_ms > 0 && (1..=EPOCH_S * 1000).contains(&took_ms);
    let elapsed_ms = took_ms;
    is_scored.then_some(Score { peer, verifier, po2, elapsed_ms, receipt, work, index, binding, issued_s, expires_s })
}

/// The score of a job's verified segment; nothing if it is no benchmark: kept over a restart, or private, so that nobody else may see its
/// receipt.
pub(crate) fn score_of<P: ProofSystem>(
    result: &Receipted,
    record: &LeaseRecord,
    (po2, took_ms): (Po2, u64),
    cx: &Context<'_, P>,
) -> Option<Score> {
    let binding = record.binding.filter(|_| result.lease.unit.kind() == UnitKind::Prove && !cx.is_private)?;
    let index = result.lease.unit.range().start;
    let proved = Proved { peer: result.node, po2, receipt: result.receipt, work: Work::Job, index, binding };
    score(cx.now, proved, took_ms, cx.me.node, cx.policy, cx.binder)
}
