//! A node on somebody's machine: what it offers follows what the machine spares.

use manyhands_core::Room;
use manyhands_core::job::Outcome;
use manyhands_core::prover::{Input, Means};
use manyhands_proto::message::{Capabilities, FailReason, Response};

use crate::desk::Desk;
use crate::fake::{able, node, po2};
use crate::node::{GATEWAY, Node, lease};

const GB: u64 = 1_000_000_000;

/// Offers segments of 2^18 and recursion.
fn strong() -> Capabilities {
    Capabilities { po2_max: po2(18), memory_bytes: po2(18).memory_bytes(), recursion: true, ..able() }
}

fn spare(memory_bytes: u64) -> Input {
    Input::Means(Means::Work { memory_bytes })
}

#[test]
fn with_less_memory_a_node_offers_smaller_segments_and_with_more_again_larger_ones() {
    let (mut node, tag) = Node::bidding_as(strong());
    node.send(spare(po2(16).memory_bytes()));
    let (withdrawal, taken_back) = node.bids(GATEWAY);
    assert_eq!((taken_back.slots_free, taken_back.capabilities.po2_max), (0, po2(16)));
    node.answer(tag, Some(Response::Wait { retry_ms: 0 }));
    node.answer(withdrawal, Some(Response::Wait { retry_ms: 10_000 }));
    node.wait(200);
    let (tag, bid) = node.bids(GATEWAY);
    assert_eq!((bid.slots_free, bid.capabilities.po2_max), (1, po2(16)));
    assert_eq!(bid.capabilities.memory_bytes, po2(16).memory_bytes(), "too little for a lift");
    // What changes nothing is no news.
    node.send(spare(po2(16).memory_bytes()));
    node.is_clear();
    for all in [po2(18).memory_bytes(), 64 * GB] {
        node.send(spare(all));
    }
    let (withdrawal, _) = node.bids(GATEWAY);
    node.answer(tag, Some(Response::Wait { retry_ms: 0 }));
    node.answer(withdrawal, Some(Response::Wait { retry_ms: 10_000 }));
    node.wait(200);
    assert_eq!(node.bids(GATEWAY).1.capabilities, strong(), "never more than its owner allows");
    node.is_clear();
}

#[test]
fn a_lease_that_is_too_large_by_now_is_given_back_through_nobodys_fault() {
    let (mut node, tag) = Node::bidding_as(strong());
    node.send(spare(po2(14).memory_bytes()));
    let (withdrawal, _) = node.bids(GATEWAY);
    node.answer(tag, Some(Response::Lease(lease(0, 1))));
    assert_eq!(node.gives_back().2, FailReason::Leaving);
    node.answer(withdrawal, Some(Response::Wait { retry_ms: 0 }));
    node.wait(5_000);
    node.greets();
    assert_eq!(node.bids(GATEWAY).1.capabilities.po2_max, po2(14));
    node.is_clear();
}

#[test]
fn a_node_whose_machine_spares_nothing_rests_and_ends_what_it_has() {
    for rest in [Input::Means(Means::Rest), spare(1_000_000)] {
        let (mut node, id) = Node::leased();
        node.send(rest);
        node.ends(id);
        node.wait(3_600_000);
        node.is_clear();
        node.send(spare(64 * GB));
        assert_eq!(node.bids(GATEWAY).1.slots_free, 1);
        node.is_clear();
    }
}

#[test]
fn a_resting_node_takes_its_bid_back_and_gives_back_what_crosses_it() {
    let (mut node, tag) = Node::bidding();
    node.send(Input::Means(Means::Rest));
    let (withdrawal, bid) = node.bids(GATEWAY);
    assert_eq!(bid.slots_free, 0);
    node.answer(tag, Some(Response::Lease(lease(0, 1))));
    assert_eq!(node.gives_back().2, FailReason::Leaving);
    node.answer(withdrawal, Some(Response::Wait { retry_ms: 0 }));
    node.wait(60_000);
    node.is_clear();
}

#[test]
fn what_disturbs_is_given_back_at_once() {
    let (mut node, id) = Node::leased();
    node.send(Input::Fetched { lease: id, result: Ok(()) });
    assert_eq!(node.works(), id);
    node.send(Input::Means(Means::Yield));
    assert_eq!(node.stops(), id);
    let (_, given_back, reason) = node.gives_back();
    assert_eq!((given_back, reason), (id, FailReason::Leaving));
    node.send(Input::Means(Means::Yield));
    node.wait(60_000);
    node.is_clear();
    node.send(spare(64 * GB));
    node.bids(GATEWAY);
    node.is_clear();
}

#[test]
fn means_room_and_leaving_do_not_undo_each_other() {
    let (mut node, tag) = Node::bidding();
    node.send(Input::Room(Room::Short));
    let (withdrawal, _) = node.bids(GATEWAY);
    node.send(Input::Means(Means::Rest));
    node.send(Input::Room(Room::Enough));
    node.answer(tag, Some(Response::Wait { retry_ms: 0 }));
    node.answer(withdrawal, Some(Response::Wait { retry_ms: 0 }));
    node.wait(60_000);
    node.is_clear();
    node.send(Input::Room(Room::Short));
    node.send(spare(64 * GB));
    node.is_clear();
    node.send(Input::Leave);
    node.send(Input::Room(Room::Enough));
    node.send(spare(64 * GB));
    node.send(Input::Means(Means::Yield));
    node.wait(60_000);
    node.is_clear();
}

#[test]
fn a_gateway_holds_nothing_against_a_node_whose_owner_comes_first() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let given = desk.lease(node(1));
    desk.fail(node(1), given.id, FailReason::Leaving);
    desk.wait(desk.policy.announce_ms);
    desk.announced();
    let again = desk.lease(node(1));
    assert_eq!(again.id.attempt, 2, "it may come back at once");
    desk.complete(node(1), again.id);
    desk.clear();
}
