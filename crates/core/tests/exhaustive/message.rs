//! What is on its way between machines, and the choices that the network has. Must never change a message.

use std::collections::BTreeMap;

use manyhands_core::requester;
use manyhands_proto::message::{Request, Response};
use manyhands_proto::{LeaseId, NodeId};

use crate::ids::mark;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Ask { node: usize, gateway: usize, tag: u64, request: Request },
    Answer { node: usize, tag: u64, response: Option<Response> },
    Cancel { gateway: usize, node: usize, lease: LeaseId },
}

/// What a gateway collected: which gateway, from whom, under which lease, and the receipt's reference.
pub type Collected = (usize, NodeId, LeaseId, [u8; 32]);

/// One choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Deliver(Message),
    Lose(Message),
    Double(Message),
    /// A question whose answer was lost is given up.
    GiveUp(usize, u64),
    /// A worker is done.
    Finish(usize, LeaseId),
    /// The verifier is done.
    Check(Collected),
    /// Time goes on, longer than a gateway bears silence, and nothing arrives.
    Pause,
}

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    Bid,
    Result,
    Heartbeat,
    Other,
}

impl Topic {
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Bid(_) => Self::Bid,
            Request::Done { .. } => Self::Result,
            Request::Heartbeat { .. } => Self::Heartbeat,
            _ => Self::Other,
        }
    }
}

impl Message {
    /// Whether it belongs to this question.
    pub fn is_of(&self, of_node: usize, of_tag: u64) -> bool {
        match self {
            Self::Ask { node, tag, .. } | Self::Answer { node, tag, .. } => (*node, *tag) == (of_node, of_tag),
            Self::Cancel { .. } => false,
        }
    }

    /// The lease that it brings.
    pub fn brings(&self) -> Option<LeaseId> {
        match self {
            Self::Answer { response: Some(Response::Lease(lease)), .. } => Some(lease.id),
            _ => None,
        }
    }

    /// The lease whose heartbeat it is.
    pub fn heartbeat(&self) -> Option<(usize, u64, LeaseId)> {
        match self {
            Self::Ask { node, tag, request: Request::Heartbeat { lease, .. }, .. } => Some((*node, *tag, *lease)),
            _ => None,
        }
    }
}

/// A node's question, as its gateway's machine takes it.
pub fn input<P: manyhands_core::ProofSystem>(
    node: NodeId,
    request: Request,
    ask: requester::AskId,
) -> requester::Input<P> {
    use requester::Input;
    let from = manyhands_core::Origin::default();
    match request {
        Request::Hello(capabilities) => Input::Hello { node, from, capabilities, ask },
        Request::Bid(bid) => Input::Bid { node, from, bid, shown: None, ask },
        Request::Heartbeat { lease, stage, remaining_ms } => Input::Heartbeat { node, lease, stage, remaining_ms, ask },
        Request::Done { lease, receipt, elapsed_ms } => Input::Done { node, lease, receipt, elapsed_ms, ask },
        Request::Fail { lease, reason } => Input::Fail { node, lease, reason, ask },
        Request::Cancel(_) => panic!("a node does not cancel"),
    }
}

/// Everything that is on its way, in no order: each message once, with the number of its copies.
#[derive(Debug, Clone, Default)]
pub struct InFlight(BTreeMap<u64, (Message, u8)>);

impl InFlight {
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.0.values().map(|(message, _)| message)
    }

    /// What equal sets of messages have in common.
    pub fn marks(&self) -> Vec<(u64, u8)> {
        self.0.iter().map(|(mark, (_, copies))| (*mark, *copies)).collect()
    }

    pub fn is_single(&self, message: &Message) -> bool {
        self.0.get(&mark(message)).is_some_and(|(_, copies)| *copies == 1)
    }

    pub fn add(&mut self, message: Message) {
        self.0.entry(mark(&message)).or_insert((message, 0)).1 += 1;
    }

    pub fn remove(&mut self, message: &Message) {
        let key = mark(message);
        if let Some((_, copies)) = self.0.get_mut(&key) {
            *copies -= 1;
            if *copies == 0 {
                self.0.remove(&key);
            }
        }
    }

    /// Takes out all that belongs to a question.
    pub fn take(&mut self, node: usize, tag: u64) -> Vec<Message> {
        let of_question: Vec<Message> = self.iter().filter(|message| message.is_of(node, tag)).cloned().collect();
        of_question.iter().for_each(|message| self.remove(message));
        of_question
    }
}
