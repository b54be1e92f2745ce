//! All protocols of a node put together, and the swarm that runs them. No rule is here, only settings.

use std::sync::Arc;
use std::time::Duration;

use libp2p::core::upgrade::Version;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, allow_block_list, connection_limits, identify, kad, mdns,
    memory_connection_limits, noise, ping, tcp, yamux,
};
use manyhands_proto::message::{BLOB_PROTOCOL, CONTROL_PROTOCOL};

use crate::codec::ControlCodec;
use crate::config::AGENT_CHARS_MAX;
use crate::error::Cause;
use crate::{Identity, NetConfig, NetError, NetLimits, admission, gossip, streams};

/// Our own discovery, apart from every other network's.
pub(crate) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/manyhands/kad/1");
/// What identify says that this family of protocols is.
const FAMILY: &str = "manyhands/1";
/// Streams of one TCP connection before it is taken for hostile and closed: requests in both directions (128 and 256), blobs, and
/// the few of the other protocols. Each can hold 256 KiB that nobody has read.
const STREAMS_MAX: usize = 512;
/// How often discovery looks for new neighbours besides the look at each new one. Nodes stay for hours.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(300);
/// How long one look may take.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// The protocols. Those that refuse connections come first, so that the others never see a refused one.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub(crate) struct Behaviour {
    pub(crate) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) memory: memory_connection_limits::Behaviour,
    pub(crate) admission: admission::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) gossip: gossip::Behaviour,
    pub(crate) control: request_response::Behaviour<ControlCodec>,
    pub(crate) blobs: streams::Behaviour,
}

/// A swarm over TCP and QUIC that neither listens nor dials yet.
///
/// # Errors
/// [`NetError::Setup`] names what the system lacks.
pub(crate) fn swarm(identity: &Identity, config: &NetConfig) -> Result<Swarm<Behaviour>, NetError> {
    let behaviour = Behaviour::new(identity, config)?;
    let swarm = SwarmBuilder::with_existing_identity(identity.keypair().clone())
        .with_tokio()
        .with_tcp(tcp::Config::new(), noise::Config::new, || {
            let mut muxer = yamux::Config::default();
            muxer.set_max_num_streams(STREAMS_MAX);
            muxer
        })
        .map_err(|source| setup("the encryption of connections", source))?
        .with_quic()
        .with_dns()
        .map_err(|source| setup("name resolution (/etc/resolv.conf)", source))?
        .with_behaviour(|_| behaviour)
        .map_err(|never| match never {})?
        // One round trip of the line for a question and its answer, not two: the first bytes of a new stream do not wait until its
        // protocol is agreed on. A peer that does not speak it says so where the answer would be.
        .with_swarm_config(|swarm| {
            let lazy = swarm.with_substream_upgrade_protocol_override(Version::V1Lazy);
            lazy.with_idle_connection_timeout(config.limits.idle_timeout)
        })
        .with_connection_timeout(config.limits.dial_timeout)
        .build();
    Ok(swarm)
}

impl Behaviour {
    fn new(identity: &Identity, config: &NetConfig) -> Result<Self, NetError> {
        let keypair = identity.keypair();
        let peer = keypair.public().to_peer_id();
        let limits = &config.limits;
        let mdns = if config.mdns { Some(mdns_behaviour(peer)?) } else { None };
        Ok(Self {
            blocked: allow_block_list::Behaviour::default(),
            limits: connection_limits::Behaviour::new(connection_limits(limits)),
            memory: memory_connection_limits::Behaviour::with_max_bytes(limits.memory_bytes_max),
            admission: admission::Behaviour::new(limits.connections_per_ip_max),
            identify: identify::Behaviour::new(
                identify::Config::new(FAMILY.to_owned(), keypair.public())
                    .with_agent_version(config.agent.chars().take(AGENT_CHARS_MAX).collect())
                    .with_push_listen_addr_updates(true)
                    .with_cache_size(0),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(limits.ping_interval).with_timeout(limits.ping_timeout),
            ),
            kad: discovery(peer),
            mdns: mdns.into(),
            gossip: gossip::behaviour(keypair).map_err(|reason| setup("gossip", std::io::Error::other(reason)))?,
            control: control(limits),
            blobs: streams::Behaviour::new(StreamProtocol::new(BLOB_PROTOCOL), limits.blob_streams_per_peer_max),
        })
    }
}

fn setup(what: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> NetError {
    let source: Cause = Arc::new(source);
    NetError::Setup { what, source }
}

fn mdns_behaviour(peer: libp2p::PeerId) -> Result<mdns::tokio::Behaviour, NetError> {
    mdns::tokio::Behaviour::new(mdns::Config::default(), peer)
        .map_err(|source| setup("discovery on the local network (multicast DNS)", source))
}

fn connection_limits(limits: &NetLimits) -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.connections_pending_max))
        .with_max_pending_outgoing(Some(limits.connections_pending_max))
        .with_max_established_incoming(Some(limits.connections_in_max))
        .with_max_established_outgoing(Some(limits.connections_out_max))
        .with_max_established_per_peer(Some(limits.connections_per_peer_max))
}

/// Kademlia for finding neighbours only: it stores nothing for anybody.
fn discovery(peer: libp2p::PeerId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_query_timeout(DISCOVERY_TIMEOUT)
        .set_periodic_bootstrap_interval(Some(DISCOVERY_INTERVAL))
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None);
    let empty =
        MemoryStoreConfig { max_records: 0, max_value_bytes: 0, max_providers_per_key: 0, max_provided_keys: 0 };
    let mut kad = kad::Behaviour::with_config(peer, MemoryStore::with_config(peer, empty), config);
    // Without a way to learn whether others reach us (autonat), everybody answers questions; who cannot be reached is dropped by
    // those who try.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

fn control(limits: &NetLimits) -> request_response::Behaviour<ControlCodec> {
    // Past its own bound libp2p drops streams without a word, so it is above ours, which answers "busy": our own requests, twice
    // as many of theirs, and as many again that are just being refused.
    let streams_max = limits.requests_per_peer_max.saturating_mul(6);
    let config = request_response::Config::default()
        .with_request_timeout(limits.request_timeout)
        .with_max_concurrent_streams(streams_max);
    let protocols = [(StreamProtocol::new(CONTROL_PROTOCOL), ProtocolSupport::Full)];
    request_response::Behaviour::with_codec(ControlCodec, protocols, config)
}
