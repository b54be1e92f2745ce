//! Receipts that a guest relies on: which are accepted, and what they do to a claim.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use manyhands_proto::limits::ASSUMPTIONS_MAX;
use manyhands_proto::message::Blame;
use manyhands_zkvm::{
    AssumptionReceipt, Claim, ClaimError, ReceiptError, Rejection, composite_receipt, succinct_receipt, verify_receipt,
    verify_resolve,
};
use risc0_zkvm::sha::Digestible;
use risc0_zkvm::{
    Assumption, Assumptions, FakeReceipt, InnerAssumptionReceipt, InnerReceipt, MaybePruned, Receipt, ReceiptClaim,
};
use support::{blob, claim, fixture, image_id, lifted, receipt, tampered};

fn succinct() -> Vec<u8> {
    succinct_receipt(&fixture("join.receipt"), &fixture("journal"), image_id()).unwrap()
}

/// What RISC Zero's Bonsai client uploads for it.
fn as_the_client_sends(receipt: &[u8]) -> Vec<u8> {
    let receipt: Receipt = bincode::deserialize(receipt).unwrap();
    bincode::serialize(&InnerAssumptionReceipt::from(receipt.inner)).unwrap()
}

#[test]
fn a_receipt_serves_in_either_form_and_both_are_the_same() {
    let whole = AssumptionReceipt::read(&succinct()).unwrap();
    assert_eq!(whole.claim(), verify_receipt(&succinct(), image_id()).unwrap().claim);
    assert_eq!(AssumptionReceipt::read(&as_the_client_sends(&succinct())).unwrap(), whole);
    assert_eq!(AssumptionReceipt::decode(whole.encoded()).unwrap(), whole);
}

#[test]
fn what_proves_nothing_or_cannot_be_resolved_with_is_refused() {
    let composite =
        composite_receipt([0, 1].map(|index| Ok(receipt(index))), &[], &fixture("journal"), image_id()).unwrap();
    for bytes in [as_the_client_sends(&composite), composite] {
        let error = AssumptionReceipt::read(&bytes).unwrap_err();
        assert!(
            matches!(&error, ReceiptError::Unfit { why } if why.contains("succinct receipt") && why.contains("`manyhands prove --succinct`")),
            "{error}"
        );
    }
    let fake = FakeReceipt::new(ReceiptClaim::ok(risc0_zkvm::Digest::from(image_id().0), vec![1]));
    let fake = bincode::serialize(&Receipt::new(InnerReceipt::Fake(fake), vec![1])).unwrap();
    assert_eq!(AssumptionReceipt::read(&fake), Err(ReceiptError::Fake));

    let sound = succinct();
    for bytes in [&[][..], b"nonsense", &sound[..sound.len() / 2], &[&sound[..], &[0]].concat()] {
        assert!(matches!(AssumptionReceipt::read(bytes), Err(ReceiptError::Malformed { .. })));
    }
    let mut flipped = sound.clone();
    flipped[100_000] ^= 1;
    assert!(matches!(AssumptionReceipt::read(&flipped), Err(ReceiptError::NotValid { .. })));
    let other = risc0_zkvm::Digest::from([7; 32]);
    let lies = tampered::<Receipt>(&sound, |receipt| {
        let InnerReceipt::Succinct(inner) = &mut receipt.inner else { panic!("it is succinct") };
        inner.claim = MaybePruned::Pruned(other);
    });
    assert!(matches!(AssumptionReceipt::read(&lies), Err(ReceiptError::NotValid { .. })), "of another claim");
}

/// The last segment's claim, relying on what `list` says.
fn relying_on(list: MaybePruned<Assumptions>) -> Result<Claim, ClaimError> {
    let encoded = tampered::<ReceiptClaim>(&claim(1).encode(), |claim| {
        claim.output.as_value_mut().unwrap().as_mut().unwrap().assumptions = list;
    });
    Claim::decode(&encoded)
}

fn assumption(number: u8) -> MaybePruned<Assumption> {
    MaybePruned::Value(Assumption { claim: [number; 32].into(), control_root: risc0_zkvm::Digest::ZERO })
}

#[test]
fn a_claim_lists_what_it_relies_on_and_each_resolution_takes_the_first() {
    let mut claim = relying_on(Assumptions([1, 2, 1].map(assumption).to_vec()).into()).unwrap();
    for left in [&[1_u8, 2, 1][..], &[2, 1], &[1], &[]] {
        assert_eq!(claim.assumptions().iter().map(|one| one.claim.0[0]).collect::<Vec<_>>(), left);
        assert_eq!(claim == support::claim(1), left.is_empty(), "what is resolved is as if nothing had been assumed");
        assert_eq!(Claim::decode(&claim.encode()).unwrap(), claim);
        let next = claim.resolved();
        match next {
            Ok(next) => claim = next,
            Err(error) => assert_eq!((error, left.is_empty()), (ClaimError::NoAssumption, true)),
        }
    }
    let whole = support::claim(0).join(&relying_on(Assumptions(vec![assumption(3)]).into()).unwrap()).unwrap();
    assert_eq!(whole.assumptions().len(), 1, "a join keeps them");
    assert!(!whole.is_success(image_id(), &fixture("journal")), "what relies on something is no success yet");
    assert!(whole.resolved().unwrap().is_success(image_id(), &fixture("journal")));
}

#[test]
fn a_claim_writes_every_assumption_out_and_has_a_bounded_number() {
    let list = Assumptions(vec![assumption(1)]);
    assert!(matches!(relying_on(MaybePruned::Pruned(list.digest())), Err(ClaimError::Form { .. })));
    let hidden = MaybePruned::Pruned(Assumption { claim: [1; 32].into(), control_root: [0; 32].into() }.digest());
    assert!(matches!(relying_on(Assumptions(vec![hidden]).into()), Err(ClaimError::Form { .. })));
    assert!(relying_on(Assumptions(vec![assumption(1); ASSUMPTIONS_MAX]).into()).is_ok());
    let many = relying_on(Assumptions(vec![assumption(1); ASSUMPTIONS_MAX + 1]).into());
    assert!(matches!(many, Err(ClaimError::TooManyAssumptions { .. } | ClaimError::Malformed { .. })), "{many:?}");
}

#[test]
fn nothing_is_resolved_where_nothing_is_assumed() {
    let bytes = fixture("lift1.receipt");
    let rejection = verify_resolve(&bytes, blob(&bytes), &lifted(1)).unwrap_err();
    assert_eq!((rejection.blame(), rejection), (Blame::Us, Rejection::NotAskedFor(ClaimError::NoAssumption)));
}
