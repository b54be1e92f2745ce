//! A gateway that starts again: kept results are checked, not trusted, and nodes that still work for it find their way.

use manyhands_core::job::{JobSpec, Outcome, Priority, Receipted, Restored, UnitState};
use manyhands_core::requester::{Event, Input};
use manyhands_core::{Assumption, Check, Parts};
use manyhands_proto::message::{Blame, Response};
use manyhands_proto::{JobId, LeaseId, NodeId, Unit};

use crate::desk::{Desk, proves, request_blob};
use crate::fake::{JOB, blob, node, po2};

fn kept(unit: Unit, attempt: u32, node: NodeId) -> (Unit, Receipted) {
    let lease = LeaseId { job: JOB, unit, attempt };
    (unit, Receipted { lease, node, receipt: blob(70), elapsed_ms: 25_000 })
}

fn restarted(outcome: Outcome, restored: Restored, segments: u32) -> Desk {
    let mut desk = Desk::new();
    desk.resume(outcome, restored);
    (0..segments).for_each(|index| desk.segment(index));
    desk.executed(segments);
    desk
}

#[test]
fn a_kept_result_is_checked_in_our_own_store_and_not_leased_again() {
    let mut desk = restarted(Outcome::Composite, Restored::from([kept(Unit::Prove(0), 3, node(1))]), 1);
    let collect = desk.collect();
    assert_eq!((collect.is_here, collect.node, collect.lease), (true, node(1), proves(0, 3)));
    assert!(matches!(collect.check, Check::Segment { index: 0, .. }));
    let held = desk.bid(node(2));
    desk.is_clear();
    desk.wait(50);
    desk.verdict(&collect, Ok(()));
    let Parts::Composite(parts, _) = desk.assemble() else { panic!("a composite receipt was asked for") };
    assert_eq!(parts, [(0, blob(70))]);
    let result = *desk.core.job(&JOB).unwrap().results().next().unwrap();
    assert_eq!((result.node, result.elapsed_ms), (node(1), 25_000), "who made it and how fast is kept");
    desk.wait(desk.policy.bid_hold_ms);
    desk.answer(held);
}

#[test]
fn a_resolution_that_was_kept_is_checked_and_the_next_one_leased() {
    let kept_units = [Unit::Prove(0), Unit::Lift(0), Unit::Resolve { segments: 1, index: 0 }];
    let mut desk = Desk::new();
    desk.resume(Outcome::Succinct, kept_units.map(|unit| kept(unit, 1, node(1))).into());
    desk.segment(0);
    desk.executed_relying_on(1, vec![blob(60), blob(61)]);
    for unit in kept_units {
        let collect = desk.collect();
        assert_eq!((collect.is_here, collect.lease.unit), (true, unit));
        desk.verdict(&collect, Ok(()));
    }
    desk.announced();
    let lease = desk.lease(node(2));
    assert_eq!(lease.id.unit, Unit::Resolve { segments: 1, index: 1 });
    assert_eq!(lease.inputs, [blob(70), blob(61)]);
    desk.complete(node(2), lease.id);
    desk.assemble();
}

/// Story: of two segments the first is proved when it turns out that the second is lost. The guest runs again.
#[test]
fn a_guest_that_runs_anew_keeps_what_still_proves_its_segments() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let (proved, running) = (desk.lease(node(1)), desk.lease(node(2)));
    desk.complete(node(1), proved.id);
    desk.events();
    desk.send(Input::Anew { job: JOB, attempts_from: 1_000 });
    assert_eq!(desk.cancelled(), (node(2), running.id));
    assert_eq!(desk.events(), [Event::BegunAnew { job: JOB }]);
    assert!(desk.executes());
    // Its late result is of the old run, and costs nobody anything.
    let late = desk.done(node(2), running.id, blob(80));
    assert_eq!(desk.answer(late), Response::Stale);

    (0..2).for_each(|index| desk.segment(index));
    let collect = desk.collect();
    assert_eq!((collect.is_here, collect.lease), (true, proved.id), "checked against the new segment's claim");
    desk.verdict(&collect, Ok(()));
    let again = desk.lease(node(2));
    assert_eq!(again.id, proves(running.id.unit.range().start, 1_001));
    desk.complete(node(2), again.id);
    desk.executed(2);
    let Parts::Composite(parts, _) = desk.assemble() else { panic!("a composite receipt was asked for") };
    assert_eq!(parts.len(), 2);
    let tally = desk.core.view_job(desk.now, &JOB).unwrap().tally;
    assert_eq!((tally.leases, tally.copies, tally.wasted_leases), (3, 0, 1), "the one that was called back");
    assert!([1, 2].iter().all(|number| desk.core.peers().get(&node(*number)).unwrap().offences == 0));
}

/// Story: the gateway restarts after a second run of the guest; a node still works for a lease of the first.
#[test]
fn leases_of_a_later_run_never_have_the_numbers_of_an_earlier_one() {
    let mut desk = Desk::new();
    let spec = JobSpec { po2: po2(16), is_auto: false, outcome: Outcome::Composite, priority: Priority::Normal };
    desk.send(Input::Submit { job: JOB, spec, restored: Restored::new(), attempts_from: 2_000 });
    assert!(desk.executes());
    desk.segment(0);
    assert!(!desk.core.job(&JOB).unwrap().needs_blob(Unit::Prove(0)), "the guest still runs, and may bring it yet");
    desk.executed(1);
    assert!(desk.core.job(&JOB).unwrap().needs_blob(Unit::Prove(0)));
    let late = desk.done(node(1), proves(0, 1), blob(80));
    assert_eq!(desk.answer(late), Response::Stale);
    let lease = desk.lease(node(2)).id;
    assert_eq!(lease, proves(0, 2_001));
    desk.complete(node(2), lease);
    assert!(!desk.core.job(&JOB).unwrap().needs_blob(Unit::Prove(0)), "it is proved");
    desk.assemble();
}

#[test]
fn a_proof_of_a_segment_that_came_out_differently_is_made_again() {
    let mut desk = Desk::with_job(Outcome::Succinct, 1);
    let proof = desk.lease(node(1)).id;
    desk.complete(node(1), proof);
    desk.announced();
    desk.send(Input::Anew { job: JOB, attempts_from: 1_000 });
    assert!(desk.executes());
    desk.segment(0);
    let collect = desk.collect();
    desk.verdict(&collect, Err(Blame::Peer));
    assert_eq!(desk.core.peers().get(&node(1)).unwrap().offences, 0, "it was right when it came");
    desk.announced();
    let again = desk.lease(node(1)).id;
    assert_eq!(again, proves(0, 1_001));
    desk.complete(node(1), again);
    desk.executed(1);
    desk.announced();
    assert_eq!(desk.lease(node(1)).id.unit, Unit::Lift(0));
    desk.send(Input::Anew { job: JobId([8; 16]), attempts_from: 0 });
}

/// Story: two keccak requests are proved and united; then the guest runs once more, and its second request comes out differently.
#[test]
fn keccak_receipts_are_kept_over_a_second_run_where_they_still_hold() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    (0..2).for_each(|index| desk.keccak(index));
    let [a, b] =
        [0, 1].map(|index| desk.next(Unit::Keccak(index), &[request_blob(index)], blob(70 + u64::from(index))));
    let union = Unit::Union { start: 0, mid: 1, end: 2 };
    desk.next(union, &[a, b], blob(72));

    desk.send(Input::Anew { job: JOB, attempts_from: 1_000 });
    assert!(desk.executes());
    desk.keccak(0);
    let collect = desk.collect();
    desk.verdict(&collect, Ok(()));
    desk.keccak(1);
    let collect = desk.collect();
    assert_eq!(collect.lease.unit, Unit::Keccak(1));
    desk.verdict(&collect, Err(Blame::Peer));
    assert_eq!(desk.core.peers().get(&node(1)).unwrap().offences, 0, "it was right when it came");
    assert!(!desk.core.job(&JOB).unwrap().needs_blob(Unit::Keccak(1)), "the guest still runs");
    desk.announced();
    let again = desk.next(Unit::Keccak(1), &[request_blob(1)], blob(80));
    // The union of before is looked at too, and is not that of these two.
    let collect = desk.collect();
    assert_eq!(collect.lease.unit, union);
    desk.verdict(&collect, Err(Blame::Peer));
    desk.announced();
    let root = desk.next(union, &[a, again], blob(81));
    desk.segment(0);
    let proof = desk.next(Unit::Prove(0), &[blob(0)], blob(82));
    desk.executed_with(1, 2, vec![Assumption::Keccak]);
    let Parts::Composite(parts, assumptions) = desk.assemble() else { panic!("a composite receipt was asked for") };
    assert_eq!((parts, assumptions), (vec![(0, proof)], vec![root]));
}

#[test]
fn the_check_of_a_kept_result_says_nothing_about_its_makers_speed() {
    let mut desk = restarted(Outcome::Composite, Restored::from([kept(Unit::Prove(0), 1, node(1))]), 2);
    let collect = desk.collect();
    let waiting = desk.lease(node(1));
    desk.wait(40);
    desk.verdict(&collect, Ok(()));
    desk.complete(node(1), waiting.id);
    desk.assemble();
    let peer = desk.core.peers().get(&node(1)).unwrap();
    assert_eq!(peer.valid, 1);
}

#[test]
fn a_kept_result_that_is_bad_now_is_leased_again_and_its_maker_not_blamed() {
    for blame in [Blame::Us, Blame::Peer, Blame::Network] {
        let mut desk = restarted(Outcome::Composite, Restored::from([kept(Unit::Prove(0), 3, node(1))]), 1);
        let held = desk.bid(node(1));
        let collect = desk.collect();
        desk.verdict(&collect, Err(blame));
        let lease = desk.granted(held);
        assert_eq!(lease.id, proves(0, 4), "attempts go on counting");
        assert_eq!(desk.core.peers().get(&node(1)).unwrap().offences, 0, "{blame:?}");
    }
}

/// Story: the gateway restarts while a node waits for the answer to its result; the node says it again during the check.
#[test]
fn done_for_a_kept_result_waits_for_its_check() {
    let mut desk = restarted(Outcome::Composite, Restored::from([kept(Unit::Prove(0), 1, node(1))]), 1);
    let collect = desk.collect();
    let ask = desk.done(node(1), proves(0, 1), blob(71));
    desk.is_clear();
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(ask), Response::Ok);
    assert_eq!(desk.core.job(&JOB).unwrap().results().next().unwrap().receipt, blob(70));
    desk.assemble();
}

#[test]
fn kept_lifts_and_joins_are_checked_once_their_parts_are_there() {
    let units = [Unit::Prove(0), Unit::Prove(1), Unit::Lift(0), Unit::Lift(1), Unit::Join { start: 0, mid: 1, end: 2 }];
    let restored: Restored = units.iter().map(|unit| kept(*unit, 1, node(1))).collect();
    let mut desk = restarted(Outcome::Succinct, restored, 2);
    for _ in 0..units.len() {
        let collect = desk.collect();
        assert!(collect.is_here);
        desk.verdict(&collect, Ok(()));
    }
    assert!(matches!(desk.assemble(), Parts::Succinct(..)));
}

#[test]
fn a_kept_result_filed_under_the_wrong_unit_or_job_is_ignored() {
    let (_, mut foreign) = kept(Unit::Prove(0), 1, node(1));
    foreign.lease.job = JobId([1; 16]);
    let (_, misfiled) = kept(Unit::Prove(5), 1, node(1));
    for wrong in [foreign, misfiled] {
        let desk = restarted(Outcome::Composite, Restored::from([(Unit::Prove(0), wrong)]), 1);
        let job = desk.core.job(&JOB).unwrap();
        assert_eq!(job.units().collect::<Vec<_>>(), [(Unit::Prove(0), UnitState::Stored)]);
    }
}

#[test]
fn a_lease_from_before_the_restart_is_stale() {
    let mut desk = restarted(Outcome::Composite, Restored::new(), 1);
    assert_eq!(desk.heartbeat(node(1), proves(0, 1)), Response::Stale);
}
