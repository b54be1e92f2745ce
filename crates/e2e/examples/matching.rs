//! From a bid with a valid score to its lease: `MANYHANDS_WORKER=.. cargo run --release -p manyhands-e2e --example matching [NODES]`
//!
//! Nodes that a named verifier has scored bid one after the other at a gateway that has work, over loopback and over lines of 100 ms there and
//! back. Beside each bid stands the time of a question that takes the gateway no thought: a heartbeat of a lease that does not exist.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use manyhands_core::Outcome;
use manyhands_e2e::gateway::{TestGateway, config};
use manyhands_e2e::villain::{Hands, Villain, vouched};
use manyhands_e2e::{guest, tiny_input};
use manyhands_net::{Identity, peer_text};
use manyhands_proto::message::Response;
use manyhands_proto::{Binding, BlobRef, JobId, LeaseId, Po2, Reference, Unit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Half of the round trip of the long lines.
const ONE_WAY: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> Result<()> {
    let nodes: usize = std::env::args().nth(1).map_or(Ok(40), |text| text.parse())?;
    let verifier = Identity::generate();
    let dir = tempfile::tempdir()?;
    let mut config = config(dir.path())?;
    config.gateway.verifiers = vec![peer_text(verifier.node_id())];
    let gateway = TestGateway::start_with(dir, config).await?;
    // Work for all of them, and more.
    let job = gateway.submit(&guest("tiny")?.0, tiny_input(100_000, "matching"), 14, Outcome::Composite).await?;
    let cut = gateway.wait(job, "the segments", |status| status.view.segments.is_some()).await?;
    ensure!(cut.view.segments.unwrap_or(0) as usize >= 2 * nodes, "too few segments: {:?}", cut.view.segments);
    measure("loopback", &gateway.address, &verifier, nodes).await?;
    measure("100 ms there and back", &lengthened(&gateway.address).await?, &verifier, nodes).await?;
    gateway.stop().await?;
    Ok(())
}

async fn measure(what: &str, address: &str, verifier: &Identity, nodes: usize) -> Result<()> {
    let (mut trips, mut bids, mut beyond) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..nodes {
        let node = Villain::connect(address, Hands::Honest).await?;
        let nothing = LeaseId { job: JobId([0; 16]), unit: Unit::Prove(0), attempt: 1 };
        let mut trip = Duration::MAX;
        for _ in 0..5 {
            let asked = Instant::now();
            ensure!(node.beat(nothing).await? == Response::Stale);
            trip = trip.min(asked.elapsed());
        }
        let receipt = BlobRef { reference: Reference(node.id().0), size_bytes: 221_000 };
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let binding = Binding { epoch: Binding::epoch_at(now_s), ..Binding::default() };
        let score = vouched(verifier, node.id(), Po2::try_from(16)?, 30_000, receipt, binding)?;
        let asked = Instant::now();
        let answer = node.bid_showing(score).await?;
        let took = asked.elapsed();
        let Response::Lease(_) = answer else { bail!("no lease: {answer:?}") };
        trips.push(trip);
        bids.push(took);
        beyond.push(took.saturating_sub(trip));
    }
    let shown = |mut times: Vec<Duration>| {
        times.sort_unstable();
        let at =
            |percent: usize| times.get((times.len() - 1) * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
        format!("p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(50), at(99), at(100))
    };
    println!("{what}, {nodes} nodes");
    println!("  a question without thought: {}", shown(trips));
    println!("  bid to lease:               {}", shown(bids));
    println!("  beyond the round trip:      {} (goal: under 5 ms)", shown(beyond));
    Ok(())
}

/// The address of a line to `address`, a multiaddress over TCP, on which all that is sent arrives [`ONE_WAY`] later.
async fn lengthened(address: &str) -> Result<String> {
    let port = address.split('/').skip_while(|word| *word != "tcp").nth(1).context("no TCP port")?.to_owned();
    let door = TcpListener::bind("127.0.0.1:0").await?;
    let own = door.local_addr()?.port();
    let there = format!("127.0.0.1:{port}");
    tokio::spawn(async move {
        while let Ok((near, _)) = door.accept().await {
            let there = there.clone();
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(there).await else { return };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::join!(carry(near_in, far_out), carry(far_in, near_out));
            });
        }
    });
    Ok(address.replace(&format!("/tcp/{port}"), &format!("/tcp/{own}")))
}

/// Carries bytes from one end to the other, each piece after its time.
async fn carry(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) {
    let (sent, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let reads = async move {
        let mut piece = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            let bytes = piece.get(..length).unwrap_or_default().to_vec();
            if sent.send((Instant::now() + ONE_WAY, bytes)).is_err() {
                return;
            }
        }
    };
    let writes = async move {
        while let Some((due, bytes)) = arriving.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reads, writes);
}
