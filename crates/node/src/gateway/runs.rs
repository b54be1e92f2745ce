//! A job's guest: its segments, its end, and that it runs once more when its run was cut off or a segment is lost. Steps I and II.

use manyhands_core::requester::Input;
use manyhands_core::{ExecutionInfo, SegmentInfo};
use manyhands_proto::message::FailReason;
use manyhands_proto::worker::Execution;
use manyhands_proto::{JobId, LeaseId, Unit};
use manyhands_zkvm::Claim;

use super::assumptions::in_order;
use super::jobs_db::SegmentRow;
use super::shell::Shell;

/// Times that a guest is run if its worker dies, or a segment that it left is lost, before the job fails.
pub(super) const RUNS_MAX: u32 = 5;

/// Leases of a unit are counted from here on with each run of the guest: more than a unit ever has.
const ATTEMPTS_PER_RUN: u32 = 1_000;

impl Shell {
    /// Takes jobs up again that were open when the gateway stopped.
    pub(crate) fn resume(&mut self) -> rusqlite::Result<usize> {
        let rows = self.db.open_jobs()?;
        let count = rows.len();
        for row in rows {
            let job = row.job;
            let execution = self.db.execution(job)?;
            let restored = self.db.results(job)?;
            tracing::info!(%job, executed = execution.is_some(), verified = restored.len(), "resuming");
            let is_proved = |index| restored.contains_key(&Unit::Prove(index));
            let needed = execution.iter().flat_map(|(_, segments)| segments);
            let needed: Vec<SegmentRow> = needed.filter(|segment| !is_proved(segment.index)).cloned().collect();
            // Either the guest ran to its end and its segments are here, or another order to run it follows.
            self.moot.insert(job);
            self.begin(row, restored);
            if let Some((execution, segments)) = execution {
                segments.into_iter().for_each(|segment| self.segmented(job, segment));
                self.executed(job, execution);
                tokio::spawn(self.tasks.clone().look_at(job, needed));
            } else {
                self.begin_anew(job);
            }
        }
        Ok(count)
    }

    /// Steps I and II: a segment is cut and stored.
    pub(super) fn segmented(&mut self, job: JobId, segment: SegmentRow) {
        let now = self.clock.now();
        match Claim::decode(&segment.claim) {
            Ok(claim) => {
                if let Some(open) = self.open.get_mut(&job) {
                    open.relied_on.extend(claim.assumptions());
                }
                let info = SegmentInfo { index: segment.index, po2: segment.po2, claim };
                self.core.handle(now, Input::Segmented { job, segment: info });
                self.core
                    .handle(now, Input::Stored { job, index: segment.index, blob: segment.blob, key: segment.key });
            }
            Err(error) => {
                let reason = format!("segment {} has no claim: {error}", segment.index);
                self.core.handle(now, Input::Broken { job, reason });
            }
        }
    }

    /// A guest's run was cut off, or a segment is lost: it runs once more, unless that has been tried.
    pub(super) fn cut_off(&mut self, job: JobId, reason: String) {
        let Some(open) = self.open.get_mut(&job) else { return };
        open.cut_off += 1;
        if open.cut_off >= RUNS_MAX {
            let reason = format!("{reason} (the guest was run {RUNS_MAX} times)");
            return self.core.handle(self.clock.now(), Input::Broken { job, reason });
        }
        tracing::warn!(%job, reason, "the guest is run once more");
        (open.journal, open.log) = (Vec::new(), Vec::new());
        open.relied_on.clear();
        if let Some(execution) = open.execution.take() {
            execution.abort();
        }
        self.begin_anew(job);
    }

    fn begin_anew(&mut self, job: JobId) {
        match self.db.begin_anew(job) {
            Ok(runs) => {
                let attempts_from = runs.saturating_mul(ATTEMPTS_PER_RUN);
                self.core.handle(self.clock.now(), Input::Anew { job, attempts_from });
            }
            Err(error) => self.or_broken(job, Err(error)),
        }
    }

    pub(super) fn executed(&mut self, job: JobId, execution: Execution) {
        tracing::info!(%job, segments = execution.segments, cycles = execution.user_cycles, "the guest ended");
        let Some(open) = self.open.get_mut(&job) else { return };
        open.journal = execution.journal.into_vec();
        let result = in_order(&open.row.assumptions, &open.relied_on).map(|assumptions| ExecutionInfo {
            segments: execution.segments,
            user_cycles: execution.user_cycles,
            total_cycles: execution.total_cycles,
            assumptions,
        });
        self.core.handle(self.clock.now(), Input::Executed { job, result });
    }

    /// A node could not fetch a segment: perhaps it is we who lost it.
    pub(super) fn look_for_what_was_not_fetched(&self, lease: LeaseId, reason: &FailReason) {
        let (Unit::Prove(index), FailReason::Fetch(_)) = (lease.unit, reason) else { return };
        let is_executed = self.core.job(&lease.job).is_some_and(|job| job.execution.is_some());
        let segment = self.db.segment(lease.job, index).ok().flatten().filter(|_| is_executed);
        if let Some(segment) = segment {
            tokio::spawn(self.tasks.clone().look_at(lease.job, vec![segment]));
        }
    }
}
