//! The task that owns the swarm: takes commands, turns what the swarm reports into events, and never waits for anybody.

mod boot;
mod control;
mod dials;
mod listen;
mod peers;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::gossipsub::PublishError;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm, gossipsub, identify, kad, mdns, ping};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::address::node_of;
use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::config::OPENING_MAX;
use crate::gossip::{Gate, Heard, Topic, Verdict};
use crate::handle::Command;
use crate::rate::Buckets;
use crate::streams::{self, OpenId};
use crate::{BlobStream, Identity, NetConfig, NetError, NetEvent, StreamError};

/// How often addresses to return to are looked after.
const TICK: Duration = Duration::from_secs(1);
/// How long connections may take to close at the end.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// The task's state.
pub(crate) struct Runner {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<NetEvent>,
    /// Events that the receiver had no room for yet. While there are any, the swarm is not polled, so there are few.
    outbox: VecDeque<NetEvent>,
    listening: listen::Listening,
    peers: peers::Peers,
    dials: dials::Dials,
    boot: boot::Boot,
    control: control::Control,
    opening: BTreeMap<OpenId, oneshot::Sender<Result<BlobStream, StreamError>>>,
    gossip: Gate,
    /// How often refused strangers are logged: strangers must not fill a disk.
    stranger_log: Buckets<()>,
}

impl Runner {
    pub(crate) fn new(
        identity: &Identity,
        config: &NetConfig,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<NetEvent>,
    ) -> Result<Self, NetError> {
        Ok(Self {
            swarm: crate::behaviour::swarm(identity, config)?,
            commands,
            events,
            outbox: VecDeque::new(),
            listening: listen::Listening::new(config)?,
            peers: peers::Peers::new(&config.limits),
            dials: dials::Dials::default(),
            boot: boot::Boot::new(&config.boot)?,
            control: control::Control::new(&config.limits),
            opening: BTreeMap::new(),
            gossip: Gate::new(&config.limits),
            stranger_log: Buckets::new(1, 10, 1),
        })
    }

    /// Runs until told to stop, or until nobody holds a handle or takes events.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        let events = self.events.clone();
        let told = loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown(answer)) => break Some(answer),
                    Some(command) => self.on_command(command),
                    None => break None,
                },
                Some(answered) = self.control.next_reply() => self.on_reply(answered),
                place = events.reserve(), if !self.outbox.is_empty() => match (place, self.outbox.pop_front()) {
                    (Ok(place), Some(event)) => place.send(event),
                    _ => break None,
                },
                event = self.swarm.select_next_some(), if self.outbox.is_empty() => self.on_swarm_event(event),
                _ = tick.tick() => self.dial_boot(Instant::now()),
                () = events.closed() => break None,
            }
        };
        self.close().await;
        if let Some(answer) = told {
            let _ = answer.send(());
        }
    }

    /// Says goodbye, so that others notice at once.
    async fn close(mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closing = async {
            while self.swarm.network_info().num_peers() > 0 {
                let _ = self.swarm.select_next_some().await;
            }
        };
        if timeout(CLOSING_TIME, closing).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Addresses(answer) => drop(answer.send(self.listening.advertised(&self.swarm))),
            Command::Peers(answer) => drop(answer.send(self.peers.infos())),
            Command::Dial { peer, addresses, answer } => self.dial(peer, addresses, answer),
            Command::Request { to, request, answer } => self.ask_peer(to, request, answer),
            Command::Publish { topic, message, answer } => drop(answer.send(self.publish(topic, message))),
            Command::OpenBlob { to, answer } => self.open_blob(to, answer),
            Command::Disconnect { peer, answer } => {
                let _ = self.swarm.disconnect_peer_id(peer);
                let _ = answer.send(());
            }
            Command::Block { peer, blocked, answer } => {
                self.block(peer, blocked);
                let _ = answer.send(());
            }
            // Taken by the loop, which must end.
            Command::Shutdown(answer) => drop(answer.send(())),
        }
    }

    fn publish(&mut self, topic: Topic, message: Vec<u8>) -> Result<(), NetError> {
        match self.swarm.behaviour_mut().gossip.publish(topic.ident(), message) {
            Ok(_) | Err(PublishError::Duplicate) => Ok(()),
            Err(PublishError::NoPeersSubscribedToTopic) => Err(NetError::NobodyListens),
            Err(error) => Err(NetError::Gossip { source: std::sync::Arc::new(error) }),
        }
    }

    fn open_blob(&mut self, to: PeerId, answer: oneshot::Sender<Result<BlobStream, StreamError>>) {
        if self.opening.len() >= OPENING_MAX {
            let _ = answer.send(Err(StreamError::Busy));
            return;
        }
        match self.swarm.behaviour_mut().blobs.open(to) {
            Some(id) => drop(self.opening.insert(id, answer)),
            None => drop(answer.send(Err(StreamError::NotConnected))),
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established, cause, .. } => {
                tracing::debug!(%peer_id, num_established, ?cause, "connection closed");
                if num_established == 0 {
                    self.on_disconnected(peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failed(connection_id, peer_id, error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                if self.stranger_log.take(&(), Instant::now()) {
                    tracing::info!(from = %send_back_addr, reason = %error, "refused an incoming connection");
                }
            }
            other => self.on_listen_event(other),
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Control(event) => self.on_control(event),
            BehaviourEvent::Blobs(event) => self.on_blob_stream(event),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, &info);
            }
            BehaviourEvent::Ping(event) => self.on_ping(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_found_nearby(found),
            BehaviourEvent::Kad(kad::Event::RoutingUpdated { peer, is_new_peer: true, .. }) => {
                tracing::debug!(%peer, "a new neighbour for discovery");
            }
            BehaviourEvent::Identify(_) | BehaviourEvent::Mdns(_) | BehaviourEvent::Kad(_) => {}
            // These only refuse connections.
            BehaviourEvent::Blocked(never) | BehaviourEvent::Limits(never) => match never {},
            BehaviourEvent::Memory(never) | BehaviourEvent::Admission(never) => match never {},
        }
    }

    fn on_ping(&mut self, event: ping::Event) {
        match event.result {
            Ok(rtt) => self.peers.set_rtt(event.peer, rtt),
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "closing a connection that does not answer pings");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source, message_id, message } = event else { return };
        let verdict = self.gossip.judge(&message, &propagation_source, Instant::now());
        self.swarm.behaviour_mut().gossip.report_message_validation_result(
            &message_id,
            &propagation_source,
            verdict.acceptance(),
        );
        match verdict {
            Verdict::Accept(Heard::Notice(notice)) => self.outbox.push_back(NetEvent::Notice { notice }),
            Verdict::Accept(Heard::Score(signed)) => self.outbox.push_back(NetEvent::Score { signed }),
            Verdict::Ignore => tracing::debug!(%propagation_source, "too much gossip; a message is ignored"),
            Verdict::Reject(what) => self.accuse(propagation_source, what),
        }
    }

    fn on_blob_stream(&mut self, event: streams::Event) {
        match event {
            streams::Event::Outbound { id, outcome } => {
                if let Some(answer) = self.opening.remove(&id) {
                    let _ = answer.send(outcome.map(BlobStream::outbound));
                }
            }
            streams::Event::Inbound { peer, stream } => match (node_of(&peer), self.peers.blob_places(&peer)) {
                (Some(from), Some(places)) => {
                    let stream = BlobStream::inbound(stream, places);
                    self.outbox.push_back(NetEvent::BlobStream { from, stream });
                }
                // Dropping a stream resets it.
                _ => tracing::debug!(%peer, "a blob stream over the limits is closed"),
            },
        }
    }

    /// Reports what a peer did.
    fn accuse(&mut self, peer: PeerId, what: crate::Offence) {
        tracing::debug!(%peer, %what, "a peer broke the protocol");
        if let Some(node) = node_of(&peer) {
            self.outbox.push_back(NetEvent::Misbehaved { node, what });
        }
    }
}
