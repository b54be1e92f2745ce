//! The main job, as a requester runs it: the `manyhands` command, a gateway, three node processes, real proofs; and the receipt is verified
//! by a program that knows nothing of us.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;

use anyhow::{Context, Result, ensure};
use manyhands_e2e::daemon::NodeProcess;
use manyhands_e2e::gateway::TestGateway;
use manyhands_e2e::{guest, inflate_input, program, root, tiny_input};
use manyhands_proto::{Digest, NodeId};
use tokio::process::Command;

/// Story: three nodes; `inflate` with 1,150 numbers is cut into six segments of 2^16 and becomes a composite receipt; then `tiny` with
/// 3,000 turns is cut into two, which are lifted and joined into a succinct one, privately: encrypted, and on two nodes only.
#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_make_receipts_that_stock_risc_zero_verifies() -> Result<()> {
    let gateway = TestGateway::start().await?;
    let nodes: Vec<NodeProcess> = (0..3).map(|_| NodeProcess::start(&gateway.address)).collect::<Result<_>>()?;
    gateway.nodes(3).await.with_context(|| nodes[0].log())?;
    let dir = tempfile::tempdir()?;

    let numbers = inflate_input(1150);
    let told = prove(&gateway, dir.path(), "inflate", &numbers, &[]).await?;
    let segments = told["segments"].as_u64().context("no segments in the JSON")?;
    ensure!(segments >= 6, "{told}");
    let (kind, journal) = stock_verify(&dir.path().join("inflate.receipt"), guest("inflate")?.1).await?;
    ensure!(kind == format!("composite {segments}"), "{kind}");
    ensure!(journal.ends_with(&hex(&1150u32.to_le_bytes())), "{journal}");

    // The second job is private to two of them: the third gets nothing of it.
    let known = gateway.client.status().await?.nodes;
    let circle: Vec<NodeId> = known.iter().map(|view| view.node).take(2).collect();
    let names = circle.iter().map(|node| manyhands_net::peer_text(*node)).collect::<Vec<_>>();
    let private = ["--succinct", "--private", "--peer", &names[0], "--peer", &names[1]];
    let told = prove(&gateway, dir.path(), "tiny", &tiny_input(3000, "joined"), &private).await?;
    let job = told["job"].as_str().context("no job in the JSON")?.parse()?;
    let status = gateway.client.job(job).await?;
    ensure!(status.view.is_private, "{status:?}");
    ensure!(status.view.results.iter().all(|result| circle.contains(&result.node)), "{:?}", status.view.results);
    let (kind, journal) = stock_verify(&dir.path().join("tiny.receipt"), guest("tiny")?.1).await?;
    ensure!(kind == "succinct" && journal.ends_with(&hex(b"joined")), "{kind} {journal}");
    relying_on(&gateway, dir.path(), &journal).await?;
    hashing(&gateway, dir.path()).await?;
    let jobs = gateway.client.status().await?.jobs;
    let succinct = jobs.iter().find(|summary| summary.job == job).context("no job")?;
    ensure!(succinct.units_done == 5, "two proofs, two lifts, one join: {succinct:?}");

    let wrong = stock_verify(&dir.path().join("tiny.receipt"), guest("inflate")?.1).await;
    ensure!(wrong.is_err(), "a receipt of another program was accepted");
    gateway.stop().await?;
    Ok(())
}

/// Another program has that receipt's journal verified, twice: its composite receipt takes the receipt along for each time.
async fn relying_on(gateway: &TestGateway, dir: &Path, journal_hex: &str) -> Result<()> {
    let digits = |place: usize| journal_hex.get(2 * place..2 * place + 2).context("odd digits");
    let byte = |place| Ok(u8::from_str_radix(digits(place)?, 16)?);
    let journal = (0..journal_hex.len() / 2).map(byte).collect::<Result<Vec<u8>>>()?;
    let input = [&0_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), &guest("tiny")?.1.0, &journal].concat();
    let receipt = dir.join("tiny.receipt");
    let receipt = receipt.to_str().context("a path in UTF-8")?;
    let told = prove(gateway, dir, "verifies", &input, &["--assumption", receipt]).await?;
    let (kind, journal) = stock_verify(&dir.join("verifies.receipt"), guest("verifies")?.1).await?;
    ensure!(kind == format!("composite {}", told["segments"]) && journal == journal_hex, "{kind} {journal}");
    let size = std::fs::metadata(dir.join("verifies.receipt"))?.len();
    ensure!(size > 2 * std::fs::metadata(receipt)?.len(), "it has the other receipt twice in {size} bytes");
    let without = prove(gateway, dir, "verifies", &input, &[]).await.expect_err("nothing to rely on").to_string();
    ensure!(without.contains("was not given as an assumption"), "{without}");
    Ok(())
}

/// A program that leaves a keccak permutation to its host: that is proved on a node too, and resolved.
async fn hashing(gateway: &TestGateway, dir: &Path) -> Result<()> {
    let value: Vec<u8> = (0..32).collect();
    let input = [&1_u32.to_le_bytes()[..], &value].concat();
    let told = prove(gateway, dir, "hashes", &input, &["--succinct"]).await?;
    let (kind, journal) = stock_verify(&dir.join("hashes.receipt"), guest("hashes")?.1).await?;
    // Keccak-256 of the bytes 0 to 31, by PyCryptodome (guests/README.md).
    let hash = "8ae1aa597fa146ebd3aa2ceddf360668dea5e526567e92b0321816a4e895bd2d";
    ensure!(kind == "succinct" && journal == hash, "{kind} {journal}");
    let keccaks = told["nodes"].as_array().context("no nodes in the JSON")?.iter().map(|node| node["keccaks"].as_u64());
    ensure!(keccaks.sum::<Option<u64>>() == Some(1), "{told}");
    Ok(())
}

/// Runs `manyhands prove`, as a script would.
async fn prove(
    gateway: &TestGateway,
    dir: &Path,
    name: &str,
    input: &[u8],
    more: &[&str],
) -> Result<serde_json::Value> {
    let file = dir.join(format!("{name}.input"));
    std::fs::write(&file, input)?;
    let output = Command::new(program("MANYHANDS_BIN")?)
        .arg("prove")
        .arg(root().join(format!("guests/built/{name}.bin")))
        .arg("--input")
        .arg(&file)
        .arg("-o")
        .arg(dir.join(format!("{name}.receipt")))
        .args(["--po2", "16", "--json", "--gateway", gateway.client.address()])
        .args(more)
        .output()
        .await?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{name}: {}\n{out}\n{err}", output.status);
    serde_json::from_str(&out).with_context(|| format!("not one JSON object: {out}"))
}

/// Kind and journal of a receipt, as the stock verifier prints them.
async fn stock_verify(receipt: &Path, image_id: Digest) -> Result<(String, String)> {
    let output =
        Command::new(program("MANYHANDS_STOCK_VERIFIER")?).arg(receipt).arg(image_id.to_string()).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let (kind, journal) = text.trim().rsplit_once(' ').context("no kind and journal")?;
    Ok((kind.to_owned(), journal.to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
