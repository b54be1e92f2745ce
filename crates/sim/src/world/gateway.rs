//! The gateways' side of the world: questions and jobs go in, and what the gateway decides is booked, judged and done.

use manyhands_core::job::{ExecutionInfo, JobSpec, Priority, Restored, SegmentInfo};
use manyhands_core::requester::{AskId, Command, Event, Input};
use manyhands_core::sizing::Cut;
use manyhands_core::{Parts, Survey, Time};
use manyhands_proto::message::{Request, Response};
use manyhands_proto::{BlobRef, JobId, Po2, Unit};

use super::{Happening, World, job_id, job_number};
use crate::draw::{About, Draw};
use crate::figures::segment_bytes;
use crate::fleet::{node_id, number_of};
use crate::oracle::{Claim, FakeProofs, segment_reference};
use crate::record::End;

/// How long a survey of one size takes: the first 2^24 cycles of a guest.
const LOOK_MS: u64 = 1_000;

impl World<'_> {
    pub(super) fn submit(&mut self, job: u32) -> Result<(), String> {
        let Some(entry) = self.jobs.get(job as usize) else { return Ok(()) };
        let (load, gateway) = (entry.load, entry.gateway);
        self.book.submitted(self.now_ms, gateway, load.segments);
        let spec = JobSpec { po2: load.po2, is_auto: load.auto, outcome: load.outcome, priority: Priority::default() };
        self.tell_gateway(
            gateway,
            Input::Submit { job: job_id(job), spec, restored: Restored::new(), attempts_from: 0 },
        )
    }

    /// A guest was run at these sizes: it is the paper's, with its inflation.
    pub(super) fn surveyed(&mut self, job: u32, sizes: &[Po2]) -> Result<(), String> {
        let Some(entry) = self.jobs.get(job as usize) else { return Ok(()) };
        let (user_cycles, gateway) = (entry.load.user_cycles(), entry.gateway);
        let cut = |po2: &Po2| {
            let segments = crate::figures::segments(user_cycles, *po2);
            let (total_cycles, blob_bytes) =
                (segments.saturating_mul(po2.cycles()), segments.saturating_mul(segment_bytes(*po2)));
            Cut { po2: *po2, user_cycles, segments, total_cycles, blob_bytes, keccaks: 0 }
        };
        let survey = Survey { user_cycles, is_whole: true, cuts: sizes.iter().map(cut).collect() };
        self.tell_gateway(gateway, Input::Surveyed { job: job_id(job), survey: Some(survey) })
    }

    /// A job's size is settled: its guest is cut into so many segments.
    fn sized(&mut self, id: &JobId, po2: Po2) {
        let number = job_number(id);
        if let Some(entry) = self.jobs.get_mut(number as usize) {
            let segments = crate::figures::segments(entry.load.user_cycles(), po2);
            (entry.po2, entry.segments) = (po2, u32::try_from(segments).unwrap_or(u32::MAX));
            self.book.sized(number, entry.segments);
        }
    }

    /// A segment is cut and stored; the next one follows, or the guest's end.
    pub(super) fn cut(&mut self, job: u32, index: u32) -> Result<(), String> {
        let Some(entry) = self.jobs.get(job as usize) else { return Ok(()) };
        let (load, gateway, id) = (entry.load, entry.gateway, job_id(job));
        let (po2, segments) = (entry.po2, entry.segments);
        let segment = SegmentInfo { index, po2, claim: Claim::new(job, index) };
        self.tell_gateway(gateway, Input::Segmented { job: id, segment })?;
        let blob = BlobRef { reference: segment_reference(job, index), size_bytes: segment_bytes(po2) };
        self.tell_gateway(gateway, Input::Stored { job: id, unit: Unit::Prove(index), blob, key: None })?;
        if index + 1 < segments {
            self.later(load.cut_ms, Happening::Cut { job, index: index + 1 });
            return Ok(());
        }
        let total_cycles = u64::from(segments).saturating_mul(po2.cycles());
        let info = ExecutionInfo {
            segments,
            user_cycles: load.user_cycles(),
            total_cycles,
            assumptions: Vec::new(),
            keccaks: 0,
        };
        self.tell_gateway(gateway, Input::Executed { job: id, result: Ok(info) })
    }

    pub(super) fn asked(&mut self, node: u32, gateway: u32, ask: AskId, request: Request) -> Result<(), String> {
        let is_dialable = self.fleet.get(node as usize).is_some_and(|traits| traits.is_reachable);
        let is_located = self.scenario.links.peers && is_dialable && matches!(request, Request::Hello(_));
        let shown = if matches!(request, Request::Bid(_)) {
            self.look_into(gateway, node);
            self.shown(node)
        } else {
            None
        };
        let from = self.fleet.get(node as usize).map(|traits| traits.origin).unwrap_or_default();
        let node = node_id(node);
        if is_located {
            // The address means nothing here: nodes are found by their numbers.
            let addresses = vec!["/ip4/192.0.2.1/tcp/4001".to_owned()];
            self.tell_gateway(gateway, Input::Located { node, addresses })?;
        }
        let input = match request {
            Request::Hello(capabilities) => Input::Hello { node, from, capabilities, ask },
            Request::Bid(bid) => Input::Bid { node, from, bid, shown, ask },
            Request::Heartbeat { lease, stage, remaining_ms } => {
                Input::Heartbeat { node, lease, stage, remaining_ms, ask }
            }
            Request::Done { lease, receipt, elapsed_ms } => Input::Done { node, lease, receipt, elapsed_ms, ask },
            Request::Fail { lease, reason } => Input::Fail { node, lease, reason, ask },
            Request::Cancel(lease) => return Err(format!("a node cancels {lease}")),
        };
        self.tell_gateway(gateway, input)
    }

    pub(super) fn assembled(&mut self, job: u32) -> Result<(), String> {
        let Some(gateway) = self.jobs.get(job as usize).map(|entry| entry.gateway) else { return Ok(()) };
        self.tell_gateway(gateway, Input::Assembled { job: job_id(job), result: Ok(()) })
    }

    pub(super) fn gateway_turn(&mut self, gateway: u32, stamp: u32) -> Result<(), String> {
        let now = Time(self.now_ms);
        let Some(machine) = self.gateways.get_mut(gateway as usize) else { return Ok(()) };
        if !machine.alarm.rings(stamp) {
            return Ok(());
        }
        if machine.core.poll_timeout().is_some_and(|(at, _)| at <= now) {
            machine.core.handle_timeout(now);
            if let Some((at, why)) = machine.core.poll_timeout().filter(|(at, _)| *at <= now) {
                return Err(format!("gateway {gateway} wakes up for nothing: {why} at {at}"));
            }
        }
        self.settle_gateway(gateway, End::Gone)
    }

    /// Hands a gateway an input and does what it says.
    pub(super) fn tell_gateway(&mut self, gateway: u32, input: Input<FakeProofs>) -> Result<(), String> {
        // A lease that comes back is given back by its node, or lost with it.
        let cause = if matches!(input, Input::Fail { .. }) { End::GivenBack } else { End::Gone };
        if let Some(machine) = self.gateways.get_mut(gateway as usize) {
            machine.core.handle(Time(self.now_ms), input);
        }
        self.settle_gateway(gateway, cause)
    }

    /// Books first which leases ended by command, then the events, then obeys: the two lists have no common order, and a slot may have
    /// been freed and filled in one step.
    fn settle_gateway(&mut self, gateway: u32, cause: End) -> Result<(), String> {
        let Some(machine) = self.gateways.get_mut(gateway as usize) else { return Ok(()) };
        let mut commands = std::mem::take(&mut machine.commands);
        commands.extend(std::iter::from_fn(|| machine.core.poll_command()));
        for command in &commands {
            if let Command::Cancel { lease, .. } | Command::Collect { lease, .. } = command {
                self.oracle.ended(gateway, self.challenges.number(&lease.job), *lease);
            }
        }
        let (mut leased, mut is_copied) = (0, false);
        while let Some(event) = self.gateways.get_mut(gateway as usize).and_then(|machine| machine.core.poll_event()) {
            leased += usize::from(matches!(event, Event::Leased { .. }));
            is_copied |= matches!(event, Event::Leased { is_copy: true, .. });
            self.note(gateway, event, cause)?;
        }
        if is_copied {
            self.check_copies(gateway, leased)?;
        }
        commands.drain(..).try_for_each(|command| self.obey_gateway(gateway, command))?;
        if let Some(machine) = self.gateways.get_mut(gateway as usize) {
            machine.commands = commands;
            let next = machine.core.poll_timeout().map(|(at, _)| at.0.max(self.now_ms));
            if let Some((at_ms, stamp)) = next.and_then(|at_ms| Some((at_ms, machine.alarm.set(at_ms)?))) {
                self.queue.push(at_ms, Happening::GatewayTurn { gateway, stamp });
            }
        }
        Ok(())
    }

    /// After copies were granted: whether the budget allowed them. A node that was leased something in this step may have been idle before it.
    fn check_copies(&self, gateway: u32, leased: usize) -> Result<(), String> {
        let Some(machine) = self.gateways.get(gateway as usize) else { return Ok(()) };
        let (live, copies) = self.oracle.load(gateway);
        // The oracle calls a lease ended when its receipt is fetched; for its gateway it is under way until that is checked.
        let live = live + self.collects.values().filter(|collect| collect.gateway == gateway).count();
        let allowed = machine.core.copies_allowed(live, machine.core.bids_held() + leased);
        if copies > allowed {
            return Err(format!(
                "gateway {gateway} has {copies} copies among {live} leases, and {allowed} are allowed"
            ));
        }
        Ok(())
    }

    fn note(&mut self, gateway: u32, event: Event, cause: End) -> Result<(), String> {
        let now_ms = self.now_ms;
        match event {
            Event::Sized { job, po2, .. } => {
                self.log.line(now_ms, gateway, 19).number(u64::from(job_number(&job))).number(u64::from(po2.get()));
                self.sized(&job, po2);
            }
            Event::BegunAnew { job } => return Err(format!("nobody asked for {job} to run again")),
            // Gateways here live as long as the world.
            Event::Standings { .. } | Event::Suspended { .. } | Event::Distrusted { .. } | Event::Challenged { .. } => {
            }
            Event::Leased { lease, node, predicted_ms, .. } => {
                let (job, node) = (job_number(&lease.job), number_of(&node));
                self.log.line(now_ms, gateway, 20).lease(&lease).number(u64::from(node)).number(predicted_ms);
                let is_copy = self.oracle.granted(gateway, job, node, lease)?;
                self.book.granted(now_ms, lease, job, node, is_copy, predicted_ms);
            }
            Event::Resumed { lease, node } => {
                let node = number_of(&node);
                self.log.line(now_ms, gateway, 28).lease(&lease).number(u64::from(node));
                self.oracle.resumed(gateway, job_number(&lease.job), node, lease)?;
            }
            Event::GivenBack { lease, node, .. } => {
                self.log.line(now_ms, gateway, 21).lease(&lease).number(u64::from(number_of(&node)));
                self.oracle.ended(gateway, job_number(&lease.job), lease);
                self.book.ended(now_ms, &lease, cause);
            }
            Event::LetGo { lease, node } => {
                self.log.line(now_ms, gateway, 27).lease(&lease).number(u64::from(number_of(&node)));
                self.book.ended(now_ms, &lease, End::LetGo);
            }
            Event::Verified { result } => {
                let job = job_number(&result.lease.job);
                self.log.line(now_ms, gateway, 22).lease(&result.lease).number(u64::from(number_of(&result.node)));
                self.oracle.verified(job, &result)?;
                self.book.verified(now_ms, job, &result);
            }
            Event::Refused { lease, node, refusal } => {
                let node = u64::from(number_of(&node));
                self.log.line(now_ms, gateway, 23).lease(&lease).number(node).number(refusal.blame as u64);
                self.oracle.ended(gateway, job_number(&lease.job), lease);
                self.book.refused(now_ms, &lease, &refusal);
            }
            Event::JobDone { job } => {
                let number = job_number(&job);
                self.log.line(now_ms, gateway, 24).number(u64::from(number));
                self.oracle.done(number)?;
                self.book.finished(now_ms, number);
                self.job_over(&job);
            }
            Event::JobFailed { job, .. } => {
                self.log.line(now_ms, gateway, 25).number(u64::from(job_number(&job)));
                self.job_over(&job);
            }
        }
        Ok(())
    }

    fn job_over(&mut self, id: &JobId) {
        if let Some(job) = self.jobs.get_mut(job_number(id) as usize).filter(|job| !job.is_over) {
            job.is_over = true;
            self.jobs_open = self.jobs_open.saturating_sub(1);
        }
    }

    fn obey_gateway(&mut self, gateway: u32, command: Command<FakeProofs>) -> Result<(), String> {
        let now_ms = self.now_ms;
        match command {
            Command::Survey { job, sizes } => {
                let looks = sizes.len() as u64;
                self.later(looks.saturating_mul(LOOK_MS), Happening::Surveyed { job: job_number(&job), sizes });
            }
            Command::Execute { job } => {
                let job = job_number(&job);
                let Some(load) = self.jobs.get(job as usize).map(|entry| entry.load) else { return Ok(()) };
                self.later(load.cut_ms.saturating_add(load.store_ms), Happening::Cut { job, index: 0 });
            }
            Command::Announce { job, po2, .. } => self.announce(gateway, &job, po2),
            Command::Answer { ask, response } => return self.reply(ask, Some(response)),
            Command::Challenge { id, .. } => self.challenge(gateway, id),
            // Nothing is stored here.
            Command::ChallengeOver { .. } => {}
            Command::Score { ask, score } => return self.scored(ask, &score),
            Command::Drop { ask } => return self.reply(ask, None),
            Command::Cancel { node, lease } => {
                let node = number_of(&node);
                self.log.line(now_ms, gateway, 30).lease(&lease).number(u64::from(node));
                self.book.ended(now_ms, &lease, End::Dropped);
                if !self.scenario.losers_run_on {
                    self.send_cancel(node, gateway, lease);
                }
            }
            Command::Collect { node, lease, receipt, check, .. } => {
                let node = number_of(&node);
                self.log.line(now_ms, gateway, 31).lease(&lease).number(u64::from(node));
                self.book.claimed(&lease);
                self.collect(gateway, node, lease, receipt, check);
            }
            Command::Assemble { job, parts } => {
                let job = job_number(&job);
                self.log.line(now_ms, gateway, 32).number(u64::from(job));
                let segments = self.jobs.get(job as usize).map_or(0, |entry| entry.segments);
                self.oracle.assembled(job, segments, &parts)?;
                let checks = if matches!(parts, Parts::Composite(_, _)) { u64::from(segments) } else { 1 };
                self.later(checks.saturating_mul(self.scenario.gateways.check_ms), Happening::Assembled { job });
            }
        }
        Ok(())
    }

    /// Sends a gateway's answer on its way. In a world where losers run on, no node learns that its work is needed no more.
    pub(super) fn reply(&mut self, id: AskId, response: Option<Response>) -> Result<(), String> {
        let Some(ask) = self.asks.answer(id)? else { return Ok(()) };
        let runs_on = self.scenario.losers_run_on && ask.is_heartbeat;
        let response = if runs_on { response.map(|_| Response::Ok) } else { response };
        for delay_ms in self.ways(ask.node) {
            self.later(delay_ms, Happening::Answered { ask: id, response: response.clone() });
        }
        Ok(())
    }

    /// Spreads a notice. Only idle nodes are moved by it, and one notice of a gateway on its way to a node is enough; the others find it
    /// when they become idle.
    fn announce(&mut self, gateway: u32, job: &JobId, po2: Po2) {
        self.notices += 1;
        self.log.line(self.now_ms, gateway, 33).number(u64::from(job_number(job)));
        if let Some(machine) = self.gateways.get_mut(gateway as usize) {
            machine.announced.insert(po2, self.notices);
        }
        let bit = 1 << gateway;
        let names = |node: u32| [u64::from(node), u64::from(job_number(job)), self.now_ms];
        for node in &self.idle {
            let is_able = self.fleet.get(*node as usize).is_some_and(|traits| traits.po2_max >= po2);
            let machine = self.nodes.get_mut(*node as usize).filter(|node| is_able && node.notices_coming & bit == 0);
            if let Some(machine) = machine {
                machine.notices_coming |= bit;
                let draw = &mut Draw::new(self.seed, About::Notice, &names(*node));
                let delay_ms = draw.within(1, self.scenario.links.gossip_max_ms.max(1));
                self.queue.push(self.now_ms.saturating_add(delay_ms), Happening::Noticed { node: *node, gateway });
            }
        }
    }
}
