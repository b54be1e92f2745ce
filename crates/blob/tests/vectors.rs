//! References against those that Bee's own code computes. The file `testdata/swarm_vectors.json` states its origin.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use manyhands_blob::{Chunk, Splitter, reference_of, shape};
use manyhands_proto::{BlobRef, Reference};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    mod251: Vec<Row>,
    golden_mod255: Vec<Row>,
    texts: BTreeMap<String, Reference>,
    listings: BTreeMap<String, Listing>,
}

#[derive(Deserialize)]
struct Row {
    size: usize,
    reference: Reference,
    chunks_written: Option<u64>,
    chunks_distinct: Option<usize>,
}

#[derive(Deserialize)]
struct Listing {
    chunks: Vec<Listed>,
    reference: Reference,
}

#[derive(Deserialize)]
struct Listed {
    address: Reference,
    payload_len: String,
    span: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../testdata/swarm_vectors.json")).unwrap()
}

fn split(bytes: &[u8], piece: usize) -> (BlobRef, Vec<Chunk>) {
    let mut chunks = Vec::new();
    let mut keep = |chunk| {
        chunks.push(chunk);
        Ok::<(), Infallible>(())
    };
    let mut splitter = Splitter::new();
    bytes.chunks(piece).for_each(|piece| splitter.update(piece, &mut keep).unwrap());
    let blob = splitter.finish(&mut keep).unwrap();
    (blob, chunks)
}

/// Streams the pattern instead of holding it: the largest vectors have 64 MiB.
fn reference_of_pattern(size: usize, modulus: usize) -> Reference {
    let period: Vec<u8> = (0..modulus * 64).map(|i| (i % modulus) as u8).collect();
    let mut splitter = Splitter::new();
    let mut ignore = |_| Ok::<(), Infallible>(());
    let mut rest = size;
    while rest > 0 {
        let count = rest.min(period.len());
        splitter.update(&period[..count], &mut ignore).unwrap();
        rest -= count;
    }
    splitter.finish(&mut ignore).unwrap().reference
}

#[test]
fn references_equal_those_of_bee() {
    for row in vectors().mod251 {
        assert_eq!(reference_of_pattern(row.size, 251), row.reference, "{} bytes mod 251", row.size);
    }
}

#[test]
fn references_equal_bees_golden_vectors() {
    for row in vectors().golden_mod255 {
        assert_eq!(reference_of_pattern(row.size, 255), row.reference, "{} bytes mod 255", row.size);
    }
}

#[test]
fn texts_have_the_known_references() {
    for (text, reference) in vectors().texts {
        assert_eq!(reference_of(text.as_bytes()), reference, "{text:?}");
    }
}

#[test]
fn chunk_counts_are_those_that_bee_wrote() {
    for row in vectors().mod251.iter().filter(|row| row.size < 4_000_000) {
        let bytes: Vec<u8> = (0..row.size).map(|i| (i % 251) as u8).collect();
        let (blob, chunks) = split(&bytes, 65_536);
        assert_eq!(blob, BlobRef { reference: row.reference, size_bytes: row.size as u64 });
        assert_eq!(chunks.len() as u64, row.chunks_written.unwrap(), "{} bytes", row.size);
        assert_eq!(chunks.len() as u64, shape::chunk_count(row.size as u64));
        let distinct: BTreeSet<Reference> = chunks.iter().map(Chunk::reference).collect();
        assert_eq!(distinct.len(), row.chunks_distinct.unwrap());
        let stored: u64 = chunks.iter().map(|chunk| chunk.wire().len() as u64).sum();
        assert_eq!(stored, shape::stored_bytes(row.size as u64));
    }
}

#[test]
fn every_chunk_of_the_listings_is_made() {
    for (size, listing) in vectors().listings {
        let bytes: Vec<u8> = (0..size.parse().unwrap()).map(|i: usize| (i % 251) as u8).collect();
        let (blob, chunks) = split(&bytes, 1000);
        assert_eq!(blob.reference, listing.reference);
        for listed in listing.chunks {
            let chunk = chunks.iter().find(|chunk| chunk.reference() == listed.address).expect("listed chunk");
            assert_eq!(chunk.payload().len().to_string(), listed.payload_len);
            let span: String = chunk.span_bytes().to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(span, listed.span);
        }
    }
}
