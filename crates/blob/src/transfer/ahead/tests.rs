//! Chunks in any order, and among them some that are made up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::convert::Infallible;

use super::*;
use crate::Splitter;
use manyhands_proto::BlobRef;
use proptest::prelude::*;

/// A blob of that size and its chunks in pre-order.
fn blob(size: u32) -> (BlobRef, Vec<Chunk>) {
    let bytes: Vec<u8> = (0..size).flat_map(|number| (number / 4).to_le_bytes()).take(size as usize).collect();
    let mut chunks = BTreeMap::new();
    let mut keep = |chunk: Chunk| {
        chunks.insert(chunk.reference(), chunk);
        Ok::<_, Infallible>(())
    };
    let mut splitter = Splitter::new();
    splitter.update(&bytes, &mut keep).unwrap();
    let blob = splitter.finish(&mut keep).unwrap();
    let (mut walk, mut ordered) = (Walk::new(blob), Vec::new());
    while let Some(expected) = walk.expected() {
        let chunk = chunks[&expected.reference].clone();
        walk.accept(&chunk).unwrap();
        ordered.push(chunk);
    }
    (blob, ordered)
}

/// The same length and span, another content.
fn forged(chunk: &Chunk) -> Vec<u8> {
    let mut wire = chunk.wire().to_vec();
    *wire.last_mut().unwrap() ^= 1;
    wire
}

fn pop_all(ahead: &mut Ahead, walk: &mut Walk) {
    while let Some(chunk) = ahead.pop(walk.passed_chunks()) {
        walk.accept(&chunk).unwrap();
    }
}

#[test]
fn what_comes_backwards_is_proven_by_the_root() {
    let (blob, chunks) = blob(700_000);
    let mut walk = Walk::new(blob);
    let mut ahead = Ahead::new(&walk);
    for number in (0..chunks.len()).rev() {
        assert_eq!(walk.passed_chunks(), 0);
        assert_eq!(ahead.wire_bytes(number as u64), chunks[number].wire().len());
        assert!(ahead.take(number as u64, 0, chunks[number].wire()).unwrap().is_empty());
        pop_all(&mut ahead, &mut walk);
    }
    assert_eq!((walk.expected(), ahead.len(), ahead.known.len()), (None, 0, 0));
}

#[test]
fn who_made_up_a_chunk_that_comes_early_is_named_when_its_parent_comes() {
    let (blob, chunks) = blob(300_000);
    let mut walk = Walk::new(blob);
    let mut ahead = Ahead::new(&walk);
    ahead.take(10, 1, chunks[10].wire()).unwrap();
    ahead.take(11, 2, &forged(&chunks[11])).unwrap();
    ahead.take(12, 2, &forged(&chunks[12])).unwrap();
    ahead.take(13, 2, chunks[13].wire()).unwrap();
    let wrong = ahead.take(0, 0, chunks[0].wire()).unwrap();
    assert_eq!(wrong.len(), 1, "named once");
    assert_eq!((wrong[0].source, &wrong[0].lost[..]), (2, &[11, 12][..]));
    assert!(matches!(wrong[0].error, FetchError::Chunk { chunk: 11, source: ChunkError::Address { .. } }));
    pop_all(&mut ahead, &mut walk);
    assert_eq!((walk.passed_chunks(), ahead.len()), (1, 2), "the true ones are held, of the liar as well");
}

#[test]
fn a_mixture_of_true_and_false_leaves_one_gap_for_each_run() {
    let (blob, chunks) = blob(300_000);
    let mut ahead = Ahead::new(&Walk::new(blob));
    let is_false = |number: usize| [12, 14, 17, 19, 23].contains(&number);
    for number in (10..20).chain(21..25) {
        let wire = if is_false(number) { forged(&chunks[number]) } else { chunks[number].wire().to_vec() };
        ahead.take(number as u64, 2, &wire).unwrap();
    }
    ahead.take(20, 1, chunks[20].wire()).unwrap();
    let wrong = ahead.take(0, 0, chunks[0].wire()).unwrap();
    assert_eq!((wrong.len(), &wrong[0].lost[..]), (1, &[12, 13, 14, 15, 16, 17, 18, 19, 23][..]));
    assert_eq!(ahead.len(), 1 + 1 + 14 - 9);
    // They can come again, the true ones too.
    let mut walk = Walk::new(blob);
    for number in (1..10).chain([12, 13, 14, 15, 16, 17, 18, 19, 23]).chain(25..chunks.len()) {
        assert!(ahead.take(number as u64, 1, chunks[number].wire()).unwrap().is_empty());
    }
    pop_all(&mut ahead, &mut walk);
    assert_eq!(walk.expected(), None);
}

#[test]
fn what_comes_late_is_checked_at_once() {
    let (blob, chunks) = blob(300_000);
    let mut ahead = Ahead::new(&Walk::new(blob));
    ahead.take(0, 0, chunks[0].wire()).unwrap();
    let error = ahead.take(11, 2, &forged(&chunks[11])).unwrap_err();
    assert!(matches!(error, FetchError::Chunk { chunk: 11, source: ChunkError::Address { .. } }));
    let error = ahead.take(11, 2, chunks[12].wire()).unwrap_err();
    assert!(matches!(error, FetchError::Chunk { chunk: 11, .. }), "another's is wrong too");
    assert_eq!(ahead.len(), 1);
}

#[test]
fn a_span_or_length_that_cannot_be_is_refused_unseen() {
    let (blob, chunks) = blob(300_000);
    let mut ahead = Ahead::new(&Walk::new(blob));
    let mut wire = chunks[11].wire().to_vec();
    wire[0] ^= 1;
    assert!(matches!(ahead.take(11, 2, &wire), Err(FetchError::Shape { chunk: 11, source: ShapeError::Span { .. } })));
    assert!(matches!(ahead.take(11, 2, &wire[1..]), Err(FetchError::Chunk { source: ChunkError::Length { .. }, .. })));
    assert_eq!(ahead.len(), 0);
}

#[test]
fn a_walk_that_resumes_anywhere_knows_what_it_knew() {
    let (blob, chunks) = blob(1_100_000);
    for done in [1, 2, 129, 130, 131, 200, 260, chunks.len() - 1] {
        let mut walk = Walk::new(blob);
        chunks[..done].iter().for_each(|chunk| walk.accept(chunk).unwrap());
        for (number, expected) in walk.known() {
            let chunk = &chunks[usize::try_from(number).unwrap()];
            assert_eq!((expected.reference, expected.span_bytes), (chunk.reference(), chunk.span_bytes()));
        }
        let mut ahead = Ahead::new(&walk);
        for number in (done..chunks.len()).rev() {
            ahead.take(number as u64, 0, chunks[number].wire()).unwrap();
        }
        pop_all(&mut ahead, &mut walk);
        assert_eq!(walk.expected(), None, "after {done}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever the order: a made-up chunk is never given out, its sender is named, and the true one can still come.
    #[test]
    fn in_any_order_only_liars_are_named(seed: u64, lies in proptest::collection::btree_set(1..260_usize, 0..6)) {
        let (blob, chunks) = blob(1_070_000);
        let mut order: Vec<usize> = (0..chunks.len()).collect();
        order.sort_by_key(|number| (*number as u64 + 1).wrapping_mul(seed | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20);
        let (mut walk, mut named) = (Walk::new(blob), 0);
        let mut ahead = Ahead::new(&walk);
        let mut again = Vec::new();
        for number in order {
            // Each lie has a sender of its own.
            let (source, wire) = match lies.contains(&number) {
                true => (number, forged(&chunks[number])),
                false => (0, chunks[number].wire().to_vec()),
            };
            match ahead.take(number as u64, source, &wire) {
                Ok(wrong) => for wrong in wrong {
                    prop_assert!(lies.contains(&wrong.source));
                    prop_assert_eq!(&wrong.lost[..], &[wrong.source as u64]);
                    again.push(wrong.source);
                    named += 1;
                },
                Err(_) => {
                    prop_assert!(lies.contains(&number));
                    again.push(number);
                    named += 1;
                }
            }
            pop_all(&mut ahead, &mut walk);
        }
        while let Some(number) = again.pop() {
            let wrong = ahead.take(number as u64, 0, chunks[number].wire()).unwrap();
            named += wrong.len();
            again.extend(wrong.iter().map(|wrong| wrong.source));
            pop_all(&mut ahead, &mut walk);
        }
        prop_assert_eq!((named, walk.expected(), ahead.len()), (lies.len(), None, 0));
    }
}
