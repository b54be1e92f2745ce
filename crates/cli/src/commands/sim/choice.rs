//! Which world and which policies: names and options made into plans of runs (step III), with errors for people.

use std::error::Error;
use std::path::Path;
use std::str::FromStr;

use manyhands_sim::scenario::{BUILT_IN, POLICIES};
use manyhands_sim::{Scenario, ScenarioError};

use super::seeds::Plan;
use crate::failure::Failure;
use crate::files;
use crate::screen::text::printable;

/// A scenario file is no larger: the built-in ones have less than 1 kB.
const SCENARIO_BYTES_MAX: u64 = 1 << 20;

/// Scenarios that are there to compare policies.
const COMPARED: [&str; 1] = ["bench-168"];

/// A policy with whatever else belongs to a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// What people call it.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub story: &'static str,
    /// The rules of the gateways.
    policy: &'static str,
    /// Whether nodes work on when their result is needed no more.
    losers_run_on: bool,
}

const fn contender(name: &'static str, policy: &'static str, losers_run_on: bool, story: &'static str) -> Contender {
    Contender { name, story, policy, losers_run_on }
}

const CONTENDERS: [Contender; 5] = [
    contender("adaptive", "adaptive", false, "the product: leases, fastest first, copies only where they help"),
    contender("fixed-5-run-on", "fixed-5", true, "the paper: five copies of each segment, and the losers run on"),
    contender("fixed-5", "fixed-5", false, "five copies of each segment, and the losers are cancelled"),
    contender("fixed-5-ranked", "fixed-5-ranked", false, "the same on the nodes with the best benchmarks"),
    contender("requeue", "requeue", false, "one copy, and another one when it is lost"),
];

impl Contender {
    /// Every contender, the product first.
    pub const fn all() -> [Self; 5] {
        CONTENDERS
    }

    /// The contender of that name.
    pub fn named(name: &str) -> Result<Self, Failure> {
        CONTENDERS.into_iter().find(|contender| contender.name == name).ok_or_else(|| {
            let names: Vec<&str> = CONTENDERS.iter().map(|contender| contender.name).chain(["all"]).collect();
            Failure::usage(format!("there is no policy {:?}", printable(name)))
                .hint(format!("choose from {}", names.join(", ")))
        })
    }

    /// Those that were asked for, each once; without any, what suits the scenario.
    pub fn chosen(names: &[String], scenario: &Scenario) -> Result<Vec<Self>, Failure> {
        let mut chosen: Vec<Self> = Vec::new();
        for name in names {
            let found = if name == "all" { CONTENDERS.to_vec() } else { vec![Self::named(name)?] };
            for contender in found {
                if !chosen.contains(&contender) {
                    chosen.push(contender);
                }
            }
        }
        match chosen.is_empty() {
            false => Ok(chosen),
            true if COMPARED.contains(&scenario.name.as_str()) => Ok(CONTENDERS.to_vec()),
            true => Ok(vec![Self::of(scenario)?]),
        }
    }

    /// The scenario's own.
    fn of(scenario: &Scenario) -> Result<Self, Failure> {
        let own =
            |contender: &Self| contender.policy == scenario.policy && contender.losers_run_on == scenario.losers_run_on;
        CONTENDERS.into_iter().find(own).ok_or_else(|| {
            Failure::usage(format!(
                "the scenario's policy {} with losers_run_on = {} is none of the contenders",
                scenario.policy, scenario.losers_run_on
            ))
            .hint("choose one with --policy")
        })
    }

    /// The scenario under this contender's rules.
    pub fn under(self, scenario: &Scenario) -> Scenario {
        Scenario { policy: self.policy.to_owned(), losers_run_on: self.losers_run_on, ..scenario.clone() }
    }
}

/// A scenario that was read and checked.
#[derive(Debug, Clone)]
pub struct World {
    /// It.
    pub scenario: Scenario,
}

impl World {
    /// A built-in scenario, or that of a file.
    pub fn named(name: &str) -> Result<Self, Failure> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::read(text, name);
        }
        let path = Path::new(name);
        let looks_like_a_path = name.contains(std::path::MAIN_SEPARATOR) || path.extension().is_some();
        if !path.exists() && !looks_like_a_path {
            let names = BUILT_IN.map(|(known, _)| known).join(", ");
            return Err(Failure::usage(format!("there is no scenario {:?}", printable(name)))
                .hint(format!("choose from {names}, or give the path of a TOML file")));
        }
        let bytes = files::read(path, "scenario", SCENARIO_BYTES_MAX)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::usage(format!("the scenario {} is no text", path.display())))?;
        Self::read(&text, name)
    }

    fn read(text: &str, name: &str) -> Result<Self, Failure> {
        Scenario::from_toml(text).map(|scenario| Self { scenario }).map_err(|error| wrong(&error, name))
    }

    /// With other numbers of nodes and jobs.
    pub fn sized(mut self, nodes: Option<u32>, jobs: Option<u32>) -> Result<Self, Failure> {
        if let Some(nodes) = nodes {
            self.scenario.fleet.nodes = nodes;
        }
        if let (Some(jobs), Some(load)) = (jobs, self.scenario.jobs.first_mut()) {
            load.count = jobs;
        }
        self.checked()
    }

    /// With another share of nodes that waste time.
    pub fn with_wasters(mut self, share: f64) -> Result<Self, Failure> {
        self.scenario.villains.wasters = share;
        self.checked()
    }

    fn checked(self) -> Result<Self, Failure> {
        self.scenario.check().map_err(|error| wrong(&error, &self.scenario.name))?;
        Ok(self)
    }

    /// One plan for each contender and share of wasters.
    pub fn plans(&self, contenders: &[Contender], wasters: Option<&[f64]>) -> Result<Vec<Plan>, Failure> {
        let own = [self.scenario.villains.wasters];
        let shares = wasters.unwrap_or(&own);
        let mut plans = Vec::new();
        for share in shares {
            let world = self.clone().with_wasters(*share)?;
            for contender in contenders {
                let label = match shares {
                    [_] => contender.name.to_owned(),
                    _ => format!("{} w={share}", contender.name),
                };
                let scenario = contender.under(&world.scenario);
                plans.push(Plan { label, contender: contender.name, scenario });
            }
        }
        Ok(plans)
    }
}

/// What is wrong with a scenario: for TOML the line and the field.
fn wrong(error: &ScenarioError, name: &str) -> Failure {
    let mut message = format!("{}: {error}", printable(name));
    if let Some(source) = error.source() {
        message = format!("{message}\n{}", printable(source.to_string().trim_end()));
    }
    let failure = Failure::usage(message);
    match error {
        ScenarioError::Toml(_) => failure.hint("docs/simulator.md names the fields and their defaults"),
        ScenarioError::Field { field: "policy", .. } => failure.hint(format!("policies: {}", POLICIES.join(", "))),
        _ => failure,
    }
}

/// Shares between 0 and 1: `0.02,0.2,0.5`.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares(pub Vec<f64>);

impl FromStr for Shares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = |part: &str| {
            let number = part.trim().parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
            number.ok_or_else(|| format!("a share must be a number from 0 to 1, got {part:?}"))
        };
        text.split(',').map(share).collect::<Result<Vec<f64>, String>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cafe() -> World {
        World::named("cafe").unwrap()
    }

    #[test]
    fn every_contender_is_a_policy_of_the_simulator_and_every_scenario_can_be() {
        for contender in Contender::all() {
            contender.under(&cafe().scenario).check().unwrap();
        }
        for (name, _) in BUILT_IN {
            let world = World::named(name).unwrap();
            assert_eq!(world.scenario.name, name);
            Contender::chosen(&[], &world.scenario).unwrap();
        }
        assert!(BUILT_IN.iter().any(|(name, _)| COMPARED.contains(name)));
    }

    #[test]
    fn policies_are_chosen_by_name_each_once() {
        let chosen = |names: &[&str], scenario: &str| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let world = World::named(scenario).unwrap();
            Contender::chosen(&names, &world.scenario).map(|chosen| chosen.iter().map(|one| one.name).collect())
        };
        assert_eq!(chosen(&["requeue", "adaptive", "requeue"], "cafe"), Ok(vec!["requeue", "adaptive"]));
        assert_eq!(chosen(&[], "cafe"), Ok(vec!["adaptive"]));
        assert_eq!(chosen(&[], "bench-168").unwrap().len(), 5);
        assert_eq!(chosen(&["requeue", "all"], "cafe").unwrap().len(), 5);
        let failure = chosen(&["best"], "cafe").unwrap_err();
        assert!(failure.message.contains("\"best\"") && failure.hint.unwrap().contains("fixed-5-run-on"));
    }

    #[test]
    fn an_unknown_scenario_is_answered_with_the_known_ones() {
        let failure = World::named("coffee").unwrap_err();
        assert!(failure.hint.unwrap().contains("cafe, paper-840"));
        assert!(World::named("no/such.toml").unwrap_err().message.contains("no/such.toml"));
    }

    #[test]
    fn a_wrong_file_is_answered_with_line_and_field() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.toml");
        let named = |text: &str| {
            std::fs::write(&path, text).unwrap();
            World::named(path.to_str().unwrap()).unwrap_err().message
        };
        let message = named("name = \"w\"\njobs = [{}]\n[fleet]\nnodez = 3\n");
        assert!(message.contains("line 4") && message.contains("nodez"), "{message}");
        let message = named("name = \"w\"\njobs = [{}]\n[fleet]\nnodes = 0\n");
        assert!(message.contains("fleet.nodes"), "{message}");
    }

    #[test]
    fn sizes_and_shares_replace_the_scenarios() {
        let world = cafe().sized(Some(12), Some(2)).unwrap();
        assert_eq!((world.scenario.fleet.nodes, world.scenario.jobs[0].count), (12, 2));
        assert!(cafe().sized(Some(u32::MAX), None).unwrap_err().message.contains("fleet.nodes"));
        let plans = world.plans(&Contender::all()[..2], Some(&[0.0, 0.5])).unwrap();
        let labels: Vec<&str> = plans.iter().map(|plan| plan.label.as_str()).collect();
        assert_eq!(labels, ["adaptive w=0", "fixed-5-run-on w=0", "adaptive w=0.5", "fixed-5-run-on w=0.5"]);
        assert_eq!(plans[3].scenario.villains.wasters, 0.5);
        assert!(plans[3].scenario.losers_run_on && !plans[2].scenario.losers_run_on);
        assert_eq!("0.02, .5".parse(), Ok(Shares(vec![0.02, 0.5])));
        assert!("2".parse::<Shares>().is_err() && "".parse::<Shares>().is_err() && "nan".parse::<Shares>().is_err());
    }
}
