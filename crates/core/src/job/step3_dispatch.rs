//! Step III: ready units meet held bids. A match is a lease; a lease ends by a result, a failure, silence or its deadline.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::message::{Capabilities, FailReason, Holder, Lease, Response, Stage};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{LeaseId, NodeId, Unit};

use super::{Job, LeaseRecord, LeaseStatus, nonce_of};
use crate::requester::{Context, Event};
use crate::text::clip;
use crate::time::Earliest;
use crate::{ProofSystem, Refusal, Time};

/// Memory that a lift or join takes: 1.48 GB at its peak, and runs under a limit of 1.7 GB (measured with risc0-zkvm 3.0.6),
/// whatever the segment's size.
pub const RECURSION_MEMORY_BYTES: u64 = 1_700_000_000;

/// Whether a node can do a unit of this kind and size at all.
pub fn is_able(capabilities: &Capabilities, kind: UnitKind, po2: manyhands_proto::Po2) -> bool {
    match kind {
        UnitKind::Prove => po2 <= capabilities.po2_max,
        UnitKind::Lift | UnitKind::Join => {
            capabilities.recursion && capabilities.memory_bytes >= RECURSION_MEMORY_BYTES
        }
    }
}

/// Nodes with a held bid that are able to do a class of units, with their predicted time.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    fastest_first: BTreeSet<(u64, NodeId)>,
    predicted_ms: BTreeMap<NodeId, u64>,
}

impl Candidates {
    pub(crate) fn insert(&mut self, node: NodeId, predicted_ms: u64) {
        self.fastest_first.insert((predicted_ms, node));
        self.predicted_ms.insert(node, predicted_ms);
    }

    pub(crate) fn remove(&mut self, node: NodeId) {
        if let Some(predicted_ms) = self.predicted_ms.remove(&node) {
            self.fastest_first.remove(&(predicted_ms, node));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.predicted_ms.is_empty()
    }
}

impl<P: ProofSystem> Job<P> {
    /// The candidate that suits `unit` best: one that has not failed at it, then the one that holds its inputs, then the fastest.
    pub(crate) fn choose(&self, unit: Unit, candidates: &Candidates) -> Option<NodeId> {
        let entry = self.ledger.get(&unit)?;
        let is_fresh = |node: &NodeId| !entry.worker_failures.contains_key(node);
        let near = entry.near.filter(|node| candidates.predicted_ms.contains_key(node));
        let mut nodes = candidates.fastest_first.iter().map(|(_, node)| *node);
        let fastest = nodes.clone().next();
        near.filter(is_fresh).or_else(|| nodes.find(is_fresh)).or(near).or(fastest)
    }

    /// Leases `unit` to `node`.
    pub(crate) fn grant(&mut self, unit: Unit, node: NodeId, me: &Holder, cx: &mut Context<'_, P>) -> Option<Lease> {
        let job = self.id;
        let entry = self.ledger.get_mut(&unit)?;
        let predicted_ms = cx.peers.get(&node)?.predict_ms(cx.policy, unit.kind(), entry.po2);
        let deadline_ms = cx.policy.deadline_ms(predicted_ms);
        entry.attempts = entry.attempts.saturating_add(1);
        let id = LeaseId { job, unit, attempt: entry.attempts };
        let deadline = cx.now.after(deadline_ms);
        let status = LeaseStatus::Running(Stage::Fetch);
        entry
            .leases
            .insert(id.attempt, LeaseRecord { node, granted: cx.now, deadline, heard: cx.now, fetches: 0, status });
        while entry.leases.len() > cx.policy.attempts_remembered {
            let oldest_over = entry.leases.iter().find(|(_, lease)| lease.status == LeaseStatus::Over);
            let Some(oldest) = oldest_over.map(|(attempt, _)| *attempt) else { break };
            entry.leases.remove(&oldest);
        }
        let lease = Lease {
            id,
            inputs: entry.inputs.clone(),
            po2: entry.po2,
            nonce: nonce_of(node, id),
            deadline_ms,
            heartbeat_ms: cx.policy.heartbeat_ms,
            holders: vec![me.clone()],
        };
        self.reindex(unit);
        cx.holding.begin(node, id);
        cx.out.event(Event::Leased { lease: id, node, predicted_ms });
        Some(lease)
    }

    /// A node confirms that it still works on a lease.
    pub(crate) fn heartbeat(
        &mut self,
        node: NodeId,
        lease: LeaseId,
        stage: Stage,
        cx: &mut Context<'_, P>,
    ) -> Response {
        let is_open = self.is_open();
        let Some(entry) = self.ledger.get_mut(&lease.unit) else { return Response::Stale };
        let is_needed = is_open && entry.result.is_none();
        let has_other = entry.live().any(|(attempt, _)| attempt != lease.attempt);
        let Some(record) = entry.leases.get_mut(&lease.attempt).filter(|record| record.node == node) else {
            return Response::Stale;
        };
        if !is_needed {
            return Response::Stale;
        }
        record.heard = cx.now;
        match record.status {
            LeaseStatus::Running(_) => record.status = LeaseStatus::Running(stage),
            // Thought lost, but alive, and nobody else has the unit: the same lease goes on.
            LeaseStatus::Over if !has_other && cx.now < record.deadline && cx.has_free_slot(&node) => {
                record.status = LeaseStatus::Running(stage);
                cx.holding.begin(node, lease);
                self.reindex(lease.unit);
            }
            LeaseStatus::Over | LeaseStatus::Checking { .. } => {}
        }
        Response::Ok
    }

    /// A node gives a lease back.
    pub(crate) fn given_back(&mut self, node: NodeId, lease: LeaseId, reason: &FailReason, cx: &mut Context<'_, P>) {
        if !self.end_lease(node, lease, cx) {
            return;
        }
        let text = clip(&match reason {
            FailReason::Fetch(why) => format!("it could not fetch the inputs: {why}"),
            FailReason::Worker(why) => format!("its worker failed: {why}"),
            FailReason::Leaving => "it is leaving".to_owned(),
        });
        cx.out.event(Event::GivenBack { lease, node, reason: text.clone() });
        match reason {
            FailReason::Leaving => {}
            FailReason::Fetch(_) => cx.peers.stumble(cx.now, &node, &text, cx.policy),
            FailReason::Worker(_) => {
                cx.peers.stumble(cx.now, &node, &text, cx.policy);
                self.worker_failed(node, lease.unit, text, cx);
            }
        }
    }

    fn worker_failed(&mut self, node: NodeId, unit: Unit, text: String, cx: &mut Context<'_, P>) {
        let Some(entry) = self.ledger.get_mut(&unit) else { return };
        *entry.worker_failures.entry(node).or_default() += 1;
        let nodes = entry.worker_failures.len();
        let failures: u32 = entry.worker_failures.values().sum();
        if nodes >= cx.policy.unit_failures_max || failures as usize >= cx.policy.unit_failures_max * 4 {
            self.fail(format!("{unit} failed {failures} times on {nodes} nodes; on the last, {text}"), cx);
        }
    }

    /// Ends a lease that runs and makes its unit leasable again. False if there is no such running lease of that node. One whose
    /// result is being checked is not touched: the verifier has the word then.
    pub(crate) fn end_lease(&mut self, node: NodeId, lease: LeaseId, cx: &mut Context<'_, P>) -> bool {
        let record = self.ledger.get_mut(&lease.unit).and_then(|entry| entry.leases.get_mut(&lease.attempt));
        let Some(record) = record.filter(|record| record.node == node) else { return false };
        if !is_running(record) {
            return false;
        }
        record.status = LeaseStatus::Over;
        cx.holding.end(node, lease);
        self.reindex(lease.unit);
        true
    }

    /// Ends a running lease if it went silent or passed its deadline.
    pub(crate) fn expire(&mut self, node: NodeId, lease: LeaseId, cx: &mut Context<'_, P>) {
        let Some(refusal) = self.running(lease).and_then(|record| lapse(record, cx)) else { return };
        self.end_lease(node, lease, cx);
        cx.peers.pause(cx.now, &node, &refusal.reason, cx.policy);
        cx.out.event(Event::Refused { lease, node, refusal });
    }

    /// A lease that runs.
    pub(crate) fn running(&self, lease: LeaseId) -> Option<&LeaseRecord> {
        self.ledger.get(&lease.unit)?.leases.get(&lease.attempt).filter(|record| is_running(record))
    }

    /// When a running lease lapses.
    pub(crate) fn wake_for(&self, lease: LeaseId, silence_ms: u64, earliest: &mut Earliest) {
        if let Some(record) = self.running(lease) {
            earliest.add(record.deadline, "a lease's deadline");
            earliest.add(record.heard.after(silence_ms), "a lease's heartbeat");
        }
    }

    /// When the job is announced again.
    pub(crate) fn wake(&self, earliest: &mut Earliest) {
        if let Some(at) = self.announce_at.filter(|_| !self.ready.is_empty()) {
            earliest.add(at, "a job's announcement");
        }
    }

    /// Whether the job must be announced now; notes that it was.
    pub(crate) fn announce(&mut self, now: Time, every_ms: u64) -> bool {
        let is_due = self.is_open() && !self.ready.is_empty() && self.announce_at.is_none_or(|at| at <= now);
        if is_due {
            self.announce_at = Some(now.after(every_ms));
        }
        is_due
    }
}

fn is_running(lease: &LeaseRecord) -> bool {
    matches!(lease.status, LeaseStatus::Running(_))
}

/// Why a lease is over, if it is. Heartbeats and deadlines count on the gateway's clock.
fn lapse<P: ProofSystem>(lease: &LeaseRecord, cx: &Context<'_, P>) -> Option<Refusal> {
    let silent_ms = cx.now.since(lease.heard);
    let reason = if silent_ms >= cx.policy.silence_ms {
        format!("no heartbeat for {} s", silent_ms / 1000)
    } else if cx.now >= lease.deadline {
        format!("no result within {} s", lease.deadline.since(lease.granted) / 1000)
    } else {
        return None;
    };
    Some(Refusal { blame: manyhands_proto::message::Blame::Peer, reason })
}
