//! What can go wrong on the wires, and whose fault it is.

use std::fmt;
use std::sync::Arc;

use manyhands_proto::message::Blame;
use manyhands_proto::{DecodeError, NodeId};

use crate::FrameError;

/// The error underneath, for logs.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why the network cannot be started or used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NetError {
    /// A text that is no address for us.
    #[error(
        "{text:?} is not an address that can be used; write it like /ip4/192.0.2.7/tcp/4001 or /dns4/host.example/udp/4001/quic-v1"
    )]
    Address {
        /// The text, cut to 256 characters.
        text: String,
        /// What the reader of addresses says.
        #[source]
        source: Option<Cause>,
    },
    /// The port belongs to another program.
    #[error("cannot listen on {address}: another program uses this port; stop that program or choose another port")]
    PortInUse {
        /// The address.
        address: String,
    },
    /// Listening fails for another reason.
    #[error(
        "cannot listen on {address}: {source}; check that the address belongs to this machine and that the port is allowed"
    )]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        #[source]
        source: Cause,
    },
    /// Something that the network needs cannot be set up.
    #[error("cannot set up {what}: {source}")]
    Setup {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Nobody could be reached.
    #[error("cannot connect to {to}: {why}")]
    Dial {
        /// The address or the node.
        to: String,
        /// What happened.
        why: DialFailure,
        /// What libp2p says, in full.
        #[source]
        source: Cause,
    },
    /// None of a node's addresses can be dialled.
    #[error("cannot connect to node {}: it states no address that can be dialled", .node.short())]
    NoAddress {
        /// The node.
        node: NodeId,
    },
    /// Too many dials wait for their outcome.
    #[error("too many dials at the same time ({limit}); wait for some to end")]
    TooManyDials {
        /// The bound.
        limit: usize,
    },
    /// A notice of ours is larger than others accept.
    #[error("a job notice of {got_bytes} bytes is over the limit of {limit_bytes}; state fewer addresses")]
    NoticeTooLong {
        /// Its size.
        got_bytes: usize,
        /// The protocol's limit.
        limit_bytes: usize,
    },
    /// A notice of ours breaks the protocol: it is outside its limits, or names another gateway.
    #[error(
        "a job notice or score cannot be published: it is outside the protocol's limits or names another than this node"
    )]
    NoticeInvalid,
    /// No connected peer listens to notices; publish again once there are peers.
    #[error("no connected peer listens to job notices yet")]
    NobodyListens,
    /// The gossip protocol refuses for another reason, such as full queues.
    #[error("a job notice cannot be published now: {source}")]
    Gossip {
        /// Why.
        #[source]
        source: Cause,
    },
    /// The network task has ended.
    #[error("the network has been shut down")]
    Stopped,
}

impl NetError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Dial { .. } | Self::NoAddress { .. } | Self::NobodyListens | Self::Gossip { .. } => Blame::Network,
            Self::Address { .. }
            | Self::PortInUse { .. }
            | Self::Listen { .. }
            | Self::Setup { .. }
            | Self::TooManyDials { .. }
            | Self::NoticeTooLong { .. }
            | Self::NoticeInvalid
            | Self::Stopped => Blame::Us,
        }
    }
}

/// What a failed dial ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialFailure {
    /// Nothing listens at the address.
    Refused,
    /// No answer came in time.
    Timeout,
    /// What answers there does not speak libp2p: a web server, for instance.
    NotLibp2p,
    /// The other side closed the connection during the handshake.
    HandshakeBroken,
    /// Another node answers there than the one asked for.
    WrongNode {
        /// Who answers, if it has a key that nodes have.
        found: Option<NodeId>,
    },
    /// The address is this node's own.
    Ourselves,
    /// One of this node's own connection limits, or its block list, forbids the connection.
    Denied,
    /// Something else; the source says what.
    Other,
}

impl fmt::Display for DialFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("nothing listens there; check the port and that the node runs"),
            Self::Timeout => f.write_str("no answer in time; check the address and firewalls in between"),
            Self::NotLibp2p => f.write_str("what answers there does not speak libp2p; check the port"),
            Self::HandshakeBroken => f.write_str(
                "the other side closed the connection during the handshake; it is full, blocks this node, or does not speak libp2p",
            ),
            Self::WrongNode { found: Some(found) } => {
                write!(f, "node {} answers there; correct the /p2p part of the address", found.short())
            }
            Self::WrongNode { found: None } => f.write_str("a peer answers there that is no node"),
            Self::Ourselves => f.write_str("this is the node's own address"),
            Self::Denied => f.write_str("this node's connection limits or block list forbid it"),
            Self::Other => f.write_str("the network failed"),
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no connection to the peer; dial first.
    #[error("not connected to the peer")]
    NotConnected,
    /// The answer did not come in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The connection or the stream was closed before the answer: the peer left, or chose not to answer.
    #[error("the peer closed the stream without an answer")]
    Closed,
    /// The peer does not speak our control protocol.
    #[error("the peer does not speak this version of the control protocol")]
    Unsupported,
    /// The answer is outside the protocol. It was also reported as [`crate::NetEvent::Misbehaved`]: charge it once.
    #[error("the peer's answer is outside the protocol: {source}")]
    Malformed {
        /// How.
        #[source]
        source: FrameError,
    },
    /// Our own request is outside the protocol and was not sent.
    #[error("the request is outside the protocol and was not sent: {source}")]
    Unsendable {
        /// How.
        #[source]
        source: DecodeError,
    },
    /// Too many of our requests to this peer wait for an answer.
    #[error("too many requests to this peer wait for an answer")]
    Busy,
    /// The peer has too much to answer; ask again later.
    #[error("the peer is busy; ask again later")]
    PeerBusy,
    /// The network task has ended.
    #[error("the network has been shut down")]
    Stopped,
}

impl RequestError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Malformed { .. } => Blame::Peer,
            Self::NotConnected | Self::Timeout | Self::Closed | Self::Unsupported | Self::PeerBusy => Blame::Network,
            Self::Unsendable { .. } | Self::Busy | Self::Stopped => Blame::Us,
        }
    }
}

/// Why a blob stream was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There is no connection to the peer; dial first.
    #[error("not connected to the peer")]
    NotConnected,
    /// The peer did not agree in time.
    #[error("the peer did not open the stream in time")]
    Timeout,
    /// The connection broke meanwhile.
    #[error("the connection to the peer was closed")]
    Closed,
    /// The peer serves no blobs.
    #[error("the peer does not speak this version of the blob protocol")]
    Unsupported,
    /// Too many streams are being opened.
    #[error("too many blob streams are being opened")]
    Busy,
    /// The network task has ended.
    #[error("the network has been shut down")]
    Stopped,
}

impl StreamError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NotConnected | Self::Timeout | Self::Closed | Self::Unsupported => Blame::Network,
            Self::Busy | Self::Stopped => Blame::Us,
        }
    }
}

/// What a peer did that no honest node does. The blame is always [`Blame::Peer`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Offence {
    /// It sent a request outside the protocol.
    #[error("a request outside the protocol: {0}")]
    Request(FrameError),
    /// It sent an answer outside the protocol.
    #[error("an answer outside the protocol: {0}")]
    Answer(FrameError),
    /// It handed on a notice outside the protocol; honest nodes check before they hand on.
    #[error("a job notice outside the protocol: {0}")]
    Notice(DecodeError),
    /// It handed on a score outside the protocol.
    #[error("a score outside the protocol: {0}")]
    Score(DecodeError),
    /// It handed on a notice or a score that speaks for another than its author.
    #[error("a job notice or score in the name of somebody else")]
    ForgedGossip,
}
