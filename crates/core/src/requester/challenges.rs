//! Synthetic challenges: a node that has no valid score, or will soon have none, and for which there is no work, proves a segment of the
//! pinned benchmark guest. Serves steps III and IV; a trial on a job's own segment (`scores.rs`) is preferred.
//!
//! A challenge looks like any other lease to its node, with a job id that nobody else has. Its clock runs on the gateway's side, from the
//! lease until the receipt is checked.

use std::collections::BTreeMap;

use manyhands_proto::message::{Blame, Lease, Response};
use manyhands_proto::score::Work;
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{Binding, BlobRef, JobId, LeaseId, NodeId, Nonce, Po2, Unit};

use super::{AskId, Command, Event, Requester};
use crate::job::step4_verify::impossible;
use crate::scores::{Proved, score};
use crate::text::clip;
use crate::time::Earliest;
use crate::timers::Wake;
use crate::{Check, Checked, ProofSystem, Refusal, Time};

/// The only segment of a challenge.
const UNIT: Unit = Unit::Prove(0);

/// A challenge under way.
#[derive(Debug, Clone)]
pub(crate) struct Challenge<P: ProofSystem> {
    node: NodeId,
    po2: Po2,
    binding: Binding,
    stage: Stage<P>,
}

#[derive(Debug, Clone)]
enum Stage<P: ProofSystem> {
    /// Its segment is being made, and its node's bid waits.
    Making { ask: AskId },
    /// Its node works on it.
    Running(Lent<P>),
    /// Its receipt is being fetched and checked.
    Checking { lent: Lent<P>, receipt: BlobRef, ask: Option<AskId> },
}

#[derive(Debug, Clone)]
struct Lent<P: ProofSystem> {
    claim: P::Claim,
    granted: Time,
    deadline: Time,
    heard: Time,
}

/// All challenges under way.
#[derive(Debug, Clone)]
pub(crate) struct Challenges<P: ProofSystem> {
    by_id: BTreeMap<JobId, Challenge<P>>,
    by_node: BTreeMap<NodeId, JobId>,
    /// The one whose segment is being made: one after the other, as each takes the gateway's processor for up to a second.
    making: Option<JobId>,
    /// How many there were, so that each has a name of its own.
    count: u64,
}

impl<P: ProofSystem> Default for Challenges<P> {
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), by_node: BTreeMap::new(), making: None, count: 0 }
    }
}

const fn lease_of(id: JobId) -> LeaseId {
    LeaseId { job: id, unit: UNIT, attempt: 1 }
}

impl<P: ProofSystem> Requester<P> {
    /// Whether a node is to be challenged now: it is idle for long enough that no work came, and has no score that will last.
    fn wants_challenge(&self, now: Time, node: &NodeId) -> Option<Po2> {
        let policy = &self.policy;
        let peer = self.peers.get(node).filter(|peer| peer.connected && !peer.is_blocked(now) && !peer.is_allowed())?;
        let is_on = policy.score_ms > 0 && policy.challenge_after_ms > 0;
        // Who has failed a lease is given the next one of a job on trial, and a challenge only if none comes for long.
        let after_ms = policy.challenge_after_ms.max(peer.suspended.map_or(0, |_| policy.score_renew_ms));
        let is_idle = peer.idle_since.is_some_and(|since| now.since(since) >= after_ms);
        let is_under_way = self.challenges.by_node.contains_key(node) || self.challenges.making.is_some();
        if !is_on || !is_idle || is_under_way || self.holding.count(node) > 0 {
            return None;
        }
        let po2 = peer.capabilities.as_ref()?.po2_max;
        (!peer.is_scored(now.after(policy.score_renew_ms), UnitKind::Prove, po2)).then_some(po2)
    }

    /// Challenges a node instead of telling it to wait, if it is to be challenged. False if the question is still open.
    pub(super) fn challenge(&mut self, now: Time, node: NodeId, ask: AskId) -> bool {
        let Some(po2) = self.wants_challenge(now, &node) else { return false };
        self.challenges.count = self.challenges.count.saturating_add(1);
        let id = self.binder.challenge_id(self.challenges.count);
        let binding = self.binder.bind(now, node, &lease_of(id));
        self.challenges.by_id.insert(id, Challenge { node, po2, binding, stage: Stage::Making { ask } });
        self.challenges.by_node.insert(node, id);
        self.challenges.making = Some(id);
        self.out.command(Command::Challenge { id, po2, seed: binding.seed });
        true
    }

    /// The segment of a challenge is made and stored, or could not be.
    pub(super) fn challenge_made(&mut self, now: Time, id: JobId, made: Result<(BlobRef, P::Claim), String>) {
        self.challenges.making.take_if(|making| *making == id);
        let Some(challenge) = self.challenges.by_id.get_mut(&id) else { return self.release_challenge(id) };
        let Stage::Making { ask } = challenge.stage else { return };
        let (node, po2, binding) = (challenge.node, challenge.po2, challenge.binding);
        let predicted_ms = self.peers.get(&node).map(|peer| peer.predict_ms(&self.policy, UnitKind::Prove, po2));
        let (Ok((blob, claim)), Some(predicted_ms)) = (made, predicted_ms) else {
            self.answer(ask, Response::Wait { retry_ms: self.policy.retry_ms });
            return self.forget_challenge(id);
        };
        let deadline_ms = self.policy.deadline_ms(predicted_ms);
        let lent = Lent { claim, granted: now, deadline: now.after(deadline_ms), heard: now };
        challenge.stage = Stage::Running(lent);
        let lease = Lease {
            id: lease_of(id),
            inputs: vec![blob],
            key: None,
            po2,
            nonce: Nonce::bound(node, UNIT.range().start, binding),
            deadline_ms,
            heartbeat_ms: self.policy.heartbeat_ms,
            holders: vec![self.me.clone()],
        };
        self.timers.add(now.after(self.policy.silence_ms.min(deadline_ms)), Wake::Challenge(id));
        self.peers.busy(&node);
        self.out.event(Event::Challenged { node, po2 });
        self.answer(ask, Response::Lease(Box::new(lease)));
    }

    /// Whether a lease is a challenge of this node's.
    fn is_challenge(&self, node: NodeId, lease: LeaseId) -> bool {
        lease == lease_of(lease.job) && self.challenges.by_id.get(&lease.job).is_some_and(|of| of.node == node)
    }

    /// A node confirms a challenge. Nothing if it is none.
    pub(super) fn challenge_heard(&mut self, now: Time, node: NodeId, lease: LeaseId) -> Option<Response> {
        if !self.is_challenge(node, lease) {
            return None;
        }
        let challenge = self.challenges.by_id.get_mut(&lease.job)?;
        if let Stage::Running(lent) = &mut challenge.stage {
            lent.heard = now;
        }
        Some(Response::Ok)
    }

    /// A node says that a challenge is done. False if it is none.
    pub(super) fn challenge_claimed(
        &mut self,
        now: Time,
        node: NodeId,
        lease: LeaseId,
        receipt: BlobRef,
        ask: AskId,
    ) -> bool {
        if !self.is_challenge(node, lease) {
            return false;
        }
        let Some(challenge) = self.challenges.by_id.get_mut(&lease.job) else { return false };
        match &mut challenge.stage {
            Stage::Running(lent) => {
                let (claim, po2) = (lent.claim.clone(), challenge.po2);
                let nonce = Some(Nonce::bound(node, UNIT.range().start, challenge.binding));
                challenge.stage = Stage::Checking { lent: lent.clone(), receipt, ask: Some(ask) };
                match impossible(receipt) {
                    Some(refusal) => drop(self.challenge_checked(now, node, lease, Err(refusal))),
                    None => {
                        let check = Check::Segment { index: UNIT.range().start, po2, nonce, claim };
                        self.out.command(Command::Collect { node, is_here: false, lease, receipt, check });
                    }
                }
            }
            // It asks again because the connection broke: the check goes on.
            Stage::Checking { ask: waiting, .. } => {
                if let Some(older) = waiting.replace(ask) {
                    self.out.command(Command::Drop { ask: older });
                }
            }
            Stage::Making { .. } => self.answer(ask, Response::Stale),
        }
        true
    }

    /// A node gives a challenge back. False if it is none.
    pub(super) fn challenge_given_back(&mut self, now: Time, node: NodeId, lease: LeaseId, reason: &str) -> bool {
        if !self.is_challenge(node, lease) {
            return false;
        }
        self.peers.stumble(now, &node, &clip(reason), &self.policy);
        self.forget_challenge(lease.job);
        true
    }

    /// The verifier's word on a challenge. False if it is none.
    pub(super) fn challenge_checked(
        &mut self,
        now: Time,
        node: NodeId,
        lease: LeaseId,
        result: Result<Checked<P>, Refusal>,
    ) -> bool {
        if !self.is_challenge(node, lease) {
            return false;
        }
        let Some(challenge) = self.challenges.by_id.get(&lease.job).cloned() else { return false };
        let Challenge { po2, binding, stage: Stage::Checking { lent, receipt, ask }, .. } = challenge else {
            return true;
        };
        let took_ms = now.since(lent.granted).max(1);
        match result {
            Ok(_) => {
                self.peers.credit(now, &node, UnitKind::Prove, po2, took_ms, &self.policy);
                let (work, index) = (Work::Benchmark, UNIT.range().start);
                let proved = Proved { peer: node, po2, receipt, work, index, binding };
                match score(now, proved, took_ms, self.me.node, &self.policy, &self.binder) {
                    Some(score) => self.out.command(Command::Score { ask, score }),
                    None => ask.into_iter().for_each(|ask| self.answer(ask, Response::Ok)),
                }
            }
            Err(refusal) if refusal.blame == Blame::Network => return self.challenge_unfetched(now, lease, lent, ask),
            Err(refusal) => {
                if refusal.blame == Blame::Peer {
                    self.peers.offend(now, &node, &refusal.reason, &self.policy);
                }
                ask.into_iter().for_each(|ask| self.answer(ask, Response::Stale));
                self.out.event(Event::Refused { lease, node, refusal });
            }
        }
        self.forget_challenge(lease.job);
        self.refuse_if_blocked(now, &node);
        true
    }

    /// The connection broke while a receipt was fetched, which is not the node's fault: it asks again, until the deadline.
    fn challenge_unfetched(&mut self, now: Time, lease: LeaseId, lent: Lent<P>, ask: Option<AskId>) -> bool {
        ask.into_iter().for_each(|ask| self.out.command(Command::Drop { ask }));
        if let Some(challenge) = self.challenges.by_id.get_mut(&lease.job) {
            challenge.stage = Stage::Running(Lent { heard: now, ..lent });
            self.timers.add(now.after(self.policy.silence_ms), Wake::Challenge(lease.job));
        }
        true
    }

    /// When a challenge is next to be looked at, and why.
    pub(super) fn challenge_due(&self, id: &JobId) -> Option<(Time, &'static str)> {
        let Stage::Running(lent) = &self.challenges.by_id.get(id)?.stage else { return None };
        let mut earliest = Earliest::default();
        earliest.add(lent.deadline, "a challenge's deadline");
        earliest.add(lent.heard.after(self.policy.silence_ms), "a challenge's heartbeat");
        earliest.get()
    }

    /// Ends a challenge that went silent or passed its deadline.
    pub(super) fn challenge_lapsed(&mut self, now: Time, id: JobId) {
        let Some(Challenge { node, stage: Stage::Running(lent), .. }) = self.challenges.by_id.get(&id) else { return };
        let (node, granted, took_ms) = (*node, lent.granted, now.since(lent.granted));
        let reason = format!("no proof of a challenge within {} s, or no heartbeat of it", took_ms / 1000);
        self.peers.pause(now, &node, granted, &reason, &self.policy);
        self.out.command(Command::Cancel { node, lease: lease_of(id) });
        let refusal = Refusal { blame: Blame::Peer, reason };
        self.out.event(Event::Refused { lease: lease_of(id), node, refusal });
        self.forget_challenge(id);
        self.refuse_if_blocked(now, &node);
    }

    /// Ends a challenge that its node does not know of, as it says that all its slots are free: the answer was lost, or it restarted. Not one
    /// that was just heard of, whose result may be overtaken by the bid that follows it.
    pub(super) fn lose_challenge(&mut self, now: Time, node: &NodeId) {
        let grace_ms = self.policy.heartbeat_ms.saturating_mul(2);
        let Some(id) = self.challenges.by_node.get(node).copied() else { return };
        let stage = self.challenges.by_id.get(&id).map(|challenge| &challenge.stage);
        if matches!(stage, Some(Stage::Running(lent)) if now.since(lent.heard) >= grace_ms) {
            self.forget_challenge(id);
        }
    }

    /// Ends the challenge of a node that is gone.
    pub(super) fn challenge_gone(&mut self, node: &NodeId) {
        let Some(id) = self.challenges.by_node.get(node).copied() else { return };
        if let Some(Challenge { stage: Stage::Making { ask } | Stage::Checking { ask: Some(ask), .. }, .. }) =
            self.challenges.by_id.get(&id)
        {
            self.out.command(Command::Drop { ask: *ask });
        }
        self.forget_challenge(id);
    }

    /// Takes a node's challenge back: the operator has denied it.
    pub(super) fn take_challenge_back(&mut self, node: &NodeId) {
        if let Some(id) = self.challenges.by_node.get(node).copied() {
            self.challenge_gone(node);
            self.out.command(Command::Cancel { node: *node, lease: lease_of(id) });
        }
    }

    fn forget_challenge(&mut self, id: JobId) {
        if let Some(challenge) = self.challenges.by_id.remove(&id) {
            self.challenges.by_node.remove(&challenge.node);
        }
        self.release_challenge(id);
    }

    fn release_challenge(&mut self, id: JobId) {
        self.out.command(Command::ChallengeOver { id });
    }

    /// The nodes that prove a challenge now, with its size.
    pub fn challenged(&self) -> impl Iterator<Item = (NodeId, Po2)> {
        let is_out = |challenge: &&Challenge<P>| !matches!(challenge.stage, Stage::Making { .. });
        self.challenges.by_id.values().filter(is_out).map(|challenge| (challenge.node, challenge.po2))
    }
}
