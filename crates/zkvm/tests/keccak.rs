//! Which receipts are accepted as the proof of a keccak request, or of a union; and what a guest that made requests relies on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use manyhands_proto::message::Blame;
use manyhands_proto::{Digest, Po2};
use manyhands_zkvm::{
    AssumptionReceipt, Claim, Expected, Rejection, Reliance, VerifiedKeccak, VerifiedSegment, composite_receipt,
    keccak_root, verify_keccak, verify_receipt, verify_segment, verify_union,
};
use risc0_zkvm::{MaybePruned, Receipt, SuccinctReceipt, Unknown};
use support::{blob, fixture, tampered};

type Succinct = SuccinctReceipt<Unknown>;

const PO2: u8 = 15;

fn claim(index: u32) -> Digest {
    Digest(fixture(&format!("keccak{index}.claim")).try_into().unwrap())
}

fn keccak_of(bytes: &[u8], index: u32, po2: u8) -> Result<VerifiedKeccak, Rejection> {
    verify_keccak(bytes, blob(bytes), claim(index), Po2::try_from(po2).unwrap())
}

fn keccak(bytes: &[u8], index: u32) -> Result<VerifiedKeccak, Rejection> {
    keccak_of(bytes, index, PO2)
}

fn proof(index: u32) -> VerifiedKeccak {
    keccak(&fixture(&format!("keccak{index}.receipt")), index).unwrap()
}

fn union(bytes: &[u8]) -> Result<VerifiedKeccak, Rejection> {
    verify_union(bytes, blob(bytes), &proof(0), &proof(1))
}

fn rejected(outcome: Result<VerifiedKeccak, Rejection>) -> Rejection {
    let rejection = outcome.expect_err("the receipt was accepted");
    assert_eq!(rejection.blame(), Blame::Peer, "{rejection}");
    rejection
}

#[test]
fn honest_proofs_and_unions_are_accepted_and_prove_what_the_guest_relies_on() {
    let claims = [claim(0), claim(1)];
    for (index, claim) in (0..).zip(claims) {
        assert_eq!(proof(index).proves(), keccak_root([claim]).unwrap());
    }
    let bytes = fixture("union.receipt");
    let root = union(&bytes).unwrap();
    assert_eq!((root.proves(), root.blob()), (keccak_root(claims).unwrap(), blob(&bytes)));
    let guest = Claim::decode(&fixture("keccak.claim")).unwrap();
    assert_eq!(guest.assumptions(), [root.proves()]);
    // The claims of a union are in the order of their digests, so the other way round it is the same.
    assert_eq!(verify_union(&bytes, blob(&bytes), &proof(1), &proof(0)).unwrap(), root);
}

#[test]
fn the_receipt_of_something_else_is_refused() {
    assert!(matches!(rejected(keccak(&fixture("keccak1.receipt"), 0)), Rejection::WrongClaim { .. }));
    assert!(matches!(rejected(keccak(&fixture("union.receipt"), 0)), Rejection::WrongVersion { .. }));
    assert!(matches!(rejected(union(&fixture("keccak0.receipt"))), Rejection::WrongVersion { .. }));
    let twice = fixture("union.receipt");
    let twice = verify_union(&twice, blob(&twice), &proof(0), &proof(0));
    assert!(matches!(rejected(twice), Rejection::WrongClaim { .. }));
    // A join's receipt proves a claim of another form, written out.
    assert!(matches!(rejected(union(&fixture("join.receipt"))), Rejection::Malformed { .. }));
    assert!(matches!(rejected(keccak_of(&fixture("keccak0.receipt"), 0, 14)), Rejection::WrongVersion { .. }));
    assert!(matches!(rejected(keccak_of(&fixture("keccak0.receipt"), 0, 24)), Rejection::WrongVersion { .. }));
    let swapped = |receipt: &mut Succinct| receipt.claim = MaybePruned::Pruned(claim(0).0.into());
    let swapped = tampered(&fixture("keccak1.receipt"), swapped);
    assert!(matches!(rejected(keccak(&swapped, 0)), Rejection::Integrity { .. }));
}

#[test]
fn every_field_is_looked_at() {
    type Change = fn(&mut Succinct);
    let version = |what| Rejection::WrongVersion { what };
    let form = |part| Rejection::WrongForm { part };
    let cases: [(Change, Rejection); 4] = [
        (|r| r.hashfn = "blake2b".into(), version("hash function")),
        (|r| r.verifier_parameters = risc0_zkvm::Digest::ZERO, version("set of verifier parameters")),
        (|r| r.control_inclusion_proof.index |= 1 << 20, form("inclusion proof")),
        (|r| r.control_inclusion_proof.digests.clear(), form("inclusion proof")),
    ];
    for (change, expected) in cases {
        assert_eq!(rejected(keccak(&tampered(&fixture("keccak0.receipt"), change), 0)), expected);
        assert_eq!(rejected(union(&tampered(&fixture("union.receipt"), change))), expected);
    }
    let other_program: Change = |r| r.control_id = risc0_zkvm::Digest::ZERO;
    let bytes = tampered(&fixture("keccak0.receipt"), other_program);
    assert_eq!(rejected(keccak(&bytes, 0)), version("keccak program"));
    let bytes = tampered(&fixture("union.receipt"), other_program);
    assert!(matches!(rejected(union(&bytes)), Rejection::Integrity { .. }));
    let broken: [Change; 5] = [
        |r| r.seal[0] ^= 1,
        |r| r.control_inclusion_proof.index ^= 1,
        |r| r.control_inclusion_proof.digests[3] = risc0_zkvm::Digest::ZERO,
        |r| r.seal.clear(),
        |r| r.seal.push(0),
    ];
    for change in broken {
        let bytes = tampered(&fixture("keccak0.receipt"), change);
        assert!(matches!(rejected(keccak(&bytes, 0)), Rejection::Integrity { .. }));
        assert!(matches!(rejected(union(&tampered(&fixture("union.receipt"), change))), Rejection::Integrity { .. }));
    }
}

#[test]
fn a_changed_word_anywhere_in_the_seal_is_refused() {
    let honest: Succinct = bincode::deserialize(&fixture("keccak0.receipt")).unwrap();
    let words = honest.seal.len();
    for position in (0..40).step_by(5).chain((40..words).step_by(words / 16)).chain([words - 1]) {
        rejected(keccak(&tampered(&fixture("keccak0.receipt"), |r: &mut Succinct| r.seal[position] ^= 1), 0));
        rejected(union(&tampered(&fixture("union.receipt"), |r: &mut Succinct| r.seal[position] ^= 1)));
    }
}

/// The guest's only segment, proved, and its image id.
fn hashed() -> (VerifiedSegment, Digest) {
    let claim = Claim::decode(&fixture("hashed.claim")).unwrap();
    let bytes = fixture("hashed.receipt");
    let expected =
        Expected { claim: &claim, index: 0, po2: Po2::try_from(15).unwrap(), nonce: Some(support::nonce(0)) };
    (verify_segment(&bytes, blob(&bytes), &expected).unwrap(), claim.pre())
}

#[test]
fn a_composite_receipt_takes_the_proof_of_the_guests_requests_along() {
    let (_, image_id) = hashed();
    let assemble = |assumptions: &[AssumptionReceipt]| {
        composite_receipt([Ok(fixture("hashed.receipt"))], assumptions, &fixture("hashed.journal"), image_id)
    };
    let read = |name| AssumptionReceipt::decode(&fixture(name)).unwrap();
    let receipt = assemble(&[read("keccak1.receipt")]).unwrap();
    // By stock code, which knows nothing of us.
    let stock: Receipt = bincode::deserialize(&receipt).unwrap();
    stock.verify(image_id.0).unwrap();
    assert_eq!(stock.journal.bytes, fixture("hashed.journal"));
    assert_eq!(verify_receipt(&receipt, image_id).unwrap().journal, fixture("hashed.journal"));
    for wrong in [
        &[][..],
        &[read("keccak0.receipt")],
        &[read("union.receipt")],
        &[read("keccak1.receipt"), read("keccak1.receipt")],
    ] {
        assert!(assemble(wrong).is_err(), "{} receipts", wrong.len());
    }
}

#[test]
fn provers_take_it_as_what_proves_an_assumption_and_users_cannot_give_it() {
    for (name, root) in
        [("keccak0.receipt", keccak_root([claim(0)])), ("union.receipt", keccak_root([claim(0), claim(1)]))]
    {
        let read = AssumptionReceipt::decode(&fixture(name)).unwrap();
        assert_eq!(Some(read.proves()), root, "{name}");
        assert!(AssumptionReceipt::read(&fixture(name)).is_err(), "{name} is in the form of the network only");
    }
    let root = AssumptionReceipt::decode(&fixture("keccak0.receipt")).unwrap().proves();
    assert!(root.is_met_by(root));
    assert!(
        !Reliance { control_root: Digest([0; 32]), ..root }.is_met_by(root),
        "env::verify asks for the usual programs"
    );
}
