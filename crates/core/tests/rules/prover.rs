//! The prover's side, step by step, and against gateways that are slow, gone or hostile.

use manyhands_core::prover::Input;
use manyhands_core::{Prover, Time};
use manyhands_proto::Unit;
use manyhands_proto::message::{FailReason, Response, Stage};

use crate::fake::{able, blob, holder, node, po2};
use crate::node::{GATEWAY, Node, lease};

#[test]
fn a_node_without_a_gateway_does_nothing() {
    let core = Prover::new(node(1), able());
    assert_eq!(core.poll_timeout(), None);
    assert!(core.is_idle());
}

#[test]
fn a_lease_is_fetched_worked_on_and_handed_over() {
    let (mut node, tag) = Node::bidding();
    node.answer(tag, Some(Response::Lease(lease(4, 2))));
    let id = lease(4, 2).id;
    assert_eq!(node.fetches(), id);
    node.is_clear();
    node.send(Input::Fetched { lease: id, result: Ok(()) });
    assert_eq!(node.works(), id);
    assert_eq!(node.core.leases().collect::<Vec<_>>(), [(id, Stage::Work)]);
    node.send(Input::Made { lease: id, result: Ok((blob(80), 21_000)) });
    let done = node.hands_over(id);
    let (_, bid) = node.bids(GATEWAY);
    assert_eq!(bid.slots_free, 1);
    let timing = bid.capabilities.timings[0];
    assert_eq!((timing.po2, timing.elapsed_ms), (po2(16), 21_000), "the own time is stated from now on");
    assert!(!node.core.is_idle());
    node.answer(done, Some(Response::Ok));
    assert_eq!(node.discards(), (id, blob(80), true));
    assert!(node.core.is_idle());
}

#[test]
fn the_receipt_is_sent_before_the_next_bid() {
    let (mut node, id) = Node::leased();
    node.core.handle(node.now, Input::Fetched { lease: id, result: Ok(()) });
    node.core.poll_command();
    node.core.handle(node.now, Input::Made { lease: id, result: Ok((blob(80), 1)) });
    let texts: Vec<String> =
        std::iter::from_fn(|| node.core.poll_command()).map(|command| format!("{command:?}")).collect();
    assert!(texts[0].contains("Done") && texts[1].contains("Bid") && texts.len() == 2, "{texts:?}");
}

#[test]
fn only_one_bid_is_out_and_only_while_a_slot_is_free() {
    let (mut node, tag) = Node::bidding();
    node.learn(2, false);
    node.wait(60_000);
    node.is_clear();
    node.answer(tag, Some(Response::Lease(lease(0, 1))));
    node.fetches();
    node.learn(3, false);
    node.wait(4_000);
    node.is_clear();
}

#[test]
fn two_slots_take_two_leases() {
    let mut two = able();
    two.slots = 2;
    let (mut node, tag) = Node::bidding_as(two);
    node.answer(tag, Some(Response::Lease(lease(0, 1))));
    node.fetches();
    let (tag, bid) = node.bids(GATEWAY);
    assert_eq!((bid.capabilities.slots, bid.slots_free), (2, 1));
    node.answer(tag, Some(Response::Lease(lease(1, 1))));
    node.fetches();
    node.is_clear();
    assert_eq!(node.core.leases().count(), 2);
}

#[test]
fn gateways_take_turns() {
    let (mut node, tag) = Node::bidding();
    node.learn(2, false);
    node.learn(3, false);
    node.answer(tag, Some(Response::Wait { retry_ms: 1_000 }));
    node.greets();
    let (tag, _) = node.bids(2);
    node.answer(tag, Some(Response::Wait { retry_ms: 1_000 }));
    node.greets();
    let (tag, _) = node.bids(3);
    node.answer(tag, Some(Response::Wait { retry_ms: 1_000 }));
    node.wait(1_000);
    node.bids(GATEWAY);
}

#[test]
fn a_gateway_that_says_wait_is_asked_again_then_or_when_it_announces_a_job() {
    let (mut node, tag) = Node::bidding();
    node.answer(tag, Some(Response::Wait { retry_ms: 10_000 }));
    node.wait(9_999);
    node.is_clear();
    node.wait(1);
    let (tag, _) = node.bids(GATEWAY);
    node.answer(tag, Some(Response::Wait { retry_ms: 10_000 }));
    node.learn(GATEWAY, false);
    node.bids(GATEWAY);
}

#[test]
fn a_gateway_that_refused_is_left_alone_whatever_it_announces() {
    let (mut node, tag) = Node::bidding();
    node.answer(tag, Some(Response::Refused { reason: "blocked".to_owned(), retry_ms: 30_000 }));
    node.learn(GATEWAY, false);
    node.wait(29_999);
    node.is_clear();
    node.wait(1);
    node.bids(GATEWAY);
}

#[test]
fn an_unreachable_gateway_is_asked_again_after_pauses_that_double() {
    let (mut node, mut tag) = Node::bidding();
    for pause_ms in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        node.answer(tag, None);
        node.wait(pause_ms - 1);
        node.is_clear();
        node.wait(1);
        node.greets();
        tag = node.bids(GATEWAY).0;
    }
    node.answer(tag, Some(Response::Wait { retry_ms: 10_000 }));
    node.wait(10_000);
    let (tag, _) = node.bids(GATEWAY);
    node.answer(tag, None);
    node.wait(500);
    node.greets();
    node.bids(GATEWAY);
}

#[test]
fn a_gateway_cannot_keep_a_node_busy_with_its_answers() {
    let (mut node, mut tag) = Node::bidding();
    for _ in 0..3 {
        node.answer(tag, Some(Response::Wait { retry_ms: 0 }));
        node.wait(199);
        node.is_clear();
        node.wait(1);
        tag = node.bids(GATEWAY).0;
    }
    node.answer(tag, Some(Response::Wait { retry_ms: u64::MAX }));
    node.wait(3_600_000);
    tag = node.bids(GATEWAY).0;
    // No answer to a bid at all.
    node.answer(tag, Some(Response::Stale));
    node.wait(499);
    node.is_clear();
    node.wait(1);
    node.greets();
    node.bids(GATEWAY);
}

#[test]
fn answers_to_questions_that_were_never_asked_change_nothing() {
    let (mut node, id) = Node::leased();
    for tag in [0, 77, u64::MAX] {
        node.answer(manyhands_core::prover::Tag(tag), Some(Response::Lease(lease(9, 1))));
    }
    assert_eq!(node.core.leases().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
}

#[test]
fn the_same_lease_twice_is_given_back_and_the_work_goes_on() {
    let mut two = able();
    two.slots = 2;
    let (mut node, tag) = Node::bidding_as(two);
    node.answer(tag, Some(Response::Lease(lease(0, 1))));
    node.fetches();
    let (tag, _) = node.bids(GATEWAY);
    node.answer(tag, Some(Response::Lease(lease(0, 1))));
    assert_eq!(node.gives_back().1, lease(0, 1).id);
    assert_eq!(node.core.leases().count(), 1);
    node.wait(499);
    node.is_clear();
}

#[test]
fn a_lease_whose_receipt_is_waiting_already_is_given_back() {
    let (mut node, id, _) = Node::offering();
    let (tag, _) = node.bids(GATEWAY);
    node.answer(tag, Some(Response::Lease(lease(0, 1))));
    let (_, given_back, reason) = node.gives_back();
    assert_eq!((given_back, reason), (id, FailReason::Leaving));
    assert_eq!(node.core.leases().count(), 0);
}

#[test]
fn a_lease_beyond_what_the_node_offers_is_given_back() {
    let (mut node, tag) = Node::bidding();
    let mut large = lease(0, 1);
    large.po2 = po2(18);
    node.answer(tag, Some(Response::Lease(large)));
    assert!(matches!(node.gives_back().2, FailReason::Worker(why) if why.contains("po2 18")));
    let mut without = able();
    without.recursion = false;
    let (mut node, tag) = Node::bidding_as(without);
    let mut lift = lease(0, 1);
    lift.id.unit = Unit::Lift(0);
    node.answer(tag, Some(Response::Lease(lift)));
    assert!(matches!(node.gives_back().2, FailReason::Worker(why) if why.contains("lift")));
    node.wait(499);
    node.is_clear();
}

#[test]
fn inputs_that_cannot_be_had_give_the_lease_back_and_the_gateway_a_pause() {
    let (mut node, id) = Node::leased();
    node.send(Input::Fetched { lease: id, result: Err("chunk 3 is\nnot there".to_owned()) });
    assert_eq!(node.gives_back().2, FailReason::Fetch("chunk 3 is not there".to_owned()));
    node.wait(499);
    node.is_clear();
    node.wait(1);
    node.greets();
    node.bids(GATEWAY);
}

#[test]
fn a_worker_that_fails_gives_the_lease_back_with_its_words_cut_to_the_limit() {
    let (mut node, id) = Node::leased();
    node.send(Input::Fetched { lease: id, result: Ok(()) });
    node.works();
    node.send(Input::Made { lease: id, result: Err("ü".repeat(9_000)) });
    let FailReason::Worker(why) = node.gives_back().2 else { panic!("the worker failed") };
    assert_eq!(why.len(), manyhands_proto::limits::TEXT_CHARS_MAX);
    assert!(why.chars().all(|char| char == 'ü'));
}

#[test]
fn inputs_that_arrive_twice_are_worked_on_once() {
    let (mut node, id) = Node::leased();
    node.send(Input::Fetched { lease: id, result: Ok(()) });
    node.works();
    node.send(Input::Fetched { lease: id, result: Ok(()) });
    node.send(Input::Fetched { lease: id, result: Err("late".to_owned()) });
    node.is_clear();
}

#[test]
fn heartbeats_say_the_stage_and_a_stale_one_stops_the_work() {
    let (mut node, id) = Node::leased();
    node.wait(5_000);
    let (tag, beaten, stage) = node.beats();
    assert_eq!((beaten, stage), (id, Stage::Fetch));
    node.answer(tag, Some(Response::Ok));
    node.send(Input::Fetched { lease: id, result: Ok(()) });
    node.works();
    node.wait(5_000);
    let (tag, _, stage) = node.beats();
    assert_eq!(stage, Stage::Work);
    node.answer(tag, Some(Response::Stale));
    assert_eq!(node.stops(), id);
    node.bids(GATEWAY);
    node.send(Input::Made { lease: id, result: Ok((blob(80), 1)) });
    assert_eq!(node.discards(), (id, blob(80), false), "what was made too late is thrown away");
}

#[test]
fn a_gateway_cannot_ask_for_a_heartbeat_every_millisecond_or_never() {
    for (stated_ms, kept_ms) in [(0, 1_000), (u64::MAX, 60_000)] {
        let (mut node, tag) = Node::bidding();
        let mut given = lease(0, 1);
        given.heartbeat_ms = stated_ms;
        node.answer(tag, Some(Response::Lease(given)));
        node.fetches();
        node.wait(kept_ms - 1);
        node.is_clear();
        node.wait(1);
        node.beats();
    }
}

#[test]
fn a_gateway_that_is_silent_for_a_whole_deadline_is_given_up() {
    let (mut node, id) = Node::leased();
    for _ in 0..10 {
        node.wait(5_000);
        let (tag, ..) = node.beats();
        node.answer(tag, None);
    }
    node.wait(5_000);
    let (tag, ..) = node.beats();
    node.answer(tag, Some(Response::Ok));
    // From here it is silent: 100 s, looked at with each heartbeat.
    for _ in 0..19 {
        node.wait(5_000);
        let (tag, ..) = node.beats();
        node.answer(tag, None);
    }
    node.wait(5_000);
    assert_eq!(node.stops(), id);
    node.wait(60_000);
    node.bids(GATEWAY);
}

#[test]
fn a_receipt_is_offered_again_after_pauses_that_double_until_it_is_taken() {
    let (mut node, id, mut tag) = Node::offering();
    node.bids(GATEWAY);
    for pause_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        node.answer(tag, None);
        node.wait(pause_ms - 1);
        node.is_clear();
        node.wait(1);
        tag = node.hands_over(id);
    }
    node.answer(tag, Some(Response::Ok));
    assert_eq!(node.discards(), (id, blob(80), true));
}

#[test]
fn a_receipt_nobody_wants_is_thrown_away() {
    let (mut node, id, tag) = Node::offering();
    node.bids(GATEWAY);
    node.answer(tag, Some(Response::Stale));
    assert_eq!(node.discards(), (id, blob(80), false));
}

#[test]
fn a_receipt_nobody_takes_for_six_hours_is_thrown_away() {
    let (mut node, id, mut tag) = Node::offering();
    node.bids(GATEWAY);
    let mut tries = 0;
    while node.now < Time(6 * 3_600_000 - 30_000) {
        node.answer(tag, None);
        node.wait(30_000);
        tag = node.hands_over(id);
        tries += 1;
    }
    assert!(tries > 700);
    node.answer(tag, None);
    node.wait(30_000);
    assert_eq!(node.discards(), (id, blob(80), false));
    assert!(node.core.is_idle());
}

#[test]
fn receipts_that_nobody_takes_are_bounded() {
    let (mut node, tag) = Node::bidding();
    let mut tag = tag;
    for index in 0..80 {
        node.answer(tag, Some(Response::Lease(lease(index, 1))));
        let id = node.fetches();
        node.send(Input::Fetched { lease: id, result: Ok(()) });
        node.works();
        node.wait(10);
        node.send(Input::Made { lease: id, result: Ok((blob(u64::from(index)), 1)) });
        if index >= 64 {
            assert_eq!(
                node.discards(),
                (lease(index - 64, 1).id, blob(u64::from(index - 64)), false),
                "the oldest goes"
            );
        }
        node.hands_over(id);
        tag = node.bids(GATEWAY).0;
    }
}

#[test]
fn a_cancelled_lease_is_stopped_while_fetching_and_while_working() {
    for is_working in [false, true] {
        let (mut node, id) = Node::leased();
        if is_working {
            node.send(Input::Fetched { lease: id, result: Ok(()) });
            node.works();
        }
        node.send(Input::Cancelled { from: self::node(GATEWAY), lease: id });
        assert_eq!(node.stops(), id);
        node.bids(GATEWAY);
        node.send(Input::Fetched { lease: id, result: Ok(()) });
        node.is_clear();
    }
}

#[test]
fn a_cancelled_receipt_is_thrown_away_once() {
    let (mut node, id, tag) = Node::offering();
    node.bids(GATEWAY);
    node.send(Input::Cancelled { from: self::node(GATEWAY), lease: id });
    assert_eq!(node.discards(), (id, blob(80), false));
    node.answer(tag, Some(Response::Ok));
    node.is_clear();
}

#[test]
fn nobody_but_its_gateway_cancels_a_lease() {
    let (mut node, id) = Node::leased();
    node.send(Input::Cancelled { from: self::node(2), lease: id });
    node.is_clear();
    assert_eq!(node.core.leases().count(), 1);
    let (mut node, id, _) = Node::offering();
    node.bids(GATEWAY);
    node.send(Input::Cancelled { from: self::node(2), lease: id });
}

#[test]
fn a_leaving_node_stops_gives_back_hands_over_and_takes_nothing_new() {
    let mut two = able();
    two.slots = 2;
    let (mut node, tag) = Node::bidding_as(two);
    node.answer(tag, Some(Response::Lease(lease(0, 1))));
    node.fetches();
    let (tag, _) = node.bids(GATEWAY);
    node.send(Input::Leave);
    assert_eq!(node.stops(), lease(0, 1).id);
    let (told, given_back, reason) = node.gives_back();
    assert_eq!((given_back, reason), (lease(0, 1).id, FailReason::Leaving));
    assert!(!node.core.is_idle(), "the gateway has not heard it yet");
    node.answer(told, Some(Response::Ok));
    assert!(node.core.is_idle(), "a held bid is no reason to stay");
    node.answer(tag, Some(Response::Lease(lease(1, 1))));
    let (told, given_back, _) = node.gives_back();
    assert_eq!(given_back, lease(1, 1).id);
    node.answer(told, None);
    node.learn(3, true);
    node.wait(3_600_000);
    assert!(node.core.is_idle());
}

#[test]
fn a_leaving_node_waits_for_its_receipt_to_be_taken() {
    let (mut node, id, tag) = Node::offering();
    node.bids(GATEWAY);
    node.send(Input::Leave);
    assert!(!node.core.is_idle());
    node.answer(tag, None);
    node.wait(1_000);
    let tag = node.hands_over(id);
    node.answer(tag, Some(Response::Ok));
    node.discards();
    assert!(node.core.is_idle());
}

#[test]
fn gateways_are_bounded_and_configured_ones_always_fit() {
    let (mut node, tag) = Node::bidding();
    for number in 0..2_000_u32 {
        let mut id = self::node(9);
        id.0[..4].copy_from_slice(&number.to_le_bytes());
        node.send(Input::Gateway { holder: holder(id), configured: false });
    }
    node.learn(0x55, true);
    node.answer(tag, None);
    let mut asked = std::collections::BTreeSet::new();
    while let Some((tag, gateway)) = node.any_bid() {
        node.greets();
        asked.insert(gateway);
        node.answer(tag, Some(Response::Wait { retry_ms: 3_600_000 }));
    }
    assert_eq!(asked.len(), 256, "255 of the flood and the second one that is configured; the first was not reached");
    assert!(asked.contains(&self::node(0x55)));
}

#[test]
fn a_notice_without_addresses_does_not_take_the_configured_ones_away() {
    let (mut node, tag) = Node::bidding();
    let mut bare = holder(self::node(GATEWAY));
    bare.addresses.clear();
    node.send(Input::Gateway { holder: bare, configured: false });
    node.answer(tag, None);
    node.wait(500);
    node.greets();
    assert_eq!(node.next_dial(), holder(self::node(GATEWAY)).addresses);
}

#[test]
fn questions_that_nobody_answers_are_bounded() {
    let mut two = able();
    two.slots = 2;
    let (mut node, tag) = Node::bidding_as(two);
    let mut endless = lease(0, 1);
    (endless.deadline_ms, endless.heartbeat_ms) = (u64::MAX, 0);
    node.answer(tag, Some(Response::Lease(endless)));
    node.fetches();
    node.bids(GATEWAY);
    // The bid and the greeting before it are never answered, nor is any heartbeat.
    for _ in 0..1_023 {
        node.wait(1_000);
        node.beats();
    }
    node.is_clear();
    node.wait(2_000);
    node.beats();
    node.beats();
    node.greets();
    node.bids(GATEWAY);
}
