//! The one clock that the rules see: milliseconds since the daemon's start.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use manyhands_core::Time;

/// The time of day, in seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Tells the time in the rules' terms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Time {
        Time(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Sleeps until `wake`, or for ever if nothing is due.
    pub(crate) async fn until(self, wake: Option<(Time, &'static str)>) {
        match wake {
            Some((at, _)) => tokio::time::sleep(Duration::from_millis(at.since(self.now()).saturating_add(1))).await,
            None => std::future::pending().await,
        }
    }
}
