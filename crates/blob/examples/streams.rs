//! What the blob protocol costs: 64 MiB of random data over a loopback TCP connection, from one store into another, beside
//! the same bytes in the same writes without any check, and beside the same bytes checked and thrown away. Run in release:
//! `cargo run --release -p manyhands-blob --example streams`, in a folder on the disk that is meant.
//!
//! `streams [RUNS]`: the runs (default 5). The ways alternate within a run, and the ratios are those of a run, so that a
//! machine which does other things too gives figures; medians are printed. The time on cores is of both ends together, as
//! Linux counts it in hundredths of a second; elsewhere there is none.

#![allow(clippy::print_stdout)] // What it measured.

mod common;

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{median, random};
use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use manyhands_blob::chunk::WIRE_BYTES_MAX;
use manyhands_blob::transfer::{BlobServer, REQUEST_BYTES, SERVE_BATCH_CHUNKS, Status, TransferLimits, fetch};
use manyhands_blob::{Chunk, ChunkStore, Owner, Walk};
use manyhands_proto::BlobRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

const SIZE_BYTES: usize = 64 << 20;
const RUNS: usize = 5;
/// Linux's, whatever the kernel's own clock.
const TICKS_PER_S: f64 = 100.0;
/// What the protocol's holder writes at a time: chunks with their lengths in front.
const WRITE_BYTES: usize = SERVE_BATCH_CHUNKS * (2 + WIRE_BYTES_MAX);

type Failure = Box<dyn Error + Send + Sync>;
type Socket = Compat<TcpStream>;

/// The ways, in the order in which they are measured; all ratios are to the first.
const WAYS: [&str; 7] = [
    "copied",
    "copied, checked by the asker",
    "copied, checked by both",
    "served by the store, thrown away",
    "copied, fetched into the store",
    "stored without a network",
    "served and fetched: the protocol",
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let runs = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(RUNS).max(1);
    let bytes = random(SIZE_BYTES);
    let folder = tempfile::tempdir_in(".")?;
    let source = ChunkStore::open(&folder.path().join("source.redb"), 1 << 30)?;
    let owner = Owner::new("bench")?;
    let blob = source.put_blob(&owner, &bytes)?;
    let stream = framed(&source, blob)?;
    let (mut all, mut on_cores) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let target = |name: &str| ChunkStore::open(&folder.path().join(format!("{run} {name}.redb")), 1 << 30);
        let (fetched, whole, alone) = (target("fetched")?, target("whole")?, target("alone")?);
        let (mut seconds, mut cores) = ([0.0; WAYS.len()], [0.0; WAYS.len()]);
        for (way, (seconds, cores)) in seconds.iter_mut().zip(&mut cores).enumerate() {
            let before = seconds_on_cores();
            let took = match way {
                0 => copied(&stream).await?,
                1 => checked(&stream, blob, false).await?,
                2 => checked(&stream, blob, true).await?,
                3 => served(&source, blob, stream.len()).await?,
                4 => stored(&stream, &fetched, blob).await?,
                5 => put(&alone, &bytes)?,
                _ => protocol(&source, &whole, blob).await?,
            };
            (*seconds, *cores) = (took.as_secs_f64(), seconds_on_cores() - before);
        }
        for store in [&fetched, &whole, &alone] {
            assert!(store.has(&blob)?, "it has arrived");
            store.discard(&blob.reference)?;
        }
        all.push(seconds);
        on_cores.push(cores);
    }
    println!("median of {runs} runs, {} MiB of random data over loopback TCP\n", SIZE_BYTES >> 20);
    println!(
        "| way | MB/s | of the copy | of the copy that the asker checks | of the copy that both check | s on cores |"
    );
    println!("|---|---|---|---|---|---|");
    for (way, name) in WAYS.iter().enumerate() {
        let speed = median(all.iter().map(|seconds| SIZE_BYTES as f64 / 1e6 / at(seconds, way)));
        let [copy, asker, both] =
            [0, 1, 2].map(|to| median(all.iter().map(|seconds| at(seconds, to) / at(seconds, way))));
        let cores = median(on_cores.iter().map(|cores| at(cores, way)));
        println!("| {name} | {speed:.0} | {copy:.2} | {asker:.2} | {both:.2} | {cores:.2} |");
    }
    Ok(())
}

fn at(seconds: &[f64; WAYS.len()], way: usize) -> f64 {
    seconds.get(way).copied().unwrap_or(f64::NAN)
}

/// What Linux counted for this process, on all its cores.
fn seconds_on_cores() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name, which may hold spaces, ends with the last parenthesis; user and system time are the 12th and 13th after it.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    ticks.iter().sum::<f64>() / TICKS_PER_S
}

/// Two ends of a connection.
async fn connection() -> Result<(Socket, Socket), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
    let (near, far) = (near?, far?.0);
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near.compat(), far.compat()))
}

/// The chunks as the protocol sends them, without the status.
fn framed(store: &ChunkStore, blob: BlobRef) -> Result<Vec<u8>, Failure> {
    let (mut reader, mut stream) = (store.reader(&blob)?, Vec::with_capacity(SIZE_BYTES + SIZE_BYTES / 64));
    while let Some(chunk) = reader.next_chunk()? {
        stream.extend_from_slice(&(chunk.wire().len() as u16).to_le_bytes());
        stream.extend_from_slice(chunk.wire());
    }
    Ok(stream)
}

async fn send(mut socket: Socket, stream: Vec<u8>) -> Result<(), Failure> {
    for piece in stream.chunks(WRITE_BYTES) {
        socket.write_all(piece).await?;
        socket.flush().await?;
    }
    Ok(socket.close().await?)
}

/// The floor: bytes from a socket, looked at by nobody.
async fn copied(stream: &[u8]) -> Result<Duration, Failure> {
    let (mut near, far) = connection().await?;
    let stream = stream.to_vec();
    let began = Instant::now();
    let sender = tokio::spawn(send(far, stream));
    drain(&mut near).await?;
    let took = began.elapsed();
    sender.await??;
    Ok(took)
}

async fn drain(socket: &mut (impl AsyncRead + Unpin)) -> Result<usize, Failure> {
    let (mut buffer, mut total) = (vec![0; WRITE_BYTES], 0);
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(total),
            count => total += count,
        }
        black_box(&buffer);
    }
}

/// The floor of a verified copy: each chunk is hashed as it comes, and by the sender before it goes if `both`.
async fn checked(stream: &[u8], blob: BlobRef, both: bool) -> Result<Duration, Failure> {
    let (mut near, mut far) = connection().await?;
    let stream = stream.to_vec();
    let began = Instant::now();
    let sender = tokio::spawn(async move {
        if !both {
            return send(far, stream).await;
        }
        let mut walk = Walk::new(blob);
        for piece in stream.chunks(WRITE_BYTES) {
            let mut rest = piece;
            while let Some(wire) = next_wire(&mut rest) {
                accept(&mut walk, wire)?;
            }
            far.write_all(piece).await?;
            far.flush().await?;
        }
        Ok(far.close().await?)
    });
    let (mut walk, mut buffer) = (Walk::new(blob), [0; 2 + WIRE_BYTES_MAX]);
    while let Some(expected) = walk.expected() {
        let framed = buffer.get_mut(..2 + expected.wire_bytes()).ok_or("a chunk is too long")?;
        near.read_exact(framed).await?;
        accept(&mut walk, framed.get(2..).unwrap_or_default())?;
    }
    let took = began.elapsed();
    sender.await??;
    Ok(took)
}

fn next_wire<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let (wire, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
    *rest = after;
    Some(wire)
}

fn accept(walk: &mut Walk, wire: &[u8]) -> Result<(), Failure> {
    let expected = walk.expected().ok_or("more chunks than the blob has")?;
    Ok(walk.accept(&Chunk::verify(expected.reference, wire)?)?)
}

/// The holder alone: what it takes to read, verify and send.
async fn served(source: &ChunkStore, blob: BlobRef, due_bytes: usize) -> Result<Duration, Failure> {
    let (mut near, far) = connection().await?;
    let server = BlobServer::new(source.clone(), TransferLimits::default());
    let request = manyhands_blob::transfer::Request::plain(blob, 0).encode();
    let began = Instant::now();
    let serving = tokio::spawn(async move { server.serve(far).await });
    near.write_all(&request).await?;
    let got_bytes = drain(&mut near).await?;
    let took = began.elapsed();
    serving.await??;
    assert_eq!(got_bytes, 1 + due_bytes, "the status and all chunks");
    Ok(took)
}

/// The asker alone: what it takes to receive, verify and store.
async fn stored(stream: &[u8], target: &ChunkStore, blob: BlobRef) -> Result<Duration, Failure> {
    let (near, mut far) = connection().await?;
    let stream = stream.to_vec();
    let began = Instant::now();
    let sender = tokio::spawn(async move {
        far.read_exact(&mut [0; REQUEST_BYTES]).await?;
        far.write_all(&[Status::Ok.encode()]).await?;
        send(far, stream).await
    });
    fetch_into(near, target, blob).await?;
    let took = began.elapsed();
    sender.await??;
    Ok(took)
}

/// The store alone: what it takes to hash and to store.
fn put(target: &ChunkStore, bytes: &[u8]) -> Result<Duration, Failure> {
    let began = Instant::now();
    target.put_blob(&Owner::new("bench")?, bytes)?;
    Ok(began.elapsed())
}

/// All of it.
async fn protocol(source: &ChunkStore, target: &ChunkStore, blob: BlobRef) -> Result<Duration, Failure> {
    let (near, far) = connection().await?;
    let server = BlobServer::new(source.clone(), TransferLimits::default());
    let began = Instant::now();
    let serving = tokio::spawn(async move { server.serve(far).await });
    fetch_into(near, target, blob).await?;
    let took = began.elapsed();
    serving.await??;
    Ok(took)
}

async fn fetch_into<S>(stream: S, target: &ChunkStore, blob: BlobRef) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    fetch(stream, target, &Owner::new("bench")?, blob, &TransferLimits::default()).await?;
    Ok(())
}
