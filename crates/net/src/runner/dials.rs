//! Dials that somebody waits for, and what their failures mean.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::Arc;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};
use manyhands_proto::NodeId;
use tokio::sync::oneshot;

use super::Runner;
use crate::address::node_of;
use crate::config::DIALS_MAX;
use crate::{DialFailure, NetError};

type Answer = oneshot::Sender<Result<NodeId, NetError>>;

/// Dials under way.
#[derive(Debug, Default)]
pub(super) struct Dials {
    waiting: BTreeMap<ConnectionId, Dial>,
}

#[derive(Debug)]
struct Dial {
    peer: Option<PeerId>,
    to: String,
    answers: Vec<Answer>,
}

impl Dials {
    fn answers(&self) -> usize {
        self.waiting.values().map(|dial| dial.answers.len()).sum()
    }

    /// A peer is connected: by this dial, or by another while this one goes on.
    pub(super) fn succeed(&mut self, connection: ConnectionId, peer: PeerId, node: NodeId) {
        let done: Vec<ConnectionId> = self
            .waiting
            .iter()
            .filter(|(id, dial)| **id == connection || dial.peer == Some(peer))
            .map(|(id, _)| *id)
            .collect();
        for dial in done.iter().filter_map(|id| self.waiting.remove(id)) {
            for answer in dial.answers {
                let _ = answer.send(Ok(node));
            }
        }
    }

    fn fail(&mut self, connection: ConnectionId, error: DialError) {
        let Some(dial) = self.waiting.remove(&connection) else { return };
        let failed = failed(dial.to, error);
        for answer in dial.answers {
            let _ = answer.send(Err(failed.clone()));
        }
    }
}

impl Runner {
    /// Connects to a peer at some addresses, or to whoever is at the one address.
    pub(super) fn dial(&mut self, peer: Option<PeerId>, addresses: Vec<Multiaddr>, answer: Answer) {
        let known = peer.or_else(|| addresses.first().and_then(|address| self.peers.dialled_at(address)));
        if let Some(node) = known.filter(|peer| self.swarm.is_connected(peer)).as_ref().and_then(node_of) {
            let _ = answer.send(Ok(node));
        } else if self.dials.answers() >= DIALS_MAX {
            let _ = answer.send(Err(NetError::TooManyDials { limit: DIALS_MAX }));
        } else if let Some(dial) = self.dials.waiting.values_mut().find(|dial| peer.is_some() && dial.peer == peer) {
            dial.answers.push(answer);
        } else {
            self.begin_dial(peer, addresses, answer);
        }
    }

    fn begin_dial(&mut self, peer: Option<PeerId>, addresses: Vec<Multiaddr>, answer: Answer) {
        let Some(first) = addresses.first().cloned() else {
            let node = peer.as_ref().and_then(node_of).unwrap_or_default();
            let _ = answer.send(Err(NetError::NoAddress { node }));
            return;
        };
        let to = peer
            .as_ref()
            .and_then(node_of)
            .map_or_else(|| first.to_string(), |node| format!("{first} (node {})", node.short()));
        let options = dial_options(peer, addresses, first);
        let connection = options.connection_id();
        self.dials.waiting.insert(connection, Dial { peer, to, answers: vec![answer] });
        if let Err(error) = self.swarm.dial(options) {
            self.dials.fail(connection, error);
        }
    }

    pub(super) fn on_dial_failed(&mut self, connection: ConnectionId, peer: Option<PeerId>, error: DialError) {
        tracing::debug!(?peer, %error, "a dial failed");
        self.boot.on_failed(connection, &error);
        self.dials.fail(connection, error);
    }
}

/// A dial from a fresh port: two nodes that dial each other from the ports they listen on would meet in one TCP connection in which
/// both believe to be the dialler.
pub(super) fn dial_options(peer: Option<PeerId>, addresses: Vec<Multiaddr>, first: Multiaddr) -> DialOpts {
    match peer {
        Some(peer) => DialOpts::peer_id(peer)
            .condition(PeerCondition::Disconnected)
            .addresses(addresses)
            .allocate_new_port()
            .build(),
        None => DialOpts::unknown_peer_id().address(first).allocate_new_port().build(),
    }
}

fn failed(to: String, error: DialError) -> NetError {
    NetError::Dial { to, why: classify(&error), source: Arc::new(error) }
}

pub(super) fn classify(error: &DialError) -> DialFailure {
    match error {
        // The swarm leaves out the addresses that it listens on itself, and every dial of ours has an address.
        DialError::LocalPeerId { .. } | DialError::NoAddresses => DialFailure::Ourselves,
        DialError::WrongPeerId { obtained, .. } => DialFailure::WrongNode { found: node_of(obtained) },
        DialError::Denied { .. } => DialFailure::Denied,
        DialError::Transport(attempts) => attempts
            .iter()
            .map(|(_, attempt)| classify_transport(attempt))
            .find(|why| *why != DialFailure::Other)
            .unwrap_or(DialFailure::Other),
        DialError::DialPeerConditionFalse(_) | DialError::Aborted => DialFailure::Other,
    }
}

/// libp2p wraps the transports' errors in types that cannot be named or taken apart, and drops causes on the way (its DNS wrapper
/// keeps those of the last attempt only), so the texts are what there is. The tests hold this to what it says today; a text that is
/// not known is [`DialFailure::Other`], and the whole error stays the source.
fn classify_transport(error: &(dyn Error + 'static)) -> DialFailure {
    let mut text = String::new();
    let mut at = Some(error);
    while let Some(error) = at {
        text.push_str(&error.to_string().to_lowercase());
        text.push('\n');
        at = next_cause(error);
    }
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["connection refused"]) {
        DialFailure::Refused
    } else if says(&["timed out", "timeout"]) {
        DialFailure::Timeout
    } else if says(&["unexpected end of file", "unexpected eof", "connection reset", "broken pipe", "connection lost"])
    {
        DialFailure::HandshakeBroken
    } else if says(&["handshake failed", "negotiation", "multistream"]) {
        DialFailure::NotLibp2p
    } else {
        DialFailure::Other
    }
}

/// What lies under an error. An `io::Error` that wraps another passes over it in `source`, so it is asked for it first.
fn next_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_what_libp2p_says() {
        let wrapped = |text: &str| classify_transport(&io::Error::other(io::Error::other(text.to_owned())));
        assert_eq!(wrapped("Connection refused (os error 111)"), DialFailure::Refused);
        assert_eq!(wrapped("Timeout has been reached"), DialFailure::Timeout);
        assert_eq!(wrapped("Handshake failed: invalid data"), DialFailure::NotLibp2p);
        assert_eq!(wrapped("Handshake failed: unexpected end of file"), DialFailure::HandshakeBroken);
        assert_eq!(wrapped("No route to host (os error 113)"), DialFailure::Other);
    }
}
