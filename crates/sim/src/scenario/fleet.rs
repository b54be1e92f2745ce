//! The machines of a world: what they are, when they are there, and which of them mean harm.

use manyhands_proto::Po2;
use serde::{Deserialize, Serialize};

use super::po2;

/// The machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fleet {
    /// How many nodes.
    pub nodes: u32,
    /// Median speed; 1 is the paper's laptop (Table 2).
    pub speed_median: f64,
    /// Standard deviation of the speed's logarithm. Speeds of volunteers' machines are lognormal (Heien et al., TPDS 2012, 6.7 M BOINC
    /// hosts); 0.5 is our choice.
    pub speed_sigma: f64,
    /// No machine is slower.
    pub speed_min: f64,
    /// No machine is faster.
    pub speed_max: f64,
    /// Units that one node works on at the same time, each at its full speed.
    pub slots: u8,
    /// Nodes that share an operator and an address range.
    pub nodes_per_operator: u32,
    /// Whether a node has measured itself on a proof, a lift and a join, and says so when it bids (the paper's verifiable benchmark).
    pub states_timings: bool,
    /// Nodes start within this time from the beginning.
    pub start_spread_ms: u64,
    /// What fits into their memory. Shares need not add up to 1: they are weights.
    pub memory: Vec<Memory>,
}

/// A class of machines by memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Its weight among the classes.
    pub share: f64,
    /// The largest segment that it proves.
    pub po2_max: Po2,
    /// Memory of one slot, in bytes. Lifts and joins need 1.7 GB.
    pub memory_bytes: u64,
}

/// How one task's time differs from its machine's speed. The numbers are those of section 3.3 of our networking study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Standard deviation of the logarithm of each task's factor.
    pub sigma: f64,
    /// Share of tasks during which the machine's owner uses it.
    pub slow_share: f64,
    /// The least factor of such a task.
    pub slow_min: f64,
    /// The greatest factor of such a task.
    pub slow_max: f64,
    /// After so long a node knows by the processor time that its worker gets how much longer it will take, and says so with its
    /// heartbeats. It sees the owner's load; a task's usual noise it never sees. Zero: nodes say nothing.
    pub noticed_ms: u64,
}

/// How machines come and go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Mean of the exponential time that a machine stays. Half of the new peers of IPFS leave within two hours (IPFS RFM2): a mean of
    /// three hours.
    pub lifetime_ms: u64,
    /// Mean of the exponential time until it comes back; without it, it never does.
    pub downtime_ms: Option<u64>,
    /// Share of departures that break the connection at once. The others are noticed by silence.
    #[serde(default = "half")]
    pub noticed_share: f64,
}

/// Shares of machines that mean harm. A machine is one thing only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Villains {
    /// Send garbage as proof, at a random moment of the time that the work would take.
    pub liars: f64,
    /// Take work, confirm it for ever and never return it.
    pub wasters: f64,
    /// Work well, and hand over far too late.
    pub stallers: f64,
    /// How many times too late.
    pub staller_factor: f64,
    /// Send a proof of the right segment that was made for another node's lease; for lifts and joins, which have no nonce, garbage.
    pub plagiarists: f64,
    /// Connect and vanish in short turns, else honest.
    pub flappers: f64,
    /// Mean of the time that a flapper stays.
    pub flapper_up_ms: u64,
    /// Mean of the time that a flapper is away.
    pub flapper_down_ms: u64,
    /// Take work and give it back at once: the worker failed.
    pub quitters: f64,
    /// Work well for one lease, confirm the next for ever and never return it, and so on: they earn a score, and stall with it.
    pub turncoats: f64,
    /// Identities that share one machine with others. They work well, one after the other, and bid as if each had it for itself.
    pub sybils: f64,
    /// Identities of such a machine.
    pub sybil_identities: u32,
    /// The speed that all of them state, in times of their own.
    pub boast: f64,
    /// Whether each of them bids with a score that says so too, signed by a false verifier that every gateway has named.
    pub vouched: bool,
}

/// Machines that vanish together and do not come back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrelatedLoss {
    /// Share of all nodes.
    pub share: f64,
    /// When.
    pub at_ms: u64,
}

/// The nodes' clocks. Deadlines on the wire are durations, so an offset must change nothing; a clock that runs fast or slow shows in
/// heartbeats and in stated times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clocks {
    /// Offsets are spread over this time either way.
    pub skew_ms: u64,
    /// Rates are spread over this many millionths either way.
    pub drift_ppm: u32,
}

/// A hundred of the machines that the paper means: 8 GB each, so they prove 2^19 and stay solvent as storage nodes.
impl Default for Fleet {
    fn default() -> Self {
        Self {
            nodes: 100,
            speed_median: 1.0,
            speed_sigma: 0.5,
            speed_min: 0.25,
            speed_max: 4.0,
            slots: 1,
            nodes_per_operator: 4,
            states_timings: true,
            start_spread_ms: 10_000,
            memory: vec![Memory { share: 1.0, po2_max: po2(19), memory_bytes: 8_000_000_000 }],
        }
    }
}

impl Default for Noise {
    fn default() -> Self {
        Self { sigma: 0.15, slow_share: 0.1, slow_min: 1.5, slow_max: 3.0, noticed_ms: 10_000 }
    }
}

impl Default for Villains {
    fn default() -> Self {
        Self {
            liars: 0.0,
            wasters: 0.0,
            stallers: 0.0,
            staller_factor: 8.0,
            plagiarists: 0.0,
            flappers: 0.0,
            flapper_up_ms: 30_000,
            flapper_down_ms: 5_000,
            quitters: 0.0,
            turncoats: 0.0,
            sybils: 0.0,
            sybil_identities: 8,
            boast: 1.0,
            vouched: false,
        }
    }
}

impl Default for Clocks {
    fn default() -> Self {
        Self { skew_ms: 120_000, drift_ppm: 50 }
    }
}

fn half() -> f64 {
    0.5
}
