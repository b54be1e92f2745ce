//! What is held against a node: how long, how it is written down, and the operator's word.

use manyhands_core::job::Outcome;
use manyhands_core::requester::{Event, Input};
use manyhands_core::{Policy, Ruling, Standing, Verdict};
use manyhands_proto::NodeId;
use manyhands_proto::message::{Bid, Blame, Capabilities, FailReason, Response};

use crate::desk::{Desk, proves};
use crate::fake::{able, bid, blob, node};

const DAY_MS: u64 = 24 * 3_600_000;

/// The node's lease brings what is no proof. Returns for how long it is blocked.
fn offends(desk: &mut Desk, node: NodeId) -> u64 {
    let lease = desk.lease(node);
    let ask = desk.done(node, lease.id, blob(50));
    let collect = desk.collect();
    desk.verdict(&collect, Err(Blame::Peer));
    assert_eq!(desk.answer(ask), Response::Stale);
    desk.clear();
    desk.core.peers().get(&node).unwrap().blocked_until.unwrap().since(desk.now)
}

fn said(desk: &mut Desk) -> Vec<(NodeId, Standing)> {
    let told = |event| if let Event::Standings { changed } = event { changed } else { Vec::new() };
    desk.events().into_iter().flat_map(told).collect()
}

fn rule(desk: &mut Desk, node: NodeId, verdict: Option<Verdict>) {
    let ruling = verdict.map(|verdict| Ruling { verdict, reason: "it is a lab's".to_owned() });
    desk.send(Input::Rule { node, ruling });
}

fn refusal(response: Response) -> (String, u64) {
    match response {
        Response::Refused { reason, retry_ms } => (reason, retry_ms),
        other => panic!("a refusal was expected, not {other:?}"),
    }
}

#[test]
fn blocks_grow_to_a_day_and_a_good_week_makes_a_new_beginning() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let mut last_ms = 0;
    for offence in 1.. {
        let block_ms = offends(&mut desk, node(1));
        let (changed, standing) = said(&mut desk).pop().unwrap();
        assert_eq!((changed, standing.offences), (node(1), offence));
        assert_eq!(standing.blocked_for.as_deref(), Some("it is wrong"));
        assert_eq!(standing.blocked_until, Some(desk.now.after(block_ms)));
        assert_eq!(block_ms, (desk.policy.block_ms << (offence - 1)).min(DAY_MS));
        desk.wait(block_ms);
        if block_ms == last_ms {
            break;
        }
        last_ms = block_ms;
    }
    desk.wait(7 * DAY_MS);
    assert_eq!(offends(&mut desk, node(1)), DAY_MS, "a week to the day is not over it");
    desk.wait(8 * DAY_MS + 1);
    assert_eq!(offends(&mut desk, node(1)), desk.policy.block_ms);
}

#[test]
fn a_block_outlives_a_restart() {
    let mut before = Desk::with_job(Outcome::Composite, 1);
    let block_ms = offends(&mut before, node(1));
    let (_, standing) = said(&mut before).pop().unwrap();

    let mut desk = Desk::with_job(Outcome::Composite, 1);
    desk.send(Input::Recall { node: node(1), standing: standing.clone() });
    assert!(said(&mut desk).is_empty(), "it is written down already");
    assert!(!desk.core.peers().get(&node(1)).unwrap().connected);
    let ask = desk.bid(node(1));
    assert_eq!(refusal(desk.answer(ask)), ("it is wrong".to_owned(), block_ms));
    desk.wait(block_ms);
    desk.announced();
    assert_eq!(offends(&mut desk, node(1)), 2 * block_ms, "its first offence is not forgotten");
}

#[test]
fn a_node_that_stalls_again_and_again_is_written_down_and_one_that_stalls_once_is_not() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    for stall in 0..3 {
        let lease = desk.lease(node(1));
        assert_eq!(lease.id, proves(0, stall + 1));
        desk.wait(desk.policy.silence_ms);
        desk.clear();
        let told = said(&mut desk);
        let pause_ms = desk.policy.pause_ms << stall;
        assert_eq!(
            told.iter().map(|(_, standing)| standing.blocked_until).collect::<Vec<_>>(),
            match stall {
                0 => vec![],
                _ => vec![Some(desk.now.after(pause_ms))],
            }
        );
        desk.wait(pause_ms);
        desk.clear();
    }
    assert_eq!(desk.core.peers().get(&node(1)).unwrap().offences, 0, "it may only be overloaded");
}

#[test]
fn who_is_denied_loses_his_work_and_gets_none_until_he_is_let() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let lease = desk.lease(node(1));
    let waits = desk.bid_as(node(1), {
        let mut two = bid(able());
        (two.capabilities.slots, two.slots_free) = (2, 1);
        two
    });
    let second = desk.granted(waits);
    rule(&mut desk, node(1), Some(Verdict::Denied));
    let mut taken = [desk.cancelled(), desk.cancelled()];
    taken.sort();
    assert_eq!(taken, [(node(1), lease.id), (node(1), second.id)]);
    desk.wait(desk.policy.announce_ms);
    assert!(desk.announced(), "both wait for somebody else");
    let (_, standing) = said(&mut desk).pop().unwrap();
    assert_eq!(standing.ruling.unwrap().verdict, Verdict::Denied);

    desk.wait(30 * DAY_MS);
    desk.clear();
    let ask = desk.bid(node(1));
    let (why, retry_ms) = refusal(desk.answer(ask));
    assert_eq!(why, "denied by this gateway's operator: it is a lab's");
    assert_eq!(retry_ms, desk.policy.block_ms, "it may be let any time");
    let shown = desk.core.view_nodes(desk.now).pop().unwrap();
    assert_eq!((shown.blocked, shown.blocked_ms, shown.verdict), (Some(why), None, Some(Verdict::Denied)));
    let view = desk.core.view_job(desk.now, &crate::fake::JOB).unwrap();
    assert_eq!(view.waiting.as_deref(), Some("no node is connected; the job starts with the first one"));

    rule(&mut desk, node(1), None);
    assert_eq!(desk.lease(node(1)).id.unit, proves(0, 1).unit);
    desk.clear();
}

#[test]
fn the_bid_of_who_is_denied_is_answered_at_once() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1));
    let waits = desk.bid(node(2));
    rule(&mut desk, node(2), Some(Verdict::Denied));
    assert!(refusal(desk.answer(waits)).0.contains("denied"));
    desk.complete(node(1), lease.id);
    desk.clear();
}

#[test]
fn who_is_allowed_is_no_newcomer_and_forgiven_once() {
    let slots = |desk: &Desk| desk.core.peers().get(&node(1)).unwrap().slots(&desk.policy);
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let mut many = bid(able());
    (many.capabilities.slots, many.slots_free) = (16, 16);
    desk.hello(node(1), many);
    assert_eq!(slots(&desk), desk.policy.newcomer_slots);
    let first_ms = offends(&mut desk, node(1));
    offends_after(&mut desk, first_ms);

    rule(&mut desk, node(1), Some(Verdict::Allowed));
    let peer = desk.core.peers().get(&node(1)).unwrap();
    assert!(peer.is_trusted(&desk.policy) && !peer.is_blocked(desk.now) && peer.offences == 0);
    assert_eq!(offends(&mut desk, node(1)), first_ms, "what it does now counts");
    let ask = desk.bid(node(1));
    assert_eq!(refusal(desk.answer(ask)).0, "it is wrong");
}

fn offends_after(desk: &mut Desk, first_ms: u64) {
    desk.wait(first_ms);
    desk.clear();
    assert_eq!(offends(desk, node(1)), 2 * first_ms);
}

#[test]
fn many_newcomers_make_nobody_forget_an_offender_or_the_operators_word() {
    let mut desk = Desk::with(Policy { peers_max: 4, ..Policy::default() });
    desk.send(Input::Misbehaved { node: node(1), reason: "nonsense".to_owned() });
    rule(&mut desk, node(2), Some(Verdict::Denied));
    for number in 10..30 {
        desk.hello(node(number), bid(able()));
        desk.send(Input::Gone { node: node(number) });
        desk.send(Input::Gone { node: node(1) });
        assert!(desk.core.peers().iter().count() <= 4);
    }
    assert!(desk.core.peers().get(&node(1)).unwrap().is_blocked(desk.now));
    assert!(desk.core.peers().get(&node(2)).unwrap().is_denied());
}

/// A laptop whose lid is closed loses all its leases at once: that is one failure, and earlier ones of another kind do not weigh on it.
#[test]
fn leases_that_lapse_together_count_once() {
    let mut desk = Desk::with_job(Outcome::Composite, 6);
    for rest in 0..4 {
        let lease = desk.lease(node(1)).id;
        desk.fail(node(1), lease, FailReason::Fetch("connection refused".to_owned()));
        desk.wait((desk.policy.rest_ms << rest).min(desk.policy.pause_ms));
    }
    let first = [2, 1].map(|slots_free| {
        let capabilities = Capabilities { slots: 2, ..able() };
        let ask = desk.bid_as(node(1), Bid { slots_free, ..bid(capabilities) });
        desk.granted(ask)
    });
    desk.wait(desk.policy.silence_ms);
    let left = |desk: &Desk| desk.core.peers().get(&node(1)).unwrap().blocked_until.map(|until| until.since(desk.now));
    assert_eq!(left(&desk), Some(desk.policy.pause_ms), "{first:?}");
    desk.wait(desk.policy.pause_ms);
    desk.clear();
    let _again = desk.lease(node(1));
    desk.wait(desk.policy.silence_ms);
    assert_eq!(left(&desk), Some(2 * desk.policy.pause_ms));
    desk.clear();
}
