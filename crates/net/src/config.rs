//! What a network task is started with, and every bound that it keeps.

use std::time::Duration;

/// How to take part in the network.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Multiaddresses to listen on, for instance `/ip4/0.0.0.0/tcp/4001` and `/ip4/0.0.0.0/udp/4001/quic-v1`. Port 0 takes a free
    /// port. Empty for a node that only dials out.
    pub listen: Vec<String>,
    /// Addresses at which others reach this node although it does not listen on them itself: a forwarded port, a public name.
    pub announce: Vec<String>,
    /// Multiaddresses of peers to know first and to return to, with or without `/p2p`.
    pub boot: Vec<String>,
    /// Whether to look for peers on the local network by multicast DNS.
    pub mdns: bool,
    /// What this node says it is, for instance `manyhands/0.1.0 node risc0/3.0.6`. Others show it; at most 128 characters are.
    pub agent: String,
    /// The bounds.
    pub limits: NetLimits,
}

impl Default for NetConfig {
    /// Listens nowhere and knows nobody.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            announce: Vec::new(),
            boot: Vec::new(),
            mdns: false,
            agent: concat!("manyhands/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: NetLimits::default(),
        }
    }
}

/// What others, and we ourselves, may use at most. The defaults hold on a machine with 4 GB of memory and 1,024 open files.
#[derive(Debug, Clone)]
pub struct NetLimits {
    /// Connections that others opened. A gateway serves one connection for each node; 512 leave half of the usual limit of 1,024
    /// open files to chunks, workers and HTTP.
    pub connections_in_max: u32,
    /// Connections that we opened. Discovery needs some 20 neighbours and a node a few gateways.
    pub connections_out_max: u32,
    /// Handshakes at the same time, for each direction. Each costs a key exchange (about 0.2 ms of a core) and a socket.
    pub connections_pending_max: u32,
    /// Connections with one peer. Two peers that dial each other over TCP and QUIC at once make up to four; three are enough to
    /// never refuse the last one that works.
    pub connections_per_peer_max: u32,
    /// Connections from one IPv4 address or one IPv6 /64, loopback excepted. Machines behind one router share an address.
    pub connections_per_ip_max: usize,
    /// Memory of this process, in bytes, above which new connections are refused: rather fewer peers than killed by the kernel.
    pub memory_bytes_max: usize,
    /// How long a connection that carries nothing stays open. A node with a lease speaks every 5 s, pings do not count, and a node
    /// that waits for work renews its bid each half minute; two minutes outlast all of these.
    pub idle_timeout: Duration,
    /// How long a dial may take with its handshakes. Twice the 10 s that a slow machine under full load was given in libp2p.
    pub dial_timeout: Duration,
    /// How often a peer is pinged. Fast enough for home routers, which forget a silent UDP flow after some 30 s.
    pub ping_interval: Duration,
    /// How long an answer to a ping may take. The second miss in a row closes the connection, so a vanished peer is noticed within
    /// 30 s.
    pub ping_timeout: Duration,
    /// How long a request may take from its first byte to the last of its answer. A gateway holds a bid for up to 30 s.
    pub request_timeout: Duration,
    /// Requests to one peer that wait for an answer. A node of 64 slots has at most 64 bids held and 64 leases to report on. A peer
    /// may have twice as many with us, because we notice later than it that one has ended.
    pub requests_per_peer_max: usize,
    /// Requests from all peers that wait for our answer: eight for each connection.
    pub requests_in_max: usize,
    /// Requests per second from one peer, twice as many at once; more are answered with "busy". 64 slots report every 5 s and finish
    /// a unit each now and then: some 20 in a second at the very most.
    pub requests_per_s_max: u32,
    /// Blob streams that one peer may have open to us. One blob uses one stream; a node fetches the inputs of a few leases at once.
    pub blob_streams_per_peer_max: usize,
    /// Blob streams that all peers may have open to us, each with some 64 KiB of buffers.
    pub blob_streams_max: usize,
    /// Notices per second that one peer may hand us, and that one gateway may have published; ten at once. More are not forwarded.
    pub notices_per_s_max: u32,
    /// Scores per second that one peer may hand us, and that one verifier may have published; a hundred at once. A network of 15,000 nodes, each
    /// scored every hour, makes four.
    pub scores_per_s_max: u32,
    /// Events that wait to be taken before the network is no longer read.
    pub events_max: usize,
    /// Peers that are blocked at the same time; the oldest is let off first. Identities are free, so the list cannot be a cure.
    pub blocked_max: usize,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            connections_in_max: 512,
            connections_out_max: 128,
            connections_pending_max: 64,
            connections_per_peer_max: 3,
            connections_per_ip_max: 64,
            memory_bytes_max: 2 << 30,
            idle_timeout: Duration::from_secs(120),
            dial_timeout: Duration::from_secs(20),
            ping_interval: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            requests_per_peer_max: 128,
            requests_in_max: 4096,
            requests_per_s_max: 100,
            blob_streams_per_peer_max: 16,
            blob_streams_max: 256,
            notices_per_s_max: 5,
            scores_per_s_max: 20,
            events_max: 1024,
            blocked_max: 4096,
        }
    }
}

/// Dials that wait for their outcome at the same time. Our own code starts them; the bound catches its mistakes.
pub(crate) const DIALS_MAX: usize = 64;
/// Blob streams that are being opened at the same time, likewise.
pub(crate) const OPENING_MAX: usize = 256;
/// Commands that wait for the task, likewise: it takes each within microseconds.
pub(crate) const COMMANDS_MAX: usize = 64;
/// Characters of a peer's agent text that are kept.
pub(crate) const AGENT_CHARS_MAX: usize = 128;
/// Peers whose rates are remembered; more than can be connected.
pub(crate) const PEERS_MAX: usize = 4096;
