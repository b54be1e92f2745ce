//! What a score has to be before it counts, and what a board keeps of what strangers send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use ed25519_dalek::{Signer as _, SigningKey};
use manyhands_proto::limits::EPOCH_S;
use manyhands_proto::score::Work;
use manyhands_proto::{Binding, BlobRef, NodeId, Po2, Reference, Score, Seed, SignedScore};
use manyhands_vbs::board::Bounds;
use manyhands_vbs::{Board, CheckedScore, ScoreError, Source, Told, Trust, sign};
use proptest::prelude::*;

const NOW: u64 = 1_785_600_000;

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn id_of(key: &SigningKey) -> NodeId {
    NodeId(key.verifying_key().to_bytes())
}

fn peer(number: u32) -> NodeId {
    let mut id = [0xaa; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

fn score(verifier: &SigningKey, peer: NodeId, issued_s: u64) -> Score {
    Score {
        peer,
        verifier: id_of(verifier),
        po2: Po2::try_from(16).unwrap(),
        elapsed_ms: 28_000,
        receipt: BlobRef { reference: Reference([3; 32]), size_bytes: 221_000 },
        work: Work::Job,
        index: 0,
        binding: Binding { seed: Seed([4; 16]), epoch: Binding::epoch_at(issued_s) },
        issued_s,
        expires_s: issued_s + EPOCH_S,
    }
}

fn signed(verifier: &SigningKey, score: Score) -> SignedScore {
    sign(score, |bytes| verifier.sign(bytes).to_bytes())
}

fn checked(verifier: &SigningKey, peer: NodeId, issued_s: u64) -> CheckedScore {
    CheckedScore::check(signed(verifier, score(verifier, peer, issued_s))).unwrap()
}

#[test]
fn a_score_counts_as_its_verifier_signed_it_and_not_otherwise() {
    let good = signed(&key(1), score(&key(1), peer(1), NOW));
    assert_eq!(CheckedScore::check(good.clone()).unwrap().score(), &good.score);
    let forged = Err(ScoreError::Forged { verifier: id_of(&key(1)) });
    let mut faster = good.clone();
    faster.score.elapsed_ms -= 1;
    assert_eq!(CheckedScore::check(faster), forged);
    let by_another = signed(&key(2), good.score);
    assert_eq!(CheckedScore::check(by_another), forged);
    let mut of_no_key = good.clone();
    of_no_key.score.verifier = NodeId([2; 32]);
    assert!(matches!(CheckedScore::check(of_no_key), Err(ScoreError::Forged { .. })));
    // The neutral point signs anything for whoever does not look closely.
    let mut of_weak_key = good.clone();
    of_weak_key.score.verifier = NodeId(std::array::from_fn(|place| u8::from(place == 0)));
    of_weak_key.signature.0 = std::array::from_fn(|place| u8::from(place == 0));
    assert!(matches!(CheckedScore::check(of_weak_key), Err(ScoreError::Forged { .. })));
    let mut of_himself = good.score;
    of_himself.peer = of_himself.verifier;
    assert!(matches!(CheckedScore::check(signed(&key(1), of_himself)), Err(ScoreError::Impossible(_))));
}

#[test]
fn nobody_shows_anothers_score_or_an_old_one() {
    let good = signed(&key(1), score(&key(1), peer(1), NOW));
    let shown = |by, at| CheckedScore::check_shown(good.clone(), by, at).map(drop);
    assert_eq!(shown(peer(1), NOW), Ok(()));
    assert_eq!(shown(peer(1), NOW + EPOCH_S - 1), Ok(()));
    assert_eq!(shown(peer(1), NOW + EPOCH_S), Err(ScoreError::Expired));
    assert_eq!(shown(peer(1), NOW - 300), Ok(()), "clocks differ");
    assert_eq!(shown(peer(1), NOW - 301), Err(ScoreError::Expired));
    assert_eq!(shown(peer(2), NOW), Err(ScoreError::AnothersScore { of: peer(1), shown_by: peer(2) }));
}

proptest! {
    #[test]
    fn no_changed_byte_goes_unnoticed(place in 0_usize..256, bit in 0_u8..8) {
        let good = signed(&key(1), score(&key(1), peer(1), NOW));
        let mut bytes = manyhands_proto::encode(&good);
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        if let Ok(changed) = manyhands_proto::decode::<SignedScore>(&bytes, 1024) {
            prop_assert!(CheckedScore::check(changed).is_err());
        }
    }
}

fn board() -> Board {
    Board::new(Trust::new(id_of(&key(1)), [id_of(&key(2))].into()))
}

#[test]
fn the_newest_of_each_verifier_is_kept_until_it_expires() {
    let mut board = board();
    assert!(board.add(NOW, checked(&key(1), peer(1), NOW - 60)));
    assert!(!board.add(NOW, checked(&key(1), peer(1), NOW - 60)), "it is known");
    assert!(!board.add(NOW, checked(&key(1), peer(1), NOW - 61)), "and an older one is no news");
    assert!(board.add(NOW, checked(&key(1), peer(1), NOW)));
    assert!(board.add(NOW, checked(&key(2), peer(1), NOW - 60)));
    assert!(!board.add(NOW, checked(&key(3), peer(1), NOW - EPOCH_S)), "it has expired");
    assert!(board.holds(&checked(&key(1), peer(1), NOW)) && !board.holds(&checked(&key(1), peer(1), NOW - 60)));
    assert_eq!((board.len(), board.of(&peer(1)).count(), board.of(&peer(2)).count()), (2, 2, 0));
    board.expire(NOW + EPOCH_S - 60);
    assert_eq!(board.iter().map(|kept| kept.score().verifier).collect::<Vec<_>>(), [id_of(&key(1))]);
    board.suspend(&peer(1), &id_of(&key(2)));
    assert_eq!(board.len(), 1, "that was another's word");
    board.suspend(&peer(1), &id_of(&key(1)));
    assert!(board.is_empty());
}

#[test]
fn whose_word_it_is_is_known_by_the_key_alone() {
    let trust = board().trust().clone();
    let of = |number| trust.source(&id_of(&key(number)));
    assert_eq!((of(1), of(2), of(3)), (Source::Own, Source::Named, Source::Stranger));
}

#[test]
fn strangers_fill_what_is_theirs_and_push_out_nobody_who_is_believed() {
    let trust = board().trust().clone();
    let mut board = Board::within(trust, Bounds { all: 40, per_stranger: 15 });
    let own = checked(&key(1), peer(0), NOW - 600);
    let named = checked(&key(2), peer(0), NOW - 600);
    assert!(board.add(NOW, own.clone()) && board.add(NOW, named.clone()));
    for stranger in 10..14 {
        for number in 0..15 {
            board.add(NOW, checked(&key(stranger), peer(number), NOW - 60 + u64::from(stranger)));
        }
        assert!(!board.add(NOW, checked(&key(stranger), peer(15), NOW)), "its share is used up");
    }
    assert_eq!(board.len(), 40);
    assert!(board.holds(&own) && board.holds(&named));
    assert!(board.add(NOW, checked(&key(2), peer(7), NOW - 600)), "a believed one finds room");
    assert_eq!(board.len(), 40);
}

/// A busy node is scored every few minutes: what counts is when the network heard of it, not when it was scored.
#[test]
fn the_network_hears_of_a_node_once_an_hour_and_of_a_larger_size_at_once() {
    let mut told = Told::default();
    let mut tells = |minute: u64, po2: u8| {
        let mut score = score(&key(1), peer(1), NOW + 60 * minute);
        score.po2 = Po2::try_from(po2).unwrap();
        told.tells(&score)
    };
    let heard: Vec<u64> = (0..=180).step_by(4).filter(|minute| tells(*minute, 16)).collect();
    assert_eq!(heard, [0, 60, 120, 180]);
    assert!(!tells(184, 15) && tells(184, 17) && !tells(188, 16) && !tells(188, 17));
}

#[test]
fn what_a_believed_verifier_has_told_need_not_be_told_again() {
    let mut told = Told::default();
    let said = |verifier: u8, minute: u64| score(&key(verifier), peer(1), NOW + 60 * minute);
    told.believes(&said(2, 0));
    assert!(!told.tells(&said(1, 30)));
    assert!(told.tells(&said(1, 60)));
    told.believes(&said(2, 30));
    assert!(!told.tells(&said(1, 119)) && told.tells(&said(1, 120)), "an older word changes nothing");
}
