//! What a write that finds no room on the disk leaves behind: the refusal, the cache, and the reads that it was to write down.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::*;

const MB: u64 = 1 << 20;

#[derive(Debug, Clone)]
struct Gauge(Arc<AtomicU64>);

impl FreeSpace for Gauge {
    fn free_bytes(&self) -> Result<u64> {
        Ok(self.0.load(Ordering::Relaxed))
    }
}

/// A store on `disk` whose file is as large as the one at `path`, and the room beside it, of which 100 MB are left alone.
fn store_on(disk: &Disk, path: &Path) -> (ChunkStore, Arc<AtomicU64>) {
    let (disk, free) = (disk.clone(), Arc::new(AtomicU64::new(1_000 * MB)));
    let opener = move || Builder::new().create_with_backend(disk.clone());
    let file = StoreFile::with_opener(Box::new(opener)).unwrap().with_size_of(path.to_owned());
    let bounds = Bounds::new(1 << 40).with_floor(100 * MB, Gauge(Arc::clone(&free)));
    (ChunkStore::with_file(file, bounds).unwrap(), free)
}

fn cached(store: &ChunkStore, size: u64, seed: u8) -> BlobRef {
    let blob = store.put_blob(&owner("x"), &noise(size as usize, seed)).unwrap();
    store.release_to_cache(&owner("x"), &blob.reference).unwrap();
    blob
}

fn download(store: &ChunkStore, size_bytes: u64) -> std::result::Result<(), StoreError> {
    let blob = BlobRef { reference: Reference([9; 32]), size_bytes };
    store.begin_download(&owner("a"), blob).map(drop)
}

/// 24 MB of file with 2 MB of chunks, all of them cache: 15 MB more do not fit, but would without the cache.
#[test]
fn a_cache_that_cannot_yield_changes_no_refusal_and_forgets_no_read() {
    let mut sized = tempfile::NamedTempFile::new().unwrap();
    sized.write_all(&vec![7; (24 * MB) as usize]).unwrap();
    sized.as_file().sync_all().unwrap();
    let disk = Disk::default();
    let (store, free) = store_on(&disk, sized.path());
    let (first, second) = (cached(&store, MB, 1), cached(&store, MB, 2));
    store.read_blob(&first, MB).unwrap();
    free.store(90 * MB, Ordering::Relaxed);

    disk.full.store(true, Ordering::Relaxed);
    let refused = download(&store, 15 * MB).unwrap_err();
    assert!(matches!(refused, StoreError::LowSpace { missing_bytes: 1.., .. }), "{refused:?}");
    disk.full.store(false, Ordering::Relaxed);
    assert_eq!(store.cached().unwrap(), [second.reference, first.reference], "the read of the first was not forgotten");

    // What would not be enough is not given away.
    assert!(matches!(download(&store, 32 * MB), Err(StoreError::LowSpace { .. })));
    assert_eq!(store.cached().unwrap().len(), 2);
    download(&store, 15 * MB).unwrap();
    assert_eq!(store.cached().unwrap(), []);
}

#[test]
fn without_a_cache_a_refusal_writes_nothing() {
    let mut sized = tempfile::NamedTempFile::new().unwrap();
    sized.write_all(&vec![7; MB as usize]).unwrap();
    let disk = Disk::default();
    let (store, free) = store_on(&disk, sized.path());
    store.put_blob(&owner("a"), b"held").unwrap();
    free.store(90 * MB, Ordering::Relaxed);
    let before = disk.bytes.lock().unwrap().clone();
    assert!(matches!(store.put_blob(&owner("a"), &noise(5_000, 1)), Err(StoreError::LowSpace { .. })));
    assert!(*disk.bytes.lock().unwrap() == before);
}

/// What the limit evicts for a write leaves no room for the same write: its pages are used anew by the next one only. So that is begun anew, if
/// what is stored can be had again.
#[test]
fn what_a_write_evicts_is_no_room_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (path, free) = (folder.path().join("chunks.redb"), Arc::new(AtomicU64::new(1_000 * MB)));
    let open = |limit_bytes| {
        let bounds = Bounds::new(limit_bytes).with_floor(100 * MB, Gauge(Arc::clone(&free)));
        ChunkStore::open_within(&path, bounds).unwrap()
    };
    let store = open(1 << 40);
    let old = cached(&store, 20 * MB, 1);
    let gone = store.put_blob(&owner("b"), &noise((10 * MB) as usize, 2)).unwrap();
    store.discard(&gone.reference).unwrap();
    drop(store);
    // The first chunks find room where that was, and the limit has all the cache evicted for those after them.
    let store = open(21 * MB);
    free.store(90 * MB, Ordering::Relaxed);
    let before_bytes = std::fs::metadata(&path).unwrap().len();

    let bytes = noise((16 * MB) as usize, 3);
    let refused = store.put_reader(&owner("b"), &bytes[..], 16 * MB).unwrap_err();
    assert!(matches!(refused, StoreError::LowSpace { .. }), "{refused:?}");
    assert!(!store.has(&old).unwrap(), "it has gone after the refusal");
    store.put_blob(&owner("b"), &bytes).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() <= before_bytes);
}
