//! Splitting and walking fit each other at every boundary, and the walk takes nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::convert::Infallible;

use manyhands_blob::chunk::WIRE_BYTES_MAX;
use manyhands_blob::{Chunk, ChunkError, ShapeError, Splitter, Walk, reference_of, shape};
use manyhands_proto::{BlobRef, Reference};
use proptest::prelude::*;

type Chunks = BTreeMap<Reference, Chunk>;

/// Bytes without a short period, so that chunks differ.
fn noise(size: usize) -> Vec<u8> {
    let mut state = size as u64 + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn split(bytes: &[u8]) -> (BlobRef, Chunks) {
    let mut chunks = Chunks::new();
    let mut keep = |chunk: Chunk| {
        chunks.insert(chunk.reference(), chunk);
        Ok::<(), Infallible>(())
    };
    let mut splitter = Splitter::new();
    splitter.update(bytes, &mut keep).unwrap();
    let blob = splitter.finish(&mut keep).unwrap();
    (blob, chunks)
}

fn join(blob: BlobRef, chunks: &Chunks) -> Result<Vec<u8>, ShapeError> {
    let mut bytes = Vec::new();
    let mut walk = Walk::new(blob);
    while let Some(expected) = walk.expected() {
        let chunk = &chunks[&expected.reference];
        assert_eq!(chunk.wire().len(), expected.wire_bytes());
        walk.accept(chunk)?;
        if expected.is_leaf() {
            bytes.extend_from_slice(chunk.payload());
        }
    }
    assert_eq!(walk.passed_chunks(), shape::chunk_count(blob.size_bytes));
    Ok(bytes)
}

#[test]
fn join_undoes_split_at_every_boundary() {
    let leaf = 4096;
    let around = |n: usize| [n.saturating_sub(1), n, n + 1];
    let sizes = [0, 1, 32, 64, leaf, 2 * leaf, 127 * leaf, 128 * leaf, 129 * leaf, 130 * leaf, 256 * leaf, 257 * leaf];
    for size in sizes.into_iter().flat_map(around) {
        let bytes = noise(size);
        let (blob, chunks) = split(&bytes);
        assert_eq!(blob, BlobRef { reference: reference_of(&bytes), size_bytes: size as u64 });
        assert!(join(blob, &chunks).unwrap() == bytes, "{size} bytes");
    }
}

#[test]
fn skipping_counts_what_it_skips() {
    let (blob, chunks) = split(&noise(300 * 4096));
    let mut walk = Walk::new(blob);
    walk.accept(&chunks[&blob.reference]).unwrap();
    assert_eq!(walk.expected().unwrap().span_bytes, 128 * 4096);
    walk.skip();
    assert_eq!(walk.passed_chunks(), 1 + 129);
    walk.skip();
    assert_eq!((walk.passed_chunks(), walk.expected().unwrap().span_bytes), (1 + 2 * 129, 44 * 4096));
    walk.skip();
    assert_eq!((walk.passed_chunks(), walk.expected()), (shape::chunk_count(blob.size_bytes), None));
    walk.skip();
    assert_eq!(walk.accept(&chunks[&blob.reference]), Err(ShapeError::Complete { got: blob.reference }));
}

/// Walks genuine chunks under a wrong size.
#[test]
fn every_other_size_is_refused() {
    for (true_size, wrong) in [(0, 1), (1, 0), (5000, 4999), (5000, 5001), (5000, 1 << 30), (524_289, 524_288)] {
        let (blob, chunks) = split(&noise(true_size));
        let mut walk = Walk::new(BlobRef { size_bytes: wrong, ..blob });
        let refused = walk.accept(&chunks[&blob.reference]).unwrap_err();
        assert!(matches!(refused, ShapeError::Span { due_bytes, .. } if due_bytes == wrong), "{refused}");
        assert_eq!(walk.passed_chunks(), 0);
    }
}

/// Trees whose hashes are right and whose shape is not: only the maker of the reference can build them.
#[test]
fn crooked_trees_are_refused() {
    let leaf = |span, payload: &[u8]| Chunk::from_payload(span, payload).unwrap();
    let parent = |span, children: &[&Chunk]| {
        let payload: Vec<u8> = children.iter().flat_map(|child| child.reference().0).collect();
        leaf(span, &payload)
    };
    let (full, one) = (leaf(4096, &[7; 4096]), leaf(1, &[7]));
    let walk_into = |root: &Chunk, child: Option<&Chunk>, size_bytes| {
        let mut walk = Walk::new(BlobRef { reference: root.reference(), size_bytes });
        walk.accept(root)?;
        walk.accept(child.unwrap_or(&full))
    };
    // The honest tree passes.
    assert_eq!(walk_into(&parent(4097, &[&full, &one]), None, 4097), Ok(()));
    // Too many, too few children.
    assert!(matches!(walk_into(&parent(4097, &[&full, &one, &one]), None, 4097), Err(ShapeError::Payload { .. })));
    assert!(matches!(walk_into(&parent(4097, &[&full]), None, 4097), Err(ShapeError::Payload { .. })));
    // The short leaf first; a leaf wrapped in a parent of its own; a leaf padded with zeros.
    assert!(matches!(
        walk_into(&parent(4097, &[&one, &full]), Some(&one), 4097),
        Err(ShapeError::Span { stated_bytes: 1, due_bytes: 4096, .. })
    ));
    let wrapped = parent(4096, &[&full]);
    assert!(matches!(
        walk_into(&parent(4097, &[&wrapped, &one]), Some(&wrapped), 4097),
        Err(ShapeError::Payload { got_bytes: 32, due_bytes: 4096, .. })
    ));
    let mut walk = Walk::new(BlobRef { reference: one.reference(), size_bytes: 1 });
    let padded = leaf(1, &[7, 0]);
    assert!(matches!(walk.accept(&padded), Err(ShapeError::Payload { got_bytes: 2, due_bytes: 1, .. })));
    // Bee's redundancy level 1: parities after the data, the level in the span's highest byte.
    let level_1 = parent(4097 | 0x81 << 56, &[&full, &one, &full, &full, &full]);
    assert!(matches!(walk_into(&level_1, None, 4097), Err(ShapeError::Span { .. })));
    // A huge span is refused by comparison, not by building anything.
    assert!(matches!(walk_into(&parent(u64::MAX, &[&full, &one]), None, 4097), Err(ShapeError::Span { .. })));
}

#[test]
fn another_genuine_chunk_is_refused() {
    let (blob, chunks) = split(&noise(3 * 4096));
    let mut walk = Walk::new(blob);
    let root = chunks[&blob.reference].clone();
    walk.accept(&root).unwrap();
    assert!(matches!(walk.accept(&root), Err(ShapeError::Order { .. })));
    let second = root.children().nth(1).unwrap();
    assert!(matches!(walk.accept(&chunks[&second]), Err(ShapeError::Order { got, .. }) if got == second));
    assert_eq!(walk.passed_chunks(), 1);
}

#[test]
fn each_single_bit_counts() {
    let (_, chunks) = split(&noise(4097));
    for chunk in chunks.values() {
        // All bits of the short chunks, one bit of each byte of the full one.
        let step = if chunk.wire().len() > 1000 { 7 } else { 1 };
        for bit in (0..chunk.wire().len() * 8).step_by(step) {
            let mut wire = chunk.wire().to_vec();
            wire[bit / 8] ^= 1 << (bit % 8);
            let refused = Chunk::verify(chunk.reference(), &wire);
            assert!(matches!(refused, Err(ChunkError::Address { .. })), "bit {bit}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pieces_do_not_matter(size in 0usize..70_000, piece in 1usize..9_000) {
        let bytes = noise(size);
        let mut splitter = Splitter::new();
        let mut ignore = |_| Ok::<(), Infallible>(());
        bytes.chunks(piece).for_each(|piece| splitter.update(piece, &mut ignore).unwrap());
        prop_assert_eq!(splitter.finish(&mut ignore).unwrap().reference, reference_of(&bytes));
    }

    #[test]
    fn arbitrary_bytes_are_no_chunk(bytes in proptest::collection::vec(any::<u8>(), 0..WIRE_BYTES_MAX + 50), at: [u8; 32]) {
        prop_assert!(Chunk::verify(Reference(at), &bytes).is_err());
    }

    /// The children's spans add up, fill all but the last, and the counts agree with a count by recursion.
    #[test]
    fn shapes_add_up(size: u64) {
        let (count, capacity) = (shape::child_count(size), shape::child_capacity_bytes(size));
        if shape::is_leaf(size) {
            prop_assert_eq!((count, shape::chunk_count(size)), (0, 1));
        } else {
            let last = size - (count as u64 - 1) * capacity;
            prop_assert!((2..=128).contains(&count) && (1..=capacity).contains(&last));
            let below = (count as u64 - 1) * shape::chunk_count(capacity) + shape::chunk_count(last);
            prop_assert_eq!(shape::chunk_count(size), 1 + below);
        }
    }

    /// Whatever genuine chunks come, a walk ends after as many as the size has, and never panics.
    #[test]
    fn any_chunk_is_taken_or_refused(size in 0u64..20_000, span: u64, payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        for span in [span, size] {
            let chunk = Chunk::from_payload(span, &payload).unwrap();
            let mut walk = Walk::new(BlobRef { reference: chunk.reference(), size_bytes: size });
            if walk.accept(&chunk).is_ok() {
                prop_assert_eq!(chunk.payload().len(), shape::payload_bytes(size));
                prop_assert!(walk.passed_chunks() == 1 && span == size);
            }
        }
    }
}
