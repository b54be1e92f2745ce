//! Step III: ready units meet held bids. A match is a lease; a lease ends by a result, a failure, silence or its deadline.

use manyhands_proto::message::{Capabilities, FailReason, Holder, Lease, Response, Stage};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{LeaseId, NodeId, Unit};

use super::{Job, LeaseRecord, LeaseStatus, nonce_of};
use crate::requester::{AskId, Context, Event};
use crate::time::Earliest;
use crate::{ProofSystem, Refusal, Time};

/// Memory that a lift or join takes: 1.42 GB measured with risc0-zkvm 3.0.6, whatever the segment's size.
pub const RECURSION_MEMORY_BYTES: u64 = 1_500_000_000;

/// Whether a node can do a unit of this kind and size at all.
pub fn is_able(capabilities: &Capabilities, kind: UnitKind, po2: manyhands_proto::Po2) -> bool {
    match kind {
        UnitKind::Prove => po2 <= capabilities.po2_max,
        UnitKind::Lift | UnitKind::Join => {
            capabilities.recursion && capabilities.memory_bytes >= RECURSION_MEMORY_BYTES
        }
    }
}

/// How well a node suits a unit; the least is the best. Failed here before, must fetch the inputs, predicted time.
pub(crate) type Fit = (bool, bool, u64);

impl<P: ProofSystem> Job<P> {
    /// How well `node` suits `unit`, or nothing if it cannot do it.
    pub(crate) fn fit(&self, unit: Unit, node: NodeId, offered: &Capabilities, cx: &Context<'_, P>) -> Option<Fit> {
        let entry = self.ledger.get(&unit)?;
        if !is_able(offered, unit.kind(), entry.po2) {
            return None;
        }
        let predicted_ms = cx.peers.get(&node)?.predict_ms(cx.policy, unit.kind(), entry.po2);
        Some((entry.worker_failures.contains_key(&node), entry.near != Some(node), predicted_ms))
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
        entry.leases.insert(id.attempt, LeaseRecord { node, granted: cx.now, deadline, heard: cx.now, status });
        while entry.leases.len() > cx.policy.attempts_remembered {
            let oldest_over = entry.leases.iter().find(|(_, lease)| lease.status == LeaseStatus::Over);
            let Some(oldest) = oldest_over.map(|(attempt, _)| *attempt) else { break };
            entry.leases.remove(&oldest);
        }
        self.ready.remove(&unit);
        cx.holding.begin(node, id);
        cx.out.event(Event::Leased { lease: id, node, predicted_ms });
        Some(Lease {
            id,
            inputs: entry.inputs.clone(),
            po2: entry.po2,
            nonce: nonce_of(node, id),
            deadline_ms,
            heartbeat_ms: cx.policy.heartbeat_ms,
            holders: vec![me.clone()],
        })
    }

    /// A node confirms that it still works on a lease.
    pub(crate) fn heartbeat(&mut self, node: NodeId, lease: LeaseId, stage: Stage, cx: &mut Context<'_, P>) -> Response {
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
            LeaseStatus::Over if !has_other && cx.now < record.deadline => {
                record.status = LeaseStatus::Running(stage);
                cx.holding.begin(node, lease);
                self.ready.remove(&lease.unit);
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
        let text = match reason {
            FailReason::Fetch(why) => format!("it could not fetch the inputs: {why}"),
            FailReason::Worker(why) => format!("its worker failed: {why}"),
            FailReason::Leaving => "it is leaving".to_owned(),
        };
        cx.out.event(Event::GivenBack { lease, node, reason: text.clone() });
        if matches!(reason, FailReason::Worker(_)) {
            self.worker_failed(node, lease.unit, text, cx);
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

    /// Ends a lease that runs and makes its unit leasable again. False if there is no such running lease of that node.
    pub(crate) fn end_lease(&mut self, node: NodeId, lease: LeaseId, cx: &mut Context<'_, P>) -> bool {
        let record = self.ledger.get_mut(&lease.unit).and_then(|entry| entry.leases.get_mut(&lease.attempt));
        let Some(record) = record.filter(|record| record.node == node) else { return false };
        if record.status == LeaseStatus::Over {
            return false;
        }
        record.status = LeaseStatus::Over;
        cx.holding.end(node, lease);
        if self.is_open() {
            self.make_ready(lease.unit);
        }
        true
    }

    /// Ends the leases that went silent or passed their deadline.
    pub(crate) fn expire(&mut self, cx: &mut Context<'_, P>) {
        let mut lapsed = Vec::new();
        for (unit, entry) in &self.ledger {
            for (attempt, lease) in entry.leases.iter().filter(|(_, lease)| is_running(lease)) {
                if let Some(reason) = lapse(lease, cx) {
                    lapsed.push((self.lease_id(*unit, *attempt), lease.node, reason));
                }
            }
        }
        for (lease, node, refusal) in lapsed {
            self.end_lease(node, lease, cx);
            cx.peers.pause(cx.now, &node, &refusal.reason, cx.policy);
            cx.out.event(Event::Refused { lease, node, refusal });
        }
    }

    /// When the next lease lapses or the job is announced again.
    pub(crate) fn wake(&self, silence_ms: u64, earliest: &mut Earliest) {
        for lease in self.ledger.values().flat_map(|entry| entry.leases.values()).filter(|lease| is_running(lease)) {
            earliest.add(lease.deadline, "a lease's deadline");
            earliest.add(lease.heard.after(silence_ms), "a lease's heartbeat");
        }
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

/// Which question a lease's result answers, if the node is still waiting for it.
pub(crate) fn waiting_ask(lease: &LeaseRecord) -> Option<AskId> {
    match lease.status {
        LeaseStatus::Checking { ask, .. } => ask,
        LeaseStatus::Running(_) | LeaseStatus::Over => None,
    }
}
