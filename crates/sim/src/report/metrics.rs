//! The figures of one run: what steps III to V cost, in time, in work of the nodes and in bytes of the clients.
//!
//! Every percentile is by nearest rank: of n values in order, the p-th percentile is the one at place ceil(p n / 100). It is therefore a
//! value that occurred. A job that never finished counts as infinitely late, never as absent. Nothing here guesses: a figure that has
//! no meaning in a run, such as the time until a lie is refused where nobody lied, is `None`.

use std::collections::BTreeSet;

use manyhands_proto::unit::UnitKind;
use serde::{Deserialize, Serialize};

use super::joins::joins_left;
use crate::record::{AttemptRun, End, JobRun, Run};

/// The figures of one run. The field names are those of the JSON, and stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Jobs submitted.
    pub jobs: u64,
    /// Jobs whose receipt was delivered.
    pub jobs_finished: u64,
    /// Segments of all jobs.
    pub segments: u64,
    /// Segments whose proof was verified.
    pub segments_proved: u64,
    /// Median over the jobs of the time from submission to delivery, in seconds; `None` if that job never finished.
    pub makespan_p50_s: Option<f64>,
    /// The 99th percentile of the same.
    pub makespan_p99_s: Option<f64>,
    /// Median over the jobs of the time from submission to the last segment's proof, in seconds: what is left of the makespan is joining.
    pub proving_p50_s: Option<f64>,
    /// The 99th percentile of the same.
    pub proving_p99_s: Option<f64>,
    /// The median makespan over the list bound T*: 1 is what no policy could beat.
    pub p50_over_list_bound: Option<f64>,
    /// The median makespan over the bound that counts lifts and joins too.
    pub p50_over_whole_bound: Option<f64>,
    /// Slot-seconds of all attempts at proving, over the segments proved.
    pub node_seconds_per_proof: Option<f64>,
    /// Slot-seconds of all attempts at lifting, over the lifts verified.
    pub node_seconds_per_lift: Option<f64>,
    /// Slot-seconds of all attempts at joining, over the joins verified.
    pub node_seconds_per_join: Option<f64>,
    /// The part of the slot-seconds of proving that no winner spent, 0 to 1.
    pub wasted_share_proving: Option<f64>,
    /// The part of all slot-seconds, lifts and joins included, that no winner spent, 0 to 1.
    pub wasted_share: Option<f64>,
    /// Verified proofs for each hour of slots leased for proving.
    pub proofs_per_node_hour: Option<f64>,
    /// Attempts at proving over the segments that were leased at least once.
    pub copies_per_segment: Option<f64>,
    /// Mean bytes that a client sent for a job.
    pub sent_bytes_per_job: Option<f64>,
    /// Mean bytes that a client received for a job.
    pub received_bytes_per_job: Option<f64>,
    /// Median over the jobs of the joins that were left, one after the other, after the last proof.
    pub joins_after_last_proof: Option<f64>,
    /// Median over the jobs of the longest chain of joins that ended after the last proof.
    pub join_chain_after_last_proof: Option<f64>,
    /// Median over the jobs of the shortest such chain that any order of joins could have left: see [`super::joins::JoinsLeft`].
    pub least_join_chain: Option<f64>,
    /// Median time from a lease to the end of an attempt whose result was refused, in seconds.
    pub refusal_s: Option<f64>,
}

impl Figures {
    /// The figures of this run.
    pub fn of(run: &Run) -> Self {
        let (prove, lift, join) = tallies(&run.attempts);
        let makespans = makespans_ms(&run.jobs);
        let provings = provings_ms(&run.jobs);
        let p50_ms = percentile_of_jobs(&makespans, 50);
        let refusals = run.attempts.iter().filter(|attempt| attempt.end == End::Refused).map(slot_ms).collect();
        let joins = run.jobs.iter().filter_map(|job| job.joins_after_last_proof.map(u64::from)).collect();
        let left = joins_left(run);
        let jobs = run.jobs.len() as u64;
        let sum = |of: fn(&JobRun) -> u64| run.jobs.iter().map(of).fold(0, u64::saturating_add);
        Self {
            jobs,
            jobs_finished: run.jobs.iter().filter(|job| job.finished_ms.is_some()).count() as u64,
            segments: sum(|job| job.segments.into()),
            segments_proved: prove.won,
            makespan_p50_s: p50_ms.map(seconds),
            makespan_p99_s: percentile_of_jobs(&makespans, 99).map(seconds),
            proving_p50_s: percentile_of_jobs(&provings, 50).map(seconds),
            proving_p99_s: percentile_of_jobs(&provings, 99).map(seconds),
            p50_over_list_bound: p50_ms.and_then(|ms| ratio(ms, run.bound.list_ms)),
            p50_over_whole_bound: p50_ms.and_then(|ms| ratio(ms, run.bound.whole_ms)),
            node_seconds_per_proof: prove.seconds_each(),
            node_seconds_per_lift: lift.seconds_each(),
            node_seconds_per_join: join.seconds_each(),
            wasted_share_proving: prove.wasted_share(),
            wasted_share: prove.and(lift).and(join).wasted_share(),
            proofs_per_node_hour: ratio(prove.won, prove.all_ms).map(|each_ms| each_ms * 3_600_000.0),
            copies_per_segment: ratio(prove.attempts, segments_leased(&run.attempts)),
            sent_bytes_per_job: ratio(sum(|job| job.sent_bytes), jobs),
            received_bytes_per_job: ratio(sum(|job| job.received_bytes), jobs),
            joins_after_last_proof: median(joins).map(|joins| joins as f64),
            join_chain_after_last_proof: median(left.iter().map(|job| job.chain).collect()).map(|joins| joins as f64),
            least_join_chain: median(left.iter().map(|job| job.least).collect()).map(|joins| joins as f64),
            refusal_s: median(refusals).map(seconds),
        }
    }
}

/// The work of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    attempts: u64,
    won: u64,
    all_ms: u64,
    won_ms: u64,
}

impl Tally {
    fn add(&mut self, attempt: &AttemptRun) {
        let ms = slot_ms(attempt);
        self.attempts += 1;
        self.all_ms = self.all_ms.saturating_add(ms);
        if attempt.end == End::Won {
            self.won += 1;
            self.won_ms = self.won_ms.saturating_add(ms);
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            attempts: self.attempts + other.attempts,
            won: self.won + other.won,
            all_ms: self.all_ms.saturating_add(other.all_ms),
            won_ms: self.won_ms.saturating_add(other.won_ms),
        }
    }

    fn seconds_each(self) -> Option<f64> {
        ratio(self.all_ms, self.won).map(|ms| ms / 1_000.0)
    }

    fn wasted_share(self) -> Option<f64> {
        ratio(self.all_ms.saturating_sub(self.won_ms), self.all_ms)
    }
}

/// The work of proving, lifting and joining.
fn tallies(attempts: &[AttemptRun]) -> (Tally, Tally, Tally) {
    let (mut prove, mut lift, mut join) = (Tally::default(), Tally::default(), Tally::default());
    for attempt in attempts {
        match attempt.unit.kind() {
            UnitKind::Prove => prove.add(attempt),
            UnitKind::Lift => lift.add(attempt),
            UnitKind::Join => join.add(attempt),
            // No simulated guest has any.
            UnitKind::Keccak => {}
        }
    }
    (prove, lift, join)
}

fn segments_leased(attempts: &[AttemptRun]) -> u64 {
    let proving = attempts.iter().filter(|attempt| attempt.unit.kind() == UnitKind::Prove);
    proving.map(|attempt| (attempt.job, attempt.unit)).collect::<BTreeSet<_>>().len() as u64
}

/// How long an attempt held its node's slot, in milliseconds.
pub const fn slot_ms(attempt: &AttemptRun) -> u64 {
    attempt.freed_ms.saturating_sub(attempt.granted_ms)
}

/// From submission to delivery, in milliseconds, for each job; `None` for a job that never finished.
pub fn makespans_ms(jobs: &[JobRun]) -> Vec<Option<u64>> {
    jobs.iter().map(|job| job.finished_ms.map(|finished_ms| finished_ms.saturating_sub(job.submitted_ms))).collect()
}

/// From submission to the last segment's proof, in milliseconds, for each job; `None` if a segment was never proved.
pub fn provings_ms(jobs: &[JobRun]) -> Vec<Option<u64>> {
    jobs.iter().map(|job| job.last_proof_ms.map(|proved_ms| proved_ms.saturating_sub(job.submitted_ms))).collect()
}

/// The percentile of times in which a job that never came so far is later than any other; `None` if it falls on such a job.
pub fn percentile_of_jobs(times_ms: &[Option<u64>], percent: usize) -> Option<u64> {
    let mut sorted: Vec<u64> = times_ms.iter().map(|ms| ms.unwrap_or(u64::MAX)).collect();
    sorted.sort_unstable();
    nearest_rank(&sorted, percent).filter(|ms| *ms < u64::MAX)
}

/// The `percent`-th percentile of sorted values by nearest rank, `percent` from 1 to 100.
pub fn nearest_rank<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    nearest_rank(&values, 50)
}

/// Milliseconds as seconds.
pub const fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::handmade;

    #[test]
    fn the_figures_of_a_run_counted_by_hand() {
        let figures = Figures::of(&handmade::run());
        assert_eq!((figures.jobs, figures.jobs_finished), (2, 1));
        assert_eq!((figures.segments, figures.segments_proved), (4, 3));
        // Jobs: 100 s and never.
        assert_eq!((figures.makespan_p50_s, figures.makespan_p99_s), (Some(100.0), None));
        assert_eq!((figures.proving_p50_s, figures.proving_p99_s), (Some(60.0), None));
        assert_eq!((figures.p50_over_list_bound, figures.p50_over_whole_bound), (Some(2.0), Some(1.25)));
        // Proving: 60 + 40 + 30 by winners; 20 overtaken, 10 refused, 50 silent.
        assert_eq!(figures.node_seconds_per_proof, Some(70.0));
        assert_eq!(figures.wasted_share_proving, Some(80.0 / 210.0));
        assert_eq!(figures.proofs_per_node_hour, Some(3.0 / 210_000.0 * 3_600_000.0));
        // Six attempts at four segments.
        assert_eq!(figures.copies_per_segment, Some(1.5));
        // Two lifts of 5 s; one join of 10 s after one of 4 s that was given back.
        assert_eq!((figures.node_seconds_per_lift, figures.node_seconds_per_join), (Some(5.0), Some(14.0)));
        assert_eq!(figures.wasted_share, Some(84.0 / 234.0));
        assert_eq!((figures.sent_bytes_per_job, figures.received_bytes_per_job), (Some(750.0), Some(300.0)));
        assert_eq!((figures.joins_after_last_proof, figures.refusal_s), (Some(1.0), Some(10.0)));
        assert_eq!((figures.join_chain_after_last_proof, figures.least_join_chain), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn a_run_in_which_nothing_happened_has_no_figures() {
        let mut run = handmade::run();
        run.jobs.clear();
        run.attempts.clear();
        let figures = Figures::of(&run);
        assert_eq!((figures.jobs, figures.jobs_finished, figures.makespan_p50_s), (0, 0, None));
        assert_eq!((figures.wasted_share, figures.node_seconds_per_proof, figures.refusal_s), (None, None, None));
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!([1, 50, 99, 100].map(|percent| nearest_rank(&hundred, percent)), [1, 50, 99, 100].map(Some));
        assert_eq!(nearest_rank(&[7, 8, 9, 10], 50), Some(8));
        assert_eq!((nearest_rank(&[7], 99), nearest_rank::<u64>(&[], 50)), (Some(7), None));
        let jobs = [Some(3), None, Some(1), Some(2)];
        assert_eq!((percentile_of_jobs(&jobs, 75), percentile_of_jobs(&jobs, 76)), (Some(3), None));
    }
}
