//! One blob from several holders at once: honest ones, dying ones, liars and slow ones. Time is virtual.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{TempStore, noise, owner, pre_order, temp_store};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use manyhands_blob::transfer::{
    BlobServer, FetchError, REQUEST_BYTES, Request, SHARED_BYTES_MIN, Shared, Sources, Status, TransferLimits,
    fetch_shared,
};
use manyhands_blob::{Chunk, StoreError};
use manyhands_proto::BlobRef;
use manyhands_proto::message::Blame;
use proptest::prelude::*;
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

const PLENTY: u64 = 1 << 30;
/// What a pipe takes before its reader reads: less than a chunk, so that what was sent is about what was received.
const PIPE_BYTES: usize = 1_024;
type Stream = Compat<DuplexStream>;

/// What a holder does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Sends a chunk in so many milliseconds.
    Gives(u64),
    /// As the first, and is gone after so many chunks in all.
    Dies(u64, u64),
    /// As the first, but the chunk of that number, if it is asked for, is made up.
    Lies(u64, usize),
    /// As that, and it is gone after the next chunk.
    Flees(u64, usize),
    /// Says that it has not got the blob.
    Refuses,
    /// Cannot be reached.
    Absent,
    /// Takes the request and says nothing.
    Silent,
}

/// Holders of one blob, and what became of them.
struct Holders {
    chunks: Arc<Vec<Chunk>>,
    does: Vec<Does>,
    sent: Arc<Mutex<Vec<u64>>>,
    /// Who has sent a made-up chunk, and its number.
    lied: Arc<Mutex<Vec<(usize, usize)>>>,
    opened: Mutex<Vec<usize>>,
    failed: Mutex<Vec<(usize, Blame, String)>>,
    slow: Mutex<Vec<(usize, u64)>>,
    limits: TransferLimits,
}

impl Holders {
    fn new(chunks: &[Chunk], does: &[Does]) -> Self {
        let sent = Arc::new(Mutex::new(vec![0; does.len()]));
        let (opened, failed, limits) = (Mutex::default(), Mutex::default(), TransferLimits::default());
        let (chunks, does, slow) = (Arc::new(chunks.to_vec()), does.to_vec(), Mutex::default());
        Self { chunks, does, sent, lied: Arc::default(), opened, failed, slow, limits }
    }

    fn sent(&self) -> Vec<u64> {
        self.sent.lock().unwrap().clone()
    }

    fn opened(&self, source: usize) -> usize {
        self.opened.lock().unwrap().iter().filter(|opened| **opened == source).count()
    }

    /// Who failed, and who was at fault.
    fn failed(&self) -> Vec<(usize, Blame)> {
        let mut failed: Vec<_> =
            self.failed.lock().unwrap().iter().map(|(source, blame, _)| (*source, *blame)).collect();
        failed.sort_by_key(|(source, _)| *source);
        failed
    }

    async fn fetch(&self, to: &TempStore, blob: BlobRef) -> Result<Shared, FetchError> {
        fetch_shared(self, &to.store, &owner("a"), blob, PLENTY).await
    }
}

impl Sources for Holders {
    type Stream = Stream;
    type Error = FetchError;

    fn count(&self) -> usize {
        self.does.len()
    }

    async fn open(&self, source: usize) -> Result<Stream, FetchError> {
        self.opened.lock().unwrap().push(source);
        if self.does[source] == Does::Absent {
            return Err(FetchError::Io(io::ErrorKind::ConnectionRefused.into()));
        }
        let (asker, holder) = tokio::io::duplex(PIPE_BYTES);
        let (chunks, does, sent) = (Arc::clone(&self.chunks), self.does[source], Arc::clone(&self.sent));
        let lied = Arc::clone(&self.lied);
        // It ends when the asker does: the pipe breaks.
        tokio::spawn(async move {
            let count = |count| {
                let mut sent = sent.lock().unwrap();
                sent[source] += count;
                sent[source]
            };
            let lie = |number| lied.lock().unwrap().push((source, number));
            let _ = hold(holder.compat(), &chunks, does, count, lie).await;
        });
        Ok(asker.compat())
    }

    fn limits(&self, _: usize) -> TransferLimits {
        self.limits.clone()
    }

    fn failed(&self, source: usize, error: &FetchError) {
        self.failed.lock().unwrap().push((source, error.blame(), error.to_string()));
    }

    fn slow(&self, source: usize, sent_chunks: u64) {
        self.slow.lock().unwrap().push((source, sent_chunks));
    }
}

async fn hold(
    mut stream: Stream,
    chunks: &[Chunk],
    does: Does,
    sent: impl Fn(u64) -> u64,
    lied: impl Fn(usize),
) -> io::Result<()> {
    let mut request = [0; REQUEST_BYTES];
    stream.read_exact(&mut request).await?;
    let request = Request::decode(&request).unwrap();
    let per_chunk_ms = match does {
        Does::Gives(ms) | Does::Dies(ms, _) | Does::Lies(ms, _) | Does::Flees(ms, _) => ms,
        Does::Silent => {
            // Until the asker hangs up.
            return stream.read(&mut [0]).await.map(|_| ());
        }
        Does::Refuses | Does::Absent => return stream.write_all(&[Status::NotFound.encode()]).await,
    };
    stream.write_all(&[Status::Ok.encode()]).await?;
    let (from, count) = (request.skip_chunks as usize, request.take_chunks as usize);
    for (number, chunk) in chunks.iter().enumerate().skip(from).take(count) {
        sleep(Duration::from_millis(per_chunk_ms)).await;
        if matches!(does, Does::Dies(_, after) if sent(0) >= after) {
            return Ok(());
        }
        let mut framed = [&(chunk.wire().len() as u16).to_le_bytes(), chunk.wire()].concat();
        if matches!(does, Does::Flees(_, lie) if lie + 1 == number) {
            return Ok(());
        }
        if matches!(does, Does::Lies(_, lie) | Does::Flees(_, lie) if lie == number) {
            *framed.last_mut().unwrap() ^= 1;
            lied(number);
        }
        stream.write_all(&framed).await?;
        sent(1);
    }
    stream.close().await
}

/// The blob of `size` bytes is fetched from such holders, and is all there.
async fn arrives(size: usize, does: &[Does]) -> (Holders, Shared) {
    let bytes = noise(size, 1);
    let (blob, chunks) = pre_order(&bytes);
    let (to, holders) = (temp_store(PLENTY), Holders::new(&chunks, does));
    let shared = holders.fetch(&to, blob).await.unwrap();
    assert!(to.store.read_blob(&blob, PLENTY).unwrap() == bytes);
    assert_eq!((to.store.usage().unwrap().reserved_bytes, to.store.partials().unwrap().len()), (0, 0));
    (holders, shared)
}

/// At least `least` chunks of each that is not the last.
fn assert_shares(holders: &Holders, shared: &Shared, least: u64) {
    let (last, others) = shared.sent_chunks.split_last().unwrap();
    assert!(others.iter().all(|sent| *sent >= least), "{shared:?}");
    assert_eq!(*last, 0, "the last is not needed");
    let count: u64 = shared.sent_chunks.iter().sum();
    assert_eq!(count, holders.chunks.len() as u64, "each chunk comes once");
}

#[tokio::test(start_paused = true)]
async fn two_and_three_equals_give_equal_parts_and_the_last_gives_none() {
    let started = Instant::now();
    let (holders, shared) = arrives(2_000_000, &[Does::Gives(2), Does::Gives(2)]).await;
    let alone = started.elapsed();
    assert_eq!(shared.sent_chunks, [holders.chunks.len() as u64, 0], "one beside the last gives all");

    for (count, least) in [(2, 230), (3, 150)] {
        let mut does = vec![Does::Gives(2); count];
        does.push(Does::Gives(0));
        let started = Instant::now();
        let (holders, shared) = arrives(2_000_000, &does).await;
        assert_shares(&holders, &shared, least);
        assert!(started.elapsed() * (count as u32) < alone + alone / 4, "{:?} of {alone:?}", started.elapsed());
        let wasted: u64 = holders.sent().iter().sum::<u64>() - holders.chunks.len() as u64;
        assert!(wasted <= 10, "{wasted} chunks were on their way when a part was taken over");
        assert_eq!(holders.failed(), []);
    }
}

/// Half as fast is of use, with half as large a part: 494 chunks at 500 and 250 a second are 659 ms, in equal parts they were 988 ms.
#[tokio::test(start_paused = true)]
async fn one_at_half_the_speed_gives_half_as_much() {
    let started = Instant::now();
    let (holders, shared) = arrives(2_000_000, &[Does::Gives(2), Does::Gives(4), Does::Gives(0)]).await;
    assert_shares(&holders, &shared, 140);
    assert!(started.elapsed() < Duration::from_millis(750), "{:?}", started.elapsed());
    assert_eq!((holders.failed(), holders.slow.lock().unwrap().len()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_three_are_asked() {
    let does = [Does::Gives(1), Does::Gives(1), Does::Gives(1), Does::Gives(1), Does::Gives(1)];
    let (holders, shared) = arrives(2_000_000, &does).await;
    assert_eq!((holders.opened(3), holders.opened(4)), (0, 0));
    assert_eq!(shared.sent_chunks[3..], [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_small_blob_comes_from_one() {
    let size = usize::try_from(SHARED_BYTES_MIN).unwrap();
    let (holders, shared) = arrives(size - 1, &[Does::Gives(1), Does::Gives(1), Does::Gives(1)]).await;
    assert_eq!((holders.opened(0), holders.opened(1), holders.opened(2)), (1, 0, 0));
    assert_eq!(shared.sent_chunks, [65, 0, 0]);
    let (holders, shared) = arrives(size, &[Does::Gives(1), Does::Gives(1), Does::Gives(1)]).await;
    assert_shares(&holders, &shared, 30);
    for size in [0, 1, 4_097] {
        arrives(size, &[Does::Absent, Does::Refuses, Does::Gives(1)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_here_is_not_asked_for() {
    let to = temp_store(PLENTY);
    let blob = to.store.put_blob(&owner("x"), &noise(400_000, 1)).unwrap();
    let holders = Holders::new(&[], &[Does::Absent, Does::Absent]);
    assert_eq!(holders.fetch(&to, blob).await.unwrap(), Shared::default());
    assert_eq!(to.store.held_by(&owner("a")).unwrap(), [blob]);
    assert_eq!(holders.opened.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_is_replaced_and_what_it_gave_is_not_asked_for_again() {
    let does = [Does::Gives(2), Does::Dies(2, 60), Does::Gives(2), Does::Gives(0)];
    let (holders, shared) = arrives(2_000_000, &does).await;
    assert_eq!(shared.sent_chunks[1], 60);
    assert_shares(&holders, &shared, 60);
    assert_eq!(holders.failed(), [(1, Blame::Network)]);

    // Another takes its place.
    let does = [Does::Gives(2), Does::Dies(2, 10), Does::Gives(2), Does::Gives(2), Does::Gives(0)];
    let (holders, shared) = arrives(2_000_000, &does).await;
    assert_eq!(holders.failed(), [(1, Blame::Network)]);
    assert!(shared.sent_chunks[3] > 100, "{shared:?}");
    assert_eq!(shared.sent_chunks[4], 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_is_asked_when_the_others_are_gone_for_what_is_left() {
    let does = [Does::Dies(2, 100), Does::Refuses, Does::Dies(2, 120), Does::Absent, Does::Gives(1)];
    let (holders, shared) = arrives(2_000_000, &does).await;
    assert_eq!(shared.sent_chunks[..4], [100, 0, 120, 0]);
    assert_eq!(shared.sent_chunks[4], holders.chunks.len() as u64 - 220, "nothing comes twice");
    let network = |source| (source, Blame::Network);
    assert_eq!(holders.failed(), [network(0), network(1), network(2), network(3)]);
}

/// Wherever the lie is, whoever is asked for it.
#[tokio::test(start_paused = true)]
async fn one_that_lies_is_blamed_and_nobody_else() {
    for lie in [170, 200, 258, 259, 300] {
        // The first, which has the root, is slow: what the others send comes before it can be proven.
        let does = [Does::Gives(8), Does::Lies(2, lie), Does::Gives(2), Does::Gives(0)];
        let (holders, shared) = arrives(2_000_000, &does).await;
        assert_eq!(holders.failed(), [(1, Blame::Peer)], "lie {lie}: {:?}", holders.failed.lock().unwrap());
        assert!(holders.failed.lock().unwrap()[0].2.contains(&format!("chunk {lie} is wrong")));
        assert_eq!(shared.sent_chunks[3], 0, "the last is not needed");
        let count: u64 = shared.sent_chunks.iter().sum();
        assert!(count <= holders.chunks.len() as u64 + 170, "only what the liar sent comes twice: {shared:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lie_that_nobody_can_prove_yet_is_found_out_later() {
    // The first sends the root only after all the others have sent what they had: of 248 chunks the second 83 to 165, the third the rest.
    let does = [Does::Gives(1_500), Does::Gives(1), Does::Lies(1, 240), Does::Gives(1)];
    let (holders, shared) = arrives(1_000_000, &does).await;
    assert_eq!(*holders.lied.lock().unwrap(), [(2, 240)]);
    assert_eq!(holders.failed(), [(2, Blame::Peer)], "{:?}", holders.failed.lock().unwrap());
    assert!(holders.failed.lock().unwrap()[0].2.contains("chunk 240 is wrong"));
    assert!(shared.held_chunks_max > 100, "{shared:?}");
    let does = [Does::Gives(1_500), Does::Lies(1, 100), Does::Gives(1), Does::Gives(1)];
    let (holders, _) = arrives(1_000_000, &does).await;
    assert_eq!(*holders.lied.lock().unwrap(), [(1, 100)]);
    assert!(holders.failed().contains(&(1, Blame::Peer)), "{:?}", holders.failed());
    // Nor does it help to be gone by then.
    let does = [Does::Gives(1_500), Does::Flees(1, 100), Does::Gives(1), Does::Gives(1)];
    let (holders, _) = arrives(1_000_000, &does).await;
    assert_eq!(*holders.lied.lock().unwrap(), [(1, 100)]);
    let liars = holders.failed().into_iter().filter(|(source, _)| *source == 1).map(|(_, blame)| blame);
    assert_eq!(liars.collect::<Vec<_>>(), [Blame::Network, Blame::Peer]);
}

#[tokio::test(start_paused = true)]
async fn one_that_drips_or_says_nothing_is_replaced() {
    for slow in [Does::Gives(900), Does::Silent] {
        for place in 0..3 {
            let mut does = [Does::Gives(2), Does::Gives(2), Does::Gives(2), Does::Gives(2), Does::Gives(0)];
            does[place] = slow;
            let started = Instant::now();
            let (holders, shared) = arrives(2_000_000, &does).await;
            assert!(started.elapsed() < Duration::from_secs(3), "{slow:?} at {place}: {:?}", started.elapsed());
            assert!(shared.sent_chunks[place] < 10, "{shared:?}");
            let others: u64 = shared.sent_chunks[..4].iter().sum::<u64>() - shared.sent_chunks[place];
            assert!(others > holders.chunks.len() as u64 - 10, "the others gave its part: {shared:?}");
            assert_eq!(shared.sent_chunks[4], 0);
            assert_eq!(holders.failed(), [], "slower than others is no fault");
            assert_eq!(*holders.slow.lock().unwrap(), [(place, shared.sent_chunks[place])]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_are_gone_the_last_ones_reason_is_told_and_a_later_fetch_goes_on() {
    let bytes = noise(2_000_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let to = temp_store(PLENTY);
    let holders = Holders::new(&chunks, &[Does::Dies(2, 100), Does::Dies(2, 50), Does::Refuses]);
    let error = holders.fetch(&to, blob).await.unwrap_err();
    assert!(matches!(error, FetchError::Refused { status: Status::NotFound }), "{error}");
    // The prefix that the first gave; what the second gave lies behind a gap.
    assert_eq!(to.store.partials().unwrap()[0].held_chunks, 100);

    let to = to.reopen(PLENTY, |_| {});
    let holders = Holders::new(&chunks, &[Does::Gives(1), Does::Gives(1), Does::Gives(1)]);
    let shared = holders.fetch(&to, blob).await.unwrap();
    assert_eq!((shared.resumed_chunks, shared.sent_chunks.iter().sum::<u64>()), (100, chunks.len() as u64 - 100));
    assert!(to.store.read_blob(&blob, PLENTY).unwrap() == bytes);

    let liars = Holders::new(&chunks, &[Does::Lies(1, 0), Does::Silent, Does::Lies(1, 0)]);
    let error = liars.fetch(&temp_store(PLENTY), blob).await.unwrap_err();
    assert!(matches!(error, FetchError::Chunk { chunk: 0, .. }), "{error}");
    assert_eq!(liars.failed(), [(0, Blame::Peer), (1, Blame::Peer), (2, Blame::Peer)]);
    let nobody = Holders::new(&chunks, &[]);
    assert!(matches!(nobody.fetch(&temp_store(PLENTY), blob).await, Err(FetchError::CutShort { chunks: 0, .. })));
}

/// The asker's own line is the bottleneck: nobody is too slow by that.
#[tokio::test(start_paused = true)]
async fn three_that_share_a_slow_line_are_not_blamed_for_it() {
    // 4.1 kB/s each, 12.3 kB/s in all; alone each would have to bring 6.5 kB/s.
    let (holders, shared) =
        arrives(600_000, &[Does::Gives(1_000), Does::Gives(1_000), Does::Gives(1_000), Does::Gives(1)]).await;
    assert_shares(&holders, &shared, 40);
    assert_eq!(holders.failed(), []);
}

/// A blob of three windows, of which the first holder is slow enough that the others are always ahead.
#[tokio::test(start_paused = true)]
async fn what_is_held_is_bounded_by_the_window() {
    let does = [Does::Gives(4), Does::Gives(2), Does::Gives(2), Does::Gives(0)];
    let (holders, shared) = arrives(25_000_000, &does).await;
    assert_shares(&holders, &shared, 900);
    assert!((1_000..=2_048 + 16).contains(&shared.held_chunks_max), "{shared:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_fetch_closes_all_streams_and_keeps_what_was_saved() {
    let bytes = noise(5_000_000, 1);
    let (blob, chunks) = pre_order(&bytes);
    let (to, holders) = (temp_store(PLENTY), Holders::new(&chunks, &[Does::Gives(2), Does::Gives(2), Does::Gives(2)]));
    let fetching = tokio::time::timeout(Duration::from_secs(1), holders.fetch(&to, blob)).await;
    assert!(fetching.is_err(), "it takes 1.2 s");
    sleep(Duration::from_millis(100)).await;
    let sent = holders.sent();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(holders.sent(), sent, "nobody sends any more");
    let shared = holders.fetch(&to, blob).await.unwrap();
    assert!(shared.resumed_chunks > 0);
    assert!(to.store.read_blob(&blob, PLENTY).unwrap() == bytes);
}

#[tokio::test(start_paused = true)]
async fn our_own_store_is_nobodys_fault() {
    let (blob, chunks) = pre_order(&noise(2_000_000, 1));
    let holders = Holders::new(&chunks, &[Does::Gives(2), Does::Gives(2), Does::Gives(2)]);
    let full = temp_store(1_000);
    assert!(matches!(holders.fetch(&full, blob).await, Err(FetchError::Store(StoreError::Full { .. }))));
    let error = fetch_shared(&holders, &full.store, &owner("a"), blob, 1_999_999).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { size_bytes: 2_000_000, max_bytes: 1_999_999 }));
    assert_eq!(holders.opened.lock().unwrap().len(), 0);

    let to = temp_store(PLENTY);
    let discarding = async {
        while to.store.partials().unwrap().first().is_none_or(|partial| partial.held_chunks == 0) {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(to.store.discard(&blob.reference).unwrap());
    };
    let (fetched, ()) = tokio::join!(holders.fetch(&to, blob), discarding);
    assert!(matches!(fetched, Err(FetchError::Store(StoreError::DownloadGone { .. }))), "{fetched:?}");
    assert_eq!(holders.failed(), []);
}

/// The holder's own side, over the same pipes.
#[tokio::test(start_paused = true)]
async fn real_holders_serve_the_parts_and_count_them() {
    struct Servers(Vec<BlobServer>, Arc<Mutex<Vec<u64>>>);
    impl Sources for Servers {
        type Stream = Stream;
        type Error = FetchError;
        fn count(&self) -> usize {
            self.0.len()
        }
        async fn open(&self, source: usize) -> Result<Stream, FetchError> {
            let (asker, holder) = tokio::io::duplex(64 * 1024);
            let (server, served) = (self.0[source].clone(), Arc::clone(&self.1));
            tokio::spawn(async move {
                if let Ok(done) = server.serve(holder.compat()).await {
                    served.lock().unwrap()[source] += done.chunks;
                }
            });
            Ok(asker.compat())
        }
        fn limits(&self, _: usize) -> TransferLimits {
            TransferLimits::default()
        }
        fn failed(&self, source: usize, error: &FetchError) {
            panic!("{source}: {error}");
        }
        fn slow(&self, _: usize, _: u64) {}
    }
    let bytes = noise(3_000_000, 1);
    let stores: Vec<TempStore> = (0..4).map(|_| temp_store(PLENTY)).collect();
    let blob = pre_order(&bytes).0;
    for from in &stores {
        assert_eq!(from.store.put_blob(&owner("x"), &bytes).unwrap(), blob);
    }
    let server = |from: &TempStore| BlobServer::new(from.store.clone(), TransferLimits::default());
    let servers = Servers(stores.iter().map(server).collect(), Arc::new(Mutex::new(vec![0; 4])));
    let to = temp_store(PLENTY);
    let shared = fetch_shared(&servers, &to.store, &owner("a"), blob, PLENTY).await.unwrap();
    assert!(to.store.read_blob(&blob, PLENTY).unwrap() == bytes);
    assert_eq!(shared.sent_chunks.iter().sum::<u64>(), 740);
    assert_eq!(shared.sent_chunks[3], 0);
    assert!(
        servers.1.lock().unwrap().iter().sum::<u64>() <= 740,
        "a part that was taken over is not counted as served"
    );
}

fn does(chunk_count: usize) -> impl Strategy<Value = Does> {
    prop_oneof![
        3 => (0..20_u64).prop_map(Does::Gives),
        1 => (0..20_u64, 0..200_u64).prop_map(|(ms, after)| Does::Dies(ms, after)),
        1 => (0..20_u64, 0..chunk_count).prop_map(|(ms, lie)| Does::Lies(ms, lie)),
        1 => (0..20_u64, 0..chunk_count).prop_map(|(ms, lie)| Does::Flees(ms, lie)),
        1 => Just(Does::Refuses),
        1 => Just(Does::Absent),
        1 => Just(Does::Silent),
        1 => Just(Does::Gives(700)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whoever is among them: with an honest last one the blob arrives, and only who lied or kept silent is blamed.
    #[test]
    fn in_any_company_the_blob_arrives(others in proptest::collection::vec(does(270), 0..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let all: Vec<Does> = others.into_iter().chain([Does::Gives(1)]).collect();
            let (holders, _) = arrives(1_070_000, &all).await;
            for (source, blame) in holders.failed() {
                let is_fault = matches!(all[source], Does::Lies(..) | Does::Silent | Does::Gives(700));
                let is_right = blame == Blame::Peer && is_fault || blame == Blame::Network && !is_fault;
                assert!(is_right || matches!(all[source], Does::Flees(..)), "{:?}", holders.failed.lock().unwrap());
            }
        });
    }
}
