//! How many joins are left, one after the other, when a job's last segment is proved (step V): those that were, and the fewest that any
//! order of joins could have left with the same proofs.

use std::collections::BTreeMap;

use manyhands_proto::{SegmentRange, Unit};

use super::metrics::{nearest_rank, slot_ms};
use crate::record::{AttemptRun, End, JobRun, Run};

/// Jobs of more segments are left out: the bound takes time with their cube.
const SEGMENTS_MAX: usize = 400;

/// The percentile of a run's lifts and joins that the bound takes for each of its own: every one as quick as the quickest tenth was.
const QUICK_PERCENT: usize = 10;

/// The joins of one job that were left when its last segment was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinsLeft {
    /// On the longest chain, each of which waits for the one before.
    pub chain: u64,
    /// On the longest chain of the best order of joins, on as many machines as it likes, if each lift and join had taken as long as the
    /// quickest tenth of the run's. A true lower bound for any order that has no quicker machines.
    pub least: u64,
}

/// Of each succinct job that was delivered.
pub fn joins_left(run: &Run) -> Vec<JoinsLeft> {
    let (mut lifts, mut joins) = (Vec::new(), Vec::new());
    let mut won: BTreeMap<u32, Vec<&AttemptRun>> = BTreeMap::new();
    for attempt in run.attempts.iter().filter(|attempt| attempt.end == End::Won) {
        match attempt.unit {
            Unit::Prove(_) | Unit::Resolve { .. } | Unit::Keccak(_) | Unit::Union { .. } => {}
            Unit::Lift(_) => lifts.push(slot_ms(attempt)),
            Unit::Join { .. } => joins.push(slot_ms(attempt)),
        }
        won.entry(attempt.job).or_default().push(attempt);
    }
    lifts.sort_unstable();
    joins.sort_unstable();
    let (Some(lift_ms), Some(join_ms)) = (nearest_rank(&lifts, QUICK_PERCENT), nearest_rank(&joins, QUICK_PERCENT))
    else {
        return Vec::new();
    };
    let of = |(number, job): (u32, &JobRun)| left_of(job, won.get(&number)?, lift_ms, join_ms);
    (0..).zip(&run.jobs).filter_map(of).collect()
}

fn left_of(job: &JobRun, won: &[&AttemptRun], lift_ms: u64, join_ms: u64) -> Option<JoinsLeft> {
    let (last_ms, _) = (job.last_proof_ms?, job.finished_ms?);
    let mut proofs: BTreeMap<u32, u64> = BTreeMap::new();
    let mut tree: BTreeMap<SegmentRange, (u32, u64)> = BTreeMap::new();
    for attempt in won {
        match attempt.unit {
            // The slot is free when the receipt is handed over; it is verified by the last proof at the latest.
            Unit::Prove(index) => _ = proofs.insert(index, attempt.freed_ms.min(last_ms)),
            Unit::Lift(_) | Unit::Resolve { .. } | Unit::Keccak(_) | Unit::Union { .. } => {}
            Unit::Join { mid, .. } => _ = tree.insert(attempt.unit.range(), (mid, attempt.freed_ms)),
        }
    }
    let is_whole = proofs.len() == job.segments as usize && (2..=SEGMENTS_MAX).contains(&proofs.len());
    if !is_whole || tree.is_empty() {
        return None;
    }
    let lifted: Vec<u64> = proofs.into_values().map(|proved_ms| proved_ms.saturating_add(lift_ms)).collect();
    let whole = SegmentRange { start: 0, end: job.segments };
    Some(JoinsLeft { chain: chain(&tree, whole, last_ms), least: least(&lifted, join_ms, last_ms) })
}

/// The longest chain of joins of this tree that ended after `last_ms`.
fn chain(tree: &BTreeMap<SegmentRange, (u32, u64)>, range: SegmentRange, last_ms: u64) -> u64 {
    match tree.get(&range).filter(|(_, ended_ms)| *ended_ms > last_ms) {
        Some((mid, _)) => {
            let (left, right) = (SegmentRange { end: *mid, ..range }, SegmentRange { start: *mid, ..range });
            1 + chain(tree, left, last_ms).max(chain(tree, right, last_ms))
        }
        None => 0,
    }
}

/// The same of the best tree over ranges that are there at these times: the least over all places at which a range can be cut in two.
fn least(lifted: &[u64], join_ms: u64, last_ms: u64) -> u64 {
    // By length and start: when the range can be there, and how many joins one after the other that leaves.
    let mut shorter: Vec<Vec<(u64, u64)>> = vec![lifted.iter().map(|ms| (*ms, 0)).collect()];
    for length in 2..=lifted.len() {
        let of = |start: usize| {
            let halves = (1..length).filter_map(|left| {
                let (a, b) = (shorter.get(left - 1)?.get(start)?, shorter.get(length - left - 1)?.get(start + left)?);
                Some((a.0.max(b.0), a.1.max(b.1)))
            });
            let (soonest, fewest) =
                halves.fold((u64::MAX, u64::MAX), |best, half| (best.0.min(half.0), best.1.min(half.1)));
            let ms = soonest.saturating_add(join_ms);
            (ms, if ms <= last_ms { 0 } else { fewest.saturating_add(1) })
        };
        let row = (0..=lifted.len() - length).map(of).collect();
        shorter.push(row);
    }
    shorter.last().and_then(|row| row.first()).map_or(0, |(_, joins)| *joins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::handmade;

    #[test]
    fn joins_counted_by_hand() {
        // The last proof at 62 s, its lift until 70 s, the join from 80 s.
        assert_eq!(joins_left(&handmade::run()), [JoinsLeft { chain: 1, least: 1 }]);
    }

    #[test]
    fn the_best_order_leaves_what_is_late() {
        // All there long before: nothing is left. All at the end: a balanced tree. One late: one on either side of it.
        assert_eq!(least(&[0; 8], 10, 30), 0);
        assert_eq!(least(&[0; 8], 10, 29), 1);
        assert_eq!(least(&[30; 8], 10, 30), 3);
        assert_eq!(least(&[0, 0, 0, 30, 0, 0, 0, 0], 10, 30), 2);
        assert_eq!(least(&[0, 0, 0, 0, 0, 0, 0, 30], 10, 30), 1);
    }

    #[test]
    fn no_order_is_better_than_the_best() {
        let run = handmade::wide(60, 2);
        let left = joins_left(&run);
        assert!(left.iter().all(|job| job.least <= job.chain), "{left:?}");
        assert_eq!(left.len(), 1);
    }
}
