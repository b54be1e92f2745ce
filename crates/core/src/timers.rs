//! The requester's wake-ups. A wake-up may be noted too early, never too late: what is really due is asked when its turn comes, so a
//! heartbeat, which only moves a wake-up back, costs nothing here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use manyhands_proto::{JobId, LeaseId, NodeId};

use crate::Time;

/// What a wake-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wake {
    /// A held bid must be answered.
    Bid(NodeId),
    /// A lease is late, silent or past its deadline.
    Lease(NodeId, LeaseId),
    /// A job is to be announced again.
    Announce(JobId),
    /// A unit waited long enough for the node that is near its inputs.
    Near(JobId),
    /// A challenge is silent or past its deadline.
    Challenge(JobId),
    /// The fleet's capacity is to be reckoned anew.
    Plan,
}

/// The wake-ups, earliest first.
#[derive(Clone, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(Time, Wake)>>);

impl Timers {
    pub(crate) fn add(&mut self, at: Time, wake: Wake) {
        self.0.push(Reverse((at, wake)));
    }

    pub(crate) fn first(&self) -> Option<(Time, Wake)> {
        self.0.peek().map(|Reverse(first)| *first)
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }
}

/// The first only. The others follow from the ledger, and some are needed no more; they would make equal books look different.
impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("first", &self.first()).finish_non_exhaustive()
    }
}
