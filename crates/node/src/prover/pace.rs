//! How long a worker will still take, reckoned from the processor time that it gets: proofs of one size all need about the same, and a
//! machine whose owner is at work gives less of it.

use std::collections::{BTreeMap, VecDeque};

use manyhands_proto::Po2;
use manyhands_proto::unit::UnitKind;

/// The rate is that of the last ten seconds: shorter, and a prover's phases of one thread look like a busy owner.
const WINDOW_MS: u64 = 10_000;

/// Reports kept for the rate. They come once a second.
const REPORTS_MAX: usize = 64;

/// What the units done so far needed of the processor.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    usual_cpu_ms: BTreeMap<(UnitKind, Po2), u64>,
}

impl Pace {
    /// Begins a unit.
    pub(crate) fn begin(&self, kind: UnitKind, po2: Po2) -> Run {
        Run { unit: (kind, po2), usual_cpu_ms: self.usual(kind, po2), reports: VecDeque::from([(0, 0)]) }
    }

    /// What a unit needs, from one of its size, or else from a proof of another size by the number of its cycles.
    fn usual(&self, kind: UnitKind, po2: Po2) -> Option<u64> {
        let same = self.usual_cpu_ms.get(&(kind, po2)).copied();
        let other = || {
            let ((_, of), ms) = self.usual_cpu_ms.iter().find(|((other, _), _)| *other == kind)?;
            let scaled = u128::from(*ms) * u128::from(po2.cycles()) / u128::from(of.cycles());
            // A lift or join takes the same whatever the size of the segment.
            Some(if kind == UnitKind::Prove { u64::try_from(scaled).unwrap_or(u64::MAX) } else { *ms })
        };
        same.or_else(other)
    }

    /// Takes note of a unit that was done after `elapsed_ms`: each new one counts as much as all before it.
    pub(crate) fn end(&mut self, run: &Run, elapsed_ms: u64) {
        let Some((at_ms, cpu_ms)) = run.reports.back().copied().filter(|(at_ms, _)| *at_ms > 0) else { return };
        // The last report is up to a second old.
        let needed_ms = u128::from(cpu_ms) * u128::from(elapsed_ms.max(at_ms)) / u128::from(at_ms);
        let needed_ms = u64::try_from(needed_ms).unwrap_or(u64::MAX);
        let usual_ms = self.usual_cpu_ms.entry(run.unit).or_insert(needed_ms);
        *usual_ms = usual_ms.midpoint(needed_ms);
    }
}

/// A unit in the works.
#[derive(Debug)]
pub(crate) struct Run {
    unit: (UnitKind, Po2),
    usual_cpu_ms: Option<u64>,
    /// Processor time by time, both in milliseconds since the beginning.
    reports: VecDeque<(u64, u64)>,
}

impl Run {
    /// Takes note of `cpu_ms` of processor time used after `at_ms`, and says how many milliseconds it will still take. Nothing in the
    /// first ten seconds, without a unit to compare with, and when it has used up what such units need.
    pub(crate) fn note(&mut self, at_ms: u64, cpu_ms: u64) -> Option<u64> {
        self.reports.push_back((at_ms, cpu_ms));
        let begin_ms = at_ms.checked_sub(WINDOW_MS);
        while self.reports.len() > REPORTS_MAX
            || self.reports.get(1).is_some_and(|(next_ms, _)| begin_ms.is_some_and(|begin_ms| *next_ms <= begin_ms))
        {
            self.reports.pop_front();
        }
        let (from_ms, from_cpu_ms) = self.reports.front().copied().filter(|_| begin_ms.is_some())?;
        let left_ms = self.usual_cpu_ms?.checked_sub(cpu_ms)?;
        let got_ms = u128::from(cpu_ms.saturating_sub(from_cpu_ms).max(1));
        let remaining_ms = u128::from(left_ms) * u128::from(at_ms.saturating_sub(from_ms)) / got_ms;
        Some(u64::try_from(remaining_ms).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn po2(value: u8) -> Po2 {
        Po2::try_from(value).unwrap()
    }

    /// Ends a proof at 2^16 that used `cores` cores for `seconds`.
    fn after(seconds: u64, cores: u64) -> Pace {
        let mut pace = Pace::default();
        let mut run = pace.begin(UnitKind::Prove, po2(16));
        for second in 1..=seconds {
            run.note(second * 1_000, second * 1_000 * cores);
        }
        pace.end(&run, seconds * 1_000);
        pace
    }

    #[test]
    fn the_first_unit_has_nothing_to_compare_with() {
        let mut run = Pace::default().begin(UnitKind::Prove, po2(16));
        assert_eq!((1..100).find_map(|second| run.note(second * 1_000, second * 2_000)), None);
    }

    #[test]
    fn undisturbed_it_takes_what_it_took() {
        let mut run = after(30, 2).begin(UnitKind::Prove, po2(16));
        assert_eq!(run.note(9_000, 18_000), None, "too early to say");
        assert_eq!(run.note(10_000, 20_000), Some(20_000));
        assert_eq!(run.note(29_000, 58_000), Some(1_000));
    }

    #[test]
    fn an_owner_at_work_is_seen_within_ten_seconds_and_forgotten_when_he_rests() {
        let mut run = after(30, 2).begin(UnitKind::Prove, po2(16));
        let slow: Vec<_> = (1..=20).map(|second| run.note(second * 1_000, second * 500)).collect();
        assert_eq!(slow[8..11], [None, Some(110_000), Some(109_000)], "a quarter of the processor");
        let fast: Vec<_> = (1..=10).map(|second| run.note(20_000 + second * 1_000, 10_000 + second * 2_000)).collect();
        assert_eq!(fast[9], Some(15_000));
    }

    #[test]
    fn a_worker_that_stands_still_takes_for_ever() {
        let mut run = after(30, 2).begin(UnitKind::Prove, po2(16));
        let last = (1..=15).filter_map(|second| run.note(second * 1_000, 0)).last();
        assert_eq!(last, Some(60_000 * 10_000));
        assert_eq!(run.note(u64::MAX, 0), Some(u64::MAX));
    }

    #[test]
    fn other_sizes_are_scaled_for_proofs_only() {
        let mut pace = after(30, 2);
        assert_eq!(pace.begin(UnitKind::Prove, po2(18)).note(10_000, 20_000), Some(110_000));
        assert_eq!(pace.begin(UnitKind::Lift, po2(16)).note(10_000, 20_000), None);
        let mut lift = pace.begin(UnitKind::Lift, po2(16));
        lift.note(40_000, 80_000);
        pace.end(&lift, 40_000);
        assert_eq!(pace.begin(UnitKind::Lift, po2(20)).note(10_000, 20_000), Some(30_000));
    }

    #[test]
    fn more_than_usual_says_nothing_and_counts_for_the_next() {
        let mut pace = after(30, 2);
        let mut run = pace.begin(UnitKind::Prove, po2(16));
        assert_eq!(run.note(50_000, 100_000), None);
        pace.end(&run, 50_000);
        assert_eq!(pace.begin(UnitKind::Prove, po2(16)).note(10_000, 20_000), Some(30_000));
    }

    #[test]
    fn a_unit_without_a_report_says_nothing_of_the_usual() {
        let mut pace = Pace::default();
        let run = pace.begin(UnitKind::Join, po2(16));
        pace.end(&run, 100);
        assert!(pace.usual_cpu_ms.is_empty());
    }
}
