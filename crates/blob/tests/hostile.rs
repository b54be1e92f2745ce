//! Holders that lie, stall, drip or talk nonsense. Each is found out, blamed, and nothing of what it made up is kept.
//! Time is virtual.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::future::Future;
use std::time::Duration;

use common::{TempStore, noise, owner, pre_order, temp_store};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use manyhands_blob::transfer::{FetchError, Fetched, REQUEST_BYTES, TransferLimits, fetch};
use manyhands_blob::{Chunk, ChunkError, ShapeError};
use manyhands_proto::message::Blame;
use manyhands_proto::{BlobRef, Reference};
use proptest::prelude::*;
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

const PLENTY: u64 = 1 << 30;
type Stream = Compat<DuplexStream>;

/// Fetches `blob` from a holder that reads the request and then does what `villain` does.
async fn fetch_from<F: Future<Output = ()>>(
    to: &TempStore,
    blob: BlobRef,
    villain: impl FnOnce(Stream) -> F,
) -> Result<Fetched, FetchError> {
    let (asker, holder) = tokio::io::duplex(64 * 1024);
    let (name, limits, mut holder) = (owner("a"), TransferLimits::default(), holder.compat());
    let villain = async {
        holder.read_exact(&mut [0; REQUEST_BYTES]).await.unwrap();
        villain(holder).await;
    };
    let fetching = fetch(asker.compat(), &to.store, &name, blob, &limits);
    tokio::pin!(fetching, villain);
    tokio::select! {
        biased;
        fetched = &mut fetching => fetched,
        () = &mut villain => fetching.await,
    }
}

fn framed(chunk: &Chunk) -> Vec<u8> {
    [&(chunk.wire().len() as u16).to_le_bytes(), chunk.wire()].concat()
}

/// Says Ok, sends `bytes`, and then nothing, with the stream open.
async fn fetch_bytes(to: &TempStore, blob: BlobRef, bytes: Vec<u8>) -> Result<Fetched, FetchError> {
    fetch_from(to, blob, |mut holder| async move {
        holder.write_all(&[0]).await.unwrap();
        let _ = holder.write_all(&bytes).await;
        std::future::pending().await
    })
    .await
}

fn assert_held(to: &TempStore, blob: BlobRef, held: u64) {
    assert!(!to.store.has(&blob).unwrap());
    let partials = to.store.partials().unwrap();
    assert_eq!(partials.iter().map(|partial| partial.held_chunks).collect::<Vec<_>>(), [held]);
}

#[tokio::test(start_paused = true)]
async fn the_first_wrong_byte_ends_it_and_what_came_before_is_kept() {
    let bytes = noise(20_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let honest: Vec<Vec<u8>> = chunks.iter().map(framed).collect();
    for wrong in 0..chunks.len() {
        let to = temp_store(PLENTY);
        let mut sent = honest.clone();
        *sent[wrong].last_mut().unwrap() ^= 0x10;
        let error = fetch_bytes(&to, blob, sent.concat()).await.unwrap_err();
        let address =
            matches!(error, FetchError::Chunk { chunk, source: ChunkError::Address { .. } } if chunk == wrong as u64);
        assert!(address, "{error:?}");
        assert_eq!(error.blame(), Blame::Peer);
        assert_held(&to, blob, wrong as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn another_genuine_chunk_is_wrong_too() {
    let (blob, chunks) = pre_order(&noise(20_000, 1));
    let to = temp_store(PLENTY);
    let sent = [framed(&chunks[0]), framed(&chunks[2])].concat();
    let error = fetch_bytes(&to, blob, sent).await.unwrap_err();
    assert!(matches!(error, FetchError::Chunk { chunk: 1, .. }), "{error:?}");
    assert_held(&to, blob, 1);
}

#[tokio::test(start_paused = true)]
async fn a_length_that_cannot_be_is_refused_before_a_byte_of_it_is_read() {
    let (blob, _) = pre_order(&noise(20_000, 1));
    for length in [0, 1, 7, 8, 167, 169, 4104, u16::MAX] {
        let to = temp_store(PLENTY);
        let error = fetch_bytes(&to, blob, length.to_le_bytes().to_vec()).await.unwrap_err();
        let refused = matches!(error, FetchError::Length { chunk: 0, got_bytes, due_bytes: 168 } if got_bytes == usize::from(length));
        assert!(refused, "{error:?}");
        assert_eq!(error.blame(), Blame::Peer);
        assert_held(&to, blob, 0);
    }
}

/// The reference's own maker made a tree that states another size than the lease.
#[tokio::test(start_paused = true)]
async fn a_wrong_span_is_refused_at_the_root() {
    let children: Vec<u8> = [[1; 32], [2; 32]].concat();
    for span_bytes in [1 << 30, u64::MAX, 8193, 8191, 4097 | 0x81 << 56] {
        let root = Chunk::from_payload(span_bytes, &children).unwrap();
        let blob = BlobRef { reference: root.reference(), size_bytes: 8192 };
        let to = temp_store(PLENTY);
        let error = fetch_bytes(&to, blob, framed(&root)).await.unwrap_err();
        let refused = matches!(error, FetchError::Shape { chunk: 0, source: ShapeError::Span { stated_bytes, .. } } if stated_bytes == span_bytes);
        assert!(refused, "{error:?}");
        assert_eq!(error.blame(), Blame::Peer);
        assert_held(&to, blob, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gigabyte_is_refused_without_asking() {
    let to = temp_store(PLENTY);
    let blob = BlobRef { reference: Reference([9; 32]), size_bytes: 1 << 30 };
    let (asker, mut holder) = tokio::io::duplex(1024);
    let error = fetch(asker.compat(), &to.store, &owner("a"), blob, &TransferLimits::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { size_bytes, .. } if size_bytes == 1 << 30));
    assert_eq!(error.blame(), Blame::Network);
    let mut heard = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut holder, &mut heard).await.unwrap();
    assert_eq!(heard, b"");
    assert_eq!(to.store.usage().unwrap().reserved_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_after_the_last_chunk_are_not_read() {
    let bytes = noise(20_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let to = temp_store(PLENTY);
    let mut sent: Vec<u8> = chunks.iter().flat_map(framed).collect();
    let due = sent.len() as u64;
    sent.extend_from_slice(&[7; 10_000]);
    let fetched = fetch_bytes(&to, blob, sent).await.unwrap();
    assert_eq!(fetched.received_bytes, due);
    assert!(to.store.read_blob(&blob, PLENTY).unwrap() == bytes);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_status_is_an_answer_of_no_such_protocol() {
    let to = temp_store(PLENTY);
    let (blob, _) = pre_order(&noise(20_000, 1));
    let error =
        fetch_from(&to, blob, |mut holder| async move { holder.write_all(b"HTTP/1.1 400").await.unwrap() }).await;
    let error = error.unwrap_err();
    assert!(matches!(error, FetchError::Answer(_)), "{error:?}");
    assert_eq!(error.blame(), Blame::Peer);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_in_bounded_time() {
    let (to, limits) = (temp_store(PLENTY), TransferLimits::default());
    let (blob, chunks) = pre_order(&noise(20_000, 1));
    let started = Instant::now();
    let mute = |holder: Stream| async move {
        let _open = holder;
        std::future::pending().await
    };
    let error = fetch_from(&to, blob, mute).await.unwrap_err();
    assert!(matches!(error, FetchError::Silent { .. }), "{error:?}");
    assert!(started.elapsed() <= limits.answer_timeout + Duration::from_secs(1));

    // Silence in the middle: at most the window that had begun and one more.
    let started = Instant::now();
    let error = fetch_bytes(&to, blob, framed(&chunks[0])).await.unwrap_err();
    assert!(matches!(error, FetchError::Silent { .. } | FetchError::TooSlow { .. }), "{error:?}");
    assert_eq!(error.blame(), Blame::Peer);
    assert!(started.elapsed() <= 2 * limits.window + Duration::from_secs(1));
    assert_held(&to, blob, 1);
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_is_ended_after_one_window() {
    let (to, limits) = (temp_store(PLENTY), TransferLimits::default());
    let (blob, chunks) = pre_order(&noise(20_000, 1));
    let started = Instant::now();
    let drip = |mut holder: Stream| async move {
        holder.write_all(&[0]).await.unwrap();
        for byte in chunks.iter().flat_map(framed) {
            sleep(Duration::from_secs(1)).await;
            holder.write_all(&[byte]).await.unwrap();
        }
    };
    let error = fetch_from(&to, blob, drip).await.unwrap_err();
    assert!(matches!(error, FetchError::TooSlow { got_bytes: 8..=11, .. }), "{error:?}");
    assert_eq!(error.blame(), Blame::Peer);
    assert!(started.elapsed() <= limits.window + Duration::from_secs(1));
}

/// Just above the least rate of a window, below the least average: the overall deadline ends it.
#[tokio::test(start_paused = true)]
async fn a_holder_that_games_the_window_meets_the_deadline() {
    let (to, limits) = (temp_store(PLENTY), TransferLimits::default());
    let bytes = noise(3_000_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let started = Instant::now();
    let crawl = |mut holder: Stream| async move {
        holder.write_all(&[0]).await.unwrap();
        for chunk in &chunks {
            sleep(Duration::from_millis(500)).await;
            holder.write_all(&framed(chunk)).await.unwrap();
        }
    };
    let error = fetch_from(&to, blob, crawl).await.unwrap_err();
    assert!(matches!(error, FetchError::TooSlow { got_bytes: 1_000_000.., .. }), "{error:?}");
    assert!(started.elapsed() <= limits.deadline(3_100_000) + limits.window);
    // What came is kept: the next holder needs to send the rest only.
    assert!(to.store.partials().unwrap()[0].held_chunks > 250);
}

/// As slow as the limits allow is not too slow.
#[tokio::test(start_paused = true)]
async fn a_weak_honest_holder_is_served_by_the_same_limits() {
    let to = temp_store(PLENTY);
    let bytes = noise(1_000_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let weak = |mut holder: Stream| async move {
        holder.write_all(&[0]).await.unwrap();
        for (number, chunk) in chunks.iter().enumerate() {
            sleep(Duration::from_millis(200)).await;
            if number % 100 == 99 {
                sleep(Duration::from_secs(6)).await; // A stall, as on a mobile link.
            }
            holder.write_all(&framed(chunk)).await.unwrap();
        }
    };
    fetch_from(&to, blob, weak).await.unwrap();
    assert!(to.store.read_blob(&blob, PLENTY).unwrap() == bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any bytes at all: an error, no panic, nothing kept.
    #[test]
    fn noise_on_the_stream_is_refused(answer in proptest::collection::vec(any::<u8>(), 0..6000), plausible: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let to = temp_store(PLENTY);
        let (blob, chunks) = pre_order(&noise(20_000, 1));
        let answer = if plausible { [vec![0], framed(&chunks[0])[..2].to_vec(), answer].concat() } else { answer };
        let fetched = runtime.block_on(fetch_from(&to, blob, |mut holder| async move {
            let _ = holder.write_all(&answer).await;
        }));
        prop_assert!(fetched.is_err());
        assert_held(&to, blob, 0);
    }
}
