//! Step IV: a claimed result is fetched and checked against what was asked for. Here it becomes a verified proof, or blame.

use manyhands_proto::limits::RECEIPT_BYTES_MAX;
use manyhands_proto::message::Blame;
use manyhands_proto::{BlobRef, LeaseId, NodeId, Nonce, Po2, Unit};

use super::{Job, LeaseRecord, LeaseStatus, Receipted, Work};
use crate::requester::{AskId, Command, Context, Event};
use crate::scores::score_of;
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
        /// The lease's nonce; nothing if it was compared before a restart.
        nonce: Option<Nonce>,
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
    /// This range with its first assumption resolved.
    Resolve {
        /// The range.
        range: P::Range,
    },
    /// A keccak request's proof.
    Keccak {
        /// Its size.
        po2: Po2,
        /// What it claims.
        claim: P::Request,
    },
    /// A union of these.
    Union {
        /// The earlier one.
        left: P::Keccak,
        /// The later one.
        right: P::Keccak,
    },
}

/// Why a receipt of the size that was announced is not fetched, if it cannot be one.
pub(crate) fn impossible(receipt: BlobRef) -> Option<Refusal> {
    let reason = format!("it announced a receipt of {} bytes; the limit is {RECEIPT_BYTES_MAX}", receipt.size_bytes);
    let is_possible = (1..=RECEIPT_BYTES_MAX).contains(&receipt.size_bytes);
    (!is_possible).then_some(Refusal { blame: Blame::Peer, reason })
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
        let Some(entry) = self.ledger.get_mut(&lease.unit) else { return cx.answer_stale(Some(ask)) };
        if entry.result.is_some_and(|result| result.lease == lease && result.node == node) {
            // The answer to its first word was lost: the receipt was taken.
            return cx.answer_ok(Some(ask));
        }
        let is_needed = is_open && entry.result.is_none();
        let record = entry.leases.get_mut(&lease.attempt).filter(|record| is_needed && record.node == node);
        let Some(record) = record else { return cx.answer_stale(Some(ask)) };
        if let LeaseStatus::Checking { ask: waiting, .. } = &mut record.status {
            // The node asks again because the connection broke. The check goes on, and it is of the receipt named first: a name
            // that was not fetched must not take its place.
            if let Some(older) = waiting.replace(ask) {
                cx.out.command(Command::Drop { ask: older });
            }
            return;
        }
        cx.holding.end(node, lease);
        // A node's word on its time cannot exceed what passed here.
        let elapsed_ms = elapsed_ms.min(cx.now.since(record.granted));
        record.status = LeaseStatus::Checking { ask: Some(ask), receipt, elapsed_ms, is_here: false };
        self.reindex(lease.unit, cx.policy);
        if let Some(refusal) = impossible(receipt) {
            return self.checked(node, lease, Err(refusal), cx);
        }
        if let Some(check) = self.check_of(node, lease) {
            cx.out.command(Command::Collect { node, is_here: false, lease, receipt, check });
        }
    }

    /// Checks a result that was kept over a restart; it is in our own store.
    pub(crate) fn check_restored(&mut self, kept: Receipted, cx: &mut Context<'_, P>) {
        let Receipted { lease, node, receipt, elapsed_ms } = kept;
        let Some(entry) = self.ledger.get_mut(&lease.unit) else { return };
        entry.attempts = entry.attempts.max(lease.attempt);
        let status = LeaseStatus::Checking { ask: None, receipt, elapsed_ms, is_here: true };
        let record = LeaseRecord {
            node,
            granted: cx.now,
            predicted_ms: 0,
            deadline: cx.now,
            heard: cx.now,
            told: None,
            doubt: None,
            fetches: 0,
            binding: None,
            status,
        };
        entry.leases.insert(lease.attempt, record);
        self.reindex(lease.unit, cx.policy);
        if let Some(check) = self.check_of(node, lease) {
            cx.out.command(Command::Collect { node, is_here: true, lease, receipt, check });
        }
    }

    fn check_of(&self, node: NodeId, lease: LeaseId) -> Option<Check<P>> {
        let entry = self.ledger.get(&lease.unit)?;
        Some(match entry.work.clone() {
            Work::Prove { claim } => {
                let index = lease.unit.range().start;
                let binding = entry.leases.get(&lease.attempt)?.binding;
                let nonce = binding.map(|binding| Nonce::bound(node, index, binding));
                Check::Segment { index, po2: entry.po2, nonce, claim }
            }
            Work::Lift { segment } => Check::Lift { segment },
            Work::Join { left, right } => Check::Join { left, right },
            Work::Resolve { range } => Check::Resolve { range },
            Work::Keccak { claim } => Check::Keccak { po2: entry.po2, claim },
            Work::Union { left, right } => Check::Union { left, right },
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
        let Some(entry) = self.ledger.get_mut(&lease.unit) else { return };
        let record = entry.leases.get_mut(&lease.attempt).filter(|record| record.node == node);
        let Some(record) = record else { return };
        let LeaseStatus::Checking { ask, receipt, elapsed_ms, is_here } = record.status else { return };
        record.status = LeaseStatus::Over;
        match result {
            Ok(checked) => {
                // The check of a kept result says nothing about its maker's speed.
                let took_ms = if is_here { 0 } else { cx.now.since(record.granted) };
                let result = Receipted { lease, node, receipt, elapsed_ms };
                match score_of(&result, record, (entry.po2, took_ms), cx) {
                    Some(score) => cx.out.command(Command::Score { ask, score }),
                    None => cx.answer_ok(ask),
                }
                self.accept(result, took_ms, checked, cx);
            }
            Err(refusal) => self.refuse(node, lease, ask, is_here, refusal, cx),
        }
    }

    /// A result that does not count. Its unit can be leased again.
    fn refuse(
        &mut self,
        node: NodeId,
        lease: LeaseId,
        ask: Option<AskId>,
        is_here: bool,
        refusal: Refusal,
        cx: &mut Context<'_, P>,
    ) {
        // A kept result was valid when it came: our store has lost it, or the guest ran again and its segment came out differently.
        let refusal = if is_here { Refusal { blame: Blame::Us, ..refusal } } else { refusal };
        let is_last = match refusal.blame {
            Blame::Peer => {
                cx.peers.offend(cx.now, &node, &refusal.reason, cx.policy);
                true
            }
            Blame::Network => self.fetched_in_vain(lease) >= cx.policy.fetches_max,
            Blame::Us => is_here,
        };
        if is_last {
            // Forgotten, so that nothing more comes of this lease.
            cx.answer_stale(ask);
            let forgotten = self.ledger.get_mut(&lease.unit).and_then(|entry| entry.leases.remove(&lease.attempt));
            if let Some(record) = forgotten.filter(|_| !is_here) {
                self.tally.wasted(cx.now.since(record.granted));
            }
        } else if let Some(ask) = ask {
            // Not the node's fault: leave the question open, and it will ask again.
            cx.out.command(Command::Drop { ask });
        }
        cx.out.event(Event::Refused { lease, node, refusal });
        self.reindex(lease.unit, cx.policy);
    }

    fn fetched_in_vain(&mut self, lease: LeaseId) -> u32 {
        let record = self.ledger.get_mut(&lease.unit).and_then(|entry| entry.leases.get_mut(&lease.attempt));
        record.map_or(0, |record| {
            record.fetches = record.fetches.saturating_add(1);
            record.fetches
        })
    }

    /// Writes a verified result into the ledger, cancels its copies and hands it to step V.
    fn accept(&mut self, result: Receipted, took_ms: u64, checked: Checked<P>, cx: &mut Context<'_, P>) {
        let unit = result.lease.unit;
        let is_open = self.is_open();
        let Some(entry) = self.ledger.get_mut(&unit).filter(|entry| is_open && entry.result.is_none()) else { return };
        if took_ms > 0 {
            cx.peers.credit(cx.now, &result.node, unit.kind(), entry.po2, took_ms, cx.policy);
        }
        entry.result = Some(result);
        self.reindex(unit, cx.policy);
        self.recall(unit, cx);
        if let Some(entry) = self.ledger.get_mut(&unit) {
            entry.leases.clear();
        }
        cx.out.event(Event::Verified { result });
        match (unit, checked) {
            (Unit::Prove(index), Checked::Segment(segment)) => self.segment_verified(index, segment, result, cx),
            (Unit::Lift(_) | Unit::Join { .. } | Unit::Resolve { .. }, Checked::Range(range)) => {
                self.range_verified(unit, range, result, cx);
            }
            (Unit::Keccak(_) | Unit::Union { .. }, Checked::Keccak(keccak)) => {
                self.keccak_verified(unit, keccak, result, cx);
            }
            (_, Checked::Range(_) | Checked::Segment(_) | Checked::Keccak(_)) => {
                self.fail(format!("the verifier gave the wrong kind of proof for {unit}"), cx);
            }
        }
    }
}
