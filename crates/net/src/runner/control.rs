//! Requests and answers, counted for each peer in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::time::Instant;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::core::upgrade::NegotiationError;
use libp2p::request_response::{
    Event, InboundFailure, InboundRequestId, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
};
use manyhands_proto::message::{Request, Response};
use tokio::sync::oneshot;

use super::Runner;
use crate::address::node_of;
use crate::codec::{Answer, check_sendable};
use crate::config::PEERS_MAX;
use crate::rate::Buckets;
use crate::{FrameError, NetEvent, NetLimits, Offence, Reply, RequestError};

type Incoming = Result<Request, FrameError>;
type Outcome = Result<Answer, FrameError>;
/// What a [`Reply`] came to: an answer, or nothing if it was dropped.
type Answered = (ResponseChannel<Outcome>, Option<Response>);

/// What is asked and not yet answered.
pub(super) struct Control {
    per_peer_max: usize,
    in_max: usize,
    rate: Buckets<PeerId>,
    asked: BTreeMap<OutboundRequestId, (PeerId, oneshot::Sender<Result<Response, RequestError>>)>,
    asked_of: BTreeMap<PeerId, usize>,
    /// Requests whose streams are open, for each peer.
    asked_by: BTreeMap<PeerId, BTreeSet<InboundRequestId>>,
    /// Replies that somebody in the node holds.
    replies: FuturesUnordered<BoxFuture<'static, Answered>>,
}

impl Control {
    pub(super) fn new(limits: &NetLimits) -> Self {
        Self {
            per_peer_max: limits.requests_per_peer_max,
            in_max: limits.requests_in_max,
            rate: Buckets::new(limits.requests_per_s_max, limits.requests_per_s_max.saturating_mul(2), PEERS_MAX),
            asked: BTreeMap::new(),
            asked_of: BTreeMap::new(),
            asked_by: BTreeMap::new(),
            replies: FuturesUnordered::new(),
        }
    }

    /// The next reply that is sent or dropped; `None` at once while there are none.
    pub(super) fn next_reply(&mut self) -> impl Future<Output = Option<Answered>> + '_ {
        self.replies.next()
    }

    /// Takes a place for an inbound request, if there is one.
    fn admit(&mut self, peer: PeerId, id: InboundRequestId) -> bool {
        let open = self.asked_by.entry(peer).or_default();
        // Twice the peer's own bound: its count falls when our answer arrives, ours only after we have seen it off.
        if open.len() >= self.per_peer_max.saturating_mul(2) || self.replies.len() >= self.in_max {
            return false;
        }
        open.insert(id)
    }

    fn release(&mut self, peer: &PeerId, id: InboundRequestId) {
        if let Some(open) = self.asked_by.get_mut(peer) {
            open.remove(&id);
            if open.is_empty() {
                self.asked_by.remove(peer);
            }
        }
    }

    fn finish(&mut self, id: OutboundRequestId, outcome: Result<Response, RequestError>) {
        let Some((peer, answer)) = self.asked.remove(&id) else { return };
        if let Some(count) = self.asked_of.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.asked_of.remove(&peer);
            }
        }
        let _ = answer.send(outcome);
    }
}

impl Runner {
    /// Sends a request to a connected peer, within the bound.
    pub(super) fn ask_peer(
        &mut self,
        to: PeerId,
        request: Request,
        answer: oneshot::Sender<Result<Response, RequestError>>,
    ) {
        if !self.swarm.is_connected(&to) {
            let _ = answer.send(Err(RequestError::NotConnected));
            return;
        }
        let count = self.control.asked_of.entry(to).or_default();
        if *count >= self.control.per_peer_max {
            let _ = answer.send(Err(RequestError::Busy));
            return;
        }
        *count += 1;
        let id = self.swarm.behaviour_mut().control.send_request(&to, Ok(request));
        self.control.asked.insert(id, (to, answer));
    }

    /// Passes on what the node answered, or nothing.
    pub(super) fn on_reply(&mut self, (channel, response): Answered) {
        // A dropped channel closes the stream without an answer.
        let Some(response) = response else { return };
        match check_sendable(&response) {
            Ok(()) => self.send_answer(channel, Answer::Response(response)),
            Err(error) => tracing::error!(%error, "an answer of our own is outside the protocol and was not sent"),
        }
    }

    fn send_answer(&mut self, channel: ResponseChannel<Outcome>, answer: Answer) {
        if self.swarm.behaviour_mut().control.send_response(channel, Ok(answer)).is_err() {
            tracing::debug!("the asker left before the answer");
        }
    }

    pub(super) fn on_control(&mut self, event: Event<Incoming, Outcome>) {
        match event {
            Event::Message { peer, message: Message::Request { request_id, request, channel }, .. } => {
                self.on_request(peer, request_id, request, channel);
            }
            Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                self.on_answer(peer, request_id, response);
            }
            Event::OutboundFailure { request_id, error, .. } => {
                tracing::debug!(%error, "a request failed");
                self.control.finish(request_id, Err(failure(&error)));
            }
            Event::InboundFailure { peer, request_id, error, .. } => {
                if !matches!(error, InboundFailure::ResponseOmission) {
                    tracing::debug!(%peer, %error, "an answer did not arrive");
                }
                self.control.release(&peer, request_id);
            }
            Event::ResponseSent { peer, request_id, .. } => self.control.release(&peer, request_id),
        }
    }

    fn on_request(&mut self, peer: PeerId, id: InboundRequestId, request: Incoming, channel: ResponseChannel<Outcome>) {
        let Some(from) = node_of(&peer) else { return };
        if !self.control.rate.take(&peer, Instant::now()) {
            tracing::debug!(%peer, "requests come too fast; one is answered with busy");
            return self.send_answer(channel, Answer::Busy);
        }
        let request = match request {
            Ok(request) => request,
            // The stream closes as the channel is dropped.
            Err(error) => return self.accuse(peer, Offence::Request(error)),
        };
        if !self.control.admit(peer, id) {
            tracing::debug!(%peer, "too many requests at once; one is answered with busy");
            return self.send_answer(channel, Answer::Busy);
        }
        let (reply, answered) = Reply::new();
        self.control.replies.push(Box::pin(async move { (channel, answered.await.ok()) }));
        self.outbox.push_back(NetEvent::Request { from, ip: self.peers.ip_of(&peer), request, reply });
    }

    fn on_answer(&mut self, peer: PeerId, id: OutboundRequestId, answer: Outcome) {
        let outcome = match answer {
            Ok(Answer::Response(response)) => Ok(response),
            Ok(Answer::Busy) => Err(RequestError::PeerBusy),
            Err(error) => {
                self.accuse(peer, Offence::Answer(error.clone()));
                Err(RequestError::Malformed { source: error })
            }
        };
        self.control.finish(id, outcome);
    }
}

fn failure(error: &OutboundFailure) -> RequestError {
    match error {
        OutboundFailure::DialFailure => RequestError::NotConnected,
        OutboundFailure::Timeout => RequestError::Timeout,
        OutboundFailure::UnsupportedProtocols => RequestError::Unsupported,
        OutboundFailure::Io(error) if is_unsupported(error) => RequestError::Unsupported,
        OutboundFailure::ConnectionClosed | OutboundFailure::Io(_) => RequestError::Closed,
    }
}

/// Whether a stream broke because the peer does not speak its protocol. The first read says so, since streams are opened lazily.
fn is_unsupported(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<NegotiationError>());
    matches!(inner, Some(NegotiationError::Failed))
}
