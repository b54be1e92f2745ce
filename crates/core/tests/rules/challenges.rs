//! Challenges: who is given one, what it earns or costs, and what is left of one that comes to nothing.

use manyhands_core::job::Outcome;
use manyhands_core::requester::{AskId, Command, Input};
use manyhands_core::{Check, Policy};
use manyhands_proto::limits::EPOCH_S;
use manyhands_proto::message::{Blame, FailReason, Lease, Response};
use manyhands_proto::score::Work;
use manyhands_proto::{JobId, Seed};

use crate::desk::Desk;
use crate::fake::{blob, node, po2};

/// A desk that challenges, and a node that has waited for a minute.
fn idle_desk() -> (Desk, AskId) {
    let mut desk = Desk::with(Policy::default());
    let first = desk.bid(node(1));
    assert_eq!(desk.answer(first), Response::Wait { retry_ms: desk.policy.retry_ms });
    desk.wait(desk.policy.challenge_after_ms);
    let ask = desk.bid(node(1));
    (desk, ask)
}

impl Desk {
    fn challenge(&mut self) -> (JobId, Seed) {
        match self.take(|command| matches!(command, Command::Challenge { .. })) {
            Some(Command::Challenge { id, po2, seed }) => {
                assert_eq!(po2.get(), 17, "the largest size that it offers");
                (id, seed)
            }
            _ => panic!("nobody is challenged"),
        }
    }

    fn is_over(&mut self, id: JobId) -> bool {
        self.take(|command| matches!(command, Command::ChallengeOver { id: of } if *of == id)).is_some()
    }

    fn challenged(&mut self, ask: AskId) -> (Lease, Seed) {
        let (id, seed) = self.challenge();
        self.send(Input::Challenged { id, made: Ok((blob(70), 0)) });
        let lease = self.granted(ask);
        assert_eq!((lease.id.job, lease.inputs.as_slice(), lease.po2.get()), (id, [blob(70)].as_slice(), 17));
        (lease, seed)
    }
}

#[test]
fn an_idle_node_without_a_score_is_challenged_and_leased_at_once_afterwards() {
    let (mut desk, ask) = idle_desk();
    let (lease, seed) = desk.challenged(ask);
    assert_eq!(desk.core.challenged().collect::<Vec<_>>(), [(node(1), po2(17))]);
    desk.wait(8_000);
    assert_eq!(desk.heartbeat(node(1), lease.id), Response::Ok);
    desk.wait(12_000);
    let ask = desk.done(node(1), lease.id, blob(71));
    let collect = desk.collect();
    let Check::Segment { index: 0, nonce: Some(nonce), claim: 0, .. } = collect.check else { panic!("{collect:?}") };
    assert_eq!(nonce, lease.nonce);
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(ask), Response::Ok);
    assert!(desk.is_over(lease.id.job));
    let score = desk.scores[0];
    assert_eq!((score.work, score.po2.get(), score.elapsed_ms), (Work::Benchmark, 17, 20_000));
    assert_eq!((score.binding.seed, score.nonce()), (seed, lease.nonce));

    desk.submit(Outcome::Composite);
    desk.segment(0);
    let lease = desk.lease(node(1));
    assert_eq!(lease.deadline_ms, desk.policy.deadline_ms(10_000), "half of a segment of twice the size");
    let later = desk.bid(node(2));
    desk.wait(desk.policy.bid_hold_ms);
    assert_eq!(desk.answer(later), Response::Wait { retry_ms: 0 }, "its lease is no trial");
}

#[test]
fn a_score_is_renewed_before_it_expires_and_not_sooner() {
    let (mut desk, ask) = idle_desk();
    let (lease, _) = desk.challenged(ask);
    let deliver = |desk: &mut Desk, lease: &Lease| {
        desk.delivers(node(1), lease, 20_000);
        assert!(desk.is_over(lease.id.job));
    };
    deliver(&mut desk, &lease);
    let wait = Response::Wait { retry_ms: desk.policy.retry_ms };
    let bids = |desk: &mut Desk| {
        let ask = desk.bid(node(1));
        desk.answer(ask)
    };
    assert_eq!(bids(&mut desk), wait);
    desk.wait(desk.policy.score_ms - desk.policy.score_renew_ms - 1_000);
    assert_eq!(bids(&mut desk), wait);
    desk.wait(1_000);
    let ask = desk.bid(node(1));
    let (lease, _) = desk.challenged(ask);
    deliver(&mut desk, &lease);
    assert_eq!(desk.scores.len(), 2);
}

#[test]
fn a_challenge_that_is_not_met_costs_standing() {
    let (mut desk, ask) = idle_desk();
    let (lease, _) = desk.challenged(ask);
    desk.wait(desk.policy.silence_ms);
    assert_eq!(desk.cancelled(), (node(1), lease.id));
    assert!(desk.is_over(lease.id.job));
    assert_eq!(desk.heartbeat(node(1), lease.id), Response::Stale);
    let ask = desk.bid(node(1));
    assert!(matches!(desk.answer(ask), Response::Refused { reason, .. } if reason.contains("challenge")));

    let (mut desk, ask) = idle_desk();
    let (lease, _) = desk.challenged(ask);
    let ask = desk.done(node(1), lease.id, blob(71));
    let collect = desk.collect();
    desk.verdict(&collect, Err(Blame::Peer));
    assert_eq!(desk.answer(ask), Response::Stale);
    assert!(desk.is_over(lease.id.job));
    assert_eq!(desk.core.peers().get(&node(1)).unwrap().offences, 1);

    let (mut desk, ask) = idle_desk();
    let (lease, _) = desk.challenged(ask);
    desk.fail(node(1), lease.id, FailReason::Leaving);
    assert!(desk.is_over(lease.id.job) && desk.scores.is_empty());
}

#[test]
fn a_challenge_whose_receipt_could_not_be_fetched_is_asked_for_again() {
    let (mut desk, ask) = idle_desk();
    let (lease, _) = desk.challenged(ask);
    desk.wait(10_000);
    let first = desk.done(node(1), lease.id, blob(71));
    let collect = desk.collect();
    desk.verdict(&collect, Err(Blame::Network));
    desk.dropped(first);
    desk.wait(1_000);
    let again = desk.done(node(1), lease.id, blob(71));
    let collect = desk.collect();
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(again), Response::Ok);
    assert!(desk.is_over(lease.id.job));
    assert_eq!(desk.scores[0].elapsed_ms, 11_000);
}

/// Two hours is as long as a score counts; the node has shown that it proves, and nothing is said of how fast.
#[test]
fn a_challenge_that_took_longer_than_a_score_counts_has_none() {
    let mut desk = Desk::with(Policy { deadline_percent: 1_000_000, ..Policy::default() });
    desk.bid(node(1));
    desk.wait(desk.policy.challenge_after_ms);
    desk.clear();
    let ask = desk.bid(node(1));
    let (lease, _) = desk.challenged(ask);
    for _ in 0..EPOCH_S / 20 + 1 {
        desk.wait(20_000);
        assert_eq!(desk.heartbeat(node(1), lease.id), Response::Ok);
    }
    let ask = desk.done(node(1), lease.id, blob(71));
    let collect = desk.collect();
    desk.verdict(&collect, Ok(()));
    assert_eq!(desk.answer(ask), Response::Ok);
    assert!(desk.is_over(lease.id.job) && desk.scores.is_empty());
}

#[test]
fn a_challenge_whose_answer_was_lost_is_nobodys_fault() {
    let (mut desk, ask) = idle_desk();
    let (lease, _) = desk.challenged(ask);
    desk.wait(5_000);
    let early = desk.bid(node(1));
    assert_eq!(desk.answer(early), Response::Wait { retry_ms: desk.policy.retry_ms });
    assert!(desk.core.challenged().next().is_some(), "its result may be on its way");
    desk.wait(2 * desk.policy.heartbeat_ms);
    let again = desk.bid(node(1));
    assert!(desk.is_over(lease.id.job));
    assert_eq!(desk.answer(again), Response::Wait { retry_ms: desk.policy.retry_ms });
    assert!(!desk.core.peers().get(&node(1)).unwrap().is_blocked(desk.now));
}

#[test]
fn a_challenge_whose_node_is_gone_or_whose_segment_cannot_be_made_leaves_nothing() {
    let (mut desk, ask) = idle_desk();
    let (id, _) = desk.challenge();
    desk.send(Input::Gone { node: node(1) });
    desk.dropped(ask);
    assert!(desk.is_over(id));
    desk.send(Input::Challenged { id, made: Ok((blob(70), 0)) });
    assert!(desk.is_over(id), "what was stored meanwhile is let go");

    let (mut desk, ask) = idle_desk();
    let (id, _) = desk.challenge();
    desk.send(Input::Challenged { id, made: Err("the disk is full".to_owned()) });
    assert_eq!(desk.answer(ask), Response::Wait { retry_ms: desk.policy.retry_ms });
    assert!(desk.is_over(id) && desk.core.challenged().next().is_none());
}

#[test]
fn nobody_who_has_work_or_is_known_is_challenged() {
    let mut desk = Desk::with(Policy::default());
    desk.submit(Outcome::Composite);
    let held = desk.bid(node(1));
    desk.wait(desk.policy.challenge_after_ms - 1);
    assert_eq!(desk.answer(held), Response::Wait { retry_ms: 0 });
    desk.segment(0);
    let lease = desk.lease(node(1));
    desk.delivers(node(1), &lease, 10_000);
    let verdict = manyhands_core::Verdict::Allowed;
    let ruling = Some(manyhands_core::Ruling { verdict, reason: String::new() });
    desk.send(Input::Rule { node: node(2), ruling });
    for _ in 0..4 {
        let ask = desk.bid(node(2));
        desk.wait(desk.policy.bid_hold_ms);
        assert_eq!(desk.answer(ask), Response::Wait { retry_ms: 0 });
    }
    desk.clear();
}

/// The next lease of a job is trial enough for one that has failed; a challenge comes only if there is none for long.
#[test]
fn who_has_failed_is_not_challenged_at_once_again() {
    let (mut desk, ask) = idle_desk();
    desk.challenged(ask);
    desk.wait(desk.policy.silence_ms + desk.policy.pause_ms);
    desk.clear();
    let wait = Response::Wait { retry_ms: desk.policy.retry_ms };
    let bids = |desk: &mut Desk| {
        let ask = desk.bid(node(1));
        desk.answer(ask)
    };
    assert_eq!(bids(&mut desk), wait);
    desk.wait(desk.policy.score_renew_ms - 1);
    assert_eq!(bids(&mut desk), wait);
    desk.wait(1);
    let ask = desk.bid(node(1));
    desk.challenged(ask);
    desk.clear();
}
