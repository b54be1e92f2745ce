//! A scenario: everything that is the case in a world before its first event. Written in TOML; every field has a default, and a field
//! that does not exist is an error.
//!
//! Shares are fractions of 1, times are milliseconds, link speeds are Mbit/s of 10^6 bits.

use manyhands_core::{Outcome, Policy};
use manyhands_proto::Po2;
use serde::{Deserialize, Serialize};

mod check;
mod fleet;
mod traffic;

pub use check::{GATEWAYS_MAX, JOBS_MAX, NODES_MAX, ScenarioError, UNITS_MAX};
pub use fleet::{Churn, Clocks, CorrelatedLoss, Fleet, Memory, Noise, Villains};
pub use traffic::{Links, Messages};

/// A world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, as in its file's name.
    pub name: String,
    /// What it is about, in one sentence.
    #[serde(default)]
    pub story: String,
    /// The rules that the gateways follow: a name of [`POLICIES`].
    #[serde(default = "adaptive")]
    pub policy: String,
    /// Whether nodes work on when their result is needed no more: the paper's network knows no cancelling. Cancels are then lost and a
    /// stale heartbeat counts as confirmed.
    #[serde(default)]
    pub losers_run_on: bool,
    /// Whether nodes that wait in vain without a score are challenged.
    #[serde(default)]
    pub challenges: bool,
    /// What scores cost is counted from then on: at the start all nodes are strangers at once.
    #[serde(default)]
    pub scoring_from_ms: u64,
    /// The run ends then at the latest.
    #[serde(default = "an_hour")]
    pub horizon_ms: u64,
    /// From then on messages arrive, machines stay and villains do new work honestly; so every job must end before the horizon, or the
    /// run is a violation. Without it faults never stop and nothing is promised.
    pub faults_end_ms: Option<u64>,
    /// The machines.
    #[serde(default)]
    pub fleet: Fleet,
    /// How a task's time differs from its machine's speed.
    #[serde(default)]
    pub noise: Noise,
    /// How machines come and go; they stay if it is missing.
    pub churn: Option<Churn>,
    /// Machines that mean harm.
    #[serde(default)]
    pub villains: Villains,
    /// Machines that vanish together.
    pub correlated_loss: Option<CorrelatedLoss>,
    /// The wires.
    #[serde(default)]
    pub links: Links,
    /// What becomes of messages.
    #[serde(default)]
    pub messages: Messages,
    /// The nodes' clocks.
    #[serde(default)]
    pub clocks: Clocks,
    /// The gateways.
    #[serde(default)]
    pub gateways: Gateways,
    /// The work.
    pub jobs: Vec<Load>,
}

/// The machines that own jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateways {
    /// How many. Jobs go to them in turn.
    pub count: u32,
    /// Time to verify one receipt: 20 ms (own measurement, risc0-zkvm 3.0.6).
    pub check_ms: u64,
    /// Receipts that one gateway verifies at once: its cores.
    pub checks_at_once: u32,
    /// Whether every node's owner has configured every gateway. If not, nodes learn of them by job notices only.
    pub configured: bool,
}

/// Some jobs of the same kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// How many jobs.
    pub count: u32,
    /// How they come.
    pub arrival: Arrival,
    /// When the first one comes, or the first waiting time begins.
    pub first_ms: u64,
    /// Time from one job to the next: exact for [`Arrival::Every`], the mean for [`Arrival::Poisson`].
    pub every_ms: u64,
    /// Segments of each job.
    pub segments: u32,
    /// Their size.
    pub po2: Po2,
    /// Whether the gateway chooses another size for the same guest, with the paper's inflation at each.
    pub auto: bool,
    /// The receipt that is wanted.
    pub outcome: Outcome,
    /// The executor's time from one segment to the next.
    pub cut_ms: u64,
    /// Time to store one segment's blob.
    pub store_ms: u64,
}

/// How jobs come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// All at once.
    AtOnce,
    /// One after the other in equal distances.
    Every,
    /// With exponential distances.
    Poisson,
}

impl Default for Gateways {
    fn default() -> Self {
        Self { count: 1, check_ms: 20, checks_at_once: 4, configured: true }
    }
}

/// One job of the paper's program at 2^19 (Table 2), half a minute after the world begins, so that the nodes have introduced
/// themselves. Its executor cuts some ten segments of 2^19 a second.
impl Default for Load {
    fn default() -> Self {
        Self {
            count: 1,
            arrival: Arrival::AtOnce,
            first_ms: 30_000,
            every_ms: 0,
            segments: 168,
            po2: po2(19),
            auto: false,
            outcome: Outcome::Succinct,
            cut_ms: 100,
            store_ms: 10,
        }
    }
}

impl Load {
    /// Cycles of the guest's own instructions.
    pub fn user_cycles(&self) -> u64 {
        let total = u64::from(self.segments).saturating_mul(self.po2.cycles());
        crate::figures::user_cycles(total, self.po2)
    }

    /// The same guests, cut into segments of another size.
    #[must_use]
    pub fn at(&self, po2: Po2) -> Self {
        let segments = u32::try_from(crate::figures::segments(self.user_cycles(), po2)).unwrap_or(u32::MAX);
        Self { po2, segments, auto: false, ..self.clone() }
    }

    /// Segments of a job at the size that has most of them.
    pub fn segments_max(&self) -> u64 {
        let of = |number| crate::figures::segments(self.user_cycles(), po2(number));
        let most = if self.auto { [14, 16].map(of).into_iter().max() } else { None };
        most.unwrap_or_default().max(u64::from(self.segments))
    }
}

/// The names of the rules that a scenario can choose.
pub const POLICIES: [&str; 4] = ["adaptive", "fixed-5", "fixed-5-ranked", "requeue"];

/// The rules of that name.
pub fn policy_by_name(name: &str) -> Option<Policy> {
    match name {
        "adaptive" => Some(Policy::default()),
        "fixed-5" => Some(Policy::fixed_copies(5)),
        "fixed-5-ranked" => Some(Policy::fixed_copies_ranked(5)),
        "requeue" => Some(Policy::requeue(600_000)),
        _ => None,
    }
}

/// The scenarios that come with the program, by name, with their text.
pub const BUILT_IN: [(&str, &str); 10] = [
    ("cafe", include_str!("../../scenarios/cafe.toml")),
    ("paper-840", include_str!("../../scenarios/paper-840.toml")),
    ("paper-1775", include_str!("../../scenarios/paper-1775.toml")),
    ("paper-15000", include_str!("../../scenarios/paper-15000.toml")),
    ("bench-168", include_str!("../../scenarios/bench-168.toml")),
    ("bench-168-loss", include_str!("../../scenarios/bench-168-loss.toml")),
    ("sequencers", include_str!("../../scenarios/sequencers.toml")),
    ("scores-busy", include_str!("../../scenarios/scores-busy.toml")),
    ("scores-idle", include_str!("../../scenarios/scores-idle.toml")),
    ("swarm-today", include_str!("../../scenarios/swarm-today.toml")),
];

impl Scenario {
    /// Reads a scenario and checks it.
    ///
    /// # Errors
    /// When the text is no TOML, has a field that does not exist, or describes a world that cannot be.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(Box::new)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// A scenario that comes with the program.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn built_in(name: &str) -> Result<Self, ScenarioError> {
        let known = BUILT_IN.iter().find(|(known, _)| *known == name);
        known.map_or_else(|| Err(ScenarioError::Unknown(name.to_owned())), |(_, text)| Self::from_toml(text))
    }

    /// The number of jobs.
    pub fn job_count(&self) -> u32 {
        self.jobs.iter().fold(0, |sum, load| sum.saturating_add(load.count))
    }
}

fn adaptive() -> String {
    "adaptive".to_owned()
}

fn an_hour() -> u64 {
    3_600_000
}

/// A segment size that is written in this program; a wrong one would be the smallest.
fn po2(number: u8) -> Po2 {
    Po2::try_from(number).unwrap_or(Po2::MIN)
}
