//! A thousand sessions by fifty clients at once, each polled until it has ended, against a gateway process without nodes: what a call takes,
//! and what the gateway needs of memory; then the largest input, uploaded in one stream.
//!
//! `MANYHANDS_BIN=.. MANYHANDS_WORKER=.. cargo run -p manyhands-e2e --example load [SESSIONS [CLIENTS]]`
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bonsai_sdk::non_blocking::Client;
use manyhands_e2e::daemon::GatewayProcess;
use manyhands_e2e::gateway::Requester;
use manyhands_e2e::{guest, tiny_input, until};

/// Between two looks at a session, as RISC Zero's client has it.
const POLL: Duration = Duration::from_secs(1);

/// The large input, in bytes.
const INPUT_BYTES: usize = 1_000_000_000;

/// What one client has seen.
#[derive(Default)]
struct Seen {
    create: Vec<Duration>,
    status: Vec<Duration>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let sessions = words.next().transpose()?.unwrap_or(1_000);
    let clients = words.next().transpose()?.unwrap_or(50).max(1);
    let gateway = GatewayProcess::start()?;
    let requester = Requester::of(&gateway.http)?;
    until("the gateway", async || Ok(requester.client.status().await.ok())).await?;
    let (program, image_id) = guest("tiny")?;
    Client::from_parts(gateway.http.clone(), "x".to_owned(), "3.0.6")?
        .upload_img(&image_id.to_string(), program)
        .await?;

    let began = Instant::now();
    let each = sessions.div_ceil(clients);
    let tasks: Vec<_> = (0..clients).map(|client| tokio::spawn(one(gateway.http.clone(), client, each))).collect();
    let mut all = Seen::default();
    for task in tasks {
        let seen = task.await??;
        all.create.extend(seen.create);
        all.status.extend(seen.status);
    }
    println!("{} sessions by {clients} clients: {:.0} s, no error", all.create.len(), began.elapsed().as_secs_f64());
    show("upload and create", all.create);
    show("status", all.status);
    println!("peak memory of the gateway: {} MB", gateway.peak_memory_bytes()? / 1_000_000);
    drop(gateway);
    large_input().await
}

/// One client's sessions, all begun at once, then polled until they have ended.
async fn one(url: String, client: usize, sessions: usize) -> Result<Seen> {
    let (_, image_id) = guest("tiny")?;
    let bonsai = Client::from_parts(url, "x".to_owned(), "3.0.6")?;
    let (mut seen, mut open) = (Seen::default(), Vec::new());
    for session in 0..sessions {
        let input = tiny_input(10, &format!("{client}/{session}"));
        let since = Instant::now();
        let input = bonsai.upload_input(input).await?;
        open.push(bonsai.create_session(image_id.to_string(), input, vec![], true).await?);
        seen.create.push(since.elapsed());
    }
    while !open.is_empty() {
        let mut running = Vec::new();
        for session in open {
            let since = Instant::now();
            let status = session.status(&bonsai).await?;
            seen.status.push(since.elapsed());
            ensure!(matches!(status.status.as_str(), "RUNNING" | "SUCCEEDED"), "{:?}", status.error_msg);
            if status.status == "RUNNING" {
                running.push(session);
            }
        }
        open = running;
        tokio::time::sleep(POLL).await;
    }
    Ok(seen)
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    let ms = |percent| at(percent).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    println!("{what}: {} calls, p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", times.len(), ms(50), ms(99), ms(100));
}

/// The memory that one large input takes: uploaded, and read by a guest that only executes, then by one that is to be proved.
async fn large_input() -> Result<()> {
    let gateway = GatewayProcess::start()?;
    let requester = Requester::of(&gateway.http)?;
    until("the gateway", async || Ok(requester.client.status().await.ok())).await?;
    let megabytes = |bytes: u64| bytes / 1_000_000;
    println!("a new gateway: peak memory {} MB", megabytes(gateway.peak_memory_bytes()?));
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("input");
    let mut input = tiny_input(10, "large");
    input.resize(INPUT_BYTES, 7);
    std::fs::write(&file, input)?;
    let bonsai = Client::from_parts(gateway.http.clone(), "x".to_owned(), "3.0.6")?;
    let (program, image_id) = guest("tiny")?;
    bonsai.upload_img(&image_id.to_string(), program).await?;
    let since = Instant::now();
    let input = bonsai.upload_input_file(&file).await?;
    let told = |what: &str, since: Instant| -> Result<()> {
        let peak = megabytes(gateway.peak_memory_bytes()?);
        println!(
            "{} MB {what}: {:.1} s, peak memory {peak} MB",
            INPUT_BYTES / 1_000_000,
            since.elapsed().as_secs_f64()
        );
        Ok(())
    };
    told("uploaded", since)?;
    let since = Instant::now();
    let session = bonsai.create_session(image_id.to_string(), input.clone(), vec![], true).await?;
    until("the execution", async || Ok((session.status(&bonsai).await?.status == "SUCCEEDED").then_some(()))).await?;
    told("executed on", since)?;
    let since = Instant::now();
    let session = bonsai.create_session(image_id.to_string(), input, vec![], false).await?;
    until("the first segment", async || {
        let status = session.status(&bonsai).await?;
        ensure!(status.status == "RUNNING", "{:?}", status.error_msg);
        Ok(status.state.filter(|state| state.starts_with("ProveSegments")))
    })
    .await?;
    told("submitted and cut", since)
}
