//! A guest that has to run once more: its run was cut off, or a segment that it left is lost.

use super::{Job, ready, step5_combine};
use crate::ProofSystem;
use crate::requester::{Command, Context, Event};

impl<P: ProofSystem> Job<P> {
    /// Begins again with step I. Guests may draw randomness from their host, and their segments differ then, so what is verified is put
    /// aside and checked against what the new segments claim, as after a restart. Leases of the new run count from `attempts_from` on:
    /// a late result of an old one, which proves another segment, is then known for what it is and blamed on nobody.
    pub(crate) fn begin_anew(&mut self, attempts_from: u32, cx: &mut Context<'_, P>) {
        if !self.is_open() {
            return;
        }
        self.recall_all(cx);
        let ledger = std::mem::take(&mut self.ledger);
        self.restored.extend(ledger.into_iter().filter_map(|(unit, entry)| Some((unit, entry.result?))));
        self.attempts_from = attempts_from;
        self.ready = ready::ReadyIndex::default();
        self.frontier = step5_combine::Frontier::default();
        (self.execution, self.near_until) = (None, None);
        self.is_touched = true;
        cx.out.event(Event::BegunAnew { job: self.id });
        cx.out.command(Command::Execute { job: self.id });
    }
}
