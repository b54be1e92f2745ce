//! Step III: who gets which unit, and who gets none.

use manyhands_core::job::{JobSpec, Outcome};
use manyhands_core::requester::{Event, Input};
use manyhands_core::{Policy, Priority, SegmentInfo};
use manyhands_proto::message::{Bid, Response, Timing};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{JobId, Nonce, Unit};

use crate::desk::{Desk, proves};
use crate::fake::{JOB, able, bid, binder, blob, node, po2};

const RELEASED: Response = Response::Wait { retry_ms: 0 };

#[test]
fn a_job_is_executed_once_and_announced_when_its_first_segment_is_stored() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    let spec = desk.core.job(&JOB).unwrap().spec;
    desk.send(Input::Submit { job: JOB, spec, restored: Default::default(), attempts_from: 0 });
    desk.is_clear();
    desk.send(Input::Segmented { job: JOB, segment: SegmentInfo { index: 0, po2: po2(16), claim: 0 } });
    assert!(!desk.announced(), "a segment that is not stored cannot be leased");
    desk.send(Input::Stored { job: JOB, unit: Unit::Prove(0), blob: blob(0), key: None });
    assert!(desk.announced());
}

#[test]
fn a_job_with_ready_units_is_announced_every_ten_seconds() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    desk.wait(9_999);
    assert!(!desk.announced());
    desk.wait(1);
    assert!(desk.announced());
    desk.wait(desk.policy.announce_ms);
    assert!(desk.announced());
}

#[test]
fn a_stored_unit_is_leased_in_the_same_round_trip() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1));
    assert_eq!(lease.id, proves(0, 1));
    assert_eq!(lease.inputs, [blob(0)]);
    assert_eq!(lease.po2, po2(16));
    assert_eq!(lease.nonce, Nonce::bound(node(1), 0, binder().bind(desk.now, node(1), &lease.id)));
    assert_eq!(lease.heartbeat_ms, desk.policy.heartbeat_ms);
    assert_eq!(
        lease.deadline_ms,
        3 * 56_000 + 30_000,
        "three times what an unmeasured machine takes, and the transfer"
    );
    assert_eq!(lease.holders[0].node, node(0xee), "the gateway itself has the segment");
    assert_eq!(desk.events(), [Event::Leased { lease: lease.id, node: node(1), predicted_ms: 56_000, is_copy: false }]);
}

#[test]
fn a_held_bid_is_answered_when_a_unit_is_stored() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    let ask = desk.bid(node(1));
    desk.is_clear();
    desk.segment(0);
    assert_eq!(desk.granted(ask).id, proves(0, 1));
}

#[test]
fn a_held_bid_is_released_before_the_request_times_out() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    let ask = desk.bid(node(1));
    desk.wait(desk.policy.bid_hold_ms - 1);
    desk.is_clear();
    desk.wait(1);
    assert_eq!(desk.answer(ask), RELEASED);
    assert_eq!(desk.core.poll_timeout(), None);
}

#[test]
fn without_a_job_a_bid_is_told_to_wait() {
    let mut desk = Desk::new();
    let ask = desk.bid(node(1));
    assert_eq!(desk.answer(ask), Response::Wait { retry_ms: desk.policy.retry_ms });
    assert_eq!(desk.core.poll_timeout(), None);
}

#[test]
fn a_bid_without_a_free_slot_or_beyond_the_bound_is_told_to_wait() {
    let mut desk = Desk::with(Policy { bids_held_max: 1, ..Policy::default() });
    desk.submit(Outcome::Composite);
    let full = desk.bid_as(node(1), Bid { capabilities: able(), slots_free: 0, score: None });
    assert_eq!(desk.answer(full), Response::Wait { retry_ms: desk.policy.retry_ms });
    let held = desk.bid(node(2));
    let surplus = desk.bid(node(3));
    assert_eq!(desk.answer(surplus), Response::Wait { retry_ms: desk.policy.retry_ms });
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!(desk.answer(held), RELEASED);
}

#[test]
fn a_second_bid_of_a_node_replaces_the_first() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    let first = desk.bid(node(1));
    let second = desk.bid(node(1));
    assert_eq!(desk.answer(first), RELEASED);
    desk.segment(0);
    assert_eq!(desk.granted(second).id, proves(0, 1));
}

#[test]
fn the_held_bid_of_a_node_that_is_gone_is_dropped() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    let ask = desk.bid(node(1));
    desk.send(Input::Gone { node: node(1) });
    desk.dropped(ask);
    desk.segment(0);
}

#[test]
fn another_zkvm_is_refused_with_both_versions() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let mut other = able();
    other.zkvm = "risc0 2.0\u{1b}[2J".to_owned();
    let ask = desk.bid_as(node(1), bid(other));
    let Response::Refused { reason, retry_ms } = desk.answer(ask) else { panic!("it was not refused") };
    assert!(reason.contains("risc0 3.0.6") && reason.contains("risc0 2.0"), "{reason}");
    assert!(!reason.contains('\u{1b}'), "what a peer writes cannot move the cursor");
    assert_eq!(retry_ms, desk.policy.block_ms);
}

#[test]
fn a_held_bid_does_not_match_after_the_node_changed_its_zkvm() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    let ask = desk.bid(node(1));
    let mut other = able();
    other.zkvm = "risc0 9".to_owned();
    desk.hello(node(1), bid(other));
    desk.segment(0);
    desk.is_clear();
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!(desk.answer(ask), RELEASED);
    assert!(desk.announced());
    desk.announced();
}

#[test]
fn a_segment_too_large_for_a_node_waits_for_another() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let mut small = able();
    small.po2_max = po2(15);
    let held = desk.bid_as(node(1), bid(small));
    desk.is_clear();
    let lease = desk.lease(node(2));
    assert_eq!(lease.id, proves(0, 1));
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!(desk.answer(held), RELEASED);
}

#[test]
fn lifts_go_only_to_nodes_with_recursion_programs_and_memory() {
    let mut desk = Desk::with_job(Outcome::Succinct, 1);
    let lease = desk.lease(node(1));
    desk.complete(node(1), lease.id);
    desk.announced();
    let mut without = able();
    without.recursion = false;
    let held_without = desk.bid_as(node(2), bid(without));
    let mut small = able();
    small.memory_bytes = 1_000_000_000;
    let held_small = desk.bid_as(node(3), bid(small));
    desk.is_clear();
    assert_eq!(desk.lease(node(4)).id.unit, Unit::Lift(0));
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!((desk.answer(held_without), desk.answer(held_small)), (RELEASED, RELEASED));
}

/// An offer that states one own time.
fn timed(at: u8, elapsed_ms: u64) -> Bid {
    let mut offer = able();
    offer.timings = vec![Timing { kind: UnitKind::Prove, po2: po2(at), elapsed_ms }];
    bid(offer)
}

#[test]
fn the_faster_of_two_waiting_nodes_gets_the_unit() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    let slow = desk.bid_as(node(1), timed(15, 20_000));
    let fast = desk.bid_as(node(2), timed(15, 9_000));
    desk.segment(0);
    let lease = desk.granted(fast);
    assert_eq!(lease.deadline_ms, 3 * 18_000 + 30_000, "its own time at 2^15, doubled for 2^16");
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!(desk.answer(slow), RELEASED);
}

#[test]
fn a_stated_year_does_not_make_an_endless_lease() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let ask = desk.bid_as(node(1), timed(16, u64::MAX));
    let lease = desk.granted(ask);
    assert_eq!(lease.deadline_ms, 3 * 20 * 28_000 + 30_000, "twenty times the paper's laptop at most");
}

#[test]
fn what_the_gateway_saw_counts_more_than_what_the_node_says() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let first = desk.lease(node(1));
    desk.wait(12_000);
    desk.announced();
    desk.complete(node(1), first.id);
    let ask = desk.bid_as(node(1), timed(16, 1));
    let second = desk.granted(ask);
    assert_eq!(second.deadline_ms, 3 * 12_000 + 30_000);
}

#[test]
fn a_node_gets_no_more_leases_than_it_has_slots() {
    let mut desk = Desk::with_job(Outcome::Composite, 3);
    let offer = |slots_free| {
        let mut capabilities = able();
        capabilities.slots = 2;
        Bid { capabilities, slots_free, score: None }
    };
    let first = desk.bid_as(node(1), offer(2));
    desk.granted(first);
    let second = desk.bid_as(node(1), offer(1));
    desk.granted(second);
    // It says that a slot is free although both leases were just given: perhaps a result is on its way. The bid is held.
    let third = desk.bid_as(node(1), offer(1));
    desk.is_clear();
    desk.wait(100);
    let ask = desk.done(node(1), proves(0, 1), blob(50));
    assert_eq!(desk.granted(third).id, proves(2, 1), "the result made room for the bid that had overtaken it");
    let collect = desk.collect();
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(ask), Response::Ok);
}

#[test]
fn a_lease_whose_answer_was_lost_is_given_again() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lost = desk.lease(node(1));
    // The node never got it and bids again, with all slots free. At first that may be a message that overtook another.
    desk.wait(500);
    let early = desk.bid(node(1));
    desk.is_clear();
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!(desk.answer(early), RELEASED);
    desk.events();
    let again = desk.lease(node(1));
    assert_eq!(again.id, proves(0, 2));
    let reason = "it does not know of the lease".to_owned();
    assert_eq!(desk.events()[0], Event::GivenBack { lease: lost.id, node: node(1), reason });
    desk.announced();
}

/// A second job with as many segments stored.
pub fn add_job(desk: &mut Desk, job: JobId, priority: Priority, segments: u32) {
    let spec = JobSpec { priority, ..desk.core.job(&JOB).unwrap().spec };
    desk.core.handle(desk.now, Input::Submit { job, spec, restored: Default::default(), attempts_from: 0 });
    for index in 0..segments {
        let segment = SegmentInfo { index, po2: po2(16), claim: index };
        desk.core.handle(desk.now, Input::Segmented { job, segment });
        desk.core
            .handle(desk.now, Input::Stored { job, unit: Unit::Prove(index), blob: blob(u64::from(index)), key: None });
    }
    while desk.core.poll_command().is_some() {}
}

#[test]
fn older_jobs_are_served_first() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let later = JobId([1; 16]);
    desk.wait(10);
    add_job(&mut desk, later, Priority::Normal, 1);
    assert_eq!(desk.lease(node(1)).id.job, JOB);
    assert_eq!(desk.lease(node(2)).id.job, later);
}

#[test]
fn a_step_of_priority_gives_four_times_the_nodes_and_starves_nobody() {
    for (priority, shares) in [(Priority::High, (2, 8)), (Priority::Normal, (5, 5)), (Priority::Low, (8, 2))] {
        let mut desk = Desk::with_job(Outcome::Composite, 10);
        desk.wait(10);
        add_job(&mut desk, JobId([1; 16]), priority, 10);
        let of_the_usual = (1..=10).filter(|id| desk.lease(node(*id)).id.job == JOB).count();
        assert_eq!((of_the_usual, 10 - of_the_usual), shares, "{priority:?} beside a usual one");
    }
}
