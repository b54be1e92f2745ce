//! The store's promises, on real files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::io::{self, Read};

use common::{noise, owner, pre_order, spoil, temp_store};
use manyhands_blob::store::{Download, Partial};
use manyhands_blob::{ChunkStore, StoreError, reference_of, shape};
use manyhands_proto::{BlobRef, Reference};

const PLENTY: u64 = 1 << 30;

#[test]
fn what_is_put_comes_back_also_after_reopening() {
    let mut store = temp_store(PLENTY);
    let sizes = [0, 1, 4096, 4097, 61_440, 524_288, 524_289, 700_000];
    let blobs = sizes.map(|size| {
        let bytes = noise(size, 1);
        let blob = store.store.put_blob(&owner("a"), &bytes).unwrap();
        assert_eq!(blob, BlobRef { reference: reference_of(&bytes), size_bytes: size as u64 });
        blob
    });
    for _ in 0..2 {
        for blob in &blobs {
            let bytes = noise(blob.size_bytes as usize, 1);
            assert!(store.store.has(blob).unwrap());
            assert!(store.store.read_blob(blob, blob.size_bytes).unwrap() == bytes);
            let mut read = Vec::new();
            store.store.reader(blob).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes);
        }
        let used: u64 = sizes.iter().map(|size| shape::stored_bytes(*size as u64)).sum();
        assert_eq!(store.store.used_bytes().unwrap(), used);
        let mut held = store.store.held_by(&owner("a")).unwrap();
        held.sort_by_key(|blob| blob.size_bytes);
        assert_eq!(held, blobs);
        store = store.reopen(PLENTY, |_| {});
    }
}

#[test]
fn a_wrong_question_gets_a_clear_answer() {
    let temp = temp_store(PLENTY);
    let blob = temp.store.put_blob(&owner("a"), b"hello world").unwrap();
    let larger = BlobRef { size_bytes: 12, ..blob };
    let absent = BlobRef { reference: Reference([9; 32]), size_bytes: 11 };
    assert!(matches!(temp.store.read_blob(&blob, 10), Err(StoreError::TooLarge { size_bytes: 11, max_bytes: 10 })));
    assert!(matches!(temp.store.read_blob(&larger, 99), Err(StoreError::SizeMismatch { stored_bytes: 11, .. })));
    assert!(matches!(temp.store.has(&larger), Err(StoreError::SizeMismatch { .. })));
    assert!(matches!(temp.store.read_blob(&absent, 99), Err(StoreError::NotFound { .. })));
    assert!(matches!(temp.store.hold(&owner("b"), &absent), Err(StoreError::NotFound { .. })));
    assert!(matches!(
        temp.store.begin_download(&owner("b"), larger),
        Err(StoreError::SizeMismatch { stated_bytes: 12, .. })
    ));
    assert!(!temp.store.release(&owner("b"), &blob.reference).unwrap());
    assert!(!temp.store.discard(&absent.reference).unwrap());
}

#[test]
fn repeated_chunks_are_kept_once() {
    let temp = temp_store(PLENTY);
    // The period of 251 makes 259 chunks of the 740 distinct, as Bee counts them.
    let bytes: Vec<u8> = (0..3_000_000).map(|i| (i % 251) as u8).collect();
    let blob = temp.store.put_blob(&owner("a"), &bytes).unwrap();
    assert!(temp.store.used_bytes().unwrap() < 259 * 4104);
    assert!(temp.store.read_blob(&blob, PLENTY).unwrap() == bytes);
    assert!(temp.store.release(&owner("a"), &blob.reference).unwrap());
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
}

#[test]
fn chunks_shared_by_two_blobs_survive_the_removal_of_one() {
    let temp = temp_store(PLENTY);
    let long = noise(300_000, 1);
    let short = &long[..200_000];
    let a = temp.store.put_blob(&owner("a"), &long).unwrap();
    let b = temp.store.put_blob(&owner("b"), short).unwrap();
    assert!(temp.store.used_bytes().unwrap() < shape::stored_bytes(300_000) + 10_000);
    let mut reader = temp.store.reader(&a).unwrap();
    assert!(temp.store.release(&owner("a"), &a.reference).unwrap());
    assert!(!temp.store.has(&a).unwrap());
    assert_eq!(temp.store.used_bytes().unwrap(), shape::stored_bytes(200_000));
    assert!(temp.store.read_blob(&b, PLENTY).unwrap() == short);
    // A reader from before the removal sees what was.
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == long);
    assert!(temp.store.release(&owner("b"), &b.reference).unwrap());
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
}

#[test]
fn a_blob_stays_until_its_last_owner_goes() {
    let temp = temp_store(PLENTY);
    let bytes = noise(10_000, 1);
    let blob = temp.store.put_blob(&owner("a"), &bytes).unwrap();
    assert_eq!(temp.store.put_blob(&owner("a"), &bytes).unwrap(), blob);
    assert_eq!(temp.store.put_blob(&owner("b"), &bytes).unwrap(), blob);
    temp.store.hold(&owner("c"), &blob).unwrap();
    temp.store.hold(&owner("c"), &blob).unwrap();
    assert_eq!(temp.store.used_bytes().unwrap(), shape::stored_bytes(10_000));
    let other = temp.store.put_blob(&owner("b"), b"other").unwrap();

    assert!(temp.store.release(&owner("a"), &blob.reference).unwrap());
    assert!(!temp.store.release(&owner("a"), &blob.reference).unwrap());
    assert_eq!(temp.store.release_owner(&owner("b")).unwrap(), 2);
    assert!(!temp.store.has(&other).unwrap());
    assert!(temp.store.has(&blob).unwrap());
    assert!(temp.store.release(&owner("c"), &blob.reference).unwrap());
    assert!(!temp.store.has(&blob).unwrap());
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
}

#[test]
fn the_limit_refuses_and_keeps_nothing_of_the_refused() {
    let limit = shape::stored_bytes(100_000) + shape::stored_bytes(50_000);
    let temp = temp_store(limit);
    let (first, second) = (noise(100_000, 1), noise(50_000, 2));
    let kept = temp.store.put_blob(&owner("a"), &first).unwrap();
    let full = temp.store.put_blob(&owner("a"), &noise(50_001, 3)).unwrap_err();
    assert!(matches!(full, StoreError::Full { limit_bytes, .. } if limit_bytes == limit), "{full}");
    assert!(full.to_string().contains("raise the store's limit"));
    assert_eq!(temp.store.used_bytes().unwrap(), shape::stored_bytes(100_000));
    temp.store.put_blob(&owner("a"), &second).unwrap();
    assert_eq!(temp.store.used_bytes().unwrap(), limit);
    // What is there already needs no room, and nothing was evicted.
    temp.store.put_blob(&owner("b"), &first).unwrap();
    assert!(temp.store.has(&kept).unwrap());

    // A lower limit deletes nothing.
    let temp = temp.reopen(10, |_| {});
    assert!(temp.store.has(&kept).unwrap());
    assert!(matches!(temp.store.put_blob(&owner("a"), b"more"), Err(StoreError::Full { needed_bytes: 12, .. })));
}

#[test]
fn a_reader_is_bounded_and_its_failure_leaves_nothing() {
    let temp = temp_store(PLENTY);
    let endless = temp.store.put_reader(&owner("a"), io::repeat(7), 1_000_000).unwrap_err();
    assert!(matches!(endless, StoreError::TooLarge { max_bytes: 1_000_000, .. }));
    let broken = io::repeat(7).take(300_000).chain(FailingReader);
    assert!(matches!(temp.store.put_reader(&owner("a"), broken, PLENTY), Err(StoreError::Source { .. })));
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
    assert_eq!(temp.store.held_by(&owner("a")).unwrap(), []);
}

struct FailingReader;

impl Read for FailingReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("gone"))
    }
}

#[test]
fn a_second_opener_is_told_so() {
    let temp = temp_store(PLENTY);
    let refused = ChunkStore::open(&temp.path, PLENTY).unwrap_err();
    assert!(matches!(&refused, StoreError::AlreadyOpen { path } if *path == temp.path), "{refused:?}");
    let clone = temp.store.clone();
    drop(temp.store);
    assert!(ChunkStore::open(&temp.path, PLENTY).is_err(), "a clone keeps it open");
    drop(clone);
    ChunkStore::open(&temp.path, PLENTY).unwrap();
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "this is not a chunk store, it is a shopping list\n".repeat(100)).unwrap();
    assert!(matches!(ChunkStore::open(&path, PLENTY), Err(StoreError::Open { .. })));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("this is not"));
    let nowhere = folder.path().join("missing").join("chunks.redb");
    assert!(matches!(ChunkStore::open(&nowhere, PLENTY), Err(StoreError::Open { path, .. }) if path == nowhere));
}

fn begin(store: &ChunkStore, name: &str, blob: BlobRef) -> Download {
    store.begin_download(&owner(name), blob).unwrap().expect("not complete")
}

#[test]
fn a_download_appears_only_when_complete_and_resumes_after_a_crash() {
    let bytes = noise(530_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let mut temp = temp_store(PLENTY);
    let mut at = 0;
    for upto in [0, 1, 2, 60, 129, 130, 131, chunks.len()] {
        let mut download = begin(&temp.store, "a", blob);
        assert_eq!(download.saved_chunks(), at as u64);
        for chunk in &chunks[at..upto] {
            download.accept(chunk.clone()).unwrap();
        }
        download.save().unwrap();
        at = upto;
        assert_eq!(download.is_complete(), at == chunks.len());
        // Accepted but not saved: lost with the crash.
        if let Some(chunk) = chunks.get(at) {
            assert!(!temp.store.has(&blob).unwrap());
            download.accept(chunk.clone()).unwrap();
            let partial = Partial { blob, held_chunks: at as u64, owner: owner("a") };
            assert_eq!(temp.store.partials().unwrap(), [partial]);
        }
        drop(download);
        temp = temp.reopen(PLENTY, |_| {});
    }
    assert!(temp.store.read_blob(&blob, PLENTY).unwrap() == bytes);
    assert_eq!(temp.store.partials().unwrap(), []);
    let usage = temp.store.usage().unwrap();
    assert_eq!((usage.used_bytes, usage.reserved_bytes), (shape::stored_bytes(530_000), 0));
    assert!(temp.store.begin_download(&owner("b"), blob).unwrap().is_none());
    assert_eq!(temp.store.held_by(&owner("b")).unwrap(), [blob]);
}

#[test]
fn a_download_reserves_its_room_before_the_first_chunk() {
    let (blob, chunks) = pre_order(&noise(100_000, 1));
    let temp = temp_store(shape::stored_bytes(100_000) + 1000);
    let mut download = begin(&temp.store, "a", blob);
    assert_eq!(temp.store.usage().unwrap().reserved_bytes, shape::stored_bytes(100_000));
    assert!(matches!(temp.store.put_blob(&owner("b"), &noise(5000, 2)), Err(StoreError::Full { .. })));
    let other = BlobRef { reference: Reference([1; 32]), size_bytes: 5000 };
    assert!(matches!(temp.store.begin_download(&owner("b"), other), Err(StoreError::Full { .. })));
    let huge = BlobRef { reference: Reference([1; 32]), size_bytes: u64::MAX };
    assert!(matches!(temp.store.begin_download(&owner("b"), huge), Err(StoreError::Full { .. })));

    for chunk in &chunks[..10] {
        download.accept(chunk.clone()).unwrap();
    }
    download.save().unwrap();
    let usage = temp.store.usage().unwrap();
    assert_eq!(usage.used_bytes + usage.reserved_bytes, shape::stored_bytes(100_000));
    drop(download);
    assert_eq!(temp.store.release_owner(&owner("a")).unwrap(), 1);
    let usage = temp.store.usage().unwrap();
    assert_eq!((usage.used_bytes, usage.reserved_bytes), (0, 0));
    temp.store.put_blob(&owner("b"), &noise(5000, 2)).unwrap();
}

#[test]
fn one_download_at_a_time_and_a_discarded_one_ends() {
    let (blob, chunks) = pre_order(&noise(10_000, 1));
    let temp = temp_store(PLENTY);
    let mut download = begin(&temp.store, "a", blob);
    assert!(matches!(temp.store.begin_download(&owner("b"), blob), Err(StoreError::DownloadActive { .. })));
    download.accept(chunks[0].clone()).unwrap();
    download.save().unwrap();
    assert!(temp.store.discard(&blob.reference).unwrap());
    download.accept(chunks[1].clone()).unwrap();
    assert!(matches!(download.save(), Err(StoreError::DownloadGone { .. })));
    drop(download);
    assert_eq!(temp.store.usage().unwrap().reserved_bytes, 0);
    assert_eq!(begin(&temp.store, "b", blob).saved_chunks(), 0);
}

#[test]
fn batches_are_saved_one_after_the_other_while_more_is_accepted() {
    let bytes = noise(100_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let temp = temp_store(PLENTY);
    let held = || temp.store.partials().unwrap().first().map(|partial| partial.held_chunks);
    let mut download = begin(&temp.store, "a", blob);
    let accept = |download: &mut Download, range: std::ops::Range<usize>| {
        chunks[range].iter().for_each(|chunk| download.accept(chunk.clone()).unwrap());
    };
    accept(&mut download, 0..5);
    let first = download.take_batch();
    accept(&mut download, 5..9);
    let second = download.take_batch();
    assert_eq!((download.saved_chunks(), download.pending_chunks(), held()), (9, 0, Some(0)));
    assert!(matches!(second.save(), Err(StoreError::DownloadGone { .. })), "it overtakes the first");
    first.save().unwrap();
    assert_eq!(held(), Some(5));
    accept(&mut download, 9..11);
    let third = download.take_batch();
    drop(download);
    let again = || temp.store.begin_download(&owner("b"), blob);
    assert!(matches!(again(), Err(StoreError::DownloadActive { .. })), "a batch may still change what is held");
    assert!(matches!(third.save(), Err(StoreError::DownloadGone { .. })), "it follows one that failed");

    let mut download = again().unwrap().unwrap();
    assert_eq!(download.saved_chunks(), 5);
    accept(&mut download, 5..chunks.len());
    let last = download.take_batch();
    assert!(download.is_complete() && !temp.store.has(&blob).unwrap());
    download.take_batch().save().unwrap();
    last.save().unwrap();
    assert!(temp.store.read_blob(&blob, PLENTY).unwrap() == bytes);
    assert_eq!(temp.store.usage().unwrap().reserved_bytes, 0);
}

#[test]
fn a_released_download_gives_its_room_back_and_nobody_elses() {
    let (blob, chunks) = pre_order(&noise(10_000, 1));
    let temp = temp_store(PLENTY);
    let mut download = begin(&temp.store, "a", blob);
    download.accept(chunks[0].clone()).unwrap();
    download.save().unwrap();
    drop(download);
    assert!(!temp.store.release(&owner("b"), &blob.reference).unwrap(), "b has nothing to do with it");
    assert_eq!(temp.store.partials().unwrap().len(), 1);
    assert!(temp.store.release(&owner("a"), &blob.reference).unwrap());
    let usage = temp.store.usage().unwrap();
    assert_eq!((usage.used_bytes, usage.reserved_bytes), (0, 0));
}

#[test]
fn the_owners_are_those_who_hold_and_those_who_download() {
    let temp = temp_store(PLENTY);
    assert!(temp.store.owners().unwrap().is_empty());
    temp.store.put_blob(&owner("b"), &noise(10, 1)).unwrap();
    temp.store.put_blob(&owner("b"), &noise(10, 2)).unwrap();
    drop(begin(&temp.store, "a", pre_order(&noise(10_000, 3)).0));
    let owners: Vec<_> = temp.store.owners().unwrap().into_iter().collect();
    assert_eq!(owners, [owner("a"), owner("b")]);
    temp.store.release_owner(&owner("b")).unwrap();
    temp.store.release_owner(&owner("a")).unwrap();
    assert!(temp.store.owners().unwrap().is_empty());
}

#[test]
fn what_is_handed_over_is_the_others_and_nobody_elses_changes() {
    let temp = temp_store(PLENTY);
    let store = &temp.store;
    let [first, both, theirs] = [1, 3, 5].map(|seed| store.put_blob(&owner("a"), &noise(10_000, seed)).unwrap());
    store.hold(&owner("b"), &both).unwrap();
    store.hold(&owner("c"), &theirs).unwrap();
    let used_bytes = store.used_bytes().unwrap();
    assert_eq!(store.hand_over(&owner("a"), &owner("b")).unwrap(), 3);
    assert_eq!(store.hand_over(&owner("b"), &owner("b")).unwrap(), 3);
    assert!(store.held_roots(&owner("a")).unwrap().is_empty());
    assert_eq!((store.held_roots(&owner("b")).unwrap().len(), store.used_bytes().unwrap()), (3, used_bytes));
    store.release_owner(&owner("b")).unwrap();
    assert!(store.has(&theirs).unwrap() && !store.has(&first).unwrap() && !store.has(&both).unwrap());
    store.release_owner(&owner("c")).unwrap();
    assert_eq!(store.used_bytes().unwrap(), 0);
}

#[test]
fn a_blob_put_while_it_downloads_is_counted_once() {
    let bytes = noise(30_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let temp = temp_store(PLENTY);
    let mut download = begin(&temp.store, "a", blob);
    for chunk in &chunks[..4] {
        download.accept(chunk.clone()).unwrap();
    }
    download.save().unwrap();
    temp.store.put_blob(&owner("b"), &bytes).unwrap();
    for chunk in &chunks[4..] {
        download.accept(chunk.clone()).unwrap();
    }
    download.save().unwrap();
    let usage = temp.store.usage().unwrap();
    assert_eq!((usage.used_bytes, usage.reserved_bytes), (shape::stored_bytes(30_000), 0));
    assert!(temp.store.release(&owner("b"), &blob.reference).unwrap());
    assert!(temp.store.read_blob(&blob, PLENTY).unwrap() == bytes);
    assert!(temp.store.release(&owner("a"), &blob.reference).unwrap());
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
}

#[test]
fn a_spoilt_leaf_is_reported_and_storing_again_repairs_it() {
    let temp = temp_store(PLENTY);
    let bytes = noise(20_000, 1);
    let blob = temp.store.put_blob(&owner("a"), &bytes).unwrap();
    let temp = temp.reopen(PLENTY, |path| spoil(path, &bytes[9000..9100]));
    let leaf = reference_of(&bytes[8192..12_288]);
    let error = temp.store.read_blob(&blob, PLENTY).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { reference } if reference == leaf), "{error}");
    let mut reader = temp.store.reader(&blob).unwrap();
    let mut read = Vec::new();
    assert!(reader.read_to_end(&mut read).is_err());
    assert!(read == bytes[..8192], "nothing wrong came before the error");

    temp.store.put_blob(&owner("b"), &bytes).unwrap();
    assert!(temp.store.read_blob(&blob, PLENTY).unwrap() == bytes);
    assert_eq!(temp.store.used_bytes().unwrap(), shape::stored_bytes(20_000));
    assert_eq!(temp.store.release_owner(&owner("a")).unwrap() + temp.store.release_owner(&owner("b")).unwrap(), 2);
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
}

/// The addresses below a spoilt interior chunk are unknown; still nothing leaks and nothing shared is lost.
#[test]
fn a_spoilt_interior_chunk_does_not_leak() {
    let temp = temp_store(PLENTY);
    let long = noise(600_000, 1);
    let short = &long[..8192];
    let a = temp.store.put_blob(&owner("a"), &long).unwrap();
    let b = temp.store.put_blob(&owner("b"), short).unwrap();
    let (_, chunks) = pre_order(&long);
    let interior = chunks[1].wire();
    let temp = temp.reopen(PLENTY, |path| spoil(path, &interior[..100]));
    assert!(matches!(temp.store.read_blob(&a, PLENTY), Err(StoreError::Corrupt { .. })));
    assert!(temp.store.release(&owner("a"), &a.reference).unwrap());
    assert!(!temp.store.has(&a).unwrap());
    assert!(temp.store.read_blob(&b, PLENTY).unwrap() == short);
    assert_eq!(temp.store.used_bytes().unwrap(), shape::stored_bytes(8192));
    assert!(temp.store.release(&owner("b"), &b.reference).unwrap());
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
}

/// Two blobs have spoilt interior chunks; releasing one finds the other, which then can be downloaded again under the
/// same owner.
#[test]
fn a_blob_found_damaged_can_be_fetched_again() {
    let temp = temp_store(PLENTY);
    let (first, second) = (noise(50_000, 1), noise(60_000, 2));
    let a = temp.store.put_blob(&owner("a"), &first).unwrap();
    let b = temp.store.put_blob(&owner("b"), &second).unwrap();
    let (roots, chunks) = ([&first, &second].map(|bytes| pre_order(bytes).1[0].clone()), pre_order(&second).1);
    let temp = temp.reopen(PLENTY, |path| roots.iter().for_each(|root| spoil(path, &root.wire()[8..80])));
    assert!(temp.store.release(&owner("a"), &a.reference).unwrap());
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
    assert!(matches!(temp.store.read_blob(&b, PLENTY), Err(StoreError::Corrupt { .. })));
    assert!(matches!(temp.store.hold(&owner("c"), &b), Err(StoreError::Corrupt { .. })));

    let mut download = begin(&temp.store, "c", b);
    chunks.into_iter().for_each(|chunk| download.accept(chunk).unwrap());
    download.save().unwrap();
    assert!(temp.store.read_blob(&b, PLENTY).unwrap() == second);
    assert!(temp.store.release(&owner("b"), &b.reference).unwrap());
    assert!(temp.store.release(&owner("c"), &b.reference).unwrap());
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
}

/// What is held of a download can no longer be read: it begins again from the start.
#[test]
fn a_spoilt_partial_begins_again() {
    let (blob, chunks) = pre_order(&noise(600_000, 1));
    let temp = temp_store(PLENTY);
    let mut download = begin(&temp.store, "a", blob);
    chunks[..100].iter().for_each(|chunk| download.accept(chunk.clone()).unwrap());
    download.save().unwrap();
    drop(download);
    let temp = temp.reopen(PLENTY, |path| spoil(path, &chunks[1].wire()[8..100]));
    let mut download = begin(&temp.store, "a", blob);
    assert_eq!(download.saved_chunks(), 0);
    chunks.into_iter().for_each(|chunk| download.accept(chunk).unwrap());
    download.save().unwrap();
    assert!(temp.store.read_blob(&blob, PLENTY).unwrap() == noise(600_000, 1));
    assert_eq!(temp.store.used_bytes().unwrap(), shape::stored_bytes(600_000));
}
