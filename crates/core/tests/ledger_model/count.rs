//! How often the model came where it is meant to come: a model that leases nothing proves nothing.

use std::sync::Mutex;

use crate::book::Said;

#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    pub steps: u64,
    pub leases: u64,
    pub copies: u64,
    pub accepted: u64,
    pub refused: u64,
    pub given_back: u64,
    pub cancelled: u64,
    pub lapsed: u64,
    pub revived: u64,
    pub let_go: u64,
    pub jobs_done: u64,
    pub jobs_failed: u64,
}

static SUM: Mutex<Option<Count>> = Mutex::new(None);

impl Count {
    pub fn leased(&mut self, is_copy: bool) {
        self.leases += 1;
        self.copies += u64::from(is_copy);
    }

    pub fn said(&mut self, said: &Said) {
        match said {
            Said::Verified(..) => self.accepted += 1,
            Said::Refused(..) => self.refused += 1,
            Said::GivenBack(..) => self.given_back += 1,
            Said::Cancel(..) => self.cancelled += 1,
            Said::JobDone(_) => self.jobs_done += 1,
            Said::JobFailed(_) => self.jobs_failed += 1,
            _ => {}
        }
    }

    /// The least of all: nothing of it may be zero.
    pub fn least(&self) -> u64 {
        let Self { steps, leases, copies, accepted, refused, given_back, .. } = *self;
        let Self { cancelled, lapsed, revived, let_go, jobs_done, jobs_failed, .. } = *self;
        let all = [
            steps,
            leases,
            copies,
            accepted,
            refused,
            given_back,
            cancelled,
            lapsed,
            revived,
            let_go,
            jobs_done,
            jobs_failed,
        ];
        all.into_iter().min().unwrap_or(0)
    }
}

pub fn add(count: &Count) {
    let mut sum = SUM.lock().unwrap();
    let old = sum.unwrap_or_default();
    *sum = Some(Count {
        steps: old.steps + count.steps,
        leases: old.leases + count.leases,
        copies: old.copies + count.copies,
        accepted: old.accepted + count.accepted,
        refused: old.refused + count.refused,
        given_back: old.given_back + count.given_back,
        cancelled: old.cancelled + count.cancelled,
        lapsed: old.lapsed + count.lapsed,
        revived: old.revived + count.revived,
        let_go: old.let_go + count.let_go,
        jobs_done: old.jobs_done + count.jobs_done,
        jobs_failed: old.jobs_failed + count.jobs_failed,
    });
}

/// What was counted in all cases so far.
pub fn sum() -> Count {
    SUM.lock().unwrap().unwrap_or_default()
}
