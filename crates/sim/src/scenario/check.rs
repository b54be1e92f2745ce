//! Whether a described world can be. Everything later relies on what is checked here.

use super::{Arrival, POLICIES, Scenario, policy_by_name};

/// Gateways of one world: each node keeps a bit of a word for each.
pub const GATEWAYS_MAX: u32 = 64;

/// Nodes of one world: five times the paper's largest network, and what fits into a laptop's memory.
pub const NODES_MAX: u32 = 100_000;

/// Jobs of one world.
pub const JOBS_MAX: u32 = 10_000;

/// Segments of one world, all jobs together.
pub const UNITS_MAX: u64 = 1_000_000;

/// A scenario that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It is no TOML, or has a wrong field.
    #[error("the scenario cannot be read")]
    Toml(#[from] Box<toml::de::Error>),
    /// A field has a value that no world can have.
    #[error("the scenario's field {field} {why}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it, and what is allowed.
        why: String,
    },
    /// There is no built-in scenario of this name.
    #[error(
        "there is no built-in scenario {0:?}; give the path of a TOML file, or one of the names that the list shows"
    )]
    Unknown(String),
}

impl Scenario {
    /// Whether this world can be.
    ///
    /// # Errors
    /// When a field is out of bounds.
    pub fn check(&self) -> Result<(), ScenarioError> {
        if policy_by_name(&self.policy).is_none() {
            return wrong("policy", format!("is {:?}; there are {}", self.policy, POLICIES.join(", ")));
        }
        self.check_fleet()?;
        self.check_villains()?;
        self.check_links()?;
        self.check_jobs()
    }

    fn check_fleet(&self) -> Result<(), ScenarioError> {
        let fleet = &self.fleet;
        count("fleet.nodes", u64::from(fleet.nodes), u64::from(NODES_MAX))?;
        count("fleet.slots", u64::from(fleet.slots), u64::from(manyhands_proto::limits::SLOTS_MAX))?;
        count("fleet.nodes_per_operator", u64::from(fleet.nodes_per_operator), u64::from(NODES_MAX))?;
        positive("fleet.speed_median", fleet.speed_median)?;
        positive("fleet.speed_min", fleet.speed_min)?;
        at_least("fleet.speed_max", fleet.speed_max, fleet.speed_min)?;
        at_least("fleet.speed_sigma", fleet.speed_sigma, 0.0)?;
        if fleet.memory.is_empty() {
            return wrong("fleet.memory", "must name at least one class".to_owned());
        }
        fleet.memory.iter().try_for_each(|class| positive("fleet.memory.share", class.share))?;
        at_least("noise.sigma", self.noise.sigma, 0.0)?;
        share("noise.slow_share", self.noise.slow_share)?;
        positive("noise.slow_min", self.noise.slow_min)?;
        at_least("noise.slow_max", self.noise.slow_max, self.noise.slow_min)?;
        if let Some(churn) = &self.churn {
            count("churn.lifetime_ms", churn.lifetime_ms, u64::MAX)?;
            share("churn.noticed_share", churn.noticed_share)?;
        }
        if self.clocks.drift_ppm > 100_000 {
            return wrong("clocks.drift_ppm", "must be at most 100000: no clock is a tenth off".to_owned());
        }
        self.correlated_loss.iter().try_for_each(|loss| share("correlated_loss.share", loss.share))
    }

    fn check_villains(&self) -> Result<(), ScenarioError> {
        let villains = &self.villains;
        let shares = [
            ("villains.liars", villains.liars),
            ("villains.wasters", villains.wasters),
            ("villains.stallers", villains.stallers),
            ("villains.plagiarists", villains.plagiarists),
            ("villains.flappers", villains.flappers),
            ("villains.quitters", villains.quitters),
            ("villains.turncoats", villains.turncoats),
            ("villains.sybils", villains.sybils),
        ];
        shares.iter().try_for_each(|(field, value)| share(field, *value))?;
        share("villains", shares.iter().map(|(_, value)| value).sum())?;
        at_least("villains.staller_factor", villains.staller_factor, 1.0)?;
        count("villains.sybil_identities", u64::from(villains.sybil_identities), u64::from(NODES_MAX))?;
        count("villains.flapper_up_ms", villains.flapper_up_ms, u64::MAX)?;
        count("villains.flapper_down_ms", villains.flapper_down_ms, u64::MAX)?;
        positive("villains.boast", villains.boast)
    }

    fn check_links(&self) -> Result<(), ScenarioError> {
        let (links, messages) = (&self.links, &self.messages);
        if links.rtt_min_ms == 0 || links.rtt_max_ms < links.rtt_min_ms {
            return wrong("links.rtt_max_ms", "must not be below links.rtt_min_ms, which must not be 0".to_owned());
        }
        for (field, value) in [
            ("links.relayed_mbit_s", links.relayed_mbit_s),
            ("links.node_down_mbit_s", links.node_down_mbit_s),
            ("links.node_up_mbit_s", links.node_up_mbit_s),
            ("links.client_up_mbit_s", links.client_up_mbit_s),
            ("links.client_down_mbit_s", links.client_down_mbit_s),
            ("links.fetch_median_ms", links.fetch_median_ms),
        ] {
            positive(field, value)?;
        }
        at_least("links.fetch_p95_ms", links.fetch_p95_ms, links.fetch_median_ms)?;
        share("links.fetch_failures", links.fetch_failures)?;
        share("links.relayed_share", links.relayed_share)?;
        share("messages.reordered", messages.reordered)?;
        share("messages.lost", messages.lost)?;
        share("messages.lost and messages.doubled", messages.lost + messages.doubled)
    }

    fn check_jobs(&self) -> Result<(), ScenarioError> {
        count("gateways.count", u64::from(self.gateways.count), u64::from(GATEWAYS_MAX))?;
        count("gateways.checks_at_once", u64::from(self.gateways.checks_at_once), 4_096)?;
        count("jobs.count", u64::from(self.job_count()), u64::from(JOBS_MAX))?;
        let segments = |load: &super::Load| u64::from(load.count).saturating_mul(load.segments_max());
        count("jobs.segments", self.jobs.iter().map(segments).fold(0, u64::saturating_add), UNITS_MAX)?;
        for load in &self.jobs {
            count("jobs.count", u64::from(load.count), u64::from(JOBS_MAX))?;
            count("jobs.segments", u64::from(load.segments), UNITS_MAX)?;
            if load.arrival != Arrival::AtOnce {
                count("jobs.every_ms", load.every_ms, u64::MAX)?;
            }
        }
        Ok(())
    }
}

fn wrong(field: &'static str, why: String) -> Result<(), ScenarioError> {
    Err(ScenarioError::Field { field, why })
}

fn share(field: &'static str, value: f64) -> Result<(), ScenarioError> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { wrong(field, format!("is {value}; it must be from 0 to 1")) }
}

fn positive(field: &'static str, value: f64) -> Result<(), ScenarioError> {
    let is_fine = value.is_finite() && value > 0.0;
    if is_fine { Ok(()) } else { wrong(field, format!("is {value}; it must be above 0")) }
}

fn at_least(field: &'static str, value: f64, least: f64) -> Result<(), ScenarioError> {
    let is_fine = value.is_finite() && value >= least;
    if is_fine { Ok(()) } else { wrong(field, format!("is {value}; it must be at least {least}")) }
}

fn count(field: &'static str, value: u64, most: u64) -> Result<(), ScenarioError> {
    let is_fine = (1..=most).contains(&value);
    if is_fine { Ok(()) } else { wrong(field, format!("is {value}; it must be from 1 to {most}")) }
}
