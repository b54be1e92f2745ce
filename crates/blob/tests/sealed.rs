//! Encrypted trees over the stream protocol: whole, cut and gone on with, and with every kind of lie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{TempStore, noise, owner, temp_store};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use manyhands_blob::encryption::EncryptedReference;
use manyhands_blob::redundancy::Level;
use manyhands_blob::store::{Bounds, FreeSpace};
use manyhands_blob::transfer::{
    BlobServer, FetchError, REQUEST_BYTES, Request, SEALED_BYTES_MAX, SealedDownload, ServeError, Status,
    TransferLimits, fetch_sealed,
};
use manyhands_blob::{AnyReference, ReadError, StoreError, shape};
use manyhands_proto::BlobRef;
use manyhands_proto::message::Blame;
use proptest::prelude::*;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

const PLENTY: u64 = 1 << 30;

fn put(store: &TempStore, bytes: &[u8]) -> EncryptedReference {
    let mut state = bytes.len() as u64;
    let randomness = |random: &mut [u8]| {
        state += 1;
        random.copy_from_slice(&noise(random.len(), state));
    };
    store.store.put_encrypted_tree(&owner("x"), bytes, PLENTY, Level::None, randomness).unwrap()
}

fn read(store: &TempStore, root: &EncryptedReference) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.store.encrypted_tree_reader(root, PLENTY).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

async fn transfer(from: &TempStore, to: &TempStore, download: &mut SealedDownload) -> Result<(), FetchError> {
    let (asker, holder) = tokio::io::duplex(64 * 1024);
    let server = BlobServer::new(from.store.clone(), TransferLimits::default());
    let (name, limits) = (owner("a"), TransferLimits::default());
    let fetching = fetch_sealed(asker.compat(), &to.store, &name, download, &limits);
    tokio::join!(fetching, server.serve(holder.compat())).0
}

/// What a holder sends, as a whole.
async fn wire(from: &TempStore, root: &EncryptedReference, size_bytes: u64) -> Vec<u8> {
    let (asker, holder) = tokio::io::duplex(1 << 24);
    let server = BlobServer::new(from.store.clone(), TransferLimits::default());
    let blob = BlobRef { reference: root.address, size_bytes };
    let request = Request::sealed(blob, 0);
    let mut asker = asker.compat();
    asker.write_all(&request.encode()).await.unwrap();
    server.serve(holder.compat()).await.unwrap();
    let mut sent = Vec::new();
    asker.read_to_end(&mut sent).await.unwrap();
    sent
}

/// Lets a holder send exactly `sent` and then hang up.
async fn fed(to: &TempStore, download: &mut SealedDownload, sent: &[u8]) -> Result<(), FetchError> {
    let (asker, holder) = tokio::io::duplex(1 << 24);
    let (name, limits) = (owner("a"), TransferLimits::default());
    let feed = async {
        let mut holder = holder.compat();
        holder.read_exact(&mut [0; REQUEST_BYTES]).await.unwrap();
        let _ = holder.write_all(sent).await;
        let _ = holder.close().await;
    };
    tokio::join!(fetch_sealed(asker.compat(), &to.store, &name, download, &limits), feed).0
}

#[tokio::test(start_paused = true)]
async fn trees_of_all_shapes_arrive_and_are_served_on() {
    let (from, to, third) = (temp_store(PLENTY), temp_store(PLENTY), temp_store(PLENTY));
    for size in [0, 1, 4096, 4097, 64 * 4096, 64 * 4096 + 1, 265_000, 64 * 64 * 4096 + 4097] {
        let bytes = noise(size, 1);
        let root = put(&from, &bytes);
        let mut download = SealedDownload::new(root, size as u64);
        transfer(&from, &to, &mut download).await.unwrap();
        assert_eq!(download.received_chunks(), shape::sealed_chunk_count(size as u64));
        assert!(read(&to, &root) == bytes, "{size} bytes");
        transfer(&to, &third, &mut SealedDownload::new(root, size as u64)).await.unwrap();
        assert!(read(&third, &root) == bytes, "{size} bytes, at third hand");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_was_traced_is_served_in_the_same_order() {
    let (from, to) = (temp_store(PLENTY), temp_store(PLENTY));
    let bytes = noise(64 * 4096 + 9000, 2);
    let root = put(&from, &bytes);
    let whole = wire(&from, &root, bytes.len() as u64).await;
    // Here as single chunks only, so that the tree has to be found from its root.
    let mut chunks = from.store.sealed_reader(&root.address).unwrap();
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        to.store.put_chunk(&owner("single"), &chunk.into()).unwrap();
    }
    to.store.hold_tree(&owner("whole"), &AnyReference::Encrypted(root)).unwrap();
    assert!(wire(&to, &root, bytes.len() as u64).await == whole);
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_gone_on_with_at_the_next_holder() {
    let (from, to) = (temp_store(PLENTY), temp_store(PLENTY));
    let bytes = noise(265_000, 3);
    let root = put(&from, &bytes);
    let whole = wire(&from, &root, 265_000).await;
    let mut download = SealedDownload::new(root, 265_000);
    let cut = fed(&to, &mut download, &whole[..1 + 10 * 4106 + 5]).await.unwrap_err();
    assert!(matches!(cut, FetchError::CutShort { chunks: 10, chunk_count: 67 }), "{cut}");
    assert_eq!(to.store.used_bytes().unwrap(), 0, "nothing is kept of half a tree");
    transfer(&from, &to, &mut download).await.unwrap();
    assert!(read(&to, &root) == bytes);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_such_tree_says_so() {
    let (from, to) = (temp_store(PLENTY), temp_store(PLENTY));
    let bytes = noise(9000, 4);
    let plain = from.store.put_blob(&owner("x"), &bytes).unwrap();
    let root = put(&to, &bytes);
    for address in [root.address, plain.reference] {
        let mut download = SealedDownload::new(EncryptedReference { address, ..root }, 9000);
        let error = transfer(&from, &to, &mut download).await.unwrap_err();
        assert!(matches!(error, FetchError::Refused { status: Status::NotFound }), "{error}");
    }
    for size_bytes in [SEALED_BYTES_MAX + 1, u64::MAX] {
        let mut large = SealedDownload::new(root, size_bytes);
        let error = transfer(&from, &to, &mut large).await.unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { max_bytes: SEALED_BYTES_MAX, .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_would_find_no_room_is_not_asked_for() {
    let (from, to) = (temp_store(PLENTY), temp_store(shape::sealed_bytes(265_000) - 1));
    let root = put(&from, &noise(265_000, 7));
    let (asker, mut holder) = tokio::io::duplex(64 * 1024);
    let (name, limits) = (owner("job"), TransferLimits::default());
    let mut download = SealedDownload::new(root, 265_000);
    let error = fetch_sealed(asker.compat(), &to.store, &name, &mut download, &limits).await.unwrap_err();
    assert!(matches!(error, FetchError::Store(StoreError::Full { .. })) && error.blame() == Blame::Us, "{error}");
    let mut heard = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut holder, &mut heard).await.unwrap();
    assert_eq!(heard, b"");
    let to = to.reopen(shape::sealed_bytes(265_000), |_| {});
    transfer(&from, &to, &mut download).await.unwrap();
}

/// The cache counts as room before anybody is asked, so it has to yield to what then came: a tree that was fetched is not dropped for it.
#[tokio::test(start_paused = true)]
async fn what_was_fetched_is_stored_in_the_place_of_the_cache() {
    #[derive(Debug, Clone)]
    struct Gauge(Arc<AtomicU64>);
    impl FreeSpace for Gauge {
        fn free_bytes(&self) -> std::io::Result<u64> {
            Ok(self.0.load(Ordering::Relaxed))
        }
    }
    let from = temp_store(PLENTY);
    let free = Arc::new(AtomicU64::new(1 << 30));
    let to = temp_store(PLENTY).reopen_within(Bounds::new(PLENTY).with_floor(100 << 20, Gauge(Arc::clone(&free))));
    let cached = to.store.put_blob(&owner("x"), &noise(16 << 20, 9)).unwrap();
    to.store.release_to_cache(&owner("x"), &cached.reference).unwrap();
    let before_bytes = std::fs::metadata(&to.path).unwrap().len();
    free.store(90 << 20, Ordering::Relaxed);

    let bytes = noise(5 << 20, 10);
    let root = put(&from, &bytes);
    transfer(&from, &to, &mut SealedDownload::new(root, bytes.len() as u64)).await.unwrap();
    assert!(read(&to, &root) == bytes);
    assert_eq!(to.store.cached().unwrap(), []);
    assert!(std::fs::metadata(&to.path).unwrap().len() <= before_bytes, "it has its place inside the file");
}

/// The holder does not know the blob's size; how long an asker may take follows from what there is and not from what it says.
#[tokio::test(start_paused = true)]
async fn a_made_up_size_buys_no_time() {
    let from = temp_store(PLENTY);
    let root = put(&from, &noise(400_000, 8));
    let blob = BlobRef { reference: root.address, size_bytes: 1 << 40 };
    let (asker, holder) = tokio::io::duplex(1024);
    let mut asker = asker.compat();
    let server = BlobServer::new(from.store.clone(), TransferLimits::default());
    let sipping = async {
        asker.write_all(&Request::sealed(blob, 0).encode()).await.unwrap();
        while asker.read_exact(&mut [0; 4096]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1_700)).await;
        }
    };
    let (served, ()) = tokio::join!(server.serve(holder.compat()), sipping);
    // Twice the grace of 30 s and the 25 s of 101 chunks.
    let expected = Duration::from_secs(110);
    assert!(matches!(&served, Err(ServeError::Stalled { waited }) if *waited == expected), "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn lies_are_told_from_trees_that_were_made_wrong() {
    let (from, to) = (temp_store(PLENTY), temp_store(PLENTY));
    let root = put(&from, &noise(265_000, 5));
    let whole = wire(&from, &root, 265_000).await;
    let mut long = whole.clone();
    long[1..3].copy_from_slice(&[9, 16]);
    let error = fed(&to, &mut SealedDownload::new(root, 265_000), &long).await.unwrap_err();
    assert!(matches!(error, FetchError::Length { got_bytes: 4105, .. }) && error.blame() == Blame::Peer, "{error}");
    // Genuine chunks, and a size or a key that is not theirs: whoever stated those is to blame, not the holder.
    let error = fed(&to, &mut SealedDownload::new(root, 265_001), &whole).await.unwrap_err();
    assert!(matches!(error, FetchError::Malformed { source: ReadError::Span { .. }, .. }), "{error}");
    let other = EncryptedReference { key: put(&from, b"x").key, ..root };
    let error = fed(&to, &mut SealedDownload::new(other, 265_000), &whole).await.unwrap_err();
    assert!(matches!(error, FetchError::Malformed { .. }) && error.blame() == Blame::Network, "{error}");
    assert_eq!(to.store.used_bytes().unwrap(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_flipped_bit_is_refused_and_blamed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (from, to) = (temp_store(PLENTY), temp_store(PLENTY));
            let root = put(&from, &noise(20_000, 6));
            let mut sent = wire(&from, &root, 20_000).await;
            let at = at.index(sent.len());
            sent[at] ^= 1 << bit;
            let mut download = SealedDownload::new(root, 20_000);
            let error = fed(&to, &mut download, &sent).await.unwrap_err();
            // A status of another meaning is the only flip that is no lie.
            prop_assert!(error.blame() == Blame::Peer || at == 0, "{} at {}", error, at);
            prop_assert_eq!(to.store.used_bytes().unwrap(), 0);
            Ok(())
        })?;
    }
}
