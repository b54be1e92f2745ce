//! Time as the rules see it: milliseconds since an arbitrary start, handed in by whoever has a clock.

use core::fmt;

/// A moment, in milliseconds since the caller's own start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// The moment `ms` milliseconds later; the far future saturates.
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; zero if that lies ahead.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0 / 1000, self.0 % 1000)
    }
}

/// Keeps the earliest of several wake-ups, with the reason of that one.
#[derive(Debug, Default)]
pub(crate) struct Earliest(Option<(Time, &'static str)>);

impl Earliest {
    pub(crate) fn add(&mut self, at: Time, reason: &'static str) {
        if self.0.is_none_or(|(best, _)| at < best) {
            self.0 = Some((at, reason));
        }
    }

    pub(crate) fn get(self) -> Option<(Time, &'static str)> {
        self.0
    }
}
