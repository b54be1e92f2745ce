//! What is on the wires: messages, inputs on their way to nodes, receipts on their way to gateways.

use manyhands_core::requester::Input;
use manyhands_core::{Check, Refusal};
use manyhands_proto::message::{Blame, Lease};
use manyhands_proto::{BlobRef, LeaseId, Reference};

use super::challenges::CHALLENGE;
use super::node::{Task, unit_names};
use super::{Happening, World};
use crate::draw::{About, Draw, sigma_of};
use crate::fleet::{node_id, number_of};
use crate::oracle::FakeProofs;
use crate::queue::Alarm;

/// A gateway takes so long to find that a node cannot be reached.
const UNREACHABLE_MS: u64 = 5_000;

/// A node gives a provider up after so long, as in the daemon.
const PROVIDER_MS: u64 = 3_000;

/// A direction on a client's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// What a transfer on a client's link brings, and when the node's own link lets it arrive at the earliest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cargo {
    Inputs { node: u32, stamp: u64, earliest_ms: u64 },
    Receipt { collect: u64, earliest_ms: u64 },
}

/// A receipt that a gateway fetches and checks.
#[derive(Debug)]
pub(super) struct Collect {
    pub(super) gateway: u32,
    node: u32,
    lease: LeaseId,
    receipt: BlobRef,
    check: Check<FakeProofs>,
}

/// The times that a message takes: it can be lost, or come twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways([Option<u64>; 2]);

impl Ways {
    pub(super) fn ways(self) -> [Option<u64>; 2] {
        self.0
    }
}

impl IntoIterator for Ways {
    type Item = u64;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<u64>, 2>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

impl World<'_> {
    /// A message's ways between a node and a gateway: half a round trip, if nothing goes wrong.
    pub(super) fn ways(&mut self, node: u32) -> Ways {
        let (messages, is_calm) = (&self.scenario.messages, self.is_calm());
        let one_way_ms = self.fleet.get(node as usize).map_or(1, |traits| traits.one_way_ms);
        let is_sure = messages.lost + messages.doubled + messages.reordered == 0.0;
        let Some(machine) = self.nodes.get_mut(node as usize).filter(|_| !is_sure && !is_calm) else {
            return Ways([Some(one_way_ms), None]);
        };
        machine.messages += 1;
        let draw = &mut Draw::new(self.seed, About::Message, &[u64::from(node), machine.messages]);
        let fate = draw.unit();
        let mut way = || {
            let late_ms = if draw.happens(messages.reordered) { draw.within(0, messages.late_max_ms) } else { 0 };
            Some(one_way_ms.saturating_add(late_ms))
        };
        if fate < messages.lost {
            Ways([None, None])
        } else if fate < messages.lost + messages.doubled {
            Ways([way(), way()])
        } else {
            Ways([way(), None])
        }
    }

    pub(super) fn send_cancel(&mut self, node: u32, gateway: u32, lease: LeaseId) {
        let life = self.nodes.get(node as usize).map_or(0, |node| node.life);
        for delay_ms in self.ways(node) {
            self.later(delay_ms, Happening::Cancelled { node, life, gateway, lease });
        }
    }

    /// Sends for a lease's inputs: first they are found, then they flow. What lies on the machine already needs neither.
    pub(super) fn send_fetch(
        &mut self,
        node: u32,
        stamp: u64,
        lease: &Lease,
        missing_bytes: u64,
        peers_ms: Option<u64>,
    ) {
        if missing_bytes == 0 && peers_ms.is_none() {
            return self.later(1, Happening::FetchEnds { node, stamp, is_had: true });
        }
        let links = &self.scenario.links;
        let [kind, place] = unit_names(lease.id.unit);
        let job = u64::from(self.challenges.number(&lease.id.job));
        let names = [u64::from(node), job, kind, place, u64::from(lease.id.attempt)];
        let draw = &mut Draw::new(self.seed, About::Transfer, &names);
        let sigma = sigma_of(links.fetch_median_ms, links.fetch_p95_ms);
        let found_ms = draw.lognormal(links.fetch_median_ms, sigma) as u64;
        let is_had = self.is_calm() || !draw.happens(links.fetch_failures);
        let next = match is_had && missing_bytes > 0 {
            true => Happening::FetchBegins { node, stamp },
            false => Happening::FetchEnds { node, stamp, is_had },
        };
        self.later(found_ms.saturating_add(peers_ms.unwrap_or(0)).max(1), next);
    }

    /// Where a lease's inputs come from that are not on the machine: bytes from the client, and the time for what others hand over, if
    /// anybody does. A holder that is gone or means harm costs the time until it is given up.
    pub(super) fn sources(&self, node: u32, lease: &Lease) -> (u64, Option<u64>) {
        let down = self.fleet.get(node as usize).map_or(1.0, |traits| traits.down_bytes_per_ms);
        let (mut client_bytes, mut peers_ms) = (0_u64, None);
        let others = lease.holders.split_last().map_or(&[][..], |(_, others)| others);
        for input in lease.inputs.iter().filter(|input| !self.has(node, &input.reference)) {
            let mut is_had = false;
            for other in others.iter().map(|holder| number_of(&holder.node)) {
                let Some(traits) = self.fleet.get(other as usize) else { continue };
                let ms = peers_ms.get_or_insert(0_u64);
                if !traits.is_honest() || self.nodes.get(other as usize).is_none_or(|machine| !machine.is_up) {
                    *ms = ms.saturating_add(PROVIDER_MS);
                } else if self.hands_over(other, &input.reference) {
                    let bytes_per_ms = traits.up_bytes_per_ms.min(down);
                    *ms = arrival_ms(ms.saturating_add(traits.one_way_ms), input.size_bytes, bytes_per_ms);
                    is_had = true;
                    break;
                }
            }
            client_bytes = client_bytes.saturating_add(if is_had { 0 } else { input.size_bytes });
        }
        (client_bytes, peers_ms)
    }

    /// Whether a node has a blob: a receipt of its own, or an input that it works on.
    fn hands_over(&self, node: u32, reference: &Reference) -> bool {
        let works_on =
            |task: &Task| task.work.is_some() && task.lease.inputs.iter().any(|input| input.reference == *reference);
        let tasks = self.nodes.get(node as usize).map_or(&[][..], |machine| &machine.tasks);
        self.has(node, reference) || tasks.iter().any(works_on)
    }

    /// Inputs begin to flow over the client's uplink and the node's downlink.
    pub(super) fn fetch_begins(&mut self, node: u32, stamp: u64) -> Result<(), String> {
        let Some(rate) = self.fleet.get(node as usize).map(|traits| traits.down_bytes_per_ms) else { return Ok(()) };
        let now_ms = self.now_ms;
        let Some(task) =
            self.nodes.get_mut(node as usize).and_then(|node| node.tasks.iter_mut().find(|task| task.stamp == stamp))
        else {
            return Ok(());
        };
        let earliest_ms = arrival_ms(now_ms, task.missing_bytes, rate);
        if task.job == CHALLENGE {
            // So few bytes that no client's line is held up by them.
            self.queue.push(earliest_ms, Happening::FetchEnds { node, stamp, is_had: true });
            return Ok(());
        }
        let Some(job) = self.jobs.get_mut(task.job as usize) else { return Ok(()) };
        let cargo = Cargo::Inputs { node, stamp, earliest_ms };
        task.flow = Some(job.up.begin(now_ms, task.missing_bytes, cargo));
        let number = task.job;
        self.watch(number, Way::Up);
        Ok(())
    }

    /// A gateway asks a node for a receipt: one round trip before the first byte.
    pub(super) fn collect(
        &mut self,
        gateway: u32,
        node: u32,
        lease: LeaseId,
        receipt: BlobRef,
        check: Check<FakeProofs>,
    ) {
        self.stamps += 1;
        let collect = self.stamps;
        self.collects.insert(collect, Collect { gateway, node, lease, receipt, check });
        let one_way_ms = self.fleet.get(node as usize).map_or(1, |traits| traits.one_way_ms);
        self.later(one_way_ms.saturating_mul(2), Happening::CollectBegins { collect });
    }

    pub(super) fn collect_begins(&mut self, collect: u64) -> Result<(), String> {
        let Some(entry) = self.collects.get(&collect) else { return Ok(()) };
        let (size_bytes, number) = (entry.receipt.size_bytes, self.challenges.number(&entry.lease.job));
        let rate = self.fleet.get(entry.node as usize).map(|traits| traits.up_bytes_per_ms);
        let lost = self.scenario.messages.lost;
        let is_broken = !self.is_calm() && Draw::new(self.seed, About::Transfer, &[collect]).happens(lost);
        let (Some(rate), true) = (rate, self.is_served(entry) && !is_broken) else {
            self.later(UNREACHABLE_MS, Happening::CollectFails { collect });
            return Ok(());
        };
        let earliest_ms = arrival_ms(self.now_ms, size_bytes, rate);
        if number == CHALLENGE {
            self.queue.push(earliest_ms, Happening::CollectEnds { collect });
            return Ok(());
        }
        let Some(job) = self.jobs.get_mut(number as usize) else { return Ok(()) };
        job.down.begin(self.now_ms, size_bytes, Cargo::Receipt { collect, earliest_ms });
        self.watch(number, Way::Down);
        Ok(())
    }

    /// A receipt has arrived, if its node stayed until the end; now it waits for a free core of its gateway.
    pub(super) fn collect_ends(&mut self, collect: u64) -> Result<(), String> {
        let Some(entry) = self.collects.get(&collect) else { return Ok(()) };
        if !self.is_served(entry) {
            return self.collect_fails(collect);
        }
        let check_ms = self.scenario.gateways.check_ms;
        let gateway = self.gateways.get_mut(entry.gateway as usize);
        if let Some(core) = gateway.and_then(|gateway| gateway.checks.iter_mut().min()) {
            *core = self.now_ms.max(*core).saturating_add(check_ms);
            let at_ms = *core;
            self.queue.push(at_ms, Happening::Checked { collect });
        }
        Ok(())
    }

    pub(super) fn collect_fails(&mut self, collect: u64) -> Result<(), String> {
        let Some(Collect { gateway, node, lease, .. }) = self.collects.remove(&collect) else { return Ok(()) };
        let refusal = Refusal { blame: Blame::Network, reason: "the connection to the node broke".to_owned() };
        self.tell_gateway(gateway, Input::Checked { node: node_id(node), lease, result: Err(refusal) })
    }

    /// The verifier's word.
    pub(super) fn checked(&mut self, collect: u64) -> Result<(), String> {
        let Some(entry) = self.collects.remove(&collect) else { return Ok(()) };
        let Collect { gateway, node, lease, receipt, check } = entry;
        let result = self.receipts.check(self.challenges.number(&lease.job), &receipt.reference, &check)?;
        if result.is_ok() {
            self.oracle.passed(node, lease, receipt.reference);
        }
        self.tell_gateway(gateway, Input::Checked { node: node_id(node), lease, result })
    }

    /// A client's link has brought what it could by now.
    pub(super) fn link_turn(&mut self, number: u32, way: Way, stamp: u32) -> Result<(), String> {
        let now_ms = self.now_ms;
        let Some(job) = self.jobs.get_mut(number as usize) else { return Ok(()) };
        let (link, alarm) = match way {
            Way::Up => (&mut job.up, &mut job.up_alarm),
            Way::Down => (&mut job.down, &mut job.down_alarm),
        };
        if !alarm.rings(stamp) {
            return Ok(());
        }
        while let Some(cargo) = link.pop(now_ms) {
            let (earliest_ms, next) = match cargo {
                Cargo::Inputs { node, stamp, earliest_ms } => {
                    (earliest_ms, Happening::FetchEnds { node, stamp, is_had: true })
                }
                Cargo::Receipt { collect, earliest_ms } => (earliest_ms, Happening::CollectEnds { collect }),
            };
            self.queue.push(earliest_ms.max(now_ms), next);
        }
        self.watch(number, way);
        Ok(())
    }

    /// Sets the alarm of a client's link to its next end of a transfer.
    fn watch(&mut self, number: u32, way: Way) {
        let Some(job) = self.jobs.get_mut(number as usize) else { return };
        let (next, alarm): (_, &mut Alarm) = match way {
            Way::Up => (job.up.next_ms(), &mut job.up_alarm),
            Way::Down => (job.down.next_ms(), &mut job.down_alarm),
        };
        if let Some((at_ms, stamp)) = next.and_then(|at_ms| Some((at_ms, alarm.set(at_ms)?))) {
            self.queue.push(at_ms.max(self.now_ms), Happening::LinkTurn { job: number, way, stamp });
        }
    }

    /// Whether the maker of a receipt is there and still has it.
    fn is_served(&self, collect: &Collect) -> bool {
        let receipt = self.receipts.get(&collect.receipt.reference).filter(|receipt| receipt.is_held);
        let node = self.nodes.get(collect.node as usize).filter(|node| node.is_up);
        receipt.zip(node).is_some_and(|(receipt, node)| receipt.node == collect.node && receipt.life == node.life)
    }
}

/// When so many bytes have passed a node's own link, if they begin now.
fn arrival_ms(now_ms: u64, size_bytes: u64, bytes_per_ms: f64) -> u64 {
    now_ms.saturating_add(libm::ceil(size_bytes as f64 / bytes_per_ms) as u64)
}
