//! Whole receipts: made of checked parts, taken by stock RISC Zero code, refused when anything in them is not so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::io;

use manyhands_proto::Digest;
use manyhands_zkvm::{AssembleError, ReceiptError, ReceiptKind, composite_receipt, succinct_receipt, verify_receipt};
use proptest::prelude::*;
use risc0_zkvm::{FakeReceipt, InnerReceipt, Receipt, ReceiptClaim, SegmentReceipt};
use support::{fixture, image_id, receipt, tampered};

fn composite() -> Vec<u8> {
    composite_receipt([0, 1].map(|index| Ok(receipt(index))), &[], &fixture("journal"), image_id()).unwrap()
}

fn succinct() -> Vec<u8> {
    succinct_receipt(&fixture("join.receipt"), &fixture("journal"), image_id()).unwrap()
}

#[test]
fn stock_code_reads_and_verifies_what_is_assembled() {
    for bytes in [composite(), succinct()] {
        let receipt: Receipt = bincode::deserialize(&bytes).unwrap();
        assert_eq!(bincode::serialize(&receipt).unwrap(), bytes);
        receipt.verify(image_id().0).unwrap();
        assert_eq!(receipt.journal.bytes, fixture("journal"));
    }
}

#[test]
fn a_summary_says_what_was_checked() {
    let summary = verify_receipt(&composite(), image_id()).unwrap();
    assert_eq!((summary.kind, summary.segments, summary.journal), (ReceiptKind::Composite, 2, fixture("journal")));
    let summary_of_one = verify_receipt(&succinct(), image_id()).unwrap();
    assert_eq!((summary_of_one.kind, summary_of_one.segments), (ReceiptKind::Succinct, 1));
    assert_eq!(summary.claim, summary_of_one.claim);
    assert!(summary_of_one.seal_bytes < summary.seal_bytes);
}

#[test]
fn another_image_id_or_journal_is_refused() {
    let other = Digest([9; 32]);
    for bytes in [composite(), succinct()] {
        assert_eq!(verify_receipt(&bytes, other), Err(ReceiptError::WrongImage { got: image_id(), expected: other }));
        let lie = tampered(&bytes, |receipt: &mut Receipt| receipt.journal.bytes[0] ^= 1);
        assert!(matches!(verify_receipt(&lie, image_id()), Err(ReceiptError::NotValid { .. })));
    }
}

#[test]
fn parts_that_do_not_fit_make_no_receipt() {
    let assemble = |parts: Vec<io::Result<Vec<u8>>>, journal: &[u8]| composite_receipt(parts, &[], journal, image_id());
    let journal = fixture("journal");
    let ok = |index| Ok(receipt(index));
    for parts in [vec![], vec![ok(0)], vec![ok(1)], vec![ok(1), ok(0)], vec![ok(0), ok(0), ok(1)]] {
        assert!(matches!(assemble(parts, &journal), Err(AssembleError::Whole(_))));
    }
    assert!(matches!(assemble(vec![ok(0), ok(1)], b"no"), Err(AssembleError::Whole(_))));
    let unreadable = Err(io::Error::other("a disk that broke"));
    assert!(matches!(assemble(vec![ok(0), unreadable], &journal), Err(AssembleError::Read { index: 1, .. })));
    assert!(matches!(assemble(vec![ok(0), Ok(vec![1, 2])], &journal), Err(AssembleError::Part { index: 1, .. })));
    assert!(matches!(succinct_receipt(&fixture("lift1.receipt"), &journal, image_id()), Err(AssembleError::Whole(_))));
    assert!(matches!(succinct_receipt(b"", &journal, image_id()), Err(AssembleError::Part { .. })));
}

#[test]
fn fake_receipts_are_refused_whatever_they_claim() {
    let journal = fixture("journal");
    let claim = ReceiptClaim::ok(risc0_zkvm::Digest::from(image_id().0), journal.clone());
    let fake = Receipt::new(InnerReceipt::Fake(FakeReceipt::new(claim)), journal);
    assert_eq!(verify_receipt(&bincode::serialize(&fake).unwrap(), image_id()), Err(ReceiptError::Fake));
}

#[test]
fn receipts_nested_in_assumptions_do_not_overflow_the_stack() {
    // A composite receipt without segments and with one assumption, which is another such receipt, a million times.
    let level = [0_u32.to_le_bytes().as_slice(), &0_u64.to_le_bytes(), &1_u64.to_le_bytes()].concat();
    let nested = level.repeat(1_000_000);
    assert!(matches!(verify_receipt(&nested, image_id()), Err(ReceiptError::Malformed { .. })));
}

#[test]
fn an_empty_seal_is_an_error_not_a_panic() {
    let emptied = tampered(&composite(), |receipt: &mut Receipt| {
        let InnerReceipt::Composite(inner) = &mut receipt.inner else { panic!("not composite") };
        inner.segments.iter_mut().for_each(|segment: &mut SegmentReceipt| segment.seal.clear());
    });
    assert!(matches!(verify_receipt(&emptied, image_id()), Err(ReceiptError::Malformed { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_are_refused(tag in 0_u32..5, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verify_receipt(&bytes, image_id()).is_err());
        let tagged = [tag.to_le_bytes().as_slice(), &bytes].concat();
        prop_assert!(verify_receipt(&tagged, image_id()).is_err());
    }

    #[test]
    fn a_changed_byte_is_refused(position: usize, flip in 1_u8..) {
        let mut bytes = fixture("join.receipt");
        bytes = succinct_receipt(&bytes, &fixture("journal"), image_id()).unwrap();
        let at = position % bytes.len();
        bytes[at] ^= flip;
        // The inclusion proof's index has bits that RISC Zero does not look at; whole receipts are judged by its own rules.
        let unread = verify_receipt(&bytes, image_id()).is_ok();
        if unread {
            let receipt: Receipt = bincode::deserialize(&bytes).unwrap();
            prop_assert!(receipt.inner.succinct().unwrap().control_inclusion_proof.index > 255);
        }
    }
}
