//! Roots of every kind, pins, the cache, the floor, and clearing up: the store's promises beyond blobs, on real files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{TempStore, noise, owner, pre_order, spoil, temp_store};
use manyhands_blob::encryption::EncryptedReference;
use manyhands_blob::redundancy::Level;
use manyhands_blob::soc::OwnerKey;
use manyhands_blob::store::{Admission, Bounds, Corruption, DiskSpace, FreeSpace, Report};
use manyhands_blob::{AnyChunk, AnyReference, Chunk, ChunkStore, ReadError, StoreError, shape};
use manyhands_proto::Reference;

const PLENTY: u64 = 1 << 30;

fn randomness() -> impl FnMut(&mut [u8]) {
    let mut state = 1_u64;
    move |bytes| {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

fn read(mut reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

fn scrub(store: &ChunkStore) -> Report {
    store.scrub(None, |_, _| ControlFlow::Continue(())).unwrap()
}

fn assert_sound(store: &ChunkStore) {
    let report = scrub(store);
    assert_eq!((report.corrupt, report.disagreements, report.next), (vec![], vec![], None));
}

#[test]
fn trees_of_every_scheme_come_back_and_go() {
    let mut temp = temp_store(PLENTY);
    let owner = owner("a");
    for size in [0, 1, 4096, 4097, 700_000] {
        let bytes = noise(size, 3);
        for level in Level::ALL {
            let tree = temp.store.put_tree(&owner, &bytes[..], PLENTY, level).unwrap();
            let root = temp.store.put_encrypted_tree(&owner, &bytes[..], PLENTY, level, randomness()).unwrap();
            temp = temp.reopen(PLENTY, |_| {});
            assert!(read(temp.store.tree_reader(&tree.reference, PLENTY).unwrap()) == bytes);
            assert!(read(temp.store.encrypted_tree_reader(&root, PLENTY).unwrap()) == bytes);
            assert_eq!(temp.store.has(&tree).unwrap(), level == Level::None || size <= 4096);
            assert_sound(&temp.store);

            // Stored twice, counted once.
            let used_bytes = temp.store.used_bytes().unwrap();
            assert_eq!(temp.store.put_tree(&owner, &bytes[..], PLENTY, level).unwrap(), tree);
            assert_eq!(temp.store.used_bytes().unwrap(), used_bytes);
            assert_sound(&temp.store);
            let mut held = temp.store.held_roots(&owner).unwrap();
            held.sort();
            let mut roots = [tree.reference, root.address];
            roots.sort();
            assert_eq!(held, roots);
            assert_eq!(temp.store.release_owner(&owner).unwrap(), 2);
            assert_eq!(temp.store.used_bytes().unwrap(), 0);
            assert_sound(&temp.store);
        }
    }
}

#[test]
fn no_key_is_in_the_file() {
    let temp = temp_store(PLENTY);
    let root = temp.store.put_encrypted_tree(&owner("a"), io::repeat(7).take(9000), PLENTY, Level::None, randomness());
    let digits = root.unwrap().reveal();
    let key: Vec<u8> = (64..128).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    let file = std::fs::read(&temp.path).unwrap();
    assert!(!file.windows(32).any(|window| window == key));
}

#[test]
fn a_levelled_tree_reads_with_spoilt_leaves() {
    let temp = temp_store(PLENTY);
    let bytes = noise(300_000, 1);
    let tree = temp.store.put_tree(&owner("a"), &bytes[..], PLENTY, Level::Medium).unwrap();
    let temp = temp.reopen(PLENTY, |path| spoil(path, &bytes[9000..9100]));
    assert!(read(temp.store.tree_reader(&tree.reference, PLENTY).unwrap()) == bytes);
    let leaf = manyhands_blob::reference_of(&bytes[8192..12_288]);
    let known = Corruption { chunk: leaf, roots: vec![tree.reference] };
    assert_eq!(scrub(&temp.store).corrupt, [known]);
    assert!(matches!(temp.store.get_chunk(&leaf), Err(StoreError::Corrupt { .. })));
    let small = temp.store.tree_reader(&tree.reference, 299_999).unwrap().next_piece();
    assert!(matches!(small, Err(StoreError::Malformed { source: ReadError::TooLarge { .. }, .. })));
}

#[test]
fn single_chunks_of_both_kinds_are_shared_with_trees() {
    let temp = temp_store(PLENTY);
    let bytes = noise(8192, 1);
    let (blob, chunks) = pre_order(&bytes);
    let signed = OwnerKey::new(&[1; 32]).unwrap().sign([7; 32], chunks[1].clone()).unwrap();
    let signed = AnyChunk::from(signed);
    temp.store.put_chunk(&owner("a"), &signed).unwrap();
    for chunk in &chunks {
        temp.store.put_chunk(&owner("a"), &chunk.clone().into()).unwrap();
        assert_eq!(temp.store.get_chunk(&chunk.reference()).unwrap(), Some(chunk.clone().into()));
    }
    assert_eq!(temp.store.get_chunk(&signed.reference()).unwrap(), Some(signed.clone()));
    assert_eq!(temp.store.get_chunk(&Reference([9; 32])).unwrap(), None);
    assert!(!temp.store.has(&blob).unwrap(), "its root alone was put");
    let singles = temp.store.used_bytes().unwrap();
    temp.store.put_blob(&owner("b"), &bytes).unwrap();
    assert_eq!(temp.store.used_bytes().unwrap(), singles);
    assert_sound(&temp.store);
    assert_eq!(temp.store.release_owner(&owner("a")).unwrap(), 4);
    assert_eq!(temp.store.used_bytes().unwrap(), shape::stored_bytes(8192));
    assert!(temp.store.read_blob(&blob, PLENTY).unwrap() == bytes);
    assert_sound(&temp.store);
}

/// The address does not tell zeros at the end: whoever brings a chunk with others must not spoil a blob.
#[test]
fn padding_does_not_spoil_a_blob() {
    let temp = temp_store(PLENTY);
    let blob = temp.store.put_blob(&owner("a"), b"foo").unwrap();
    let padded = Chunk::from_payload(3, b"foo\0\0\0").unwrap();
    assert_eq!(padded.reference(), blob.reference);
    temp.store.put_chunk(&owner("b"), &padded.clone().into()).unwrap();
    assert_eq!(temp.store.read_blob(&blob, 9).unwrap(), b"foo");
    temp.store.release_owner(&owner("a")).unwrap();
    temp.store.release_owner(&owner("b")).unwrap();
    temp.store.put_chunk(&owner("b"), &padded.into()).unwrap();
    temp.store.put_blob(&owner("a"), b"foo").unwrap();
    assert_eq!(temp.store.read_blob(&blob, 9).unwrap(), b"foo");
    assert_eq!(temp.store.used_bytes().unwrap(), 11);
    assert_sound(&temp.store);
}

#[test]
fn a_pin_survives_the_owners_and_needs_the_whole_tree() {
    let temp = temp_store(PLENTY);
    let bytes = noise(530_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let put = |range: std::ops::Range<usize>| {
        chunks[range].iter().for_each(|chunk| temp.store.put_chunk(&owner("a"), &chunk.clone().into()).unwrap());
    };
    let nothing = temp.store.pin(&blob.reference).unwrap_err();
    assert!(matches!(nothing, StoreError::Incomplete { missing_count: 1, .. }), "{nothing}");
    put(0..120);
    match temp.store.pin(&blob.reference).unwrap_err() {
        StoreError::Incomplete { missing, missing_count, .. } => {
            // The last ones are below an interior chunk that misses, so nobody knows them.
            let due: Vec<_> = chunks[120..=130].iter().map(Chunk::reference).collect();
            assert_eq!((missing_count, missing), (11, due));
        }
        error => panic!("{error}"),
    }
    assert_eq!(temp.store.pins().unwrap(), []);
    put(120..chunks.len());
    assert!(temp.store.pin(&blob.reference).unwrap());
    assert!(!temp.store.pin(&blob.reference).unwrap());
    assert!(temp.store.is_pinned(&blob.reference).unwrap());
    assert_eq!(temp.store.pins().unwrap(), [blob.reference]);
    assert_eq!(temp.store.owners().unwrap().len(), 1, "a pin is no owner");
    temp.store.release_owner(&owner("a")).unwrap();
    assert_sound(&temp.store);
    let temp = temp.reopen(PLENTY, |_| {});
    assert!(temp.store.read_blob(&blob, PLENTY).unwrap() == bytes, "it is a blob as any other");
    assert!(temp.store.unpin(&blob.reference).unwrap());
    assert!(!temp.store.unpin(&blob.reference).unwrap());
    assert_eq!(temp.store.cached().unwrap(), [blob.reference]);
    assert_eq!(temp.store.shrink_cache(0).unwrap(), 1);
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
}

/// As an HTTP client does that encrypts by itself, or splits at a level: chunk by chunk, then a pin.
#[test]
fn an_owner_can_hold_what_is_here_in_whatever_way() {
    let temp = temp_store(PLENTY);
    let (uploader, keeper) = (owner("uploader"), owner("keeper"));
    let bytes = noise(300_000, 9);
    let tree = temp.store.put_tree(&uploader, &bytes[..], PLENTY, Level::Strong).unwrap();
    let sealed = temp.store.put_encrypted_tree(&uploader, &bytes[..], PLENTY, Level::None, randomness()).unwrap();
    for reference in [AnyReference::Plain(tree.reference), AnyReference::Encrypted(sealed)] {
        assert!(temp.store.hold_tree(&keeper, &reference).unwrap());
        assert!(!temp.store.hold_tree(&keeper, &reference).unwrap(), "held already");
    }
    temp.store.release_owner(&uploader).unwrap();
    assert!(read(temp.store.tree_reader(&tree.reference, PLENTY).unwrap()) == bytes);
    assert!(read(temp.store.encrypted_tree_reader(&sealed, PLENTY).unwrap()) == bytes);
    assert_sound(&temp.store);
    assert_eq!(temp.store.release_owner(&keeper).unwrap(), 2);
    assert_eq!(temp.store.used_bytes().unwrap(), 0);
    let gone = temp.store.hold_tree(&keeper, &AnyReference::Plain(tree.reference));
    assert!(matches!(gone, Err(StoreError::Incomplete { .. })), "{gone:?}");
}

#[test]
fn trees_put_chunk_by_chunk_can_be_pinned_with_their_parities() {
    let source = temp_store(PLENTY);
    let bytes = noise(100_000, 5);
    let plain = source.store.put_tree(&owner("a"), &bytes[..], PLENTY, Level::Strong).unwrap().reference;
    let encrypted =
        source.store.put_encrypted_tree(&owner("a"), &bytes[..], PLENTY, Level::Insane, randomness()).unwrap();
    let temp = temp_store(PLENTY);
    let pin_plain = |store: &ChunkStore| store.pin(&plain);
    let pin_encrypted = |store: &ChunkStore| store.pin_tree(&AnyReference::Encrypted(encrypted));
    copy_until_pinned(&source, &temp, pin_plain);
    copy_until_pinned(&source, &temp, pin_encrypted);
    temp.store.release_owner(&owner("b")).unwrap();
    assert_sound(&temp.store);
    assert_eq!(temp.store.used_bytes().unwrap(), source.store.used_bytes().unwrap());
    assert!(read(temp.store.tree_reader(&plain, PLENTY).unwrap()) == bytes);
    assert!(read(temp.store.encrypted_tree_reader(&encrypted, PLENTY).unwrap()) == bytes);
    // Without its key an encrypted root is the root of nothing.
    let lone = temp_store(PLENTY);
    let root = source.store.get_chunk(&encrypted.address).unwrap().unwrap();
    lone.store.put_chunk(&owner("b"), &root).unwrap();
    assert!(matches!(lone.store.pin(&encrypted.address), Err(StoreError::Malformed { .. })));
}

fn copy_until_pinned(from: &TempStore, to: &TempStore, pin: impl Fn(&ChunkStore) -> Result<bool, StoreError>) {
    for _ in 0..4 {
        match pin(&to.store) {
            Ok(is_new) => return assert!(is_new),
            Err(StoreError::Incomplete { missing, .. }) => {
                for address in missing {
                    let chunk = from.store.get_chunk(&address).unwrap().expect("the source has it");
                    to.store.put_chunk(&owner("b"), &chunk).unwrap();
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("more rounds than the tree is high");
}

/// A root can claim any size with few chunks that repeat; it is not walked without end.
#[test]
fn a_tree_larger_than_the_limit_is_not_pinned() {
    let temp = temp_store(1 << 20);
    let huge = Chunk::from_payload(1 << 50, &[7; 4096]).unwrap();
    temp.store.put_chunk(&owner("a"), &huge.clone().into()).unwrap();
    let refused = temp.store.pin(&huge.reference()).unwrap_err();
    assert!(matches!(refused, StoreError::Malformed { source: ReadError::TooLarge { .. }, .. }), "{refused}");
}

#[test]
fn the_cache_yields_oldest_use_first_and_nothing_else_does() {
    let each = shape::stored_bytes(40_000);
    let temp = temp_store(5 * each);
    let store = &temp.store;
    let put = |name: &str, seed: u64| store.put_blob(&owner(name), &noise(40_000, 2 * seed)).unwrap();
    let (held, pinned) = (put("job", 1), put("job", 2));
    store.pin(&pinned.reference).unwrap();
    assert!(store.release(&owner("job"), &pinned.reference).unwrap());
    let [x, y, z] = [3, 4, 5].map(|seed| put("done", seed));
    for blob in [x, y, z] {
        assert!(store.release_to_cache(&owner("done"), &blob.reference).unwrap());
    }
    assert_eq!(store.usage().unwrap().cached_bytes, 3 * each);
    assert_eq!(store.usage().unwrap().used_bytes, 5 * each);
    store.read_blob(&x, PLENTY).unwrap();
    assert_eq!(store.cached().unwrap(), [y, z, x].map(|blob| blob.reference));
    assert_eq!(store.admits(3 * 40_000).unwrap(), Admission::Yes);
    assert!(matches!(store.admits(4 * 40_000).unwrap(), Admission::OverLimit { .. }));

    let new = put("job", 6);
    assert!(!store.has(&y).unwrap());
    assert!([held, pinned, x, z, new].iter().all(|blob| store.has(blob).unwrap()));
    // What is asked for again is cache no more.
    store.hold(&owner("job"), &x).unwrap();
    put("job", 7);
    assert_eq!(store.cached().unwrap(), []);
    let full = store.put_blob(&owner("job"), b"one more").unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }));
    assert!(store.has(&x).unwrap() && !store.has(&z).unwrap());
    assert_sound(store);
}

#[test]
fn what_is_refused_evicts_nothing() {
    let each = shape::stored_bytes(40_000);
    let temp = temp_store(2 * each);
    let cached = temp.store.put_blob(&owner("a"), &noise(40_000, 1)).unwrap();
    temp.store.release_owner_to_cache(&owner("a")).unwrap();
    let refused = temp.store.put_blob(&owner("a"), &noise(100_000, 2)).unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }));
    assert!(temp.store.has(&cached).unwrap());
    // A download makes its room at once.
    let (blob, _) = pre_order(&noise(60_000, 3));
    drop(temp.store.begin_download(&owner("a"), blob).unwrap().unwrap());
    assert!(!temp.store.has(&cached).unwrap());
    assert_sound(&temp.store);
}

#[derive(Debug, Clone)]
struct Gauge(Arc<AtomicU64>);

impl FreeSpace for Gauge {
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.0.load(Ordering::Relaxed))
    }
}

#[test]
fn below_the_floor_nothing_new_is_taken_and_all_else_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1 << 30));
    let bounds = Bounds::new(PLENTY).with_floor(100 << 20, Gauge(Arc::clone(&free)));
    let store = ChunkStore::open_within(&folder.path().join("chunks.redb"), bounds).unwrap();
    let kept = store.put_blob(&owner("a"), &noise(40_000, 1)).unwrap();
    assert_eq!(store.admits(10 << 20).unwrap(), Admission::Yes);
    assert!(matches!(store.admits(800 << 20).unwrap(), Admission::LowSpace { .. }));

    free.store((100 << 20) - 1, Ordering::Relaxed);
    assert!(matches!(store.admits(0).unwrap(), Admission::LowSpace { .. }));
    let refused = store.put_blob(&owner("a"), b"new").unwrap_err();
    assert!(refused.to_string().contains("free some space on the disk"), "{refused}");
    let (other, _) = pre_order(&noise(10_000, 2));
    assert!(matches!(store.begin_download(&owner("a"), other), Err(StoreError::LowSpace { .. })));
    store.put_blob(&owner("b"), &noise(40_000, 1)).unwrap();
    assert!(store.read_blob(&kept, PLENTY).unwrap() == noise(40_000, 1));
    store.pin(&kept.reference).unwrap();
    assert_eq!(store.release_owner(&owner("a")).unwrap() + store.release_owner(&owner("b")).unwrap(), 2);
    assert!(store.unpin(&kept.reference).unwrap());
    assert_eq!(store.shrink_cache(0).unwrap(), 1);
    free.store(1 << 30, Ordering::Relaxed);
    store.put_blob(&owner("a"), b"new").unwrap();
}

/// The file shrinks little when chunks go, and what they leave inside it takes others though the disk is at its floor. What the cache has
/// is left at the first refusal, after which what can be had again is stored.
#[test]
fn what_went_makes_room_inside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1 << 30));
    let bounds = Bounds::new(PLENTY).with_floor(100 << 20, Gauge(Arc::clone(&free)));
    let path = folder.path().join("chunks.redb");
    let store = ChunkStore::open_within(&path, bounds).unwrap();
    store.put_blob(&owner("a"), &noise(16 << 20, 1)).unwrap();
    free.store(90 << 20, Ordering::Relaxed);
    let filled = (10..).find_map(|seed| store.put_blob(&owner("b"), &noise(1 << 20, seed)).err());
    assert!(matches!(filled, Some(StoreError::LowSpace { .. })));
    assert!(matches!(store.admits(1 << 20).unwrap(), Admission::LowSpace { .. }));

    store.release_owner(&owner("a")).unwrap();
    let before_bytes = std::fs::metadata(&path).unwrap().len();
    assert_eq!(store.admits(2 << 20).unwrap(), Admission::Yes);
    free.store(40 << 20, Ordering::Relaxed);
    assert!(matches!(store.admits(2 << 20).unwrap(), Admission::LowSpace { .. }), "others have filled the disk");
    free.store(90 << 20, Ordering::Relaxed);
    assert!(matches!(store.admits(64 << 20).unwrap(), Admission::LowSpace { .. }));
    store.put_blob(&owner("a"), &noise(2 << 20, 2)).unwrap();
    let (download, _) = pre_order(&noise(1 << 20, 3));
    drop(store.begin_download(&owner("a"), download).unwrap().unwrap());
    store.put_blob(&owner("a"), &noise(1 << 20, 4)).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() <= before_bytes);

    let filled = (100..).find_map(|seed| store.put_blob(&owner("a"), &noise(1 << 20, seed)).err());
    assert!(matches!(filled, Some(StoreError::LowSpace { .. })));
    store.release_owner_to_cache(&owner("a")).unwrap();
    assert_eq!(store.admits(4 << 20).unwrap(), Admission::Yes, "the cache yields");
    let refused = store.put_reader(&owner("b"), &noise(4 << 20, 6)[..], PLENTY);
    assert!(matches!(refused, Err(StoreError::LowSpace { .. })), "what comes from a reader cannot be had again");
    store.put_reader(&owner("b"), &noise(4 << 20, 6)[..], PLENTY).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() <= before_bytes);

    let filled = (200..).find_map(|seed| store.put_blob(&owner("a"), &noise(1 << 20, seed)).err());
    assert!(matches!(filled, Some(StoreError::LowSpace { .. })));
    store.release_owner_to_cache(&owner("b")).unwrap();
    store.put_blob(&owner("a"), &noise(4 << 20, 7)).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() <= before_bytes);
    assert_sound(&store);
}

/// Within one long write the disk is looked at again and again.
#[test]
fn a_long_write_stops_at_the_floor() {
    #[derive(Debug)]
    struct Shrinking(AtomicU64);
    impl FreeSpace for Shrinking {
        fn free_bytes(&self) -> io::Result<u64> {
            Ok(self.0.fetch_sub(1 << 20, Ordering::Relaxed))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds::new(PLENTY).with_floor(10 << 20, Shrinking(AtomicU64::new(12 << 20)));
    let store = ChunkStore::open_within(&folder.path().join("chunks.redb"), bounds).unwrap();
    let mut state = 0_u64;
    let endless = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.to_le_bytes()
    });
    let bytes: Vec<u8> = endless.take(3 << 20).flatten().collect();
    let refused = store.put_reader(&owner("a"), &bytes[..], PLENTY).unwrap_err();
    assert!(matches!(refused, StoreError::LowSpace { .. }), "{refused}");
    assert_eq!(store.used_bytes().unwrap(), 0);
}

#[test]
fn the_disk_tells_its_room() {
    let folder = tempfile::tempdir().unwrap();
    assert!(DiskSpace::of(folder.path()).free_bytes().unwrap() > 0);
    assert!(DiskSpace::of(&folder.path().join("missing")).free_bytes().is_err());
}

#[test]
fn scrubbing_names_what_is_corrupt_and_can_go_on_later() {
    let temp = temp_store(PLENTY);
    let (long, other) = (noise(700_000, 1), noise(50_000, 2));
    let a = temp.store.put_blob(&owner("a"), &long).unwrap();
    let b = temp.store.put_blob(&owner("a"), &long[..8192]).unwrap();
    let c = temp.store.put_blob(&owner("a"), &other).unwrap();
    let temp = temp.reopen(PLENTY, |path| spoil(path, &long[5000..5100]));
    let leaf = manyhands_blob::reference_of(&long[4096..8192]);
    let mut roots = vec![a.reference, b.reference];
    roots.sort();
    let mut reports = Vec::new();
    let (mut from, mut seen) = (None, 0);
    loop {
        let report = temp.store.scrub(from, |done, total| {
            seen += 1;
            assert!(done == seen && done <= total);
            if done % 5 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        reports.push(report.unwrap());
        from = reports[reports.len() - 1].next;
        if from.is_none() {
            break;
        }
    }
    assert!(reports.len() > 1);
    let corrupt: Vec<_> = reports.iter().flat_map(|report| report.corrupt.clone()).collect();
    assert_eq!(corrupt, [Corruption { chunk: leaf, roots }]);
    let good: u64 = reports.iter().map(|report| report.good_chunks).sum();
    // The smaller one adds its root only.
    assert_eq!(good, shape::chunk_count(700_000) + 1 + shape::chunk_count(50_000) - 1);
    assert!(reports.iter().all(|report| report.disagreements.is_empty()));
    assert!(temp.store.read_blob(&c, PLENTY).unwrap() == other);
}

#[test]
fn clearing_up_drops_old_downloads_and_shortens_the_file() {
    let temp = temp_store(PLENTY);
    let (blob, chunks) = pre_order(&noise(100_000, 1));
    let begin = || {
        let mut download = temp.store.begin_download(&owner("a"), blob).unwrap().unwrap();
        chunks[..9].iter().for_each(|chunk| download.accept(chunk.clone()).unwrap());
        download.save().unwrap();
        download
    };
    let running = begin();
    assert_eq!(temp.store.gc(Duration::ZERO).unwrap().partials, 0, "somebody works on it");
    drop(running);
    assert_eq!(temp.store.gc(Duration::from_secs(3600)).unwrap().partials, 0, "it is young");
    assert_eq!(temp.store.gc(Duration::ZERO).unwrap().partials, 1);
    assert_eq!(temp.store.used_bytes().unwrap(), 0);

    let kept = temp.store.put_blob(&owner("a"), &noise(100_000, 2)).unwrap();
    temp.store.put_blob(&owner("b"), &noise(8_000_000, 3)).unwrap();
    temp.store.release_owner(&owner("b")).unwrap();
    let before = std::fs::metadata(&temp.path).unwrap().len();
    let reader = temp.store.reader(&kept).unwrap();
    assert!(!temp.store.gc(Duration::ZERO).unwrap().compacted, "somebody reads");
    drop(reader);
    let collected = temp.store.gc(Duration::ZERO).unwrap();
    let after = std::fs::metadata(&temp.path).unwrap().len();
    assert!(collected.compacted && collected.stray_bytes == 0, "{collected:?}");
    assert!(collected.file_bytes == before - after && after < 4_000_000, "{collected:?}");
    assert!(temp.store.read_blob(&kept, PLENTY).unwrap() == noise(100_000, 2));
    assert_sound(&temp.store);
}

/// It is left alone amid a write, and cleared up later; nothing shared is lost.
#[test]
fn a_cached_root_that_cannot_be_read_is_cleared_up() {
    let each = shape::stored_bytes(50_000);
    let temp = temp_store(2 * each);
    let (bad, root) = (noise(50_000, 1), pre_order(&noise(50_000, 1)).1[0].clone());
    temp.store.put_blob(&owner("a"), &bad).unwrap();
    temp.store.release_owner_to_cache(&owner("a")).unwrap();
    let part = temp.store.put_blob(&owner("b"), &bad[..4096]).unwrap();
    let temp = temp.reopen(2 * each, |path| spoil(path, &root.wire()[8..80]));
    let full = temp.store.put_blob(&owner("a"), &noise(60_000, 2)).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }));
    let collected = temp.store.gc(Duration::ZERO).unwrap();
    assert_eq!((collected.unreadable, collected.stray_bytes), (1, 0));
    assert_eq!(temp.store.used_bytes().unwrap(), shape::stored_bytes(4096));
    assert_eq!(temp.store.usage().unwrap().cached_bytes, 0);
    assert!(temp.store.read_blob(&part, PLENTY).unwrap() == bad[..4096]);
    temp.store.put_blob(&owner("a"), &noise(60_000, 2)).unwrap();
    assert_sound(&temp.store);
}

#[test]
fn an_encrypted_root_is_pinned_and_unpinned_by_its_address() {
    let temp = temp_store(PLENTY);
    let put = temp.store.put_encrypted_tree(&owner("a"), &b"secret"[..], 99, Level::Medium, randomness());
    let root: EncryptedReference = put.unwrap();
    assert!(temp.store.pin(&root.address).unwrap());
    assert!(!temp.store.pin_tree(&AnyReference::Encrypted(root)).unwrap());
    temp.store.release_owner(&owner("a")).unwrap();
    assert_eq!(read(temp.store.encrypted_tree_reader(&root, 99).unwrap()), b"secret");
    assert!(temp.store.unpin(&root.address).unwrap());
    assert!(temp.store.discard(&root.address).unwrap());
    assert!(matches!(temp.store.encrypted_tree_reader(&root, 99), Err(StoreError::NotFound { .. })));
    assert_eq!(temp.store.usage().unwrap().cached_bytes, 0);
}
