//! Runs plans with their seeds on all cores (steps III to V). The simulator itself knows no threads: each run is one, from beginning to
//! end, and what comes out does not depend on which thread was first.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use manyhands_sim::report::summary::{Case, SeedReport};
use manyhands_sim::{Run, Scenario, Violation};

use crate::failure::Failure;

/// What runs a scenario.
pub type Engine = fn(&Scenario, u64) -> Result<Run, Violation>;

/// Which seeds.
#[derive(Debug, Clone, Copy, Args)]
pub struct Seeds {
    /// How many seeds, each a world of its own.
    #[arg(long = "seeds", value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,
    /// The first seed; the others follow it.
    #[arg(long = "seed", value_name = "S", default_value_t = 1)]
    pub first: u64,
}

/// A scenario under one contender.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What its row is called.
    pub label: String,
    /// The contender's name.
    pub contender: &'static str,
    /// The world, with the contender's rules.
    pub scenario: Scenario,
}

/// What came of a plan.
#[derive(Debug)]
pub struct Done {
    /// Its figures.
    pub case: Case,
    /// The run with the first seed, if it was to be kept.
    pub first: Option<Run>,
}

/// One run has ended.
#[derive(Debug)]
pub struct News<'a> {
    /// The plan's label.
    pub label: &'a str,
    /// Its figures.
    pub report: &'a SeedReport,
    /// How long it took here.
    pub took: Duration,
}

struct Ended {
    plan: usize,
    report: SeedReport,
    run: Option<Run>,
    took: Duration,
}

impl Seeds {
    fn at(&self, place: usize) -> u64 {
        self.first.wrapping_add(place as u64)
    }
}

/// Runs every plan with every seed; tells of each run when it has ended.
pub fn run_all(
    plans: &[Plan],
    seeds: &Seeds,
    engine: Engine,
    keeps_first: bool,
    tell: &mut dyn FnMut(&News<'_>),
) -> Result<Vec<Done>, Failure> {
    let tasks = plans.len().saturating_mul(seeds.count as usize);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(tasks);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let mut reports: Vec<(Vec<SeedReport>, Option<Run>)> = plans.iter().map(|_| (Vec::new(), None)).collect();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || work(plans, seeds, engine, keeps_first, next, stop, &sender));
        }
        drop(sender);
        for ended in receiver {
            let ended = ended.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            let label = plans.get(ended.plan).map(|plan| plan.label.as_str()).unwrap_or_default();
            tell(&News { label, report: &ended.report, took: ended.took });
            if let Some((reports, first)) = reports.get_mut(ended.plan) {
                reports.push(ended.report);
                *first = first.take().or(ended.run);
            }
        }
        Ok::<(), Failure>(())
    })?;
    let done = |(plan, (reports, first)): (&Plan, (Vec<SeedReport>, Option<Run>))| {
        let wasters = Some(plan.scenario.villains.wasters);
        let case = Case::new(&plan.label, &plan.scenario.name, plan.contender, reports).with_wasters(wasters);
        Done { case, first }
    };
    Ok(plans.iter().zip(reports).map(done).collect())
}

/// Takes tasks until there are none: the seeds of the first plan, those of the second, and so on.
fn work(
    plans: &[Plan],
    seeds: &Seeds,
    engine: Engine,
    keeps_first: bool,
    next: &AtomicUsize,
    stop: &AtomicBool,
    sender: &Sender<Result<Ended, Failure>>,
) {
    while !stop.load(Ordering::Relaxed) {
        let task = next.fetch_add(1, Ordering::Relaxed);
        let (at, place) = (task / seeds.count as usize, task % seeds.count as usize);
        let Some(plan) = plans.get(at) else { return };
        let start = Instant::now();
        let ended = engine(&plan.scenario, seeds.at(place)).map_err(|violation| broken(plan, &violation));
        let ended = ended.map(|mut run| {
            plan.contender.clone_into(&mut run.policy);
            let report = SeedReport::of(&run);
            Ended { plan: at, report, run: (keeps_first && place == 0).then_some(run), took: start.elapsed() }
        });
        // That nobody listens any more means that another run has failed.
        let _ = sender.send(ended);
    }
}

fn broken(plan: &Plan, violation: &Violation) -> Failure {
    Failure::failed(format!("{} under {} broke a rule: {violation}", plan.scenario.name, plan.label))
        .hint(format!("that is a bug; --seeds 1 --seed {} shows it again", violation.seed))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use manyhands_proto::Unit;
    use manyhands_sim::record::{AttemptRun, Bound, End, JobRun};

    /// An engine that knows what comes out: `seed` times 100 s under any policy, and never with most nodes wasting time.
    pub fn known(scenario: &Scenario, seed: u64) -> Result<Run, Violation> {
        if seed == 13 {
            return Err(Violation { seed, at_ms: 5, what: "a job finished twice".to_owned() });
        }
        let end_ms = seed * 100_000;
        let is_done = scenario.villains.wasters < 0.7 || scenario.policy == "adaptive";
        let job = JobRun {
            gateway: 0,
            submitted_ms: 0,
            finished_ms: is_done.then_some(end_ms),
            last_proof_ms: is_done.then_some(end_ms - 20_000),
            segments: 1,
            joins_after_last_proof: Some(0),
            sent_bytes: 1,
            received_bytes: 1,
        };
        let attempt = AttemptRun {
            job: 0,
            unit: Unit::Prove(0),
            attempt: 1,
            node: 0,
            is_copy: false,
            granted_ms: 0,
            predicted_ms: end_ms,
            freed_ms: end_ms,
            end: if is_done { End::Won } else { End::Lapsed },
        };
        Ok(Run {
            scoring: None,
            scenario: scenario.name.clone(),
            policy: scenario.policy.clone(),
            seed,
            log_hash: format!("{seed:064x}"),
            events: 1,
            end_ms,
            nodes: scenario.fleet.nodes,
            jobs: vec![job],
            attempts: vec![attempt],
            bound: Bound { list_ms: 100_000, whole_ms: 110_000 },
        })
    }

    fn plans() -> Vec<Plan> {
        let scenario = Scenario::built_in("cafe").unwrap();
        let plan = |contender: &'static str| Plan { label: contender.into(), contender, scenario: scenario.clone() };
        vec![plan("adaptive"), plan("requeue")]
    }

    #[test]
    fn every_plan_has_every_seed_in_order() {
        let mut told = 0;
        let seeds = Seeds { count: 4, first: 2 };
        let done = run_all(&plans(), &seeds, known, true, &mut |_| told += 1).unwrap();
        assert_eq!((done.len(), told), (2, 8));
        for (done, name) in done.iter().zip(["adaptive", "requeue"]) {
            let seeds: Vec<u64> = done.case.seeds.iter().map(|seed| seed.seed).collect();
            assert_eq!((done.case.policy.as_str(), seeds), (name, vec![2, 3, 4, 5]));
            assert_eq!(done.case.pooled.makespan_p50_s, Some(300.0));
            let first = done.first.as_ref().unwrap();
            assert_eq!((first.seed, first.policy.as_str()), (2, name));
        }
    }

    #[test]
    fn a_broken_rule_ends_it_and_names_its_seed() {
        let seeds = Seeds { count: 30, first: 1 };
        let failure = run_all(&plans(), &seeds, known, false, &mut |_| ()).unwrap_err();
        assert!(failure.message.contains("a job finished twice"), "{failure:?}");
        assert!(failure.hint.unwrap().contains("--seed 13"));
    }
}
