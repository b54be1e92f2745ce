//! What the network costs: the same session proved by the prover called directly in one process, and through a gateway and one node,
//! alternately in one run.
//!
//! `overhead [ROUNDS] [TURNS]`: rounds of both (default 2), and turns of the `tiny` guest's wheel (default 8000: two segments of 2^16
//! and one of 2^14). Prints one line for each run, then the ratio of the medians, machine and commit. The network's side
//! includes execution, storage, bids, transfer, verification and the final receipt; the direct side executes, proves and puts the receipt
//! together. The limit is 1: proving is all there is to do. Below it one can only come because execution overlaps with proving.
#![allow(clippy::print_stdout)]

mod common;

use std::time::Instant;

use anyhow::{Context, Result};
use common::{cut, machine, median};
use manyhands_core::Outcome;
use manyhands_e2e::gateway::{TestGateway, config};
use manyhands_e2e::{guest, tiny_input};
use manyhands_node::prover;
use manyhands_proto::{Binding, Digest, NodeId, Nonce};
use manyhands_zkvm::prove::prove_segment;
use manyhands_zkvm::{composite_receipt, verify_receipt};

struct Session {
    program: Vec<u8>,
    image_id: Digest,
    input: Vec<u8>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let turns: u32 = arguments.next().map_or(Ok(8000), |text| text.parse())?;
    let (program, image_id) = guest("tiny")?;
    let session = Session { program, image_id, input: tiny_input(turns, "overhead") };

    let (mut direct, mut network) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let seconds = tokio::task::block_in_place(|| directly(&session))?;
        println!("round {round}: direct  {seconds:8.2} s");
        direct.push(seconds);
        let seconds = through_the_network(&session).await?;
        println!("round {round}: network {seconds:8.2} s");
        network.push(seconds);
    }
    let (direct, network) = (median(direct), median(network));
    println!("median direct {direct:.2} s, network {network:.2} s: ratio {:.3} (goal: at most 1.05)", network / direct);
    println!("{}", machine());
    Ok(())
}

fn directly(session: &Session) -> Result<f64> {
    let start = Instant::now();
    let (execution, segments) = cut(&session.program, session.input.clone())?;
    let mut receipts = Vec::new();
    for segment in &segments {
        let nonce = Nonce::bound(NodeId([1; 32]), segment.index, Binding::default());
        receipts.push(prove_segment(&segment.blob, nonce)?);
    }
    let receipt = composite_receipt(receipts.into_iter().map(Ok), &[], &execution.journal, session.image_id)?;
    verify_receipt(&receipt, session.image_id)?;
    Ok(start.elapsed().as_secs_f64())
}

async fn through_the_network(session: &Session) -> Result<f64> {
    let gateway = TestGateway::start().await?;
    let dir = tempfile::tempdir()?;
    let mut config = config(dir.path())?;
    config.node.gateways = vec![gateway.address.clone()];
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let node = tokio::spawn(prover::run(config, |_| {}, async move {
        let _ = stopped.await;
    }));
    gateway.nodes(1).await?;
    let start = Instant::now();
    let job = gateway.submit(&session.program, session.input.clone(), 16, Outcome::Composite).await?;
    let (_, receipt) = gateway.done(job).await?;
    verify_receipt(&receipt, session.image_id)?;
    let seconds = start.elapsed().as_secs_f64();
    let _ = stop.send(());
    node.await?.context("the node failed")?;
    gateway.stop().await?;
    Ok(seconds)
}
