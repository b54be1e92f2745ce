//! Step III: ready units meet held bids. A match is a lease; a lease ends by a result, a failure, silence or its deadline.

use manyhands_proto::limits::KECCAK_PO2_MAX;
use manyhands_proto::message::{Capabilities, FailReason, Holder, Lease, Response, Stage};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{LeaseId, NodeId, Nonce, Unit};

use super::{Doubt, Job, LeaseRecord, LeaseStatus};
use crate::requester::{Command, Context, Event};
use crate::text::clip;
use crate::time::Earliest;
use crate::timers::Wake;
use crate::{Policy, ProofSystem, Refusal, Time};

/// Memory that a lift, join, resolution or union takes, and a keccak proof with its lift: 1.50 GB at its peak, and runs under a limit of
/// 1.7 GB (measured with risc0-zkvm 3.0.6), whatever the size.
pub const RECURSION_MEMORY_BYTES: u64 = 1_700_000_000;

/// Whether a node can do a unit of this kind and size at all.
pub fn is_able(capabilities: &Capabilities, kind: UnitKind, po2: manyhands_proto::Po2) -> bool {
    match kind {
        UnitKind::Prove => po2 <= capabilities.po2_max,
        UnitKind::Lift | UnitKind::Join => can_recur(capabilities),
        UnitKind::Keccak => po2.get() <= KECCAK_PO2_MAX && can_recur(capabilities),
    }
}

fn can_recur(capabilities: &Capabilities) -> bool {
    capabilities.recursion && capabilities.memory_bytes >= RECURSION_MEMORY_BYTES
}

impl<P: ProofSystem> Job<P> {
    /// Leases `unit` to `node`.
    pub(crate) fn grant(&mut self, unit: Unit, node: NodeId, cx: &mut Context<'_, P>) -> Option<Lease> {
        let job = self.id;
        let holders = self.holders(unit, node, cx);
        let entry = self.ledger.get_mut(&unit)?;
        let predicted_ms = cx.peers.get(&node)?.predict_ms(cx.policy, unit.kind(), entry.po2);
        let deadline_ms = cx.policy.deadline_ms(predicted_ms);
        let is_copy = entry.live > 0;
        entry.attempts = entry.attempts.saturating_add(1);
        let id = LeaseId { job, unit, attempt: entry.attempts };
        let deadline = cx.now.after(deadline_ms);
        let status = LeaseStatus::Running(Stage::Fetch);
        let is_stranger = cx.peers.get(&node)?.is_stranger(cx.now, unit.kind(), entry.po2, cx.policy);
        let doubt = is_stranger.then_some(Doubt::Untried);
        let (granted, heard, told) = (cx.now, cx.now, None);
        let bound = cx.binder.bind(cx.now, node, &id);
        let binding = Some(bound);
        let record =
            LeaseRecord { node, granted, predicted_ms, deadline, heard, told, doubt, fetches: 0, binding, status };
        let wake = record.due(cx.policy).0;
        entry.leases.insert(id.attempt, record);
        while entry.leases.len() > cx.policy.attempts_remembered {
            let oldest_over = entry.leases.iter().find(|(_, lease)| lease.status == LeaseStatus::Over);
            let Some(oldest) = oldest_over.map(|(attempt, _)| *attempt) else { break };
            entry.leases.remove(&oldest);
        }
        let lease = Lease {
            id,
            inputs: entry.inputs.clone(),
            key: entry.key,
            po2: entry.po2,
            nonce: Nonce::bound(node, unit.range().start, bound),
            deadline_ms,
            heartbeat_ms: cx.policy.heartbeat_ms,
            holders,
        };
        self.tally.granted(is_copy);
        self.reindex(unit, cx.policy);
        cx.peers.busy(&node);
        cx.holding.begin(node, id, cx.peers.counted_in(&node, cx.policy));
        cx.timers.add(wake, Wake::Lease(node, id));
        cx.out.event(Event::Leased { lease: id, node, predicted_ms, is_copy });
        Some(lease)
    }

    /// Who has a unit's inputs beside us, who have all: the nodes that made them, and those that work on them. The gateway comes last, so that
    /// its line is not what every blob and receipt goes through.
    fn holders(&self, unit: Unit, to: NodeId, cx: &Context<'_, P>) -> Vec<Holder> {
        let entry = self.ledger.get(&unit);
        let made = entry.into_iter().flat_map(|entry| entry.near.iter().copied());
        let has_fetched = |lease: &LeaseRecord| lease.status == LeaseStatus::Running(Stage::Work);
        let working = entry.into_iter().flat_map(|entry| entry.live().filter(|(_, lease)| has_fetched(lease)));
        let mut holders: Vec<Holder> = Vec::new();
        for node in made.chain(working.map(|(_, lease)| lease.node)) {
            let peer = cx.peers.get(&node).filter(|peer| peer.connected && !peer.is_blocked(cx.now));
            let Some(peer) = peer.filter(|peer| !peer.addresses.is_empty()) else { continue };
            let is_new = node != to && holders.iter().all(|holder| holder.node != node);
            if is_new && holders.len() < cx.policy.holders_named {
                holders.push(Holder { node, addresses: peer.addresses.clone() });
            }
        }
        holders.push(cx.me.clone());
        holders
    }

    /// A node confirms that it still works on a lease.
    pub(crate) fn heartbeat(
        &mut self,
        node: NodeId,
        lease: LeaseId,
        (stage, remaining_ms): (Stage, Option<u64>),
        again_by: Option<Time>,
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
        record.told = remaining_ms.map(|ms| cx.now.after(ms));
        match record.status {
            LeaseStatus::Running(_) => record.status = LeaseStatus::Running(stage),
            // Thought lost, but alive, and nobody else has the unit: the same lease goes on, as one that is late, so that whoever comes
            // gets a copy. On a machine slower than anybody thought, starting again would never end.
            LeaseStatus::Over if !has_other && cx.has_free_slot(&node) => {
                record.status = LeaseStatus::Running(stage);
                record.doubt = Some(Doubt::Late);
                if record.deadline <= cx.now {
                    record.deadline = cx.now.after(cx.policy.deadline_ms(cx.now.since(record.granted)));
                }
                let wake = record.due(cx.policy).0;
                cx.holding.begin(node, lease, cx.peers.counted_in(&node, cx.policy));
                cx.timers.add(wake, Wake::Lease(node, lease));
                cx.out.event(Event::Resumed { lease, node });
                self.reindex(lease.unit, cx.policy);
            }
            LeaseStatus::Over | LeaseStatus::Checking { .. } => {}
        }
        if self.running(lease).is_some_and(|record| record.will_be_late(cx.policy)) {
            self.doubt(lease, Doubt::Slower, cx.policy);
        }
        self.let_go_doomed(lease, again_by, cx);
        Response::Ok
    }

    /// Lets a unit's only lease go that is slow by its node's own word, if the fleet would be done much sooner with the unit when it is
    /// leased anew, by `again_by`. The node is then known to be as slow as it says, so that a slow fleet does not pass a unit round.
    fn let_go_doomed(&mut self, lease: LeaseId, again_by: Option<Time>, cx: &mut Context<'_, P>) {
        let kept = 100_u64.saturating_sub(cx.policy.late_gain_percent);
        let Some(entry) = self.ledger.get(&lease.unit).filter(|entry| entry.live == 1) else { return };
        let record = entry.leases.get(&lease.attempt).filter(|record| is_running(record) && !record.is_sound());
        let Some((record, told)) = record.and_then(|record| Some((record, record.told?))) else { return };
        let is_doomed = again_by.is_some_and(|by| by.since(cx.now) < told.since(cx.now).saturating_mul(kept) / 100);
        if is_doomed {
            let (node, po2, kind) = (record.node, entry.po2, lease.unit.kind());
            // A machine that stood still for a moment says absurd things, and is not to be thought useless for ever.
            let takes_ms = told.since(record.granted).min(cx.policy.believed_ms_max(kind, po2));
            self.end_lease(node, lease, cx);
            // Forgotten, so that no heartbeat on the way makes it go on.
            self.ledger.get_mut(&lease.unit).and_then(|entry| entry.leases.remove(&lease.attempt));
            cx.peers.took_longer(&node, kind, po2, takes_ms);
            cx.out.command(Command::Cancel { node, lease });
            cx.out.event(Event::LetGo { lease, node });
        }
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
        // Anybody can say that a unit is impossible. Who has delivered before is believed; others only where nobody has.
        let believed = entry.worker_failures.keys().filter(|node| cx.peers.is_proven(node)).count();
        let is_said_by_all = failures as usize >= cx.policy.unit_failures_max * 4 && !cx.peers.has_proven(cx.now);
        if believed >= cx.policy.unit_failures_max || is_said_by_all {
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
        self.tally.wasted(cx.now.since(record.granted));
        cx.holding.end(node, lease);
        self.reindex(lease.unit, cx.policy);
        true
    }

    /// Does what is due for a running lease: it ends if it went silent or passed its deadline, and may get a copy once it is late.
    pub(crate) fn expire(&mut self, node: NodeId, lease: LeaseId, cx: &mut Context<'_, P>) {
        let Some(record) = self.running(lease) else { return };
        if let Some(refusal) = lapse(record, cx) {
            let is_slow = cx.now >= record.deadline;
            let granted = record.granted;
            let (elapsed_ms, po2) = (cx.now.since(granted), self.ledger.get(&lease.unit).map(|entry| entry.po2));
            self.end_lease(node, lease, cx);
            if let Some(po2) = po2.filter(|_| is_slow) {
                cx.peers.took_longer(&node, lease.unit.kind(), po2, elapsed_ms);
            }
            cx.peers.pause(cx.now, &node, granted, &refusal.reason, cx.policy);
            cx.out.event(Event::Refused { lease, node, refusal });
        } else if record.late_at(cx.policy).is_some_and(|at| at <= cx.now) {
            self.doubt(lease, Doubt::Late, cx.policy);
        }
    }

    /// Notes that another node may be done before this lease: its unit may get a copy.
    pub(crate) fn doubt(&mut self, lease: LeaseId, doubt: Doubt, policy: &Policy) {
        let record = self.ledger.get_mut(&lease.unit).and_then(|entry| entry.leases.get_mut(&lease.attempt));
        if let Some(record) = record {
            record.doubt = Some(doubt);
            self.reindex(lease.unit, policy);
        }
    }

    /// A lease that runs.
    pub(crate) fn running(&self, lease: LeaseId) -> Option<&LeaseRecord> {
        self.ledger.get(&lease.unit)?.leases.get(&lease.attempt).filter(|record| is_running(record))
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

impl LeaseRecord {
    /// When its result is expected: by our prediction, or by its node's own word where that is later.
    pub(crate) fn end(&self) -> Time {
        let predicted = self.granted.after(self.predicted_ms);
        self.told.map_or(predicted, |told| told.max(predicted))
    }

    /// Whether nothing is wrong with it so far.
    pub(crate) fn is_sound(&self) -> bool {
        matches!(self.doubt, None | Some(Doubt::Untried))
    }

    /// Whether it will be late by its node's own word, which nobody took note of yet.
    fn will_be_late(&self, policy: &Policy) -> bool {
        self.is_sound() && self.late_at(policy).is_some_and(|at| self.end() > at)
    }

    /// When it is late, unless that is known already or this policy never hedges.
    fn late_at(&self, policy: &Policy) -> Option<Time> {
        let is_known = self.doubt == Some(Doubt::Late);
        policy.late_after_ms(self.predicted_ms).filter(|_| !is_known).map(|ms| self.granted.after(ms))
    }

    /// What is due next, and why.
    pub(crate) fn due(&self, policy: &Policy) -> (Time, &'static str) {
        let mut earliest = Earliest::default();
        earliest.add(self.deadline, "a lease's deadline");
        earliest.add(self.heard.after(policy.silence_ms), "a lease's heartbeat");
        self.late_at(policy).into_iter().for_each(|at| earliest.add(at, "a lease that is late"));
        earliest.get().unwrap_or((self.deadline, "a lease's deadline"))
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
