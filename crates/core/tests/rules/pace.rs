//! What a node says of how long it will still take: believed where it says that it is slow, and never where it says that it is fast.

use manyhands_core::Time;
use manyhands_core::job::Outcome;
use manyhands_core::prover;
use manyhands_core::requester::Event;
use manyhands_proto::NodeId;
use manyhands_proto::message::{Bid, Response, Timing};
use manyhands_proto::unit::UnitKind;

use crate::desk::{Desk, proves};
use crate::fake::{JOB, able, bid, node, po2};
use crate::node::Node;

/// An offer of a node that needs so long for a proof at 2^16.
fn takes(elapsed_ms: u64) -> Bid {
    let mut offer = able();
    offer.timings = vec![Timing { kind: UnitKind::Prove, po2: po2(16), elapsed_ms }];
    bid(offer)
}

/// One unit, leased to a node that needs 20 s for it.
fn leased() -> (Desk, NodeId) {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let ask = desk.bid_as(node(1), takes(20_000));
    assert_eq!(desk.granted(ask).id, proves(0, 1));
    desk.events();
    (desk, node(1))
}

#[test]
fn whoever_says_that_it_will_be_late_gets_a_copy_long_before_it_is() {
    let (mut desk, slow) = leased();
    desk.wait(10_000);
    assert_eq!(desk.heartbeat_saying(slow, proves(0, 1), Some(60_000)), Response::Ok);
    let ask = desk.bid_as(node(2), takes(20_000));
    assert_eq!(desk.granted(ask).id, proves(0, 2));
    desk.complete(node(2), proves(0, 2));
    assert_eq!(desk.cancelled(), (slow, proves(0, 1)));
    desk.assemble();
    while desk.announced() {}
}

#[test]
fn a_copy_that_would_hardly_be_sooner_is_not_made() {
    let (mut desk, slow) = leased();
    desk.wait(10_000);
    desk.heartbeat_saying(slow, proves(0, 1), Some(30_000));
    let ask = desk.bid_as(node(2), takes(25_000));
    desk.wait(1_000);
    desk.is_clear();
    desk.send(manyhands_core::requester::Input::Gone { node: node(2) });
    desk.dropped(ask);
}

#[test]
fn a_lease_is_let_go_when_the_fleet_would_be_done_much_sooner() {
    let (mut desk, slow) = leased();
    let ask = desk.bid_as(node(2), takes(20_000));
    desk.wait(10_000);
    assert_eq!(desk.heartbeat_saying(slow, proves(0, 1), Some(120_000)), Response::Ok);
    assert_eq!(desk.cancelled(), (slow, proves(0, 1)));
    assert_eq!(desk.granted(ask).id, proves(0, 2));
    assert_eq!(desk.events()[0], Event::LetGo { lease: proves(0, 1), node: slow });
    assert_eq!(desk.heartbeat(slow, proves(0, 1)), Response::Stale, "another node has the unit");
    desk.complete(node(2), proves(0, 2));
    desk.assemble();
}

/// Story: a laptop was asleep for a moment, and its node reckons that it will take for ever.
#[test]
fn an_absurd_word_does_not_make_a_node_useless_for_ever() {
    let (mut desk, slow) = leased();
    let ask = desk.bid_as(node(2), takes(20_000));
    desk.wait(10_000);
    desk.heartbeat_saying(slow, proves(0, 1), Some(u64::MAX));
    assert_eq!(desk.cancelled(), (slow, proves(0, 1)));
    desk.granted(ask);
    let predicted_ms = desk.core.peers().get(&slow).unwrap().predict_ms(&desk.policy, UnitKind::Prove, po2(16));
    assert_eq!(predicted_ms, 10 * 56_000, "ten times an unmeasured machine, as a stated time");
}

/// Story: all owners use their machines, and every node says that it is slow.
#[test]
fn a_slow_fleet_does_not_pass_a_unit_round() {
    let (mut desk, first) = leased();
    let mut holder = (first, proves(0, 1));
    for _ in 0..60 {
        for number in 1..=3 {
            if node(number) != holder.0 {
                desk.bid_as(node(number), takes(20_000));
            }
        }
        desk.wait(10_000);
        desk.heartbeat_saying(holder.0, holder.1, Some(400_000));
        let leases: Vec<_> = desk.core.job(&JOB).unwrap().leases().collect();
        if let Some((lease, node, _)) = leases.last() {
            holder = (*node, *lease);
        }
        desk.clear();
    }
    let let_go = desk.events().into_iter().filter(|event| matches!(event, Event::LetGo { .. })).count();
    assert!((1..=3).contains(&let_go), "each node's word is news once, and not {let_go} times");
}

#[test]
fn a_node_that_says_that_it_is_fast_is_late_all_the_same() {
    let (mut desk, boaster) = leased();
    for _ in 0..4 {
        desk.wait(10_000);
        desk.heartbeat_saying(boaster, proves(0, 1), Some(1));
    }
    let ask = desk.bid_as(node(2), takes(20_000));
    assert_eq!(desk.granted(ask).id, proves(0, 2));
    desk.clear();
}

#[test]
fn a_heartbeat_says_how_long_the_work_still_takes() {
    let (mut machine, lease) = Node::leased();
    machine.send(prover::Input::Progress { lease, remaining_ms: 7 });
    machine.wait(5_000);
    assert_eq!(machine.beats_saying(), (lease, None), "nothing is known of the work before it begins");
    machine.send(prover::Input::Fetched { lease, result: Ok(()) });
    machine.works();
    machine.send(prover::Input::Progress { lease, remaining_ms: 60_000 });
    machine.wait(5_000);
    assert_eq!(machine.beats_saying(), (lease, Some(55_000)));
    machine.send(prover::Input::Progress { lease, remaining_ms: 2_000 });
    machine.wait(5_000);
    assert_eq!(machine.beats_saying(), (lease, Some(0)), "its own time is over");
    machine.send(prover::Input::Progress { lease, remaining_ms: u64::MAX });
    machine.wait(5_000);
    let (_, remaining_ms) = machine.beats_saying();
    assert!(remaining_ms.is_some_and(|ms| ms > Time(0).after(1 << 40).0));
}
