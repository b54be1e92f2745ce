//! The nodes' side of the world: what reaches a node goes into its machine, and what the machine says is done, well or badly.

use manyhands_core::prover::{Command, Input, Tag};
use manyhands_proto::message::{Holder, Lease, Request, Response};
use manyhands_proto::{Binding, BlobRef, LeaseId, Nonce, Reference, Unit};

use super::{Happening, World};
use crate::draw::{About, Draw};
use crate::figures::receipt_bytes;
use crate::fleet::{Role, gateway_id, node_id, number_of};
use crate::link::Flow;
use crate::oracle::Receipt;
use crate::queue::Ask;

/// Receipts that a node keeps after they were taken, as the daemon does: a lift or join of its own result then needs no fetching.
const TAKEN_KEPT: usize = 16;

/// A quitter's worker fails after this time.
const QUIT_MS: u64 = 5;

/// A lease that a node works on.
#[derive(Debug)]
pub(super) struct Task {
    /// Names the task in happenings; never used again, so that one that was stopped is known.
    pub(super) stamp: u64,
    pub(super) lease: Box<Lease>,
    pub(super) job: u32,
    /// Bytes of inputs that are not on the machine yet.
    pub(super) missing_bytes: u64,
    pub(super) flow: Option<Flow>,
    pub(super) work: Option<Work>,
    /// When its slot began to work.
    pub(super) began_ms: Option<u64>,
}

/// What a task's work will come to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Receipt { is_garbage: bool, nonce: Nonce, elapsed_ms: u64 },
    Failure,
}

impl World<'_> {
    /// An answer, or its absence, reaches the node that asked, if that life of it still runs.
    pub(super) fn answer(&mut self, ask: &Ask, response: Option<Response>) -> Result<(), String> {
        let Some(node) = self.nodes.get_mut(ask.node as usize).filter(|node| node.life == ask.life) else {
            return Ok(());
        };
        let bid = node.bid.take_if(|(tag, _)| *tag == ask.tag);
        let answered_by = bid.map(|(_, gateway)| gateway);
        self.tell_node(ask.node, Input::Answered { tag: ask.tag, response }, answered_by)
    }

    pub(super) fn cancelled(&mut self, node: u32, life: u32, gateway: u32, lease: LeaseId) -> Result<(), String> {
        if self.nodes.get(node as usize).is_none_or(|node| node.life != life) {
            return Ok(());
        }
        self.tell_node(node, Input::Cancelled { from: gateway_id(gateway), lease }, None)
    }

    pub(super) fn noticed(&mut self, node: u32, gateway: u32) -> Result<(), String> {
        if let Some(machine) = self.nodes.get_mut(node as usize) {
            machine.notices_coming &= !(1 << gateway);
        }
        match self.gateways.get(gateway as usize) {
            Some(machine) => {
                let holder = machine.holder.clone();
                self.tell_node(node, Input::Gateway { holder, configured: false }, None)
            }
            None => Ok(()),
        }
    }

    pub(super) fn node_turn(&mut self, node: u32, stamp: u32) -> Result<(), String> {
        let (Some(machine), Some(traits)) = (self.nodes.get_mut(node as usize), self.fleet.get(node as usize)) else {
            return Ok(());
        };
        if !machine.alarm.rings(stamp) || !machine.is_up {
            return Ok(());
        }
        let now = traits.clock.shows(self.now_ms);
        if machine.core.poll_timeout().is_some_and(|(at, _)| at <= now) {
            machine.core.handle_timeout(now);
            if let Some((at, why)) = machine.core.poll_timeout().filter(|(at, _)| *at <= now) {
                return Err(format!("node {node} wakes up for nothing: {why} at {at}"));
            }
        }
        self.settle_node(node, None)
    }

    /// Hands a node an input, if it is up, and does what it says. `answered_by` is the gateway that just answered its bid.
    pub(super) fn tell_node(&mut self, node: u32, input: Input, answered_by: Option<u32>) -> Result<(), String> {
        let (Some(machine), Some(traits)) = (self.nodes.get_mut(node as usize), self.fleet.get(node as usize)) else {
            return Ok(());
        };
        if !machine.is_up {
            return Ok(());
        }
        machine.core.handle(traits.clock.shows(self.now_ms), input);
        self.settle_node(node, answered_by)
    }

    fn settle_node(&mut self, node: u32, answered_by: Option<u32>) -> Result<(), String> {
        loop {
            while let Some(command) = self.nodes.get_mut(node as usize).and_then(|machine| machine.core.poll_command())
            {
                self.obey_node(node, command)?;
            }
            if !self.notice_missed(node, answered_by) {
                break;
            }
        }
        let (Some(machine), Some(traits)) = (self.nodes.get_mut(node as usize), self.fleet.get(node as usize)) else {
            return Ok(());
        };
        let busy = machine.core.leases().count();
        if busy > usize::from(traits.slots) {
            return Err(format!("node {node} works on {busy} leases and has {} slots", traits.slots));
        }
        if let Some((at, _)) = machine.core.poll_timeout() {
            let at_ms = traits.clock.reaches(at).max(self.now_ms);
            if let Some(stamp) = machine.alarm.set(at_ms) {
                self.queue.push(at_ms, Happening::NodeTurn { node, stamp });
            }
        }
        Ok(())
    }

    /// Brings the index of idle nodes up to date. A node that becomes idle learns of the gateways that have announced something since it was
    /// busy; then it may say more. The one that just answered its bid is none of them: that answer is newer.
    fn notice_missed(&mut self, node: u32, answered_by: Option<u32>) -> bool {
        let (Some(machine), Some(traits)) = (self.nodes.get_mut(node as usize), self.fleet.get(node as usize)) else {
            return false;
        };
        let is_idle =
            machine.is_up && machine.bid.is_none() && machine.core.leases().count() < usize::from(traits.slots);
        if is_idle == machine.is_idle {
            return false;
        }
        machine.is_idle = is_idle;
        if is_idle {
            self.idle.insert(node)
        } else {
            self.idle.remove(&node)
        };
        if !is_idle || machine.noticed == self.notices || self.gateways.len() == 1 {
            return false;
        }
        let known = std::mem::replace(&mut machine.noticed, self.notices);
        let now = traits.clock.shows(self.now_ms);
        let mut is_moved = false;
        for (number, gateway) in (0..).zip(&self.gateways) {
            let mut newest = gateway.announced.range(..=traits.po2_max).map(|(_, notice)| *notice);
            if answered_by != Some(number) && newest.any(|notice| notice > known) {
                let holder: Holder = gateway.holder.clone();
                machine.core.handle(now, Input::Gateway { holder, configured: false });
                is_moved = true;
            }
        }
        is_moved
    }

    fn obey_node(&mut self, node: u32, command: Command) -> Result<(), String> {
        let now_ms = self.now_ms;
        match command {
            Command::Ask { to, request, tag } => self.ask(node, number_of(&to.node), request, tag),
            Command::Fetch { lease } => {
                self.log.line(now_ms, node, 2).lease(&lease.id);
                self.fetch(node, lease);
            }
            Command::Work { lease } => {
                self.log.line(now_ms, node, 3).lease(&lease.id);
                self.work(node, &lease.id);
            }
            Command::Stop { lease } => {
                self.log.line(now_ms, node, 4).lease(&lease);
                self.end_task(node, |task| task.lease.id == lease);
            }
            Command::Discard { lease, receipt, taken, .. } => {
                self.log.line(now_ms, node, 5).lease(&lease).number(u64::from(taken));
                self.discard(node, &receipt, taken);
            }
        }
        Ok(())
    }

    fn ask(&mut self, node: u32, gateway: u32, request: Request, tag: Tag) {
        let code = match &request {
            Request::Hello(_) => 10,
            Request::Bid(_) => 11,
            Request::Heartbeat { .. } => 12,
            Request::Done { .. } => 13,
            Request::Fail { .. } => 14,
            Request::Cancel(_) => 15,
        };
        self.log.line(self.now_ms, node, code).number(u64::from(gateway));
        let Some(machine) = self.nodes.get_mut(node as usize) else { return };
        let life = machine.life;
        machine.connections |= 1 << gateway;
        if matches!(request, Request::Bid(_)) {
            machine.bid = Some((tag, gateway));
        }
        let is_heartbeat = matches!(request, Request::Heartbeat { .. });
        let [first, second] = self.ways(node).ways();
        // Without a question on its way there would be no time-out either.
        let ask = self.asks.ask(self.now_ms, node, life, tag, is_heartbeat);
        if let Some(delay_ms) = second {
            let again = self.asks.ask(self.now_ms, node, life, tag, is_heartbeat);
            let request = request.clone();
            self.later(delay_ms, Happening::Asked { node, gateway, ask: again, request });
        }
        if let Some(delay_ms) = first {
            self.later(delay_ms, Happening::Asked { node, gateway, ask, request });
        }
    }

    fn fetch(&mut self, node: u32, lease: Box<Lease>) {
        self.book.begun(&lease.id);
        self.stamps += 1;
        let (stamp, job) = (self.stamps, self.challenges.number(&lease.id.job));
        let (missing_bytes, peers_ms) = self.sources(node, &lease);
        self.send_fetch(node, stamp, &lease, missing_bytes, peers_ms);
        if let Some(machine) = self.nodes.get_mut(node as usize) {
            machine.tasks.push(Task { stamp, lease, job, missing_bytes, flow: None, work: None, began_ms: None });
        }
    }

    pub(super) fn has(&self, node: u32, reference: &Reference) -> bool {
        let life = self.nodes.get(node as usize).map(|node| node.life);
        let receipt = self.receipts.get(reference);
        receipt.is_some_and(|receipt| receipt.node == node && Some(receipt.life) == life && receipt.is_held)
    }

    pub(super) fn fetch_ends(&mut self, node: u32, stamp: u64, is_had: bool) -> Result<(), String> {
        let Some(task) = self.task(node, stamp) else { return Ok(()) };
        task.flow = None;
        let lease = task.lease.id;
        if !is_had {
            self.end_task(node, |task| task.stamp == stamp);
        }
        let result = if is_had { Ok(()) } else { Err("the inputs were not found".to_owned()) };
        self.tell_node(node, Input::Fetched { lease, result }, None)
    }

    /// Begins the work. How long it takes belongs to machine, unit and attempt; a villain does what it is here for.
    fn work(&mut self, node: u32, lease: &LeaseId) {
        let is_calm = self.is_calm();
        let (Some(machine), Some(traits)) = (self.nodes.get_mut(node as usize), self.fleet.get(node as usize)) else {
            return;
        };
        let Some(task) = machine.tasks.iter_mut().find(|task| task.lease.id == *lease) else { return };
        let (unit, noise) = (lease.unit, &self.scenario.noise);
        let [kind, place] = unit_names(unit);
        let names = [u64::from(node), u64::from(task.job), kind, place, u64::from(lease.attempt)];
        let draw = &mut Draw::new(self.seed, About::Task, &names);
        let usual = draw.lognormal(1.0, noise.sigma);
        let (is_slow, slow, hurry) =
            (draw.happens(noise.slow_share), draw.between(noise.slow_min, noise.slow_max), draw.unit());
        let factor = if is_slow { usual * slow } else { usual };
        task.began_ms = Some(self.now_ms);
        machine.begun = machine.begun.wrapping_add(1);
        let due_ms = traits.unit_ms(unit.kind(), task.lease.po2) * factor;
        let nonce = task.lease.nonce;
        let true_receipt = |elapsed_ms: f64| (elapsed_ms, false, nonce);
        let role = if is_calm { Role::Honest } else { traits.role };
        let plan = match role {
            Role::Honest | Role::Flapper | Role::Sybil => Some(true_receipt(due_ms)),
            Role::Turncoat if machine.begun % 2 == 1 => Some(true_receipt(due_ms)),
            Role::Staller => Some(true_receipt(due_ms * self.scenario.villains.staller_factor)),
            Role::Liar => Some((due_ms * hurry, true, nonce)),
            Role::Plagiarist => {
                let other = node_id((node + 1) % self.scenario.fleet.nodes);
                let stolen = Nonce::bound(other, unit.range().start, Binding::default());
                Some((due_ms * hurry, !matches!(unit, Unit::Prove(_)), stolen))
            }
            Role::Quitter => None,
            Role::Waster | Role::Turncoat => return,
        };
        let (work, delay_ms) = match plan {
            Some((ms, is_garbage, nonce)) => {
                let ms = (ms as u64).max(1);
                let elapsed_ms = traits.clock.measures(ms).max(1);
                (Work::Receipt { is_garbage, nonce, elapsed_ms }, ms)
            }
            None => (Work::Failure, QUIT_MS),
        };
        task.work = Some(work);
        let stamp = task.stamp;
        // Villains say what they should.
        let seen = if is_slow && matches!(traits.role, Role::Honest | Role::Flapper) { slow } else { 1.0 };
        let takes_ms = (traits.unit_ms(unit.kind(), task.lease.po2) * seen) as u64;
        let noticed_ms = noise.noticed_ms;
        let remaining_ms = traits.clock.measures(takes_ms.saturating_sub(noticed_ms));
        if role == Role::Sybil {
            self.queue_work(node, stamp, delay_ms);
        } else {
            self.later(delay_ms, Happening::WorkEnds { node, stamp });
        }
        if (1..delay_ms).contains(&noticed_ms) {
            self.later(noticed_ms, Happening::Reckoned { node, stamp, remaining_ms });
        }
    }

    /// A node has seen how fast its work goes, and knows how much longer it will take.
    pub(super) fn reckoned(&mut self, node: u32, stamp: u64, remaining_ms: u64) -> Result<(), String> {
        let Some(lease) = self.task(node, stamp).map(|task| task.lease.id) else { return Ok(()) };
        self.tell_node(node, Input::Progress { lease, remaining_ms }, None)
    }

    pub(super) fn work_ends(&mut self, node: u32, stamp: u64) -> Result<(), String> {
        let Some(task) = self.end_task(node, |task| task.stamp == stamp) else { return Ok(()) };
        let (lease, unit) = (task.lease.id, task.lease.id.unit);
        let result = match task.work {
            Some(Work::Receipt { is_garbage, nonce, elapsed_ms }) => {
                let life = self.nodes.get(node as usize).map_or(0, |node| node.life);
                let size_bytes = receipt_bytes(unit, task.lease.po2);
                let receipt = Receipt { node, life, job: task.job, unit, nonce, is_garbage, size_bytes, is_held: true };
                Ok((self.receipts.store(receipt), elapsed_ms))
            }
            Some(Work::Failure) | None => Err("the worker ran out of memory".to_owned()),
        };
        self.tell_node(node, Input::Made { lease, result }, None)
    }

    /// Takes a task off a node and frees its slot.
    pub(super) fn end_task(&mut self, node: u32, is_meant: impl Fn(&Task) -> bool) -> Option<Task> {
        let machine = self.nodes.get_mut(node as usize)?;
        let place = machine.tasks.iter().position(is_meant)?;
        let task = machine.tasks.swap_remove(place);
        self.book.freed(self.now_ms, &task.lease.id);
        let role = self.fleet.get(node as usize).map(|traits| traits.role);
        if let Some(began_ms) = task.began_ms.filter(|_| role.is_some_and(Role::is_honest)) {
            self.was_busy(task.job, began_ms);
        }
        if let (Some(flow), Some(job)) = (task.flow, self.jobs.get_mut(task.job as usize)) {
            job.up.cancel(self.now_ms, flow);
        }
        if role == Some(Role::Sybil) {
            self.unqueue_work(node, task.stamp);
        }
        Some(task)
    }

    pub(super) fn task(&mut self, node: u32, stamp: u64) -> Option<&mut Task> {
        self.nodes.get_mut(node as usize)?.tasks.iter_mut().find(|task| task.stamp == stamp)
    }

    /// Drops a receipt, or keeps it a while if it was taken.
    fn discard(&mut self, node: u32, receipt: &BlobRef, taken: bool) {
        let Some(machine) = self.nodes.get_mut(node as usize) else { return };
        let old = if taken {
            machine.taken.push_back(receipt.reference);
            if machine.taken.len() > TAKEN_KEPT { machine.taken.pop_front() } else { None }
        } else {
            Some(receipt.reference)
        };
        if let Some(receipt) = old.and_then(|old| self.receipts.get_mut(&old)) {
            receipt.is_held = false;
        }
    }
}

/// A unit as two numbers, for draws.
pub(super) fn unit_names(unit: Unit) -> [u64; 2] {
    match unit {
        Unit::Prove(index) => [0, u64::from(index)],
        Unit::Lift(index) => [1, u64::from(index)],
        Unit::Join { start, mid, end } => [2 + u64::from(mid), u64::from(start) << 32 | u64::from(end)],
        Unit::Resolve { segments, index } => [u64::MAX, u64::from(segments) << 32 | u64::from(index)],
        Unit::Keccak(index) => [u64::MAX - 1, u64::from(index)],
        Unit::Union { start, end, .. } => [u64::MAX - 2, u64::from(start) << 32 | u64::from(end)],
    }
}
