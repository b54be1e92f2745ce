//! `manyhands sim`: worlds of weak, leaving and lying machines on virtual time, and what the rules make of them (steps III to V).
//!
//! The simulator is the real rules of gateways and nodes; this command chooses worlds and policies, runs seeds on all cores, and shows
//! the figures. It touches no network.

mod choice;
mod paper;
mod pictures;
mod seeds;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use manyhands_sim::Scenario;
use manyhands_sim::report::summary::Case;
use manyhands_sim::report::table;
use manyhands_sim::scenario::BUILT_IN;
use serde::Serialize;

use crate::failure::Failure;
use crate::screen;
use crate::screen::runs::Runs;
use crate::screen::table::pairs;
use crate::screen::text::{plural, printable};
use choice::{Contender, Shares, World};
use pictures::Pictures;
pub use seeds::News;
use seeds::{Done, Plan, Seeds};

/// Options of `sim`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SimArgs {
    #[command(subcommand)]
    command: Option<SimCommand>,
    #[command(flatten)]
    world: WorldArgs,
}

/// What `sim` can do beside running one scenario.
#[derive(Debug, Subcommand)]
enum SimCommand {
    /// Lists the built-in scenarios and the policies.
    List {
        /// Prints them as JSON on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Runs the scenario of each claim of the paper, and sets the claim beside what the simulation shows.
    Paper(paper::PaperArgs),
}

/// Which world, under which policies, with which seeds.
#[derive(Debug, Args)]
struct WorldArgs {
    /// A built-in scenario's name, which `manyhands sim list` shows, or the path of a TOML file.
    #[arg(required = true)]
    scenario: Option<String>,
    /// Policies to compare, with commas between them: names that `manyhands sim list` shows, or all [default: the scenario's own; all for
    /// bench-168].
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    policy: Vec<String>,
    #[command(flatten)]
    seeds: Seeds,
    /// So many nodes instead of the scenario's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    nodes: Option<u32>,
    /// So many jobs of the scenario's first kind instead of its own number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// Shares of nodes that take work and never return it, one after the other: 0.02,0.2,0.5 [default: the scenario's].
    #[arg(long, value_name = "SHARE,..")]
    wasters: Option<Shares>,
    /// Prints the figures as JSON on standard output.
    #[arg(long)]
    json: bool,
    /// Writes pictures into this directory, which is made if it is missing.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
}

/// What `sim list` shows: names, each with its story.
#[derive(Serialize)]
struct Choice {
    scenarios: Vec<Named>,
    policies: Vec<Named>,
}

/// A scenario or policy that can be chosen.
#[derive(Serialize)]
struct Named {
    name: &'static str,
    story: String,
}

/// What standard output holds with `--json`.
#[derive(Serialize)]
struct SimJson<'a> {
    scenario: &'a Scenario,
    cases: &'a [Case],
    pictures: &'a [String],
}

impl SimArgs {
    /// Whether standard output is for a program.
    pub const fn wants_json(&self) -> bool {
        match &self.command {
            Some(SimCommand::List { json }) => *json,
            Some(SimCommand::Paper(args)) => args.json,
            None => self.world.json,
        }
    }
}

/// Does it.
pub fn run(args: SimArgs) -> Result<ExitCode, Failure> {
    match args.command {
        Some(SimCommand::List { json: true }) => screen::json(&Choice::all()),
        Some(SimCommand::List { json: false }) => screen::out(&Choice::all().lines().join("\n")),
        Some(SimCommand::Paper(args)) => paper::run(&args)?,
        None => compare(args.world)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs one scenario under each policy and shows the table.
fn compare(args: WorldArgs) -> Result<(), Failure> {
    let name = args.scenario.as_deref().unwrap_or_default();
    let world = World::named(name)?.sized(args.nodes, args.jobs)?;
    let contenders = Contender::chosen(&args.policy, &world.scenario)?;
    let plans = world.plans(&contenders, args.wasters.as_ref().map(|shares| shares.0.as_slice()))?;
    let pictures = args.svg.as_deref().map(Pictures::new).transpose()?;
    screen::err(&format!(
        "simulating {}: {}, {}, {} x {}",
        printable(&world.scenario.name),
        plural(world.scenario.fleet.nodes.into(), "node"),
        plural(world.scenario.job_count().into(), "job"),
        plural(plans.len() as u64, "case"),
        plural(args.seeds.count.into(), "seed"),
    ));
    let done = simulate(&plans, &args.seeds, pictures.is_some())?;
    let written = pictures.map_or_else(|| Ok(Vec::new()), |pictures| pictures.write(&done))?;
    let cases: Vec<Case> = done.into_iter().map(|done| done.case).collect();
    if args.json {
        screen::json(&SimJson { scenario: &world.scenario, cases: &cases, pictures: &written });
        return Ok(());
    }
    screen::out(&table::table(&cases).join("\n"));
    screen::out(&format!("\n{}", table::legend().join("\n")));
    written.iter().for_each(|path| screen::err(&format!("wrote {path}")));
    Ok(())
}

/// Runs every plan with every seed, and shows how far it is.
fn simulate(plans: &[Plan], seeds: &Seeds, keeps_first: bool) -> Result<Vec<Done>, Failure> {
    let runs = Runs::new(plans.len() as u64 * u64::from(seeds.count));
    let done = seeds::run_all(plans, seeds, manyhands_sim::run, keeps_first, &mut |news| runs.show(news));
    runs.clear();
    done
}

impl Choice {
    fn all() -> Self {
        let story = |text| Scenario::from_toml(text).map_or_else(|error| error.to_string(), |scenario| scenario.story);
        let policies = Contender::all().into_iter();
        Self {
            scenarios: BUILT_IN.iter().map(|(name, text)| Named { name, story: story(text) }).collect(),
            policies: policies.map(|it| Named { name: it.name, story: it.story.to_owned() }).collect(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let listed = |named: &[Named]| -> Vec<String> {
            let told: Vec<_> = named.iter().map(|named| (named.name, named.story.clone())).collect();
            pairs(&told).into_iter().map(|line| format!("  {line}")).collect()
        };
        let mut lines = vec!["Scenarios:".to_owned()];
        lines.extend(listed(&self.scenarios));
        lines.extend([String::new(), "Policies:".to_owned()]);
        lines.extend(listed(&self.policies));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_and_policy_has_its_story() {
        let lines = Choice::all().lines();
        assert_eq!(lines.len(), BUILT_IN.len() + Contender::all().len() + 3);
        for (name, _) in BUILT_IN {
            let line = lines.iter().find(|line| line.trim_start().starts_with(name)).unwrap();
            assert!(line.len() > name.len() + 20, "{line}");
        }
    }
}
