//! Benchmark scores between real processes, with real proofs: earned, shown, believed, checked by anybody; and the lies.
//!
//! One node works for three gateways, one after the other: the first scores it, the second believes the first, the third knows nobody and
//! checks the proof itself. A fourth has no job and challenges it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use anyhow::{Context, Result, ensure};
use manyhands_core::Outcome;
use manyhands_core::explain::Pace;
use manyhands_core::view::NodeView;
use manyhands_e2e::daemon::NodeProcess;
use manyhands_e2e::gateway::{TestGateway, config};
use manyhands_e2e::villain::{Hands, Villain};
use manyhands_e2e::{guest, program, tiny_input, until};
use manyhands_node::{Config, benchmark};
use manyhands_proto::message::Response;
use manyhands_proto::score::Work;
use manyhands_proto::{Binding, NodeId, Po2, Seed, SignedScore};
use manyhands_vbs::Source;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_score_is_earned_shown_believed_and_checked_and_lies_are_refused() -> Result<()> {
    let first = TestGateway::start().await?;
    let mut node = NodeProcess::start(&first.address)?;
    let (pace, maker) = proves_one(&first, &node).await?;
    ensure!(pace == Pace::OnTrial, "it was a stranger: {pace:?}");
    let known = first.client.scores().await?;
    let [earned] = known.scores.as_slice() else { panic!("{known:?}") };
    let score = earned.signed.score;
    ensure!((score.peer, score.work, earned.source) == (maker, Work::Job, Source::Own), "{earned:?}");
    ensure!(score.po2.get() == 15 && score.elapsed_ms > 1_000, "{earned:?}");
    let checked = verified_by_the_program(&first).await?;
    ensure!(checked[0]["valid"] == true && checked[0]["claim_compared"] == false, "{checked}");
    let receipt = first.client.score_receipt(score.receipt).await?;

    anothers_score(&first, earned.signed.clone()).await?;
    forged_score(&first, earned.signed.clone()).await?;

    let verifier = first.client.status().await?.peer_id;
    let second = gateway_that(|config| config.gateway.verifiers = vec![verifier]).await?;
    node.restart_for(&second.address)?;
    let (pace, _) = proves_one(&second, &node).await?;
    ensure!(
        pace == Pace::InTime,
        "what the first gateway said of it counts, and it has kept it over its end: {pace:?}"
    );

    let third = TestGateway::start().await?;
    node.restart_for(&third.address)?;
    let seen = scored(&third, maker, &node).await?;
    ensure!(seen.score.is_some_and(|score| score.source == Source::Reverified), "{seen:?}");
    let (pace, _) = proves_one(&third, &node).await?;
    ensure!(pace == Pace::InTime, "it has checked the proof itself: {pace:?}");
    a_stranger_s_false_word(&third, &receipt, score.binding).await?;
    a_stranger_s_word_on_junk(&third).await?;

    let fourth = gateway_that(|config| config.gateway.challenges = true).await?;
    // It knows of nothing that was said of it, so that a challenge is what is left.
    let fresh = NodeProcess::start(&fourth.address)?;
    let challenged = until("a challenge that is met", async || {
        let known = fourth.client.scores().await?.scores;
        Ok(known.into_iter().find(|known| known.signed.score.work == Work::Benchmark))
    });
    let challenged = challenged.await.with_context(|| fresh.log())?.signed.score;
    ensure!(challenged.po2.get() == 16, "the largest size that it offers: {challenged:?}");
    let checked = verified_by_the_program(&fourth).await?;
    ensure!(checked[0]["valid"] == true && checked[0]["claim_compared"] == true, "{checked}");
    let (pace, _) = proves_one(&fourth, &fresh).await?;
    ensure!(pace == Pace::InTime, "a node that met its challenge is no stranger: {pace:?}");
    for gateway in [first, second, third, fourth] {
        gateway.stop().await?;
    }
    Ok(())
}

/// Of each size but the smallest, which no run of the guest fits into, and up to 2^19, whose run takes a fraction of a second.
#[tokio::test]
async fn everybody_makes_the_same_benchmark_of_a_seed() -> Result<()> {
    let worker = program("MANYHANDS_WORKER")?;
    for po2 in (14..=19).map(|po2| Po2::try_from(po2).unwrap()) {
        let segment = async |seed| benchmark::segment(&worker, po2, Seed([seed; 16])).await;
        let (one, again, other) = (segment(1).await?, segment(1).await?, segment(2).await?);
        ensure!(one.po2 == po2 && one.index == 0 && other.claim != one.claim, "{po2}");
        ensure!((again.claim == one.claim) == benchmark::is_repeatable(po2), "{po2}");
    }
    let (_, image_id) = guest("tiny")?;
    ensure!(image_id.to_string() == benchmark::IMAGE_ID);
    Ok(())
}

async fn gateway_that(has: impl FnOnce(&mut Config)) -> Result<TestGateway> {
    let dir = tempfile::tempdir()?;
    let mut config = config(dir.path())?;
    has(&mut config);
    TestGateway::start_with(dir, config).await
}

/// Has a job of one segment proved; gives how its lease stood, and who had it.
async fn proves_one(gateway: &TestGateway, node: &NodeProcess) -> Result<(Pace, NodeId)> {
    gateway.nodes(1).await?;
    let job = gateway.submit(&guest("tiny")?.0, tiny_input(100, "scores"), 16, Outcome::Composite).await?;
    let lease = until("a lease", async || Ok(gateway.client.explain(job).await?.leases.first().cloned()));
    let lease = lease.await.with_context(|| node.log())?;
    gateway.done(job).await.with_context(|| node.log())?;
    Ok((lease.pace, lease.node))
}

/// The node, once the gateway holds a score of it.
async fn scored(gateway: &TestGateway, node: NodeId, process: &NodeProcess) -> Result<NodeView> {
    let seen = until("a score that counts", async || {
        let nodes = gateway.client.status().await?.nodes;
        Ok(nodes.into_iter().find(|view| view.node == node && view.score.is_some()))
    });
    seen.await.with_context(|| process.log())
}

/// What `manyhands scores verify` says, as anybody would ask it.
async fn verified_by_the_program(gateway: &TestGateway) -> Result<Value> {
    let mut command = tokio::process::Command::new(program("MANYHANDS_BIN")?);
    command.args(["scores", "verify", "--json", "--gateway", gateway.client.address()]);
    let output = command.output().await?;
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    ensure!(output.status.success(), "{said:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn refused(gateway: &TestGateway, villain: &Villain, score: SignedScore, why: &str) -> Result<()> {
    let answer = villain.bid_showing(score).await?;
    ensure!(matches!(&answer, Response::Refused { reason, .. } if reason.contains(why)), "{why}: {answer:?}");
    ensure!(gateway.offences(villain.id()).await? == 1);
    Ok(())
}

async fn anothers_score(gateway: &TestGateway, earned: SignedScore) -> Result<()> {
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    refused(gateway, &villain, earned, "who shows it").await
}

/// Makes itself the subject of what the gateway said of another.
async fn forged_score(gateway: &TestGateway, earned: SignedScore) -> Result<()> {
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    let mut forged = earned;
    forged.score.peer = villain.id();
    refused(gateway, &villain, forged, "not signed by").await
}

/// A verifier that nobody here knows vouches for a villain with the proof of another node: the nonce in it is not the villain's.
async fn a_stranger_s_false_word(gateway: &TestGateway, receipt: &[u8], binding: Binding) -> Result<()> {
    let verifier = Villain::connect(&gateway.address, Hands::Honest).await?;
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    villain.keeps(receipt)?;
    let score = verifier.vouches_for(villain.id(), receipt, binding)?;
    found_out(gateway, &villain, score, "nonce").await
}

/// The same with what is no proof at all.
async fn a_stranger_s_word_on_junk(gateway: &TestGateway) -> Result<()> {
    let verifier = Villain::connect(&gateway.address, Hands::Honest).await?;
    let villain = Villain::connect(&gateway.address, Hands::Honest).await?;
    let junk = vec![7; 200_000];
    villain.keeps(&junk)?;
    let binding = Binding { epoch: Binding::epoch_at(now_s()?), ..Binding::default() };
    let score = verifier.vouches_for(villain.id(), &junk, binding)?;
    found_out(gateway, &villain, score, "not a receipt").await
}

/// Shows the score with each bid until the gateway has looked at the proof.
async fn found_out(gateway: &TestGateway, villain: &Villain, score: SignedScore, why: &str) -> Result<()> {
    let reason = until("the villain to be found out", async || match villain.bid_showing(score.clone()).await? {
        Response::Refused { reason, .. } => Ok(Some(reason)),
        _ => Ok(None),
    });
    let reason = reason.await?;
    ensure!(reason.contains("without the proof") && reason.contains(why), "{reason}");
    ensure!(gateway.offences(villain.id()).await? == 1);
    Ok(())
}

fn now_s() -> Result<u64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())
}
