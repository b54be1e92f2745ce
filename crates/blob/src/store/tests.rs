//! What needs a disk of our own making: one that fills up, and one quick enough for many random steps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod model;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use redb::{Builder, Database, StorageBackend};

use super::*;
use crate::chunk::Chunk;
use crate::shape;

/// A disk that outlives its openers and can be made full: then it takes no byte more.
#[derive(Debug, Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn refuse_if_full(&self) -> Result<()> {
        if self.full.load(Ordering::Relaxed) { Err(Error::from(ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn store(&self, limit_bytes: u64) -> ChunkStore {
        let disk = self.clone();
        let opener = move || -> std::result::Result<Database, redb::DatabaseError> {
            Builder::new().create_with_backend(disk.clone())
        };
        ChunkStore::with_file(StoreFile::with_opener(Box::new(opener)).unwrap(), Bounds::new(limit_bytes)).unwrap()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let at = offset as usize;
        out.copy_from_slice(&self.bytes.lock().unwrap()[at..at + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.refuse_if_full()?;
        self.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        self.refuse_if_full()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.refuse_if_full()?;
        let at = offset as usize;
        self.bytes.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
}

fn noise(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|i| (i / 4096 * 7 + i % 253) as u8 ^ seed).collect()
}

#[test]
fn a_full_disk_is_told_apart_and_survived() {
    let disk = Disk::default();
    let store = disk.store(1 << 30);
    let kept = store.put_blob(&owner("a"), &noise(100_000, 1)).unwrap();

    disk.full.store(true, Ordering::Relaxed);
    let reader = store.reader(&kept).unwrap();
    let error = store.put_blob(&owner("a"), &noise(100_000, 2)).unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
    let again = store.put_blob(&owner("a"), &noise(100_000, 2)).unwrap_err();
    assert!(matches!(again, StoreError::DiskFull { .. }), "{again:?}");
    drop(reader);

    // Once there is room the same store goes on, with what was acknowledged and nothing else.
    disk.full.store(false, Ordering::Relaxed);
    assert!(store.read_blob(&kept, 1 << 20).unwrap() == noise(100_000, 1));
    assert_eq!(store.used_bytes().unwrap(), shape::stored_bytes(100_000));
    let more = store.put_blob(&owner("a"), &noise(100_000, 2)).unwrap();
    assert!(store.has(&more).unwrap());
}

/// The disk as a killed process leaves it: nothing was closed.
#[test]
fn what_was_acknowledged_survives_a_kill() {
    let disk = Disk::default();
    let store = disk.store(1 << 30);
    let (blob, chunks) = pre_order(&noise(100_000, 2));
    let kept = store.put_blob(&owner("a"), &noise(100_000, 1)).unwrap();
    let mut download = store.begin_download(&owner("a"), blob).unwrap().unwrap();
    chunks[..9].iter().for_each(|chunk| download.accept(chunk.clone()).unwrap());
    download.save().unwrap();
    download.accept(chunks[9].clone()).unwrap();

    let image = Disk { bytes: Arc::new(Mutex::new(disk.bytes.lock().unwrap().clone())), full: Arc::default() };
    let after = image.store(1 << 30);
    assert!(after.read_blob(&kept, 1 << 20).unwrap() == noise(100_000, 1));
    assert!(!after.has(&blob).unwrap());
    let mut resumed = after.begin_download(&owner("a"), blob).unwrap().unwrap();
    assert_eq!(resumed.saved_chunks(), 9);
    chunks[9..].iter().for_each(|chunk| resumed.accept(chunk.clone()).unwrap());
    resumed.save().unwrap();
    assert!(after.read_blob(&blob, 1 << 20).unwrap() == noise(100_000, 2));
}

#[test]
fn another_format_is_refused() {
    let disk = Disk::default();
    let store = disk.store(1 << 30);
    let txn = store.inner.file.begin_write().unwrap();
    txn.open_table(tables::COUNTERS).unwrap().insert("format", 3).unwrap();
    txn.commit().unwrap();
    drop(store);
    let opener = move || Builder::new().create_with_backend(disk.clone());
    let refused = ChunkStore::with_file(StoreFile::with_opener(Box::new(opener)).unwrap(), Bounds::new(1));
    assert!(matches!(refused, Err(StoreError::Format { found: 3, wanted: 2 })));
}

/// A file as format 1 left it: blobs and a download, and none of the tables that came later.
#[test]
fn a_file_of_format_1_is_migrated() {
    let disk = Disk::default();
    let store = disk.store(1 << 30);
    let kept = store.put_blob(&owner("a"), &noise(100_000, 1)).unwrap();
    let (begun, chunks) = pre_order(&noise(50_000, 2));
    let mut download = store.begin_download(&owner("b"), begun).unwrap().unwrap();
    chunks[..5].iter().for_each(|chunk| download.accept(chunk.clone()).unwrap());
    download.save().unwrap();
    drop(download);
    let used_bytes = store.used_bytes().unwrap();

    let txn = store.inner.file.begin_write().unwrap();
    txn.open_table(tables::BLOBS_1).unwrap().insert(kept.reference.as_bytes(), (100_000, 1, false)).unwrap();
    txn.delete_table(tables::ROOTS).unwrap();
    txn.delete_table(tables::LISTS).unwrap();
    txn.delete_table(tables::CACHE).unwrap();
    txn.delete_table(tables::CACHE_ORDER).unwrap();
    txn.delete_table(tables::IDLE).unwrap();
    txn.delete_table(tables::PARTIAL_TIMES).unwrap();
    let mut counters = txn.open_table(tables::COUNTERS).unwrap();
    counters.insert("format", 1).unwrap();
    for name in [tables::CACHED_BYTES, tables::NEXT_LIST, tables::NEXT_USE] {
        counters.remove(name).unwrap();
    }
    drop(counters);
    txn.commit().unwrap();
    drop(store);

    let store = disk.store(1 << 30);
    assert!(store.read_blob(&kept, 1 << 20).unwrap() == noise(100_000, 1));
    assert_eq!(store.used_bytes().unwrap(), used_bytes);
    let age = std::time::Duration::from_secs(3600);
    assert_eq!(store.gc(age).unwrap().partials, 0, "a download is as old as the migration");
    assert_eq!(store.begin_download(&owner("b"), begun).unwrap().unwrap().saved_chunks(), 5);
    assert!(store.release_to_cache(&owner("a"), &kept.reference).unwrap());
    let report = store.scrub(None, |_, _| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!((report.corrupt, report.disagreements), (vec![], vec![]));
}

/// One random step on the store.
#[derive(Debug, Clone)]
enum Step {
    Put(usize, usize),
    Release(usize, usize),
    Download(usize, usize, usize),
    Discard(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..2usize, 0..5usize).prop_map(|(who, what)| Step::Put(who, what)),
        (0..2usize, 0..5usize).prop_map(|(who, what)| Step::Release(who, what)),
        (0..2usize, 0..5usize, 0..40usize).prop_map(|(who, what, upto)| Step::Download(who, what, upto)),
        (0..5usize).prop_map(Step::Discard),
    ];
    proptest::collection::vec(step, 1..25)
}

/// What the store should hold: owners of complete blobs, and chunks held of partial ones.
#[derive(Default)]
struct Model {
    holders: BTreeMap<usize, BTreeSet<usize>>,
    /// Chunks held, and who downloads.
    partials: BTreeMap<usize, (usize, usize)>,
}

/// Five blobs that share leaves: prefixes of one noise, and one with all leaves equal.
fn blobs() -> Vec<(BlobRef, Vec<Chunk>, Vec<u8>)> {
    let long = noise(30 * 4096 + 5, 0);
    let cuts = [3 * 4096, 9 * 4096 + 5, 20 * 4096, long.len()].map(|cut| long[..cut].to_vec());
    cuts.into_iter()
        .chain([vec![7; 5 * 4096]])
        .map(|bytes| (pre_order(&bytes), bytes))
        .map(|((r, c), b)| (r, c, b))
        .collect()
}

fn pre_order(bytes: &[u8]) -> (BlobRef, Vec<Chunk>) {
    let store = Disk::default().store(1 << 30);
    let blob = store.put_blob(&owner("x"), bytes).unwrap();
    let mut reader = store.reader(&blob).unwrap();
    (blob, std::iter::from_fn(|| reader.next_chunk().unwrap()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// After any steps the bytes used are those of the distinct chunks that somebody needs, and what should be there
    /// can be read.
    #[test]
    fn uses_are_counted_right(steps in steps()) {
        let blobs = blobs();
        let owners = [owner("a"), owner("b")];
        let store = Disk::default().store(1 << 30);
        let mut model = Model::default();
        for step in steps {
            model.take(&step, &store, &owners, &blobs);
            let needed = model.needed(&blobs);
            let usage = store.usage().unwrap();
            prop_assert_eq!(usage.used_bytes, needed.values().sum::<u64>());
            let reserved: u64 = model.partials.iter().map(|(what, (held, _))| rest_bytes(&blobs[*what].1, *held)).sum();
            prop_assert_eq!(usage.reserved_bytes, reserved);
            for (what, (blob, _, bytes)) in blobs.iter().enumerate() {
                let held = model.holders.get(&what).is_some_and(|holders| !holders.is_empty());
                prop_assert_eq!(store.has(blob).unwrap(), held);
                if held {
                    prop_assert!(store.read_blob(blob, 1 << 20).unwrap() == *bytes);
                }
            }
        }
    }
}

fn rest_bytes(chunks: &[Chunk], held: usize) -> u64 {
    chunks[held..].iter().map(|chunk| chunk.wire().len() as u64).sum()
}

impl Model {
    fn take(&mut self, step: &Step, store: &ChunkStore, owners: &[Owner], blobs: &[(BlobRef, Vec<Chunk>, Vec<u8>)]) {
        match *step {
            Step::Put(who, what) => {
                store.put_blob(&owners[who], &blobs[what].2).unwrap();
                self.holders.entry(what).or_default().insert(who);
            }
            Step::Release(who, what) => {
                let released = store.release(&owners[who], &blobs[what].0.reference).unwrap();
                let held = self.holders.entry(what).or_default().remove(&who);
                let begun = self.partials.get(&what).is_some_and(|(_, by)| *by == who);
                if begun {
                    self.partials.remove(&what);
                }
                assert_eq!(released, held || begun);
            }
            Step::Download(who, what, upto) => self.download(store, &owners[who], who, what, upto, &blobs[what]),
            Step::Discard(what) => {
                let held = self.holders.remove(&what).is_some_and(|holders| !holders.is_empty());
                let begun = self.partials.remove(&what).is_some();
                assert_eq!(store.discard(&blobs[what].0.reference).unwrap(), held || begun);
            }
        }
    }

    fn download(
        &mut self,
        store: &ChunkStore,
        owner: &Owner,
        who: usize,
        what: usize,
        upto: usize,
        (blob, chunks, _): &(BlobRef, Vec<Chunk>, Vec<u8>),
    ) {
        let Some(mut download) = store.begin_download(owner, *blob).unwrap() else {
            self.partials.remove(&what);
            assert!(!self.holders[&what].is_empty());
            self.holders.entry(what).or_default().insert(who);
            return;
        };
        let (held, _) = *self.partials.entry(what).or_default();
        assert_eq!(download.saved_chunks(), held as u64);
        let upto = upto.min(chunks.len()).max(held);
        chunks[held..upto].iter().for_each(|chunk| download.accept(chunk.clone()).unwrap());
        download.save().unwrap();
        self.partials.insert(what, (upto, who));
        if upto == chunks.len() {
            self.partials.remove(&what);
            self.holders.entry(what).or_default().insert(who);
        }
    }

    fn needed(&self, blobs: &[(BlobRef, Vec<Chunk>, Vec<u8>)]) -> BTreeMap<Reference, u64> {
        let complete =
            self.holders.iter().filter(|(_, holders)| !holders.is_empty()).map(|(what, _)| (*what, usize::MAX));
        let begun = self.partials.iter().map(|(what, (held, _))| (*what, *held));
        let chunks = complete.chain(begun).flat_map(|(what, count)| blobs[what].1.iter().take(count));
        chunks.map(|chunk| (chunk.reference(), chunk.wire().len() as u64)).collect()
    }
}
