//! The world: real gateways and real nodes on virtual time, and everything that happens between them.
//!
//! One event is one thing that reaches one machine. After it, the machine's commands are obeyed, which only puts further events into the
//! queue, and the oracle looks. No step walks through all nodes, but the start, a loss of many at once, and a full audit now and then.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_core::prover::Tag;
use manyhands_core::requester::AskId;
use manyhands_core::{Binder, Policy, Prover, Requester, requester};
use manyhands_proto::message::{Holder, Request, Response};
use manyhands_proto::{JobId, LeaseId, Po2, Score};

use crate::book::Book;
use crate::bound::bound;
use crate::draw::{About, Draw};
use crate::fleet::{Traits, ZKVM, bytes_per_ms, gateway_id, node_id};
use crate::link::Link;
use crate::log::Log;
use crate::oracle::{FakeProofs, Oracle, Receipts, Violation};
use crate::queue::{Alarm, Asks, Queue};
use crate::record::Run;
use crate::scenario::{Arrival, Load, Scenario, policy_by_name};

mod adversaries;
mod challenges;
mod gateway;
mod node;
mod traffic;
mod weather;

use adversaries::{Machines, Verifier};
use challenges::Challenges;
use node::Task;
use traffic::{Cargo, Collect, Way};

/// In worlds of at most so many nodes the gateways' whole books are checked after every event.
const SMALL_NODES: u32 = 64;

/// In larger ones after so many events: an audit costs about as much as ten thousand of them.
const AUDIT_EVENTS: u64 = 1 << 18;

/// Runs a scenario.
///
/// # Errors
/// When a rule of the product was broken, or the scenario describes no world. The violation names the seed that shows it again.
pub fn run(scenario: &Scenario, seed: u64) -> Result<Run, Violation> {
    let refuse = |what: String| Violation { seed, at_ms: 0, what };
    scenario.check().map_err(|error| refuse(error.to_string()))?;
    let policy = policy_by_name(&scenario.policy).ok_or_else(|| refuse("there is no such policy".to_owned()))?;
    // Nodes without work cost events, and are of no interest in most worlds.
    let challenge_after_ms = if scenario.challenges { policy.challenge_after_ms } else { 0 };
    let mut world = World::new(scenario, Policy { challenge_after_ms, ..policy }, seed);
    world.run().map_err(|what| Violation { seed, at_ms: world.now_ms, what })?;
    Ok(world.record())
}

/// What can happen.
#[derive(Debug)]
enum Happening {
    /// A machine starts.
    Birth { node: u32 },
    /// A machine goes; it comes back after so long, or not.
    Leave { node: u32, life: u32, back_ms: Option<u64>, is_noticed: bool },
    /// Many machines vanish together.
    Loss,
    /// A node's alarm.
    NodeTurn { node: u32, stamp: u32 },
    /// A gateway's alarm.
    GatewayTurn { gateway: u32, stamp: u32 },
    /// A client's link has brought something.
    LinkTurn { job: u32, way: Way, stamp: u32 },
    /// A question arrives at a gateway.
    Asked { node: u32, gateway: u32, ask: AskId, request: Request },
    /// An answer arrives at the node that asked.
    Answered { ask: AskId, response: Option<Response> },
    /// A cancel arrives at a node.
    Cancelled { node: u32, life: u32, gateway: u32, lease: LeaseId },
    /// A job notice arrives at a node.
    Noticed { node: u32, gateway: u32 },
    /// A gateway sees a connection break.
    Gone { gateway: u32, node: u32 },
    /// A job is asked for.
    Submit { job: u32 },
    /// A guest was run at these sizes.
    Surveyed { job: u32, sizes: Vec<Po2> },
    /// A segment is cut and stored.
    Cut { job: u32, index: u32 },
    /// A lease's inputs begin to flow.
    FetchBegins { node: u32, stamp: u64 },
    /// A lease's inputs are there, or cannot be had.
    FetchEnds { node: u32, stamp: u64, is_had: bool },
    /// A lease's work is done.
    WorkEnds { node: u32, stamp: u64 },
    /// A node reckons that its work will take this much longer.
    Reckoned { node: u32, stamp: u64, remaining_ms: u64 },
    /// A receipt begins to flow.
    CollectBegins { collect: u64 },
    /// A receipt is at its gateway.
    CollectEnds { collect: u64 },
    /// A receipt cannot be had.
    CollectFails { collect: u64 },
    /// A receipt is checked.
    Checked { collect: u64 },
    /// A job's receipt is put together.
    Assembled { job: u32 },
    /// The segment of a challenge is made.
    Challenged { gateway: u32, id: JobId },
    /// A gateway has looked into the score that another one gave a node.
    LookedInto { gateway: u32, node: u32, score: Box<Score>, is_told: bool },
}

#[derive(Debug)]
struct World<'a> {
    scenario: &'a Scenario,
    seed: u64,
    now_ms: u64,
    events: u64,
    queue: Queue<Happening>,
    asks: Asks,
    fleet: Vec<Traits>,
    nodes: Vec<Node>,
    gateways: Vec<Gateway>,
    jobs: Vec<Job<'a>>,
    jobs_open: u32,
    /// Nodes that a notice would move: up, a slot free and no bid under way.
    idle: BTreeSet<u32>,
    /// Notices that gateways sent so far.
    notices: u64,
    stamps: u64,
    collects: BTreeMap<u64, Collect>,
    receipts: Receipts,
    challenges: Challenges,
    machines: Machines,
    verifier: Verifier,
    oracle: Oracle,
    book: Book,
    log: Log,
}

#[derive(Debug)]
struct Node {
    core: Prover,
    life: u32,
    is_up: bool,
    /// It vanished with others and does not come back.
    is_lost: bool,
    alarm: Alarm,
    bid: Option<(Tag, u32)>,
    is_idle: bool,
    /// Notices up to this one are known.
    noticed: u64,
    /// A bit for each gateway whose notice is on its way here.
    notices_coming: u64,
    /// A bit for each gateway that this life has talked to.
    connections: u64,
    messages: u64,
    tasks: Vec<Task>,
    /// Leases that it began to work on.
    begun: u32,
    /// Receipts that were handed over and are kept a while.
    taken: std::collections::VecDeque<manyhands_proto::Reference>,
}

#[derive(Debug)]
struct Gateway {
    core: Requester<FakeProofs>,
    alarm: Alarm,
    holder: Holder,
    /// When each of its verifying cores is free.
    checks: Vec<u64>,
    /// Its newest notice for each segment size.
    announced: BTreeMap<Po2, u64>,
    commands: Vec<requester::Command<FakeProofs>>,
}

#[derive(Debug)]
struct Job<'a> {
    load: &'a Load,
    /// What it is cut into: as the load says, until the gateway has chosen.
    po2: Po2,
    segments: u32,
    gateway: u32,
    at_ms: u64,
    is_over: bool,
    up: Link<Cargo>,
    down: Link<Cargo>,
    up_alarm: Alarm,
    down_alarm: Alarm,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, policy: Policy, seed: u64) -> Self {
        let (nodes, gateways) = (scenario.fleet.nodes, scenario.gateways.count);
        let fleet: Vec<Traits> = (0..nodes).map(|node| Traits::draw(scenario, seed, node)).collect();
        let jobs = jobs(scenario, seed);
        let mut world = Self {
            scenario,
            seed,
            now_ms: 0,
            events: 0,
            queue: Queue::new(),
            asks: Asks::default(),
            nodes: (0..).zip(&fleet).map(|(number, traits)| Node::new(number, traits)).collect(),
            fleet,
            gateways: (0..gateways).map(|gateway| Gateway::new(gateway, policy.clone(), scenario)).collect(),
            jobs_open: scenario.job_count(),
            idle: BTreeSet::new(),
            notices: 0,
            stamps: 0,
            collects: BTreeMap::new(),
            receipts: Receipts::default(),
            challenges: Challenges::default(),
            machines: Machines::default(),
            verifier: Verifier::default(),
            oracle: Oracle::new(gateways, nodes, scenario.job_count(), scenario.fleet.slots, None),
            book: Book::default(),
            log: Log::default(),
            jobs,
        };
        (0..nodes)
            .zip(&world.fleet)
            .for_each(|(node, traits)| world.queue.push(traits.start_ms, Happening::Birth { node }));
        (0..).zip(&world.jobs).for_each(|(job, entry)| world.queue.push(entry.at_ms, Happening::Submit { job }));
        if let Some(loss) = &scenario.correlated_loss {
            world.queue.push(loss.at_ms, Happening::Loss);
        }
        world
    }

    fn run(&mut self) -> Result<(), String> {
        let audit_events = if self.scenario.fleet.nodes <= SMALL_NODES { 1 } else { AUDIT_EVENTS };
        while self.jobs_open > 0 && self.step()? {
            self.events += 1;
            if self.events.is_multiple_of(audit_events) {
                self.gateways.iter().try_for_each(|gateway| gateway.core.audit())?;
            }
        }
        self.gateways.iter().try_for_each(|gateway| gateway.core.audit())?;
        match self.scenario.faults_end_ms {
            Some(calm_ms) if self.jobs_open > 0 => Err(format!(
                "{} of {} jobs are not finished, though nothing has gone wrong since {calm_ms} ms",
                self.jobs_open,
                self.jobs.len()
            )),
            _ => Ok(()),
        }
    }

    /// Lets the next thing happen. False if there is none before the horizon.
    fn step(&mut self) -> Result<bool, String> {
        let (queued, time_out) = (self.queue.next_ms(), self.asks.next_ms());
        let Some(next_ms) = queued.into_iter().chain(time_out).min() else { return Ok(false) };
        if next_ms > self.scenario.horizon_ms {
            self.now_ms = self.scenario.horizon_ms;
            return Ok(false);
        }
        self.now_ms = self.now_ms.max(next_ms);
        if queued.is_some_and(|at_ms| time_out.is_none_or(|out_ms| at_ms <= out_ms)) {
            let Some(happening) = self.queue.pop() else { return Ok(false) };
            self.happen(happening)?;
        } else if let Some(ask) = self.asks.time_out() {
            self.answer(&ask, None)?;
        }
        Ok(true)
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Birth { node } => self.birth(node),
            Happening::Leave { node, life, back_ms, is_noticed } => self.leave(node, life, back_ms, is_noticed),
            Happening::Loss => self.lose_many(),
            Happening::NodeTurn { node, stamp } => self.node_turn(node, stamp),
            Happening::GatewayTurn { gateway, stamp } => self.gateway_turn(gateway, stamp),
            Happening::LinkTurn { job, way, stamp } => self.link_turn(job, way, stamp),
            Happening::Asked { node, gateway, ask, request } => self.asked(node, gateway, ask, request),
            Happening::Answered { ask, response } => match self.asks.end(ask) {
                Some(ask) => self.answer(&ask, response),
                None => Ok(()),
            },
            Happening::Cancelled { node, life, gateway, lease } => self.cancelled(node, life, gateway, lease),
            Happening::Noticed { node, gateway } => self.noticed(node, gateway),
            Happening::Gone { gateway, node } => {
                self.tell_gateway(gateway, requester::Input::Gone { node: node_id(node) })
            }
            Happening::Submit { job } => self.submit(job),
            Happening::Surveyed { job, sizes } => self.surveyed(job, &sizes),
            Happening::Cut { job, index } => self.cut(job, index),
            Happening::FetchBegins { node, stamp } => self.fetch_begins(node, stamp),
            Happening::FetchEnds { node, stamp, is_had } => self.fetch_ends(node, stamp, is_had),
            Happening::WorkEnds { node, stamp } => self.work_ends(node, stamp),
            Happening::Reckoned { node, stamp, remaining_ms } => self.reckoned(node, stamp, remaining_ms),
            Happening::CollectBegins { collect } => self.collect_begins(collect),
            Happening::CollectEnds { collect } => self.collect_ends(collect),
            Happening::CollectFails { collect } => self.collect_fails(collect),
            Happening::Checked { collect } => self.checked(collect),
            Happening::Assembled { job } => self.assembled(job),
            Happening::Challenged { gateway, id } => self.challenged(gateway, id),
            Happening::LookedInto { gateway, node, score, is_told } => self.looked_into(gateway, node, &score, is_told),
        }
    }

    /// Whether faults have ended.
    fn is_calm(&self) -> bool {
        self.scenario.faults_end_ms.is_some_and(|end_ms| self.now_ms >= end_ms)
    }

    fn later(&mut self, delay_ms: u64, happening: Happening) {
        self.queue.push(self.now_ms.saturating_add(delay_ms), happening);
    }

    fn record(mut self) -> Run {
        for (number, job) in (0..).zip(&self.jobs) {
            self.book.moved(number, job.up.moved_bytes(), job.down.moved_bytes());
        }
        let bound = bound(self.scenario, &self.fleet);
        let (jobs, attempts) = self.book.close(self.now_ms);
        Run {
            scenario: self.scenario.name.clone(),
            policy: self.scenario.policy.clone(),
            seed: self.seed,
            log_hash: self.log.finish(),
            events: self.events,
            end_ms: self.now_ms,
            nodes: self.scenario.fleet.nodes,
            jobs,
            attempts,
            bound,
            scoring: self.scenario.challenges.then_some(self.challenges.figures),
        }
    }
}

impl Node {
    fn new(number: u32, traits: &Traits) -> Self {
        Self {
            core: Prover::new(node_id(number), traits.capabilities()),
            life: 0,
            is_up: false,
            is_lost: false,
            alarm: Alarm::default(),
            bid: None,
            is_idle: false,
            noticed: 0,
            notices_coming: 0,
            connections: 0,
            messages: 0,
            tasks: Vec::new(),
            begun: 0,
            taken: std::collections::VecDeque::new(),
        }
    }
}

impl Gateway {
    fn new(number: u32, policy: Policy, scenario: &Scenario) -> Self {
        let holder = Holder { node: gateway_id(number), addresses: Vec::new() };
        Self {
            core: Requester::new(policy, holder.clone(), ZKVM.to_owned(), Binder::new([0; 32], 0)),
            alarm: Alarm::default(),
            holder,
            checks: vec![0; scenario.gateways.checks_at_once as usize],
            announced: BTreeMap::new(),
            commands: Vec::new(),
        }
    }
}

/// Every job of a world, in the order of submission. They go to the gateways in turn.
fn jobs(scenario: &Scenario, seed: u64) -> Vec<Job<'_>> {
    let mut arrivals: Vec<(u64, &Load)> = Vec::new();
    for (number, load) in (0_u64..).zip(&scenario.jobs) {
        let mut at_ms = load.first_ms;
        for index in 0..load.count {
            at_ms = at_ms.saturating_add(match load.arrival {
                Arrival::AtOnce => 0,
                Arrival::Every if index == 0 => 0,
                Arrival::Every => load.every_ms,
                Arrival::Poisson => {
                    let draw = &mut Draw::new(seed, About::Arrival, &[number, u64::from(index)]);
                    draw.exponential(load.every_ms as f64) as u64
                }
            });
            arrivals.push((at_ms, load));
        }
    }
    arrivals.sort_by_key(|(at_ms, _)| *at_ms);
    let (up, down) = (scenario.links.client_up_mbit_s, scenario.links.client_down_mbit_s);
    (0_u32..)
        .zip(arrivals)
        .map(|(number, (at_ms, load))| Job {
            load,
            po2: load.po2,
            segments: load.segments,
            gateway: number % scenario.gateways.count,
            at_ms,
            is_over: false,
            up: Link::new(bytes_per_ms(up)),
            down: Link::new(bytes_per_ms(down)),
            up_alarm: Alarm::default(),
            down_alarm: Alarm::default(),
        })
        .collect()
}

/// The id of a job: its number, then nothing.
fn job_id(number: u32) -> JobId {
    let mut bytes = [0; JobId::LEN];
    bytes.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    JobId(bytes)
}

/// The number of the job with this id.
fn job_number(id: &JobId) -> u32 {
    let [a, b, c, d, ..] = id.0;
    u32::from_be_bytes([a, b, c, d])
}
