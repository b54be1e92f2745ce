//! The stream protocol between honest ends: whole blobs, resuming, refusals, and the clocks. Time is virtual.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::time::Duration;

use common::{TempStore, noise, owner, pre_order, temp_store};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use manyhands_blob::store::SAVE_CHUNKS;
use manyhands_blob::transfer::{
    BlobServer, FetchError, Fetched, REQUEST_BYTES, Request, ServeError, Served, Status, TransferLimits, fetch,
};
use manyhands_blob::{Chunk, StoreError};
use manyhands_proto::message::Blame;
use manyhands_proto::{BlobRef, NodeId, Reference};
use tokio::io::DuplexStream;
use tokio::time::Instant;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

const PLENTY: u64 = 1 << 30;

fn pipe() -> (Compat<DuplexStream>, Compat<DuplexStream>) {
    let (asker, holder) = tokio::io::duplex(64 * 1024);
    (asker.compat(), holder.compat())
}

/// One blob from one store to another, both ends running.
async fn transfer(
    from: &TempStore,
    to: &TempStore,
    blob: BlobRef,
) -> (Result<Fetched, FetchError>, Result<Served, ServeError>) {
    let (asker, holder) = pipe();
    let limits = TransferLimits::default();
    let server = BlobServer::new(from.store.clone(), limits.clone());
    let name = owner("a");
    tokio::join!(fetch(asker, &to.store, &name, blob, &limits), server.serve(holder))
}

#[tokio::test(start_paused = true)]
async fn blobs_of_all_shapes_arrive() {
    let (from, to) = (temp_store(PLENTY), temp_store(PLENTY));
    for size in [0, 1, 4096, 4097, 265_000, 524_289, 1_300_000, 5_000_000] {
        let bytes = noise(size, 1);
        let blob = from.store.put_blob(&owner("x"), &bytes).unwrap();
        let chunks = pre_order(&bytes).1;
        let (fetched, served) = transfer(&from, &to, blob).await;
        let wire: u64 = chunks.iter().map(|chunk| 2 + chunk.wire().len() as u64).sum();
        let count = chunks.len() as u64;
        assert_eq!(fetched.unwrap(), Fetched { resumed_chunks: 0, received_chunks: count, received_bytes: wire });
        assert_eq!(served.unwrap(), Served { blob, status: Status::Ok, chunks: count });
        assert!(to.store.read_blob(&blob, PLENTY).unwrap() == bytes);
    }
    assert_eq!(to.store.usage().unwrap().used_bytes, from.store.usage().unwrap().used_bytes);
    assert_eq!(to.store.usage().unwrap().reserved_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_here_is_not_asked_for() {
    let to = temp_store(PLENTY);
    let blob = to.store.put_blob(&owner("x"), &noise(10_000, 1)).unwrap();
    let (asker, holder) = pipe();
    drop(holder);
    let fetched = fetch(asker, &to.store, &owner("a"), blob, &TransferLimits::default()).await;
    assert_eq!(fetched.unwrap(), Fetched::default());
    assert_eq!(to.store.held_by(&owner("a")).unwrap(), [blob]);
}

/// The holder dies after each number of chunks; the asker restarts, asks again and gets the rest, each chunk once.
#[tokio::test(start_paused = true)]
async fn a_stream_cut_at_any_chunk_resumes_there() {
    let bytes = noise(33_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let from = temp_store(PLENTY);
    from.store.put_blob(&owner("x"), &bytes).unwrap();
    for cut in 0..chunks.len() {
        let to = temp_store(PLENTY);
        let (asker, mut holder) = pipe();
        let (name, limits) = (owner("a"), TransferLimits::default());
        let dying = async {
            holder.read_exact(&mut [0; REQUEST_BYTES]).await.unwrap();
            holder.write_all(&[0]).await.unwrap();
            for chunk in &chunks[..cut] {
                holder.write_all(&(chunk.wire().len() as u16).to_le_bytes()).await.unwrap();
                holder.write_all(chunk.wire()).await.unwrap();
            }
            // And a piece of the next.
            holder.write_all(&(chunks[cut].wire().len() as u16).to_le_bytes()).await.unwrap();
            holder.write_all(&chunks[cut].wire()[..7]).await.unwrap();
            drop(holder);
        };
        let (fetched, ()) = tokio::join!(fetch(asker, &to.store, &name, blob, &limits), dying);
        let error = fetched.unwrap_err();
        let (got, count) = (cut as u64, chunks.len() as u64);
        assert!(
            matches!(error, FetchError::CutShort { chunks, chunk_count } if (chunks, chunk_count) == (got, count)),
            "{error:?}"
        );
        assert_eq!(error.blame(), Blame::Network);

        let to = to.reopen(PLENTY, |_| {});
        let (fetched, served) = transfer(&from, &to, blob).await;
        let fetched = fetched.unwrap();
        assert_eq!((fetched.resumed_chunks, fetched.received_chunks), (got, count - got));
        assert_eq!(served.unwrap().chunks, count - got);
        assert!(to.store.read_blob(&blob, PLENTY).unwrap() == bytes);
        assert_eq!(to.store.usage().unwrap().reserved_bytes, 0);
    }
}

/// What came is on disk when the stream breaks, however it was cut into batches.
#[tokio::test(start_paused = true)]
async fn a_long_stream_that_breaks_leaves_all_that_came() {
    let bytes = noise(5_000_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    for cut in [SAVE_CHUNKS - 1, SAVE_CHUNKS, SAVE_CHUNKS + 1, 4 * SAVE_CHUNKS, 1_200] {
        let to = temp_store(PLENTY);
        let (asker, mut holder) = pipe();
        let (name, limits) = (owner("a"), TransferLimits::default());
        let dying = async {
            holder.read_exact(&mut [0; REQUEST_BYTES]).await.unwrap();
            holder.write_all(&[0]).await.unwrap();
            send(&mut holder, &chunks[..cut]).await.unwrap();
            drop(holder);
        };
        let (fetched, ()) = tokio::join!(fetch(asker, &to.store, &name, blob, &limits), dying);
        assert!(matches!(fetched, Err(FetchError::CutShort { chunks, .. }) if chunks == cut as u64), "{fetched:?}");
        assert_eq!(to.store.partials().unwrap()[0].held_chunks, cut as u64);
    }
}

/// The owner lets go while chunks come: that is told, and nothing is kept.
#[tokio::test(start_paused = true)]
async fn a_download_that_is_discarded_meanwhile_ends() {
    let (blob, chunks) = pre_order(&noise(5_000_000, 1));
    let to = temp_store(PLENTY);
    let (asker, mut holder) = pipe();
    let (name, limits) = (owner("a"), TransferLimits::default());
    let sending = async {
        holder.read_exact(&mut [0; REQUEST_BYTES]).await.unwrap();
        holder.write_all(&[0]).await.unwrap();
        send(&mut holder, &chunks[..2 * SAVE_CHUNKS]).await.unwrap();
        while to.store.partials().unwrap()[0].held_chunks == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(to.store.discard(&blob.reference).unwrap());
        // It may hang up at any time now.
        let _ = send(&mut holder, &chunks[2 * SAVE_CHUNKS..]).await;
        std::future::pending().await
    };
    let fetched = tokio::select! {
        fetched = fetch(asker, &to.store, &name, blob, &limits) => fetched,
        never = sending => never,
    };
    assert!(matches!(fetched, Err(FetchError::Store(StoreError::DownloadGone { .. }))), "{fetched:?}");
    let usage = to.store.usage().unwrap();
    assert_eq!((usage.used_bytes, usage.reserved_bytes), (0, 0));
}

/// Sends chunks as the protocol has them.
async fn send(holder: &mut Compat<DuplexStream>, chunks: &[Chunk]) -> std::io::Result<()> {
    for chunk in chunks {
        holder.write_all(&(chunk.wire().len() as u16).to_le_bytes()).await?;
        holder.write_all(chunk.wire()).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_more_is_sent_than_the_part_that_was_asked_for() {
    let bytes = noise(500_000, 1);
    let chunks = pre_order(&bytes).1;
    let from = temp_store(PLENTY);
    let blob = from.store.put_blob(&owner("x"), &bytes).unwrap();
    let server = BlobServer::new(from.store.clone(), TransferLimits::default());
    for (skip, take) in [(0, 1), (1, 31), (5, 32), (40, 33), (7, 100), (122, 1), (0, 123)] {
        let (mut asker, holder) = pipe();
        let asking = async {
            asker.write_all(&Request::part(blob, skip, take).encode()).await.unwrap();
            let mut sent = Vec::new();
            asker.read_to_end(&mut sent).await.unwrap();
            sent
        };
        let (sent, served) = tokio::join!(asking, server.serve(holder));
        let (from, to) = (skip as usize, (skip + take) as usize);
        let framed = |chunk: &Chunk| [&(chunk.wire().len() as u16).to_le_bytes(), chunk.wire()].concat();
        let due: Vec<u8> = std::iter::once(0).chain(chunks[from..to].iter().flat_map(framed)).collect();
        assert!(sent == due, "{take} after {skip}");
        assert_eq!(served.unwrap().chunks, u64::from(take));
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_say_why() {
    let (from, to) = (temp_store(PLENTY), temp_store(PLENTY));
    let blob = from.store.put_blob(&owner("x"), &noise(10_000, 1)).unwrap();
    let absent = BlobRef { reference: Reference([9; 32]), size_bytes: 10_000 };
    let (fetched, served) = transfer(&from, &to, absent).await;
    let error = fetched.unwrap_err();
    assert!(matches!(error, FetchError::Refused { status: Status::NotFound }));
    assert_eq!((error.blame(), served.unwrap().status), (Blame::Network, Status::NotFound));

    let wrong = BlobRef { size_bytes: 10_001, ..blob };
    let (fetched, served) = transfer(&from, &to, wrong).await;
    assert!(matches!(fetched, Err(FetchError::Refused { status: Status::SizeMismatch })));
    assert_eq!(served.unwrap().status, Status::SizeMismatch);

    // A refusal leaves a reservation behind, which goes with its owner; the right size is not kept out by the wrong
    // one.
    let (fetched, _) = transfer(&from, &to, blob).await;
    assert_eq!(fetched.unwrap().resumed_chunks, 0);
    to.store.release_owner(&owner("a")).unwrap();
    assert_eq!((to.store.usage().unwrap().reserved_bytes, to.store.used_bytes().unwrap()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn more_askers_than_allowed_hear_busy() {
    let (from, to) = (temp_store(PLENTY), temp_store(PLENTY));
    let blob = from.store.put_blob(&owner("x"), &noise(500_000, 1)).unwrap();
    let limits = TransferLimits { streams_max: 1, ..TransferLimits::default() };
    let server = BlobServer::new(from.store.clone(), limits.clone());

    // The first asker asks and does not read on.
    let (mut first, holder) = pipe();
    first.write_all(&Request::plain(blob, 0).encode()).await.unwrap();
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(holder).await }
    });
    first.read_exact(&mut [0]).await.unwrap();

    let (asker, holder) = pipe();
    let name = owner("a");
    let (fetched, served) = tokio::join!(fetch(asker, &to.store, &name, blob, &limits), server.serve(holder));
    let error = fetched.unwrap_err();
    assert!(matches!(error, FetchError::Refused { status: Status::Busy }));
    assert_eq!((error.blame(), served.unwrap().status), (Blame::Network, Status::Busy));

    // The first is given up in bounded time, and there is room again.
    let started = Instant::now();
    let stalled = serving.await.unwrap().unwrap_err();
    assert!(matches!(stalled, ServeError::Stalled { .. }));
    assert_eq!(stalled.blame(), Blame::Peer);
    assert!(started.elapsed() <= limits.write_timeout);
    let (asker, holder) = pipe();
    let (fetched, _) = tokio::join!(fetch(asker, &to.store, &name, blob, &limits), server.serve(holder));
    fetched.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_peer_takes_no_more_than_its_share() {
    let (from, to) = (temp_store(PLENTY), temp_store(PLENTY));
    let blob = from.store.put_blob(&owner("x"), &noise(500_000, 1)).unwrap();
    let limits = TransferLimits { streams_per_peer_max: 1, ..TransferLimits::default() };
    let server = BlobServer::new(from.store.clone(), limits.clone());
    let (greedy, other) = (NodeId([1; 32]), NodeId([2; 32]));

    // The first asker asks and does not read on.
    let (mut first, holder) = pipe();
    first.write_all(&Request::plain(blob, 0).encode()).await.unwrap();
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve_to(greedy, holder).await }
    });
    first.read_exact(&mut [0]).await.unwrap();

    let name = owner("a");
    let again = async |peer| {
        let (asker, holder) = pipe();
        tokio::join!(fetch(asker, &to.store, &name, blob, &limits), server.serve_to(peer, holder))
    };
    let (fetched, served) = again(greedy).await;
    assert!(matches!(fetched.unwrap_err(), FetchError::Refused { status: Status::Busy }));
    assert_eq!(served.unwrap().status, Status::Busy);
    again(other).await.0.unwrap();
    to.store.release(&name, &blob.reference).unwrap();
    // Its own stream over, it may have another.
    drop(first);
    serving.await.unwrap().unwrap_err();
    again(greedy).await.0.unwrap();
}

/// Whoever takes a blob from three holders at the least pace takes a third of it from each.
#[tokio::test(start_paused = true)]
async fn an_asker_that_has_two_more_holders_is_not_ended() {
    let from = temp_store(PLENTY);
    let blob = from.store.put_blob(&owner("x"), &noise(3_000_000, 1)).unwrap();
    let limits = TransferLimits::default();
    let server = BlobServer::new(from.store.clone(), limits.clone());
    let (mut asker, holder) = pipe();
    let reading = async {
        asker.write_all(&Request::plain(blob, 0).encode()).await.unwrap();
        while asker.read_exact(&mut [0; 4096]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(4096) * 3 / limits.rate_bytes_per_s_min as u32).await;
        }
    };
    let (served, ()) = tokio::join!(server.serve(holder), reading);
    assert_eq!(served.unwrap().chunks, 740);
}

/// Each batch is taken just in time; the slot is still not held for ever.
#[tokio::test(start_paused = true)]
async fn an_asker_that_sips_is_ended() {
    let from = temp_store(PLENTY);
    let blob = from.store.put_blob(&owner("x"), &noise(3_000_000, 1)).unwrap();
    let limits = TransferLimits::default();
    let server = BlobServer::new(from.store.clone(), limits.clone());
    let (mut asker, holder) = pipe();
    let started = Instant::now();
    let sipping = async {
        asker.write_all(&Request::plain(blob, 0).encode()).await.unwrap();
        while asker.read_exact(&mut [0; 4096]).await.is_ok() {
            // 2.4 kB/s: a batch takes 55 s, all of it 21 minutes.
            tokio::time::sleep(Duration::from_millis(1_700)).await;
        }
    };
    let serving = async {
        let mut holder = holder;
        server.serve(&mut holder).await
    };
    let (served, ()) = tokio::join!(serving, sipping);
    let error = served.unwrap_err();
    assert!(matches!(error, ServeError::Stalled { waited } if waited > limits.write_timeout), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(1_200));
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_says_nothing_or_nonsense_is_ended() {
    let from = temp_store(PLENTY);
    let limits = TransferLimits::default();
    let server = BlobServer::new(from.store.clone(), limits.clone());
    let (asker, holder) = pipe();
    let started = Instant::now();
    let error = server.serve(holder).await.unwrap_err();
    assert!(matches!(error, ServeError::Stalled { .. }));
    assert!(started.elapsed() <= limits.request_timeout + Duration::from_secs(1));
    drop(asker);

    let (mut asker, holder) = pipe();
    asker.write_all(&[7; REQUEST_BYTES]).await.unwrap();
    let error = server.serve(holder).await.unwrap_err();
    assert!(matches!(error, ServeError::Request(_)));
    assert_eq!(error.blame(), Blame::Peer);
    let mut answer = Vec::new();
    asker.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [Status::Malformed.encode()]);

    let (mut asker, holder) = pipe();
    asker.write_all(&[1; 10]).await.unwrap();
    drop(asker);
    assert_eq!(server.serve(holder).await.unwrap_err().blame(), Blame::Network);
}

#[tokio::test(start_paused = true)]
async fn an_own_store_without_room_is_our_fault_and_nobody_is_asked() {
    let to = temp_store(1000);
    let blob = BlobRef { reference: Reference([9; 32]), size_bytes: 10_000 };
    let (asker, mut holder) = pipe();
    let error = fetch(asker, &to.store, &owner("a"), blob, &TransferLimits::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::Store(StoreError::Full { .. })));
    assert_eq!(error.blame(), Blame::Us);
    let mut heard = Vec::new();
    holder.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"");
}
