//! Before step I: the segment size that suits the guest and the fleet.

use manyhands_core::job::{JobSpec, Outcome, Restored};
use manyhands_core::requester::{Command, Event, Input};
use manyhands_core::sizing::{BoundBy, Cut, Sizing, Survey};
use manyhands_core::{Policy, Priority};
use manyhands_proto::message::{Bid, Capabilities, Timing};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{NodeId, Po2};

use crate::desk::Desk;
use crate::fake::{JOB, able, bid, node, po2};

/// A desk and the machines that are there.
struct Fleet {
    desk: Desk,
    offers: Vec<(NodeId, Bid)>,
}

impl Fleet {
    /// A desk that leases to any node, however slow.
    fn new() -> Self {
        Self::with(Policy::default())
    }

    fn with(policy: Policy) -> Self {
        let desk = Desk::with(Policy { gate_percent: 0, near_wait_ms: 0, ..policy });
        Self { desk, offers: Vec::new() }
    }

    /// Some machines that say they take `seconds` for a proof of 2^16, and 1.6 and 1.7 times that for a lift and a join.
    fn strangers(&mut self, count: u8, po2_max: u8, seconds: u64) {
        for _ in 0..count {
            let timing = |kind, percent| Timing { kind, po2: po2(16), elapsed_ms: seconds * 10 * percent };
            let timings = vec![timing(UnitKind::Prove, 100), timing(UnitKind::Lift, 160), timing(UnitKind::Join, 170)];
            let name = node(u8::try_from(self.offers.len() + 1).unwrap());
            self.offers.push((name, bid(Capabilities { timings, po2_max: po2(po2_max), ..able() })));
        }
    }

    /// The same, and each has proved a segment in that time.
    fn machines(&mut self, count: u8, po2_max: u8, seconds: u64) {
        let first = self.offers.len();
        self.strangers(count, po2_max, seconds);
        let desk = &mut self.desk;
        for (node, bid) in &self.offers[first..] {
            desk.submit(Outcome::Composite);
            desk.segment(0);
            let ask = desk.bid_as(*node, bid.clone());
            let lease = desk.granted(ask).id;
            for _ in 0..seconds {
                desk.wait(1_000);
                desk.heartbeat(*node, lease);
            }
            desk.complete(*node, lease);
            desk.executed(1);
            desk.assemble();
            desk.send(Input::Assembled { job: JOB, result: Ok(()) });
            desk.core.forget(&JOB);
            desk.events();
            desk.clear();
        }
    }

    /// Every machine is heard of.
    fn here(&mut self) -> &mut Desk {
        self.offers.iter().for_each(|(node, bid)| self.desk.hello(*node, bid.clone()));
        &mut self.desk
    }

    /// What is chosen for a guest of so many cycles.
    fn chosen(&mut self, outcome: Outcome, cycles: u64) -> Sizing {
        let desk = self.here();
        let survey = survey(cycles, &desk.core.sizes_offered(None));
        desk.core.size_for(desk.now, JOB, outcome, &survey).unwrap()
    }
}

/// A guest of `cycles` cycles with the paper's inflation (Table 2), and at 2^14 twice that of 2^16 (own measurement).
fn survey(cycles: u64, sizes: &[Po2]) -> Survey {
    const PERMILLE: [u64; 7] = [3_400, 6_566, 1_698, 1_252, 1_107, 1_047, 1_019];
    let cut = |size: &Po2| {
        let inflation = PERMILLE[usize::from(size.get()) - 14];
        let segments = (cycles * inflation / 1_000).div_ceil(size.cycles());
        let total_cycles = segments * size.cycles();
        Cut { po2: *size, user_cycles: cycles, segments, total_cycles, blob_bytes: segments * 40_000, keccaks: 0 }
    };
    Survey { user_cycles: cycles, is_whole: true, cuts: sizes.iter().map(cut).collect() }
}

fn submit(desk: &mut Desk) {
    let spec = JobSpec { po2: po2(16), is_auto: true, outcome: Outcome::Composite, priority: Priority::Normal };
    desk.send(Input::Submit { job: JOB, spec, restored: Restored::new(), attempts_from: 0 });
}

#[test]
fn one_machine_takes_the_largest_segments_it_can() {
    let mut fleet = Fleet::new();
    fleet.machines(1, 18, 28);
    let sizing = fleet.chosen(Outcome::Composite, 1 << 22);
    assert_eq!(sizing.po2, po2(18), "{}", sizing.why);
    assert_eq!(sizing.options.iter().map(|option| option.po2.get()).collect::<Vec<_>>(), [14, 16, 17, 18]);
    let times: Vec<u64> = sizing.options.iter().map(|option| option.total_ms).collect();
    assert!(times.is_sorted_by(|a, b| a > b), "less overhead with each size: {times:?}");
}

#[test]
fn a_guest_that_fills_no_segment_is_not_thought_to_take_a_whole_one() {
    let mut fleet = Fleet::new();
    fleet.machines(2, 19, 28);
    let desk = fleet.here();
    // A small guest's only segment is of 2^17, whatever is asked for; cut into three of 2^16, two machines take two rounds.
    let cut = |size: u8, segments, total_cycles| Cut {
        po2: po2(size),
        user_cycles: 50_000,
        segments,
        total_cycles,
        blob_bytes: 1,
        keccaks: 2,
    };
    let cuts = vec![cut(16, 3, 3 << 16), cut(17, 1, 1 << 17), cut(18, 1, 1 << 17), cut(19, 1, 1 << 17)];
    let survey = Survey { user_cycles: 50_000, is_whole: true, cuts };
    let sizing = desk.core.size_for(desk.now, JOB, Outcome::Composite, &survey).unwrap();
    let times: Vec<u64> = sizing.options.iter().map(|option| option.total_ms).collect();
    assert_eq!(times[1..], [times[1]; 3], "it is the same segment: {}", sizing.why);
    assert_eq!(sizing.po2, po2(19), "a larger one is allowed, not needed: {}", sizing.why);
}

#[test]
fn a_fleet_takes_segments_small_enough_to_keep_it_busy() {
    let mut fleet = Fleet::new();
    fleet.machines(16, 20, 28);
    // One segment of 2^20, or sixteen that all prove at once.
    let sizing = fleet.chosen(Outcome::Composite, 900_000);
    assert_eq!(sizing.po2, po2(17), "{}", sizing.why);
    assert_eq!(sizing.options.last().unwrap().segments, 1);
}

#[test]
fn many_small_machines_count_for_more_than_one_large_one() {
    let mut fleet = Fleet::new();
    fleet.machines(20, 16, 40);
    fleet.machines(1, 20, 10);
    let sizing = fleet.chosen(Outcome::Composite, 1 << 23);
    assert_eq!(sizing.po2, po2(16), "{}", sizing.why);
    assert!(sizing.why.contains("21 nodes") && sizing.why.contains("po2 20"), "{}", sizing.why);
    // The other way round, where the small ones are slow enough.
    let mut fleet = Fleet::new();
    fleet.machines(3, 16, 200);
    fleet.machines(1, 20, 10);
    assert_eq!(fleet.chosen(Outcome::Composite, 8_000_000).po2, po2(20));
}

#[test]
fn a_stranger_ties_no_job_to_itself() {
    let mut fleet = Fleet::new();
    fleet.machines(3, 16, 60);
    fleet.strangers(1, 20, 1);
    let sizing = fleet.chosen(Outcome::Composite, 1 << 23);
    assert_eq!(sizing.po2, po2(16), "{}", sizing.why);
    assert!(sizing.options.iter().all(|option| option.po2 <= po2(16)), "nobody known offers more: {}", sizing.why);
    // What strangers say of their speed makes none of them quicker than an unmeasured machine.
    let quick = sizing.options.last().unwrap().total_ms;
    assert!(quick > 1_000_000, "three at 60 s and one at 56 s for 161 segments, not one at 1 s: {quick}");
    // Where all are strangers, what most of them offer counts.
    let mut fleet = Fleet::new();
    fleet.strangers(3, 17, 1);
    fleet.strangers(2, 20, 1);
    assert_eq!(fleet.chosen(Outcome::Composite, 1 << 23).options.last().unwrap().po2, po2(17));
}

#[test]
fn lifts_and_joins_make_segments_larger() {
    let mut fleet = Fleet::new();
    fleet.machines(8, 20, 28);
    let (composite, succinct) = (fleet.chosen(Outcome::Composite, 1 << 21), fleet.chosen(Outcome::Succinct, 1 << 21));
    assert!(succinct.po2 > composite.po2, "{} and {}", succinct.why, composite.why);
    let longer = succinct.options.iter().zip(&composite.options).all(|(a, b)| a.total_ms > b.total_ms);
    assert!(longer, "a lift and a join for each segment come on top");
}

#[test]
fn a_thin_line_makes_segments_larger() {
    let fleet = |line_bytes_per_s: u64| {
        let mut fleet = Fleet::with(Policy { line_bytes_per_s, ..Policy::default() });
        fleet.machines(200, 20, 28);
        fleet.chosen(Outcome::Succinct, 1 << 26)
    };
    let (wide, thin) = (fleet(125_000_000), fleet(125_000));
    assert!(thin.po2 > wide.po2, "{} and {}", thin.why, wide.why);
    assert_eq!(thin.options[0].bound_by, BoundBy::Traffic);
    assert!(thin.why.contains("line"), "{}", thin.why);
}

#[test]
fn what_was_not_run_to_its_end_is_said() {
    let mut fleet = Fleet::new();
    fleet.machines(1, 17, 28);
    let desk = fleet.here();
    let part = Survey { is_whole: false, ..survey(1 << 22, &desk.core.sizes_offered(None)) };
    let sizing = desk.core.size_for(desk.now, JOB, Outcome::Composite, &part).unwrap();
    assert!(sizing.why.contains("longer than was looked at"), "{}", sizing.why);
}

#[test]
fn absurd_surveys_end() {
    let mut fleet = Fleet::new();
    fleet.machines(1, 17, 28);
    let desk = fleet.here();
    let cut = |user_cycles, segments, other| Cut {
        po2: po2(16),
        user_cycles,
        segments,
        total_cycles: other,
        blob_bytes: other,
        keccaks: other,
    };
    for cut in [cut(0, 0, 0), cut(0, u64::MAX, u64::MAX), cut(u64::MAX, 1, 1), cut(1, u64::MAX, 0)] {
        for outcome in [Outcome::Composite, Outcome::Succinct] {
            let survey = Survey { user_cycles: u64::MAX, is_whole: true, cuts: vec![cut] };
            assert!(desk.core.size_for(desk.now, JOB, outcome, &survey).is_some());
        }
    }
    let nothing = Survey { user_cycles: 1, is_whole: true, cuts: Vec::new() };
    assert_eq!(desk.core.size_for(desk.now, JOB, Outcome::Composite, &nothing), None);
}

#[test]
fn a_job_is_surveyed_then_sized_then_executed() {
    let mut fleet = Fleet::new();
    fleet.machines(1, 17, 28);
    let desk = fleet.here();
    submit(desk);
    let survey_command = desk.take(|command| matches!(command, Command::Survey { job: JOB, .. }));
    let Some(Command::Survey { sizes, .. }) = survey_command else { panic!("no survey") };
    assert_eq!(sizes, [po2(14), po2(16), po2(17)]);
    assert!(desk.core.view_job(desk.now, &JOB).unwrap().is_surveyed);
    assert!(desk.core.explain(desk.now, &JOB).unwrap().now.contains("several segment sizes"));
    desk.send(Input::Surveyed { job: JOB, survey: Some(survey(1 << 22, &sizes)) });
    assert!(desk.executes(), "the guest is executed");
    let events = desk.events();
    let [Event::Sized { job: JOB, po2: size, sizing: Some(sizing) }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((*size, sizing.po2), (po2(17), po2(17)));
    assert_eq!(desk.core.job(&JOB).unwrap().spec.po2, po2(17));
    // A second word, late or doubled, changes nothing.
    desk.send(Input::Surveyed { job: JOB, survey: Some(survey(1 << 10, &[po2(14)])) });
    assert!(!desk.executes() && desk.events().is_empty());
    assert_eq!(desk.core.job(&JOB).unwrap().spec.po2, po2(17));
}

#[test]
fn without_a_choice_or_a_survey_the_guest_runs_at_the_first_guess() {
    let mut fleet = Fleet::new();
    let desk = fleet.here();
    submit(desk);
    assert!(desk.executes(), "nobody is there to choose for");
    assert!(matches!(desk.events().as_slice(), [Event::Sized { sizing: None, .. }]), "that too is settled for good");
    let mut fleet = Fleet::new();
    fleet.machines(1, 17, 28);
    let desk = fleet.here();
    submit(desk);
    assert!(!desk.executes());
    desk.clear();
    // The guest failed; running it says why.
    desk.send(Input::Surveyed { job: JOB, survey: None });
    assert!(desk.executes(), "the guest is executed");
    assert_eq!(desk.core.job(&JOB).unwrap().spec.po2, po2(16));
    assert!(matches!(desk.events().as_slice(), [Event::Sized { sizing: None, .. }]));
}
