//! Which receipts are accepted as the proof of a segment: the honest one, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use manyhands_proto::message::Blame;
use manyhands_proto::score::Work;
use manyhands_proto::{Binding, BlobRef, NodeId, Nonce, Po2, Score, Seed};
use manyhands_zkvm::{Claim, ClaimError, Expected, Rejection, verify_scored, verify_segment};
use proptest::prelude::*;
use risc0_zkvm::sha::Digestible;
use risc0_zkvm::{ExitCode, MaybePruned, SegmentReceipt};
use support::{blob, check, claim, fixture, nonce, po2, receipt, tampered};

fn rejected(bytes: &[u8], index: u32) -> Rejection {
    let rejection = check(bytes, index).expect_err("the receipt was accepted");
    assert_eq!(rejection.blame(), Blame::Peer, "{rejection}");
    rejection
}

#[test]
fn honest_receipts_are_accepted() {
    for index in [0, 1] {
        let bytes = receipt(index);
        let verified = check(&bytes, index).unwrap();
        assert_eq!((verified.index(), verified.po2()), (index, po2(index)));
        assert_eq!(verified.claim(), &claim(index));
        assert_eq!(verified.blob(), blob(&bytes));
    }
}

#[test]
fn anothers_proof_of_the_same_segment_is_a_copy_to_us_and_honest_to_its_maker() {
    let copied = fixture("segment1.other_node.receipt");
    assert_eq!(rejected(&copied, 1), Rejection::WrongNonce);
    let theirs = Nonce::bound(NodeId([2; 32]), 1, Binding { seed: Seed([7; 16]), epoch: 2 });
    let claim = claim(1);
    verify_segment(&copied, blob(&copied), &Expected { claim: &claim, index: 1, po2: po2(1), nonce: Some(theirs) })
        .unwrap();
}

#[test]
fn a_nonce_written_over_a_finished_seal_breaks_the_proof() {
    let honest: SegmentReceipt = bincode::deserialize(&receipt(1)).unwrap();
    let copied = tampered(&fixture("segment1.other_node.receipt"), |copy: &mut SegmentReceipt| {
        // The nonce is somewhere in the public values, which are words 1 to 90; none else differ between two proofs of one segment
        // but the circuit's own randomness.
        copy.seal[1..91].copy_from_slice(&honest.seal[1..91]);
    });
    assert!(matches!(rejected(&copied, 1), Rejection::Integrity { .. }));
}

#[test]
fn another_segments_proof_is_refused_whatever_it_calls_itself() {
    assert_eq!(rejected(&receipt(0), 1), Rejection::WrongIndex { got: 0, expected: 1 });
    let relabelled = tampered(&receipt(0), |receipt: &mut SegmentReceipt| receipt.index = 1);
    assert_eq!(rejected(&relabelled, 1), Rejection::WrongPo2 { got: 16, expected: po2(1) });
    // Even where size and nonce would fit, the claim does not.
    let claim1 = claim(1);
    let expected = Expected { claim: &claim1, index: 1, po2: po2(0), nonce: Some(nonce(0)) };
    let rejection = verify_segment(&relabelled, blob(&relabelled), &expected).unwrap_err();
    assert_eq!(rejection, Rejection::WrongClaim { got: claim(0).digest(), expected: claim1.digest() });
}

#[test]
fn a_swapped_claim_does_not_hide_another_segments_proof() {
    let honest: SegmentReceipt = bincode::deserialize(&receipt(1)).unwrap();
    let swapped = tampered(&receipt(0), |receipt: &mut SegmentReceipt| {
        receipt.index = 1;
        receipt.claim = honest.claim.clone();
    });
    let claim = claim(1);
    let expected = Expected { claim: &claim, index: 1, po2: po2(0), nonce: Some(nonce(0)) };
    let rejection = verify_segment(&swapped, blob(&swapped), &expected).unwrap_err();
    assert!(matches!(rejection, Rejection::Integrity { .. }), "{rejection}");
}

#[test]
fn a_size_that_was_not_asked_for_is_refused() {
    let claim = claim(1);
    let bytes = receipt(1);
    let expected = Expected { claim: &claim, index: 1, po2: Po2::try_from(15).unwrap(), nonce: Some(nonce(1)) };
    let rejection = verify_segment(&bytes, blob(&bytes), &expected).unwrap_err();
    assert_eq!(rejection, Rejection::WrongPo2 { got: 14, expected: Po2::try_from(15).unwrap() });
    // A lie about it is a lie to the proof.
    let lie = tampered(&bytes, |receipt: &mut SegmentReceipt| receipt.seal[91] = 15);
    let rejection = verify_segment(&lie, blob(&lie), &expected).unwrap_err();
    assert!(matches!(rejection, Rejection::Integrity { .. }), "{rejection}");
}

#[test]
fn every_field_is_looked_at() {
    type Change = fn(&mut SegmentReceipt);
    let wrong = |what| Rejection::WrongVersion { what };
    let cases: [(Change, Rejection); 6] = [
        (|r| r.index = 7, Rejection::WrongIndex { got: 7, expected: 1 }),
        (|r| r.hashfn = "sha-256".into(), wrong("hash function")),
        (|r| r.verifier_parameters = risc0_zkvm::Digest::ZERO, wrong("set of verifier parameters")),
        (|r| r.seal[0] = 1, wrong("seal")),
        (|r| r.seal.clear(), wrong("seal")),
        (|r| r.seal[5] = u32::MAX, wrong("seal")),
    ];
    for (change, expected) in cases {
        assert_eq!(rejected(&tampered(&receipt(1), change), 1), expected);
    }
}

#[test]
fn a_claim_must_be_written_out_as_the_prover_writes_it() {
    type Change = fn(&mut SegmentReceipt);
    // The same claim to its digest: all of these verify alone, and break what they are joined into.
    let hidden: [Change; 3] = [
        |r| r.claim.pre = MaybePruned::Pruned(r.claim.pre.digest()),
        |r| r.claim.post = MaybePruned::Pruned(r.claim.post.digest()),
        |r| r.claim.output = MaybePruned::Pruned(r.claim.output.digest()),
    ];
    for change in hidden {
        assert_eq!(rejected(&tampered(&receipt(1), change), 1), Rejection::WrongForm { part: "claim" });
    }
    let other: [Change; 3] = [
        |r| r.claim.exit_code = ExitCode::Halted(1),
        |r| r.claim.input = MaybePruned::Pruned(risc0_zkvm::Digest::new([1; 8])),
        |r| r.claim.output = MaybePruned::Value(None),
    ];
    for change in other {
        assert!(matches!(rejected(&tampered(&receipt(1), change), 1), Rejection::WrongClaim { .. }));
    }
}

#[test]
fn a_changed_word_anywhere_in_the_seal_is_refused() {
    let honest: SegmentReceipt = bincode::deserialize(&receipt(1)).unwrap();
    let words = honest.seal.len();
    // All public values are covered by the first steps, the rest by a sample; each check of a whole proof takes a while.
    let sample = (0..92).step_by(13).chain((92..words).step_by(words / 24)).chain([words - 1]);
    for position in sample {
        let bytes = tampered(&receipt(1), |receipt: &mut SegmentReceipt| receipt.seal[position] ^= 1);
        rejected(&bytes, 1);
    }
}

#[test]
fn a_seal_that_is_cut_or_followed_by_more_is_refused() {
    let cut = tampered(&receipt(1), |receipt: &mut SegmentReceipt| {
        let _ = receipt.seal.pop();
    });
    assert!(matches!(rejected(&cut, 1), Rejection::Integrity { .. }));
    let longer = tampered(&receipt(1), |receipt: &mut SegmentReceipt| receipt.seal.push(0));
    assert!(matches!(rejected(&longer, 1), Rejection::Integrity { .. }));
    let short = tampered(&receipt(1), |receipt: &mut SegmentReceipt| receipt.seal.truncate(91));
    assert_eq!(rejected(&short, 1), Rejection::WrongVersion { what: "seal" });
}

#[test]
fn bytes_that_are_cut_or_followed_by_others_are_refused() {
    let bytes = receipt(1);
    for length in [0, 1, 7, 8, 9, 1_000, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(rejected(&bytes[..length], 1), Rejection::Malformed { .. }), "{length}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(rejected(&longer, 1), Rejection::Malformed { .. }));
    let huge = vec![0; (manyhands_proto::limits::RECEIPT_BYTES_MAX + 1) as usize];
    assert!(matches!(rejected(&huge, 1), Rejection::TooLarge { .. }));
}

#[test]
fn bytes_of_another_size_than_their_blob_are_our_own_mistake() {
    let claim = claim(1);
    let bytes = receipt(1);
    let other = BlobRef { size_bytes: 3, ..blob(&bytes) };
    let expected = Expected { claim: &claim, index: 1, po2: po2(1), nonce: Some(nonce(1)) };
    let rejection = verify_segment(&bytes, other, &expected).unwrap_err();
    assert_eq!((rejection.blame(), rejection), (Blame::Us, Rejection::WrongBlob { blob: other }));
}

#[test]
fn claims_chain_from_the_image_to_the_journal() {
    let (first, last) = (claim(0), claim(1));
    assert_eq!(first.pre(), support::image_id());
    assert!(first.continues() && !last.continues());
    assert_eq!(first.post(), last.pre());
    let whole = first.join(&last).unwrap();
    assert!(whole.is_success(support::image_id(), &fixture("journal")));
    assert!(!whole.is_success(support::image_id(), b"another journal"));
    assert!(!first.is_success(support::image_id(), &fixture("journal")));
    assert!(matches!(last.join(&first), Err(ClaimError::NotNeighbours { .. })));
    assert!(matches!(first.join(&first), Err(ClaimError::NotNeighbours { .. })));
}

#[test]
fn claims_have_one_form() {
    for name in ["segment0.claim", "segment1.claim"] {
        let bytes = fixture(name);
        assert_eq!(Claim::decode(&bytes).unwrap().encode(), bytes);
        for length in 0..bytes.len() {
            assert!(Claim::decode(&bytes[..length]).is_err());
        }
        assert!(Claim::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn decoders_survive_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Claim::decode(&bytes);
        prop_assert!(check(&bytes, 1).is_err());
    }

    #[test]
    fn decoders_survive_changed_receipts(position in 0_usize..1_000_000, value: u8, length in 1_usize..1_000_000) {
        let mut bytes = receipt(1);
        // Everything around the seal's body, where lengths, texts and tags are.
        let (front, back) = (8 + 4 * 95, 400);
        let choice = position % (front + back);
        let at = if choice < front { choice } else { bytes.len() - 1 - (choice - front) };
        let changed = bytes[at] != value;
        bytes[at] = value;
        if length % 3 == 0 {
            bytes.truncate(length % (bytes.len() + 1));
        }
        if changed || length % 3 == 0 {
            prop_assert!(check(&bytes, 1).is_err());
        }
    }

    #[test]
    fn claims_survive_changed_bytes(position in 0_usize..1_000, value: u8) {
        let mut bytes = fixture("segment1.claim");
        let at = position % bytes.len();
        bytes[at] = value;
        if let Ok(claim) = Claim::decode(&bytes) {
            prop_assert_eq!(claim.encode(), bytes);
        }
    }
}

/// What a verifier said of segment 0's proof.
fn score() -> Score {
    let receipt = receipt(0);
    Score {
        peer: NodeId([1; 32]),
        verifier: NodeId([9; 32]),
        po2: po2(0),
        elapsed_ms: 28_000,
        receipt: blob(&receipt),
        work: Work::Job,
        index: 0,
        binding: Binding { seed: Seed([7; 16]), epoch: 1 },
        issued_s: 8_000,
        expires_s: 15_200,
    }
}

#[test]
fn a_score_is_of_a_proof_of_its_peer_size_and_binding() {
    let (bytes, claim) = (receipt(0), claim(0));
    assert_eq!(verify_scored(&bytes, &score(), None), Ok(()));
    assert_eq!(verify_scored(&bytes, &score(), Some(&claim)), Ok(()));
    let other = support::claim(1);
    assert!(matches!(verify_scored(&bytes, &score(), Some(&other)), Err(Rejection::WrongClaim { .. })));
    let with = |change: &dyn Fn(&mut Score)| {
        let mut score = score();
        change(&mut score);
        verify_scored(&bytes, &score, None)
    };
    assert_eq!(with(&|score| score.peer = NodeId([2; 32])), Err(Rejection::WrongNonce));
    assert_eq!(with(&|score| score.binding.seed = Seed([8; 16])), Err(Rejection::WrongNonce));
    assert_eq!(with(&|score| score.binding.epoch = 2), Err(Rejection::WrongNonce));
    assert!(matches!(with(&|score| score.index = 1), Err(Rejection::WrongIndex { .. })));
    assert!(matches!(with(&|score| score.po2 = Po2::MIN), Err(Rejection::WrongPo2 { .. })));
    assert!(matches!(with(&|score| score.receipt.size_bytes -= 1), Err(Rejection::WrongBlob { .. })));
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2 / 4 * 4;
    flipped[middle] ^= 1;
    assert!(verify_scored(&flipped, &score(), None).is_err_and(|error| error.blame() == Blame::Peer));
}
