//! Eight nodes of very different speed: a unit that a slow node holds is given to a second one, and the job does not wait for the first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use manyhands_api::types::JobStatus;
use manyhands_core::Outcome;
use manyhands_e2e::daemon::NodeProcess;
use manyhands_e2e::gateway::TestGateway;
use manyhands_e2e::throttle::Throttle;
use manyhands_e2e::{guest, tiny_input};
use manyhands_proto::{NodeId, Unit};
use manyhands_zkvm::verify_receipt;

/// Turns of the `tiny` guest that make a few segments of 2^14.
const SEGMENT_TURNS: u32 = 600;

/// Who works on units that more than one node works on.
fn shared(status: &JobStatus) -> BTreeMap<Unit, BTreeSet<NodeId>> {
    let mut holders: BTreeMap<Unit, BTreeSet<NodeId>> = BTreeMap::new();
    for lease in &status.view.leases {
        holders.entry(lease.unit).or_default().insert(lease.node);
    }
    holders.retain(|_, nodes| nodes.len() > 1);
    holders
}

/// Story: two nodes whose owners are at work, and that get a fiftieth of the processor, are there first and take a segment each. Six more
/// come, two of them at a quarter of the processor. The leases of the first pass their predictions and get copies, and the first valid
/// proof of a segment counts.
#[tokio::test(flavor = "multi_thread")]
async fn units_of_slow_nodes_are_hedged_on_real_proofs() -> Result<()> {
    let gateway = TestGateway::start().await?;
    let start = |count: usize| (0..count).map(|_| NodeProcess::start(&gateway.address)).collect::<Result<Vec<_>>>();
    let ids = |nodes: &[NodeProcess]| nodes.iter().map(NodeProcess::id).collect::<Vec<u32>>();
    let first = start(2)?;
    let _crawling = Throttle::of(ids(&first), 2);
    let known = gateway.nodes(2).await.with_context(|| first[0].log())?;
    let crawling: BTreeSet<NodeId> = known.nodes.iter().map(|view| view.node).collect();
    let (program, image_id) = guest("tiny")?;
    let job = gateway.submit(&program, tiny_input(SEGMENT_TURNS, "uneven"), 14, Outcome::Composite).await?;
    gateway.wait(job, "two leases", |status| status.view.leases.len() == 2).await.with_context(|| first[0].log())?;

    let nodes = start(6)?;
    let _slow = Throttle::of(ids(&nodes[..2]), 25);
    gateway.nodes(8).await.with_context(|| nodes[0].log())?;
    let is_hedged = |status: &JobStatus| shared(status).values().any(|holders| !holders.is_disjoint(&crawling));
    gateway.wait(job, "a second node at a crawling one's unit", is_hedged).await.with_context(|| nodes[0].log())?;
    let explained = gateway.client.explain(job).await?;
    ensure!(explained.leases_total as usize >= 2 && explained.phase == "open", "{explained:?}");

    let (status, receipt) = gateway.done(job).await.with_context(|| nodes[0].log())?;
    let summary = verify_receipt(&receipt, image_id)?;
    ensure!(summary.segments >= 2 && summary.journal.ends_with(b"uneven"), "{} segments", summary.segments);
    let units: BTreeSet<Unit> = status.view.results.iter().map(|result| result.unit).collect();
    ensure!(units.len() == summary.segments && status.view.results.len() == units.len(), "one result for each unit");
    let late: Vec<_> = status.view.results.iter().filter(|result| crawling.contains(&result.node)).collect();
    ensure!(late.is_empty(), "the job waited for a node that gets a fiftieth of the processor: {late:?}");
    gateway.stop().await?;
    Ok(())
}
