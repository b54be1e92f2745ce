//! What several providers of one blob are worth: 8 MB of random data from one, two and three stores into another, each behind a
//! line of 2 MB/s (a token bucket around its pipe) and 50 ms away. Real time, real holders, a real store:
//! `cargo run --release -p manyhands-blob --example providers`, in a folder on the disk that is meant.
//!
//! `providers [RUNS]`: the runs (default 5), in each of which all are measured; ratios are those of a run, and medians are printed. The last
//! rows have one provider that is slower or lies. The last provider, as the gateway is one, is never asked.

#![allow(clippy::print_stdout)] // What it measured.

mod common;

use std::error::Error;
use std::time::Duration;

use common::{median, random};
use manyhands_blob::transfer::{BlobServer, FetchError, Sources, TransferLimits, fetch_shared};
use manyhands_blob::{ChunkStore, Owner};
use manyhands_proto::BlobRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

const SIZE_BYTES: usize = 8_000_000;
const RUNS: usize = 5;
const LINE_BYTES_PER_S: u64 = 2_000_000;
/// What a line's buffers hold, as those of a home router: 64 kB.
const BUFFER_BYTES: usize = 64 << 10;
/// Of a request and its answer.
const AWAY: Duration = Duration::from_millis(50);

type Failure = Box<dyn Error + Send + Sync>;

/// A provider's line, in bytes per second, and whether it flips a bit of each piece that it sends after the first.
type Provider = (u64, bool);

const HONEST: Provider = (LINE_BYTES_PER_S, false);

/// What is measured; all ratios are to the first.
const COMPANIES: [(&str, &[Provider]); 6] = [
    ("one", &[HONEST]),
    ("two", &[HONEST; 2]),
    ("three", &[HONEST; 3]),
    ("three, one at a quarter of the speed", &[HONEST, HONEST, (LINE_BYTES_PER_S / 4, false)]),
    ("three, one at a fiftieth of the speed", &[HONEST, HONEST, (LINE_BYTES_PER_S / 50, false)]),
    ("three, one of them lies", &[HONEST, HONEST, (LINE_BYTES_PER_S, true)]),
];

struct Company {
    server: BlobServer,
    providers: &'static [Provider],
}

impl Sources for Company {
    type Stream = Compat<DuplexStream>;
    type Error = FetchError;

    fn count(&self) -> usize {
        self.providers.len() + 1
    }

    async fn open(&self, source: usize) -> Result<Self::Stream, FetchError> {
        let (asker, near) = tokio::io::duplex(BUFFER_BYTES);
        let (far, holder) = tokio::io::duplex(BUFFER_BYTES);
        let (server, provider) = (self.server.clone(), self.providers.get(source).copied().unwrap_or(HONEST));
        sleep(AWAY).await;
        tokio::spawn(async move { server.serve(holder.compat()).await.map(|_| ()) });
        tokio::spawn(line(near, far, provider));
        Ok(asker.compat())
    }

    fn limits(&self, _: usize) -> TransferLimits {
        TransferLimits::default()
    }

    fn failed(&self, _: usize, _: &FetchError) {}

    fn slow(&self, _: usize, _: u64) {}
}

/// Passes bytes on as fast as the line is: the bucket is empty at first, and holds what comes in a tenth of a second.
async fn line(near: DuplexStream, far: DuplexStream, (bytes_per_s, lies): Provider) -> std::io::Result<()> {
    let (mut from_asker, mut to_asker) = tokio::io::split(near);
    let (mut from_holder, mut to_holder) = tokio::io::split(far);
    let asking = async {
        tokio::io::copy(&mut from_asker, &mut to_holder).await?;
        to_holder.shutdown().await
    };
    let answering = async {
        let (mut buffer, mut due, mut is_first) = (vec![0; 8 << 10], Instant::now() + AWAY, true);
        loop {
            let count = from_holder.read(&mut buffer).await?;
            let Some(piece) = buffer.get_mut(..count).filter(|piece| !piece.is_empty()) else { break };
            let took = Duration::from_nanos(1_000_000_000 * count as u64 / bytes_per_s);
            due = due.max(Instant::now() - Duration::from_millis(100)) + took;
            sleep_until(due).await;
            if let Some(last) = piece.last_mut().filter(|_| lies && !is_first) {
                *last ^= 1;
            }
            is_first = false;
            to_asker.write_all(piece).await?;
        }
        to_asker.shutdown().await
    };
    // The answer's end ends both: the holder is done, or a piece cannot be passed on because the asker hung up. That no more is asked ends
    // nothing, since what was asked for is still on its way.
    tokio::select! {
        done = answering => done,
        never = async { let _ = asking.await; std::future::pending().await } => never,
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let runs = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(RUNS).max(1);
    let folder = tempfile::tempdir_in(".")?;
    let source = ChunkStore::open(&folder.path().join("source.redb"), 1 << 30)?;
    let blob = source.put_blob(&Owner::new("bench")?, &random(SIZE_BYTES))?;
    let mut all = Vec::new();
    for run in 0..runs {
        let mut outcomes = Vec::new();
        for (place, (_, providers)) in COMPANIES.iter().enumerate() {
            let target = ChunkStore::open(&folder.path().join(format!("{run} {place}.redb")), 1 << 30)?;
            // It serves without the bound on one peer's streams: these are all one store, but stand for different peers.
            let company = Company { server: BlobServer::new(source.clone(), TransferLimits::default()), providers };
            outcomes.push(fetched(&company, &target, blob).await?);
        }
        all.push(outcomes);
    }
    print(&all);
    Ok(())
}

/// The seconds it took, and the chunks that each gave.
async fn fetched(company: &Company, target: &ChunkStore, blob: BlobRef) -> Result<(f64, Vec<u64>), Failure> {
    let began = Instant::now();
    let shared = fetch_shared(company, target, &Owner::new("bench")?, blob, u64::MAX).await?;
    let seconds = began.elapsed().as_secs_f64();
    assert!(target.has(&blob)?, "it has arrived");
    Ok((seconds, shared.sent_chunks))
}

fn print(all: &[Vec<(f64, Vec<u64>)>]) {
    println!(
        "median of {} runs, {} MB, each provider's line {} MB/s\n",
        all.len(),
        SIZE_BYTES / 1_000_000,
        LINE_BYTES_PER_S / 1_000_000
    );
    println!("| providers | s | times as fast as one | chunks from each in the last run |");
    println!("|---|---|---|---|");
    for (place, (name, _)) in COMPANIES.iter().enumerate() {
        let seconds = |outcomes: &[(f64, Vec<u64>)], at: usize| outcomes.get(at).map_or(f64::NAN, |outcome| outcome.0);
        let took = median(all.iter().map(|outcomes| seconds(outcomes, place)));
        let ratio = median(all.iter().map(|outcomes| seconds(outcomes, 0) / seconds(outcomes, place)));
        let chunks = all.last().and_then(|outcomes| outcomes.get(place)).map(|outcome| outcome.1.clone());
        println!("| {name} | {took:.2} | {ratio:.2} | {:?} |", chunks.unwrap_or_default());
    }
}
