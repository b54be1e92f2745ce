//! One job: a ledger of units, each with its leases, from the guest's first segment to the receipt.
//!
//! The files of this folder are the paper's steps I to VI in order. The phase of a job is derived from its ledger; no step waits
//! for the one before it to end.

use std::collections::BTreeMap;

use manyhands_proto::message::Stage;
use manyhands_proto::{BlobRef, JobId, LeaseId, NodeId, Nonce, Po2, Unit};

use crate::requester::{AskId, Command, Context, Event};
use crate::{ProofSystem, Time};

pub(crate) mod ready;
pub mod step1_segment;
pub mod step2_store;
pub mod step3_dispatch;
pub mod step4_verify;
pub mod step5_combine;
pub mod step6_deliver;

pub use step1_segment::{ExecutionInfo, SegmentInfo};
pub use step4_verify::Check;
pub use step6_deliver::Parts;

/// What a requester asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobSpec {
    /// Segment size.
    pub po2: Po2,
    /// The receipt that is wanted.
    pub outcome: Outcome,
}

/// The form of the final receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All segment receipts, verified as a whole.
    Composite,
    /// One receipt, whatever the number of segments: every proof is lifted, then joined.
    Succinct,
}

/// A result that was verified, and who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipted {
    /// The lease it was made under.
    pub lease: LeaseId,
    /// The node that made it.
    pub node: NodeId,
    /// The receipt in the gateway's store.
    pub receipt: BlobRef,
    /// Milliseconds of proving, as the node says.
    pub elapsed_ms: u64,
}

/// Verified results that a gateway kept over a restart, by unit. They are checked again before they count.
pub type Restored = BTreeMap<Unit, Receipted>;

/// A job.
#[derive(Debug)]
pub struct Job<P: ProofSystem> {
    /// Its id.
    pub id: JobId,
    /// What was asked for.
    pub spec: JobSpec,
    /// When.
    pub submitted: Time,
    /// How far it is.
    pub phase: Phase,
    /// The execution's figures, once the guest has ended.
    pub execution: Option<ExecutionInfo>,
    pub(crate) ledger: BTreeMap<Unit, Entry<P>>,
    /// The units that could be leased now: an index into the ledger.
    pub(crate) ready: ready::ReadyIndex,
    pub(crate) frontier: step5_combine::Frontier<P>,
    pub(crate) restored: Restored,
    pub(crate) announce_at: Option<Time>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Being executed, proved and combined, all at the same time.
    Open,
    /// Every proof is there; the receipt is being put together and verified.
    Assembling,
    /// The receipt is there.
    Done {
        /// Since when.
        at: Time,
    },
    /// There will be no receipt.
    Failed {
        /// Since when.
        at: Time,
        /// Why, for the requester.
        reason: String,
    },
}

/// One unit in the ledger.
#[derive(Debug)]
pub(crate) struct Entry<P: ProofSystem> {
    pub(crate) po2: Po2,
    pub(crate) work: Work<P>,
    /// Empty until step II has stored them.
    pub(crate) inputs: Vec<BlobRef>,
    /// The node that holds the inputs already, having made them.
    pub(crate) near: Option<NodeId>,
    pub(crate) attempts: u32,
    pub(crate) leases: BTreeMap<u32, LeaseRecord>,
    pub(crate) worker_failures: BTreeMap<NodeId, u32>,
    pub(crate) result: Option<Receipted>,
}

/// What a unit works on, in the verifier's terms.
#[derive(Debug, Clone)]
pub(crate) enum Work<P: ProofSystem> {
    Prove { claim: P::Claim },
    Lift { segment: P::Segment },
    Join { left: P::Range, right: P::Range },
}

/// One lease of a unit. Those that are over are remembered, so that a late valid proof is still accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseRecord {
    pub(crate) node: NodeId,
    pub(crate) granted: Time,
    pub(crate) deadline: Time,
    pub(crate) heard: Time,
    /// How often its receipt could not be fetched.
    pub(crate) fetches: u32,
    pub(crate) status: LeaseStatus,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LeaseStatus {
    Running(Stage),
    /// The receipt is being fetched and checked; `is_here` if it was kept over a restart and is in our own store.
    Checking {
        ask: Option<AskId>,
        receipt: BlobRef,
        elapsed_ms: u64,
        is_here: bool,
    },
    Over,
}

/// What a unit is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// Its input is not stored yet.
    Waiting,
    /// It could be leased now.
    Stored,
    /// A node works on it.
    Leased,
    /// A node says it is done; the result is being fetched and checked.
    Claimed,
    /// Its result is verified.
    Verified,
}

impl<P: ProofSystem> Entry<P> {
    pub(crate) fn new(po2: Po2, work: Work<P>, inputs: Vec<BlobRef>, near: Option<NodeId>) -> Self {
        Self {
            po2,
            work,
            inputs,
            near,
            attempts: 0,
            leases: BTreeMap::new(),
            worker_failures: BTreeMap::new(),
            result: None,
        }
    }

    pub(crate) fn state(&self) -> UnitState {
        if self.result.is_some() {
            return UnitState::Verified;
        }
        let mut statuses = self.leases.values().map(|lease| &lease.status);
        if statuses.clone().any(|status| matches!(status, LeaseStatus::Checking { .. })) {
            UnitState::Claimed
        } else if statuses.any(|status| matches!(status, LeaseStatus::Running(_))) {
            UnitState::Leased
        } else if self.inputs.is_empty() {
            UnitState::Waiting
        } else {
            UnitState::Stored
        }
    }

    /// Leases that still bind somebody.
    pub(crate) fn live(&self) -> impl Iterator<Item = (u32, &LeaseRecord)> {
        self.leases
            .iter()
            .filter(|(_, lease)| lease.status != LeaseStatus::Over)
            .map(|(attempt, lease)| (*attempt, lease))
    }
}

impl<P: ProofSystem> Job<P> {
    pub(crate) fn new(now: Time, id: JobId, spec: JobSpec, restored: Restored) -> Self {
        Self {
            id,
            spec,
            submitted: now,
            phase: Phase::Open,
            execution: None,
            ledger: BTreeMap::new(),
            ready: ready::ReadyIndex::default(),
            frontier: step5_combine::Frontier::default(),
            restored,
            announce_at: None,
        }
    }

    /// Whether units may still be leased and results taken.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Every unit known so far with its state, in the order prove, lift, join.
    pub fn units(&self) -> impl Iterator<Item = (Unit, UnitState)> {
        self.ledger.iter().map(|(unit, entry)| (*unit, entry.state()))
    }

    /// Every verified result.
    pub fn results(&self) -> impl Iterator<Item = &Receipted> {
        self.ledger.values().filter_map(|entry| entry.result.as_ref())
    }

    /// Every lease that binds a node now: unit, attempt, node, since when.
    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, NodeId, Time)> {
        self.ledger.iter().flat_map(|(unit, entry)| {
            entry.live().map(|(attempt, lease)| (self.lease_id(*unit, attempt), lease.node, lease.granted))
        })
    }

    pub(crate) fn lease_id(&self, unit: Unit, attempt: u32) -> LeaseId {
        LeaseId { job: self.id, unit, attempt }
    }

    /// Puts a unit whose inputs are stored into the ledger: a result kept over a restart is checked first, otherwise it can be leased.
    pub(crate) fn open(&mut self, unit: Unit, entry: Entry<P>, cx: &mut Context<'_, P>) {
        let kept = if entry.inputs.is_empty() { None } else { self.restored.remove(&unit) };
        let kept = kept.filter(|kept| kept.lease.unit == unit && kept.lease.job == self.id);
        self.ledger.insert(unit, entry);
        self.reindex(unit);
        if let Some(kept) = kept {
            self.check_restored(kept, cx);
        }
    }

    /// Brings the index of ready units up to date after one has changed: leasable is what has inputs, no result and no live lease.
    pub(crate) fn reindex(&mut self, unit: Unit) {
        let Some(entry) = self.ledger.get(&unit) else { return };
        let class = (unit.kind(), entry.po2);
        if self.is_open() && entry.state() == UnitState::Stored {
            self.ready.insert(class, unit);
        } else {
            self.ready.remove(class, unit);
        }
    }

    /// Ends the job without a receipt and takes every lease back.
    pub(crate) fn fail(&mut self, reason: String, cx: &mut Context<'_, P>) {
        if matches!(self.phase, Phase::Done { .. } | Phase::Failed { .. }) {
            return;
        }
        self.phase = Phase::Failed { at: cx.now, reason: reason.clone() };
        self.recall_all(cx);
        cx.out.event(Event::JobFailed { job: self.id, reason });
    }

    /// Cancels every live lease.
    pub(crate) fn recall_all(&mut self, cx: &mut Context<'_, P>) {
        self.ready.clear();
        let units: Vec<Unit> = self.ledger.keys().copied().collect();
        units.into_iter().for_each(|unit| self.recall(unit, cx));
    }

    /// Cancels the live leases of one unit, whose result is needed no more.
    pub(crate) fn recall(&mut self, unit: Unit, cx: &mut Context<'_, P>) {
        let job = self.id;
        let Some(entry) = self.ledger.get_mut(&unit) else { return };
        for (attempt, lease) in &mut entry.leases {
            let id = LeaseId { job, unit, attempt: *attempt };
            match std::mem::replace(&mut lease.status, LeaseStatus::Over) {
                LeaseStatus::Running(_) => {
                    cx.holding.end(lease.node, id);
                    cx.out.command(Command::Cancel { node: lease.node, lease: id });
                }
                LeaseStatus::Checking { ask, .. } => cx.answer_stale(ask),
                LeaseStatus::Over => {}
            }
        }
    }
}

/// The nonce of a lease; lifts and joins have one that means nothing.
pub(crate) fn nonce_of(node: NodeId, lease: LeaseId) -> Nonce {
    Nonce::for_lease(node, lease.job, lease.unit.range().start, lease.attempt)
}
