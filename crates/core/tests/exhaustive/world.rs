//! Real gateways and real nodes without a clock: whatever could happen next is a choice, and each choice is a [`Step`].
//!
//! The world keeps its own account of what it saw (leases given, work begun, results accepted) and judges the machines by that, not
//! by their word. It must never drop a message except by [`Step::Lose`], or an older heartbeat of a lease behind a newer one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use manyhands_core::job::{ExecutionInfo, JobSpec, Outcome, Phase, Restored, SegmentInfo};
use manyhands_core::requester::{self, AskId};
use manyhands_core::{Checked, Policy, Priority, Prover, Refusal, Requester, Time, prover};
use manyhands_proto::message::{Blame, Request, Response, Timing};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{JobId, LeaseId, NodeId, Unit};

use crate::fake::{Fake, ZKVM, able, binder, blob, holder, po2};
use crate::ids::{gateway_id, job_of, node_id, receipt};
use crate::machines::Marked;
use crate::message::{self, Collected, InFlight, Message, Step, Topic};

/// Longer than a gateway bears silence (30 s) and holds a bid (20 s), so one such pause ends every lease that it overtakes.
const PAUSE_MS: u64 = 31_000;

/// Who is there, and what may go wrong.
#[derive(Debug, Clone)]
pub struct Bounds {
    pub policy: Policy,
    pub gateways: usize,
    pub nodes: usize,
    /// Of each gateway's one job.
    pub segments: u32,
    /// Messages lost or doubled, together.
    pub faults: u8,
    /// Pauses in which nothing arrives.
    pub pauses: u8,
    pub sabotage: Sabotage,
}

/// A rule that the world breaks on purpose, to see that caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// The nodes' machines think that they have a second slot.
    SecondSlot,
    /// No lease ever arrives.
    Mute,
}

/// A rule of the protocol that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breach {
    TwoLeasesInOneSlot,
    AcceptedTwice,
    AcceptedUnderAnothersLease,
    BooksDiffer,
}

#[derive(Clone)]
pub struct World {
    pub bounds: Arc<Bounds>,
    pub now: Time,
    pub gateways: Vec<Marked<Requester<Fake>>>,
    pub nodes: Vec<Marked<Prover>>,
    pub in_flight: InFlight,
    /// Questions that wait at a gateway: who asked under which tag.
    pub asks: BTreeMap<AskId, (usize, u64)>,
    /// Questions without an answer.
    pub open: BTreeMap<(usize, u64), Topic>,
    pub working: BTreeSet<(usize, LeaseId)>,
    pub checking: BTreeSet<Collected>,
    pub granted: BTreeMap<LeaseId, NodeId>,
    pub accepted: BTreeMap<(JobId, Unit), LeaseId>,
    pub breaches: BTreeSet<Breach>,
    pub faults: u8,
    pub pauses: u8,
    fingerprint: u64,
}

impl Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: in flight {:?}, working {:?}", self.now, self.in_flight, self.working)?;
        write!(f, ", accepted {:?}, broken {:?}", self.accepted, self.breaches)
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl World {
    pub fn new(bounds: &Arc<Bounds>) -> Self {
        let gateway =
            |which| Requester::new(bounds.policy.clone(), holder(gateway_id(which)), ZKVM.to_owned(), binder());
        let mut world = Self {
            bounds: Arc::clone(bounds),
            now: Time(1_000),
            gateways: (0..bounds.gateways).map(|which| Marked::new(gateway(which))).collect(),
            nodes: (0..bounds.nodes).map(|_| Marked::new(new_node(bounds))).collect(),
            in_flight: InFlight::default(),
            asks: BTreeMap::new(),
            open: BTreeMap::new(),
            working: BTreeSet::new(),
            checking: BTreeSet::new(),
            granted: BTreeMap::new(),
            accepted: BTreeMap::new(),
            breaches: BTreeSet::new(),
            faults: bounds.faults,
            pauses: bounds.pauses,
            fingerprint: 0,
        };
        (0..bounds.gateways).for_each(|which| world.begin_job(which));
        for which in 0..bounds.nodes {
            // Each knows all, and asks another one first than its neighbour.
            for gateway in (0..bounds.gateways).map(|turn| (which + turn) % bounds.gateways) {
                world
                    .feed_node(which, prover::Input::Gateway { holder: holder(gateway_id(gateway)), configured: true });
            }
        }
        world.seal();
        world
    }

    fn begin_job(&mut self, which: usize) {
        let job = job_of(which);
        let spec = JobSpec { po2: po2(16), is_auto: false, outcome: Outcome::Composite, priority: Priority::Normal };
        self.feed_gateway(which, requester::Input::Submit { job, spec, restored: Restored::new(), attempts_from: 0 });
        let segments = self.bounds.segments;
        for index in 0..segments {
            let segment = SegmentInfo { index, po2: po2(16), claim: index };
            self.feed_gateway(which, requester::Input::Segmented { job, segment });
            self.feed_gateway(
                which,
                requester::Input::Stored { job, unit: Unit::Prove(index), blob: blob(u64::from(index)), key: None },
            );
        }
        let info = ExecutionInfo { segments, user_cycles: 1, total_cycles: 1, assumptions: Vec::new(), keccaks: 0 };
        self.feed_gateway(which, requester::Input::Executed { job, result: Ok(info) });
    }

    pub fn take(&mut self, step: Step) {
        match step {
            Step::Deliver(message) => {
                self.in_flight.remove(&message);
                self.deliver(message);
            }
            Step::Lose(message) => {
                self.faults -= 1;
                self.in_flight.remove(&message);
            }
            Step::Double(message) => {
                self.faults -= 1;
                self.in_flight.add(message);
            }
            Step::GiveUp(node, tag) => self.answer(node, tag, None),
            Step::Finish(node, lease) => {
                self.working.remove(&(node, lease));
                let result = Ok((receipt(node_id(node), lease), 1_000));
                self.feed_node(node, prover::Input::Made { lease, result });
            }
            Step::Check(collected) => self.check(collected),
            Step::Pause => {
                self.pauses -= 1;
                self.pass(self.now.after(PAUSE_MS));
                self.drop_old_heartbeats();
            }
        }
        self.seal();
    }

    /// Of several heartbeats of a lease only the newest stays on its way: it says all that the others say.
    fn drop_old_heartbeats(&mut self) {
        let mut newest: BTreeMap<(usize, LeaseId), u64> = BTreeMap::new();
        let beats: Vec<_> = self.in_flight.iter().filter_map(Message::heartbeat).collect();
        for (node, tag, lease) in &beats {
            let of_lease = newest.entry((*node, *lease)).or_default();
            *of_lease = (*of_lease).max(*tag);
        }
        for (node, tag, lease) in beats {
            if newest.get(&(node, lease)) != Some(&tag) {
                self.in_flight.take(node, tag);
                self.answer(node, tag, None);
            }
        }
    }

    /// The next step of a world in which nothing goes wrong any more; nothing if nothing is left to do or to wait for.
    pub fn calm_step(&mut self) -> bool {
        let mut steps = Vec::new();
        (self.faults, self.pauses) = (0, 0);
        self.steps(&mut steps);
        match (steps.into_iter().next(), self.next_at()) {
            (Some(step), _) => self.take(step),
            (None, Some(at)) => {
                self.pass(at.max(self.now));
                self.seal();
            }
            (None, None) => return false,
        }
        true
    }

    /// Whether every job has its receipt.
    pub fn is_done(&self) -> bool {
        let is_done = |which: usize| {
            let job = self.gateways[which].core.job(&job_of(which));
            job.is_some_and(|job| matches!(job.phase, Phase::Done { .. }))
        };
        (0..self.gateways.len()).all(is_done)
            && self.accepted.len() == self.gateways.len() * self.bounds.segments as usize
    }

    pub fn broken(&mut self, breach: Breach) {
        self.breaches.insert(breach);
    }

    pub fn deliver(&mut self, message: Message) {
        match message {
            Message::Ask { node, gateway, tag, request } => self.ask(node, gateway, tag, request),
            Message::Answer { node, tag, response } => self.answer(node, tag, response),
            Message::Cancel { gateway, node, lease } => {
                self.feed_node(node, prover::Input::Cancelled { from: gateway_id(gateway), lease });
            }
        }
    }

    fn ask(&mut self, from: usize, gateway: usize, tag: u64, request: Request) {
        // A number that does not depend on the order of arrivals, so that equal worlds look equal.
        let first = AskId(from as u64 * 1_000_000 + tag * 2);
        let ask = if self.asks.contains_key(&first) { AskId(first.0 + 1) } else { first };
        self.asks.insert(ask, (from, tag));
        self.feed_gateway(gateway, message::input(node_id(from), request, ask));
    }

    fn answer(&mut self, node: usize, tag: u64, response: Option<Response>) {
        self.open.remove(&(node, tag));
        self.feed_node(node, prover::Input::Answered { tag: prover::Tag(tag), response });
    }

    /// The verifier: a receipt is right if this node made it under this lease.
    fn check(&mut self, collected: Collected) {
        self.checking.remove(&collected);
        let (gateway, node, lease, reference) = collected;
        let refusal = || Refusal { blame: Blame::Peer, reason: "it is wrong".to_owned() };
        let is_right = receipt(node, lease).reference.0 == reference;
        let result = if is_right { Ok(Checked::Segment(lease.unit.range().start)) } else { Err(refusal()) };
        self.feed_gateway(gateway, requester::Input::Checked { node, lease, result });
    }

    fn seal(&mut self) {
        self.fingerprint = self.hash_with(self.faults, self.pauses);
    }

    /// A hash over everything that decides what a calm continuation does.
    pub fn calm_mark(&self) -> u64 {
        self.hash_with(0, 0)
    }

    fn hash_with(&self, faults: u8, pauses: u8) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.gateways.iter().for_each(|gateway| hasher.write_u64(gateway.mark));
        self.nodes.iter().for_each(|node| hasher.write_u64(node.mark));
        (self.in_flight.marks(), &self.asks, &self.open, &self.working, &self.checking).hash(&mut hasher);
        (self.now, &self.granted, &self.accepted, &self.breaches, faults, pauses).hash(&mut hasher);
        hasher.finish()
    }
}

fn new_node(bounds: &Bounds) -> Prover {
    let mut capabilities = able();
    capabilities.slots = if bounds.sabotage == Sabotage::SecondSlot { 2 } else { 1 };
    // What each proof takes here, so that a node learns nothing by making one and equal worlds look equal.
    capabilities.timings.push(Timing { kind: UnitKind::Prove, po2: po2(16), elapsed_ms: 1_000 });
    Prover::new(NodeId::default(), capabilities)
}
