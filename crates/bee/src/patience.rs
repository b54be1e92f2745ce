//! How long a failing call is tried again, and how long the pauses are. Pure: time and chance are arguments.

use std::time::Duration;

/// How patient the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Time for one operation with all its attempts and pauses; an upload that goes chunk by chunk is one operation.
    pub deadline: Duration,
    /// The first pause, before jitter. Each pause is twice the one before it.
    pub first_pause: Duration,
    /// The longest pause, before jitter.
    pub pause_max: Duration,
    /// Attempts of a call that fails in ways of which nobody knows whether they pass: status 500, broken connections,
    /// silence. What is known to pass (a syncing node, a new batch) is tried until the deadline.
    pub attempts_max: u32,
}

impl Default for Patience {
    /// Ten minutes in all: a new batch needs "a few minutes" until it is usable. Pauses from a quarter of a second to
    /// fifteen seconds, which are 40 questions to a node that syncs for the whole time. Four attempts: a node that
    /// fails three times in a row within seconds has a reason.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(600),
            first_pause: Duration::from_millis(250),
            pause_max: Duration::from_secs(15),
            attempts_max: 4,
        }
    }
}

impl Patience {
    /// One attempt: for questions that must be answered now.
    pub const fn none(deadline: Duration) -> Self {
        Self { deadline, first_pause: Duration::ZERO, pause_max: Duration::ZERO, attempts_max: 1 }
    }
}

/// Whether it helps to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same question has the same answer.
    Never,
    /// A few times: it may pass, or not.
    Few,
    /// Until the deadline: it passes.
    Later,
    /// As long as the data is fresh: the network may not know it yet.
    WhileFresh,
}

/// What to do after an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask again after a pause.
    Pause(Duration),
    /// The error is the answer.
    GiveUp,
    /// It might have helped to go on, but the time is up.
    OutOfTime,
}

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Schedule {
    patience: Patience,
    fresh_for: Duration,
    failed: u32,
    pause: Duration,
}

impl Schedule {
    /// A call for data that counts as fresh until `fresh_for` after its operation began.
    pub(crate) fn new(patience: Patience, fresh_for: Duration) -> Self {
        Self { patience, fresh_for, failed: 0, pause: patience.first_pause }
    }

    /// After a failure that is `retry`, `elapsed` after the operation began. The pause is between a half and the whole
    /// of what is due, by `random`, so that many that failed together do not come back together.
    pub(crate) fn next(&mut self, retry: Retry, elapsed: Duration, random: u64) -> Next {
        self.failed = self.failed.saturating_add(1);
        let is_over = match retry {
            Retry::Never => true,
            Retry::Few => self.failed >= self.patience.attempts_max,
            Retry::Later => self.patience.attempts_max <= 1,
            Retry::WhileFresh => elapsed >= self.fresh_for,
        };
        if is_over {
            return Next::GiveUp;
        }
        let due = self.pause.min(self.patience.pause_max);
        self.pause = due.saturating_mul(2);
        // 1024 steps from a half to the whole.
        let parts = 1024 + u32::try_from(random % 1025).unwrap_or(0);
        let pause = due.saturating_mul(parts) / 2048;
        if elapsed.saturating_add(pause) >= self.patience.deadline {
            return Next::OutOfTime;
        }
        Next::Pause(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn patience() -> Patience {
        Patience { deadline: 100 * SECOND, first_pause: SECOND, pause_max: 8 * SECOND, attempts_max: 3 }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut schedule = Schedule::new(patience(), Duration::ZERO);
        let mut pause = |random| schedule.next(Retry::Later, Duration::ZERO, random);
        let whole = [1, 2, 4, 8, 8].map(|seconds| Next::Pause(seconds * SECOND));
        assert_eq!([1024; 5].map(&mut pause), whole);
        assert_eq!(pause(0), Next::Pause(4 * SECOND), "half of it at least");
    }

    #[test]
    fn each_kind_of_failure_has_its_end() {
        let next = |retry, elapsed| {
            let mut schedule = Schedule::new(patience(), 10 * SECOND);
            (1..).find(|_| !matches!(schedule.next(retry, elapsed, 0), Next::Pause(_))).unwrap_or(0)
        };
        assert_eq!(next(Retry::Never, Duration::ZERO), 1);
        assert_eq!(next(Retry::Few, Duration::ZERO), 3);
        let mut schedule = Schedule::new(patience(), 10 * SECOND);
        assert!(matches!(schedule.next(Retry::WhileFresh, 9 * SECOND, 0), Next::Pause(_)));
        assert_eq!(schedule.next(Retry::WhileFresh, 10 * SECOND, 0), Next::GiveUp);
        assert!(matches!(schedule.next(Retry::Later, 90 * SECOND, 0), Next::Pause(_)));
        assert_eq!(schedule.next(Retry::Later, 99 * SECOND, 0), Next::OutOfTime);
    }

    #[test]
    fn who_has_no_patience_asks_once() {
        for retry in [Retry::Few, Retry::Later, Retry::Never] {
            assert_eq!(Schedule::new(Patience::none(SECOND), SECOND).next(retry, Duration::ZERO, 9), Next::GiveUp);
        }
    }

    proptest! {
        #[test]
        fn no_pause_passes_the_deadline(elapsed_ms in 0u64..200_000, random: u64, before in 0u32..50) {
            let mut schedule = Schedule::new(patience(), Duration::MAX);
            for _ in 0..before {
                schedule.next(Retry::Later, Duration::ZERO, random);
            }
            let elapsed = Duration::from_millis(elapsed_ms);
            if let Next::Pause(pause) = schedule.next(Retry::Later, elapsed, random) {
                prop_assert!(pause <= 8 * SECOND);
                prop_assert!(elapsed + pause < 100 * SECOND);
            }
        }
    }
}
