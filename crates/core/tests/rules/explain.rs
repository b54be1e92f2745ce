//! Why a job is as far as it is: what waits and for what, who is able, what is under way, what happens next.

use manyhands_core::explain::{Explanation, LEASES_LISTED, NODES_NAMED, Pace, Reason, Wait};
use manyhands_core::job::{Outcome, SegmentInfo};
use manyhands_core::requester::Input;
use manyhands_core::{Policy, Priority};
use manyhands_proto::message::{Bid, FailReason, Response};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{JobId, Unit};

use crate::desk::Desk;
use crate::dispatch::add_job;
use crate::fake::{JOB, able, bid, blob, node, po2};

const OTHER: JobId = JobId([9; 16]);

fn explain(desk: &Desk) -> Explanation {
    desk.core.explain(desk.now, &JOB).unwrap()
}

/// The one group of units that wait.
fn only_wait(desk: &Desk) -> Wait {
    let mut waits = explain(desk).waits;
    assert_eq!(waits.len(), 1, "{waits:?}");
    waits.remove(0)
}

/// Waits for so long while `node` keeps its lease.
fn work_on(desk: &mut Desk, number: u8, lease: manyhands_proto::LeaseId, ms: u64) {
    for _ in 0..ms / 10_000 {
        desk.wait(10_000);
        assert_eq!(desk.heartbeat(node(number), lease), Response::Ok);
    }
    desk.wait(ms % 10_000);
    while desk.announced() {}
}

/// A job of so many segments, two of which are verified: node 1 took 20 s, node 2 took 1 s.
fn slow_and_fast(segments: u32) -> Desk {
    let mut desk = Desk::with_job(Outcome::Composite, segments);
    let slow = desk.lease(node(1)).id;
    let fast = desk.lease(node(2)).id;
    desk.wait(1_000);
    desk.complete(node(2), fast);
    desk.wait(19_000);
    desk.complete(node(1), slow);
    while desk.announced() {}
    desk
}

#[test]
fn a_job_that_is_not_there_has_no_reason() {
    assert_eq!(Desk::new().core.explain(manyhands_core::Time(0), &OTHER), None);
}

#[test]
fn without_an_able_node_it_says_who_is_there() {
    let mut desk = Desk::with_job(Outcome::Composite, 3);
    let seen = explain(&desk);
    assert_eq!((seen.phase.as_str(), seen.priority, seen.po2), ("open", Priority::Normal, po2(16)));
    assert_eq!(seen.now, "0 of 3 units verified");
    assert!(seen.next.starts_with("what waits is leased as soon as its reason is gone; when all are verified"));
    let wait = only_wait(&desk);
    assert_eq!((wait.kind, wait.po2, wait.units, wait.copies), (UnitKind::Prove, po2(16), 3, false));
    assert_eq!((wait.reason, wait.able), (Reason::NoNode, 0));
    assert_eq!(wait.why, "no node is connected; the first able one that comes gets them");
    let mut small = able();
    small.po2_max = po2(15);
    desk.hello(node(1), bid(small));
    let wait = only_wait(&desk);
    assert_eq!((wait.reason, wait.able, wait.nodes), (Reason::NotAble, 0, vec![]));
    assert!(wait.why.contains("01010101: up to po2 15"), "{}", wait.why);
}

#[test]
fn able_nodes_that_do_not_wait_are_counted_by_what_they_do() {
    let mut desk = Desk::with_job(Outcome::Composite, 3);
    let failed = desk.lease(node(1)).id;
    let lease = desk.lease(node(2)).id;
    desk.fail(node(1), failed, FailReason::Fetch("x".to_owned()));
    desk.hello(node(3), bid(able()));
    while desk.announced() {}
    desk.wait(1_000);
    let wait = only_wait(&desk);
    assert_eq!(wait.reason, Reason::Taken { busy: 1, barred: 1, silent: 1, free_in_ms: Some(4_000) });
    assert_eq!((wait.units, wait.able, wait.nodes), (2, 3, vec![node(1), node(2), node(3)]));
    assert!(wait.why.starts_with("no able node waits for work: 1 busy, 1 resting or blocked"), "{}", wait.why);
    assert!(wait.why.ends_with("; the next is predicted to be free in 4 s"), "{}", wait.why);
    let seen = explain(&desk);
    assert_eq!(seen.leases_total, 1);
    let running = &seen.leases[0];
    assert_eq!((running.unit, running.attempt, running.node), (lease.unit, 1, node(2)));
    assert_eq!((running.elapsed_ms, running.predicted_ms, running.left_ms), (1_000, 56_000, 55_000));
    assert_eq!((running.pace, running.copy), (Pace::OnTrial, false));
    assert!(seen.next.starts_with("the next result is expected in 55 s"), "{}", seen.next);
}

#[test]
fn a_segment_that_is_not_stored_waits_for_that() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Succinct);
    assert_eq!(explain(&desk).now, "0 of 0 units verified; the guest still runs, so more may come");
    desk.send(Input::Segmented { job: JOB, segment: SegmentInfo { index: 0, po2: po2(16), claim: 0 } });
    let seen = explain(&desk);
    assert_eq!((seen.waits[0].reason, seen.waits[0].units), (Reason::Input, 1));
    assert!(seen.next.ends_with("the guest runs on, and each segment is proved as it comes"), "{}", seen.next);
}

#[test]
fn a_node_that_is_too_slow_is_named_with_the_limit() {
    let mut desk = slow_and_fast(5);
    desk.lease(node(2));
    desk.bid(node(1));
    let wait = only_wait(&desk);
    let Reason::TooSlow { node: who, takes_ms, limit_ms } = wait.reason else { panic!("{wait:?}") };
    assert_eq!((who, takes_ms, wait.units), (node(1), 20_000, 2));
    assert!(limit_ms < 20_000, "{wait:?}");
    assert!(wait.why.starts_with("the best node that waits, 01010101, would need 20 s"), "{}", wait.why);
}

#[test]
fn a_late_lease_waits_for_a_copy_and_says_why_it_has_none() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let mut offer = able();
    offer.slots = 2;
    let first = desk.bid_as(node(1), Bid { capabilities: offer.clone(), slots_free: 2, score: None });
    let lease = desk.granted(first).id;
    work_on(&mut desk, 1, lease, 90_000);
    let wait = only_wait(&desk);
    assert_eq!((wait.units, wait.copies), (1, true));
    assert!(matches!(wait.reason, Reason::Taken { silent: 1, .. }), "{wait:?}");
    let seen = explain(&desk);
    assert_eq!(seen.leases[0].pace, Pace::Late);
    assert!(
        seen.next.starts_with("every lease is past the time that was expected: late ones get a copy"),
        "{}",
        seen.next
    );
    desk.bid_as(node(1), Bid { capabilities: offer, slots_free: 1, score: None });
    assert_eq!(only_wait(&desk).reason, Reason::Withheld);
}

#[test]
fn what_a_node_says_of_its_lease_is_passed_on() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    // By then the last reckoning is too old to say whether somebody else would be done sooner.
    work_on(&mut desk, 1, lease, 25_000);
    desk.heartbeat_saying(node(1), lease, Some(60_000));
    let seen = explain(&desk);
    assert_eq!((seen.leases[0].left_ms, seen.leases[0].pace), (60_000, Pace::Overtaken));
    assert!(seen.next.starts_with("the next result is expected in 60 s"), "{}", seen.next);
}

#[test]
fn a_copy_that_would_gain_nothing_is_not_made() {
    let mut desk = slow_and_fast(5);
    let third = desk.lease(node(3)).id;
    desk.wait(1_000);
    desk.complete(node(3), third);
    let late = desk.lease(node(2)).id;
    desk.wait(9_000);
    desk.lease(node(3));
    work_on(&mut desk, 2, late, 1_000);
    desk.bid(node(1));
    let wait = only_wait(&desk);
    assert_eq!((wait.reason, wait.copies), (Reason::NoGain, true), "the other fast node is about to be free");
}

#[test]
fn the_budget_of_copies_is_stated() {
    let mut desk = Desk::with(Policy { copies_min: 0, copies_percent: 0, spare_percent: 0, ..Policy::default() });
    desk.submit(Outcome::Composite);
    desk.segment(0);
    desk.executed(1);
    let lease = desk.lease(node(1)).id;
    work_on(&mut desk, 1, lease, 90_000);
    let wait = only_wait(&desk);
    assert_eq!(wait.reason, Reason::Budget { copies: 0, allowed: 0 });
    assert_eq!(wait.why, "copies have a budget: 0 copies under way, and 0 allowed");
}

#[test]
fn a_lift_waits_a_moment_for_the_node_that_has_its_input() {
    let mut desk = Desk::with(Policy::default());
    desk.submit(Outcome::Succinct);
    desk.segment(0);
    desk.executed(1);
    let lease = desk.lease(node(9)).id;
    let ask = desk.done(node(9), lease, blob(50));
    let collect = desk.collect();
    assert!(explain(&desk).next.starts_with("a result that came in is verified; proofs are lifted"));
    assert_eq!(explain(&desk).leases[0].pace, Pace::Checking);
    let stranger = desk.bid(node(1));
    desk.verdict(&collect, Ok(()));
    desk.answer(ask);
    let wait = only_wait(&desk);
    assert_eq!((wait.kind, wait.reason), (UnitKind::Lift, Reason::Near { left_ms: 500 }));
    while desk.announced() {}
    desk.wait(500);
    assert_eq!(desk.granted(stranger).id.unit, Unit::Lift(0));
    assert_eq!(explain(&desk).waits, []);
}

/// Story: the budget's one copy, of another job, has just come back. Only that job was looked at again.
#[test]
fn what_another_job_made_room_for_is_due() {
    let mut desk = Desk::with(Policy { copies_min: 1, copies_percent: 0, spare_percent: 0, ..Policy::default() });
    desk.submit(Outcome::Composite);
    desk.segment(0);
    let first = desk.lease(node(1)).id;
    add_job(&mut desk, OTHER, Priority::Normal, 1);
    let second = desk.lease(node(2)).id;
    for _ in 0..9 {
        desk.wait(10_000);
        assert_eq!(desk.heartbeat(node(1), first), Response::Ok);
        assert_eq!(desk.heartbeat(node(2), second), Response::Ok);
    }
    let copy = desk.lease(node(3)).id;
    assert_eq!(copy.unit, first.unit);
    assert!(explain(&desk).leases[1].copy);
    desk.bid(node(4));
    let other = |desk: &Desk| desk.core.explain(desk.now, &OTHER).unwrap().waits[0].reason;
    assert_eq!(other(&desk), Reason::Budget { copies: 1, allowed: 1 });
    desk.complete(node(1), first);
    assert_eq!(desk.cancelled(), (node(3), copy));
    let Reason::Due { in_ms } = other(&desk) else { panic!("{:?}", other(&desk)) };
    assert!(in_ms <= desk.policy.plan_ms_max);
}

#[test]
fn an_ended_job_says_how_it_ended_and_what_to_do() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    desk.complete(node(1), lease);
    desk.assemble();
    let seen = explain(&desk);
    assert_eq!(seen.now, "1 unit verified, which is all; the gateway makes one receipt of them and checks it");
    assert_eq!((seen.phase.as_str(), seen.waits.len(), seen.leases_total), ("assembling", 0, 0));
    desk.send(Input::Assembled { job: JOB, result: Ok(()) });
    assert!(explain(&desk).next.contains(&format!("`manyhands attach {JOB}`")));
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    desk.send(Input::Abort { job: JOB });
    let seen = explain(&desk);
    assert_eq!(seen.now, "there will be no receipt: stopped by the requester");
    assert_eq!(seen, Explanation::of_view(&desk.core.view_job(desk.now, &JOB).unwrap()), "as from the database");
}

#[test]
fn an_explanation_of_a_large_job_is_short() {
    let mut desk = Desk::with_job(Outcome::Composite, 400);
    for number in 1..=200 {
        desk.lease(node(number));
    }
    let seen = explain(&desk);
    assert_eq!((seen.leases.len(), seen.leases_total), (LEASES_LISTED, 200));
    assert_eq!((seen.waits.len(), seen.waits[0].units), (1, 200), "those beyond the first are counted with them");
    assert_eq!((seen.waits[0].nodes.len(), seen.waits[0].able), (NODES_NAMED, 200));
}
