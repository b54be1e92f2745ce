//! What adversaries cost a network, and what they get: `cargo run --release -p manyhands-sim --example adversaries [SEEDS [PART_OF_A_NAME]]`
//!
//! The same fleet and the same jobs with one kind of adversary after the other. There are about as many honest machines in each world, so
//! that what a row has more of than the first is what its adversaries cost.
#![allow(clippy::print_stdout)]

use manyhands_proto::unit::UnitKind;
use manyhands_sim::record::{AttemptRun, End};
use manyhands_sim::report::metrics::Figures;
use manyhands_sim::scenario::{Scenario, Villains};
use manyhands_sim::{Run, run, villains};

/// Honest machines of each world.
const HONEST: u32 = 800;

/// A gateway that nobody knows yet, jobs of the paper's size for two hours at some two thirds of what the honest machines can do, and
/// machines that come and go.
const WORLD: &str = r#"
name = "adversaries"
challenges = true
horizon_ms = 14_400_000

[churn]
lifetime_ms = 10_800_000
downtime_ms = 1_800_000

[gateways]
count = 1

[[jobs]]
count = 80
arrival = "every"
every_ms = 90_000
segments = 168
po2 = 19
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seeds: u64 = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;
    println!("{HONEST} honest machines, {seeds} seeds");
    println!(
        "{:<44} {:>9} {:>7} {:>7} {:>7} {:>8} {:>7} {:>8} {:>8} {:>8}",
        "", "jobs", "first s", "p50 s", "p99 s", "s/proof", "copies", "leases", "vain %", "chall. %"
    );
    let named = std::env::args().nth(2).unwrap_or_default();
    for attack in attacks().iter().filter(|attack| attack.name.contains(&named)) {
        row(attack, seeds)?;
    }
    Ok(())
}

/// Adversaries of one world.
struct Attack {
    name: &'static str,
    /// Identities of them for each honest machine.
    each: f64,
    /// What they do; their share is set from `each`.
    harm: fn(f64) -> Villains,
}

fn attacks() -> Vec<Attack> {
    let attack = |name, each, harm| Attack { name, each, harm };
    vec![
        attack("nobody", 0.0, |_| none()),
        attack("garbage for proofs", 0.25, |liars| Villains { liars, ..none() }),
        attack("others' or old proofs", 0.25, |plagiarists| Villains { plagiarists, ..none() }),
        attack("leases that are never returned", 0.25, |wasters| Villains { wasters, ..none() }),
        attack("the same, ten for each honest node", 10.0, |wasters| Villains { wasters, ..none() }),
        attack("a score earned, the next lease stalled", 0.25, |turncoats| Villains { turncoats, ..none() }),
        attack("eight times too late", 0.25, |stallers| Villains { stallers, ..none() }),
        attack("stalling, vouched for as 4 times as fast", 0.25, vouched),
        attack("the same, one for each honest node", 1.0, vouched),
        attack("50 machines of 1 identity each", 0.0625, |sybils| Villains { sybils, sybil_identities: 1, ..none() }),
        attack("50 machines of 8 identities each", 0.5, |sybils| Villains { sybils, sybil_identities: 8, ..none() }),
        attack("50 machines of 64 identities each", 4.0, |sybils| Villains { sybils, sybil_identities: 64, ..none() }),
    ]
}

fn none() -> Villains {
    Villains::default()
}

fn vouched(wasters: f64) -> Villains {
    Villains { wasters, vouched: true, boast: 4.0, ..none() }
}

fn row(attack: &Attack, seeds: u64) -> Result<(), Box<dyn std::error::Error>> {
    let (name, each) = (attack.name, attack.each);
    let harm = (attack.harm)(each / (1.0 + each));
    let mut scenario = Scenario::from_toml(WORLD)?;
    scenario.fleet.nodes = (f64::from(HONEST) * (1.0 + each)).round() as u32;
    scenario.villains = harm;
    let runs: Vec<(Run, Vec<bool>)> = (1..=seeds)
        .map(|seed| Ok((run(&scenario, seed)?, villains(&scenario, seed))))
        .collect::<Result<_, Box<dyn std::error::Error>>>()?;
    let mean = |of: &dyn Fn(&Run, &[bool]) -> f64| {
        runs.iter().map(|(run, villains)| of(run, villains)).sum::<f64>() / runs.len() as f64
    };
    let figure = |of: fn(&Figures) -> Option<f64>| mean(&|run, _| of(&Figures::of(run)).unwrap_or(f64::INFINITY));
    let finished = mean(&|run, _| run.jobs.iter().filter(|job| job.finished_ms.is_some()).count() as f64);
    let first = mean(&|run, _| {
        let job = run.jobs.first().and_then(|job| Some(job.finished_ms? - job.submitted_ms));
        job.map_or(f64::INFINITY, |ms| ms as f64 / 1_000.0)
    });
    let theirs = |run: &Run, villains: &[bool]| -> Vec<AttemptRun> {
        let is_theirs = |attempt: &&AttemptRun| {
            attempt.unit.kind() == UnitKind::Prove && villains.get(attempt.node as usize).copied().unwrap_or(false)
        };
        run.attempts.iter().filter(is_theirs).copied().collect()
    };
    let identity_hours = |run: &Run, villains: &[bool]| {
        let count = villains.iter().filter(|is_villain| **is_villain).count().max(1);
        count as f64 * run.end_ms as f64 / 3_600_000.0
    };
    let leases = mean(&|run, villains| theirs(run, villains).len() as f64 / identity_hours(run, villains));
    let vain = mean(&|run, villains| {
        let theirs = theirs(run, villains);
        let vain = theirs.iter().filter(|attempt| attempt.end != End::Won).count();
        100.0 * vain as f64 / theirs.len().max(1) as f64
    });
    let challenges = mean(&|run, _| {
        run.scoring.map_or(0.0, |scoring| 100.0 * scoring.challenge_ms as f64 / scoring.work_ms.max(1) as f64)
    });
    println!(
        "{name:<44} {finished:>9.1} {first:>7.0} {:>7.0} {:>7.0} {:>8.0} {:>7.3} {leases:>8.2} {vain:>8.1} {challenges:>8.3}",
        figure(|figures| figures.makespan_p50_s),
        figure(|figures| figures.makespan_p99_s),
        figure(|figures| figures.node_seconds_per_proof),
        figure(|figures| figures.copies_per_segment),
    );
    Ok(())
}
