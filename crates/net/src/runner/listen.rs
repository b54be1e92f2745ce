//! Listening: at the start, where every failure ends the start, and later, where it is reported.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, TransportError};
use tokio::time::timeout;

use super::Runner;
use crate::address::{advertised, parse, parse_dialable};
use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::{NetConfig, NetError, NetEvent};

/// How long the system may take to say where we listen; it takes milliseconds.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Where others find us.
#[derive(Debug)]
pub(super) struct Listening {
    announced: Vec<Multiaddr>,
    /// Listeners that have not said where they listen.
    starting: Vec<(ListenerId, String)>,
}

impl Listening {
    pub(super) fn new(config: &NetConfig) -> Result<Self, NetError> {
        let announced =
            config.announce.iter().map(|text| Ok(parse_dialable(text)?.0)).collect::<Result<_, NetError>>()?;
        Ok(Self { announced, starting: Vec::new() })
    }

    pub(super) fn advertised(&self, swarm: &Swarm<Behaviour>) -> Vec<String> {
        let listening: Vec<Multiaddr> = swarm.listeners().cloned().collect();
        advertised(&self.announced, &listening)
    }
}

impl Runner {
    /// Listens on every address of the configuration, and returns when all listeners are up.
    pub(crate) async fn listen(&mut self, config: &NetConfig) -> Result<(), NetError> {
        for address in &self.listening.announced {
            self.swarm.add_external_address(address.clone());
        }
        for text in &config.listen {
            let address = parse(text)?;
            check_free(&address).map_err(|source| listen_error(text, source))?;
            let listener = self.swarm.listen_on(address).map_err(|error| match error {
                TransportError::MultiaddrNotSupported(_) => NetError::Address { text: text.clone(), source: None },
                TransportError::Other(source) => listen_error(text, source),
            })?;
            self.listening.starting.push((listener, text.clone()));
        }
        while let Some((_, text)) = self.listening.starting.first() {
            let late = || listen_error(text, io::ErrorKind::TimedOut.into());
            let event = timeout(LISTEN_TIMEOUT, self.swarm.select_next_some()).await.map_err(|_| late())?;
            if let SwarmEvent::ListenerClosed { listener_id, reason: Err(source), .. } = event {
                let closed = self.listening.starting.iter().find(|(id, _)| *id == listener_id);
                return Err(listen_error(closed.map_or("", |(_, text)| text), source));
            }
            self.on_swarm_event(event);
        }
        Ok(())
    }

    pub(super) fn on_listen_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.listening.starting.retain(|(id, _)| *id != listener_id);
                self.outbox.push_back(NetEvent::Listening(address.to_string()));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => tracing::info!(%address, "no longer listening"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?addresses, ?reason, "a listener closed; others can no longer reach this node there");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener has trouble"),
            _ => {}
        }
    }
}

/// Whether a port is free, asked with plain sockets. libp2p listens on TCP with `SO_REUSEPORT`, so that two programs of one user
/// would share a port in silence and each would get some of the other's connections; and its errors cannot be taken apart.
fn check_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind(SocketAddr::new(ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port != 0 => UdpSocket::bind(SocketAddr::new(ip, port)).map(drop),
        _ => Ok(()),
    }
}

fn listen_error(address: &str, source: io::Error) -> NetError {
    match source.kind() {
        io::ErrorKind::AddrInUse => NetError::PortInUse { address: address.to_owned() },
        _ => NetError::Listen { address: address.to_owned(), source: Arc::new(source) },
    }
}
