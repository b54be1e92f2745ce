//! The reference's rules: what each input, and each moment that passes, changes in the book, and what the gateway must say to it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use manyhands_core::job::Outcome;
use manyhands_core::peers::PeerBook;
use manyhands_core::requester::Input;
use manyhands_proto::{JobId, LeaseId, NodeId, SegmentRange, Unit};

use crate::book::{Book, JobRow, Said, Stand, Status, UnitRow};
use crate::fake::Fake;

impl Book {
    /// Takes an input. Who is blocked and who has delivered is the peers' book's word, which has tests of its own.
    pub fn take(&mut self, input: &Input<Fake>, peers: &PeerBook) {
        match input {
            Input::Submit { job, spec, .. } => self.submit(*job, spec.outcome),
            Input::Restrict { job, .. } => panic!("{job} is for everybody"),
            Input::Surveyed { job, .. } => panic!("the size of {job} was given"),
            Input::Segmented { job, segment } => self.cut(*job, segment.index),
            Input::Requested { job, request } => panic!("the guest of {job} makes no request {}", request.index),
            Input::Stored { job, unit, .. } => self.store(*job, unit.range().start),
            Input::Executed { job, result } => self.executed(*job, result.as_ref().map_or(0, |info| info.segments)),
            Input::Anew { job, .. } => panic!("the guest of {job} ran to its end"),
            Input::Abort { job } | Input::Broken { job, .. } => self.fail(*job),
            Input::Assembled { job, result } => self.assembled(*job, result.is_ok()),
            Input::Hello { node, capabilities, ask, .. } => {
                self.slots.insert(*node, capabilities.slots);
                self.say(Said::Ok(*ask));
            }
            Input::Bid { node, bid, ask, .. } => self.bid(*node, bid, *ask, peers),
            Input::Heartbeat { node, lease, remaining_ms, ask, .. } => {
                self.heartbeat(*node, *lease, *remaining_ms, *ask)
            }
            Input::Done { node, lease, receipt, ask, .. } => self.done(*node, *lease, receipt, *ask),
            Input::Fail { node, lease, reason, ask } => {
                self.given_back(*node, *lease, reason, peers);
                self.refuse_if_blocked(*node, peers);
                self.say(Said::Ok(*ask));
            }
            Input::Located { .. } => {}
            Input::Gone { node } => self.gone(*node),
            Input::Misbehaved { node, .. } => self.refuse_if_blocked(*node, peers),
            Input::Rule { node, ruling } => {
                self.refuse_if_blocked(*node, peers);
                if ruling.is_some() {
                    self.take_back(*node);
                }
            }
            Input::Challenged { id, .. } => panic!("{id} was not asked for"),
            Input::Shown { node, .. } => panic!("nobody has said anything of {node}"),
            Input::Recall { node, .. } => panic!("nothing was written down of {node}"),
            Input::Checked { node, lease, result } => {
                self.checked(*node, *lease, result.as_ref().map_err(|refusal| refusal.blame));
                self.refuse_if_blocked(*node, peers);
            }
        }
    }

    /// Does what is due now.
    pub fn tick(&mut self, peers: &PeerBook) {
        let ended: Vec<NodeId> =
            self.bids.iter().filter(|(_, (_, until))| *until <= self.now).map(|(node, _)| *node).collect();
        ended.into_iter().for_each(|node| self.release(node));
        let now = self.now;
        let lapsed: Vec<(LeaseId, NodeId)> = self
            .running()
            .filter(|(_, lease)| lease.deadline <= now || self.is_silent(lease))
            .map(|(id, lease)| (id, lease.node))
            .collect();
        for (id, node) in lapsed {
            self.lapsed += 1;
            self.end(node, id, Said::Refused(node, id));
            self.refuse_if_blocked(node, peers);
        }
        let (policy, mut late) = (self.policy.clone(), Vec::new());
        for job in self.jobs.values_mut() {
            for lease in job.units.values_mut().flat_map(|unit| unit.leases.values_mut()) {
                let late_at = policy.late_after_ms(lease.predicted_ms).map(|ms| lease.granted.after(ms));
                if lease.status == Status::Running && !lease.is_late && late_at.is_some_and(|at| at <= now) {
                    lease.is_late = true;
                    late.push(lease.node);
                }
            }
        }
        late.into_iter().for_each(|node| self.refuse_if_blocked(node, peers));
    }

    fn submit(&mut self, job: JobId, outcome: Outcome) {
        if let Entry::Vacant(vacant) = self.jobs.entry(job) {
            let (units, loose) = (BTreeMap::new(), BTreeMap::new());
            vacant.insert(JobRow { stand: Stand::Open, outcome, cut: 0, executed: None, units, loose });
            self.say(Said::Execute(job));
        }
    }

    pub fn open_job(&mut self, job: JobId) -> Option<&mut JobRow> {
        self.jobs.get_mut(&job).filter(|row| row.stand == Stand::Open)
    }

    fn cut(&mut self, job: JobId, index: u32) {
        if let Some(row) = self.open_job(job) {
            row.cut = row.cut.max(index + 1);
            row.units.entry(Unit::Prove(index)).or_default();
        }
    }

    fn store(&mut self, job: JobId, index: u32) {
        if let Some(unit) = self.open_job(job).and_then(|row| row.units.get_mut(&Unit::Prove(index))) {
            unit.is_stored = true;
        }
    }

    fn executed(&mut self, job: JobId, segments: u32) {
        let Some(row) = self.open_job(job) else { return };
        if segments == 0 {
            return self.fail(job);
        }
        row.executed = Some(segments);
        self.combine(job);
    }

    pub fn fail(&mut self, job: JobId) {
        let Some(row) = self.jobs.get_mut(&job) else { return };
        if matches!(row.stand, Stand::Open | Stand::Assembling) {
            row.stand = Stand::Failed;
            self.recall(job, None);
            self.say(Said::JobFailed(job));
        }
    }

    fn assembled(&mut self, job: JobId, is_right: bool) {
        match self.jobs.get_mut(&job).filter(|row| row.stand == Stand::Assembling) {
            Some(row) if is_right => {
                row.stand = Stand::Done;
                self.say(Said::JobDone(job));
            }
            Some(_) => self.fail(job),
            None => {}
        }
    }

    /// Ends the live leases of one unit, or of all.
    pub fn recall(&mut self, job: JobId, only: Option<Unit>) {
        let Some(row) = self.jobs.get_mut(&job) else { return };
        for (unit, row) in row.units.iter_mut().filter(|(unit, _)| only.is_none_or(|only| only == **unit)) {
            for (attempt, lease) in &mut row.leases {
                match std::mem::replace(&mut lease.status, Status::Over) {
                    Status::Running => {
                        let id = LeaseId { job, unit: *unit, attempt: *attempt };
                        self.said.push(Said::Cancel(lease.node, id));
                    }
                    Status::Checking(ask, _) => self.said.push(Said::Stale(ask)),
                    Status::Over => {}
                }
            }
        }
    }

    pub fn release(&mut self, node: NodeId) {
        if let Some((ask, _)) = self.bids.remove(&node) {
            self.say(Said::Wait(ask));
        }
    }

    pub fn refuse_if_blocked(&mut self, node: NodeId, peers: &PeerBook) {
        if peers.get(&node).is_some_and(|peer| peer.is_blocked(self.now))
            && let Some((ask, _)) = self.bids.remove(&node)
        {
            self.say(Said::Refusal(ask));
        }
    }

    /// Everything is there once the guest has ended and all its segments are proved, or one range covers them.
    pub fn combine(&mut self, job: JobId) {
        let Some(row) = self.open_job(job) else { return };
        let Some(segments) = row.executed else { return };
        let is_proved = |index| row.units.get(&Unit::Prove(index)).is_some_and(|unit| unit.accepted.is_some());
        let is_whole = match row.outcome {
            Outcome::Composite => (0..segments).all(is_proved),
            Outcome::Succinct => row.loose.get(&0) == Some(&segments),
        };
        if is_whole {
            row.stand = Stand::Assembling;
            self.recall(job, None);
            self.say(Said::Assemble(job));
        }
    }
}

impl JobRow {
    pub fn begin(&mut self, unit: Unit) {
        self.units.insert(unit, UnitRow { is_stored: true, ..UnitRow::default() });
    }

    /// A range that is verified is joined with the one behind it, else with the one before it, else it waits.
    pub fn loosen(&mut self, range: SegmentRange) {
        let before = self.loose.iter().find(|(_, end)| **end == range.start).map(|(start, _)| *start);
        let (start, mid, end) = match (self.loose.get(&range.end).copied(), before) {
            (Some(end), _) => (range.start, range.end, end),
            (None, Some(start)) => (start, range.start, range.end),
            (None, None) => {
                self.loose.insert(range.start, range.end);
                return;
            }
        };
        self.loose.remove(&start);
        self.loose.remove(&mid);
        self.begin(Unit::Join { start, mid, end });
    }
}
