//! The handle that the rest of a node holds, and the commands it sends to the task.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use manyhands_proto::codec::Checked as _;
use manyhands_proto::limits::NOTICE_BYTES_MAX;
use manyhands_proto::message::{Holder, JobNotice, Request, Response};
use manyhands_proto::{NodeId, SignedScore, encode};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::address::{parse_dialable, peer_of};
use crate::codec::check_sendable;
use crate::config::COMMANDS_MAX;
use crate::gossip::Topic;
use crate::runner::Runner;
use crate::{BlobStream, Identity, NetConfig, NetError, NetEvent, PeerInfo, RequestError, StreamError};

/// How much longer than its own timeout the task may take before the handle gives up on it: only when events are not drained.
const GRACE: Duration = Duration::from_secs(5);
/// How long a stream may take to open; libp2p's own bound for the negotiation is 10 s.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// What the task is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    Addresses(oneshot::Sender<Vec<String>>),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    Dial { peer: Option<PeerId>, addresses: Vec<Multiaddr>, answer: oneshot::Sender<Result<NodeId, NetError>> },
    Request { to: PeerId, request: Request, answer: oneshot::Sender<Result<Response, RequestError>> },
    Publish { topic: Topic, message: Vec<u8>, answer: oneshot::Sender<Result<(), NetError>> },
    OpenBlob { to: PeerId, answer: oneshot::Sender<Result<BlobStream, StreamError>> },
    Disconnect { peer: PeerId, answer: oneshot::Sender<()> },
    Block { peer: PeerId, blocked: bool, answer: oneshot::Sender<()> },
    Shutdown(oneshot::Sender<()>),
}

/// A handle to the network task. Clones are handles to the same task.
#[derive(Debug, Clone)]
pub struct Net {
    node: NodeId,
    commands: mpsc::Sender<Command>,
    dial_timeout: Duration,
    request_timeout: Duration,
}

/// Starts the network task on the current tokio runtime, once it listens on every address of `config.listen`.
///
/// # Errors
/// [`NetError::Address`], [`NetError::PortInUse`], [`NetError::Listen`] and [`NetError::Setup`].
pub async fn start(identity: Identity, config: NetConfig) -> Result<(Net, mpsc::Receiver<NetEvent>), NetError> {
    let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
    let (events, happened) = mpsc::channel(config.limits.events_max.max(1));
    let net = Net {
        node: identity.node_id(),
        commands,
        dial_timeout: config.limits.dial_timeout,
        request_timeout: config.limits.request_timeout,
    };
    let mut runner = Runner::new(&identity, &config, commanded, events)?;
    runner.listen(&config).await?;
    tokio::spawn(runner.run());
    Ok((net, happened))
}

impl Net {
    /// This node.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// Where others can dial this node: announced and listened on, best first, at most four, without `/p2p`, and loopback only if
    /// there is nothing else. Empty once the task has ended.
    pub async fn addresses(&self) -> Vec<String> {
        self.ask(Command::Addresses).await.unwrap_or_default()
    }

    /// The connected nodes. Empty once the task has ended.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.ask(Command::Peers).await.unwrap_or_default()
    }

    /// Connects to a node, unless it is connected. Addresses that cannot be dialled are passed over.
    ///
    /// # Errors
    /// [`NetError::NoAddress`], [`NetError::Dial`], [`NetError::TooManyDials`] and [`NetError::Stopped`].
    pub async fn dial(&self, holder: &Holder) -> Result<(), NetError> {
        let peer = peer_of(holder.node);
        let mut addresses = Vec::new();
        for text in &holder.addresses {
            match parse_dialable(text) {
                Ok((address, named)) if named.is_none() || named == peer => addresses.push(address),
                _ => tracing::debug!(node = %holder.node, address = text, "passing over an address"),
            }
        }
        self.connect(peer, addresses, holder.node.short()).await.map(|_| ())
    }

    /// Connects to whoever answers at a multiaddress, or to the peer in its `/p2p` part, unless it is connected.
    ///
    /// # Errors
    /// [`NetError::Address`], [`NetError::Dial`], [`NetError::TooManyDials`] and [`NetError::Stopped`].
    pub async fn connect_to(&self, address: &str) -> Result<NodeId, NetError> {
        let (parsed, peer) = parse_dialable(address)?;
        self.connect(peer, vec![parsed], address.to_owned()).await
    }

    async fn connect(&self, peer: Option<PeerId>, addresses: Vec<Multiaddr>, to: String) -> Result<NodeId, NetError> {
        let dialled = self.ask(|answer| Command::Dial { peer, addresses, answer });
        match timeout(self.dial_timeout + GRACE, dialled).await {
            Ok(outcome) => outcome.unwrap_or(Err(NetError::Stopped)),
            Err(elapsed) => {
                Err(NetError::Dial { to, why: crate::DialFailure::Timeout, source: std::sync::Arc::new(elapsed) })
            }
        }
    }

    /// Asks a connected node and waits for its answer.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(&self, to: NodeId, request: Request) -> Result<Response, RequestError> {
        check_sendable(&request).map_err(|source| RequestError::Unsendable { source })?;
        let to = peer_of(to).ok_or(RequestError::NotConnected)?;
        let asked = self.ask(|answer| Command::Request { to, request, answer });
        match timeout(self.request_timeout + GRACE, asked).await {
            Ok(outcome) => outcome.unwrap_or(Err(RequestError::Stopped)),
            Err(_) => Err(RequestError::Timeout),
        }
    }

    /// Announces a job of this node's to everybody. A notice that was published within the last 30 s is not sent again.
    ///
    /// # Errors
    /// [`NetError::NoticeTooLong`] and [`NetError::NoticeInvalid`] for a notice that others would refuse,
    /// [`NetError::NobodyListens`] when there is nobody to tell, [`NetError::Gossip`] and [`NetError::Stopped`].
    pub async fn publish(&self, notice: &JobNotice) -> Result<(), NetError> {
        if notice.gateway.node != self.node || notice.check().is_err() {
            return Err(NetError::NoticeInvalid);
        }
        let notice = encode(notice);
        if notice.len() > NOTICE_BYTES_MAX {
            return Err(NetError::NoticeTooLong { got_bytes: notice.len(), limit_bytes: NOTICE_BYTES_MAX });
        }
        self.gossip(Topic::Notices, notice).await
    }

    /// Tells everybody this node's word on another's speed.
    ///
    /// # Errors
    /// [`NetError::NoticeInvalid`] for a score that is not ours or that others would refuse, [`NetError::NobodyListens`] when there is nobody
    /// to tell, [`NetError::Gossip`] and [`NetError::Stopped`].
    pub async fn publish_score(&self, signed: &SignedScore) -> Result<(), NetError> {
        if signed.score.verifier != self.node || signed.check().is_err() {
            return Err(NetError::NoticeInvalid);
        }
        self.gossip(Topic::Scores, encode(signed)).await
    }

    async fn gossip(&self, topic: Topic, message: Vec<u8>) -> Result<(), NetError> {
        self.ask(|answer| Command::Publish { topic, message, answer }).await.unwrap_or(Err(NetError::Stopped))
    }

    /// Opens a stream for blobs to a connected node.
    ///
    /// # Errors
    /// [`StreamError`]. A node that has too many streams open resets this one: the first read or write then fails.
    pub async fn open_blob_stream(&self, to: NodeId) -> Result<BlobStream, StreamError> {
        let to = peer_of(to).ok_or(StreamError::NotConnected)?;
        let opened = self.ask(|answer| Command::OpenBlob { to, answer });
        match timeout(OPEN_TIMEOUT, opened).await {
            Ok(outcome) => outcome.unwrap_or(Err(StreamError::Stopped)),
            Err(_) => Err(StreamError::Timeout),
        }
    }

    /// Closes all connections to a node. It may come back.
    pub async fn disconnect(&self, node: NodeId) {
        if let Some(peer) = peer_of(node) {
            let _ = self.ask(|answer| Command::Disconnect { peer, answer }).await;
        }
    }

    /// Closes all connections to a node and refuses new ones, until [`Net::unblock`] or until some thousand others are blocked.
    pub async fn block(&self, node: NodeId) {
        if let Some(peer) = peer_of(node) {
            let _ = self.ask(|answer| Command::Block { peer, blocked: true, answer }).await;
        }
    }

    /// Lets a blocked node connect again.
    pub async fn unblock(&self, node: NodeId) {
        if let Some(peer) = peer_of(node) {
            let _ = self.ask(|answer| Command::Block { peer, blocked: false, answer }).await;
        }
    }

    /// Closes all connections and ends the task; returns when it has ended.
    pub async fn shutdown(&self) {
        let _ = self.ask(Command::Shutdown).await;
    }

    /// Sends a command and waits for its answer; `None` once the task has ended.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.ok()?;
        answered.await.ok()
    }
}
