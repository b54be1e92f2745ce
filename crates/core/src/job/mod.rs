//! One job: a ledger of units, each with its leases, from the guest's first segment to the receipt.
//!
//! The files of this folder are the paper's steps I to VI in order. The phase of a job is derived from its ledger; no step waits
//! for the one before it to end.

use std::collections::BTreeMap;

use manyhands_proto::message::{BlobKey, Stage};
use manyhands_proto::{Binding, BlobRef, JobId, LeaseId, NodeId, Po2, Unit};

use crate::requester::{AskId, Command, Context, Event};
use crate::{Policy, ProofSystem, Time};

mod anew;
pub(crate) mod ready;
pub mod step1_segment;
pub mod step2_store;
pub mod step3_dispatch;
pub mod step4_verify;
pub mod step5_combine;
pub mod step6_deliver;
pub(crate) mod tally;
mod unite;

pub use step1_segment::{Assumption, ExecutionInfo, RequestInfo, SegmentInfo};
pub use step4_verify::Check;
pub use step6_deliver::Parts;
pub use tally::Tally;
pub use unite::sibling;

/// What a requester asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobSpec {
    /// Segment size.
    pub po2: Po2,
    /// Whether the gateway chooses the size once it has looked at the guest; until then [`Self::po2`] is a guess.
    pub is_auto: bool,
    /// The receipt that is wanted.
    pub outcome: Outcome,
    /// Its share of the fleet beside other jobs.
    pub priority: Priority,
}

/// A job's share of the fleet beside other jobs: each step up gives four times as many nodes. No job is starved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// A quarter of the usual share.
    Low,
    /// The usual share.
    #[default]
    Normal,
    /// Four times the usual share.
    High,
}

impl Priority {
    /// Shares, relative to other jobs.
    pub const fn weight(self) -> u64 {
        match self {
            Self::Low => 1,
            Self::Normal => 4,
            Self::High => 16,
        }
    }

    /// The word for it, as it is written and read everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Whether it is the usual one, which need not be said.
    pub const fn is_normal(&self) -> bool {
        matches!(self, Self::Normal)
    }
}

impl std::str::FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Self, UnknownPriority> {
        let all = [Self::Low, Self::Normal, Self::High];
        all.into_iter()
            .find(|priority| priority.word() == text)
            .ok_or_else(|| UnknownPriority { text: text.to_owned() })
    }
}

/// A word that names no priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a priority is low, normal or high, not {text:?}")]
pub struct UnknownPriority {
    /// The word.
    pub text: String,
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
#[derive(Debug, Clone)]
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
    /// What its leases came to.
    pub(crate) tally: Tally,
    /// The number before that of a unit's first lease.
    pub(crate) attempts_from: u32,
    pub(crate) announce_at: Option<Time>,
    /// Leases that are live: running, or with a result that is being checked.
    pub(crate) live: usize,
    /// Live leases beyond the first of their unit.
    pub(crate) copies: usize,
    /// When a unit stops waiting for the node that is near its inputs.
    pub(crate) near_until: Option<Time>,
    /// Set whenever a unit's wants have changed, taken by the dispatcher.
    pub(crate) is_touched: bool,
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
#[derive(Debug, Clone)]
pub(crate) struct Entry<P: ProofSystem> {
    pub(crate) po2: Po2,
    pub(crate) work: Work<P>,
    /// Empty until step II has stored them.
    pub(crate) inputs: Vec<BlobRef>,
    /// What opens the input, if it is encrypted.
    pub(crate) key: Option<BlobKey>,
    /// The nodes that hold an input already, having made it.
    pub(crate) near: Vec<NodeId>,
    /// Since when it could be leased.
    pub(crate) since: Time,
    pub(crate) attempts: u32,
    pub(crate) leases: BTreeMap<u32, LeaseRecord>,
    pub(crate) worker_failures: BTreeMap<NodeId, u32>,
    pub(crate) result: Option<Receipted>,
    /// What the indexes say of it: how it is listed, and how many leases are live.
    pub(crate) listed: Option<ready::Need>,
    pub(crate) live: usize,
}

/// What a unit works on, in the verifier's terms.
#[derive(Debug, Clone)]
pub(crate) enum Work<P: ProofSystem> {
    Prove { claim: P::Claim },
    Lift { segment: P::Segment },
    Join { left: P::Range, right: P::Range },
    Resolve { range: P::Range },
    Keccak { claim: P::Request },
    Union { left: P::Keccak, right: P::Keccak },
}

/// One lease of a unit. Those that are over are remembered, so that a late valid proof is still accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseRecord {
    pub(crate) node: NodeId,
    pub(crate) granted: Time,
    pub(crate) predicted_ms: u64,
    pub(crate) deadline: Time,
    pub(crate) heard: Time,
    /// When it will be done, by its node's own word.
    pub(crate) told: Option<Time>,
    /// Why another node may be done sooner, if that is so.
    pub(crate) doubt: Option<Doubt>,
    /// How often its receipt could not be fetched.
    pub(crate) fetches: u32,
    /// What a segment's proof is bound to; nothing for a result that was kept over a restart, which was compared when it came.
    pub(crate) binding: Option<Binding>,
    pub(crate) status: LeaseStatus,
}

/// Why a lease's unit gets a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Its node has no score: it may deliver or not.
    Untried,
    /// It has passed its own prediction.
    Late,
    /// It keeps its prediction so far, but will be late by its node's own word, or a free node is predicted to be done much earlier.
    Slower,
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
    pub(crate) fn new(po2: Po2, work: Work<P>, inputs: Vec<BlobRef>, near: Vec<NodeId>) -> Self {
        Self {
            po2,
            work,
            inputs,
            key: None,
            near,
            since: Time::default(),
            attempts: 0,
            leases: BTreeMap::new(),
            worker_failures: BTreeMap::new(),
            result: None,
            listed: None,
            live: 0,
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

    /// Whether it wants a lease beside the `live` ones, and how urgently.
    pub(crate) fn need(&self, live: usize, policy: &Policy) -> Option<ready::Need> {
        if self.inputs.is_empty() || self.result.is_some() {
            return None;
        }
        if live == 0 {
            return Some(if self.attempts == 0 { ready::Need::First } else { ready::Need::Again });
        }
        let doubted = self.live().filter(|(_, lease)| lease.doubt.is_some()).count();
        let is_fresh = (self.attempts as usize) < policy.copies_first;
        if live >= policy.copies_max || !(is_fresh || doubted == live) {
            return None;
        }
        Some(if self.is_tried() && !is_fresh { ready::Need::Tried } else { ready::Need::Copy })
    }

    /// Whether strangers work on it and nobody else, all within their predictions.
    pub(crate) fn is_tried(&self) -> bool {
        let mut live = self.live().map(|(_, lease)| lease.doubt == Some(Doubt::Untried)).peekable();
        live.peek().is_some() && live.all(|is_trial| is_trial)
    }

    /// Whether every live lease has passed its own prediction.
    pub(crate) fn is_late(&self) -> bool {
        self.live().all(|(_, lease)| lease.doubt == Some(Doubt::Late))
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
    pub(crate) fn new(now: Time, id: JobId, spec: JobSpec, restored: Restored, attempts_from: u32) -> Self {
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
            tally: Tally::default(),
            attempts_from,
            announce_at: None,
            live: 0,
            copies: 0,
            near_until: None,
            is_touched: false,
        }
    }

    /// Whether units may still be leased and results taken.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the guest has ended and this unit, which works on a blob that the guest left, is still to be done.
    pub fn needs_blob(&self, unit: Unit) -> bool {
        let entry = self.ledger.get(&unit).filter(|_| unit.is_first());
        self.is_open() && self.execution.is_some() && entry.is_some_and(|entry| entry.result.is_none())
    }

    /// Every unit known so far with its state, in the order prove, lift, join, resolve, keccak, union.
    pub fn units(&self) -> impl Iterator<Item = (Unit, UnitState)> {
        self.ledger.iter().map(|(unit, entry)| (*unit, entry.state()))
    }

    /// The sizes of all keccak requests known so far.
    pub fn keccaks(&self) -> impl Iterator<Item = Po2> {
        self.ledger.iter().filter(|(unit, _)| matches!(unit, Unit::Keccak(_))).map(|(_, entry)| entry.po2)
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

    /// Running leases that nobody doubts, of units without a copy, with the time at which each is predicted to end.
    pub(crate) fn undoubted(&self) -> impl Iterator<Item = (Time, LeaseId)> {
        let single = self.ledger.iter().filter(|(_, entry)| entry.live == 1 && entry.result.is_none());
        single.flat_map(|(unit, entry)| {
            let running = entry.live().filter(|(_, lease)| matches!(lease.status, LeaseStatus::Running(_)));
            let sound = running.filter(|(_, lease)| lease.doubt.is_none());
            sound.map(|(attempt, lease)| (lease.end(), self.lease_id(*unit, attempt)))
        })
    }

    pub(crate) fn lease_id(&self, unit: Unit, attempt: u32) -> LeaseId {
        LeaseId { job: self.id, unit, attempt }
    }

    /// Puts a unit whose inputs are stored into the ledger: a result kept over a restart is checked first, otherwise it can be leased.
    pub(crate) fn open(&mut self, unit: Unit, entry: Entry<P>, cx: &mut Context<'_, P>) {
        let kept = if entry.inputs.is_empty() { None } else { self.restored.remove(&unit) };
        let kept = kept.filter(|kept| kept.lease.unit == unit && kept.lease.job == self.id);
        self.ledger.insert(unit, Entry { since: cx.now, attempts: entry.attempts.max(self.attempts_from), ..entry });
        self.reindex(unit, cx.policy);
        if let Some(kept) = kept {
            self.check_restored(kept, cx);
        }
    }

    /// Brings the indexes up to date after a unit or one of its leases has changed.
    pub(crate) fn reindex(&mut self, unit: Unit, policy: &Policy) {
        let is_open = self.is_open();
        let Some(entry) = self.ledger.get_mut(&unit) else { return };
        let class = (unit.kind(), entry.po2);
        let live = entry.live().count();
        let need = if is_open { entry.need(live, policy) } else { None };
        self.live = (self.live + live).saturating_sub(entry.live);
        self.copies = (self.copies + live.saturating_sub(1)).saturating_sub(entry.live.saturating_sub(1));
        self.is_touched |= live != entry.live;
        entry.live = live;
        let listed = std::mem::replace(&mut entry.listed, need);
        if listed != need {
            listed.into_iter().for_each(|listed| self.ready.remove(class, listed, unit));
            need.into_iter().for_each(|need| self.ready.insert(class, need, unit));
            self.is_touched = true;
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
        let units: Vec<Unit> = self.ledger.keys().copied().collect();
        units.into_iter().for_each(|unit| self.recall(unit, cx));
    }

    /// Cancels the live leases of one unit, whose result is needed no more. One that was late by then costs its node standing.
    pub(crate) fn recall(&mut self, unit: Unit, cx: &mut Context<'_, P>) {
        let job = self.id;
        let Some(entry) = self.ledger.get_mut(&unit) else { return };
        for (attempt, lease) in &mut entry.leases {
            let id = LeaseId { job, unit, attempt: *attempt };
            let status = std::mem::replace(&mut lease.status, LeaseStatus::Over);
            // A result that was kept over a restart was no lease of this tally.
            if !matches!(status, LeaseStatus::Over | LeaseStatus::Checking { is_here: true, .. }) {
                self.tally.wasted(cx.now.since(lease.granted));
            }
            match status {
                LeaseStatus::Running(_) => {
                    cx.holding.end(lease.node, id);
                    cx.out.command(Command::Cancel { node: lease.node, lease: id });
                    if entry.result.is_some() && lease.doubt == Some(Doubt::Late) {
                        let elapsed_ms = cx.now.since(lease.granted);
                        cx.peers.late(cx.now, &lease.node, unit.kind(), entry.po2, elapsed_ms, cx.policy);
                    }
                }
                LeaseStatus::Checking { ask, .. } => cx.answer_stale(ask),
                LeaseStatus::Over => {}
            }
        }
        self.reindex(unit, cx.policy);
    }
}
