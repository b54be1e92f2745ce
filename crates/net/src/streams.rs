//! Raw streams under the blob protocol.
//!
//! `libp2p-stream` does nearly this, but it drops an inbound stream whenever its one-place queue is full, and keeps a little memory
//! for each connection that ever was. This behaviour hands every inbound stream up, up to a bound for each connection, and forgets
//! connections when they close. It reads and writes nothing on a stream.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, StreamUpgradeError,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};

use crate::StreamError;

/// Names one attempt to open a stream.
pub(crate) type OpenId = u64;

/// A stream was opened, by them or by us.
#[derive(Debug)]
pub(crate) enum Event {
    Inbound { peer: PeerId, stream: Stream },
    Outbound { id: OpenId, outcome: Result<Stream, StreamError> },
}

/// All connections' streams under one protocol.
#[derive(Debug)]
pub(crate) struct Behaviour {
    protocol: StreamProtocol,
    waiting_max: usize,
    next: OpenId,
    connections: BTreeMap<PeerId, Vec<ConnectionId>>,
    opening: BTreeMap<OpenId, ConnectionId>,
    events: VecDeque<ToSwarm<Event, OpenId>>,
}

impl Behaviour {
    /// At most `waiting_max` inbound streams wait on each connection to be taken; more are reset.
    pub(crate) fn new(protocol: StreamProtocol, waiting_max: usize) -> Self {
        Self {
            protocol,
            waiting_max,
            next: 0,
            connections: BTreeMap::new(),
            opening: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Begins to open a stream on the oldest connection to `peer`; [`Event::Outbound`] follows. `None` without a connection.
    pub(crate) fn open(&mut self, peer: PeerId) -> Option<OpenId> {
        let connection = *self.connections.get(&peer)?.first()?;
        let id = self.next;
        self.next += 1;
        self.opening.insert(id, connection);
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: id,
        });
        Some(id)
    }

    fn on_closed(&mut self, peer: PeerId, closed: ConnectionId) {
        if let Some(connections) = self.connections.get_mut(&peer) {
            connections.retain(|connection| *connection != closed);
            if connections.is_empty() {
                self.connections.remove(&peer);
            }
        }
        let events = &mut self.events;
        self.opening.retain(|id, connection| {
            let gone = *connection == closed;
            if gone {
                let event = Event::Outbound { id: *id, outcome: Err(StreamError::Closed) };
                events.push_back(ToSwarm::GenerateEvent(event));
            }
            !gone
        });
    }

    fn handler(&self) -> Handler {
        Handler {
            protocol: self.protocol.clone(),
            waiting_max: self.waiting_max,
            to_open: VecDeque::new(),
            events: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => {
                self.connections.entry(opened.peer_id).or_default().push(opened.connection_id);
            }
            FromSwarm::ConnectionClosed(closed) => self.on_closed(closed.peer_id, closed.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        let event = match event {
            FromHandler::Inbound(stream) => Event::Inbound { peer, stream },
            FromHandler::Outbound(id, outcome) => {
                if self.opening.remove(&id).is_none() {
                    return;
                }
                Event::Outbound { id, outcome }
            }
        };
        self.events.push_back(ToSwarm::GenerateEvent(event));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// What a connection tells the behaviour.
#[derive(Debug)]
pub(crate) enum FromHandler {
    Inbound(Stream),
    Outbound(OpenId, Result<Stream, StreamError>),
}

/// One connection's streams.
#[derive(Debug)]
pub(crate) struct Handler {
    protocol: StreamProtocol,
    waiting_max: usize,
    to_open: VecDeque<OpenId>,
    events: VecDeque<FromHandler>,
}

impl Handler {
    fn upgrade<T>(&self, info: T) -> SubstreamProtocol<ReadyUpgrade<StreamProtocol>, T> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), info)
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenId;
    type ToBehaviour = FromHandler;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenId;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, ()> {
        self.upgrade(())
    }

    fn on_behaviour_event(&mut self, id: OpenId) {
        self.to_open.push_back(id);
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, OpenId, Self::ToBehaviour>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        match self.to_open.pop_front() {
            Some(id) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol: self.upgrade(id) }),
            None => Poll::Pending,
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), OpenId>,
    ) {
        match event {
            // Over the bound the stream is dropped, which resets it.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. })
                if self.events.len() < self.waiting_max =>
            {
                self.events.push_back(FromHandler::Inbound(stream));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info: id }) => {
                self.events.push_back(FromHandler::Outbound(id, Ok(stream)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: id, error }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => StreamError::Timeout,
                    StreamUpgradeError::NegotiationFailed => StreamError::Unsupported,
                    StreamUpgradeError::Io(_) => StreamError::Closed,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                self.events.push_back(FromHandler::Outbound(id, Err(error)));
            }
            _ => {}
        }
    }
}
