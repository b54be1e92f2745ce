//! References against those that Bee's own code computes. The file `testdata/swarm_vectors.json` states its origin.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use manyhands_blob::redundancy::Level;
use manyhands_blob::soc::{OwnerKey, SingleOwnerChunk, SocOwner, address_of};
use manyhands_blob::{Chunk, Splitter, reference_of, shape};
use manyhands_proto::{BlobRef, Reference};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    mod251: Vec<Row>,
    golden_mod255: Vec<Row>,
    texts: BTreeMap<String, Reference>,
    listings: BTreeMap<String, Listing>,
    listings_level_1: BTreeMap<String, Listing>,
    soc: Soc,
    encryption_full_chunk: Encrypted,
}

#[derive(Deserialize)]
struct Row {
    size: usize,
    reference: Reference,
    chunks_written: Option<u64>,
    chunks_distinct: Option<usize>,
    redundancy_references: Option<BTreeMap<u8, Reference>>,
    redundancy_chunks_written: Option<BTreeMap<u8, usize>>,
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

#[derive(Deserialize)]
struct Soc {
    id: Reference,
    owner: String,
    wrapped_payload: String,
    wrapped_cac_address: Reference,
    signature_r_s_v: String,
    soc_address: Reference,
}

#[derive(Deserialize)]
struct Encrypted {
    key: Reference,
    chunk_address: Reference,
    encrypted_span: String,
    encrypted_data_first32: Reference,
    encrypted_data_last32: Reference,
    reference64: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../testdata/swarm_vectors.json")).unwrap()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

fn split(bytes: &[u8], piece: usize) -> (BlobRef, Vec<Chunk>) {
    split_at_level(bytes, piece, Level::None)
}

fn split_at_level(bytes: &[u8], piece: usize, level: Level) -> (BlobRef, Vec<Chunk>) {
    let mut chunks = Vec::new();
    let mut keep = |chunk| {
        chunks.push(chunk);
        Ok::<(), Infallible>(())
    };
    let mut splitter = Splitter::with_level(level);
    bytes.chunks(piece).for_each(|piece| splitter.update(piece, &mut keep).unwrap());
    let blob = splitter.finish(&mut keep).unwrap();
    (blob, chunks)
}

/// Streams the pattern instead of holding it: the largest vectors have 64 MiB.
fn reference_of_pattern(size: usize, modulus: usize, level: Level) -> Reference {
    let period: Vec<u8> = (0..modulus * 64).map(|i| (i % modulus) as u8).collect();
    let mut splitter = Splitter::with_level(level);
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
        assert_eq!(reference_of_pattern(row.size, 251, Level::None), row.reference, "{} bytes mod 251", row.size);
    }
}

#[test]
fn references_equal_bees_golden_vectors() {
    for row in vectors().golden_mod255 {
        assert_eq!(reference_of_pattern(row.size, 255, Level::None), row.reference, "{} bytes mod 255", row.size);
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
fn every_level_has_bees_reference() {
    let mut compared = 0;
    for row in vectors().mod251 {
        for (level, reference) in row.redundancy_references.unwrap() {
            let level = Level::from_number(level).unwrap();
            assert_eq!(reference_of_pattern(row.size, 251, level), reference, "{} bytes at {level:?}", row.size);
            compared += 1;
        }
    }
    assert_eq!(compared, 12 * 4 + 1);
}

#[test]
fn every_level_writes_as_many_chunks_as_bee() {
    for row in vectors().mod251 {
        for (level, count) in row.redundancy_chunks_written.unwrap_or_default() {
            let level = Level::from_number(level).unwrap();
            let (_, chunks) = split_at_level(&pattern(row.size), 1 << 20, level);
            assert_eq!(chunks.len(), count, "{} bytes at {level:?}", row.size);
        }
    }
}

#[test]
fn every_chunk_of_the_listings_is_made() {
    let vectors = vectors();
    let plain = vectors.listings.into_iter().map(|listing| (Level::None, listing));
    let medium = vectors.listings_level_1.into_iter().map(|listing| (Level::Medium, listing));
    for (level, (size, listing)) in plain.chain(medium) {
        let (blob, chunks) = split_at_level(&pattern(size.parse().unwrap()), 1000, level);
        assert_eq!(blob.reference, listing.reference);
        for listed in listing.chunks {
            let chunk = chunks.iter().find(|chunk| chunk.reference() == listed.address).expect("listed chunk");
            assert_eq!(chunk.payload().len().to_string(), listed.payload_len);
            assert_eq!(chunk.wire()[..8], bytes_of(&listed.span));
        }
    }
}

/// Bee's own single-owner chunk, and that each bit of it counts.
#[test]
fn the_single_owner_chunk_is_read() {
    let soc = vectors().soc;
    let inner = Chunk::from_payload(3, soc.wrapped_payload.as_bytes()).unwrap();
    assert_eq!(inner.reference(), soc.wrapped_cac_address);
    let wire = [soc.id.as_bytes(), &bytes_of(&soc.signature_r_s_v)[..], inner.wire()].concat();
    let read = SingleOwnerChunk::verify(soc.soc_address, &wire).unwrap();
    assert_eq!(read.owner(), SocOwner(bytes_of(&soc.owner).try_into().unwrap()));
    assert_eq!((read.chunk(), read.to_wire()), (&inner, wire.clone()));
    assert_eq!(address_of(&soc.id.0, &read.owner()), soc.soc_address);
    // The private key is that of the tests of bee-js, whose owner is this one: the signature has one possible value.
    let key: Reference = "634fb5a872396d9693e5c9f9d7233cfa93f395c093371017ff44aa9ae6564cdd".parse().unwrap();
    assert_eq!(OwnerKey::new(&key.0).unwrap().sign(soc.id.0, inner), Ok(read));
    for bit in 0..wire.len() * 8 {
        let mut wire = wire.clone();
        wire[bit / 8] ^= 1 << (bit % 8);
        assert!(SingleOwnerChunk::verify(soc.soc_address, &wire).is_err(), "bit {bit}");
    }
}

#[test]
fn a_full_encrypted_chunk_is_bees() {
    let vector = vectors().encryption_full_chunk;
    let mut chunks = Vec::new();
    let mut keep = |chunk: Chunk| {
        chunks.push(chunk);
        Ok::<(), Infallible>(())
    };
    let mut splitter = Splitter::encrypting(Level::None, |random: &mut [u8]| {
        if !random.is_empty() {
            random.copy_from_slice(vector.key.as_bytes());
        }
    });
    splitter.update(&pattern(4096), &mut keep).unwrap();
    let root = splitter.finish(&mut keep).unwrap();
    assert_eq!((root.address, root.reveal()), (vector.chunk_address, vector.reference64.clone()));
    let [chunk] = &chunks[..] else { panic!("one chunk") };
    assert_eq!(chunk.wire()[..8], bytes_of(&vector.encrypted_span));
    assert_eq!(chunk.payload()[..32], vector.encrypted_data_first32.0);
    assert_eq!(chunk.payload()[4064..], vector.encrypted_data_last32.0);
    assert_eq!(vector.reference64.parse(), Ok(root));
    assert!(!format!("{root:?}").contains(&vector.key.to_string()));
}
