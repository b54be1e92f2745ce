//! A full disk under a node and under a gateway, with a real file system: work is refused before it, said in words, nobody blamed, nothing
//! lost, and work goes on once there is room. Where nobody may mount a file system the test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use anyhow::{Context, Result, ensure};
use manyhands_core::Outcome;
use manyhands_e2e::gateway::Requester;
use manyhands_e2e::small_disk::{SmallDisk, namespace};
use manyhands_e2e::{guest, inflate_input, tiny_input, until};
use manyhands_zkvm::verify_receipt;

/// Room for a daemon's databases, its floor, and what a job of 16 segments brings.
const DISK_KB: u32 = 48 << 10;

/// What the test takes of the gateway's disk before the guest that never ends gets the rest, in bytes.
const BALLAST_BYTES: usize = 8 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn full_disks_are_named_and_survived() -> Result<()> {
    let Some(namespace) = namespace() else { return Ok(()) };
    let mut gateway = SmallDisk::start(namespace, DISK_KB, &["gateway"])?;
    let address = gateway.ready["addresses"][0].as_str().context("no address")?.to_owned();
    let mut node = SmallDisk::start(namespace, DISK_KB, &["node", "--gateway", &address, "--po2-max", "16"])?;
    let requester = Requester::of(gateway.ready["http"].as_str().context("no HTTP door")?)?;
    requester.nodes(1).await.with_context(|| node.log())?;

    let receipt = a_node_without_room(&requester, &node).await?;
    let (program, image_id) = guest("tiny")?;
    ensure!(node.is_alive()? && gateway.is_alive()?);

    gateway.fill()?;
    // Larger than what the store's file may have left over inside.
    let large = inflate_input(BALLAST_BYTES as u32 / 4);
    let refused = requester.client.upload_input(large).await.expect_err("no byte is free").to_string();
    ensure!(refused.contains("free some space"), "{refused}");
    let refused = requester.submit(&program, tiny_input(100, "refused"), 16, Outcome::Composite).await;
    let refused = refused.expect_err("no byte is free").to_string();
    ensure!(refused.contains("space"), "{refused}");
    ensure!(requester.client.receipt(receipt, 64 << 20).await.is_ok(), "what is kept can be read from a full disk");
    gateway.free()?;
    a_guest_that_fills_the_disk(&requester, &gateway).await?;

    // The first job is as it was, and a new one is done.
    let kept = requester.client.receipt(receipt, 64 << 20).await?;
    verify_receipt(&kept, image_id)?;
    let job = requester.submit(&program, tiny_input(100, "after"), 16, Outcome::Composite).await?;
    let (_, receipt) = requester.done(job).await.with_context(|| format!("{}{}", gateway.log(), node.log()))?;
    ensure!(verify_receipt(&receipt, image_id)?.journal.ends_with(b"after"));
    ensure!(node.is_alive()? && gateway.is_alive()?);
    Ok(())
}

/// The only node has no room for a job's segment: it says so, asks for no lease, and does the job once there is room.
async fn a_node_without_room(requester: &Requester, node: &SmallDisk) -> Result<manyhands_proto::JobId> {
    node.fill()?;
    until("the node to see that its disk is full", async || {
        Ok(node.log().contains("no room for another lease").then_some(()))
    })
    .await?;
    let (program, image_id) = guest("tiny")?;
    let job = requester.submit(&program, tiny_input(100, "before"), 16, Outcome::Composite).await?;
    let status = requester.wait(job, "its segments", |status| status.view.segments.is_some()).await?;
    ensure!(status.incidents.is_empty() && status.view.leases.is_empty(), "{status:?}");
    node.free()?;
    let (_, receipt) = requester.done(job).await.with_context(|| node.log())?;
    ensure!(verify_receipt(&receipt, image_id)?.journal.ends_with(b"before"));
    Ok(job)
}

/// The segments of a guest that never ends fill the gateway's disk down to the floor. The job waits for room then, and what it held is let
/// go when it is stopped.
async fn a_guest_that_fills_the_disk(requester: &Requester, gateway: &SmallDisk) -> Result<()> {
    let used_before = requester.client.status().await?.store_used_bytes;
    gateway.fill_part(BALLAST_BYTES)?;
    let (endless, _) = guest("loops")?;
    let job = requester.submit(&endless, Vec::new(), 14, Outcome::Composite).await?;
    until("the job to wait for room", async || Ok(gateway.log().contains("work waits for room").then_some(()))).await?;
    ensure!(requester.client.job(job).await?.view.phase == "open", "it does not fail for it");
    requester.client.abort(job).await?;
    requester.wait(job, "its end", |status| status.view.phase == "failed").await?;
    gateway.free()?;
    until("the blobs of the stopped job to be released", async || {
        Ok((requester.client.status().await?.store_used_bytes <= used_before).then_some(()))
    })
    .await
    .with_context(|| gateway.log())?;
    let forgotten = until("the end of the stopped job to be written", async || {
        requester.client.abort(job).await?;
        Ok(requester.client.job(job).await.err())
    });
    ensure!(forgotten.await?.to_string().contains("no job"));
    Ok(())
}

/// A disk without room for a beginning ends the daemon, with a sentence.
#[test]
fn a_daemon_does_not_start_on_a_full_disk() -> Result<()> {
    let Some(namespace) = namespace() else { return Ok(()) };
    for daemon in ["gateway", "node"] {
        // One block, which the lock's file takes.
        let output = SmallDisk::run(namespace, 4, &[daemon])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{daemon}: {}\n{said}", output.status);
        let sentence = said.lines().find(|line| line.starts_with("error: ")).context("no sentence")?;
        ensure!(sentence.contains("full") || sentence.contains("No space"), "{daemon}: {sentence}");
    }
    Ok(())
}
