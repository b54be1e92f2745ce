//! The real machines in this world: each is fed one input at a time and does at once what needs no choice. What it sees is noted in
//! the world's own account, and judged there. Has no rules of the protocol itself.

use std::fmt::Debug;
use std::sync::Arc;

use manyhands_core::requester::{self, AskId, Event};
use manyhands_core::{Prover, Requester, Time, prover};
use manyhands_proto::LeaseId;
use manyhands_proto::message::{Request, Response};

use crate::fake::Fake;
use crate::ids::{gateway_of, mark, node_of, receipt};
use crate::message::{Message, Topic};
use crate::world::{Breach, Sabotage, World};

/// A machine, and a hash over everything it holds.
#[derive(Debug, Clone)]
pub struct Marked<M> {
    pub core: Arc<M>,
    pub mark: u64,
}

impl<M: Clone + Debug> Marked<M> {
    pub fn new(core: M) -> Self {
        let mark = mark(&core);
        Self { core: Arc::new(core), mark }
    }

    fn change<R>(&mut self, change: impl FnOnce(&mut M) -> R) -> R {
        change(Arc::make_mut(&mut self.core))
    }

    fn seal(&mut self) {
        self.mark = mark(&*self.core);
    }
}

impl World {
    pub fn feed_gateway(&mut self, which: usize, input: requester::Input<Fake>) {
        let now = self.now;
        self.gateways[which].change(|core| core.handle(now, input));
        self.drain_gateway(which);
    }

    pub fn feed_node(&mut self, which: usize, input: prover::Input) {
        let now = self.now;
        self.nodes[which].change(|core| core.handle(now, input));
        self.drain_node(which);
    }

    /// When a machine wants to be woken next.
    pub fn next_at(&self) -> Option<Time> {
        let gateways = self.gateways.iter().filter_map(|gateway| gateway.core.poll_timeout());
        let nodes = self.nodes.iter().filter_map(|node| node.core.poll_timeout());
        gateways.chain(nodes).map(|(at, _)| at).min()
    }

    /// Time goes on, with every wake-up at its moment.
    pub fn pass(&mut self, end: Time) {
        while let Some(at) = self.next_at().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let now = self.now;
            for which in 0..self.gateways.len() {
                if self.gateways[which].core.poll_timeout().is_some_and(|(at, _)| at <= now) {
                    self.gateways[which].change(|core| core.handle_timeout(now));
                    self.drain_gateway(which);
                }
            }
            for which in 0..self.nodes.len() {
                if self.nodes[which].core.poll_timeout().is_some_and(|(at, _)| at <= now) {
                    self.nodes[which].change(|core| core.handle_timeout(now));
                    self.drain_node(which);
                }
            }
        }
        self.now = end;
    }

    fn drain_gateway(&mut self, which: usize) {
        while let Some(event) = self.gateways[which].change(Requester::poll_event) {
            self.note(event);
        }
        while let Some(command) = self.gateways[which].change(Requester::poll_command) {
            self.obey_gateway(which, command);
        }
        if self.gateways[which].core.audit().is_err() {
            self.broken(Breach::BooksDiffer);
        }
        self.gateways[which].seal();
    }

    fn obey_gateway(&mut self, which: usize, command: requester::Command<Fake>) {
        match command {
            requester::Command::Challenge { .. } | requester::Command::ChallengeOver { .. } => unreachable!("not here"),
            requester::Command::Survey { .. }
            | requester::Command::Execute { .. }
            | requester::Command::Announce { .. } => {}
            requester::Command::Answer { ask, response } => self.reply(ask, Some(response)),
            requester::Command::Score { ask, .. } => {
                ask.into_iter().for_each(|ask| self.reply(ask, Some(Response::Ok)));
            }
            requester::Command::Drop { ask } => self.reply(ask, None),
            requester::Command::Cancel { node, lease } => {
                self.in_flight.add(Message::Cancel { gateway: which, node: node_of(node), lease });
            }
            requester::Command::Collect { node, lease, receipt, .. } => {
                assert!(self.checking.insert((which, node, lease, receipt.reference.0)), "{lease} is collected twice");
            }
            requester::Command::Assemble { job, .. } => {
                self.feed_gateway(which, requester::Input::Assembled { job, result: Ok(()) });
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Leased { lease, node, .. } => {
                assert!(self.granted.insert(lease, node).is_none(), "{lease} is given twice");
            }
            Event::Verified { result } => {
                let lease = result.lease;
                if self.granted.get(&lease) != Some(&result.node) || result.receipt != receipt(result.node, lease) {
                    self.broken(Breach::AcceptedUnderAnothersLease);
                }
                if self.accepted.insert((lease.job, lease.unit), lease).is_some() {
                    self.broken(Breach::AcceptedTwice);
                }
            }
            _ => {}
        }
    }

    fn reply(&mut self, ask: AskId, response: Option<Response>) {
        let (node, tag) = self.asks.remove(&ask).expect("each question is answered once");
        let is_muted = self.bounds.sabotage == Sabotage::Mute && matches!(response, Some(Response::Lease(_)));
        if !is_muted {
            self.in_flight.add(Message::Answer { node, tag, response });
        }
    }

    fn drain_node(&mut self, which: usize) {
        while let Some(command) = self.nodes[which].change(Prover::poll_command) {
            match command {
                prover::Command::Ask { to, request, tag } => {
                    self.open.insert((which, tag.0), Topic::of(&request));
                    let is_greeting = matches!(request, Request::Hello(_));
                    self.in_flight.add(Message::Ask { node: which, gateway: gateway_of(to.node), tag: tag.0, request });
                    if is_greeting {
                        self.greet(which, tag.0);
                    }
                }
                prover::Command::Fetch { lease } => {
                    self.feed_node(which, prover::Input::Fetched { lease: lease.id, result: Ok(()) });
                }
                prover::Command::Work { lease } => self.begin_work(which, lease.id),
                prover::Command::Stop { lease } => {
                    self.working.remove(&(which, lease));
                }
                prover::Command::Discard { .. } => {}
            }
        }
        self.nodes[which].seal();
    }

    /// A greeting says nothing that the bid behind it does not, so it and its answer arrive at once.
    fn greet(&mut self, node: usize, tag: u64) {
        for _ in ["there", "back"] {
            self.in_flight.take(node, tag).into_iter().for_each(|message| self.deliver(message));
        }
    }

    fn begin_work(&mut self, which: usize, lease: LeaseId) {
        self.working.insert((which, lease));
        if self.working.iter().filter(|(node, _)| *node == which).count() > 1 {
            self.broken(Breach::TwoLeasesInOneSlot);
        }
    }
}
