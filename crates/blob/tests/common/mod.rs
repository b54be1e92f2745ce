//! What several suites need.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, dead_code)]

use std::convert::Infallible;
use std::path::PathBuf;

use manyhands_blob::store::Bounds;
use manyhands_blob::{Chunk, ChunkStore, Owner, Splitter, Walk};
use manyhands_proto::BlobRef;
use tempfile::TempDir;

/// A store in a folder of its own, and the folder.
pub struct TempStore {
    pub store: ChunkStore,
    pub path: PathBuf,
    _folder: TempDir,
}

pub fn temp_store(limit_bytes: u64) -> TempStore {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chunks.redb");
    TempStore { store: ChunkStore::open(&path, limit_bytes).unwrap(), path, _folder: folder }
}

impl TempStore {
    /// Closes the store, lets `meddle` change the file, and opens it again.
    pub fn reopen(self, limit_bytes: u64, meddle: impl FnOnce(&PathBuf)) -> TempStore {
        let Self { store, path, _folder } = self;
        drop(store);
        meddle(&path);
        TempStore { store: ChunkStore::open(&path, limit_bytes).unwrap(), path, _folder }
    }

    /// Closes the store and opens it again with other bounds.
    pub fn reopen_within(self, bounds: Bounds) -> TempStore {
        let Self { store, path, _folder } = self;
        drop(store);
        TempStore { store: ChunkStore::open_within(&path, bounds).unwrap(), path, _folder }
    }
}

pub fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
}

/// Bytes without a short period, so that chunks differ; other seeds give other bytes.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(size as u64) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// The blob's reference and its chunks in pre-order.
pub fn pre_order(bytes: &[u8]) -> (BlobRef, Vec<Chunk>) {
    let mut chunks = std::collections::BTreeMap::new();
    let mut keep = |chunk: Chunk| {
        chunks.insert(chunk.reference(), chunk);
        Ok::<(), Infallible>(())
    };
    let mut splitter = Splitter::new();
    splitter.update(bytes, &mut keep).unwrap();
    let blob = splitter.finish(&mut keep).unwrap();
    let mut walk = Walk::new(blob);
    let mut ordered = Vec::new();
    while let Some(expected) = walk.expected() {
        let chunk = &chunks[&expected.reference];
        walk.accept(chunk).unwrap();
        ordered.push(chunk.clone());
    }
    (blob, ordered)
}

/// Flips a bit wherever `pattern` lies in the file, which must be somewhere.
pub fn spoil(path: &PathBuf, pattern: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let mut found = 0;
    while let Some(at) = bytes.windows(pattern.len()).position(|window| window == pattern) {
        bytes[at] ^= 1;
        found += 1;
    }
    assert!(found > 0, "the pattern is in the file");
    std::fs::write(path, bytes).unwrap();
}
