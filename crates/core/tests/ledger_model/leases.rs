//! The reference's rules of leases: how each ends, and what is said to whom.

use manyhands_core::Checked;
use manyhands_core::job::{Outcome, Receipted};
use manyhands_core::peers::PeerBook;
use manyhands_core::requester::AskId;
use manyhands_proto::message::{Bid, Blame, FailReason};
use manyhands_proto::{BlobRef, LeaseId, NodeId, Unit};

use crate::book::{Book, LeaseRow, Said, Stand, Status};
use crate::fake::{Fake, blob};

impl Book {
    pub fn bid(&mut self, node: NodeId, bid: &Bid, ask: AskId, peers: &PeerBook) {
        self.release(node);
        self.slots.insert(node, bid.capabilities.slots);
        let mut held = self.running_of(node);
        held.sort_unstable();
        let busy = usize::from(bid.capabilities.slots - bid.slots_free);
        let grace_ms = 2 * self.policy.heartbeat_ms;
        for (heard, id) in held.iter().take(held.len().saturating_sub(busy)) {
            if self.now.since(*heard) >= grace_ms {
                self.end(node, *id, Said::GivenBack(node, *id));
            }
        }
        let is_idle = self.jobs.values().all(|job| job.stand != Stand::Open);
        if peers.get(&node).is_some_and(|peer| peer.is_blocked(self.now)) {
            self.say(Said::Refusal(ask));
        } else if is_idle || bid.slots_free == 0 {
            self.say(Said::Wait(ask));
        } else {
            self.bids.insert(node, (ask, self.now.after(self.policy.bid_hold_ms)));
        }
    }

    /// Ends a running lease of that node; says so if there is one.
    pub fn end(&mut self, node: NodeId, id: LeaseId, said: Said) -> bool {
        let running = |lease: &&mut LeaseRow| lease.node == node && lease.status == Status::Running;
        let Some(lease) = self.lease(id).filter(running) else { return false };
        lease.status = Status::Over;
        self.say(said);
        true
    }

    pub fn heartbeat(&mut self, node: NodeId, id: LeaseId, remaining_ms: Option<u64>, ask: AskId) {
        let (now, policy, is_free) = (self.now, self.policy.clone(), self.has_free_slot(node));
        let unit = self.open_job(id.job).and_then(|row| row.units.get_mut(&id.unit));
        let Some(unit) = unit.filter(|unit| unit.accepted.is_none()) else { return self.say(Said::Stale(ask)) };
        let has_other = unit.live().any(|(attempt, _)| attempt != id.attempt);
        let lease = unit.leases.get_mut(&id.attempt).filter(|lease| lease.node == node);
        let Some(lease) = lease else { return self.say(Said::Stale(ask)) };
        lease.heard = now;
        lease.told = remaining_ms.map(|ms| now.after(ms));
        let is_revived = lease.status == Status::Over && !has_other && is_free;
        if is_revived {
            (lease.status, lease.is_late) = (Status::Running, true);
            if lease.deadline <= now {
                lease.deadline = now.after(policy.deadline_ms(now.since(lease.granted)));
            }
        }
        let late_at = policy.late_after_ms(lease.predicted_ms).map(|ms| lease.granted.after(ms));
        let tells_late = lease.told.zip(late_at).is_some_and(|(told, late_at)| told > late_at);
        lease.is_slow |= lease.status == Status::Running && tells_late;
        self.revived += u64::from(is_revived);
        if is_revived {
            self.say(Said::Resumed(node, id));
        }
        self.say(Said::Ok(ask));
    }

    /// A lease was let go. Whether it is slow, and the fleet would be done much sooner, is the dispatcher's to reckon.
    pub fn let_go(&mut self, node: NodeId, id: LeaseId) {
        let unit = &self.jobs[&id.job].units[&id.unit];
        let lease = &unit.leases[&id.attempt];
        assert!(lease.told.is_some() && self.policy.late_gain_percent > 0, "{id} is let go though nothing was told");
        assert_eq!(unit.live().count(), 1, "{id} is let go though there is a copy");
        assert!(self.end(node, id, Said::Cancel(node, id)), "{id} is let go and does not run");
        // Forgotten at once: a heartbeat that is on its way must not bring it back.
        self.jobs.get_mut(&id.job).unwrap().units.get_mut(&id.unit).unwrap().leases.remove(&id.attempt);
    }

    pub fn done(&mut self, node: NodeId, id: LeaseId, receipt: &BlobRef, ask: AskId) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return self.say(Said::Stale(ask)) };
        let is_open = job.stand == Stand::Open;
        let Some(unit) = job.units.get_mut(&id.unit) else { return self.say(Said::Stale(ask)) };
        if unit.accepted.is_some_and(|result| (result.node, result.lease) == (node, id)) {
            return self.say(Said::Ok(ask));
        }
        let is_needed = is_open && unit.accepted.is_none();
        let lease = unit.leases.get_mut(&id.attempt).filter(|lease| is_needed && lease.node == node);
        let Some(lease) = lease else { return self.say(Said::Stale(ask)) };
        if let Status::Checking(older, size) = lease.status {
            lease.status = Status::Checking(ask, size);
            return self.say(Said::Drop(older));
        }
        lease.status = Status::Checking(ask, receipt.size_bytes);
        if receipt.size_bytes == 0 {
            return self.refuse(node, id, Blame::Peer);
        }
        self.say(Said::Collect(node, id));
    }

    pub fn given_back(&mut self, node: NodeId, id: LeaseId, reason: &FailReason, peers: &PeerBook) {
        if !self.end(node, id, Said::GivenBack(node, id)) || !matches!(reason, FailReason::Worker(_)) {
            return;
        }
        let Some(unit) = self.jobs.get_mut(&id.job).and_then(|row| row.units.get_mut(&id.unit)) else { return };
        *unit.failures.entry(node).or_default() += 1;
        let believed = unit.failures.keys().filter(|node| peers.is_proven(node)).count();
        let failures: u32 = unit.failures.values().sum();
        let by_all = failures as usize >= 4 * self.policy.unit_failures_max && !peers.has_proven(self.now);
        if believed >= self.policy.unit_failures_max || by_all {
            self.fail(id.job);
        }
    }

    pub fn gone(&mut self, node: NodeId) {
        if let Some((ask, _)) = self.bids.remove(&node) {
            self.say(Said::Drop(ask));
        }
        for (_, id) in self.running_of(node) {
            self.end(node, id, Said::GivenBack(node, id));
        }
    }

    pub fn take_back(&mut self, node: NodeId) {
        for (_, id) in self.running_of(node) {
            self.end(node, id, Said::GivenBack(node, id));
            self.say(Said::Cancel(node, id));
        }
    }

    pub fn checked(&mut self, node: NodeId, id: LeaseId, result: Result<&Checked<Fake>, Blame>) {
        let is_checked =
            self.lease(id).is_some_and(|lease| lease.node == node && matches!(lease.status, Status::Checking(..)));
        match result {
            _ if !is_checked => {}
            Ok(_) => self.accept(node, id),
            Err(blame) => self.refuse(node, id, blame),
        }
    }

    pub fn refuse(&mut self, node: NodeId, id: LeaseId, blame: Blame) {
        let fetches_max = self.policy.fetches_max;
        let Some(lease) = self.lease(id) else { return };
        let Status::Checking(ask, _) = std::mem::replace(&mut lease.status, Status::Over) else { return };
        lease.fetches += u32::from(blame == Blame::Network);
        let is_forgotten = blame == Blame::Peer || (blame == Blame::Network && lease.fetches >= fetches_max);
        if is_forgotten {
            self.jobs.get_mut(&id.job).unwrap().units.get_mut(&id.unit).unwrap().leases.remove(&id.attempt);
        }
        self.say(if is_forgotten { Said::Stale(ask) } else { Said::Drop(ask) });
        self.say(Said::Refused(node, id));
    }

    pub fn accept(&mut self, node: NodeId, id: LeaseId) {
        let Some(lease) = self.lease(id) else { return };
        let Status::Checking(ask, _) = std::mem::replace(&mut lease.status, Status::Over) else { return };
        self.say(Said::Ok(ask));
        self.say(Said::Verified(node, id));
        self.recall(id.job, Some(id.unit));
        let row = self.jobs.get_mut(&id.job).unwrap();
        let unit = row.units.get_mut(&id.unit).unwrap();
        unit.leases.clear();
        unit.accepted = Some(Receipted { lease: id, node, receipt: blob(99), elapsed_ms: 0 });
        match id.unit {
            Unit::Prove(index) if row.outcome == Outcome::Succinct => row.begin(Unit::Lift(index)),
            Unit::Prove(_) | Unit::Keccak(_) | Unit::Union { .. } => {}
            Unit::Lift(_) | Unit::Join { .. } | Unit::Resolve { .. } => row.loosen(id.unit.range()),
        }
        self.combine(id.job);
    }
}
