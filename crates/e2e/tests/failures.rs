//! Nodes and workers that die in the middle of a proof, and a gateway that is restarted: the job completes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use anyhow::{Context, Result, ensure};
use manyhands_core::Outcome;
use manyhands_e2e::daemon::NodeProcess;
use manyhands_e2e::gateway::TestGateway;
use manyhands_e2e::{guest, tiny_input};
use manyhands_zkvm::verify_receipt;

/// Story: a job of two segments and one node. Its worker is killed in the middle of the first proof; the node gives the lease back
/// and gets it again. Then the node itself is killed in the middle of a proof, and another one finishes. Meanwhile the gateway is
/// restarted, and goes on with what was verified.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_a_killed_node_and_a_restarted_gateway_lose_nothing() -> Result<()> {
    let gateway = TestGateway::start().await?;
    let (program, image_id) = guest("tiny")?;
    let mut first = NodeProcess::start(&gateway.address)?;
    gateway.nodes(1).await?;
    let job = gateway.submit(&program, tiny_input(3000, "failures"), 16, Outcome::Composite).await?;

    gateway.wait(job, "a lease", |status| !status.view.leases.is_empty()).await.with_context(|| first.log())?;
    first.kill_worker().await?;
    let about_worker = |reason: &str| reason.contains("worker");
    let status = gateway
        .wait(job, "the killed worker's lease", |status| {
            status.incidents.iter().any(|incident| about_worker(&incident.reason))
        })
        .await
        .with_context(|| first.log())?;
    ensure!(status.view.error.is_none());

    // One result is verified, and the other unit is being proved: kill the node now.
    gateway
        .wait(job, "one result and a lease", |status| status.view.results.len() == 1 && !status.view.leases.is_empty())
        .await
        .with_context(|| first.log())?;
    first.kill()?;
    gateway
        .wait(job, "the dead node's lease", |status| {
            status.view.leases.is_empty()
                && status.incidents.iter().any(|incident| incident.reason.contains("connection"))
        })
        .await?;

    let gateway = TestGateway::start_in(gateway.stop().await?).await?;
    gateway.wait(job, "the result kept over the restart", |status| status.view.results.len() == 1).await?;
    let second = NodeProcess::start(&gateway.address)?;
    let (status, receipt) = gateway.done(job).await.with_context(|| second.log())?;
    let summary = verify_receipt(&receipt, image_id)?;
    ensure!(summary.segments == 2 && summary.journal.ends_with(b"failures"));
    let makers: std::collections::BTreeSet<_> = status.view.results.iter().map(|result| result.node).collect();
    ensure!(makers.len() == 2, "the first node's proof was made again: {:?}", status.view.results);
    gateway.stop().await?;
    Ok(())
}

/// A guest that fails says so to its requester, in its own words, and disturbs nobody.
#[tokio::test(flavor = "multi_thread")]
async fn failing_guests_are_explained() -> Result<()> {
    let gateway = TestGateway::start().await?;
    for (name, input, expected) in
        [("panics", b"look here".to_vec(), "look here"), ("overreads", vec![1, 2, 3, 4], "UnexpectedEnd")]
    {
        let (program, _) = guest(name)?;
        let job = gateway.submit(&program, input, 16, Outcome::Composite).await?;
        let status = gateway.wait(job, "the failure", |status| status.view.phase == "failed").await?;
        let error = status.view.error.context("a failed job without a reason")?;
        ensure!(error.contains(expected), "{name}: {error}");
    }
    gateway.stop().await?;
    Ok(())
}

/// A guest that never ends is stopped by its cycle limit.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_guest_is_stopped() -> Result<()> {
    let gateway = TestGateway::start().await?;
    let (program, _) = guest("loops")?;
    let program = gateway.client.upload_program(program).await?.blob;
    let request = manyhands_api::types::JobRequest {
        assumptions: Vec::new(),
        private: None,
        program,
        input: None,
        po2: Some(manyhands_proto::Po2::try_from(18)?),
        outcome: Outcome::Composite,
        cycles_max: Some(1 << 20),
        priority: manyhands_core::Priority::Normal,
    };
    let job = gateway.client.submit(&request).await?.job;
    let status = gateway.wait(job, "the limit", |status| status.view.phase == "failed").await?;
    let error = status.view.error.context("a failed job without a reason")?;
    ensure!(error.contains("did not end within 1048576 cycles"), "{error}");
    gateway.stop().await?;
    Ok(())
}
