//! A recorder around the prover: every command must be taken by the test, or it fails when the node is cleared.

use std::collections::VecDeque;

use manyhands_core::prover::{Command, Input, Tag};
use manyhands_core::{Prover, Time};
use manyhands_proto::message::{Bid, Capabilities, FailReason, Lease, Request, Response, Stage};
use manyhands_proto::{Binding, BlobRef, LeaseId, NodeId, Nonce, Seed, Unit};

use crate::fake::{JOB, able, blob, holder, node, po2};

pub const GATEWAY: u8 = 0xee;

pub struct Node {
    pub core: Prover,
    pub now: Time,
    commands: VecDeque<Command>,
}

impl Node {
    /// A node that has greeted its configured gateway and waits for the answer to its bid, whose tag comes with it.
    pub fn bidding() -> (Self, Tag) {
        Self::bidding_as(able())
    }

    pub fn bidding_as(capabilities: Capabilities) -> (Self, Tag) {
        let mut node = Self { core: Prover::new(me(), capabilities), now: Time(1_000), commands: VecDeque::new() };
        node.learn(GATEWAY, true);
        node.greets();
        let (tag, _) = node.bids(GATEWAY);
        (node, tag)
    }

    /// A node that has just been given `lease`.
    pub fn leased() -> (Self, LeaseId) {
        let (mut node, tag) = Self::bidding();
        node.answer(tag, Some(Response::Lease(lease(0, 1))));
        let lease = node.fetches();
        node.is_clear();
        (node, lease)
    }

    /// A node that has made a receipt and says so; the tag is of that question.
    pub fn offering() -> (Self, LeaseId, Tag) {
        let (mut node, lease) = Self::leased();
        node.send(Input::Fetched { lease, result: Ok(()) });
        assert_eq!(node.works(), lease);
        node.send(Input::Made { lease, result: Ok((blob(80), 20_000)) });
        let tag = node.hands_over(lease);
        (node, lease, tag)
    }

    /// Fetches, works and hands over what it has been leased.
    pub fn ends(&mut self, lease: LeaseId) {
        self.send(Input::Fetched { lease, result: Ok(()) });
        assert_eq!(self.works(), lease);
        self.send(Input::Made { lease, result: Ok((blob(80), 20_000)) });
        let done = self.hands_over(lease);
        self.answer(done, Some(Response::Ok));
        self.discards();
    }

    pub fn learn(&mut self, gateway: u8, configured: bool) {
        self.send(Input::Gateway { holder: holder(node(gateway)), configured });
    }

    pub fn send(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.drain();
    }

    pub fn answer(&mut self, tag: Tag, response: Option<Response>) {
        self.send(Input::Answered { tag, response });
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
        self.commands.extend(std::iter::from_fn(|| self.core.poll_command()));
    }

    fn take<T>(&mut self, wanted: impl Fn(&Command) -> Option<T>) -> Option<T> {
        let position = self.commands.iter().position(|command| wanted(command).is_some())?;
        self.commands.remove(position).and_then(|command| wanted(&command))
    }

    fn must<T>(&mut self, what: &str, wanted: impl Fn(&Command) -> Option<T>) -> T {
        self.take(wanted).unwrap_or_else(|| panic!("{what} was expected; there is {:?}", self.commands))
    }

    pub fn greets(&mut self) -> Tag {
        self.must("a greeting", |command| match command {
            Command::Ask { request: Request::Hello(_), tag, .. } => Some(*tag),
            _ => None,
        })
    }

    pub fn bids(&mut self, gateway: u8) -> (Tag, Bid) {
        self.must("a bid", |command| match command {
            Command::Ask { to, request: Request::Bid(bid), tag } if to.node == node(gateway) => {
                Some((*tag, bid.clone()))
            }
            _ => None,
        })
    }

    /// A bid to whichever gateway, if there is one.
    pub fn any_bid(&mut self) -> Option<(Tag, NodeId)> {
        self.take(|command| match command {
            Command::Ask { to, request: Request::Bid(_), tag } => Some((*tag, to.node)),
            _ => None,
        })
    }

    /// Where the next bid is dialled.
    pub fn next_dial(&mut self) -> Vec<String> {
        self.must("a bid", |command| match command {
            Command::Ask { to, request: Request::Bid(_), .. } => Some(to.addresses.clone()),
            _ => None,
        })
    }

    pub fn beats(&mut self) -> (Tag, LeaseId, Stage) {
        self.must("a heartbeat", |command| match command {
            Command::Ask { request: Request::Heartbeat { lease, stage, .. }, tag, .. } => Some((*tag, *lease, *stage)),
            _ => None,
        })
    }

    /// A heartbeat's lease and how long the work still takes, by its word.
    pub fn beats_saying(&mut self) -> (LeaseId, Option<u64>) {
        self.must("a heartbeat", |command| match command {
            Command::Ask { request: Request::Heartbeat { lease, remaining_ms, .. }, .. } => {
                Some((*lease, *remaining_ms))
            }
            _ => None,
        })
    }

    pub fn hands_over(&mut self, lease: LeaseId) -> Tag {
        self.must("a receipt", |command| match command {
            Command::Ask { request: Request::Done { lease: done, .. }, tag, .. } if *done == lease => Some(*tag),
            _ => None,
        })
    }

    pub fn gives_back(&mut self) -> (Tag, LeaseId, FailReason) {
        self.must("a lease given back", |command| match command {
            Command::Ask { request: Request::Fail { lease, reason }, tag, .. } => Some((*tag, *lease, reason.clone())),
            _ => None,
        })
    }

    pub fn fetches(&mut self) -> LeaseId {
        self.must("a fetch", |command| if let Command::Fetch { lease } = command { Some(lease.id) } else { None })
    }

    pub fn works(&mut self) -> LeaseId {
        self.must("work", |command| if let Command::Work { lease } = command { Some(lease.id) } else { None })
    }

    pub fn stops(&mut self) -> LeaseId {
        self.must("a stop", |command| if let Command::Stop { lease } = command { Some(*lease) } else { None })
    }

    pub fn discards(&mut self) -> (LeaseId, BlobRef, bool) {
        self.must("a receipt thrown away", |command| match command {
            Command::Discard { lease, receipt, taken, .. } => Some((*lease, *receipt, *taken)),
            _ => None,
        })
    }

    pub fn is_clear(&self) {
        assert!(self.commands.is_empty(), "nobody expected {:?}", self.commands);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.is_clear();
        }
    }
}

/// A lease of a segment at 2^16, with a deadline of 100 s and a heartbeat each 5 s.
pub fn lease(index: u32, attempt: u32) -> Box<Lease> {
    let id = LeaseId { job: JOB, unit: Unit::Prove(index), attempt };
    Box::new(Lease {
        key: None,
        id,
        inputs: vec![blob(1)],
        po2: po2(16),
        nonce: Nonce::bound(self::me(), index, Binding { seed: Seed(JOB.0), epoch: attempt }),
        deadline_ms: 100_000,
        heartbeat_ms: 5_000,
        holders: vec![holder(node(GATEWAY))],
    })
}

fn me() -> NodeId {
    node(1)
}
