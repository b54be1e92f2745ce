//! What a gateway binds proofs to: a secret that nobody else knows, and the time of day.

use core::fmt;

use manyhands_proto::{Binding, JobId, LeaseId, NodeId};

use crate::Time;

/// Makes the binding of each lease. The rules have no randomness and no calendar of their own, so both are given.
#[derive(Clone)]
pub struct Binder {
    secret: [u8; 32],
    zero_unix_s: u64,
}

impl Binder {
    /// With a `secret` from the system's random numbers, which need not outlive the process, and what [`Time`] zero is in seconds since 1970.
    pub const fn new(secret: [u8; 32], zero_unix_s: u64) -> Self {
        Self { secret, zero_unix_s }
    }

    /// The binding of a lease that `node` gets at `now`.
    pub fn bind(&self, now: Time, node: NodeId, lease: &LeaseId) -> Binding {
        Binding::of_lease(&self.secret, node, lease, Binding::epoch_at(self.unix_s(now)))
    }

    /// The name of the `number`th challenge: like a job's, nobody guesses it.
    pub(crate) fn challenge_id(&self, number: u64) -> JobId {
        JobId::of_challenge(&self.secret, number)
    }

    /// A moment in seconds since 1970.
    pub const fn unix_s(&self, now: Time) -> u64 {
        self.zero_unix_s.saturating_add(now.0 / 1000)
    }

    /// The moment that is `unix_s` seconds since 1970; [`Time`] zero if that was before.
    pub const fn time(&self, unix_s: u64) -> Time {
        Time(unix_s.saturating_sub(self.zero_unix_s).saturating_mul(1000))
    }
}

impl fmt::Debug for Binder {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binder").field("zero_unix_s", &self.zero_unix_s).finish_non_exhaustive()
    }
}
