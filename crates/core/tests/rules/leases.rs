//! Step III, later: how a lease ends, and what becomes of its unit and its node.

use manyhands_core::job::{Outcome, Phase};
use manyhands_core::requester::{Event, Input};
use manyhands_core::{Policy, Refusal};
use manyhands_proto::message::{Blame, FailReason, Response};

use crate::desk::{Desk, proves};
use crate::fake::{JOB, blob, node};

#[test]
fn a_heartbeat_is_confirmed_to_the_holder_only() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let lease = desk.lease(node(1)).id;
    assert_eq!(desk.heartbeat(node(1), lease), Response::Ok);
    assert_eq!(desk.heartbeat(node(2), lease), Response::Stale, "another node's lease");
    assert_eq!(desk.heartbeat(node(1), proves(0, 2)), Response::Stale, "an attempt that never was");
    assert_eq!(desk.heartbeat(node(1), proves(5, 1)), Response::Stale, "a unit that never was");
    let mut foreign = lease;
    foreign.job.0[0] ^= 1;
    assert_eq!(desk.heartbeat(node(1), foreign), Response::Stale, "a job that never was");
}

#[test]
fn heartbeats_keep_a_lease_until_its_deadline() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1));
    desk.events();
    let beats = lease.deadline_ms / 5_000;
    for _ in 1..beats {
        desk.wait(5_000);
        assert_eq!(desk.heartbeat(node(1), lease.id), Response::Ok);
    }
    assert_eq!(desk.events(), []);
    desk.wait(lease.deadline_ms - (beats - 1) * 5_000);
    assert!(desk.announced());
    let reason = "no result within 198 s".to_owned();
    let refusal = Refusal { blame: Blame::Peer, reason };
    assert_eq!(desk.events(), [Event::Refused { lease: lease.id, node: node(1), refusal }]);
}

#[test]
fn silence_ends_a_lease_and_the_next_attempt_goes_to_another() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let first = desk.lease(node(1)).id;
    desk.wait(desk.policy.silence_ms - 1);
    desk.is_clear();
    desk.wait(1);
    assert!(desk.announced());
    let paused = desk.bid(node(1));
    let Response::Refused { reason, retry_ms } = desk.answer(paused) else { panic!("the silent node must rest") };
    assert_eq!((reason.as_str(), retry_ms), ("no heartbeat for 30 s", desk.policy.pause_ms));
    let second = desk.lease(node(2));
    assert_eq!(second.id, proves(0, 2));
    assert_eq!(desk.heartbeat(node(1), first), Response::Ok, "its proof may still come first");
    assert_eq!(desk.heartbeat(node(2), second.id), Response::Ok);
}

#[test]
fn a_lease_that_was_thought_lost_goes_on_if_nobody_else_has_the_unit() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    desk.wait(desk.policy.silence_ms);
    assert!(desk.announced());
    assert_eq!(desk.heartbeat(node(1), lease), Response::Ok);
    let copy = desk.lease(node(2)).id;
    assert_eq!(copy, proves(0, 2), "it was silent once, so whoever comes gets a copy");
    desk.complete(node(1), lease);
    assert_eq!(desk.cancelled(), (node(2), copy));
    desk.assemble();
}

/// Story: a machine so busy that a proof takes longer than its deadline. Starting again each time would never end.
#[test]
fn a_lease_beyond_its_deadline_goes_on_while_nobody_else_wants_the_unit() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1));
    for _ in 0..60 {
        desk.wait(10_000);
        while desk.announced() {}
        assert_eq!(desk.heartbeat(node(1), lease.id), Response::Ok);
    }
    desk.complete(node(1), lease.id);
    desk.assemble();
}

#[test]
fn a_broken_connection_frees_the_unit_at_once_and_costs_nothing() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    let held = desk.bid(node(2));
    desk.events();
    desk.send(Input::Gone { node: node(1) });
    let reason = "its connection broke".to_owned();
    assert_eq!(desk.events()[0], Event::GivenBack { lease, node: node(1), reason });
    assert_eq!(desk.granted(held).id, proves(0, 2));
    assert!(!desk.core.peers().get(&node(1)).unwrap().is_blocked(desk.now));
}

#[test]
fn a_leaving_node_gives_its_lease_back_without_a_rest() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    desk.fail(node(2), lease, FailReason::Leaving);
    desk.is_clear();
    desk.wait(desk.policy.announce_ms);
    desk.fail(node(1), lease, FailReason::Leaving);
    assert!(desk.announced());
    assert_eq!(desk.lease(node(1)).id, proves(0, 2));
}

#[test]
fn a_node_that_fails_at_once_rests_longer_each_time() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    for rest_ms in [5_000, 10_000, 20_000, 40_000, 60_000] {
        let lease = desk.lease(node(1)).id;
        desk.fail(node(1), lease, FailReason::Fetch("connection refused".to_owned()));
        let ask = desk.bid(node(1));
        let Response::Refused { reason, retry_ms } = desk.answer(ask) else { panic!("it must rest") };
        assert_eq!(retry_ms, rest_ms);
        assert_eq!(reason, "it could not fetch the inputs: connection refused");
        desk.wait(retry_ms);
        while desk.announced() {}
    }
    let lease = desk.lease(node(1)).id;
    desk.wait(1_000);
    desk.complete(node(1), lease);
    assert_eq!(desk.core.peers().get(&node(1)).unwrap().stumbles, 0);
    desk.assemble();
}

#[test]
fn a_unit_whose_worker_failed_goes_to_another_node_first() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    desk.fail(node(1), lease, FailReason::Worker("out of memory".to_owned()));
    while desk.announced() {}
    // Both are in use by now, so that both bids are held when the unit comes back.
    let second = desk.lease(node(2)).id;
    desk.wait(desk.policy.rest_ms);
    let failed_before = desk.bid(node(1));
    let fresh = desk.bid(node(3));
    desk.fail(node(2), second, FailReason::Leaving);
    assert_eq!(desk.granted(fresh).id, proves(0, 3));
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!(desk.answer(failed_before), Response::Wait { retry_ms: 0 });
}

/// A job whose last unit nobody has done, and nodes that have delivered the others.
fn with_proven(nodes: std::ops::RangeInclusive<u8>) -> Desk {
    let mut desk = Desk::with_job(Outcome::Composite, u32::from(*nodes.end()) + 1);
    for number in nodes {
        let lease = desk.lease(node(number)).id;
        desk.wait(1_000);
        desk.complete(node(number), lease);
    }
    while desk.announced() {}
    desk
}

#[test]
fn a_unit_that_fails_on_three_proven_nodes_fails_its_job() {
    let mut desk = with_proven(1..=4);
    let other = desk.lease(node(4)).id;
    desk.send(Input::Gone { node: node(4) });
    for number in 1..=3 {
        assert!(desk.core.job(&JOB).unwrap().is_open());
        let lease = desk.lease(node(number)).id;
        assert_eq!(lease.unit, other.unit);
        desk.fail(node(number), lease, FailReason::Worker("unusable input".to_owned()));
        while desk.announced() {}
    }
    let Phase::Failed { reason, .. } = &desk.core.job(&JOB).unwrap().phase else { panic!("the job goes on") };
    assert!(reason.contains("prove 4") && reason.contains("3 nodes") && reason.contains("unusable input"), "{reason}");
    assert_eq!(desk.heartbeat(node(4), other), Response::Stale);
}

/// Story: cheap identities take a unit each and say at once that it is impossible, to end a stranger's job.
#[test]
fn newcomers_cannot_end_a_job_by_their_word() {
    let mut desk = with_proven(1..=1);
    for number in 100..200 {
        let ask = desk.bid(node(number));
        desk.wait(10);
        while desk.announced() {}
        // One that is tried already waits for a node that has delivered.
        if desk.core.job(&JOB).unwrap().leases().next().is_some_and(|(_, holder, _)| holder == node(number)) {
            let lease = desk.granted(ask).id;
            desk.fail(node(number), lease, FailReason::Worker("impossible".to_owned()));
        } else {
            desk.send(Input::Gone { node: node(number) });
            desk.dropped(ask);
        }
    }
    while desk.announced() {}
    assert!(desk.core.job(&JOB).unwrap().is_open());
    let lease = desk.lease(node(1)).id;
    desk.complete(node(1), lease);
    desk.assemble();
}

/// Story: one node's worker is broken and answers within a millisecond, while the others need half a minute for a unit.
#[test]
fn one_broken_node_cannot_fail_a_job_in_the_time_of_a_proof() {
    let mut desk = Desk::with_job(Outcome::Composite, 4);
    desk.lease(node(2));
    for _ in 0..300 {
        let ask = desk.bid(node(1));
        if let Response::Lease(lease) = desk.answer(ask) {
            desk.fail(node(1), lease.id, FailReason::Worker("exec format error".to_owned()));
        }
        desk.wait(80);
        while desk.announced() {}
    }
    assert!(desk.core.job(&JOB).unwrap().is_open());
}

#[test]
fn a_single_broken_node_fails_the_job_in_the_end() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let mut failures = 0;
    while desk.core.job(&JOB).unwrap().is_open() {
        let ask = desk.bid(node(1));
        match desk.answer(ask) {
            Response::Lease(lease) => {
                failures += 1;
                assert!(failures <= 4 * desk.policy.unit_failures_max, "a unit nobody can do must end its job");
                desk.fail(node(1), lease.id, FailReason::Worker("exec format error".to_owned()));
            }
            Response::Refused { retry_ms, .. } => desk.wait(retry_ms),
            other => panic!("{other:?}"),
        }
        while desk.announced() {}
    }
    assert_eq!(failures, 4 * desk.policy.unit_failures_max);
}

#[test]
fn an_aborted_job_cancels_its_leases_and_stays_ended() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let lease = desk.lease(node(1)).id;
    desk.events();
    desk.send(Input::Abort { job: JOB });
    assert_eq!(desk.cancelled(), (node(1), lease));
    let reason = "stopped by the requester".to_owned();
    assert_eq!(desk.events(), [Event::JobFailed { job: JOB, reason }]);
    desk.send(Input::Abort { job: JOB });
    desk.segment(7);
    desk.executed(2);
    let late = desk.done(node(1), lease, blob(1));
    assert_eq!(desk.answer(late), Response::Stale);
    assert_eq!(desk.events(), []);
    assert_eq!(desk.core.poll_timeout(), None);
    desk.core.forget(&JOB);
    assert!(desk.core.job(&JOB).is_none());
    let later = desk.done(node(1), lease, blob(1));
    assert_eq!(desk.answer(later), Response::Stale);
}

#[test]
fn an_open_job_is_not_forgotten() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    desk.core.forget(&JOB);
    assert!(desk.core.job(&JOB).is_some());
}

#[test]
fn a_guest_that_fails_ends_the_job_and_cancels_what_was_leased() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    desk.segment(0);
    desk.segment(1);
    let lease = desk.lease(node(1)).id;
    let ask = desk.done(node(2), lease, blob(1));
    assert_eq!(desk.answer(ask), Response::Stale);
    let claimed = desk.lease(node(2)).id;
    let waiting = desk.done(node(2), claimed, blob(2));
    let collect = desk.collect();
    desk.send(Input::Executed { job: JOB, result: Err("the guest failed: panicked at 'no'".to_owned()) });
    assert_eq!(desk.cancelled(), (node(1), lease));
    assert_eq!(desk.answer(waiting), Response::Stale, "a result that was being checked is needed no more");
    desk.verdict(&collect, Ok(()));
    assert!(matches!(&desk.core.job(&JOB).unwrap().phase, Phase::Failed { reason, .. } if reason.contains("panicked")));
}

#[test]
fn an_execution_without_a_segment_ends_the_job() {
    for outcome in [Outcome::Composite, Outcome::Succinct] {
        let mut desk = Desk::new();
        desk.submit(outcome);
        desk.executed(0);
        assert!(matches!(desk.core.job(&JOB).unwrap().phase, Phase::Failed { .. }));
    }
}

#[test]
fn forgotten_attempts_do_not_pile_up() {
    let mut desk = Desk::with(Policy { attempts_remembered: 4, ..Policy::default() });
    desk.submit(Outcome::Composite);
    desk.segment(0);
    for attempt in 1..=10 {
        assert_eq!(desk.lease(node(1)).id, proves(0, attempt));
        desk.send(Input::Gone { node: node(1) });
        while desk.announced() {}
    }
    assert_eq!(desk.heartbeat(node(1), proves(0, 6)), Response::Stale, "forgotten");
    let ask = desk.done(node(1), proves(0, 8), blob(8));
    let collect = desk.collect();
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(ask), Response::Ok, "remembered");
}
