//! Which receipts are accepted as the proof of a lifted segment or of two joined neighbours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use manyhands_proto::SegmentRange;
use manyhands_proto::message::Blame;
use manyhands_zkvm::{Rejection, VerifiedRange, verify_join, verify_lift};
use risc0_zkvm::sha::Digestible;
use risc0_zkvm::{MaybePruned, ReceiptClaim, SuccinctReceipt};
use support::{blob, claim, fixture, lifted, segment, tampered};

type Succinct = SuccinctReceipt<ReceiptClaim>;

fn lift(bytes: &[u8], index: u32) -> Result<VerifiedRange, Rejection> {
    verify_lift(bytes, blob(bytes), &segment(index))
}

fn join(bytes: &[u8]) -> Result<VerifiedRange, Rejection> {
    verify_join(bytes, blob(bytes), &lifted(0), &lifted(1))
}

fn rejected(outcome: Result<VerifiedRange, Rejection>) -> Rejection {
    let rejection = outcome.expect_err("the receipt was accepted");
    assert_eq!(rejection.blame(), Blame::Peer, "{rejection}");
    rejection
}

#[test]
fn honest_lifts_and_joins_are_accepted() {
    for index in [0, 1] {
        let range = lifted(index);
        assert_eq!((range.range(), range.claim()), (SegmentRange::single(index), &claim(index)));
    }
    let bytes = fixture("join.receipt");
    let whole = join(&bytes).unwrap();
    assert_eq!(whole.range(), SegmentRange { start: 0, end: 2 });
    assert_eq!(whole.blob(), blob(&bytes));
    assert!(whole.claim().is_success(support::image_id(), &fixture("journal")));
}

#[test]
fn the_receipt_of_another_range_is_refused() {
    let wrong = |got: u32, expected: u32| Rejection::WrongClaim {
        got: claim(got).digest(),
        expected: claim(expected).digest(),
    };
    assert_eq!(rejected(lift(&fixture("lift1.receipt"), 0)), wrong(1, 0));
    assert!(matches!(rejected(lift(&fixture("join.receipt"), 0)), Rejection::WrongClaim { .. }));
    assert!(matches!(rejected(join(&fixture("lift1.receipt"))), Rejection::WrongClaim { .. }));
}

#[test]
fn a_segments_own_proof_is_no_lift() {
    assert!(matches!(rejected(lift(&support::receipt(0), 0)), Rejection::Malformed { .. }));
}

#[test]
fn a_swapped_claim_does_not_hide_another_range() {
    let wanted: Succinct = bincode::deserialize(&fixture("lift0.receipt")).unwrap();
    let swapped = tampered(&fixture("lift1.receipt"), |receipt: &mut Succinct| receipt.claim = wanted.claim.clone());
    assert!(matches!(rejected(lift(&swapped, 0)), Rejection::Integrity { .. }));
}

#[test]
fn ranges_that_are_no_neighbours_are_our_own_mistake() {
    let bytes = fixture("join.receipt");
    for (left, right) in [(lifted(1), lifted(0)), (lifted(0), lifted(0))] {
        let rejection = verify_join(&bytes, blob(&bytes), &left, &right).unwrap_err();
        assert_eq!(rejection.blame(), Blame::Us, "{rejection}");
    }
}

#[test]
fn every_field_is_looked_at() {
    type Change = fn(&mut Succinct);
    let version = |what| Rejection::WrongVersion { what };
    let form = |part| Rejection::WrongForm { part };
    let cases: [(Change, Rejection); 6] = [
        (|r| r.hashfn = "blake2b".into(), version("hash function")),
        (|r| r.verifier_parameters = risc0_zkvm::Digest::ZERO, version("set of verifier parameters")),
        (|r| r.claim = MaybePruned::Pruned(r.claim.digest()), form("claim")),
        (|r| hide_state(&mut r.claim), form("claim")),
        // Not looked at upstream: verifies, and would be a second form of the same receipt.
        (|r| r.control_inclusion_proof.index |= 1 << 20, form("inclusion proof")),
        (|r| r.control_inclusion_proof.digests.clear(), form("inclusion proof")),
    ];
    for (change, expected) in cases {
        assert_eq!(rejected(lift(&tampered(&fixture("lift1.receipt"), change), 1)), expected);
    }
    let broken: [Change; 5] = [
        |r| r.control_id = risc0_zkvm::Digest::ZERO,
        |r| r.control_inclusion_proof.index ^= 1,
        |r| r.control_inclusion_proof.digests[3] = risc0_zkvm::Digest::ZERO,
        |r| r.seal.clear(),
        |r| r.seal.push(0),
    ];
    for change in broken {
        let rejection = rejected(lift(&tampered(&fixture("lift1.receipt"), change), 1));
        assert!(matches!(rejection, Rejection::Integrity { .. }), "{rejection}");
    }
}

fn hide_state(claim: &mut MaybePruned<ReceiptClaim>) {
    let open = claim.as_value_mut().unwrap();
    open.post = MaybePruned::Pruned(open.post.digest());
}

#[test]
fn a_changed_word_anywhere_in_the_seal_is_refused() {
    let honest: Succinct = bincode::deserialize(&fixture("join.receipt")).unwrap();
    let words = honest.seal.len();
    for position in (0..40).step_by(5).chain((40..words).step_by(words / 24)).chain([words - 1]) {
        let bytes = tampered(&fixture("join.receipt"), |receipt: &mut Succinct| receipt.seal[position] ^= 1);
        rejected(join(&bytes));
        let bytes = tampered(&fixture("join.receipt"), |receipt: &mut Succinct| receipt.seal[position] = u32::MAX);
        rejected(join(&bytes));
    }
}

#[test]
fn bytes_that_are_cut_or_followed_by_others_are_refused() {
    let bytes = fixture("lift1.receipt");
    for length in [0, 3, 8, 500, bytes.len() - 1] {
        assert!(matches!(rejected(lift(&bytes[..length], 1)), Rejection::Malformed { .. }));
    }
    assert!(matches!(rejected(lift(&[bytes.as_slice(), &[0]].concat(), 1)), Rejection::Malformed { .. }));
}
