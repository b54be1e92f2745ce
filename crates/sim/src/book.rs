//! The book of a run: what becomes of every job and every lease, as the record wants it.

use std::collections::BTreeMap;

use manyhands_core::{Receipted, Refusal};
use manyhands_proto::message::Blame;
use manyhands_proto::{LeaseId, SegmentRange, Unit};

use crate::record::{AttemptRun, End, JobRun};

/// The book.
#[derive(Debug, Default)]
pub(crate) struct Book {
    jobs: Vec<Job>,
    attempts: Vec<Attempt>,
    by_lease: BTreeMap<LeaseId, usize>,
}

#[derive(Debug)]
struct Job {
    run: JobRun,
    proofs: u32,
    last_proof: u32,
    joins: Vec<SegmentRange>,
}

#[derive(Debug)]
struct Attempt {
    run: AttemptRun,
    end: Option<End>,
    /// When the gateway gave it up or had its result.
    ended_ms: Option<u64>,
    /// Whether the lease reached its node.
    has_begun: bool,
    freed_ms: Option<u64>,
    is_claimed: bool,
}

impl Book {
    /// Notes a job; they come in the order of submission.
    pub(crate) fn submitted(&mut self, now_ms: u64, gateway: u32, segments: u32) {
        let run = JobRun {
            gateway,
            submitted_ms: now_ms,
            finished_ms: None,
            last_proof_ms: None,
            segments,
            joins_after_last_proof: None,
            sent_bytes: 0,
            received_bytes: 0,
        };
        self.jobs.push(Job { run, proofs: 0, last_proof: 0, joins: Vec::new() });
    }

    /// Notes how many segments a job has after all.
    pub(crate) fn sized(&mut self, job: u32, segments: u32) {
        if let Some(job) = self.jobs.get_mut(job as usize) {
            job.run.segments = segments;
        }
    }

    /// Notes a lease that a gateway granted.
    pub(crate) fn granted(
        &mut self,
        now_ms: u64,
        lease: LeaseId,
        job: u32,
        node: u32,
        is_copy: bool,
        predicted_ms: u64,
    ) {
        let run = AttemptRun {
            job,
            unit: lease.unit,
            attempt: lease.attempt,
            node,
            is_copy,
            granted_ms: now_ms,
            predicted_ms,
            freed_ms: now_ms,
            end: End::Dropped,
        };
        self.by_lease.insert(lease, self.attempts.len());
        let attempt = Attempt { run, end: None, ended_ms: None, has_begun: false, freed_ms: None, is_claimed: false };
        self.attempts.push(attempt);
    }

    /// A node has begun to work on a lease.
    pub(crate) fn begun(&mut self, lease: &LeaseId) {
        if let Some(attempt) = self.find(lease) {
            (attempt.has_begun, attempt.freed_ms) = (true, None);
        }
    }

    /// A node's slot is free of a lease again.
    pub(crate) fn freed(&mut self, now_ms: u64, lease: &LeaseId) {
        if let Some(attempt) = self.find(lease) {
            attempt.freed_ms = Some(now_ms);
        }
    }

    /// A gateway has begun to fetch a lease's receipt.
    pub(crate) fn claimed(&mut self, lease: &LeaseId) {
        if let Some(attempt) = self.find(lease) {
            attempt.is_claimed = true;
        }
    }

    /// A gateway has a lease no more.
    pub(crate) fn ended(&mut self, now_ms: u64, lease: &LeaseId, end: End) {
        if let Some(attempt) = self.find(lease) {
            attempt.ended_ms = Some(now_ms);
            attempt.end = attempt.end.or(Some(end));
        }
    }

    /// A gateway says that a lease came to nothing: it lapsed, or its receipt was refused. A receipt that could not be fetched may still
    /// come.
    pub(crate) fn refused(&mut self, now_ms: u64, lease: &LeaseId, refusal: &Refusal) {
        let is_claimed = self.find(lease).is_some_and(|attempt| attempt.is_claimed);
        match (is_claimed, refusal.blame) {
            (true, Blame::Peer) => self.ended(now_ms, lease, End::Refused),
            (true, Blame::Network | Blame::Us) => {}
            (false, _) => self.ended(now_ms, lease, End::Lapsed),
        }
    }

    /// A result counts; the unit's other leases are overtaken.
    pub(crate) fn verified(&mut self, now_ms: u64, job: u32, result: &Receipted) {
        let (winner, unit) = (result.lease, result.lease.unit);
        let (first, last) = (LeaseId { attempt: 0, ..winner }, LeaseId { attempt: u32::MAX, ..winner });
        for (lease, place) in self.by_lease.range(first..=last) {
            if let Some(attempt) = self.attempts.get_mut(*place) {
                let is_winner = *lease == winner;
                attempt.end = if is_winner { Some(End::Won) } else { attempt.end.or(Some(End::Overtaken)) };
                attempt.ended_ms = attempt.ended_ms.or(Some(now_ms));
            }
        }
        let Some(job) = self.jobs.get_mut(job as usize) else { return };
        match unit {
            Unit::Prove(index) => {
                (job.proofs, job.last_proof) = (job.proofs + 1, index);
                if job.proofs == job.run.segments {
                    job.run.last_proof_ms = Some(now_ms);
                }
            }
            Unit::Lift(_) | Unit::Resolve { .. } | Unit::Keccak(_) | Unit::Union { .. } => {}
            Unit::Join { .. } => job.joins.push(unit.range()),
        }
    }

    /// A job's receipt is there.
    pub(crate) fn finished(&mut self, now_ms: u64, job: u32) {
        let Some(job) = self.jobs.get_mut(job as usize) else { return };
        let last = job.last_proof;
        let on_the_way = job.joins.iter().filter(|range| (range.start..range.end).contains(&last)).count();
        job.run.finished_ms = Some(now_ms);
        job.run.joins_after_last_proof = u32::try_from(on_the_way).ok();
    }

    /// Notes what a job's client sent and received.
    pub(crate) fn moved(&mut self, job: u32, sent_bytes: u64, received_bytes: u64) {
        if let Some(job) = self.jobs.get_mut(job as usize) {
            (job.run.sent_bytes, job.run.received_bytes) = (sent_bytes, received_bytes);
        }
    }

    /// Closes the book.
    pub(crate) fn close(self, end_ms: u64) -> (Vec<JobRun>, Vec<AttemptRun>) {
        let finish = |attempt: Attempt| {
            // A lease that never reached its node held no slot of it, but one of the gateway's book.
            let never_freed = if attempt.has_begun { end_ms } else { attempt.ended_ms.unwrap_or(end_ms) };
            let freed_ms = attempt.freed_ms.unwrap_or(never_freed);
            AttemptRun { freed_ms, end: attempt.end.unwrap_or(End::Dropped), ..attempt.run }
        };
        (self.jobs.into_iter().map(|job| job.run).collect(), self.attempts.into_iter().map(finish).collect())
    }

    fn find(&mut self, lease: &LeaseId) -> Option<&mut Attempt> {
        self.attempts.get_mut(*self.by_lease.get(lease)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::node_id;
    use manyhands_proto::{BlobRef, JobId, Reference};

    fn lease(unit: Unit, attempt: u32) -> LeaseId {
        LeaseId { job: JobId::default(), unit, attempt }
    }

    fn won(book: &mut Book, now_ms: u64, unit: Unit, attempt: u32) {
        let receipt = BlobRef { reference: Reference::default(), size_bytes: 1 };
        let result = Receipted { lease: lease(unit, attempt), node: node_id(0), receipt, elapsed_ms: 1 };
        book.verified(now_ms, 0, &result);
    }

    #[test]
    fn each_lease_has_one_end() {
        let mut book = Book::default();
        let unit = Unit::Prove(0);
        book.submitted(0, 0, 1);
        for attempt in 1..=4 {
            book.granted(10, lease(unit, attempt), 0, attempt, attempt > 1, 100);
            book.begun(&lease(unit, attempt));
        }
        let refusal = Refusal { blame: Blame::Peer, reason: String::new() };
        book.refused(20, &lease(unit, 1), &refusal);
        book.claimed(&lease(unit, 2));
        book.refused(30, &lease(unit, 2), &refusal);
        book.freed(35, &lease(unit, 2));
        won(&mut book, 40, unit, 3);
        book.freed(39, &lease(unit, 3));
        let (jobs, attempts) = book.close(50);
        let ends: Vec<(End, u64)> = attempts.iter().map(|attempt| (attempt.end, attempt.freed_ms)).collect();
        assert_eq!(ends, [(End::Lapsed, 50), (End::Refused, 35), (End::Won, 39), (End::Overtaken, 50)]);
        assert_eq!(jobs[0].last_proof_ms, Some(40));
    }

    #[test]
    fn joins_after_the_last_proof_are_those_above_it() {
        let mut book = Book::default();
        book.submitted(0, 0, 3);
        [1, 2, 0].into_iter().for_each(|index| won(&mut book, 1, Unit::Prove(index), 1));
        won(&mut book, 2, Unit::Join { start: 1, mid: 2, end: 3 }, 1);
        won(&mut book, 3, Unit::Join { start: 0, mid: 1, end: 3 }, 1);
        book.finished(4, 0);
        let (jobs, _) = book.close(5);
        assert_eq!((jobs[0].finished_ms, jobs[0].joins_after_last_proof), (Some(4), Some(1)));
    }
}
