//! `prove`, `attach`, `stop` and `status` as processes, against gateways that follow a script and against what is no gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::process::Stdio;

use manyhands_api::{Problem, ProblemKind};
use manyhands_core::job::UnitState::{Leased, Stored, Verified};
use manyhands_proto::Digest;
use manyhands_proto::limits::RECEIPT_BYTES_MAX;
use rustix::process::Signal;
use support::{JOB, Script, gateway, guest, json, manyhands, run, said, signal, status, uploaded};
use tempfile::tempdir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

fn program() -> String {
    guest("tiny.bin").display().to_string()
}

#[tokio::test]
async fn a_receipt_that_does_not_verify_is_not_kept() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("in"), "seven").unwrap();
    let mut waiting = status("open", &[Stored, Stored]);
    waiting.view.waiting = Some("no node is connected; the job starts with the first one".into());
    let statuses = vec![
        waiting,
        status("open", &[Verified, Leased]),
        status("assembling", &[Verified; 2]),
        status("done", &[Verified; 2]),
    ];
    let (script, address) =
        gateway(Script { statuses: statuses.into(), receipt: b"a receipt, believe me".to_vec(), ..Script::default() })
            .await;
    let words = [
        "prove",
        &program(),
        "--input",
        "in",
        "--po2",
        "16",
        "--succinct",
        "--cycles-max",
        "999",
        "--priority",
        "high",
        "--gateway",
        &address,
    ];
    let said = run(dir.path(), &words).await;
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.err.contains("waiting: no node is connected"), "{said:?}");
    assert!(said.err.contains("prove 0 done by 05050505"), "{said:?}");
    assert!(said.err.contains("verification failed") && said.err.contains("not kept"), "{said:?}");
    assert_eq!(said.out, "");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["in"], "neither a receipt nor a draft");
    let uploads = script.uploads.lock().unwrap().clone();
    assert_eq!(uploads, [std::fs::read(guest("tiny.bin")).unwrap(), b"seven".to_vec()]);
    let request = script.requests.lock().unwrap()[0].clone();
    assert_eq!((request.po2.unwrap().get(), request.cycles_max), (16, Some(999)));
    assert_eq!(
        (request.outcome, request.priority),
        (manyhands_core::Outcome::Succinct, manyhands_core::Priority::High)
    );
}

/// From a file and from a pipe, whose size nobody knows.
#[tokio::test]
async fn a_large_input_is_sent_as_it_is_read() {
    let dir = tempdir().unwrap();
    let large: Vec<u8> = (0..(8_u32 << 20) + 5).map(|number| (number % 251) as u8).collect();
    std::fs::write(dir.path().join("large"), &large).unwrap();
    for way in [&["--input", "large"][..], &["--stdin"]] {
        let refusal = Some(manyhands_api::Problem::invalid("enough"));
        let (script, address) = gateway(Script { refusal, ..Script::default() }).await;
        let program = program();
        let words = [&["prove", "--gateway", &address, &program], way].concat();
        let mut command = manyhands(dir.path(), &words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        if way == ["--stdin"] {
            stdin.write_all(&large).await.unwrap();
        }
        drop(stdin);
        let said = said(&child.wait_with_output().await.unwrap());
        assert!(said.status == 2 && said.err.contains("enough"), "{said:?}");
        assert!(script.uploads.lock().unwrap()[1] == large);
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(guest("").join("../../crates/zkvm/testdata").join(name)).unwrap()
}

/// The receipt of two real proofs of `tiny.bin`, with its image id.
fn real_receipt() -> (Vec<u8>, Digest) {
    let image_id = Digest(fixture("image_id").try_into().unwrap());
    let segments = ["segment0.receipt", "segment1.receipt"].map(|name| Ok(fixture(name)));
    (manyhands_zkvm::composite_receipt(segments, &[], &fixture("journal"), image_id).unwrap(), image_id)
}

/// The same proofs as one.
fn succinct_receipt() -> Vec<u8> {
    let image_id = Digest(fixture("image_id").try_into().unwrap());
    manyhands_zkvm::succinct_receipt(&fixture("join.receipt"), &fixture("journal"), image_id).unwrap()
}

/// A receipt with zeros after its journal, until it is larger than any that is taken. The journal stands before the last 32 bytes, and its
/// length before it; no proof depends on it.
fn padded(receipt: &[u8]) -> Vec<u8> {
    let journal = fixture("journal");
    let (front, parameters) = receipt.split_at(receipt.len() - 32);
    let front = front.strip_suffix(&journal[..]).unwrap();
    let front = front.strip_suffix(&(journal.len() as u64).to_le_bytes()).unwrap();
    let length = RECEIPT_BYTES_MAX + 1;
    let zeros = vec![0; length as usize - journal.len()];
    [front, &length.to_le_bytes(), &journal, &zeros, parameters].concat()
}

#[tokio::test]
async fn what_nothing_can_rely_on_is_found_before_anything_is_sent() {
    let dir = tempdir().unwrap();
    let (composite, _) = real_receipt();
    let files = [
        ("composite", composite.clone()),
        ("many", padded(&composite)),
        ("garbage", b"a receipt, believe me".to_vec()),
        ("large", padded(&succinct_receipt())),
    ];
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let (script, address) = gateway(Script::default()).await;
    let program = program();
    let cases: [(&str, &[&str]); 5] = [
        ("composite", &["nothing can rely on composite", "`manyhands prove --succinct`"]),
        ("many", &["nothing can rely on many", "`manyhands prove --succinct`"]),
        ("garbage", &["nothing can rely on garbage", "not a RISC Zero receipt"]),
        ("large", &["the receipt large is larger than"]),
        ("missing", &["cannot read the receipt missing"]),
    ];
    for (name, expected) in cases {
        for words in [&["prove", "--gateway", &address][..], &["segment", "--po2", "16"]] {
            let words = [words, &[&program, "--assumption", name]].concat();
            let said = run(dir.path(), &words).await;
            assert_eq!(said.status, 2, "{words:?}: {said:?}");
            assert!(expected.iter().all(|part| said.err.contains(part)), "{words:?}: {said:?}");
        }
    }
    assert!(script.uploads.lock().unwrap().is_empty());
    assert!(script.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_receipt_to_rely_on_is_uploaded_and_named_in_the_request() {
    let dir = tempdir().unwrap();
    let (receipt, assumption) = (real_receipt().0, succinct_receipt());
    std::fs::write(dir.path().join("inner.receipt"), &assumption).unwrap();
    std::fs::write(dir.path().join("in"), "seven").unwrap();
    let statuses = vec![status("done", &[Verified; 2])].into();
    let (script, address) = gateway(Script { statuses, receipt, ..Script::default() }).await;
    let words = ["prove", &program(), "--input", "in", "--assumption", "inner.receipt", "--gateway", &address];
    let said = run(dir.path(), &words).await;
    assert_eq!(said.status, 0, "{said:?}");
    let uploads = script.uploads.lock().unwrap().clone();
    assert_eq!(uploads, [std::fs::read(guest("tiny.bin")).unwrap(), b"seven".to_vec(), assumption]);
    let request = script.requests.lock().unwrap()[0].clone();
    assert_eq!((request.program, request.input), (uploaded(&uploads, 0), Some(uploaded(&uploads, 1))));
    assert_eq!(request.assumptions, [uploaded(&uploads, 2)]);
}

#[tokio::test]
async fn a_receipt_that_verifies_is_written_and_summed_up() {
    let dir = tempdir().unwrap();
    let (receipt, image_id) = real_receipt();
    let statuses = vec![status("open", &[Verified, Leased]), status("done", &[Verified; 2])];
    let (_, address) =
        gateway(Script { statuses: statuses.into(), receipt: receipt.clone(), ..Script::default() }).await;
    let said = run(dir.path(), &["prove", &program(), "--gateway", &address, "--json"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    let summary = json(&said);
    assert_eq!(summary["verified"], true);
    assert_eq!(summary["image_id"], image_id.to_string());
    assert_eq!((&summary["segments"], &summary["nodes"][0]["proofs"]), (&2.into(), &2.into()));
    assert_eq!(std::fs::read(dir.path().join("tiny.receipt")).unwrap(), receipt);
    let said = run(dir.path(), &["verify", "tiny.receipt", "--image-id", &image_id.to_string(), "--json"]).await;
    assert_eq!((said.status, json(&said)["segments"].as_u64()), (0, Some(2)), "{said:?}");
    let said = run(dir.path(), &["verify", "tiny.receipt", "--image-id", &"00".repeat(32)]).await;
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.err.contains("another program"), "{said:?}");
    let words = ["attach", &JOB.to_string(), "-o", "again", "--image-id", &image_id.to_string(), "--gateway", &address];
    let said = run(dir.path(), &words).await;
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.out.contains("verified:") && said.out.contains("composite"), "{said:?}");
    assert_eq!(std::fs::read(dir.path().join("again")).unwrap(), receipt);
}

#[tokio::test]
async fn an_old_receipt_survives_a_failed_run() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("tiny.receipt"), "the old one").unwrap();
    let (_, address) =
        gateway(Script { statuses: vec![status("done", &[Verified])].into(), ..Script::default() }).await;
    let said = run(dir.path(), &["prove", &program(), "--gateway", &address, "--json"]).await;
    assert_eq!(said.status, 1);
    assert!(json(&said)["error"].as_str().unwrap().contains("verification failed"));
    assert_eq!(std::fs::read(dir.path().join("tiny.receipt")).unwrap(), b"the old one");
}

#[tokio::test]
async fn a_guests_panic_is_shown_with_its_last_words() {
    let dir = tempdir().unwrap();
    let mut failed = status("failed", &[]);
    failed.view.error = Some("the guest failed: it panicked: index out of bounds".into());
    let log = b"reading input\nthread 'main' panicked at src/main.rs:7\x1b[2J\n".to_vec();
    let (_, address) = gateway(Script { statuses: vec![failed].into(), log, ..Script::default() }).await;
    let said = run(dir.path(), &["prove", &program(), "--gateway", &address]).await;
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.err.contains("index out of bounds"), "{said:?}");
    assert!(said.err.contains("panicked at src/main.rs:7"), "{said:?}");
}

#[tokio::test]
async fn nobody_at_the_address() {
    let dir = tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    for words in [vec!["status", "--gateway", &free], vec!["prove", &program(), "--gateway", &free]] {
        let said = run(dir.path(), &words).await;
        assert_eq!(said.status, 3, "{said:?}");
        assert!(said.err.contains(&free) && said.err.contains("manyhands up"), "{said:?}");
    }
    let said = run(dir.path(), &["status", "--gateway", &free, "--json"]).await;
    assert_eq!(said.status, 3);
    assert!(json(&said)["hint"].as_str().unwrap().contains("--gateway"));
}

#[tokio::test]
async fn a_stranger_at_the_address() {
    let dir = tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").await;
        }
    });
    let said = run(dir.path(), &["prove", &program(), "--gateway", &address]).await;
    assert_eq!(said.status, 3, "{said:?}");
    assert!(said.err.contains("not a manyhands gateway"), "{said:?}");
}

#[tokio::test]
async fn wrong_programs_and_inputs_are_found_before_anything_is_sent() {
    let dir = tempdir().unwrap();
    let whole = std::fs::read(guest("tiny.bin")).unwrap();
    std::fs::write(dir.path().join("guest.elf"), b"\x7fELF\x01\x01\x01 and so on").unwrap();
    std::fs::write(dir.path().join("short.bin"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(dir.path().join("photo.jpg"), b"\xff\xd8\xff").unwrap();
    let (script, address) = gateway(Script::default()).await;
    let cases: [(&[&str], &str); 9] = [
        (&["guest.elf"], "--wrap"),
        (&["short.bin"], "short.bin"),
        (&["photo.jpg"], "R0BF"),
        (&["nothing.bin"], "cannot read the program nothing.bin"),
        (&[&program(), "--input", "nothing"], "cannot read the input nothing"),
        (&[&program(), "--po2", "25"], "14 to 24"),
        (&[&program(), "--po2", "13"], "14 to 24"),
        (&[&program(), "--priority", "urgent"], "low, normal or high"),
        (&[&program(), "-o", "no/such/dir/receipt"], "no/such/dir/receipt"),
    ];
    for (words, expected) in cases {
        let words: Vec<&str> = ["prove"].iter().chain(words).chain(&["--gateway", &address]).copied().collect();
        let said = run(dir.path(), &words).await;
        assert_eq!(said.status, 2, "{words:?}: {said:?}");
        assert!(said.err.contains(expected), "{words:?}: {said:?}");
    }
    assert!(script.uploads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_gateways_refusal_is_passed_on() {
    let dir = tempdir().unwrap();
    let message = "no node offers segments of po2 20: 0a0b0c0d: up to po2 16";
    let refusal = Some(Problem::new(ProblemKind::Unfit, message));
    let (_, address) = gateway(Script { refusal, ..Script::default() }).await;
    let said = run(dir.path(), &["prove", &program(), "--po2", "20", "--gateway", &address, "--json"]).await;
    assert_eq!(said.status, 2, "{said:?}");
    assert_eq!(json(&said)["error"], message);
}

#[tokio::test]
async fn a_gateway_that_names_another_image_id_gets_no_job() {
    let dir = tempdir().unwrap();
    let (script, address) = gateway(Script { lie: Some(Digest([9; 32])), ..Script::default() }).await;
    let said = run(dir.path(), &["prove", &program(), "--gateway", &address]).await;
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.err.contains("image id"), "{said:?}");
    assert!(script.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn ctrl_c_leaves_the_job_and_says_how_to_come_back() {
    let dir = tempdir().unwrap();
    let (script, address) =
        gateway(Script { statuses: vec![status("open", &[Leased])].into(), ..Script::default() }).await;
    let mut command = manyhands(dir.path(), &["prove", &program(), "--gateway", &address]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // The execution's figures come with the first answer about the job: from then on it is followed.
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("executed:") {
            break;
        }
    }
    signal(&child, Signal::INT);
    let mut rest = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        rest.push_str(&line);
    }
    let output = said(&tokio::time::timeout(support::PATIENCE, child.wait_with_output()).await.unwrap().unwrap());
    assert_eq!(output.status, 130, "{rest}");
    assert!(
        rest.contains(&format!("manyhands attach {JOB}")) && rest.contains(&format!("manyhands stop {JOB}")),
        "{rest}"
    );
    assert!(script.aborted.lock().unwrap().is_empty(), "the job goes on");
}

/// Also while it uploads, and while it fetches the receipt; and no draft of the receipt stays.
#[tokio::test]
async fn ctrl_c_ends_the_command_at_any_time() {
    for (question, expected) in [("submit", "manyhands status"), ("receipt", "manyhands attach")] {
        let dir = tempdir().unwrap();
        let statuses = vec![status("done", &[Verified])].into();
        let (script, address) = gateway(Script { statuses, silent_at: Some(question), ..Script::default() }).await;
        let mut command = manyhands(dir.path(), &["prove", &program(), "--gateway", &address, "--json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        script.silent.notified().await;
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the draft");
        signal(&child, Signal::INT);
        let output = tokio::time::timeout(support::PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
        let said = said(&output);
        assert_eq!(said.status, 130, "{said:?}");
        assert!(json(&said)["hint"].as_str().unwrap().contains(expected), "{said:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }
}

#[tokio::test]
async fn a_job_can_be_stopped_and_an_unknown_one_not_attached_to() {
    let dir = tempdir().unwrap();
    let (script, address) =
        gateway(Script { statuses: vec![status("open", &[Leased])].into(), ..Script::default() }).await;
    let said = run(dir.path(), &["stop", &JOB.to_string(), "--gateway", &address, "--json"]).await;
    assert_eq!((said.status, json(&said)["stopped"].as_str()), (0, Some(JOB.to_string().as_str())));
    assert_eq!(*script.aborted.lock().unwrap(), [JOB]);
    let said = run(dir.path(), &["attach", &"00".repeat(16), "--gateway", &address]).await;
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.err.contains("this gateway has no job"), "{said:?}");
    let said = run(dir.path(), &["attach", "xyz", "--gateway", &address]).await;
    assert_eq!(said.status, 2);
    assert!(said.err.contains("32 hexadecimal digits"), "{said:?}");
}

#[tokio::test]
async fn status_is_for_people_and_for_programs() {
    let dir = tempdir().unwrap();
    let (_, address) = gateway(Script::default()).await;
    let said = run(dir.path(), &["status", "--gateway", &address]).await;
    assert_eq!(said.status, 0);
    assert!(said.out.contains("nodes: none") && said.out.contains("jobs: none"), "{said:?}");
    let said = run(dir.path(), &["status", "--gateway", &address, "--json"]).await;
    assert_eq!(json(&said)["zkvm"], "risc0-zkvm 3.0.6");
}
