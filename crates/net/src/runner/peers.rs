//! Who is connected, what is known of them, and who is blocked.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify};
use manyhands_proto::NodeId;
use manyhands_proto::limits::ADDRESSES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Runner;
use super::dials::dial_options;
use crate::address::{believed, is_dialable, is_loopback, node_of, split_peer};
use crate::admission::origin;
use crate::behaviour::KAD_PROTOCOL;
use crate::config::{AGENT_CHARS_MAX, PEERS_MAX};
use crate::rate::Buckets;
use crate::{NetEvent, NetLimits, PeerInfo};

/// Connected peers and blocked ones.
#[derive(Debug)]
pub(super) struct Peers {
    connected: BTreeMap<PeerId, Peer>,
    /// How often each may say what it is.
    introductions: Buckets<PeerId>,
    blocked: VecDeque<PeerId>,
    blocked_max: usize,
    blob_streams_per_peer_max: usize,
    blob_places: Arc<Semaphore>,
}

#[derive(Debug)]
struct Peer {
    node: NodeId,
    /// Where we dialled it, if we did.
    dialled: Option<Multiaddr>,
    /// Where it says it listens, as far as believed.
    stated: Vec<Multiaddr>,
    on_this_machine: bool,
    ip: Option<IpAddr>,
    agent: String,
    rtt: Option<Duration>,
    blob_places: Arc<Semaphore>,
}

impl Peer {
    fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<&Multiaddr> = self.dialled.iter().collect();
        addresses.extend(self.stated.iter().filter(|address| Some(*address) != self.dialled.as_ref()));
        addresses.into_iter().take(ADDRESSES_MAX).map(Multiaddr::to_string).collect()
    }
}

impl Peers {
    pub(super) fn new(limits: &NetLimits) -> Self {
        Self {
            connected: BTreeMap::new(),
            introductions: Buckets::new(1, 5, PEERS_MAX),
            blocked: VecDeque::new(),
            blocked_max: limits.blocked_max,
            blob_streams_per_peer_max: limits.blob_streams_per_peer_max,
            blob_places: Arc::new(Semaphore::new(limits.blob_streams_max)),
        }
    }

    pub(super) fn infos(&self) -> Vec<PeerInfo> {
        let info = |peer: &Peer| PeerInfo {
            node: peer.node,
            addresses: peer.addresses(),
            agent: peer.agent.clone(),
            rtt: peer.rtt,
        };
        self.connected.values().map(info).collect()
    }

    /// The connected peer that was reached at an address.
    pub(super) fn dialled_at(&self, address: &Multiaddr) -> Option<PeerId> {
        self.connected.iter().find(|(_, peer)| peer.dialled.as_ref() == Some(address)).map(|(id, _)| *id)
    }

    pub(super) fn set_rtt(&mut self, peer: PeerId, rtt: Duration) {
        if let Some(peer) = self.connected.get_mut(&peer) {
            peer.rtt = Some(rtt);
        }
    }

    /// Where a peer's first connection comes from.
    pub(super) fn ip_of(&self, peer: &PeerId) -> Option<IpAddr> {
        self.connected.get(peer)?.ip
    }

    /// The two places that a peer's new blob stream needs, if both are free.
    pub(super) fn blob_places(&self, peer: &PeerId) -> Option<[OwnedSemaphorePermit; 2]> {
        let own = Arc::clone(&self.connected.get(peer)?.blob_places).try_acquire_owned().ok()?;
        let shared = Arc::clone(&self.blob_places).try_acquire_owned().ok()?;
        Some([own, shared])
    }
}

impl Runner {
    pub(super) fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        // The admission behaviour lets no other keys in.
        let Some(node) = node_of(&peer) else { return };
        let remote = endpoint.get_remote_address();
        let dialled = Some(split_peer(remote.clone()).0).filter(|address| endpoint.is_dialer() && is_dialable(address));
        let on_this_machine = is_loopback(remote);
        self.boot.on_connected(connection, peer);
        self.dials.succeed(connection, peer, node);
        if let Some(known) = self.peers.connected.get_mut(&peer) {
            known.on_this_machine |= on_this_machine;
            known.dialled = known.dialled.take().or(dialled);
            return;
        }
        let blob_places = Arc::new(Semaphore::new(self.peers.blob_streams_per_peer_max));
        let ip = origin(remote).filter(|_| !remote.iter().any(|part| part == Protocol::P2pCircuit));
        let (stated, agent, rtt) = (Vec::new(), String::new(), None);
        let new = Peer { node, dialled, stated, on_this_machine, ip, agent, rtt, blob_places };
        self.outbox.push_back(NetEvent::Connected { node, addresses: new.addresses() });
        self.peers.connected.insert(peer, new);
    }

    pub(super) fn on_disconnected(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.connected.remove(&peer) {
            self.outbox.push_back(NetEvent::Disconnected { node: peer.node });
        }
    }

    /// A peer said what it is. If it takes part in discovery, so do its addresses.
    pub(super) fn on_identified(&mut self, peer: PeerId, info: &identify::Info) {
        let Some(known) = self.peers.connected.get_mut(&peer) else { return };
        let agent: String = info.agent_version.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect();
        let stated = believed(&info.listen_addrs, peer, known.on_this_machine);
        if known.agent == agent && known.stated == stated || !self.peers.introductions.take(&peer, Instant::now()) {
            return;
        }
        known.agent = agent;
        known.stated = stated;
        if info.protocols.contains(&KAD_PROTOCOL) {
            for address in &known.stated {
                self.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
            }
        }
        let (node, agent, addresses) = (known.node, known.agent.clone(), known.addresses());
        self.outbox.push_back(NetEvent::Identified { node, agent, addresses });
    }

    /// Multicast DNS found peers on the local network.
    pub(super) fn on_found_nearby(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        for (peer, address) in found {
            let (address, _) = split_peer(address);
            if self.swarm.is_connected(&peer) || !is_dialable(&address) {
                continue;
            }
            // Refused by the connection limits if there are too many.
            let options = dial_options(Some(peer), vec![address.clone()], address);
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%peer, %error, "a neighbour was not dialled");
            }
        }
    }

    pub(super) fn block(&mut self, peer: PeerId, blocked: bool) {
        let list = &mut self.swarm.behaviour_mut().blocked;
        self.peers.blocked.retain(|other| *other != peer);
        if !blocked {
            list.unblock_peer(peer);
            return;
        }
        list.block_peer(peer);
        self.peers.blocked.push_back(peer);
        if self.peers.blocked.len() > self.peers.blocked_max
            && let Some(oldest) = self.peers.blocked.pop_front()
        {
            list.unblock_peer(oldest);
        }
    }
}
