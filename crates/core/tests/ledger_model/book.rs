//! The reference: what a gateway must have written down, in the simplest form that says it. No index, no timer, no queue: whatever is
//! asked is looked for in the rows. It must never ask the machine under test about jobs, units or leases.

use std::collections::BTreeMap;

use manyhands_core::job::{Outcome, Receipted, UnitState};
use manyhands_core::requester::AskId;
use manyhands_core::{Policy, Time};
use manyhands_proto::{JobId, LeaseId, NodeId, Unit};

/// What a gateway says, save its leases: which node gets a unit is its own choice, and judged, not predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    Ok(AskId),
    Stale(AskId),
    Wait(AskId),
    Refusal(AskId),
    Drop(AskId),
    Execute(JobId),
    Assemble(JobId),
    Cancel(NodeId, LeaseId),
    Collect(NodeId, LeaseId),
    Resumed(NodeId, LeaseId),
    GivenBack(NodeId, LeaseId),
    Refused(NodeId, LeaseId),
    Verified(NodeId, LeaseId),
    JobDone(JobId),
    JobFailed(JobId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    Open,
    Assembling,
    Done,
    Failed,
}

#[derive(Debug)]
pub struct JobRow {
    pub stand: Stand,
    pub outcome: Outcome,
    pub cut: u32,
    pub executed: Option<u32>,
    pub units: BTreeMap<Unit, UnitRow>,
    /// Ranges that are verified and in no join yet: start to end.
    pub loose: BTreeMap<u32, u32>,
}

#[derive(Debug, Default)]
pub struct UnitRow {
    pub is_stored: bool,
    pub attempts: u32,
    pub leases: BTreeMap<u32, LeaseRow>,
    pub failures: BTreeMap<NodeId, u32>,
    pub accepted: Option<Receipted>,
}

#[derive(Debug)]
pub struct LeaseRow {
    pub node: NodeId,
    pub granted: Time,
    pub predicted_ms: u64,
    pub deadline: Time,
    pub heard: Time,
    /// It has passed its prediction; it will, by its node's own word.
    pub is_late: bool,
    /// Whether its node had no score.
    pub is_trial: bool,
    pub is_slow: bool,
    /// When it will be done, by its node's word.
    pub told: Option<Time>,
    pub fetches: u32,
    pub status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Running,
    Checking(AskId, u64),
    Over,
}

#[derive(Debug)]
pub struct Book {
    pub policy: Policy,
    pub now: Time,
    pub jobs: BTreeMap<JobId, JobRow>,
    /// Held bids, and until when.
    pub bids: BTreeMap<NodeId, (AskId, Time)>,
    /// Slots, as last offered.
    pub slots: BTreeMap<NodeId, u8>,
    /// What the gateway must say next.
    pub said: Vec<Said>,
    /// Leases that a heartbeat brought back.
    pub revived: u64,
    pub lapsed: u64,
}

impl UnitRow {
    pub fn live(&self) -> impl Iterator<Item = (u32, &LeaseRow)> {
        let live = self.leases.iter().filter(|(_, lease)| lease.status != Status::Over);
        live.map(|(attempt, lease)| (*attempt, lease))
    }

    pub fn state(&self) -> UnitState {
        let has = |wanted: fn(&Status) -> bool| self.leases.values().any(|lease| wanted(&lease.status));
        if self.accepted.is_some() {
            UnitState::Verified
        } else if has(|status| matches!(status, Status::Checking(..))) {
            UnitState::Claimed
        } else if has(|status| *status == Status::Running) {
            UnitState::Leased
        } else if self.is_stored {
            UnitState::Stored
        } else {
            UnitState::Waiting
        }
    }
}

impl Book {
    pub fn new(policy: Policy, now: Time) -> Self {
        let (jobs, bids, slots) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { policy, now, jobs, bids, slots, said: Vec::new(), revived: 0, lapsed: 0 }
    }

    pub fn say(&mut self, said: Said) {
        self.said.push(said);
    }

    pub fn lease(&mut self, id: LeaseId) -> Option<&mut LeaseRow> {
        self.jobs.get_mut(&id.job)?.units.get_mut(&id.unit)?.leases.get_mut(&id.attempt)
    }

    fn rows(&self) -> impl Iterator<Item = (LeaseId, &LeaseRow)> {
        let units = self.jobs.iter().flat_map(|(job, row)| row.units.iter().map(move |(unit, row)| (*job, *unit, row)));
        units.flat_map(|(job, unit, row)| {
            row.leases.iter().map(move |(attempt, lease)| (LeaseId { job, unit, attempt: *attempt }, lease))
        })
    }

    /// Every lease that binds a node: of which lease, whom, since when.
    pub fn live(&self) -> Vec<(LeaseId, NodeId, Time)> {
        let live = self.rows().filter(|(_, lease)| lease.status != Status::Over);
        live.map(|(id, lease)| (id, lease.node, lease.granted)).collect()
    }

    pub fn running(&self) -> impl Iterator<Item = (LeaseId, &LeaseRow)> {
        self.rows().filter(|(_, lease)| lease.status == Status::Running)
    }

    pub fn running_of(&self, node: NodeId) -> Vec<(Time, LeaseId)> {
        self.running().filter(|(_, lease)| lease.node == node).map(|(id, lease)| (lease.heard, id)).collect()
    }

    pub fn has_free_slot(&self, node: NodeId) -> bool {
        self.running_of(node).len() < usize::from(self.slots.get(&node).copied().unwrap_or(1))
    }

    /// Live leases, and those of them that are not their unit's first.
    pub fn live_and_copies(&self) -> (usize, usize) {
        let units = self.jobs.values().flat_map(|job| job.units.values());
        units
            .map(|unit| unit.live().count())
            .fold((0, 0), |(all, copies), live| (all + live, copies + live.saturating_sub(1)))
    }

    /// Whether a wake-up was missed.
    pub fn is_overslept(&self) -> bool {
        let is_due = |lease: &LeaseRow| lease.deadline <= self.now || self.is_silent(lease);
        self.bids.values().any(|(_, until)| *until <= self.now) || self.running().any(|(_, lease)| is_due(lease))
    }

    pub fn is_silent(&self, lease: &LeaseRow) -> bool {
        self.now.since(lease.heard) >= self.policy.silence_ms
    }
}
