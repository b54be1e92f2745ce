//! The wires of a world, and what becomes of messages on them.

use serde::{Deserialize, Serialize};

/// The wires. A node talks to every gateway with the same latency and bandwidth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Links {
    /// The shortest round trip between a node and a gateway.
    pub rtt_min_ms: u64,
    /// The longest.
    pub rtt_max_ms: u64,
    /// Median of the lognormal time until a blob's first byte arrives: finding and connecting. 2.9 s is IPFS's (SIGCOMM 2022).
    pub fetch_median_ms: f64,
    /// Its 95th percentile. 4.7 s is IPFS's.
    pub fetch_p95_ms: f64,
    /// Share of fetches that come to nothing.
    pub fetch_failures: f64,
    /// Share of nodes that are reached through a relay only: hole punching succeeds for 70 % (libp2p's dcutr campaign).
    pub relayed_share: f64,
    /// What a relay adds to the round trip.
    pub relayed_extra_ms: u64,
    /// What a relay lets through, each way.
    pub relayed_mbit_s: f64,
    /// A node's downlink.
    pub node_down_mbit_s: f64,
    /// A node's uplink.
    pub node_up_mbit_s: f64,
    /// A client's uplink. Each job has a client of its own, as in the paper; its transfers share the link fairly.
    pub client_up_mbit_s: f64,
    /// A client's downlink, likewise.
    pub client_down_mbit_s: f64,
    /// Whether nodes that are reached without a relay hand what they have to others, so that it need not come from the client.
    pub peers: bool,
    /// Gossip brings a job notice to every node within this time.
    pub gossip_max_ms: u64,
}

/// What becomes of a message on its way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Messages {
    /// Probability that it is lost.
    pub lost: f64,
    /// Probability that it arrives twice.
    pub doubled: f64,
    /// Probability that it comes late, so that later ones overtake it.
    pub reordered: f64,
    /// A late one comes up to this much later.
    pub late_max_ms: u64,
}

/// Section 3.3 of our networking study, with a client at 100 Mbit/s.
impl Default for Links {
    fn default() -> Self {
        Self {
            rtt_min_ms: 20,
            rtt_max_ms: 300,
            fetch_median_ms: 2_900.0,
            fetch_p95_ms: 4_700.0,
            fetch_failures: 0.0,
            relayed_share: 0.3,
            relayed_extra_ms: 100,
            relayed_mbit_s: 4.0,
            node_down_mbit_s: 50.0,
            node_up_mbit_s: 10.0,
            client_up_mbit_s: 100.0,
            client_down_mbit_s: 100.0,
            peers: false,
            gossip_max_ms: 1_500,
        }
    }
}
