//! What the dispatcher's own searches say of a unit that waits, for [`crate::explain`]. Step III, read only: nothing here changes what is
//! leased, and all of it is the code that leases, asked again.

use std::collections::BTreeSet;

use manyhands_proto::{JobId, LeaseId, NodeId, Unit};

use super::super::{Requester, has_free_slot};
use super::{NODES_SCANNED, Pick};
use crate::explain::{Crowd, NODES_NAMED, Reason};
use crate::job::ready::Class;
use crate::job::step3_dispatch::is_able;
use crate::job::{Doubt, Job};
use crate::peers::Peer;
use crate::policy::Ranking;
use crate::{ProofSystem, Time};

impl<P: ProofSystem> Requester<P> {
    /// Why a ready unit is not leased; nothing if no able node waits for work.
    pub(crate) fn standing(&self, now: Time, job: &Job<P>, class: Class, unit: Unit, is_copy: bool) -> Option<Reason> {
        let is_late = job.ledger.get(&unit)?.is_late();
        let doubt = if is_late { Doubt::Late } else { Doubt::Slower };
        if is_copy && !self.may_copy(doubt) {
            let (copies, allowed) = self.copy_budget(doubt);
            return Some(Reason::Budget { copies: copies as u64, allowed: allowed as u64 });
        }
        match self.pick(now, job.id, class, unit, is_copy) {
            Pick::Node(_) => Some(Reason::Due { in_ms: self.next_plan().map_or(0, |next| next.since(now)) }),
            Pick::Near(until) => Some(Reason::Near { left_ms: until.since(now) }),
            Pick::NotThis => Some(Reason::Withheld),
            Pick::Nobody if is_copy => self.bids.all(class, 0).next().map(|_| Reason::NoGain),
            Pick::Nobody => {
                let limit = self.limit(now, job.id, class).filter(|_| self.circle(&job.id).is_none());
                self.too_slow(now, class, limit)
            }
        }
    }

    fn too_slow(&self, now: Time, class: Class, limit: Option<Time>) -> Option<Reason> {
        let limit = limit.filter(|_| self.policy.ranking == Ranking::Fastest)?;
        let mut waiting = self.bids.all(class, self.penalty_percent()).take(NODES_SCANNED);
        let is_measured = |node: &NodeId| self.peers.get(node).is_some_and(|peer| peer.is_measured(class.0));
        let (takes_ms, node) = waiting.find(|(score, node)| now.after(*score) > limit && is_measured(node))?;
        Some(Reason::TooSlow { node, takes_ms, limit_ms: limit.since(now) })
    }

    /// The connected nodes that are able to do a class of units, and what they do that do not wait for one.
    pub(crate) fn crowd(&self, now: Time, job: &JobId, (kind, po2): Class) -> Crowd {
        let (mut able, mut nodes, mut next) = (0, Vec::new(), None::<u64>);
        let (mut busy, mut barred, mut silent) = (0, 0, 0);
        for (node, _) in self.offers_for(job).filter(|(_, offer)| is_able(offer, kind, po2)) {
            let Some(peer) = self.peers.get(node) else { continue };
            able += 1;
            if nodes.len() < NODES_NAMED {
                nodes.push(*node);
            }
            let free_in_ms = if peer.is_blocked(now) {
                barred += 1;
                peer.blocked_until.map(|until| until.since(now))
            } else if has_free_slot(&self.peers, &self.holding, &self.policy, node) {
                silent += 1;
                None
            } else {
                busy += 1;
                self.frees_in_ms(now, node, peer)
            };
            next = next.into_iter().chain(free_in_ms).min();
        }
        let reason = match able {
            0 if self.offers().next().is_none() => Reason::NoNode,
            0 if self.offers_for(job).next().is_none() => Reason::NotAllowed,
            0 => Reason::NotAble,
            _ => Reason::Taken { busy, barred, silent, free_in_ms: next },
        };
        Crowd { able, nodes, reason }
    }

    /// Milliseconds until a busy node has a free slot, as predicted; nothing if one of its leases is late.
    fn frees_in_ms(&self, now: Time, node: &NodeId, peer: &Peer) -> Option<u64> {
        let leases: BTreeSet<LeaseId> = self.holding.of(node).collect();
        self.free_in_ms(now, peer, Some(&leases))
    }
}
