//! What a requester is told: how far a job is, who offers what, and why something waits or cannot be.

use manyhands_core::Priority;
use manyhands_core::job::{JobSpec, Outcome, UnitState};
use manyhands_core::requester::Input;
use manyhands_core::view::{Inadmissible, JobView};
use manyhands_proto::message::{Bid, Blame, Capabilities, FailReason};

use crate::desk::{Desk, proves};
use crate::fake::{JOB, able, bid, blob, node, po2};

fn view(desk: &Desk) -> JobView {
    desk.core.view_job(desk.now, &JOB).unwrap()
}

fn offer(change: impl FnOnce(&mut Capabilities)) -> Bid {
    let mut capabilities = able();
    change(&mut capabilities);
    bid(capabilities)
}

#[test]
fn a_job_is_shown_from_its_first_segment_to_its_last() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    assert_eq!((view(&desk).units_total, view(&desk).segments), (0, None));
    (0..3).for_each(|index| desk.segment(index));
    let first = desk.lease(node(1)).id;
    desk.lease(node(2));
    desk.executed(3);
    desk.wait(9_000);
    desk.complete(node(1), first);
    let seen = view(&desk);
    assert_eq!(seen.grid, [UnitState::Verified, UnitState::Leased, UnitState::Stored]);
    assert_eq!((seen.units_done, seen.units_total, seen.segments), (1, 3, Some(3)));
    assert_eq!((seen.phase.as_str(), seen.error, seen.elapsed_ms), ("open", None, 9_000));
    assert_eq!(
        (seen.leases[0].unit, seen.leases[0].node, seen.leases[0].elapsed_ms),
        (proves(1, 1).unit, node(2), 9_000)
    );
    assert_eq!(
        (seen.results[0].node, seen.results[0].elapsed_ms, seen.results[0].receipt_bytes),
        (node(1), 9_000, 200_000)
    );
    assert_eq!(seen.eta_ms, Some(18_000), "two units at 9 s each on the one node at work");
    assert_eq!(seen.waiting, None);
    desk.send(Input::Abort { job: JOB });
    desk.cancelled();
    desk.wait(1_000);
    let seen = view(&desk);
    assert_eq!((seen.phase.as_str(), seen.elapsed_ms), ("failed", 9_000), "the clock of an ended job stands");
    assert_eq!(seen.error.as_deref(), Some("stopped by the requester"));
}

#[test]
fn a_jobs_priority_is_shown_and_read_by_its_word() {
    let mut desk = Desk::new();
    let spec = JobSpec { po2: po2(16), is_auto: false, outcome: Outcome::Composite, priority: Priority::High };
    desk.send(Input::Submit { job: JOB, spec, restored: Default::default(), attempts_from: 0 });
    assert!(desk.executes(), "the guest is executed");
    assert_eq!(view(&desk).priority, Priority::High);
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        assert_eq!(priority.word().parse(), Ok(priority));
    }
    let error = "urgent".parse::<Priority>().unwrap_err();
    assert_eq!(error.to_string(), "a priority is low, normal or high, not \"urgent\"");
}

#[test]
fn a_succinct_job_counts_its_lifts_and_joins_from_the_start() {
    let desk = Desk::with_job(Outcome::Succinct, 4);
    assert_eq!(view(&desk).units_total, 4 + 4 + 3);
    assert_eq!(view(&desk).eta_ms, None, "nothing is known yet");
}

#[test]
fn a_job_says_why_it_waits() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    assert!(view(&desk).waiting.unwrap().contains("no node is connected"));
    desk.hello(node(1), offer(|node| node.po2_max = po2(15)));
    assert!(view(&desk).waiting.unwrap().contains("up to po2 15"));
    let lease = desk.lease(node(2)).id;
    assert_eq!(view(&desk).waiting, None);
    desk.fail(node(2), lease, FailReason::Fetch("x".to_owned()));
    assert!(view(&desk).waiting.unwrap().contains("busy, resting or blocked"));
    desk.announced();
    desk.send(Input::Gone { node: node(1) });
    desk.send(Input::Gone { node: node(2) });
    assert!(view(&desk).waiting.unwrap().contains("no node is connected"));
}

#[test]
fn a_job_nobody_can_do_is_not_admitted_and_says_who_offers_what() {
    let mut desk = Desk::new();
    assert_eq!(desk.core.admits(po2(24), Outcome::Succinct, None), Ok(()), "without any node it waits for the first");
    assert_eq!(desk.core.po2_for_all(), po2(16));
    desk.hello(node(1), offer(|node| (node.po2_max, node.recursion) = (po2(15), false)));
    desk.hello(node(2), offer(|node| (node.po2_max, node.memory_bytes) = (po2(18), 1 << 30)));
    desk.hello(node(3), offer(|node| (node.po2_max, node.zkvm) = (po2(24), "risc0 2.0".to_owned())));
    assert_eq!(desk.core.admits(po2(18), Outcome::Composite, None), Ok(()));
    assert_eq!(desk.core.po2_for_all(), po2(14), "another version does not count, and 2^15 is never chosen");
    let Err(Inadmissible::TooLarge { offers, .. }) = desk.core.admits(po2(19), Outcome::Composite, None) else {
        panic!()
    };
    assert_eq!(offers, "01010101: up to po2 15, no lifts or joins; 02020202: up to po2 18");
    let error = desk.core.admits(po2(15), Outcome::Succinct, None).unwrap_err();
    assert!(error.to_string().contains("composite receipt"), "{error}");
    desk.send(Input::Gone { node: node(2) });
    assert!(desk.core.admits(po2(18), Outcome::Composite, None).is_err(), "who is gone offers nothing");
}

#[test]
fn nodes_are_shown_with_what_they_offer_and_why_they_rest() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    desk.fail(node(1), lease, FailReason::Worker("signal 9".to_owned()));
    desk.announced();
    desk.wait(1_000);
    desk.send(Input::Misbehaved { node: node(2), reason: "not a message".to_owned() });
    let nodes = desk.core.view_nodes(desk.now);
    assert_eq!(nodes.len(), 2);
    assert_eq!((nodes[0].po2_max, nodes[0].slots, nodes[0].recursion), (Some(po2(17)), Some(1), Some(true)));
    assert_eq!((nodes[0].blocked.as_deref(), nodes[0].blocked_ms), (Some("its worker failed: signal 9"), Some(4_000)));
    assert_eq!((nodes[1].zkvm.as_deref(), nodes[1].offences, nodes[1].blocked_ms), (None, 1, Some(600_000)));
    desk.wait(4_000);
    assert_eq!(desk.core.view_nodes(desk.now)[0].blocked, None);
}

/// Story: a lease is given back, the next one is late and gets a copy, the copy is refused, and the late one wins after all.
#[test]
fn what_leases_came_to_is_counted() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let first = desk.lease(node(1)).id;
    desk.wait(7_000);
    desk.fail(node(1), first, FailReason::Leaving);
    let second = desk.lease(node(2)).id;
    for _ in 0..12 {
        desk.heartbeat(node(2), second);
        desk.wait(10_000);
    }
    let copy = desk.lease(node(3)).id;
    desk.wait(3_000);
    let ask = desk.done(node(3), copy, blob(50));
    let collect = desk.collect();
    desk.verdict(&collect, Err(Blame::Peer));
    desk.answer(ask);
    desk.clear();
    desk.complete(node(2), second);
    let tally = view(&desk).tally;
    assert_eq!((tally.leases, tally.copies, tally.wasted_leases, tally.wasted_ms), (3, 1, 2, 10_000));
    desk.clear();
}
