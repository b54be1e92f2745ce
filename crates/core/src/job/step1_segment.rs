//! Step I: the guest is executed and cut into segments. Each becomes a unit as soon as the executor announces it.

use manyhands_proto::{Po2, Unit};

use super::{Entry, Job, Work};
use crate::ProofSystem;
use crate::requester::{Command, Context};

/// A segment as the executor announces it, while the guest still runs.
#[derive(Debug, Clone)]
pub struct SegmentInfo<P: ProofSystem> {
    /// Its index from 0.
    pub index: u32,
    /// Its own size; the last segment's may be below the job's.
    pub po2: Po2,
    /// What it claims.
    pub claim: P::Claim,
}

/// The figures of a whole execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutionInfo {
    /// Number of segments.
    pub segments: u32,
    /// Cycles of the guest's own instructions.
    pub user_cycles: u64,
    /// Cycles with paging and padding: what is proved.
    pub total_cycles: u64,
}

impl<P: ProofSystem> Job<P> {
    pub(crate) fn start(&self, cx: &mut Context<'_, P>) {
        cx.out.command(Command::Execute { job: self.id });
    }

    /// A segment was cut. It waits for step II.
    pub(crate) fn segmented(&mut self, segment: SegmentInfo<P>) {
        let unit = Unit::Prove(segment.index);
        if self.is_open() && !self.ledger.contains_key(&unit) {
            let entry = Entry::new(segment.po2, Work::Prove { claim: segment.claim }, Vec::new(), Vec::new());
            self.ledger.insert(unit, entry);
        }
    }

    /// The guest ended, well or badly.
    pub(crate) fn executed(&mut self, result: Result<ExecutionInfo, String>, cx: &mut Context<'_, P>) {
        if !self.is_open() {
            return;
        }
        match result {
            Ok(info) if info.segments == 0 => self.fail("the guest ended without a segment".to_owned(), cx),
            Ok(info) => {
                self.execution = Some(info);
                self.combine_if_complete(cx);
            }
            Err(reason) => self.fail(reason, cx),
        }
    }
}
