//! A copy of the store as it was at one moment: everything that is kept, nothing that can be had again, while others write.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use common::{noise, owner, pre_order, spoil, temp_store};
use manyhands_blob::redundancy::Level;
use manyhands_blob::store::{CopyError, Snapshot};
use manyhands_blob::{AnyChunk, Chunk, ChunkStore, StoreError};

const PLENTY: u64 = 1 << 30;

fn copy(snapshot: Snapshot, path: &Path) -> u64 {
    let mut heard = 0;
    snapshot
        .copy_to(path, |bytes| {
            heard += bytes;
            Ok::<_, CopyError>(())
        })
        .unwrap();
    heard
}

fn assert_sound(store: &ChunkStore) {
    let report = store.scrub(None, |_, _| ControlFlow::Continue(())).unwrap();
    assert_eq!((report.corrupt, report.disagreements, report.next), (vec![], vec![], None));
}

#[test]
fn what_is_kept_is_in_the_copy_and_the_cache_is_not() {
    let temp = temp_store(PLENTY);
    let (store, a) = (&temp.store, owner("a"));
    let (shared, private) = (noise(300_000, 1), noise(200_000, 2));
    let held = store.put_blob(&a, &shared).unwrap();
    // Shares all but its last chunks with what is held, and packs with everything.
    let half = store.put_blob(&owner("b"), &[&shared[..200_000], b"else"].concat()).unwrap();
    let tree = store.put_tree(&a, &private[..], PLENTY, Level::Medium).unwrap();
    let idle_tree = store.put_tree(&owner("b"), &noise(150_000, 3)[..], PLENTY, Level::Medium).unwrap();
    let pinned = store.put_blob(&owner("b"), &noise(9_000, 4)).unwrap();
    store.pin(&pinned.reference).unwrap();
    let single = Chunk::from_payload(5, b"alone").unwrap();
    store.put_chunk(&a, &AnyChunk::Content(single.clone())).unwrap();
    let (coming, chunks) = pre_order(&noise(100_000, 5));
    let mut download = store.begin_download(&a, coming).unwrap().unwrap();
    chunks[..9].iter().for_each(|chunk| download.accept(chunk.clone()).unwrap());
    download.save().unwrap();
    store.release_owner_to_cache(&owner("b")).unwrap();
    let before = store.usage().unwrap();
    assert!(before.cached_bytes > 0 && store.cached().unwrap().len() == 2);

    let snapshot = store.snapshot().unwrap();
    // What happens from here on is not in it: held blobs go, others come.
    let later = store.put_blob(&a, &noise(50_000, 6)).unwrap();
    store.release(&a, &held.reference).unwrap();
    drop(download);

    let path = temp.path.with_file_name("copy.redb");
    let kept_bytes = before.used_bytes - before.cached_bytes;
    assert_eq!(snapshot.kept_bytes(), kept_bytes);
    let heard = copy(snapshot, &path);
    assert!((kept_bytes..kept_bytes + kept_bytes / 50).contains(&heard), "{heard} of {kept_bytes}");
    let copied = ChunkStore::open(&path, PLENTY).unwrap();
    assert_sound(&copied);
    let usage = copied.usage().unwrap();
    assert_eq!((usage.used_bytes, usage.cached_bytes), (kept_bytes, 0));
    assert_eq!(usage.reserved_bytes, before.reserved_bytes);
    assert!(copied.read_blob(&held, PLENTY).unwrap() == shared);
    let mut bytes = Vec::new();
    copied.tree_reader(&tree.reference, PLENTY).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes == private && copied.has(&pinned).unwrap() && copied.is_pinned(&pinned.reference).unwrap());
    assert!(copied.get_chunk(&single.reference()).unwrap().is_some());
    assert!(copied.cached().unwrap().is_empty());
    assert!([half, later].iter().all(|blob| !copied.has(blob).unwrap()));
    assert!(copied.tree_reader(&idle_tree.reference, PLENTY).is_err());
    assert_eq!(copied.owners().unwrap(), [a.clone()].into());

    // The copy is a store like any other: the download goes on, what is released goes, new things come.
    let mut download = copied.begin_download(&a, coming).unwrap().unwrap();
    chunks[9..].iter().for_each(|chunk| download.accept(chunk.clone()).unwrap());
    download.save().unwrap();
    assert!(copied.has(&coming).unwrap());
    copied.put_blob(&a, &noise(50_000, 6)).unwrap();
    copied.release_owner(&a).unwrap();
    assert_sound(&copied);
    // And the original was not touched.
    assert_sound(store);
    assert!(store.has(&later).unwrap() && store.has(&half).unwrap() && !store.has(&held).unwrap());
}

#[test]
fn an_empty_store_has_an_empty_copy_and_a_large_one_takes_no_more_than_is_said() {
    let temp = temp_store(PLENTY);
    let (first, second) = (temp.path.with_file_name("1.redb"), temp.path.with_file_name("2.redb"));
    assert_eq!(copy(temp.store.snapshot().unwrap(), &first), 0);
    let empty = ChunkStore::open(&first, PLENTY).unwrap();
    assert_sound(&empty);
    assert_eq!(empty.used_bytes().unwrap(), 0);

    for seed in 0..20 {
        temp.store.put_blob(&owner("a"), &noise(2_000_000, seed)).unwrap();
    }
    let snapshot = temp.store.snapshot().unwrap();
    let file_bytes = snapshot.file_bytes();
    copy(snapshot, &second);
    let file = std::fs::metadata(&second).unwrap();
    let disk_bytes = std::os::unix::fs::MetadataExt::blocks(&file) * 512;
    assert!(disk_bytes <= file_bytes, "{disk_bytes} of {file_bytes}");
    assert!(file.len() <= file_bytes, "{} of {file_bytes}", file.len());
    assert_sound(&ChunkStore::open(&second, PLENTY).unwrap());
}

#[derive(Debug)]
enum Ended {
    ByCaller,
    Copy(CopyError),
}

impl From<CopyError> for Ended {
    fn from(error: CopyError) -> Self {
        Self::Copy(error)
    }
}

/// Whoever copies can stop at every look, and hears why; the store is free then.
#[test]
fn the_work_ends_with_the_caller_s_own_error() {
    let temp = temp_store(PLENTY);
    let blob = temp.store.put_blob(&owner("a"), &noise(500_000, 1)).unwrap();
    let path = temp.path.with_file_name("copy.redb");
    for looks_max in 0.. {
        let _ = std::fs::remove_file(&path);
        let mut looks = 0;
        let ended = temp.store.snapshot().unwrap().copy_to(&path, |_| {
            looks += 1;
            if looks > looks_max { Err(Ended::ByCaller) } else { Ok(()) }
        });
        match ended {
            Err(Ended::ByCaller) => assert_eq!(looks, looks_max + 1),
            Err(Ended::Copy(error)) => panic!("{error}"),
            Ok(()) => {
                assert!(looks_max > 2, "at the packs, and before the copy is compacted");
                break;
            }
        }
    }
    assert!(temp.store.has(&blob).unwrap());
    assert!(temp.store.gc(std::time::Duration::ZERO).unwrap().compacted, "nobody reads any more");
}

/// What the store is short of and what the copy is short of are two things.
#[test]
fn a_copy_that_cannot_be_written_is_not_told_as_the_store_s_failure() {
    let temp = temp_store(PLENTY);
    temp.store.put_blob(&owner("a"), &noise(500_000, 1)).unwrap();
    let nowhere = temp.path.with_file_name("no/such/folder/copy.redb");
    let failed = temp.store.snapshot().unwrap().copy_to(&nowhere, |_| Ok::<_, CopyError>(())).unwrap_err();
    let CopyError::Unwritten { source } = &failed else { panic!("{failed:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    // Nothing can be written there, as on a full disk.
    #[cfg(target_os = "linux")]
    {
        let failed = temp.store.snapshot().unwrap().copy_to(Path::new("/dev/full"), |_| Ok::<_, CopyError>(()));
        assert!(matches!(failed, Err(CopyError::Unwritten { .. })), "{failed:?}");
    }
}

/// A damaged chunk is as damaged in the copy: nothing is made up, and the rest is there.
#[test]
fn damage_is_copied_as_damage() {
    let temp = temp_store(PLENTY);
    let (good, bad) = (noise(100_000, 1), noise(100_000, 2));
    let (good_blob, bad_blob) =
        (temp.store.put_blob(&owner("a"), &good).unwrap(), temp.store.put_blob(&owner("a"), &bad).unwrap());
    let temp = temp.reopen(PLENTY, |path| spoil(path, &bad[50_000..50_064]));
    let path = temp.path.with_file_name("copy.redb");
    copy(temp.store.snapshot().unwrap(), &path);
    let copied = ChunkStore::open(&path, PLENTY).unwrap();
    assert!(copied.read_blob(&good_blob, PLENTY).unwrap() == good);
    assert!(matches!(copied.read_blob(&bad_blob, PLENTY), Err(StoreError::Corrupt { .. })));
    assert_eq!(copied.scrub(None, |_, _| ControlFlow::Continue(())).unwrap().corrupt.len(), 1);
}
