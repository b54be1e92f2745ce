//! The unmodified `bonsai-sdk`, blocking and async, against a gateway and one node: every call, errors included, and one real proof.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bonsai_sdk::responses::SessionStatusRes;
use bonsai_sdk::{SdkErr, blocking, non_blocking};
use manyhands_core::Priority;
use manyhands_e2e::daemon::NodeProcess;
use manyhands_e2e::gateway::{TestGateway, config};
use manyhands_e2e::{PATIENCE, guest, program, root, tiny_input};
use manyhands_node::gateway::bonsai::{KeyLimits, Keys};
use manyhands_proto::Digest;
use manyhands_zkvm::ReceiptKind;

const VERSION: &str = "3.0.6";

/// A gateway at which alice, bob and carol have keys, and what they are.
async fn gateway() -> Result<(TestGateway, [String; 3])> {
    let dir = tempfile::tempdir()?;
    let keys = Keys::open(dir.path())?;
    let priority = Priority::High;
    let limits =
        KeyLimits { cycles_max: 1 << 30, sessions_max: 3, bytes_max: 300_000_000, budget_cycles: None, priority };
    let small = KeyLimits { bytes_max: 100, ..limits };
    let poor = KeyLimits { budget_cycles: Some(1_000), ..limits };
    let made = [keys.create("alice", limits)?, keys.create("bob", small)?, keys.create("carol", poor)?];
    let config = config(dir.path())?;
    Ok((TestGateway::start_with(dir, config).await?, made))
}

fn told(status: &SessionStatusRes) -> String {
    format!("{} {:?} {:?}", status.status, status.state, status.error_msg)
}

/// What `tiny` commits after ten turns of its wheel.
fn tiny_journal(message: &str) -> Vec<u8> {
    let wheel = (0..10).fold(1_u32, |value, _| value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    [&wheel.to_le_bytes(), message.as_bytes()].concat()
}

fn client(url: &str, key: &str) -> blocking::Client {
    blocking::Client::from_parts(url.to_owned(), key.to_owned(), VERSION).unwrap()
}

fn refused<T>(result: Result<T, SdkErr>, said: &str) -> Result<()> {
    match result {
        Ok(_) => bail!("that should have been refused: {said}"),
        Err(SdkErr::InternalServerErr(text)) if text.contains(said) => Ok(()),
        Err(error) => bail!("{said:?} was expected, not {error:?}"),
    }
}

/// Asks until a session has ended.
fn ended(client: &blocking::Client, session: &blocking::SessionId) -> Result<(SessionStatusRes, Vec<String>)> {
    let since = std::time::Instant::now();
    let mut stages = Vec::new();
    while since.elapsed() < PATIENCE {
        let status = session.status(client)?;
        if status.status != "RUNNING" {
            return Ok((status, stages));
        }
        let stage = status.state.clone().unwrap_or_default();
        if stages.last() != Some(&stage) {
            stages.push(stage);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    bail!("the session does not end")
}

/// Story: alice uploads, executes, proves, stops; bob sees nothing of it; a stranger nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_blocking_client_and_one_real_proof() -> Result<()> {
    let (gateway, keys) = gateway().await?;
    let _node = NodeProcess::start(&gateway.address)?;
    gateway.nodes(1).await?;
    let url = gateway.client.address().to_owned();
    let url = if url.starts_with("http") { url } else { format!("http://{url}") };
    tokio::task::spawn_blocking(move || {
        story(&url, keys.each_ref().map(String::as_str))?;
        stock_programs(&url, &keys[0])
    })
    .await??;
    let jobs = gateway.client.status().await?.jobs;
    ensure!(jobs.len() == 2 && jobs.iter().all(|job| job.priority == Priority::High), "the key's priority: {jobs:?}");
    gateway.stop().await?;
    Ok(())
}

fn story(url: &str, keys: [&str; 3]) -> Result<()> {
    let [alice, bob, carol] = keys.map(|key| client(url, key));
    ensure!(alice.version()?.risc0_zkvm == [VERSION], "the version");
    let quotas = alice.quotas()?;
    ensure!((quotas.exec_cycle_limit, quotas.concurrent_proofs) == (1 << 10, 3), "the quotas");
    refused(client(url, "mh_wrong").has_img(&"ab".repeat(32)), "opens nothing here")?;

    // Programs: by their image id, checked.
    let (program, image_id) = guest("tiny")?;
    let image = image_id.to_string();
    ensure!(!alice.has_img(&image)?, "nothing was uploaded yet");
    refused(alice.upload_img(&"ab".repeat(32), program.clone()), "has the image id")?;
    refused(alice.upload_img(&image, b"no program".to_vec()), "no program")?;
    ensure!(!alice.upload_img(&format!("0x{image}"), program.clone())?, "it is new");
    ensure!(alice.upload_img(&image, program)? && alice.has_img(&image)?, "it is here");
    ensure!(!bob.has_img(&image)?, "to bob it is not");
    refused(bob.create_session(image.clone(), String::new(), vec![], true), "was not uploaded")?;

    // Executing only: the journal.
    let input = alice.upload_input(tiny_input(10, "hello"))?;
    refused(alice.create_session(image.clone(), "nothing".to_owned(), vec![], true), "input was not uploaded")?;
    refused(
        alice.create_session(image.clone(), input.clone(), vec![input.clone()], true),
        "assumption was not uploaded",
    )?;
    let executed = alice.create_session(image.clone(), input.clone(), vec![], true)?;
    let (status, _) = ended(&alice, &executed)?;
    ensure!(status.status == "SUCCEEDED", "{}", told(&status));
    let stats = status.stats.context("stats are mandatory")?;
    ensure!(
        stats.segments == 1 && stats.cycles > 3_000 && stats.total_cycles > stats.cycles,
        "{} of {} in {}",
        stats.cycles,
        stats.total_cycles,
        stats.segments
    );
    ensure!(executed.exec_only_journal(&alice)? == tiny_journal("hello"), "the journal");
    ensure!(executed.logs(&alice).is_ok(), "there is a log");
    with_files(&alice, &image)?;
    ensure!(matches!(alice.receipt_download(&executed), Err(SdkErr::ReceiptNotFound)), "no receipt of an execution");
    refused(executed.status(&bob), "no session")?;
    refused(executed.exec_only_journal(&bob), "no session")?;

    a_budget(&carol, &image)?;

    // A guest that panics: its words.
    let (panics, panics_id) = guest("panics")?;
    alice.upload_img(&panics_id.to_string(), panics)?;
    let failing = alice.create_session(panics_id.to_string(), String::new(), vec![], true)?;
    let (status, _) = ended(&alice, &failing)?;
    ensure!(
        status.status == "FAILED" && status.error_msg.as_ref().is_some_and(|text| text.contains("guest")),
        "{}",
        told(&status)
    );

    // One that never ends: stopped.
    let (loops, loops_id) = guest("loops")?;
    alice.upload_img(&loops_id.to_string(), loops)?;
    let endless = |limit| {
        alice.create_session_with_limit(loops_id.to_string(), String::new(), vec![], true, Some((1_u64 << 29) + limit))
    };
    let running = [endless(1)?, endless(2)?, endless(3)?];
    refused(endless(4), "sessions at the same time")?;
    refused(bob.upload_input(vec![7; 101]), "your key may have")?;
    for session in &running {
        session.stop(&alice)?;
        ensure!(ended(&alice, session)?.0.status == "ABORTED", "it was stopped");
    }

    // Proving: stages, stats, a receipt that RISC Zero verifies; the same again is the same session.
    let session = alice.create_session(image.clone(), input.clone(), vec![], false)?;
    let again = alice.upload_input(tiny_input(10, "hello"))?;
    ensure!(alice.create_session(image.clone(), again, vec![], false)?.uuid == session.uuid, "it attaches");
    let (status, stages) = ended(&alice, &session)?;
    ensure!(
        status.status == "SUCCEEDED" && status.stats.is_some() && status.elapsed_time.is_some(),
        "{}",
        told(&status)
    );
    ensure!(stages.iter().any(|stage| stage.starts_with("ProveSegments: 0/1")), "{stages:?}");
    let receipt = alice.receipt_download(&session)?;
    let summary = manyhands_zkvm::verify_receipt(&receipt, image_id)?;
    ensure!(summary.journal == tiny_journal("hello"), "{summary:?}");
    let address = status.receipt_url.context("a receipt has an address")?;
    ensure!(alice.download(&address)? == receipt, "the same receipt");
    let base = address.split("/receipts/").next().context("it is below the gateway's")?;
    let bentos = format!("{base}/receipts/stark/receipt/{}", session.uuid);
    ensure!(alice.download(&bentos)? == receipt, "the same where Bento has it");
    ensure!(
        alice.create_session(image.clone(), input.clone(), vec![], false)?.uuid == session.uuid,
        "a finished one too"
    );
    refused(bob.create_snark(session.uuid.clone()), "no session and no uploaded receipt")?;
    refused(alice.create_snark(executed.uuid.clone()), "only executes")?;
    refused(blocking::SnarkId::new(session.uuid.clone()).status(&alice), "no Groth16 receipt")?;
    groth16(&alice, session.uuid.clone(), image_id)?;
    groth16(&alice, alice.upload_receipt(receipt.clone())?, image_id)?;
    relying_on(&alice, image_id, receipt)?;
    ensure!(matches!(bob.receipt_download(&session), Err(SdkErr::ReceiptNotFound)), "to bob there is none");

    let wrong = blocking::Client::from_parts(url.to_owned(), "x".to_owned(), "2.3.1")?;
    refused(wrong.create_session(image.clone(), input.clone(), vec![], true), "opens nothing")?;
    alice.input_delete(&input)?;
    refused(alice.input_delete(&input), "no such upload")?;
    refused(bob.image_delete(&image), "no such upload")?;
    alice.image_delete(&image)?;
    ensure!(!alice.has_img(&image)?, "it is gone");
    Ok(())
}

/// Made and verified where this machine has Docker and RISC Zero's container; refused with the reason and the way out where it has not.
fn groth16(alice: &blocking::Client, of: String, image_id: Digest) -> Result<()> {
    let snark = match alice.create_snark(of) {
        Ok(snark) => snark,
        Err(SdkErr::InternalServerErr(text)) => {
            let is_whole = text.contains("cannot make Groth16 receipts: ") && text.contains("ProverOpts::succinct()");
            ensure!(is_whole, "{text}");
            return Ok(());
        }
        Err(error) => bail!("not a sentence: {error:?}"),
    };
    let since = std::time::Instant::now();
    while since.elapsed() < PATIENCE {
        let status = snark.status(alice)?;
        if status.status != "RUNNING" {
            ensure!(status.status == "SUCCEEDED", "{}: {:?}", status.status, status.error_msg);
            let receipt = alice.download(&status.output.context("a receipt has an address")?)?;
            let summary = manyhands_zkvm::verify_receipt(&receipt, image_id)?;
            ensure!(summary.kind == ReceiptKind::Groth16 && summary.journal == tiny_journal("hello"), "{summary:?}");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    bail!("the Groth16 receipt does not end")
}

/// What `verifies` reads to have a journal of `tiny` verified twice.
fn verifies_input(turns: u32, tiny: Digest) -> Vec<u8> {
    [&turns.to_le_bytes()[..], &2_u32.to_le_bytes(), &tiny.0, &tiny_journal("hello")].concat()
}

/// A guest that relies on a receipt runs if that receipt is given, and is told what is wrong otherwise.
fn relying_on(alice: &blocking::Client, tiny: Digest, receipt: Vec<u8>) -> Result<()> {
    let (program, verifies) = guest("verifies")?;
    alice.upload_img(&verifies.to_string(), program)?;
    let input = alice.upload_input(verifies_input(0, tiny))?;
    let session = |assumptions| alice.create_session(verifies.to_string(), input.clone(), assumptions, true);
    let garbage = alice.upload_receipt(b"no receipt".to_vec())?;
    refused(session(vec![garbage]), "not usable")?;
    let without = ended(alice, &session(vec![])?)?.0;
    ensure!(
        without.status == "FAILED" && without.error_msg.as_ref().is_some_and(|text| text.contains("was not given")),
        "{}",
        told(&without)
    );
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("receipt");
    std::fs::write(&file, receipt)?;
    let with = session(vec![alice.upload_receipt_file(&file)?])?;
    ensure!(ended(alice, &with)?.0.status == "SUCCEEDED", "with it, it runs");
    ensure!(with.exec_only_journal(alice)? == tiny_journal("hello"), "the journal");
    Ok(())
}

/// Programs that know RISC Zero alone and call `default_prover()`. The second relies on what the first one proved, and has two segments:
/// proofs, lifts, a join, and a resolution for each time that it asks.
fn stock_programs(url: &str, key: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = |name: &str, what: &str| dir.path().join(format!("{name}.{what}"));
    let prove = |name: &str, input: &[u8], relies_on: &[&str]| -> Result<String> {
        std::fs::write(file(name, "input"), input)?;
        let output = Command::new(program("MANYHANDS_STOCK_PROVER")?)
            .envs([("BONSAI_API_URL", url), ("BONSAI_API_KEY", key)])
            .arg(file(name, "receipt"))
            .arg(root().join(format!("guests/built/{name}.bin")))
            .arg(file(name, "input"))
            .args(relies_on.iter().map(|name| file(name, "receipt")))
            .output()?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let (_, tiny) = guest("tiny")?;
    // Proved above: the same program and input is the same session.
    prove("tiny", &tiny_input(10, "hello"), &[])?;
    let said = prove("verifies", &verifies_input(3_000, tiny), &["tiny"])?;
    ensure!(said.starts_with("2 segments"), "{said}");
    let summary = manyhands_zkvm::verify_receipt(&std::fs::read(file("verifies", "receipt"))?, guest("verifies")?.1)?;
    ensure!(summary.kind == ReceiptKind::Succinct && summary.journal == tiny_journal("hello"), "{summary:?}");
    Ok(())
}

/// The calls that upload files.
fn with_files(alice: &blocking::Client, image: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (program, input) = (dir.path().join("program"), dir.path().join("input"));
    std::fs::write(&program, guest("tiny")?.0)?;
    std::fs::write(&input, tiny_input(10, "from a file"))?;
    ensure!(alice.upload_img_file(image, &program)?, "it is here already");
    let session = alice.create_session(image.to_owned(), alice.upload_input_file(&input)?, vec![], true)?;
    ensure!(ended(alice, &session)?.0.status == "SUCCEEDED", "it runs");
    ensure!(session.exec_only_journal(alice)? == tiny_journal("from a file"), "the journal");
    Ok(())
}

/// The first session takes more than the whole budget: there is no second one, and the first can be had again.
fn a_budget(carol: &blocking::Client, image: &str) -> Result<()> {
    carol.upload_img(image, guest("tiny")?.0)?;
    ensure!(carol.quotas()?.cycle_usage == 0, "nothing was used yet");
    let input = carol.upload_input(tiny_input(10, "first"))?;
    let first = carol.create_session(image.to_owned(), input.clone(), vec![], true)?;
    ensure!(ended(carol, &first)?.0.status == "SUCCEEDED", "within the budget");
    let quotas = carol.quotas()?;
    ensure!((quotas.cycle_budget, quotas.cycle_usage) == (0, 1), "in millions, what is used rounded up");
    let second = carol.upload_input(tiny_input(10, "second"))?;
    refused(carol.create_session(image.to_owned(), second, vec![], true), "budget of 1000 cycles is used up")?;
    ensure!(carol.create_session(image.to_owned(), input, vec![], true)?.uuid == first.uuid, "the same costs nothing");
    Ok(())
}

/// The async client streams files without saying how long they are.
#[tokio::test(flavor = "multi_thread")]
async fn the_async_client_streams_its_uploads() -> Result<()> {
    let (gateway, [alice, ..]) = gateway().await?;
    let url = gateway.client.address().to_owned();
    let url = if url.starts_with("http") { url } else { format!("http://{url}") };
    let client = non_blocking::Client::from_parts(url.clone(), alice.clone(), VERSION)?;
    let dir = tempfile::tempdir()?;
    let (program, image_id) = guest("tiny")?;
    let (program_file, input_file) = (dir.path().join("program"), dir.path().join("input"));
    std::fs::write(&program_file, program)?;
    std::fs::write(&input_file, tiny_input(10, "streamed"))?;
    ensure!(!client.upload_img_file(&image_id.to_string(), &program_file).await?, "it is new");
    let input = client.upload_input_file(&input_file).await?;
    let session = client.create_session(image_id.to_string(), input, vec![], true).await?;
    let journal = manyhands_e2e::until("the journal", async || {
        let status = session.status(&client).await?;
        if status.status == "SUCCEEDED" {
            return Ok(Some(session.exec_only_journal(&client).await?));
        }
        ensure!(status.status == "RUNNING", "{}", told(&status));
        Ok(None)
    })
    .await?;
    ensure!(journal == tiny_journal("streamed"), "{journal:?}");
    ensure!(session.logs(&client).await.is_ok(), "there is a log");
    let receipt = client.upload_receipt(b"no receipt".to_vec()).await?;
    match client.create_snark(receipt).await {
        Err(SdkErr::InternalServerErr(text)) => ensure!(text.contains("not a RISC Zero receipt"), "{text}"),
        other => bail!("that is no receipt: {:?}", other.map(|snark| snark.uuid)),
    }
    let other = non_blocking::Client::from_parts(url, alice, "2.3.1")?;
    match other.create_session(image_id.to_string(), String::new(), vec![], true).await {
        Err(SdkErr::InternalServerErr(text)) => ensure!(text.contains("risc0-zkvm 3.0"), "{text}"),
        other => bail!("another version should be refused: {:?}", other.map(|session| session.uuid)),
    }
    gateway.stop().await?;
    Ok(())
}
