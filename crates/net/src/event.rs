//! What the network task reports.

use std::net::IpAddr;
use std::time::Duration;

use manyhands_proto::message::{JobNotice, Request, Response};
use manyhands_proto::{NodeId, SignedScore};
use tokio::sync::oneshot;

use crate::{BlobStream, Offence};

/// Something happened. See the crate's documentation for the rule on draining these.
#[derive(Debug)]
pub enum NetEvent {
    /// The node can be reached at this address of its own.
    Listening(String),
    /// A node is connected; it was not before.
    Connected {
        /// Who.
        node: NodeId,
        /// Where it was reached, if we dialled; empty if it did.
        addresses: Vec<String>,
    },
    /// A connected node has said what it is and where it listens. Comes shortly after `Connected`, and again when it changes.
    Identified {
        /// Who.
        node: NodeId,
        /// What it says it is; printable characters only, at most 128.
        agent: String,
        /// Where it says it listens: at most four, and loopback only from this machine.
        addresses: Vec<String>,
    },
    /// The last connection to a node is gone.
    Disconnected {
        /// Who.
        node: NodeId,
    },
    /// A node asks. Answer with [`Reply::send`]; dropping the reply closes the stream, which the node sees as `Closed`.
    Request {
        /// Who.
        from: NodeId,
        /// The address that its connection comes from; none if it is on this machine or comes through a relay.
        ip: Option<IpAddr>,
        /// What; already checked against the protocol's limits.
        request: Request,
        /// Where the answer goes.
        reply: Reply,
    },
    /// A gateway announced a job. Its signature was checked and belongs to `notice.gateway.node`.
    Notice {
        /// The notice.
        notice: JobNotice,
    },
    /// A verifier said how fast a node is. The message is signed by `signed.score.verifier`; the score's own signature is not checked.
    Score {
        /// The score.
        signed: Box<SignedScore>,
    },
    /// A node opened a blob stream.
    BlobStream {
        /// Who.
        from: NodeId,
        /// The stream.
        stream: BlobStream,
    },
    /// A node broke the protocol. It is still connected.
    Misbehaved {
        /// Who.
        node: NodeId,
        /// How.
        what: Offence,
    },
}

/// The right to answer one request, once. It may be kept for as long as the asker waits (60 s).
#[derive(Debug)]
pub struct Reply {
    answer: oneshot::Sender<Response>,
}

impl Reply {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Response>) {
        let (answer, answered) = oneshot::channel();
        (Self { answer }, answered)
    }

    /// Answers. Never blocks; an answer to a peer that has left is dropped.
    pub fn send(self, response: Response) {
        let _ = self.answer.send(response);
    }
}

/// A connected node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who.
    pub node: NodeId,
    /// Where it can be dialled, as far as known; at most four, without `/p2p`.
    pub addresses: Vec<String>,
    /// What it says it is; empty until it has said so.
    pub agent: String,
    /// Round-trip time of the last ping.
    pub rtt: Option<Duration>,
}
