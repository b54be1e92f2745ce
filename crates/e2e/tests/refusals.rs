//! What cannot be done is said at once, in words, and disturbs nobody. No proofs here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use anyhow::{Context, Result, ensure};
use manyhands_core::Outcome;
use manyhands_e2e::gateway::{TestGateway, config};
use manyhands_e2e::villain::{Hands, Villain};
use manyhands_e2e::{guest, inflate_input, tiny_input, until};
use manyhands_node::{Config, gateway};

/// Why a gateway does not start.
async fn refusal(config: Config) -> Result<String> {
    let never = std::future::pending::<()>();
    let started = tokio::time::timeout(manyhands_e2e::PATIENCE, gateway::run(config, |_| panic!("it started"), never));
    Ok(started.await?.expect_err("a gateway that ran").to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_and_taken_ports_are_named() -> Result<()> {
    let first = TestGateway::start().await?;
    let same_data = config(first.dir.path())?;
    let text = refusal(same_data).await?;
    ensure!(text.contains("another manyhands daemon") && text.contains("--data-dir"), "{text}");

    let dir = tempfile::tempdir()?;
    let mut same_http = config(dir.path())?;
    same_http.gateway.http = first.client.address().trim_start_matches("http://").parse()?;
    let text = refusal(same_http).await?;
    ensure!(text.contains("cannot listen on") && text.contains("--http"), "{text}");

    let dir = tempfile::tempdir()?;
    let mut same_port = config(dir.path())?;
    same_port.net.listen = vec![first.address.split("/p2p/").next().context("no address")?.to_owned()];
    let text = refusal(same_port).await?;
    ensure!(text.contains("another program uses this port"), "{text}");
    // The first one was not disturbed.
    first.client.status().await?;
    first.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_directory_and_a_missing_worker_are_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory")?;
    let text = refusal(config(&file.join("data"))?).await?;
    ensure!(text.contains("cannot write to the data directory") && text.contains("file/data"), "{text}");

    let mut no_worker = config(&dir.path().join("data"))?;
    no_worker.worker = Some("/nowhere/manyhands-worker".into());
    let text = refusal(no_worker).await?;
    ensure!(text.contains("/nowhere/manyhands-worker") && text.contains("MANYHANDS_WORKER"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_nodes_waits_and_says_so() -> Result<()> {
    let gateway = TestGateway::start().await?;
    let (program, _) = guest("tiny")?;
    let job = gateway.submit(&program, tiny_input(100, "alone"), 16, Outcome::Composite).await?;
    let status = gateway.wait(job, "a reason to wait", |status| status.view.waiting.is_some()).await?;
    let why = status.view.waiting.context("no reason")?;
    ensure!(why.contains("no node is connected"), "{why}");
    gateway.client.abort(job).await?;
    let status = gateway.wait(job, "its end", |status| status.view.phase == "failed").await?;
    ensure!(status.view.error.as_deref() == Some("stopped by the requester"), "{:?}", status.view.error);
    gateway.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_size_that_nobody_offers_is_refused_with_what_is_offered() -> Result<()> {
    let gateway = TestGateway::start().await?;
    let small = Villain::connect(&gateway.address, Hands::Honest).await?;
    gateway.nodes(1).await?;
    let (program, _) = guest("tiny")?;
    let refused = gateway.submit(&program, tiny_input(100, ""), 18, Outcome::Composite).await;
    let text = refused.expect_err("a job for nobody").to_string();
    ensure!(text.contains("no node offers segments of po2 18"), "{text}");
    ensure!(text.contains(&small.id().short()) && text.contains("up to po2 16"), "{text}");
    let refused = gateway.submit(&program, tiny_input(100, ""), 16, Outcome::Succinct).await;
    let text = refused.expect_err("a succinct job for nobody").to_string();
    ensure!(text.contains("no node can lift and join"), "{text}");
    let refused = gateway.submit(&program, tiny_input(100, ""), 24, Outcome::Composite).await;
    let text = refused.expect_err("a job nobody could verify").to_string();
    ensure!(text.contains("at most po2 22"), "{text}");
    gateway.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_at_its_limit_ends_the_job_with_a_reason_and_nothing_else() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut small = config(dir.path())?;
    // Room for what a job of 16 segments brings, and some hundred segments of 2^14 more.
    small.store_limit_bytes = 12_000_000;
    let gateway = TestGateway::start_with(dir, small).await?;
    let (endless, _) = guest("loops")?;
    let job = gateway.submit(&endless, Vec::new(), 14, Outcome::Composite).await?;
    let status = gateway.wait(job, "the job's end", |status| status.view.phase == "failed").await?;
    let error = status.view.error.context("no reason")?;
    ensure!(error.contains("could not be stored") && error.contains("chunk store is full"), "{error}");
    // Larger ones are not begun: nobody works for what would fail half-way.
    let (program, _) = guest("inflate")?;
    let refused = gateway.submit(&program, inflate_input(10), 20, Outcome::Composite).await;
    let text = refused.expect_err("a job without room").to_string();
    ensure!(text.contains("no room for the job") && text.contains("store_limit_bytes"), "{text}");
    // What the failed job held is cache, and the gateway takes the next one.
    let job = until("the blobs of the failed job to be let go", async || {
        Ok(gateway.submit(&program, inflate_input(10), 16, Outcome::Composite).await.ok())
    });
    let job = job.await?;
    gateway.wait(job, "the next job's segments", |status| status.view.segments.is_some()).await?;
    gateway.stop().await?;
    Ok(())
}
