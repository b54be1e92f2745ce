//! What a fleet can do: pure arithmetic on free times and predicted times, for the gate of step III and the choice of a segment size.

/// One place where units can be done, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Milliseconds until it is free.
    pub free_in_ms: u64,
    /// Milliseconds that it takes for one unit.
    pub takes_ms: u64,
}

impl Place {
    /// How many units it can finish within `ms`.
    fn done_within(&self, ms: u64) -> u64 {
        ms.saturating_sub(self.free_in_ms).checked_div(self.takes_ms).unwrap_or(0)
    }
}

/// The least time, in milliseconds, in which `places` can do `units` units of one sort when each does whole units one after the other:
/// the list bound T* of docs/simulator.md. Up to one part in 256 above it, which no prediction is worth. Nothing without a place.
pub fn horizon_ms(places: &[Place], units: u64) -> Option<u64> {
    let is_enough = |ms: u64| {
        let mut done: u64 = 0;
        for place in places {
            done = done.saturating_add(place.done_within(ms));
            if done >= units {
                return true;
            }
        }
        done >= units
    };
    let alone = |place: &Place| place.free_in_ms.saturating_add(place.takes_ms.max(1).saturating_mul(units));
    // One place alone is enough in this time, so the answer is not beyond it.
    let mut enough = places.iter().map(alone).min()?;
    let mut too_little = 0;
    while enough.saturating_sub(too_little) > (enough / 256).max(1) {
        let middle = too_little.midpoint(enough);
        if is_enough(middle) { enough = middle } else { too_little = middle }
    }
    Some(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(of: &[(u64, u64)]) -> Vec<Place> {
        of.iter().map(|&(free_in_ms, takes_ms)| Place { free_in_ms, takes_ms }).collect()
    }

    #[test]
    fn nobody_does_nothing() {
        assert_eq!(horizon_ms(&[], 1), None);
    }

    #[test]
    fn one_place_does_all_in_turn() {
        assert_eq!(horizon_ms(&places(&[(0, 10)]), 3), Some(30));
        assert_eq!(horizon_ms(&places(&[(7, 10)]), 3), Some(37));
    }

    #[test]
    fn a_slow_place_helps_only_if_it_is_done_in_time() {
        assert_eq!(horizon_ms(&places(&[(0, 10), (0, 100)]), 3), Some(30));
        assert_eq!(horizon_ms(&places(&[(0, 10), (0, 30)]), 4), Some(30));
        assert_eq!(horizon_ms(&places(&[(0, 10), (0, 10), (0, 10)]), 4), Some(20));
    }

    #[test]
    fn a_busy_fast_place_may_still_be_the_best() {
        assert_eq!(horizon_ms(&places(&[(20, 10), (0, 100)]), 1), Some(30));
    }

    #[test]
    fn absurd_figures_end() {
        assert_eq!(horizon_ms(&places(&[(0, 0)]), 5), Some(5), "a place that takes no time is not counted as done");
        assert!(horizon_ms(&places(&[(u64::MAX, u64::MAX)]), u64::MAX).is_some());
    }
}
