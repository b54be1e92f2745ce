//! The machine under test beside its reference: steps become inputs, outputs are compared. Serves steps I to VI. Has no rules itself.

use std::collections::BTreeMap;

use manyhands_core::job::Phase;
use manyhands_core::requester::{AskId, Command, Event};
use manyhands_core::{Policy, Requester, Time};
use manyhands_proto::message::{Lease, Response};
use manyhands_proto::{LeaseId, NodeId};
use proptest_state_machine::StateMachineTest;

use crate::book::{Book, Said, Stand};
use crate::count::{self, Count};
use crate::fake::{Fake, ZKVM, binder, holder, node};
use crate::judge::Waiting;
use crate::steps::{JOBS, Step, Steps};

pub struct Gateway {
    core: Requester<Fake>,
    pub book: Book,
    pub asked: u64,
    /// Every lease that was given out, the newest last.
    pub granted: Vec<(LeaseId, NodeId)>,
    pub collecting: Vec<(NodeId, LeaseId)>,
    /// The number of the job that a step means: a new one where the last has ended.
    pub jobs: [u8; JOBS as usize],
    waiting: Waiting,
    count: Count,
}

/// The policies that differ in what the book judges.
fn policy(number: u8) -> Policy {
    let base = match number {
        0 => Policy { challenge_after_ms: 0, ..Policy::default() },
        // So small a budget that four nodes use it up.
        1 => Policy {
            late_gain_percent: 0,
            attempts_remembered: 3,
            copies_min: 1,
            spare_percent: 0,
            ..Policy::default()
        },
        2 => Policy { fetches_max: 2, gate_percent: 0, near_wait_ms: 0, copies_max: 2, ..Policy::default() },
        _ => Policy::fixed_copies(2),
    };
    // The book counts slots as they are offered; what newcomers get has tests of its own.
    Policy { newcomer_slots: 64, unit_failures_max: 2, challenge_after_ms: 0, ..base }
}

impl StateMachineTest for Gateway {
    type SystemUnderTest = Self;
    type Reference = Steps;

    fn init_test(number: &u8) -> Self {
        let (policy, now) = (policy(*number), Time(1_000));
        let core = Requester::new(policy.clone(), holder(node(0xee)), ZKVM.to_owned(), binder());
        let (granted, collecting) = (Vec::new(), Vec::new());
        let (waiting, count) = (Waiting::default(), Count::default());
        Self {
            core,
            book: Book::new(policy, now),
            asked: 0,
            granted,
            collecting,
            jobs: [0; JOBS as usize],
            waiting,
            count,
        }
    }

    fn apply(mut gateway: Self, _: &u8, step: Step) -> Self {
        let ms = if let Step::Pass { ms } = step { ms } else { 1 };
        gateway.count.steps += 1;
        gateway.pass(ms);
        for input in gateway.inputs(step) {
            gateway.core.handle(gateway.book.now, input.clone());
            gateway.book.take(&input, gateway.core.peers());
            gateway.compare(&format!("{input:?}"));
        }
        gateway
    }

    fn check_invariants(gateway: &Self, _: &u8) {
        gateway.core.audit().unwrap();
        gateway.compare_books();
    }

    fn teardown(mut gateway: Self, _: u8) {
        (gateway.count.revived, gateway.count.lapsed) = (gateway.book.revived, gateway.book.lapsed);
        count::add(&gateway.count);
    }
}

impl Gateway {
    /// Time goes on, with every wake-up at its moment.
    fn pass(&mut self, ms: u64) {
        let end = self.book.now.after(ms);
        while let Some((at, why)) = self.core.poll_timeout().filter(|(at, _)| *at <= end) {
            self.book.now = self.book.now.max(at);
            self.note_waiting();
            self.core.handle_timeout(self.book.now);
            self.book.tick(self.core.peers());
            self.compare(why);
        }
        self.book.now = end;
        self.compare("time");
        assert!(!self.book.is_overslept(), "something was due that nobody was woken for");
    }

    /// Takes all that the machine says, judges its leases, and compares the rest with what the book expects.
    fn compare(&mut self, after: &str) {
        let (mut said, mut leases) = (Vec::new(), BTreeMap::new());
        while let Some(command) = self.core.poll_command() {
            self.command(command, &mut said, &mut leases);
        }
        while let Some(event) = self.core.poll_event() {
            said.extend(match event {
                Event::Sized { job, .. } => panic!("the size of {job} was given"),
                Event::BegunAnew { job } => panic!("nobody asked for {job} to run again"),
                Event::Leased { lease, node, predicted_ms, is_copy } => {
                    self.count.leased(is_copy);
                    let (ask, given): (AskId, Lease) = leases.remove(&lease).expect("a lease is an answer");
                    let is_second = self.book.grant(&self.core, node, &given, ask, predicted_ms);
                    assert_eq!(is_copy, is_second, "{lease} is a copy or not");
                    self.granted.push((lease, node));
                    None
                }
                Event::LetGo { lease, node } => {
                    self.count.let_go += 1;
                    self.book.let_go(node, lease);
                    None
                }
                Event::Resumed { lease, node } => Some(Said::Resumed(node, lease)),
                Event::GivenBack { lease, node, .. } => Some(Said::GivenBack(node, lease)),
                Event::Refused { lease, node, .. } => Some(Said::Refused(node, lease)),
                Event::Verified { result } => Some(Said::Verified(result.node, result.lease)),
                Event::JobDone { job } => Some(Said::JobDone(job)),
                Event::JobFailed { job, .. } => Some(Said::JobFailed(job)),
                // Tests of their own say which.
                Event::Standings { .. }
                | Event::Suspended { .. }
                | Event::Distrusted { .. }
                | Event::Challenged { .. } => None,
            });
        }
        assert!(leases.is_empty(), "leases without an event: {leases:?}");
        let mut expected = std::mem::take(&mut self.book.said);
        said.iter().for_each(|said| self.count.said(said));
        said.sort_unstable();
        expected.sort_unstable();
        assert_eq!(said, expected, "the machine says the left, the book the right, after {after}");
        self.note_waiting();
    }

    /// Where every node may be used, and none is waited for, nobody waits longer than to the next reckoning.
    fn note_waiting(&mut self) {
        let policy = self.core.policy();
        if policy.gate_percent == 0 && policy.near_wait_ms == 0 {
            self.waiting.note(self.book.now, &self.book.pairs(&self.core), policy.plan_ms_max);
        }
    }

    fn command(
        &mut self,
        command: Command<Fake>,
        said: &mut Vec<Said>,
        leases: &mut BTreeMap<LeaseId, (AskId, Lease)>,
    ) {
        said.push(match command {
            Command::Announce { .. } => return,
            Command::Answer { ask, response: Response::Lease(lease) } => {
                assert!(leases.insert(lease.id, (ask, *lease)).is_none());
                return;
            }
            Command::Score { ask, .. } => Said::Ok(ask.expect("all nodes here wait for their answer")),
            Command::Answer { ask, response } => match response {
                Response::Ok => Said::Ok(ask),
                Response::Stale => Said::Stale(ask),
                Response::Wait { .. } => Said::Wait(ask),
                _ => Said::Refusal(ask),
            },
            Command::Drop { ask } => Said::Drop(ask),
            Command::Challenge { .. } | Command::ChallengeOver { .. } => panic!("no challenges here"),
            Command::Survey { job, .. } => panic!("the size of {job} was given"),
            Command::Execute { job } => Said::Execute(job),
            Command::Assemble { job, .. } => Said::Assemble(job),
            Command::Cancel { node, lease } => Said::Cancel(node, lease),
            Command::Collect { node, lease, is_here, .. } => {
                assert!(!is_here && !self.collecting.contains(&(node, lease)), "{lease} is collected twice at once");
                self.collecting.push((node, lease));
                Said::Collect(node, lease)
            }
        });
    }

    fn compare_books(&self) {
        assert_eq!(self.core.jobs().count(), self.book.jobs.len());
        let mut live = Vec::new();
        for job in self.core.jobs() {
            let row = &self.book.jobs[&job.id];
            let stand = match job.phase {
                Phase::Open => Stand::Open,
                Phase::Assembling => Stand::Assembling,
                Phase::Done { .. } => Stand::Done,
                Phase::Failed { .. } => Stand::Failed,
            };
            assert_eq!(stand, row.stand);
            let units: Vec<_> = row.units.iter().map(|(unit, row)| (*unit, row.state())).collect();
            assert_eq!(job.units().collect::<Vec<_>>(), units);
            let results: Vec<_> = job.results().map(|result| (result.node, result.lease)).collect();
            let accepted = row.units.values().filter_map(|unit| unit.accepted);
            assert_eq!(results, accepted.map(|result| (result.node, result.lease)).collect::<Vec<_>>());
            live.extend(job.leases());
        }
        assert_eq!(live, self.book.live());
    }
}
