//! Who may connect at all: peers with an Ed25519 key, and not too many from one address.
//!
//! libp2p's own connection limits know nothing of addresses. This behaviour speaks no protocol.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::address::node_of;

/// Why a connection was not admitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("the peer's key is not Ed25519, so it is no node")]
    KeyType,
    #[error("there are already {limit} connections from this address")]
    Address { limit: usize },
}

/// Counts inbound connections for each address.
#[derive(Debug)]
pub(crate) struct Behaviour {
    per_ip_max: usize,
    counts: BTreeMap<IpAddr, usize>,
    origins: BTreeMap<ConnectionId, IpAddr>,
}

impl Behaviour {
    pub(crate) fn new(per_ip_max: usize) -> Self {
        Self { per_ip_max, counts: BTreeMap::new(), origins: BTreeMap::new() }
    }

    fn admit(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), NotAdmitted> {
        let Some(origin) = origin(remote) else { return Ok(()) };
        let count = self.counts.entry(origin).or_default();
        if *count >= self.per_ip_max {
            return Err(NotAdmitted::Address { limit: self.per_ip_max });
        }
        *count += 1;
        self.origins.insert(connection, origin);
        Ok(())
    }

    fn leave(&mut self, connection: ConnectionId) {
        let Some(origin) = self.origins.remove(&connection) else { return };
        if let Some(count) = self.counts.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&origin);
            }
        }
    }
}

/// The address that connections are counted under: an IPv4 address, or the /64 that one IPv6 customer has. Loopback is not counted.
pub(crate) fn origin(remote: &Multiaddr) -> Option<IpAddr> {
    match remote.iter().next() {
        Some(Protocol::Ip4(ip)) if !ip.is_loopback() => Some(IpAddr::V4(ip)),
        Some(Protocol::Ip6(ip)) if !ip.is_loopback() => {
            Some(IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()))
        }
        _ => None,
    }
}

fn check_key(peer: &PeerId) -> Result<(), ConnectionDenied> {
    if node_of(peer).is_some() { Ok(()) } else { Err(ConnectionDenied::new(NotAdmitted::KeyType)) }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit(connection, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        check_key(&peer).map(|()| dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        check_key(&peer).map(|()| dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.leave(closed.connection_id),
            FromSwarm::ListenFailure(failed) => self.leave(failed.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_a_bound_and_gets_its_places_back() {
        let mut admission = Behaviour::new(2);
        let remote: Multiaddr = "/ip4/198.51.100.1/tcp/1".parse().unwrap();
        let ids: Vec<_> = (0..3).map(ConnectionId::new_unchecked).collect();
        assert!(admission.admit(ids[0], &remote).is_ok());
        assert!(admission.admit(ids[1], &remote).is_ok());
        assert!(admission.admit(ids[2], &remote).is_err());
        admission.leave(ids[2]);
        assert!(admission.admit(ids[2], &remote).is_err(), "a refused connection took no place");
        admission.leave(ids[0]);
        assert!(admission.admit(ids[2], &remote).is_ok());
        admission.leave(ids[1]);
        admission.leave(ids[2]);
        assert!(admission.counts.is_empty() && admission.origins.is_empty());
    }

    #[test]
    fn other_keys_are_refused() {
        // The SHA-256 multihash of a long key, such as RSA's.
        let hash = libp2p::multihash::Multihash::wrap(0x12, &[7; 32]).unwrap();
        assert!(check_key(&PeerId::from_multihash(hash).unwrap()).is_err());
        assert!(check_key(&libp2p::identity::Keypair::generate_ed25519().public().to_peer_id()).is_ok());
    }

    #[test]
    fn a_whole_64_counts_as_one_and_loopback_not_at_all() {
        let text = |text: &str| origin(&text.parse().unwrap());
        assert_eq!(text("/ip6/2001:db8::1/tcp/1"), text("/ip6/2001:db8::ffff/tcp/1"));
        assert_ne!(text("/ip6/2001:db8::1/tcp/1"), text("/ip6/2001:db8:0:1::1/tcp/1"));
        assert_eq!(text("/ip4/127.0.0.1/tcp/1"), None);
        assert_eq!(text("/ip6/::1/udp/1/quic-v1"), None);
    }
}
