//! What a node can spare now: the machine is somebody's, and what he does on it comes first. Serves step III.

use manyhands_proto::Po2;
use manyhands_proto::message::{Capabilities, FailReason};

use super::{Prover, Will};
use crate::room::Room;

/// What the machine spares for proving now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Work, within so much memory for each slot.
    Work {
        /// Bytes. More than the node offers at most changes nothing.
        memory_bytes: u64,
    },
    /// Nothing new. What is under way goes on.
    Rest,
    /// Nothing: what is under way is given back at once, since its memory or its noise is what disturbs.
    Yield,
}

impl Prover {
    /// What follows from all that bears on it.
    pub(super) fn will(&self) -> Will {
        match (self.is_leaving, self.means, self.room) {
            (true, ..) => Will::Leave,
            (false, Means::Rest | Means::Yield, _) => Will::Rest,
            (false, Means::Work { .. }, Room::Short) => Will::End,
            (false, Means::Work { .. }, Room::Enough) => Will::Work,
        }
    }

    /// Without room a node takes its bids back, and asks for no more work until there is room again; what it has it goes on with.
    pub(super) fn found(&mut self, room: Room) {
        let before = self.will();
        self.room = room;
        self.take_back_bids(before, false);
    }

    /// Less memory makes a node offer smaller segments. A bid that says otherwise is taken back, to be made anew.
    pub(super) fn spares(&mut self, means: Means) {
        let before = self.will();
        self.means = means;
        let offer = within(&self.most, means);
        let is_other = offer.as_ref().is_some_and(|(po2_max, memory_bytes)| {
            (*po2_max, *memory_bytes) != (self.capabilities.po2_max, self.capabilities.memory_bytes)
        });
        match offer {
            Some((po2_max, memory_bytes)) => {
                (self.capabilities.po2_max, self.capabilities.memory_bytes) = (po2_max, memory_bytes);
            }
            // Not even the smallest segment fits.
            None if matches!(means, Means::Work { .. }) => self.means = Means::Rest,
            None => {}
        }
        if means == Means::Yield && !self.is_leaving {
            self.give_all_back(FailReason::Leaving);
        }
        self.take_back_bids(before, is_other);
    }

    fn take_back_bids(&mut self, before: Will, is_other: bool) {
        let now = self.will();
        let is_withdrawn = before == Will::Work && now != Will::Work && now != Will::Leave;
        if is_withdrawn || (is_other && now == Will::Work) {
            self.withdraw();
        }
    }
}

/// The largest segment and the memory of a slot that `means` leave of `most`. Nothing if that is for no segment.
fn within(most: &Capabilities, means: Means) -> Option<(Po2, u64)> {
    let Means::Work { memory_bytes } = means else { return None };
    if memory_bytes >= most.memory_bytes {
        return Some((most.po2_max, most.memory_bytes));
    }
    Some((Po2::largest_for(memory_bytes)?.min(most.po2_max), memory_bytes))
}
