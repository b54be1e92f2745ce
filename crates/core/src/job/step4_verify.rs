//! Step IV: a claimed result is fetched and checked against what was asked for. Here it becomes a verified proof, or blame.

use manyhands_proto::limits::RECEIPT_BYTES_MAX;
use manyhands_proto::message::Blame;
use manyhands_proto::{BlobRef, LeaseId, NodeId, Nonce, Po2, Unit};

use super::step3_dispatch::waiting_ask;
use super::{Job, LeaseRecord, LeaseStatus, Receipted, Work, nonce_of};
use crate::requester::{AskId, Command, Context, Event};
use crate::{Checked, ProofSystem, Refusal};

/// What a result has to be equal to. Everything in it comes from our own executor or from verified proofs.
#[derive(Debug, Clone)]
pub enum Check<P: ProofSystem> {
    /// A segment's proof.
    Segment {
        /// The segment's index.
        index: u32,
        /// Its size.
        po2: Po2,
        /// The lease's nonce.
        nonce: Nonce,
        /// Its claim.
        claim: P::Claim,
    },
    /// A lift of this proof.
    Lift {
        /// The proof.
        segment: P::Segment,
    },
    /// A join of these neighbours.
    Join {
        /// The earlier one.
        left: P::Range,
        /// The later one.
        right: P::Range,
    },
}

impl<P: ProofSystem> Job<P> {
    /// A node says that a lease is done. Its receipt is fetched and checked before the node gets an answer.
    pub(crate) fn claimed(
        &mut self,
        node: NodeId,
        lease: LeaseId,
        receipt: BlobRef,
        elapsed_ms: u64,
        ask: AskId,
        cx: &mut Context<'_, P>,
    ) {
        let is_open = self.is_open();
        let entry = self.ledger.get_mut(&lease.unit).filter(|entry| is_open && entry.result.is_none());
        let record = entry.and_then(|entry| entry.leases.get_mut(&lease.attempt)).filter(|record| record.node == node);
        let Some(record) = record else { return cx.answer_stale(Some(ask)) };
        if let Some(older) = waiting_ask(record) {
            // The node asks again because the connection broke: the check already runs.
            cx.answer_stale(Some(older));
            record.status = LeaseStatus::Checking { ask: Some(ask), receipt, elapsed_ms };
            return;
        }
        cx.holding.end(node, lease);
        record.status = LeaseStatus::Checking { ask: Some(ask), receipt, elapsed_ms };
        self.ready.remove(&lease.unit);
        if receipt.size_bytes == 0 || receipt.size_bytes > RECEIPT_BYTES_MAX {
            let reason = format!("it announced a receipt of {} bytes; the limit is {RECEIPT_BYTES_MAX}", receipt.size_bytes);
            return self.checked(node, lease, Err(Refusal { blame: Blame::Peer, reason }), cx);
        }
        if let Some(check) = self.check_of(node, lease) {
            cx.out.command(Command::Collect { node: Some(node), lease, receipt, check });
        }
    }

    /// Checks a result that was kept over a restart; it is in our own store.
    pub(crate) fn check_restored(&mut self, kept: Receipted, cx: &mut Context<'_, P>) {
        let Receipted { lease, node, receipt, elapsed_ms } = kept;
        let Some(entry) = self.ledger.get_mut(&lease.unit) else { return };
        entry.attempts = entry.attempts.max(lease.attempt);
        let status = LeaseStatus::Checking { ask: None, receipt, elapsed_ms };
        let record = LeaseRecord { node, granted: cx.now, deadline: cx.now, heard: cx.now, status };
        entry.leases.insert(lease.attempt, record);
        self.ready.remove(&lease.unit);
        if let Some(check) = self.check_of(node, lease) {
            cx.out.command(Command::Collect { node: None, lease, receipt, check });
        }
    }

    fn check_of(&self, node: NodeId, lease: LeaseId) -> Option<Check<P>> {
        let entry = self.ledger.get(&lease.unit)?;
        Some(match entry.work.clone() {
            Work::Prove { claim } => {
                let index = lease.unit.range().start;
                Check::Segment { index, po2: entry.po2, nonce: nonce_of(node, lease), claim }
            }
            Work::Lift { segment } => Check::Lift { segment },
            Work::Join { left, right } => Check::Join { left, right },
        })
    }

    /// The verifier's word on a claimed result.
    pub(crate) fn checked(
        &mut self,
        node: NodeId,
        lease: LeaseId,
        result: Result<Checked<P>, Refusal>,
        cx: &mut Context<'_, P>,
    ) {
        let record = self.ledger.get_mut(&lease.unit).and_then(|entry| entry.leases.get_mut(&lease.attempt));
        let Some(record) = record.filter(|record| record.node == node) else { return };
        let granted = record.granted;
        let LeaseStatus::Checking { ask, receipt, elapsed_ms } = std::mem::replace(&mut record.status, LeaseStatus::Over)
        else {
            return;
        };
        match result {
            Ok(checked) => {
                cx.answer_ok(ask);
                self.accept(Receipted { lease, node, receipt, elapsed_ms }, cx.now.since(granted), checked, cx);
            }
            Err(refusal) => {
                if refusal.blame == Blame::Peer {
                    cx.answer_stale(ask);
                    cx.peers.offend(cx.now, &node, &refusal.reason, cx.policy);
                } else if let Some(ask) = ask {
                    // Not the node's fault: leave the question open, and it will ask again.
                    cx.out.command(Command::Drop { ask });
                }
                cx.out.event(Event::Refused { lease, node, refusal });
                if self.is_open() {
                    self.make_ready(lease.unit);
                }
            }
        }
    }

    /// Writes a verified result into the ledger, cancels its copies and hands it to step V.
    fn accept(&mut self, result: Receipted, took_ms: u64, checked: Checked<P>, cx: &mut Context<'_, P>) {
        let unit = result.lease.unit;
        let is_open = self.is_open();
        let Some(entry) = self.ledger.get_mut(&unit).filter(|entry| is_open && entry.result.is_none()) else { return };
        if took_ms > 0 {
            cx.peers.credit(&result.node, unit.kind(), entry.po2, took_ms);
        }
        entry.result = Some(result);
        self.ready.remove(&unit);
        self.recall(unit, cx);
        cx.out.event(Event::Verified { result });
        match (unit, checked) {
            (Unit::Prove(index), Checked::Segment(segment)) => self.segment_verified(index, segment, result, cx),
            (Unit::Lift(_) | Unit::Join { .. }, Checked::Range(range)) => self.range_verified(unit, range, result, cx),
            (Unit::Prove(_), Checked::Range(_)) | (Unit::Lift(_) | Unit::Join { .. }, Checked::Segment(_)) => {
                self.fail(format!("the verifier gave the wrong kind of proof for {unit}"), cx);
            }
        }
    }
}
