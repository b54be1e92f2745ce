//! One requester and several provers on one virtual clock, with messages that can be lost, doubled, delayed and reordered, and
//! nodes that die, freeze, lie and cannot fetch. A schedule and a seed decide everything, so a run can be repeated.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_core::job::{ExecutionInfo, JobSpec, Outcome, Receipted, Restored, SegmentInfo};
use manyhands_core::requester::{self, AskId, Event};
use manyhands_core::{Check, Checked, Origin, Parts, Policy, Priority, Prover, Refusal, Requester, Time, prover};
use manyhands_proto::message::{Blame, Request, Response};
use manyhands_proto::{Binding, BlobRef, LeaseId, NodeId, Nonce, Reference, SegmentRange, Unit};

use crate::fake::{Fake, JOB, ZKVM, able, binder, blob, holder, node, po2};

const GATEWAY: u8 = 0xee;

/// The control protocol's time-out.
const TIME_OUT_MS: u64 = 60_000;

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The process dies and starts again so many milliseconds later; the gateway is told or not.
    Dies(u64, bool),
    /// Nothing moves in the process for so long.
    Freezes(u64),
    /// Its proofs are false until the faults stop.
    Lies,
    /// It cannot fetch anything until the faults stop.
    CannotFetch,
    /// Its worker fails until the faults stop.
    WorkerFails,
    /// The gateway's process is replaced by one that knows only what was kept on disk.
    GatewayRestarts,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub seed: u64,
    pub segments: u32,
    pub outcome: Outcome,
    pub slots: Vec<u8>,
    pub faults: Vec<(u64, usize, Fault)>,
    /// Messages lost, in percent.
    pub lost: u64,
    /// Messages that arrive twice, in percent.
    pub doubled: u64,
    pub delay_ms_max: u64,
    /// From then on nothing goes wrong.
    pub calm_at_ms: u64,
}

#[derive(Debug, Clone)]
enum Happening {
    ToGateway { from: usize, life: u32, tag: prover::Tag, request: Request },
    ToNode { to: usize, life: u32, input: prover::Input },
    Core { life: u32, input: requester::Input<Fake> },
    Fault(usize, Fault),
    Born(usize),
}

struct Machine {
    core: Prover,
    life: u32,
    is_up: bool,
    frozen_until: Time,
    lies: bool,
    cannot_fetch: bool,
    worker_fails: bool,
    slots: u8,
    stored: BTreeSet<Reference>,
}

pub struct World {
    schedule: Schedule,
    pub now: Time,
    random: u64,
    sequence: u64,
    queue: BTreeMap<(Time, u64), Happening>,
    gateway: Requester<Fake>,
    gateway_life: u32,
    machines: Vec<Machine>,
    asked: u64,
    asks: BTreeMap<AskId, (usize, u32, prover::Tag)>,
    made: BTreeMap<Reference, (NodeId, LeaseId, bool)>,
    collecting: BTreeSet<(NodeId, LeaseId)>,
    checked: BTreeSet<(NodeId, LeaseId, Reference)>,
    verified: BTreeSet<Unit>,
    kept: Restored,
    pub is_done: bool,
    pub failure: Option<String>,
    pub steps: u64,
    /// A hash over everything that both machines commanded.
    pub trace: u64,
}

impl World {
    pub fn new(schedule: Schedule) -> Self {
        let slots = schedule.slots.clone();
        let mut world = Self {
            now: Time(0),
            random: schedule.seed,
            sequence: 0,
            queue: BTreeMap::new(),
            gateway: new_gateway(),
            gateway_life: 0,
            machines: slots.into_iter().map(Machine::new).collect(),
            asked: 0,
            asks: BTreeMap::new(),
            made: BTreeMap::new(),
            collecting: BTreeSet::new(),
            checked: BTreeSet::new(),
            verified: BTreeSet::new(),
            kept: Restored::new(),
            is_done: false,
            failure: None,
            steps: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            schedule,
        };
        (0..world.machines.len()).for_each(|which| world.at(0, Happening::Born(which)));
        for (at_ms, which, fault) in world.schedule.faults.clone() {
            world.at(at_ms, Happening::Fault(which % world.machines.len(), fault));
        }
        world.submit(Restored::new());
        world
    }

    /// Runs until `end`, or until the job has ended if `until_done`. Checks the books after each step.
    pub fn run(&mut self, end: Time, until_done: bool) {
        while !(until_done && (self.is_done || self.failure.is_some())) {
            let Some(at) = self.next_at().filter(|at| *at <= end) else { return };
            assert!(at >= self.now, "a wake-up at {at} was forgotten, it is {}", self.now);
            self.now = at;
            self.step();
            self.steps += 1;
        }
    }

    /// Nothing is left over: no question without answer, no lease, no receipt in a node's store.
    pub fn is_clean(&self) -> Result<(), String> {
        for (which, machine) in self.machines.iter().enumerate() {
            if !machine.core.is_idle() || !machine.stored.is_empty() {
                return Err(format!("node {which} still holds {:?} and {:?}", machine.core, machine.stored));
            }
        }
        let open: Vec<_> = self.asks.values().filter(|(which, life, _)| self.machines[*which].life == *life).collect();
        if open.is_empty() { Ok(()) } else { Err(format!("questions without an answer: {open:?}")) }
    }

    fn next_at(&self) -> Option<Time> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let gateway = self.gateway.poll_timeout().map(|(at, _)| at.max(self.now));
        let machines = self.machines.iter().filter(|machine| machine.is_up);
        let nodes = machines.filter_map(|machine| Some(machine.core.poll_timeout()?.0.max(machine.frozen_until)));
        nodes.map(|at| at.max(self.now)).chain(queued).chain(gateway).min()
    }

    fn step(&mut self) {
        let before = self.next_at();
        if let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let happening = entry.remove();
            self.happen(happening);
        } else {
            if self.gateway.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
                self.gateway.handle_timeout(self.now);
                let next = self.gateway.poll_timeout();
                assert!(next.is_none_or(|(at, _)| at > self.now), "the gateway wakes up for nothing: {next:?}");
            }
            for which in 0..self.machines.len() {
                let machine = &mut self.machines[which];
                let is_due = machine.core.poll_timeout().is_some_and(|(at, _)| at <= self.now);
                if machine.is_up && machine.frozen_until <= self.now && is_due {
                    machine.core.handle_timeout(self.now);
                    let next = machine.core.poll_timeout();
                    assert!(next.is_none_or(|(at, _)| at > self.now), "node {which} wakes up for nothing: {next:?}");
                }
            }
        }
        self.drain_gateway();
        (0..self.machines.len()).for_each(|which| self.drain_machine(which));
        self.gateway.audit().unwrap_or_else(|why| panic!("at {}, after {before:?}: {why}", self.now));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToGateway { from, life, tag, request } => self.request_arrives(from, life, tag, request),
            Happening::ToNode { to, life, input } => {
                let machine = &mut self.machines[to];
                if !machine.is_up || machine.life != life {
                    return;
                }
                if machine.frozen_until > self.now {
                    let later = machine.frozen_until.since(self.now);
                    return self.at(later, Happening::ToNode { to, life, input });
                }
                if let prover::Input::Made { result: Ok((receipt, _)), .. } = &input {
                    machine.stored.insert(receipt.reference);
                }
                machine.core.handle(self.now, input);
            }
            Happening::Core { life, input } => {
                if life == self.gateway_life {
                    if let requester::Input::Checked { node, lease, .. } = &input {
                        assert!(self.collecting.remove(&(*node, *lease)));
                    }
                    self.gateway.handle(self.now, input);
                }
            }
            Happening::Fault(which, fault) => self.strike(which, fault),
            Happening::Born(which) => {
                let machine = &mut self.machines[which];
                (machine.core, machine.is_up) = (Prover::new(NodeId::default(), offer(machine.slots)), true);
                machine.stored.clear();
                machine
                    .core
                    .handle(self.now, prover::Input::Gateway { holder: holder(node(GATEWAY)), configured: true });
            }
        }
    }

    fn request_arrives(&mut self, from: usize, life: u32, tag: prover::Tag, request: Request) {
        self.asked += 1;
        let (ask, node) = (AskId(self.asked), id(from));
        self.asks.insert(ask, (from, life, tag));
        let input = match request {
            Request::Hello(capabilities) => {
                requester::Input::Hello { node, from: Origin::default(), capabilities, ask }
            }
            Request::Bid(bid) => requester::Input::Bid { node, from: Origin::default(), bid, shown: None, ask },
            Request::Heartbeat { lease, stage, remaining_ms } => {
                requester::Input::Heartbeat { node, lease, stage, remaining_ms, ask }
            }
            Request::Done { lease, receipt, elapsed_ms } => {
                requester::Input::Done { node, lease, receipt, elapsed_ms, ask }
            }
            Request::Fail { lease, reason } => requester::Input::Fail { node, lease, reason, ask },
            Request::Cancel(_) => panic!("a node does not cancel"),
        };
        self.gateway.handle(self.now, input);
    }

    fn strike(&mut self, which: usize, fault: Fault) {
        let machine = &mut self.machines[which];
        match fault {
            Fault::Dies(for_ms, is_told) => {
                machine.is_up = false;
                machine.life += 1;
                self.at(for_ms.max(1), Happening::Born(which));
                if is_told {
                    let life = self.gateway_life;
                    self.at(1, Happening::Core { life, input: requester::Input::Gone { node: id(which) } });
                }
            }
            Fault::Freezes(for_ms) => machine.frozen_until = self.now.after(for_ms),
            Fault::Lies => machine.lies = true,
            Fault::CannotFetch => machine.cannot_fetch = true,
            Fault::WorkerFails => machine.worker_fails = true,
            Fault::GatewayRestarts => {
                if self.is_done {
                    return;
                }
                self.gateway_life += 1;
                self.gateway = new_gateway();
                self.asks.clear();
                self.collecting.clear();
                self.verified.clear();
                self.submit(self.kept.clone());
            }
        }
    }

    fn submit(&mut self, restored: Restored) {
        let spec = JobSpec { po2: po2(16), is_auto: false, outcome: self.schedule.outcome, priority: Priority::Normal };
        self.gateway.handle(self.now, requester::Input::Submit { job: JOB, spec, restored, attempts_from: 0 });
        self.drain_gateway();
    }

    fn drain_gateway(&mut self) {
        while let Some(event) = self.gateway.poll_event() {
            self.note(event);
        }
        while let Some(command) = self.gateway.poll_command() {
            self.fold(&format!("{} gateway {command:?}", self.now));
            self.obey_gateway(command);
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Verified { result } => {
                let Receipted { lease, node, receipt, .. } = result;
                assert!(self.checked.contains(&(node, lease, receipt.reference)), "{lease} was never checked");
                assert!(self.verified.insert(lease.unit), "{} is verified twice", lease.unit);
                self.kept.insert(lease.unit, result);
            }
            Event::JobDone { .. } => self.is_done = true,
            Event::JobFailed { reason, .. } => self.failure = Some(reason),
            Event::Sized { .. }
            | Event::BegunAnew { .. }
            | Event::Resumed { .. }
            | Event::Leased { .. }
            | Event::GivenBack { .. }
            | Event::LetGo { .. }
            | Event::Refused { .. }
            | Event::Standings { .. }
            | Event::Suspended { .. }
            | Event::Distrusted { .. }
            | Event::Challenged { .. } => {}
        }
    }

    fn obey_gateway(&mut self, command: requester::Command<Fake>) {
        match command {
            requester::Command::Survey { .. } => panic!("the size was given"),
            requester::Command::Execute { .. } => self.execute(),
            requester::Command::Announce { .. } => {
                for to in 0..self.machines.len() {
                    let input = prover::Input::Gateway { holder: holder(node(GATEWAY)), configured: false };
                    self.send_to_node(to, self.machines[to].life, input);
                }
            }
            requester::Command::Answer { ask, response } => {
                let (to, life, tag) = self.asks.remove(&ask).expect("each question is answered once");
                self.send_to_node(to, life, prover::Input::Answered { tag, response: Some(response) });
            }
            requester::Command::Challenge { .. } | requester::Command::ChallengeOver { .. } => panic!("not here"),
            requester::Command::Score { ask, .. } => {
                let ask = ask.expect("the node waits");
                self.obey_gateway(requester::Command::Answer { ask, response: Response::Ok });
            }
            requester::Command::Drop { ask } => {
                let (to, life, tag) = self.asks.remove(&ask).expect("each question is answered once");
                self.send_to_node(to, life, prover::Input::Answered { tag, response: None });
            }
            requester::Command::Cancel { node: to, lease } => {
                let to = usize::from(to.0[0]) - 1;
                self.send_to_node(to, self.machines[to].life, prover::Input::Cancelled { from: node(GATEWAY), lease });
            }
            requester::Command::Collect { node, is_here, lease, receipt, check } => {
                assert!(self.collecting.insert((node, lease)), "{lease} is collected twice at once");
                let result = self.check(node, is_here, lease, receipt, &check);
                let delay_ms = 50 + self.below(2_000);
                let input = requester::Input::Checked { node, lease, result };
                self.at(delay_ms, Happening::Core { life: self.gateway_life, input });
            }
            requester::Command::Assemble { job, parts } => {
                self.assert_whole(&parts);
                let input = requester::Input::Assembled { job, result: Ok(()) };
                self.at(200, Happening::Core { life: self.gateway_life, input });
            }
        }
    }

    fn execute(&mut self) {
        let segments = self.schedule.segments;
        let life = self.gateway_life;
        for index in 0..segments {
            let segment = SegmentInfo { index, po2: po2(16), claim: index };
            let cut_ms = u64::from(index) * 700;
            self.at(cut_ms, Happening::Core { life, input: requester::Input::Segmented { job: JOB, segment } });
            let stored_ms = cut_ms + 1 + self.below(2_000);
            let input = requester::Input::Stored {
                job: JOB,
                unit: Unit::Prove(index),
                blob: blob(u64::from(index)),
                key: None,
            };
            self.at(stored_ms, Happening::Core { life, input });
        }
        let info = ExecutionInfo { segments, user_cycles: 1, total_cycles: 1, assumptions: Vec::new(), keccaks: 0 };
        let input = requester::Input::Executed { job: JOB, result: Ok(info) };
        self.at(u64::from(segments) * 700 + 5, Happening::Core { life, input });
    }

    /// The verifier: it knows who made a receipt under which lease.
    fn check(
        &mut self,
        node: NodeId,
        is_here: bool,
        lease: LeaseId,
        receipt: BlobRef,
        check: &Check<Fake>,
    ) -> Result<Checked<Fake>, Refusal> {
        let checked = expected(node, lease, check);
        let refuse = |blame, reason: &str| Err(Refusal { blame, reason: reason.to_owned() });
        if !is_here && !self.is_calm() && self.below(100) < self.schedule.lost {
            return refuse(Blame::Network, "the connection broke");
        }
        let machine = &self.machines[usize::from(node.0[0]) - 1];
        let is_served = machine.is_up && machine.stored.contains(&receipt.reference);
        if !is_here && !is_served {
            return refuse(Blame::Network, "the node does not have it any more");
        }
        if self.made.get(&receipt.reference) != Some(&(node, lease, true)) {
            return refuse(Blame::Peer, "the proof is false");
        }
        self.checked.insert((node, lease, receipt.reference));
        Ok(checked)
    }

    fn assert_whole(&self, parts: &Parts<Fake>) {
        match parts {
            Parts::Composite(parts, _) => {
                let indices: Vec<u32> = parts.iter().map(|(index, _)| *index).collect();
                assert_eq!(indices, (0..self.schedule.segments).collect::<Vec<_>>());
                assert!(self.verified.len() as u32 == self.schedule.segments);
            }
            Parts::Succinct(range, _) => {
                assert_eq!(*range, SegmentRange { start: 0, end: self.schedule.segments });
                let joins = self.verified.iter().filter(|unit| matches!(unit, Unit::Join { .. })).count();
                assert_eq!(joins as u32, self.schedule.segments - 1);
            }
        }
    }

    fn drain_machine(&mut self, which: usize) {
        while let Some(command) = self.machines[which].core.poll_command() {
            self.fold(&format!("{} node {which} {command:?}", self.now));
            self.obey_machine(which, command);
        }
        let machine = &self.machines[which];
        assert!(machine.core.leases().count() <= usize::from(machine.slots), "node {which} works on too much");
    }

    fn obey_machine(&mut self, which: usize, command: prover::Command) {
        let life = self.machines[which].life;
        match command {
            prover::Command::Ask { request, tag, .. } => {
                let time_out = prover::Input::Answered { tag, response: None };
                self.at(TIME_OUT_MS, Happening::ToNode { to: which, life, input: time_out });
                for delay_ms in self.ways() {
                    let request = request.clone();
                    self.at(delay_ms, Happening::ToGateway { from: which, life, tag, request });
                }
            }
            prover::Command::Fetch { lease } => {
                let is_had = self.is_calm() || !self.machines[which].cannot_fetch;
                let result = if is_had { Ok(()) } else { Err("no route".to_owned()) };
                let delay_ms = 10 + self.below(500);
                let input = prover::Input::Fetched { lease: lease.id, result };
                self.at(delay_ms, Happening::ToNode { to: which, life, input });
            }
            prover::Command::Work { lease } => {
                let fails = !self.is_calm() && self.machines[which].worker_fails;
                let is_true = self.is_calm() || !self.machines[which].lies;
                let elapsed_ms = 10_000 + self.below(40_000);
                self.sequence += 1;
                let receipt = blob(1_000_000 + self.sequence);
                self.made.insert(receipt.reference, (id(which), lease.id, is_true));
                let result = if fails { Err("signal 9".to_owned()) } else { Ok((receipt, elapsed_ms)) };
                let delay_ms = if fails { 5 } else { elapsed_ms };
                let input = prover::Input::Made { lease: lease.id, result };
                self.at(delay_ms, Happening::ToNode { to: which, life, input });
            }
            prover::Command::Stop { .. } => {}
            prover::Command::Discard { receipt, .. } => {
                assert!(self.machines[which].stored.remove(&receipt.reference), "thrown away twice");
            }
        }
    }

    fn send_to_node(&mut self, to: usize, life: u32, input: prover::Input) {
        for delay_ms in self.ways() {
            self.at(delay_ms, Happening::ToNode { to, life, input: input.clone() });
        }
    }

    /// The delays with which a message arrives: none, one or two times.
    fn ways(&mut self) -> Vec<u64> {
        if self.is_calm() {
            return vec![1 + self.below(20)];
        }
        let delay_ms = 1 + self.below(self.schedule.delay_ms_max);
        let fate = self.below(100);
        if fate < self.schedule.lost {
            Vec::new()
        } else if fate < self.schedule.lost + self.schedule.doubled {
            vec![delay_ms, 1 + self.below(2 * self.schedule.delay_ms_max)]
        } else {
            vec![delay_ms]
        }
    }

    fn is_calm(&self) -> bool {
        self.now.0 >= self.schedule.calm_at_ms
    }

    fn at(&mut self, delay_ms: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now.after(delay_ms), self.sequence), happening);
    }

    /// A number below `bound`, by SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    fn fold(&mut self, text: &str) {
        for byte in text.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

impl Machine {
    fn new(slots: u8) -> Self {
        Self {
            core: Prover::new(NodeId::default(), offer(slots)),
            life: 0,
            is_up: false,
            frozen_until: Time(0),
            lies: false,
            cannot_fetch: false,
            worker_fails: false,
            slots,
            stored: BTreeSet::new(),
        }
    }
}

/// What a true proof of this check would be; what the requester asks for must fit the lease.
fn expected(node: NodeId, lease: LeaseId, check: &Check<Fake>) -> Checked<Fake> {
    match (check, lease.unit) {
        (Check::Segment { index, nonce, claim, .. }, Unit::Prove(unit)) => {
            assert_eq!((*index, *claim), (unit, unit));
            let theirs = Nonce::bound(node, unit, Binding::default());
            assert!(nonce.is_none_or(|nonce| (nonce.log, nonce.segment) == (theirs.log, unit)));
            Checked::Segment(unit)
        }
        (Check::Lift { segment }, Unit::Lift(unit)) => {
            assert_eq!(*segment, unit);
            Checked::Range(SegmentRange::single(unit))
        }
        (Check::Join { left, right }, Unit::Join { start, mid, end }) => {
            assert_eq!((left.start, left.end, right.start, right.end), (start, mid, mid, end));
            Checked::Range(SegmentRange { start, end })
        }
        (Check::Resolve { range }, Unit::Resolve { segments, .. }) => {
            assert_eq!((range.start, range.end), (0, segments));
            Checked::Range(*range)
        }
        (Check::Keccak { claim, .. }, Unit::Keccak(unit)) => {
            assert_eq!(*claim, unit);
            Checked::Keccak(SegmentRange::single(unit))
        }
        (Check::Union { left, right }, Unit::Union { start, mid, end }) => {
            assert_eq!((left.start, left.end, right.start, right.end), (start, mid, mid, end));
            Checked::Keccak(SegmentRange { start, end })
        }
        (check, unit) => panic!("{unit} cannot be checked by {check:?}"),
    }
}

fn new_gateway() -> Requester<Fake> {
    // Worker failures of three honest nodes end a job by intention; that rule has its own test.
    let policy = Policy { unit_failures_max: 1_000_000, challenge_after_ms: 0, ..Policy::default() };
    Requester::new(policy, holder(node(GATEWAY)), ZKVM.to_owned(), binder())
}

fn offer(slots: u8) -> manyhands_proto::message::Capabilities {
    let mut capabilities = able();
    capabilities.slots = slots;
    capabilities
}

fn id(which: usize) -> NodeId {
    node(u8::try_from(which + 1).unwrap())
}
