//! A gateway at work is backed up, and another goes on from the copy: with the real command, real workers and real proofs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bonsai_sdk::non_blocking::Client;
use manyhands_core::Outcome;
use manyhands_e2e::daemon::NodeProcess;
use manyhands_e2e::gateway::{TestGateway, config};
use manyhands_e2e::{guest, program, tiny_input, until};
use manyhands_zkvm::verify_receipt;

/// Turns of the guest's wheel: a few segments of 2^16 cycles.
const TURNS: u32 = 15_000;

async fn back_up(address: &str) -> Result<PathBuf> {
    let mut command = tokio::process::Command::new(program("MANYHANDS_BIN")?);
    let output = command.args(["backup", "--json", "--gateway", address]).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(made["path"].as_str().context("no path")?.into())
}

/// Story: one job is done, one has its first proof, a session has executed. The gateway is backed up, and goes on; then it is gone. What
/// starts on the copy has the receipt, the session's journal and the proof, and comes to the end of the job with a new node.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_and_jobs_go_on() -> Result<()> {
    let gateway = TestGateway::start().await?;
    let mut node = NodeProcess::start(&gateway.address)?;
    let (tiny, image_id) = guest("tiny")?;
    let first = gateway.submit(&tiny, tiny_input(0, "first"), 16, Outcome::Composite).await?;
    let (_, receipt) = gateway.done(first).await?;

    let url = format!("http://{}", gateway.client.address());
    let bonsai = Client::from_parts(url, "anybody".to_owned(), "3.0.6")?;
    bonsai.upload_img(&image_id.to_string(), tiny.clone()).await?;
    let input = bonsai.upload_input(tiny_input(10, "session")).await?;
    let session = bonsai.create_session(image_id.to_string(), input, vec![], true).await?;
    until("the session", async || Ok((session.status(&bonsai).await?.status == "SUCCEEDED").then_some(()))).await?;
    let journal = session.exec_only_journal(&bonsai).await?;

    let second = gateway.submit(&tiny, tiny_input(TURNS, "second"), 16, Outcome::Composite).await?;
    let is_begun = |status: &manyhands_api::JobStatus| status.view.units_done > 0;
    let before = gateway.wait(second, "its first proof", is_begun).await?;
    let path = back_up(gateway.client.address()).await?;
    node.kill()?;
    let data = gateway.stop().await?;

    let restored = tempfile::tempdir()?;
    let copied = std::process::Command::new("cp").arg("-a").arg(path.join(".")).arg(restored.path()).status()?;
    ensure!(copied.success());
    drop(data);
    let config = config(restored.path())?;
    let gateway = TestGateway::start_with(restored, config).await?;
    ensure!(gateway.client.receipt(first, 64 << 20).await? == receipt);
    let bonsai = Client::from_parts(format!("http://{}", gateway.client.address()), "anybody".to_owned(), "3.0.6")?;
    ensure!(session.exec_only_journal(&bonsai).await? == journal);
    // Proofs are checked once more before they count. There is no node yet that could make others.
    let is_back = |status: &manyhands_api::JobStatus| status.view.units_done >= before.view.units_done;
    gateway.wait(second, "what was verified", is_back).await?;
    let _node = NodeProcess::start(&gateway.address)?;
    let (status, receipt) = gateway.done(second).await?;
    ensure!(verify_receipt(&receipt, image_id)?.journal.ends_with(b"second"));
    // What was verified before is not proved again.
    let proved = |view: &manyhands_core::view::JobView| {
        view.results.iter().map(|result| (result.unit, result.node)).collect::<Vec<_>>()
    };
    let kept = proved(&before.view).into_iter().all(|result| proved(&status.view).contains(&result));
    ensure!(kept, "{:?}\n{:?}", before.view.results, status.view.results);
    Ok(())
}
