//! Proves a program at a gateway, with nothing but the client: uploads, submits, watches, fetches the receipt.
//!
//! `cargo run -p manyhands-api --example prove -- PROGRAM.bin [INPUT] [HOST:PORT]`

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use manyhands_api::types::DEFAULT_ADDRESS;
use manyhands_api::{BlobRef, Client, JobId, JobRequest, JobStatus, Outcome};

/// The largest receipt that is taken, in bytes, whatever the gateway says.
const RECEIPT_BYTES_MAX: u64 = 256 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let program = words.first().ok_or("name a program: PROGRAM.bin [INPUT] [HOST:PORT]")?;
    let client = Client::new(words.get(2).map_or(DEFAULT_ADDRESS, String::as_str))?;

    let uploaded = client.upload_program(std::fs::read(program)?).await?;
    let input = match words.get(1) {
        Some(path) => Some(upload(&client, path).await?),
        None => None,
    };
    let request = JobRequest { input, outcome: Outcome::Succinct, ..JobRequest::new(uploaded.blob) };
    let job = client.submit(&request).await?.job;
    println!("job {job}");

    let status = follow(&client, job).await?;
    report(&status);
    if let Some(error) = status.view.error {
        return Err(error.into());
    }
    let receipt = client.receipt(job, RECEIPT_BYTES_MAX).await?;
    // It is the gateway's word until it was verified: `manyhands verify`, or `Receipt::verify` of risc0-zkvm.
    let path = format!("{program}.receipt");
    std::fs::write(&path, &receipt)?;
    println!("{} bytes in {path}, not verified yet", receipt.len());
    Ok(())
}

/// Uploads a file of any size without holding it.
async fn upload(client: &Client, path: &str) -> Result<BlobRef, Box<dyn Error>> {
    let file = tokio::fs::File::open(path).await?;
    let size_bytes = file.metadata().await?.len();
    Ok(client.upload_input_from(file, Some(size_bytes), |_| ()).await?.blob)
}

/// Watches a job to its end, over restarts of its gateway, which it outlives. Says once why it waits.
async fn follow(client: &Client, job: JobId) -> Result<JobStatus, Box<dyn Error>> {
    let mut explained = false;
    loop {
        let watched = async {
            let (mut watch, mut last) = (client.watch(job).await?, None);
            while let Some(status) = watch.next().await? {
                println!("{}: {} of {} units", status.view.phase, status.view.units_done, status.view.units_total);
                if status.view.waiting.is_some() && !explained {
                    explained = true;
                    println!("{}", client.explain(job).await?.now);
                }
                last = Some(status);
            }
            Ok(last)
        };
        match watched.await {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(error) if manyhands_api::ClientError::is_unreachable(&error) => println!("{error}"),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// What a job's status says of how it was proved.
fn report(status: &JobStatus) {
    for result in &status.view.results {
        println!("{} by {} in {} ms", result.unit, result.node.short(), result.elapsed_ms);
    }
    let tally = status.view.tally;
    println!("{} leases, {} of them for nothing", tally.leases, tally.wasted_leases);
}
