//! A recorder around the requester: every command must be taken by the test, or it fails when the desk is cleared.

use std::collections::VecDeque;

use manyhands_core::job::{Assumption, ExecutionInfo, JobSpec, Outcome, RequestInfo, Restored, SegmentInfo};
use manyhands_core::requester::{AskId, Command, Event, Input};
use manyhands_core::{Check, Checked, Origin, Parts, Policy, Priority, Refusal, Requester, Time};
use manyhands_proto::message::{Bid, Blame, FailReason, Lease, Response, Stage};
use manyhands_proto::{BlobRef, LeaseId, NodeId, Score, SegmentRange, Unit};

use crate::fake::{Fake, JOB, ZKVM, able, bid, binder, blob, holder, node, po2};

/// The command that fetches and checks a result.
#[derive(Debug)]
pub struct Collect {
    pub node: NodeId,
    pub is_here: bool,
    pub lease: LeaseId,
    pub receipt: BlobRef,
    pub check: Check<Fake>,
}

pub struct Desk {
    pub core: Requester<Fake>,
    pub now: Time,
    pub policy: Policy,
    asks: u64,
    commands: VecDeque<Command<Fake>>,
    events: Vec<Event>,
    /// What the gateway has signed.
    pub scores: Vec<Score>,
}

impl Desk {
    /// A desk whose lifts and joins do not wait for the node near their inputs, so that each bid is answered at once.
    pub fn new() -> Self {
        Self::with(Policy { near_wait_ms: 0, challenge_after_ms: 0, ..Policy::default() })
    }

    pub fn with(policy: Policy) -> Self {
        let core = Requester::new(policy.clone(), holder(node(0xee)), ZKVM.to_owned(), binder());
        Self {
            core,
            now: Time(1_000),
            policy,
            asks: 0,
            commands: VecDeque::new(),
            events: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// A desk with a job of `segments` stored segments, announced.
    pub fn with_job(outcome: Outcome, segments: u32) -> Self {
        let mut desk = Self::new();
        desk.submit(outcome);
        (0..segments).for_each(|index| desk.segment(index));
        desk.executed(segments);
        desk
    }

    pub fn submit(&mut self, outcome: Outcome) {
        self.resume(outcome, Restored::new());
    }

    pub fn resume(&mut self, outcome: Outcome, restored: Restored) {
        let spec = JobSpec { po2: po2(16), is_auto: false, outcome, priority: Priority::Normal };
        self.send(Input::Submit { job: JOB, spec, restored, attempts_from: 0 });
        assert!(self.executes(), "the guest is executed");
    }

    /// Takes the order to execute the guest, if there is one.
    pub fn executes(&mut self) -> bool {
        self.take(|command| matches!(command, Command::Execute { job: JOB })).is_some()
    }

    /// Steps I and II for one segment.
    pub fn segment(&mut self, index: u32) {
        self.send(Input::Segmented { job: JOB, segment: SegmentInfo { index, po2: po2(16), claim: index } });
        self.send(Input::Stored { job: JOB, unit: Unit::Prove(index), blob: blob(u64::from(index)), key: None });
        self.announced();
    }

    pub fn executed(&mut self, segments: u32) {
        self.executed_relying_on(segments, Vec::new());
    }

    /// Steps I and II for one keccak request.
    pub fn keccak(&mut self, index: u32) {
        self.send(Input::Requested { job: JOB, request: RequestInfo { index, po2: po2(14), claim: index } });
        self.send(Input::Stored { job: JOB, unit: Unit::Keccak(index), blob: request_blob(index), key: None });
        self.announced();
    }

    /// The guest ended, and relies on what these receipts prove.
    pub fn executed_relying_on(&mut self, segments: u32, assumptions: Vec<BlobRef>) {
        self.executed_with(segments, 0, assumptions.into_iter().map(Assumption::Given).collect());
    }

    /// The guest ended, after so many keccak requests, and relies on this.
    pub fn executed_with(&mut self, segments: u32, keccaks: u32, assumptions: Vec<Assumption>) {
        let info = ExecutionInfo { segments, user_cycles: 60_000, total_cycles: 65_536, assumptions, keccaks };
        self.send(Input::Executed { job: JOB, result: Ok(info) });
    }

    pub fn send(&mut self, input: Input<Fake>) {
        self.core.handle(self.now, input);
        self.drain();
    }

    /// Lets time pass, with every time-out on the way at its moment.
    pub fn wait(&mut self, ms: u64) {
        let end = self.now.after(ms);
        while let Some((at, why)) = self.core.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.drain();
            let next = self.core.poll_timeout();
            assert!(next.is_none_or(|(at, _)| at > self.now), "{why} wakes up for nothing, then {next:?}");
        }
        self.now = end;
    }

    fn drain(&mut self) {
        self.core.audit().unwrap();
        while let Some(command) = self.core.poll_command() {
            self.commands.push_back(match command {
                // What the shell makes of it, without a key.
                Command::Score { ask, score } => {
                    self.scores.push(score);
                    let Some(ask) = ask else { continue };
                    Command::Answer { ask, response: Response::Ok }
                }
                other => other,
            });
        }
        self.events.extend(std::iter::from_fn(|| self.core.poll_event()));
    }

    fn ask(&mut self, make: impl FnOnce(AskId) -> Input<Fake>) -> AskId {
        self.asks += 1;
        let ask = AskId(self.asks);
        self.send(make(ask));
        ask
    }

    pub fn bid(&mut self, node: NodeId) -> AskId {
        self.bid_as(node, bid(able()))
    }

    pub fn bid_as(&mut self, node: NodeId, bid: Bid) -> AskId {
        self.ask(|ask| Input::Bid { node, from: Origin::default(), bid, shown: None, ask })
    }

    pub fn hello(&mut self, node: NodeId, bid: Bid) {
        let ask = self.ask(|ask| Input::Hello { node, from: Origin::default(), capabilities: bid.capabilities, ask });
        assert_eq!(self.answer(ask), Response::Ok);
    }

    pub fn heartbeat(&mut self, node: NodeId, lease: LeaseId) -> Response {
        self.heartbeat_saying(node, lease, None)
    }

    /// A heartbeat that says how many milliseconds the work will still take.
    pub fn heartbeat_saying(&mut self, node: NodeId, lease: LeaseId, remaining_ms: Option<u64>) -> Response {
        let ask = self.ask(|ask| Input::Heartbeat { node, lease, stage: Stage::Work, remaining_ms, ask });
        self.answer(ask)
    }

    pub fn done(&mut self, node: NodeId, lease: LeaseId, receipt: BlobRef) -> AskId {
        self.ask(|ask| Input::Done { node, lease, receipt, elapsed_ms: 20_000, ask })
    }

    pub fn fail(&mut self, node: NodeId, lease: LeaseId, reason: FailReason) {
        let ask = self.ask(|ask| Input::Fail { node, lease, reason, ask });
        assert_eq!(self.answer(ask), Response::Ok);
    }

    pub fn verdict(&mut self, of: &Collect, result: Result<(), Blame>) {
        let checked = match of.check {
            Check::Segment { index, .. } => Checked::Segment(index),
            Check::Lift { segment } => Checked::Range(SegmentRange::single(segment)),
            Check::Join { left, right } => Checked::Range(SegmentRange { start: left.start, end: right.end }),
            Check::Resolve { range } => Checked::Range(range),
            Check::Keccak { claim, .. } => Checked::Keccak(SegmentRange::single(claim)),
            Check::Union { left, right } => Checked::Keccak(SegmentRange { start: left.start, end: right.end }),
        };
        let refuse = |blame| Refusal { blame, reason: "it is wrong".to_owned() };
        let result = result.map(|()| checked).map_err(refuse);
        self.send(Input::Checked { node: of.node, lease: of.lease, result });
    }

    /// Node 1 gets this unit with these inputs, and does it.
    pub fn next(&mut self, unit: Unit, inputs: &[BlobRef], receipt: BlobRef) -> BlobRef {
        let lease = self.lease(node(1));
        assert_eq!((lease.id.unit, lease.inputs.as_slice()), (unit, inputs));
        let ask = self.done(node(1), lease.id, receipt);
        let collect = self.collect();
        self.verdict(&collect, Ok(()));
        assert_eq!(self.answer(ask), Response::Ok);
        self.announced();
        receipt
    }

    /// Bids and expects a lease in the same round trip.
    pub fn lease(&mut self, node: NodeId) -> Lease {
        let ask = self.bid(node);
        self.granted(ask)
    }

    pub fn granted(&mut self, ask: AskId) -> Lease {
        match self.answer(ask) {
            Response::Lease(lease) => *lease,
            other => panic!("a lease was expected, not {other:?}"),
        }
    }

    /// Hands over a valid result for `lease` and takes the answer.
    pub fn complete(&mut self, node: NodeId, lease: LeaseId) {
        let ask = self.done(node, lease, blob(99));
        let collect = self.collect();
        self.verdict(&collect, Ok(()));
        assert_eq!(self.answer(ask), Response::Ok);
    }

    pub fn take(&mut self, wanted: impl Fn(&Command<Fake>) -> bool) -> Option<Command<Fake>> {
        let position = self.commands.iter().position(wanted)?;
        self.commands.remove(position)
    }

    /// Takes an announcement of the job, if there is one.
    pub fn announced(&mut self) -> bool {
        self.take(|command| matches!(command, Command::Announce { job: JOB, .. })).is_some()
    }

    pub fn answer(&mut self, ask: AskId) -> Response {
        match self.take(|command| matches!(command, Command::Answer { ask: to, .. } if *to == ask)) {
            Some(Command::Answer { response, .. }) => response,
            _ => panic!("{ask:?} was not answered; there is {:?}", self.commands),
        }
    }

    pub fn dropped(&mut self, ask: AskId) {
        let command = self.take(|command| matches!(command, Command::Drop { ask: to } if *to == ask));
        assert!(command.is_some(), "{ask:?} was not dropped; there is {:?}", self.commands);
    }

    pub fn cancelled(&mut self) -> (NodeId, LeaseId) {
        match self.take(|command| matches!(command, Command::Cancel { .. })) {
            Some(Command::Cancel { node, lease }) => (node, lease),
            _ => panic!("nothing was cancelled; there is {:?}", self.commands),
        }
    }

    pub fn collect(&mut self) -> Collect {
        match self.take(|command| matches!(command, Command::Collect { .. })) {
            Some(Command::Collect { node, is_here, lease, receipt, check }) => {
                Collect { node, is_here, lease, receipt, check }
            }
            _ => panic!("nothing is collected; there is {:?}", self.commands),
        }
    }

    pub fn assemble(&mut self) -> Parts<Fake> {
        match self.take(|command| matches!(command, Command::Assemble { job: JOB, .. })) {
            Some(Command::Assemble { parts, .. }) => parts,
            _ => panic!("nothing is assembled; there is {:?}", self.commands),
        }
    }

    /// Everything that was told since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes every command, whatever it is.
    pub fn clear(&mut self) {
        self.commands.clear();
    }

    /// HyperQueue's emptiness check: the test has taken every command.
    pub fn is_clear(&self) {
        assert!(self.commands.is_empty(), "nobody expected {:?}", self.commands);
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.is_clear();
        }
    }
}

pub fn proves(index: u32, attempt: u32) -> LeaseId {
    LeaseId { job: JOB, unit: Unit::Prove(index), attempt }
}

/// The blob of a keccak request.
pub fn request_blob(index: u32) -> BlobRef {
    blob(2_000 + u64::from(index))
}
