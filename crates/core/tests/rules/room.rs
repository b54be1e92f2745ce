//! Room on the disk: a node without it asks for nothing, and what leases and jobs bring is reckoned in advance.

use manyhands_core::prover::Input;
use manyhands_core::room::{RANGE_RECEIPT_BYTES, job_bytes, leases_bytes, segment_bytes};
use manyhands_core::sizing::Cut;
use manyhands_core::{Outcome, Room, Survey};
use manyhands_proto::Po2;
use manyhands_proto::limits::SEGMENT_BYTES_MAX;
use manyhands_proto::message::{Bid, FailReason, Response};

use crate::desk::Desk;
use crate::fake::{able, node, po2};
use crate::node::{GATEWAY, Node, lease};

#[test]
fn a_node_without_room_takes_its_bid_back_and_bids_again_once_there_is() {
    let (mut node, tag) = Node::bidding();
    node.send(Input::Room(Room::Short));
    let (withdrawal, bid) = node.bids(GATEWAY);
    assert_eq!(bid.slots_free, 0);
    // Said again, it is no news.
    node.send(Input::Room(Room::Short));
    node.is_clear();
    node.answer(tag, Some(Response::Wait { retry_ms: 0 }));
    node.answer(withdrawal, Some(Response::Wait { retry_ms: 1_000 }));
    node.learn(GATEWAY, false);
    node.wait(3_600_000);
    node.is_clear();
    node.send(Input::Room(Room::Enough));
    assert_eq!(node.bids(GATEWAY).1.slots_free, 1);
    node.is_clear();
}

#[test]
fn a_lease_that_crossed_the_withdrawal_is_given_back_with_the_reason() {
    let (mut node, tag) = Node::bidding();
    node.send(Input::Room(Room::Short));
    let (withdrawal, _) = node.bids(GATEWAY);
    node.answer(tag, Some(Response::Lease(lease(0, 1))));
    let (_, given_back, reason) = node.gives_back();
    assert_eq!(given_back, lease(0, 1).id);
    assert!(matches!(&reason, FailReason::Fetch(why) if why.contains("no room")), "{reason:?}");
    // Nor does a gateway get its way by answering the withdrawal.
    node.answer(withdrawal, Some(Response::Lease(lease(1, 1))));
    node.is_clear();
    assert_eq!(node.core.leases().count(), 0);
}

#[test]
fn a_bid_that_was_taken_back_gets_no_lease() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    let held = desk.bid(node(1));
    let withdrawal = desk.bid_as(node(1), Bid { capabilities: able(), slots_free: 0, score: None });
    assert_eq!(desk.answer(held), Response::Wait { retry_ms: 0 });
    assert_eq!(desk.answer(withdrawal), Response::Wait { retry_ms: desk.policy.retry_ms });
    desk.segment(0);
    desk.announced();
    desk.is_clear();
}

#[test]
fn what_a_node_without_room_has_it_ends() {
    let (mut node, id) = Node::leased();
    node.send(Input::Room(Room::Short));
    node.ends(id);
    node.is_clear();
    assert!(node.core.is_idle());
}

#[test]
fn room_does_not_call_a_leaving_node_back() {
    let (mut node, tag) = Node::bidding();
    node.send(Input::Leave);
    node.send(Input::Room(Room::Short));
    node.send(Input::Room(Room::Enough));
    node.answer(tag, Some(Response::Wait { retry_ms: 0 }));
    node.wait(60_000);
    node.is_clear();
}

#[test]
fn a_node_s_need_grows_with_its_size_and_slots_and_never_beyond_what_can_be_sent() {
    let of = |number, slots, recursion| {
        let mut offered = able();
        (offered.po2_max, offered.slots, offered.recursion) = (po2(number), slots, recursion);
        leases_bytes(&offered)
    };
    assert_eq!(of(16, 1, false), 2 * 38_000 + 221_000);
    assert_eq!(of(16, 1, true), 3 * 223_000, "a join's");
    assert_eq!(of(19, 4, false), 4 * (2 * 265_000 + 284_000));
    assert!(of(24, 1, true) <= SEGMENT_BYTES_MAX + 400_000);
    assert!(Po2::all().is_sorted_by_key(segment_bytes));
}

#[test]
fn a_job_s_need_is_bounded_by_its_cycles() {
    let sixteen = job_bytes(po2(16), Outcome::Composite, u64::MAX);
    assert_eq!(sixteen, 16 * (38_000 + 2 * 221_000));
    assert_eq!(job_bytes(po2(16), Outcome::Composite, 1), sixteen / 16);
    assert_eq!(job_bytes(po2(16), Outcome::Composite, 0), sixteen / 16);
    assert_eq!(job_bytes(po2(16), Outcome::Succinct, 3 << 16), 3 * (38_000 + 221_000 + 2 * 223_000));
}

#[test]
fn a_survey_tells_the_least_that_a_job_brings() {
    let cut = |number, user_cycles, segments, blob_bytes| Cut {
        po2: po2(number),
        user_cycles,
        segments,
        total_cycles: 0,
        blob_bytes,
        keccaks: 0,
    };
    // The short looks are of a part of the guest only.
    let cuts = vec![cut(14, 100, 1, 10), cut(16, 900, 40, 1_000), cut(17, 900, 20, 2_000)];
    let survey = Survey { user_cycles: 900, is_whole: true, cuts };
    assert_eq!(survey.bytes_min(Outcome::Composite), Some(2_000 + 20 * 2 * 244_000));
    let hashes = Cut { keccaks: 3, ..cut(17, 900, 20, 2_000) };
    let survey = Survey { user_cycles: 900, is_whole: true, cuts: vec![hashes] };
    assert_eq!(survey.bytes_min(Outcome::Composite), Some(2_000 + 20 * 2 * 244_000 + 3 * 2 * RANGE_RECEIPT_BYTES));
    assert_eq!(Survey { user_cycles: 0, is_whole: true, cuts: Vec::new() }.bytes_min(Outcome::Composite), None);
}

#[test]
fn what_open_jobs_still_bring_shrinks_with_each_result() {
    assert_eq!(Desk::new().core.bytes_due(), 0);
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let receipt = 221_000;
    assert_eq!(desk.core.bytes_due(), 2 * receipt + 2 * receipt);
    let given = desk.lease(node(1));
    desk.complete(node(1), given.id);
    assert_eq!(desk.core.bytes_due(), receipt + 2 * receipt);
}
