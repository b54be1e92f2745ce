//! Villains over real sockets, each with one segment: refused, blamed, and the job completes all the same.
//!
//! One job, one segment (2^15), one gateway. The villains come one after the other, each with an identity of its own, and each
//! leaves the unit free for the next; at the end an honest node proves it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use anyhow::{Context, Result, ensure};
use manyhands_core::Outcome;
use manyhands_e2e::daemon::NodeProcess;
use manyhands_e2e::gateway::TestGateway;
use manyhands_e2e::villain::{Hands, Villain};
use manyhands_e2e::{guest, tiny_input};
use manyhands_proto::message::{Blame, Response};
use manyhands_proto::{Binding, BlobRef, JobId, NodeId, Nonce, Reference};
use manyhands_zkvm::verify_receipt;

#[tokio::test(flavor = "multi_thread")]
async fn every_villain_is_refused_and_blamed_and_the_job_completes() -> Result<()> {
    let gateway = TestGateway::start().await?;
    let (program, image_id) = guest("tiny")?;
    let job = gateway.submit(&program, tiny_input(100, "villains"), 16, Outcome::Composite).await?;

    its_own_segment(&gateway, job).await?;
    another_nodes_nonce(&gateway, job).await?;
    guessed_seed(&gateway, job).await?;
    let honest = flipped_bytes(&gateway, job).await?;
    truncated(&gateway, job, &honest).await?;
    half_a_stream(&gateway, job, &honest).await?;
    dripping(&gateway, job, &honest).await?;
    one_gigabyte(&gateway, job).await?;
    another_segment(&gateway, job, &program).await?;
    silent(&gateway, job).await?;

    let node = NodeProcess::start(&gateway.address)?;
    let (status, receipt) = gateway.done(job).await.with_context(|| node.log())?;
    let summary = verify_receipt(&receipt, image_id)?;
    ensure!(summary.journal.ends_with(b"villains"));
    // On a busy machine the honest node may be late, too.
    let maker = status.view.results.first().context("no result")?.node;
    let villains: Vec<_> = status.incidents.iter().filter(|incident| incident.node != maker).collect();
    ensure!(status.view.results.len() == 1 && villains.len() == 10, "{villains:?}");
    ensure!(villains.iter().all(|incident| incident.blame == Blame::Peer), "{villains:?}");
    gateway.stop().await?;
    Ok(())
}

/// Waits for the incident that a villain caused, and checks that it cost the villain its standing.
async fn blamed(gateway: &TestGateway, job: JobId, villain: NodeId, why: &str) -> Result<()> {
    let mine = |incident: &manyhands_api::types::Incident| incident.node == villain;
    let status = gateway.wait(job, why, |status| status.incidents.iter().any(mine)).await?;
    let incident = status.incidents.iter().find(|incident| mine(incident)).context("gone")?;
    ensure!(incident.blame == Blame::Peer, "{why}: {incident:?}");
    ensure!(incident.reason.contains(why), "expected {why:?}: {incident:?}");
    Ok(())
}

/// Names the segment that it was given for its receipt. The gateway has that blob already, and must not let it go with the claim: the
/// next villain could not fetch it.
async fn its_own_segment(gateway: &TestGateway, job: JobId) -> Result<()> {
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    let (lease, segment) = villain.lease().await?;
    ensure!(villain.deliver(lease.id, &segment).await? == Some(Response::Stale));
    blamed(gateway, job, villain.id(), "not a receipt").await?;
    ensure!(gateway.offences(villain.id()).await? == 1);
    Ok(())
}

async fn another_nodes_nonce(gateway: &TestGateway, job: JobId) -> Result<()> {
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    let (lease, segment) = villain.lease().await?;
    let other = Nonce::bound(NodeId([7; 32]), 0, Binding::default());
    let receipt = villain.prove(lease.id, &segment, other).await?;
    ensure!(villain.deliver(lease.id, &receipt).await? == Some(Response::Stale));
    blamed(gateway, job, villain.id(), "nonce").await?;
    ensure!(gateway.offences(villain.id()).await? == 1);
    Ok(())
}

/// Proves beforehand, for itself and for the right segment, under a seed that it had to guess: what an old proof is, too.
async fn guessed_seed(gateway: &TestGateway, job: JobId) -> Result<()> {
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    let (lease, segment) = villain.lease().await?;
    let guessed = Nonce::bound(villain.id(), 0, Binding::default());
    ensure!((guessed.log, guessed.segment) == (lease.nonce.log, lease.nonce.segment) && guessed != lease.nonce);
    let receipt = villain.prove(lease.id, &segment, guessed).await?;
    ensure!(villain.deliver(lease.id, &receipt).await? == Some(Response::Stale));
    blamed(gateway, job, villain.id(), "nonce").await?;
    ensure!(gateway.offences(villain.id()).await? == 1);
    Ok(())
}

/// Delivers its own honest proof with flipped bytes; gives the honest proof back, which is of no use to any other identity.
async fn flipped_bytes(gateway: &TestGateway, job: JobId) -> Result<Vec<u8>> {
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    let (lease, segment) = villain.lease().await?;
    let honest = villain.prove(lease.id, &segment, lease.nonce).await?;
    let mut flipped = honest.clone();
    // The lowest bit of a word in the middle of the seal: still a number of the field, but not the one that was proved.
    let word = 8 + 4 * (flipped.len() / 8);
    flipped[word] ^= 1;
    ensure!(villain.deliver(lease.id, &flipped).await? == Some(Response::Stale));
    blamed(gateway, job, villain.id(), "the proof is not valid").await?;
    ensure!(gateway.offences(villain.id()).await? == 1);
    Ok(honest)
}

async fn truncated(gateway: &TestGateway, job: JobId, honest: &[u8]) -> Result<()> {
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    let (lease, _) = villain.lease().await?;
    ensure!(villain.deliver(lease.id, &honest[..honest.len() / 2]).await? == Some(Response::Stale));
    blamed(gateway, job, villain.id(), "not a receipt").await?;
    ensure!(gateway.offences(villain.id()).await? == 1);
    Ok(())
}

async fn half_a_stream(gateway: &TestGateway, job: JobId, honest: &[u8]) -> Result<()> {
    let villain = Villain::connect(&gateway.address, Hands::Half).await?;
    let (lease, _) = villain.lease().await?;
    ensure!(villain.deliver(lease.id, honest).await? == Some(Response::Stale));
    blamed(gateway, job, villain.id(), "could not be fetched").await?;
    ensure!(gateway.offences(villain.id()).await? == 1);
    Ok(())
}

async fn dripping(gateway: &TestGateway, job: JobId, honest: &[u8]) -> Result<()> {
    let villain = Villain::connect(&gateway.address, Hands::Drip).await?;
    let (lease, _) = villain.lease().await?;
    // Another blob than the last villain's: the gateway keeps the verified half of that one, and would ask for the rest only.
    let another: Vec<u8> = honest.iter().map(|byte| !byte).collect();
    ensure!(villain.deliver(lease.id, &another).await? == Some(Response::Stale));
    blamed(gateway, job, villain.id(), "were due").await?;
    ensure!(gateway.offences(villain.id()).await? == 1);
    Ok(())
}

async fn one_gigabyte(gateway: &TestGateway, job: JobId) -> Result<()> {
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    let (lease, _) = villain.lease().await?;
    let huge = BlobRef { reference: Reference([1; 32]), size_bytes: 1 << 30 };
    ensure!(villain.claim(lease.id, huge).await == Some(Response::Stale));
    blamed(gateway, job, villain.id(), "announced a receipt of 1073741824 bytes").await?;
    ensure!(gateway.offences(villain.id()).await? == 1);
    Ok(())
}

/// Proves a segment of another job, with the same index and under its own lease's nonce: valid, but not what was asked for.
async fn another_segment(gateway: &TestGateway, job: JobId, program: &[u8]) -> Result<()> {
    let other_gateway = TestGateway::start().await?;
    other_gateway.submit(program, tiny_input(200, "other"), 16, Outcome::Composite).await?;
    let thief = Villain::connect(&other_gateway.address, Hands::Honest).await?;
    let (_, other_segment) = thief.lease().await?;

    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    let (lease, _) = villain.lease().await?;
    let receipt = villain.prove(lease.id, &other_segment, lease.nonce).await?;
    ensure!(villain.deliver(lease.id, &receipt).await? == Some(Response::Stale));
    blamed(gateway, job, villain.id(), "claim").await?;
    ensure!(gateway.offences(villain.id()).await? == 1);
    other_gateway.stop().await?;
    Ok(())
}

/// Takes a lease and is never heard of again, while its connection stays up.
async fn silent(gateway: &TestGateway, job: JobId) -> Result<()> {
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    let (lease, _) = villain.lease().await?;
    ensure!(villain.beat(lease.id).await? == Response::Ok);
    blamed(gateway, job, villain.id(), "no heartbeat").await
}
