//! Benchmark scores: what earns one, what it opens, what ends it; strangers' trials.

use ed25519_dalek::{Signer as _, SigningKey};
use manyhands_core::job::Outcome;
use manyhands_core::prover::{self, Tag};
use manyhands_core::requester::{AskId, Event, Input};
use manyhands_core::scores::Shown;
use manyhands_core::{Origin, Policy, Prover, Time};
use manyhands_proto::limits::EPOCH_S;
use manyhands_proto::message::{FailReason, Lease, Request, Response};
use manyhands_proto::score::Work;
use manyhands_proto::{Binding, LeaseId, NodeId, Score, Seed, SignedScore, Unit};
use manyhands_vbs::{CheckedScore, Source, sign};

use crate::desk::Desk;
use crate::fake::{UNIX_S, able, bid, binder, blob, holder, node, po2};

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn id_of(key: &SigningKey) -> NodeId {
    NodeId(key.verifying_key().to_bytes())
}

/// What `verifier` said `ago_s` before `now` of a proof of `peer`'s that took `elapsed_ms`.
fn said(verifier: &SigningKey, peer: NodeId, now: Time, ago_s: u64, elapsed_ms: u64) -> SignedScore {
    let issued_s = binder().unix_s(now) - ago_s;
    let binding = Binding { seed: Seed([3; 16]), epoch: Binding::epoch_at(issued_s) };
    let score = Score {
        peer,
        verifier: id_of(verifier),
        po2: po2(16),
        elapsed_ms,
        receipt: blob(9),
        work: Work::Job,
        index: 0,
        binding,
        issued_s,
        expires_s: issued_s + EPOCH_S,
    };
    sign(score, |bytes| verifier.sign(bytes).to_bytes())
}

impl Desk {
    /// A bid that shows a score, as the shell hands it on.
    fn bid_showing(&mut self, node: NodeId, signed: SignedScore, source: Source) -> AskId {
        let shown = Some(Box::new(Shown { score: CheckedScore::check(signed).unwrap(), source }));
        let ask = AskId(1_000_000 + u64::from(node.0[0]) * 1_000 + self.now.0);
        self.send(Input::Bid { node, from: Origin::default(), bid: bid(able()), shown, ask });
        ask
    }

    fn bid_scored(&mut self, node: NodeId, elapsed_ms: u64) -> AskId {
        let signed = said(&key(1), node, self.now, 60, elapsed_ms);
        self.bid_showing(node, signed, Source::Named)
    }

    /// A node's whole way through a lease that took `ms`.
    pub fn delivers(&mut self, node: NodeId, lease: &Lease, ms: u64) {
        self.wait(ms);
        let ask = self.done(node, lease.id, blob(50));
        let collect = self.collect();
        self.verdict(&collect, Ok(()));
        assert_eq!(self.answer(ask), Response::Ok);
        self.announced();
    }

    pub fn is_scored(&self, node: &NodeId) -> bool {
        self.core.peers().get(node).unwrap().is_scored(self.now, manyhands_proto::unit::UnitKind::Prove, po2(16))
    }
}

#[test]
fn every_verified_segment_is_a_benchmark_on_the_gateways_clock() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let lease = desk.lease(node(1));
    assert!(!desk.is_scored(&node(1)));
    desk.delivers(node(1), &lease, 12_000);
    let score = desk.scores[0];
    assert_eq!((score.peer, score.verifier, score.po2, score.elapsed_ms), (node(1), node(0xee), po2(16), 12_000));
    assert_eq!((score.work, score.receipt, score.index), (Work::Job, blob(50), 0));
    assert_eq!(score.nonce(), lease.nonce, "others can tell that the proof is of this score");
    assert_eq!((score.issued_s, score.expires_s), (UNIX_S + 13, UNIX_S + 13 + EPOCH_S));
    assert_eq!(score.cycles_per_s(), 65_536 / 12);
    assert!(desk.is_scored(&node(1)));
    desk.wait(EPOCH_S * 1000);
    desk.clear();
    assert!(!desk.is_scored(&node(1)), "it has expired");
}

#[test]
fn nothing_is_said_of_proofs_that_nobody_else_may_see() {
    let mut desk = Desk::new();
    desk.send(Input::Restrict { job: crate::fake::JOB, to: [node(1)].into() });
    desk.submit(Outcome::Composite);
    desk.segment(0);
    desk.executed(2);
    let lease = desk.lease(node(1));
    desk.delivers(node(1), &lease, 12_000);
    assert!(desk.scores.is_empty());
    assert!(desk.is_scored(&node(1)), "the gateway has seen it all the same");
}

#[test]
fn a_node_with_a_score_comes_before_a_stranger_whatever_that_says() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    let mut boast = able();
    boast.timings.push(manyhands_proto::message::Timing {
        kind: manyhands_proto::unit::UnitKind::Prove,
        po2: po2(16),
        elapsed_ms: 1,
    });
    let stranger = desk.bid_as(node(1), bid(boast));
    let scored = desk.bid_scored(node(2), 40_000);
    desk.segment(0);
    let lease = desk.granted(scored);
    assert_eq!(lease.deadline_ms, desk.policy.deadline_ms(40_000), "the score is what it is expected to take");
    desk.segment(1);
    assert_eq!(desk.granted(stranger).id.unit, Unit::Prove(1), "with nobody else there it gets one on trial");
}

#[test]
fn a_strangers_trial_keeps_nobody_from_the_unit() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let trial = desk.lease(node(1));
    let other = desk.bid(node(2));
    let copy = desk.bid_scored(node(3), 10_000);
    let copy = desk.granted(copy);
    assert_eq!((copy.id.unit, copy.id.attempt), (Unit::Prove(0), 2));
    assert!(matches!(desk.events().last(), Some(Event::Leased { is_copy: true, .. })));
    desk.delivers(node(3), &copy, 9_000);
    assert_eq!(desk.cancelled(), (node(1), trial.id));
    assert!(!desk.is_scored(&node(1)), "and it is as unknown as before");
    desk.assemble();
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!(desk.answer(other), Response::Wait { retry_ms: 0 }, "another stranger had no part in it");
}

#[test]
fn a_bid_that_waits_is_placed_anew_when_its_node_earns_a_score() {
    let mut desk = Desk::with(Policy { copies_max: 1, challenge_after_ms: 0, ..Policy::default() });
    desk.submit(Outcome::Composite);
    desk.segment(0);
    let trial = desk.lease(node(1));
    desk.wait(10_000);
    let ask = desk.done(node(1), trial.id, blob(50));
    let collect = desk.collect();
    let busy = busy_with_another(&mut desk);
    let other = desk.bid(node(2));
    let earner = desk.bid(node(1));
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(ask), Response::Ok);
    assert!(desk.is_scored(&node(1)));
    desk.segment(1);
    assert_eq!(desk.granted(earner).id.unit, Unit::Prove(1), "it bid later, as a stranger, and is none any more");
    desk.segment(2);
    assert_eq!(desk.granted(other).id.unit, Unit::Prove(2));
    desk.fail(node(3), busy, FailReason::Leaving);
    desk.announced();
}

/// Leases segment 9 to a node with a score, so that there is work of this kind all the time, and none for others.
fn busy_with_another(desk: &mut Desk) -> LeaseId {
    let ask = desk.bid_scored(node(3), 12_000);
    desk.segment(9);
    desk.granted(ask).id
}

#[test]
fn a_bid_that_waits_is_placed_anew_when_its_nodes_score_is_checked() {
    let mut desk = Desk::with(Policy { copies_max: 1, challenge_after_ms: 0, ..Policy::default() });
    desk.submit(Outcome::Composite);
    let busy = busy_with_another(&mut desk);
    let first = desk.bid(node(2));
    let signed = said(&key(2), node(1), desk.now, 60, 10_000);
    let shown = desk.bid_showing(node(1), signed.clone(), Source::Stranger);
    let checked = Shown { score: CheckedScore::check(signed).unwrap(), source: Source::Reverified };
    desk.send(Input::Shown { node: node(1), shown: Box::new(checked) });
    desk.segment(0);
    assert_eq!(desk.granted(shown).id.unit, Unit::Prove(0));
    desk.segment(1);
    assert_eq!(desk.granted(first).id.unit, Unit::Prove(1));
    desk.fail(node(3), busy, FailReason::Leaving);
    desk.announced();
}

#[test]
fn a_stranger_that_has_the_inputs_does_not_come_before_a_node_with_a_score() {
    let mut desk = Desk::with(Policy { near_wait_ms: 0, challenge_after_ms: 0, score_ms: 5_000, ..Policy::default() });
    desk.submit(Outcome::Succinct);
    desk.segment(0);
    desk.segment(1);
    desk.executed(2);
    let proof = desk.lease(node(1));
    let slow = desk.lease(node(2));
    desk.delivers(node(1), &proof, 1_000);
    let first = desk.lease(node(1));
    desk.delivers(node(1), &first, 1_000);
    desk.delivers(node(2), &slow, 5_000);
    let second = desk.lease(node(2));
    assert_eq!((first.id.unit, second.id.unit), (Unit::Lift(0), Unit::Lift(1)));
    let maker = desk.bid(node(1));
    assert!(!desk.is_scored(&node(1)), "its score has ended");
    let scored = desk.bid_scored(node(3), 10_000);
    desk.delivers(node(2), &second, 1_000);
    assert_eq!(desk.granted(scored).id.unit, Unit::Join { start: 0, mid: 1, end: 2 });
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!(desk.answer(maker), Response::Wait { retry_ms: 0 });
    desk.clear();
}

#[test]
fn a_trial_that_is_nearly_done_is_not_raced() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let trial = desk.lease(node(1));
    // The stranger is expected after 56 s; where strangers deliver, it is believed.
    desk.wait(20_000);
    assert_eq!(desk.heartbeat(node(1), trial.id), Response::Ok);
    let slow = desk.bid_scored(node(2), 50_000);
    desk.delivers(node(1), &trial, 15_000);
    desk.assemble();
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!(desk.answer(slow), Response::Wait { retry_ms: 0 });
}

#[test]
fn a_missed_deadline_suspends_every_score_from_before() {
    let mut desk = Desk::with_job(Outcome::Composite, 3);
    let old = said(&key(1), node(1), desk.now, 60, 10_000);
    let ask = desk.bid_showing(node(1), old.clone(), Source::Named);
    let lease = desk.granted(ask);
    assert!(desk.is_scored(&node(1)));
    desk.wait(desk.policy.silence_ms);
    assert!(!desk.is_scored(&node(1)), "{lease:?} lapsed");
    assert!(desk.events().contains(&Event::Suspended { nodes: vec![node(1)] }));
    desk.wait(desk.policy.pause_ms);
    desk.clear();
    let again = desk.bid_showing(node(1), old, Source::Named);
    desk.granted(again);
    assert!(!desk.is_scored(&node(1)), "what was said before counts no more");
    let new = said(&key(1), node(2), desk.now, 0, 10_000);
    let ask = desk.bid_showing(node(2), new, Source::Named);
    desk.granted(ask);
    assert!(desk.is_scored(&node(2)));
    desk.clear();
}

#[test]
fn a_strangers_word_counts_for_nothing_and_a_checked_one_for_a_lease() {
    let mut desk = Desk::with_job(Outcome::Composite, 2);
    let signed = said(&key(2), node(1), desk.now, 60, 10_000);
    let ask = desk.bid_showing(node(1), signed.clone(), Source::Stranger);
    desk.granted(ask);
    assert!(!desk.is_scored(&node(1)));
    let shown = Shown { score: CheckedScore::check(signed).unwrap(), source: Source::Reverified };
    desk.send(Input::Shown { node: node(1), shown: Box::new(shown) });
    assert!(desk.is_scored(&node(1)));
}

/// A verifier that the operator has named, and whose nodes fail one after the other.
#[test]
fn a_verifier_whose_nodes_fail_is_believed_no_more() {
    let mut desk = Desk::with(Policy { challenge_after_ms: 0, ..Policy::default() });
    desk.submit(Outcome::Composite);
    (0..60).for_each(|index| desk.segment(index));
    for number in 1..=60 {
        let ask = desk.bid_scored(node(number), 10_000);
        desk.granted(ask);
    }
    let waits = desk.bid_scored(node(61), 10_000);
    assert!(desk.is_scored(&node(61)));
    desk.wait(desk.policy.silence_ms);
    let distrusted = Event::Distrusted { verifier: id_of(&key(1)), for_ms: desk.policy.block_ms_max };
    assert_eq!(desk.events().iter().filter(|event| **event == distrusted).count(), 1);
    assert!(!desk.is_scored(&node(61)), "what it said before counts no more");
    let _later = desk.bid_scored(node(62), 10_000);
    assert!(!desk.is_scored(&node(62)), "nor what it says now");
    let signed = said(&key(2), node(63), desk.now, 60, 10_000);
    desk.bid_showing(node(63), signed, Source::Named);
    assert!(desk.is_scored(&node(63)), "others' words do");
    let _ = waits;
    desk.clear();
    desk.wait(desk.policy.block_ms_max);
    desk.bid_scored(node(64), 10_000);
    assert!(desk.is_scored(&node(64)), "a day later it is heard again");
    desk.clear();
}

/// One failure of many is a node's, not its verifier's.
#[test]
fn a_verifier_whose_nodes_mostly_deliver_is_believed() {
    let mut desk = Desk::with(Policy { challenge_after_ms: 0, ..Policy::default() });
    desk.submit(Outcome::Composite);
    (0..100).for_each(|index| desk.segment(index));
    for number in 1..=100 {
        let ask = desk.bid_scored(node(number), 10_000);
        let lease = desk.granted(ask);
        if number % 3 > 0 {
            desk.delivers(node(number), &lease, 100);
        }
    }
    desk.wait(desk.policy.silence_ms);
    assert!(!desk.events().iter().any(|event| matches!(event, Event::Distrusted { .. })));
    desk.clear();
}

#[test]
fn what_the_gateway_saw_itself_outweighs_what_others_say() {
    let mut desk = Desk::with_job(Outcome::Composite, 3);
    let lease = desk.lease(node(1));
    desk.delivers(node(1), &lease, 25_000);
    let ask = desk.bid_scored(node(1), 1_000);
    let lease = desk.granted(ask);
    assert_eq!(lease.deadline_ms, desk.policy.deadline_ms(25_000));
    desk.clear();
}

/// What a node asks of whom.
fn asked(core: &mut Prover) -> Vec<(NodeId, Tag, Request)> {
    let command = |command| match command {
        prover::Command::Ask { to, request, tag } => Some((to.node, tag, request)),
        _ => None,
    };
    std::iter::from_fn(|| core.poll_command()).filter_map(command).collect()
}

/// A node that has worked for the gateway with this key and is answered so; what it throws away, and the score in its next bid.
fn shows_after(verifier: &SigningKey, word: SignedScore) -> (bool, Option<SignedScore>) {
    let gateway = id_of(verifier);
    let mut core = Prover::new(node(1), able());
    core.handle(Time(0), prover::Input::Gateway { holder: holder(gateway), configured: true });
    let bids = asked(&mut core);
    let tag =
        bids.iter().find(|(_, _, request)| matches!(request, Request::Bid(bid) if bid.score.is_none())).unwrap().1;
    let lease = crate::node::lease(0, 1);
    let id = lease.id;
    core.handle(Time(0), prover::Input::Answered { tag, response: Some(Response::Lease(lease)) });
    core.handle(Time(0), prover::Input::Fetched { lease: id, result: Ok(()) });
    core.handle(Time(10_000), prover::Input::Made { lease: id, result: Ok((blob(9), 10_000)) });
    let done = asked(&mut core);
    let tag = done.iter().find(|(_, _, request)| matches!(request, Request::Done { .. })).unwrap().1;
    let bid = done.iter().find(|(_, _, request)| matches!(request, Request::Bid(_))).unwrap().1;
    core.handle(Time(10_000), prover::Input::Answered { tag, response: Some(Response::Scored(Box::new(word))) });
    let discarded = std::iter::from_fn(|| core.poll_command()).find_map(|command| match command {
        prover::Command::Discard { taken: true, score, .. } => Some(score.is_some()),
        _ => None,
    });
    core.handle(Time(10_000), prover::Input::Answered { tag: bid, response: Some(Response::Wait { retry_ms: 1_000 }) });
    core.handle_timeout(Time(11_000));
    let next = asked(&mut core).into_iter().find_map(|(to, _, request)| match request {
        Request::Bid(bid) if to == gateway => Some(bid.score.map(|score| *score)),
        _ => None,
    });
    (discarded.unwrap(), next.unwrap())
}

#[test]
fn a_node_shows_what_its_gateway_said_and_nothing_that_others_would_hold_against_it() {
    let verifier = key(4);
    let good = said(&verifier, node(1), Time(10_000), 0, 10_000);
    assert_eq!(shows_after(&verifier, good.clone()), (true, Some(good.clone())));
    let mut forged = good.clone();
    forged.score.elapsed_ms = 1;
    let anothers = said(&verifier, node(2), Time(10_000), 0, 10_000);
    let in_anothers_name = said(&key(5), node(1), Time(10_000), 0, 10_000);
    let mut of_another_receipt = good.score;
    of_another_receipt.receipt = blob(10);
    let of_another_receipt = sign(of_another_receipt, |bytes| verifier.sign(bytes).to_bytes());
    for wrong in [forged, anothers, in_anothers_name, of_another_receipt] {
        assert_eq!(shows_after(&verifier, wrong), (false, None));
    }
}

#[test]
fn a_node_shows_each_gateway_its_own_word_first_and_after_a_restart_what_still_counts() {
    let (mine, other) = (key(4), key(5));
    let (older, newer) = (said(&mine, node(1), Time(0), 600, 10_000), said(&other, node(1), Time(0), 60, 10_000));
    let mut core = Prover::new(node(1), able());
    for (signed, left_ms) in [(older.clone(), 60_000), (newer.clone(), 120_000)] {
        core.handle(Time(0), prover::Input::Score { signed: Box::new(signed), left_ms });
    }
    let shown = |core: &mut Prover, now: Time, to: NodeId| {
        core.handle(now, prover::Input::Gateway { holder: holder(to), configured: true });
        let bid = asked(core).into_iter().find_map(|(_, tag, request)| match request {
            Request::Bid(bid) => Some((tag, bid.score.map(|score| *score))),
            _ => None,
        });
        let (tag, score) = bid.unwrap();
        core.handle(now, prover::Input::Answered { tag, response: Some(Response::Wait { retry_ms: 3_600_000 }) });
        score
    };
    assert_eq!(shown(&mut core, Time(0), id_of(&mine)), Some(older));
    assert_eq!(shown(&mut core, Time(60_000), id_of(&key(6))), Some(newer));
    assert_eq!(shown(&mut core, Time(120_000), id_of(&key(7))), None);
}
