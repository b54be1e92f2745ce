//! Step I: the guest is executed and cut into segments. Each, and each keccak request, becomes a unit as soon as the executor announces it.

use manyhands_proto::{BlobRef, Po2, Unit};

use super::{Entry, Job, Work};
use crate::requester::{Command, Context, Event};
use crate::{ProofSystem, Sizing};

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

/// A keccak request as the executor announces it: a batch of permutations that the guest left to its host.
#[derive(Debug, Clone)]
pub struct RequestInfo<P: ProofSystem> {
    /// Its index from 0.
    pub index: u32,
    /// The size of its proof.
    pub po2: Po2,
    /// What it claims.
    pub claim: P::Request,
}

/// What proves something that a guest relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assumption {
    /// A receipt that came with the job (`env::verify`).
    Given(BlobRef),
    /// The union of the guest's own keccak requests.
    Keccak,
}

/// The figures of a whole execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionInfo {
    /// Number of segments.
    pub segments: u32,
    /// Cycles of the guest's own instructions.
    pub user_cycles: u64,
    /// Cycles of the segments, with paging and padding: what is proved, but for keccak requests.
    pub total_cycles: u64,
    /// What proves what the guest relies on, in the order in which it is resolved.
    pub assumptions: Vec<Assumption>,
    /// Number of keccak requests.
    pub keccaks: u32,
}

impl<P: ProofSystem> Job<P> {
    /// Runs the guest, at several of `sizes` first if its size is to be chosen and there is a choice.
    pub(crate) fn start(&mut self, sizes: Vec<Po2>, cx: &mut Context<'_, P>) {
        match (self.spec.is_auto, sizes.len()) {
            (true, 0 | 1) => self.sized(None, cx),
            (true, _) => cx.out.command(Command::Survey { job: self.id, sizes }),
            (false, _) => cx.out.command(Command::Execute { job: self.id }),
        }
    }

    /// The guest was looked at. Without a choice, because it failed or no node is there any more, it runs at the size that was a guess: what is
    /// wrong with it shows then.
    pub(crate) fn sized(&mut self, sizing: Option<Sizing>, cx: &mut Context<'_, P>) {
        if !self.is_open() || !std::mem::take(&mut self.spec.is_auto) {
            return;
        }
        self.spec.po2 = sizing.as_ref().map_or(self.spec.po2, |sizing| sizing.po2);
        cx.out.event(Event::Sized { job: self.id, po2: self.spec.po2, sizing });
        cx.out.command(Command::Execute { job: self.id });
    }

    /// A segment was cut. It waits for step II.
    pub(crate) fn segmented(&mut self, segment: SegmentInfo<P>) {
        self.await_store(Unit::Prove(segment.index), segment.po2, Work::Prove { claim: segment.claim });
    }

    /// The guest has made a keccak request. It waits for step II.
    pub(crate) fn requested(&mut self, request: RequestInfo<P>) {
        self.await_store(Unit::Keccak(request.index), request.po2, Work::Keccak { claim: request.claim });
    }

    fn await_store(&mut self, unit: Unit, po2: Po2, work: Work<P>) {
        if self.is_open() && !self.ledger.contains_key(&unit) {
            self.ledger.insert(unit, Entry::new(po2, work, Vec::new(), Vec::new()));
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
                self.unite_all(cx);
                self.combine_if_complete(cx);
            }
            Err(reason) => self.fail(reason, cx),
        }
    }
}
