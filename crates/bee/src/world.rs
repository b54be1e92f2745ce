//! Time and chance, as the client sees them. They are handed in, so that a test decides what the clock says and how long
//! a pause takes.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

/// Time and chance.
pub trait World: fmt::Debug + Send + Sync {
    /// The time since some fixed moment; never less than it was.
    fn now(&self) -> Duration;

    /// Ends when `time` has passed: the pause between two attempts.
    fn pause(&self, time: Duration) -> BoxFuture<'static, ()>;

    /// Ends when `time` has passed: the limit of a request, which is over before that as a rule.
    fn expiry(&self, time: Duration) -> BoxFuture<'static, ()>;

    /// Any number, for the jitter of pauses. Nothing secret is made of it.
    fn random(&self) -> u64;
}

/// The world outside: the machine's clock and tokio's timers.
#[derive(Debug)]
pub struct RealWorld {
    start: Instant,
}

impl Default for RealWorld {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl World for RealWorld {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn pause(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn expiry(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn random(&self) -> u64 {
        // The standard library keys each of these anew, from the system's randomness: enough for jitter, and no crate more.
        RandomState::new().build_hasher().finish()
    }
}
