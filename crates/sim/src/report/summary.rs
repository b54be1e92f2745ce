//! What several seeds have in common: each figure's median and spread, and the whole report as JSON (steps III to V).
//!
//! A single run is an anecdote. Nothing is averaged: the median by nearest rank is a value that occurred, and the least and the greatest
//! stand beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metrics::{Figures, makespans_ms, percentile_of_jobs, provings_ms, seconds};
use crate::record::Run;

/// What a report of several cases is, as JSON. The field names stay; new ones may be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// One for each scenario, policy and setting that was run.
    pub cases: Vec<Case>,
}

/// One scenario under one policy with several seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// What tells it from the others of its report: the policy, with whatever else was varied.
    pub label: String,
    /// The scenario's name.
    pub scenario: String,
    /// The policy's name.
    pub policy: String,
    /// The part of the nodes that take work and never return it, 0 to 1, if the caller knows it.
    pub waster_share: Option<f64>,
    /// The greatest number of nodes of any run.
    pub nodes: u32,
    /// Every run, in the order of its seed.
    pub seeds: Vec<SeedReport>,
    /// The jobs of all seeds together.
    pub pooled: Pooled,
    /// Median and spread over the seeds of every figure, by the figure's name.
    pub summary: BTreeMap<String, Spread>,
}

/// One run in short: what a machine needs to check and to compare it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedReport {
    /// The seed.
    pub seed: u64,
    /// SHA-256 over the event log, in hexadecimal: equal for equal scenario, policy and seed.
    pub log_hash: String,
    /// Events handled.
    pub events: u64,
    /// Virtual time at the end, in milliseconds.
    pub end_ms: u64,
    /// Nodes in the world.
    pub nodes: u32,
    /// From submission to delivery of each job, in milliseconds; `null` for a job that never finished.
    pub makespans_ms: Vec<Option<u64>>,
    /// From submission to the last segment's proof of each job, in milliseconds; `null` if a segment was never proved.
    pub provings_ms: Vec<Option<u64>>,
    /// The run's figures.
    pub figures: Figures,
}

/// Makespans over the jobs of all seeds. A scenario with one job has no tail in one run; in many it has.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Pooled {
    /// Jobs submitted.
    pub jobs: u64,
    /// Jobs whose receipt was delivered.
    pub jobs_finished: u64,
    /// Median makespan in seconds; `null` if it falls on a job that never finished.
    pub makespan_p50_s: Option<f64>,
    /// The 99th percentile of the makespan.
    pub makespan_p99_s: Option<f64>,
    /// Median time from submission to the last segment's proof.
    pub proving_p50_s: Option<f64>,
    /// The 99th percentile of the same.
    pub proving_p99_s: Option<f64>,
    /// Segments of all jobs.
    pub segments: u64,
    /// Segments whose proof was verified.
    pub segments_proved: u64,
}

/// One figure over several seeds: median, least and greatest.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// The median by nearest rank.
    pub median: Option<f64>,
    /// The least.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
}

/// What it means when a run has no such figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It never came to that: infinitely much.
    Never,
    /// It has no meaning in that run, which is left out.
    Nothing,
}

/// A figure, by its name.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Its name in the JSON.
    pub name: &'static str,
    /// Its value in a run.
    pub of: fn(&Figures) -> Option<f64>,
    /// What it means if there is none.
    pub missing: Missing,
}

const fn measure(name: &'static str, of: fn(&Figures) -> Option<f64>, missing: Missing) -> Measure {
    Measure { name, of, missing }
}

/// Every figure, in the order of [`Figures`].
pub const MEASURES: [Measure; 23] = [
    measure("jobs", |figures| Some(figures.jobs as f64), Missing::Nothing),
    measure("jobs_finished", |figures| Some(figures.jobs_finished as f64), Missing::Nothing),
    measure("segments", |figures| Some(figures.segments as f64), Missing::Nothing),
    measure("segments_proved", |figures| Some(figures.segments_proved as f64), Missing::Nothing),
    measure("makespan_p50_s", |figures| figures.makespan_p50_s, Missing::Never),
    measure("makespan_p99_s", |figures| figures.makespan_p99_s, Missing::Never),
    measure("proving_p50_s", |figures| figures.proving_p50_s, Missing::Never),
    measure("proving_p99_s", |figures| figures.proving_p99_s, Missing::Never),
    measure("p50_over_list_bound", |figures| figures.p50_over_list_bound, Missing::Never),
    measure("p50_over_whole_bound", |figures| figures.p50_over_whole_bound, Missing::Never),
    measure("node_seconds_per_proof", |figures| figures.node_seconds_per_proof, Missing::Nothing),
    measure("node_seconds_per_lift", |figures| figures.node_seconds_per_lift, Missing::Nothing),
    measure("node_seconds_per_join", |figures| figures.node_seconds_per_join, Missing::Nothing),
    measure("wasted_share_proving", |figures| figures.wasted_share_proving, Missing::Nothing),
    measure("wasted_share", |figures| figures.wasted_share, Missing::Nothing),
    measure("proofs_per_node_hour", |figures| figures.proofs_per_node_hour, Missing::Nothing),
    measure("copies_per_segment", |figures| figures.copies_per_segment, Missing::Nothing),
    measure("sent_bytes_per_job", |figures| figures.sent_bytes_per_job, Missing::Nothing),
    measure("received_bytes_per_job", |figures| figures.received_bytes_per_job, Missing::Nothing),
    measure("joins_after_last_proof", |figures| figures.joins_after_last_proof, Missing::Nothing),
    measure("join_chain_after_last_proof", |figures| figures.join_chain_after_last_proof, Missing::Nothing),
    measure("least_join_chain", |figures| figures.least_join_chain, Missing::Nothing),
    measure("refusal_s", |figures| figures.refusal_s, Missing::Nothing),
];

impl SeedReport {
    /// The run in short.
    pub fn of(run: &Run) -> Self {
        Self {
            seed: run.seed,
            log_hash: run.log_hash.clone(),
            events: run.events,
            end_ms: run.end_ms,
            nodes: run.nodes,
            makespans_ms: makespans_ms(&run.jobs),
            provings_ms: provings_ms(&run.jobs),
            figures: Figures::of(run),
        }
    }
}

impl Case {
    /// What these runs have in common. They may come in any order.
    pub fn new(label: &str, scenario: &str, policy: &str, mut seeds: Vec<SeedReport>) -> Self {
        seeds.sort_by_key(|seed| seed.seed);
        let summary = MEASURES.iter().map(|measure| (measure.name.to_owned(), measure.spread(&seeds))).collect();
        Self {
            label: label.to_owned(),
            scenario: scenario.to_owned(),
            policy: policy.to_owned(),
            waster_share: None,
            nodes: seeds.iter().map(|seed| seed.nodes).max().unwrap_or_default(),
            pooled: Pooled::of(&seeds),
            seeds,
            summary,
        }
    }

    /// Says which part of the nodes wastes time.
    #[must_use]
    pub const fn with_wasters(mut self, waster_share: Option<f64>) -> Self {
        self.waster_share = waster_share;
        self
    }

    /// Median and spread of a figure.
    pub fn spread(&self, measure: &Measure) -> Spread {
        measure.spread(&self.seeds)
    }
}

impl Pooled {
    fn of(seeds: &[SeedReport]) -> Self {
        let all = |of: fn(&SeedReport) -> &[Option<u64>]| seeds.iter().flat_map(of).copied().collect::<Vec<_>>();
        let (makespans, provings) = (all(|seed| &seed.makespans_ms), all(|seed| &seed.provings_ms));
        let percentile = |times_ms: &[Option<u64>], percent| percentile_of_jobs(times_ms, percent).map(seconds);
        Self {
            jobs: makespans.len() as u64,
            jobs_finished: makespans.iter().flatten().count() as u64,
            makespan_p50_s: percentile(&makespans, 50),
            makespan_p99_s: percentile(&makespans, 99),
            proving_p50_s: percentile(&provings, 50),
            proving_p99_s: percentile(&provings, 99),
            segments: seeds.iter().map(|seed| seed.figures.segments).sum(),
            segments_proved: seeds.iter().map(|seed| seed.figures.segments_proved).sum(),
        }
    }
}

impl Measure {
    /// Median and spread over these runs.
    pub fn spread(&self, seeds: &[SeedReport]) -> Spread {
        let values = seeds.iter().map(|seed| (self.of)(&seed.figures));
        let mut values: Vec<f64> = match self.missing {
            Missing::Never => values.map(|value| value.unwrap_or(f64::INFINITY)).collect(),
            Missing::Nothing => values.flatten().collect(),
        };
        values.sort_by(f64::total_cmp);
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        Spread {
            median: finite(super::metrics::nearest_rank(&values, 50)),
            min: finite(values.first().copied()),
            max: finite(values.last().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::handmade;
    use serde_json::Value;

    /// The hand-made run with its first job delivered after so many seconds.
    fn seed(seed: u64, makespan_s: Option<u64>) -> SeedReport {
        let mut run = handmade::run();
        run.seed = seed;
        run.jobs.truncate(1);
        run.jobs[0].finished_ms = makespan_s.map(|makespan_s| 2_000 + makespan_s * 1_000);
        SeedReport::of(&run)
    }

    fn case(seeds: Vec<SeedReport>) -> Case {
        Case::new("adaptive", "by-hand", "adaptive", seeds)
    }

    #[test]
    fn the_median_occurred_and_the_spread_stands_beside_it() {
        let case = case(vec![seed(3, Some(90)), seed(1, Some(100)), seed(2, Some(250)), seed(4, Some(110))]);
        assert_eq!(case.seeds.iter().map(|seed| seed.seed).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let expected = Spread { median: Some(100.0), min: Some(90.0), max: Some(250.0) };
        assert_eq!(case.summary["makespan_p50_s"], expected);
        // Of four jobs the 99th percentile is the last.
        assert_eq!((case.pooled.makespan_p50_s, case.pooled.makespan_p99_s), (Some(100.0), Some(250.0)));
    }

    #[test]
    fn a_job_that_never_finished_is_later_than_any_other() {
        let case = case(vec![seed(1, Some(100)), seed(2, None), seed(3, None)]);
        assert_eq!(case.summary["makespan_p50_s"], Spread { median: None, min: Some(100.0), max: None });
        assert_eq!((case.pooled.jobs, case.pooled.jobs_finished, case.pooled.makespan_p50_s), (3, 1, None));
    }

    #[test]
    fn a_figure_without_meaning_is_left_out() {
        let mut honest = seed(1, Some(100));
        honest.figures.refusal_s = None;
        let spread = case(vec![honest, seed(2, Some(100))]).summary["refusal_s"];
        assert_eq!(spread, Spread { median: Some(10.0), min: Some(10.0), max: Some(10.0) });
    }

    #[test]
    fn every_figure_has_its_measure() {
        let Value::Object(figures) = serde_json::to_value(Figures::of(&handmade::run())).unwrap() else {
            panic!("figures are an object")
        };
        let measured: std::collections::BTreeSet<&str> = MEASURES.iter().map(|measure| measure.name).collect();
        assert_eq!(measured, figures.keys().map(String::as_str).collect());
        for measure in MEASURES {
            let value = (measure.of)(&Figures::of(&handmade::run()));
            assert_eq!(value, figures[measure.name].as_f64(), "{}", measure.name);
        }
    }

    #[test]
    fn the_json_keeps_its_names_and_comes_back() {
        let report = Report { cases: vec![case(vec![seed(1, Some(100)), seed(2, None)]).with_wasters(Some(0.2))] };
        let value = serde_json::to_value(&report).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        let case = &value["cases"][0];
        assert_eq!(keys(case), "label nodes policy pooled scenario seeds summary waster_share");
        assert_eq!(keys(&case["seeds"][0]), "end_ms events figures log_hash makespans_ms nodes provings_ms seed");
        assert_eq!(
            keys(&case["pooled"]),
            "jobs jobs_finished makespan_p50_s makespan_p99_s proving_p50_s proving_p99_s segments segments_proved"
        );
        assert_eq!(keys(&case["summary"]["refusal_s"]), "max median min");
        assert_eq!(case["seeds"][1]["makespans_ms"], serde_json::json!([null]));
        assert_eq!(serde_json::from_value::<Report>(value).unwrap(), report);
    }
}
