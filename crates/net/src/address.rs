//! Addresses and peer names: between `NodeId` and libp2p's peer id, between text and multiaddress.
//!
//! Every text here may come from a peer, so reading is total and bounded. Nothing here resolves or dials.

use libp2p::multiaddr::Protocol;
use libp2p::multihash::Multihash;
use libp2p::{Multiaddr, PeerId};
use manyhands_proto::NodeId;
use manyhands_proto::limits::{ADDRESS_CHARS_MAX, ADDRESSES_MAX};

use crate::NetError;

/// An Ed25519 public key in libp2p's protobuf form is these four bytes and the key.
const ED25519_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];
/// The multihash code of "the hash is the data itself", which libp2p uses for keys of up to 42 bytes.
const IDENTITY_HASH: u64 = 0;

/// The node behind a peer id, or `None` for a key that is not Ed25519.
pub(crate) fn node_of(peer: &PeerId) -> Option<NodeId> {
    let hash: &Multihash<64> = peer.as_ref();
    let key = hash.digest().strip_prefix(&ED25519_PREFIX)?;
    if hash.code() == IDENTITY_HASH { key.try_into().ok().map(NodeId) } else { None }
}

/// The peer id of a node. `None` never happens: 36 bytes always fit.
pub(crate) fn peer_of(node: NodeId) -> Option<PeerId> {
    let key = [ED25519_PREFIX.as_slice(), node.as_bytes()].concat();
    let hash = Multihash::wrap(IDENTITY_HASH, &key).ok()?;
    PeerId::from_multihash(hash).ok()
}

/// The node's name as libp2p writes it (`12D3Koo..`), for addresses and for other libp2p tools.
pub fn peer_text(node: NodeId) -> String {
    peer_of(node).map(|peer| peer.to_string()).unwrap_or_default()
}

/// The node of a name as libp2p writes it; nothing if it is none, or of a key that is not Ed25519.
pub fn node_of_text(text: &str) -> Option<NodeId> {
    // The longest peer ids have some 60 letters.
    text.get(..128).unwrap_or(text).parse().ok().as_ref().and_then(node_of)
}

/// An address that also says who must answer there: `address/p2p/<peer>`. Such a text is what people paste as a boot address.
pub fn with_node(address: &str, node: NodeId) -> String {
    format!("{address}/p2p/{}", peer_text(node))
}

/// Reads an address that this crate can dial, with the peer in its `/p2p` part if it has one.
///
/// # Errors
/// [`NetError::Address`] when the text is no multiaddress or not over TCP or QUIC.
pub(crate) fn parse_dialable(text: &str) -> Result<(Multiaddr, Option<PeerId>), NetError> {
    let (address, peer) = split_peer(parse(text)?);
    if is_dialable(&address) { Ok((address, peer)) } else { Err(NetError::Address { text: clip(text), source: None }) }
}

/// Reads an address to listen on.
///
/// # Errors
/// [`NetError::Address`] when the text is no multiaddress.
pub(crate) fn parse(text: &str) -> Result<Multiaddr, NetError> {
    if text.len() > ADDRESS_CHARS_MAX {
        return Err(NetError::Address { text: clip(text), source: None });
    }
    text.parse::<Multiaddr>()
        .map_err(|error| NetError::Address { text: clip(text), source: Some(std::sync::Arc::new(error)) })
}

fn clip(text: &str) -> String {
    text.chars().take(ADDRESS_CHARS_MAX).collect()
}

/// Takes the `/p2p` part off the end.
pub(crate) fn split_peer(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            (address, Some(peer))
        }
        _ => (address, None),
    }
}

/// Whether an address without `/p2p` names one host, one port and one of our transports.
pub(crate) fn is_dialable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
        _ => false,
    };
    let transport = match (parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None) => port != 0,
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1)) => port != 0,
        _ => false,
    };
    host && transport && parts.next().is_none()
}

/// Whether the address can be reached from this machine only.
pub(crate) fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

fn is_local_network(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_private() || ip.is_link_local(),
        Some(Protocol::Ip6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local(),
        _ => false,
    }
}

/// The addresses to tell others, best first and at most [`ADDRESSES_MAX`]: announced ones, public ones, those of the local
/// network, and loopback only if there is nothing else.
pub(crate) fn advertised(announced: &[Multiaddr], listening: &[Multiaddr]) -> Vec<String> {
    let (loopback, mut reachable): (Vec<_>, Vec<_>) =
        listening.iter().filter(|address| is_dialable(address)).partition(|address| is_loopback(address));
    reachable.sort_by_key(|address| is_local_network(address));
    let mut best: Vec<&Multiaddr> = announced.iter().chain(reachable).collect();
    if best.is_empty() {
        best = loopback;
    }
    let mut texts: Vec<String> = Vec::new();
    for text in best.into_iter().map(Multiaddr::to_string) {
        if texts.len() < ADDRESSES_MAX && text.len() <= ADDRESS_CHARS_MAX && !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// What to believe of the addresses that a peer states for itself: dialable ones, without its `/p2p` part, and loopback only from
/// a peer that is on this machine. Names are left out: a peer must not make us ask a name server.
pub(crate) fn believed(stated: &[Multiaddr], peer: PeerId, on_this_machine: bool) -> Vec<Multiaddr> {
    let mut believed = Vec::new();
    for address in stated.iter().take(8 * ADDRESSES_MAX) {
        let (address, named) = split_peer(address.clone());
        let is_ip = matches!(address.iter().next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
        let fits = is_ip && is_dialable(&address) && (on_this_machine || !is_loopback(&address));
        if fits && named.is_none_or(|named| named == peer) && !believed.contains(&address) {
            believed.push(address);
        }
    }
    believed.sort_by_key(|address| (is_loopback(address), is_local_network(address)));
    believed.truncate(ADDRESSES_MAX);
    believed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn node_and_peer_are_the_same_key() {
        let keypair = libp2p::identity::Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let node = node_of(&peer).unwrap();
        assert_eq!(node.0, keypair.public().try_into_ed25519().unwrap().to_bytes());
        assert_eq!(peer_of(node), Some(peer));
        assert_eq!(peer_text(node), peer.to_string());
    }

    #[test]
    fn other_keys_are_no_nodes() {
        // A SHA-256 multihash is what RSA keys have.
        let hash = Multihash::<64>::wrap(0x12, &[7; 32]).unwrap();
        assert_eq!(node_of(&PeerId::from_multihash(hash).unwrap()), None);
        // A secp256k1 key is short enough for the identity hash, with another key type.
        let key = [[0x08, 0x02, 0x12, 0x21].as_slice(), &[2; 33]].concat();
        let hash = Multihash::<64>::wrap(0, &key).unwrap();
        assert_eq!(node_of(&PeerId::from_multihash(hash).unwrap()), None);
    }

    #[test]
    fn only_tcp_and_quic_to_one_host_are_dialable() {
        for good in ["/ip4/192.0.2.7/tcp/4001", "/ip6/2001:db8::1/udp/4001/quic-v1", "/dns4/host.example/tcp/1"] {
            assert!(parse_dialable(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "host:4001",
            "/ip4/192.0.2.7",
            "/ip4/192.0.2.7/tcp/0",
            "/ip4/0.0.0.0/tcp/4001",
            "/ip4/224.0.0.1/udp/4001/quic-v1",
            "/ip4/192.0.2.7/udp/4001",
            "/ip4/192.0.2.7/tcp/80/ws",
            "/memory/7",
        ] {
            assert!(matches!(parse_dialable(bad), Err(NetError::Address { .. })), "{bad}");
        }
    }

    #[test]
    fn the_peer_part_is_split_off() {
        let node = NodeId([9; 32]);
        let (address, peer) = parse_dialable(&with_node("/ip4/192.0.2.7/tcp/4001", node)).unwrap();
        assert_eq!(address.to_string(), "/ip4/192.0.2.7/tcp/4001");
        assert_eq!(peer, peer_of(node));
    }

    #[test]
    fn loopback_is_advertised_only_alone() {
        let loopback = address("/ip4/127.0.0.1/tcp/1");
        let lan = address("/ip4/10.0.0.1/tcp/1");
        let public = address("/ip4/198.51.100.1/tcp/1");
        assert_eq!(advertised(&[], std::slice::from_ref(&loopback)), ["/ip4/127.0.0.1/tcp/1"]);
        assert_eq!(advertised(&[], &[loopback, lan, public]), ["/ip4/198.51.100.1/tcp/1", "/ip4/10.0.0.1/tcp/1"]);
    }

    #[test]
    fn a_peer_is_not_believed_everything() {
        let peer = peer_of(NodeId([1; 32])).unwrap();
        let other = peer_of(NodeId([2; 32])).unwrap();
        let mut stated: Vec<Multiaddr> =
            (1..=9).map(|host| address(&format!("/ip4/198.51.100.{host}/tcp/1"))).collect();
        assert_eq!(believed(&stated, peer, false).len(), ADDRESSES_MAX);
        stated = vec![
            address("/ip4/127.0.0.1/tcp/1"),
            address("/dns4/host.example/tcp/1"),
            address(&format!("/ip4/198.51.100.1/tcp/1/p2p/{other}")),
        ];
        assert!(believed(&stated, peer, false).is_empty());
        assert_eq!(believed(&stated, peer, true), [address("/ip4/127.0.0.1/tcp/1")]);
    }
}
