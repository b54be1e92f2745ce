//! Requester and provers together: whatever goes wrong for a while, the job is done once it stops, and the books are right all
//! the time.

use manyhands_core::Time;
use manyhands_core::job::Outcome;
use proptest::prelude::*;

use crate::world::{Fault, Schedule, World};

/// A liar is blocked for ten minutes, twice as long the second time; nothing takes longer.
const LONGEST_MS: u64 = 6 * 3_600_000;

/// A network without faults.
fn calm(seed: u64, segments: u32, outcome: Outcome, slots: Vec<u8>) -> Schedule {
    Schedule {
        seed,
        segments,
        outcome,
        slots,
        faults: Vec::new(),
        lost: 0,
        doubled: 0,
        delay_ms_max: 20,
        calm_at_ms: 0,
    }
}

/// Runs to the end of the job and then until every node has tidied up. Returns the milliseconds and steps it took, and the trace.
fn play(schedule: &Schedule) -> (u64, u64, u64) {
    let mut world = World::new(schedule.clone());
    world.run(Time(schedule.calm_at_ms + LONGEST_MS), true);
    assert_eq!(world.failure, None);
    assert!(world.is_done, "the job is not done six hours after the last fault");
    let (steps, ended) = (world.steps, world.now.0);
    // The last fault ends within 500 s; then a lost question takes its time-out, and a receipt is offered again.
    world.run(Time(ended.max(schedule.calm_at_ms + 200_000) + 600_000), false);
    world.is_clean().unwrap();
    (ended, steps, world.trace)
}

#[test]
fn without_faults_the_work_is_shared_and_no_unit_is_leased_twice() {
    for outcome in [Outcome::Composite, Outcome::Succinct] {
        let (took_ms, ..) = play(&calm(1, 12, outcome, vec![1, 1, 1]));
        let (alone_ms, ..) = play(&calm(1, 12, outcome, vec![1]));
        assert!(took_ms * 2 < alone_ms, "three nodes took {took_ms} ms, one took {alone_ms} ms");
    }
}

#[test]
fn the_same_schedule_gives_the_same_commands() {
    let mut schedule = calm(5, 9, Outcome::Succinct, vec![1, 2, 1, 1]);
    schedule.faults =
        vec![(30_000, 1, Fault::Dies(5_000, false)), (50_000, 2, Fault::Lies), (90_000, 0, Fault::GatewayRestarts)];
    (schedule.lost, schedule.doubled, schedule.delay_ms_max, schedule.calm_at_ms) = (10, 10, 3_000, 400_000);
    assert_eq!(play(&schedule), play(&schedule));
    let other = Schedule { seed: 6, ..schedule.clone() };
    assert_ne!(play(&schedule).2, play(&other).2, "the trace does tell runs apart");
}

#[test]
fn a_job_waits_for_liars_to_become_honest_if_there_is_nobody_else() {
    let mut schedule = calm(2, 3, Outcome::Composite, vec![1]);
    schedule.faults = vec![(0, 0, Fault::Lies)];
    schedule.calm_at_ms = 200_000;
    let (took_ms, ..) = play(&schedule);
    assert!(took_ms > 600_000, "the block of ten minutes was kept, {took_ms}");
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (1_u64..120_000, any::<bool>()).prop_map(|(for_ms, is_told)| Fault::Dies(for_ms, is_told)),
        (1_000_u64..200_000).prop_map(Fault::Freezes),
        Just(Fault::Lies),
        Just(Fault::CannotFetch),
        Just(Fault::WorkerFails),
        Just(Fault::GatewayRestarts),
    ]
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let outcome = prop_oneof![Just(Outcome::Composite), Just(Outcome::Succinct)];
    let shape = (any::<u64>(), 1_u32..=10, outcome, prop::collection::vec(1_u8..=3, 1..=5));
    let faults = prop::collection::vec((0_u64..300_000, any::<usize>(), fault()), 0..8);
    (shape, faults, 0_u64..40, 0_u64..30, 1_u64..20_000).prop_map(
        |((seed, segments, outcome, slots), faults, lost, doubled, delay_ms_max)| Schedule {
            seed,
            segments,
            outcome,
            slots,
            faults,
            lost,
            doubled,
            delay_ms_max,
            calm_at_ms: 300_000,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_job_is_done_once_the_faults_stop(schedule in schedule()) {
        let (took_ms, steps, _) = play(&schedule);
        // A livelock shows as messages without an end: at rest a node sends a bid or a heartbeat every few seconds.
        let seconds = took_ms / 1_000 + 60;
        prop_assert!(steps < 40 * seconds * schedule.slots.len() as u64, "{steps} steps in {seconds} s");
    }
}
