//! Step IV: results that are valid, late, twice, false, or not there; and what their makers learn and lose.

use manyhands_core::Check;
use manyhands_core::job::{Outcome, UnitState};
use manyhands_core::requester::{Event, Input};
use manyhands_proto::limits::RECEIPT_BYTES_MAX;
use manyhands_proto::message::{Blame, FailReason, Response};
use manyhands_proto::{LeaseId, Nonce, Unit};

use crate::desk::{Desk, proves};
use crate::fake::{JOB, binder, blob, node};

fn state(desk: &Desk, unit: Unit) -> UnitState {
    desk.core.job(&JOB).unwrap().units().find(|(known, _)| *known == unit).unwrap().1
}

#[test]
fn a_result_is_checked_against_our_own_claim_and_the_lease_before_its_maker_hears_ok() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let lease = desk.lease(node(1)).id;
    desk.wait(8_000);
    let ask = desk.done(node(1), lease, blob(50));
    let collect = desk.collect();
    assert_eq!((collect.node, collect.is_here, collect.lease, collect.receipt), (node(1), false, lease, blob(50)));
    let Check::Segment { index, po2, nonce, claim } = collect.check else { panic!("{:?}", collect.check) };
    assert_eq!((index, po2.get(), claim), (0, 16, 0));
    let binding = binder().bind(desk.now, node(1), &lease);
    assert_eq!(nonce, Some(Nonce::bound(node(1), 0, binding)));
    desk.is_clear();
    assert_eq!(state(&desk, Unit::Prove(0)), UnitState::Claimed);
    desk.events();
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(ask), Response::Ok);
    let events = desk.events();
    let [Event::Verified { result }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((result.lease, result.node, result.receipt), (lease, node(1), blob(50)));
    assert_eq!(result.elapsed_ms, 8_000, "the node said 20 s, and only 8 s have passed here");
    assert_eq!(desk.core.peers().get(&node(1)).unwrap().valid, 1);
}

#[test]
fn a_late_valid_result_is_taken_and_the_new_lease_cancelled() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let old = desk.lease(node(1)).id;
    desk.wait(desk.policy.silence_ms);
    desk.announced();
    let new = desk.lease(node(2)).id;
    let ask = desk.done(node(1), old, blob(50));
    let collect = desk.collect();
    let Check::Segment { nonce, .. } = collect.check else { panic!("{:?}", collect.check) };
    let binding = binder().bind(desk.now, node(1), &old);
    assert_eq!(nonce, Some(Nonce::bound(node(1), 0, binding)), "the nonce of the old lease");
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(ask), Response::Ok);
    assert_eq!(desk.cancelled(), (node(2), new));
    desk.assemble();
    assert_eq!(desk.heartbeat(node(2), new), Response::Stale);
    let loser = desk.done(node(2), new, blob(51));
    assert_eq!(desk.answer(loser), Response::Stale);
}

#[test]
fn a_late_false_result_does_not_disturb_the_new_lease() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let old = desk.lease(node(1)).id;
    desk.wait(desk.policy.silence_ms);
    desk.announced();
    let new = desk.lease(node(2)).id;
    let ask = desk.done(node(1), old, blob(50));
    let collect = desk.collect();
    desk.verdict(&collect, Err(Blame::Peer));
    assert_eq!(desk.answer(ask), Response::Stale);
    assert_eq!(state(&desk, Unit::Prove(0)), UnitState::Leased);
    assert_eq!(desk.heartbeat(node(2), new), Response::Ok);
}

#[test]
fn the_loser_of_two_claims_at_once_is_told_that_it_is_too_late() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let old = desk.lease(node(1)).id;
    desk.wait(desk.policy.silence_ms);
    desk.announced();
    let new = desk.lease(node(2)).id;
    let first = desk.done(node(1), old, blob(50));
    let second = desk.done(node(2), new, blob(51));
    let (from_first, from_second) = (desk.collect(), desk.collect());
    desk.verdict(&from_second, Ok(()));
    assert_eq!(desk.answer(second), Response::Ok);
    assert_eq!(desk.answer(first), Response::Stale);
    desk.assemble();
    desk.events();
    desk.verdict(&from_first, Ok(()));
    assert_eq!(desk.events(), [], "a unit is verified once");
}

#[test]
fn done_twice_is_checked_once_and_the_newer_question_answered() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let lease = desk.lease(node(1)).id;
    let first = desk.done(node(1), lease, blob(50));
    let collect = desk.collect();
    let second = desk.done(node(1), lease, blob(50));
    desk.dropped(first);
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(second), Response::Ok);
    let third = desk.done(node(1), lease, blob(50));
    assert_eq!(desk.answer(third), Response::Ok, "the answer was lost: it learns again that the receipt was taken");
    let foreign = desk.done(node(2), lease, blob(50));
    assert_eq!(desk.answer(foreign), Response::Stale);
}

/// Story: while a good receipt is being checked its maker names another, which would enter the ledger unseen.
#[test]
fn a_receipt_cannot_be_exchanged_while_it_is_checked() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    let first = desk.done(node(1), lease, blob(50));
    let collect = desk.collect();
    let second = desk.done(node(1), lease, blob(666));
    desk.dropped(first);
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(second), Response::Ok);
    let result = *desk.core.job(&JOB).unwrap().results().next().unwrap();
    assert_eq!(result.receipt, blob(50), "what was checked is what counts");
    desk.assemble();
}

#[test]
fn done_for_a_lease_of_another_node_or_of_nobody_is_stale() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    let unknown = [lease, proves(0, 2), proves(9, 1), LeaseId { job: manyhands_proto::JobId([9; 16]), ..lease }];
    for (lease, who) in unknown.into_iter().zip([2, 1, 1, 1]) {
        let ask = desk.done(node(who), lease, blob(50));
        assert_eq!(desk.answer(ask), Response::Stale, "{lease}");
    }
    assert_eq!(desk.heartbeat(node(1), lease), Response::Ok);
}

#[test]
fn a_false_result_blocks_its_maker_and_each_further_one_twice_as_long() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    for block_ms in [600_000, 1_200_000, 2_400_000] {
        let lease = desk.lease(node(1)).id;
        let ask = desk.done(node(1), lease, blob(50));
        let collect = desk.collect();
        desk.events();
        desk.verdict(&collect, Err(Blame::Peer));
        assert_eq!(desk.answer(ask), Response::Stale);
        while desk.announced() {}
        assert!(matches!(&desk.events()[0], Event::Refused { refusal, .. } if refusal.blame == Blame::Peer));
        let bid = desk.bid(node(1));
        let Response::Refused { reason, retry_ms } = desk.answer(bid) else { panic!("it must be blocked") };
        assert_eq!((reason.as_str(), retry_ms), ("it is wrong", block_ms));
        desk.wait(block_ms);
        while desk.announced() {}
    }
}

#[test]
fn a_blocked_node_gets_nothing_through_a_bid_that_was_held_before() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    let ask = desk.done(node(1), lease, blob(50));
    let held = desk.bid(node(1));
    let collect = desk.collect();
    desk.verdict(&collect, Err(Blame::Peer));
    assert_eq!(desk.answer(ask), Response::Stale);
    while desk.announced() {}
    let Response::Refused { reason, retry_ms } = desk.answer(held) else { panic!("it must not wait for work") };
    assert_eq!((reason.as_str(), retry_ms), ("it is wrong", desk.policy.block_ms));
}

/// Story: a liar claims again and again under one lease, so that its unit is always being checked and never leased to another.
#[test]
fn a_lease_with_a_false_result_is_over_for_good() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    let ask = desk.done(node(1), lease, blob(50));
    let collect = desk.collect();
    desk.verdict(&collect, Err(Blame::Peer));
    assert_eq!(desk.answer(ask), Response::Stale);
    desk.announced();
    let again = desk.done(node(1), lease, blob(51));
    assert_eq!(desk.answer(again), Response::Stale, "nothing is fetched from it again");
    assert_eq!(desk.heartbeat(node(1), lease), Response::Stale);
    assert_eq!(state(&desk, Unit::Prove(0)), UnitState::Stored);
}

#[test]
fn a_failure_of_the_network_or_of_ours_blocks_nobody_and_the_node_is_asked_again() {
    for blame in [Blame::Network, Blame::Us] {
        let mut desk = Desk::with_job(Outcome::Composite, 1);
        let lease = desk.lease(node(1)).id;
        let ask = desk.done(node(1), lease, blob(50));
        let collect = desk.collect();
        desk.verdict(&collect, Err(blame));
        desk.dropped(ask);
        desk.announced();
        let again = desk.done(node(1), lease, blob(50));
        let collect = desk.collect();
        desk.verdict(&collect, Ok(()));
        assert_eq!(desk.answer(again), Response::Ok);
        assert_eq!(desk.core.peers().get(&node(1)).unwrap().offences, 0);
        desk.assemble();
    }
}

/// Story: a node claims for ever and never serves the receipt.
#[test]
fn a_receipt_that_can_never_be_fetched_is_given_up() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    for tries in 1..=desk.policy.fetches_max {
        let ask = desk.done(node(1), lease, blob(50));
        let collect = desk.collect();
        desk.verdict(&collect, Err(Blame::Network));
        while desk.announced() {}
        if tries < desk.policy.fetches_max {
            desk.dropped(ask);
        } else {
            assert_eq!(desk.answer(ask), Response::Stale);
        }
    }
    let ask = desk.done(node(1), lease, blob(50));
    assert_eq!(desk.answer(ask), Response::Stale);
    assert_eq!(desk.lease(node(2)).id, proves(0, 2));
}

#[test]
fn an_announced_gigabyte_is_refused_without_a_fetch() {
    for size_bytes in [0, RECEIPT_BYTES_MAX + 1, 1 << 30, u64::MAX] {
        let mut desk = Desk::with_job(Outcome::Composite, 1);
        let lease = desk.lease(node(1)).id;
        let mut receipt = blob(50);
        receipt.size_bytes = size_bytes;
        let ask = desk.done(node(1), lease, receipt);
        assert_eq!(desk.answer(ask), Response::Stale);
        desk.announced();
        desk.is_clear();
        let peer = desk.core.peers().get(&node(1)).unwrap();
        assert!(peer.is_blocked(desk.now));
        assert!(peer.blocked_for.clone().unwrap().contains(&size_bytes.to_string()));
    }
}

/// Story: a node fails, then heartbeats a lease whose result is being checked, to leave the unit neither ready nor leased.
#[test]
fn a_result_under_check_is_decided_by_the_verifier_alone() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    let ask = desk.done(node(1), lease, blob(50));
    let collect = desk.collect();
    desk.fail(node(1), lease, FailReason::Leaving);
    assert_eq!(desk.heartbeat(node(1), lease), Response::Ok);
    desk.send(Input::Gone { node: node(1) });
    desk.wait(10 * desk.policy.silence_ms);
    assert_eq!(state(&desk, Unit::Prove(0)), UnitState::Claimed);
    desk.verdict(&collect, Err(Blame::Network));
    desk.dropped(ask);
    assert!(desk.announced());
    assert_eq!(desk.lease(node(2)).id, proves(0, 2));
}

#[test]
fn a_verdict_nobody_waits_for_changes_nothing() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let lease = desk.lease(node(1)).id;
    let ask = desk.done(node(1), lease, blob(50));
    let collect = desk.collect();
    desk.verdict(&collect, Err(Blame::Us));
    desk.dropped(ask);
    desk.announced();
    assert_eq!(desk.heartbeat(node(1), lease), Response::Ok, "the lease runs again");
    desk.verdict(&collect, Ok(()));
    assert_eq!(
        state(&desk, Unit::Prove(0)),
        UnitState::Leased,
        "and a second verdict of the first check does not end it"
    );
}

#[test]
fn nonsense_on_the_wire_blocks_a_peer() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    desk.send(Input::Misbehaved { node: node(1), reason: "not a message of this protocol version".to_owned() });
    let ask = desk.bid(node(1));
    assert!(matches!(desk.answer(ask), Response::Refused { reason, .. } if reason.contains("protocol version")));
}
