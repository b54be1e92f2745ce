//! Commands that need no gateway, and networks of processes around a worker that can only say what it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use manyhands_proto::worker::{Identity, Report};
use rustix::process::Signal;
use support::{PATIENCE, guest, json, manyhands, run, signal};
use tempfile::tempdir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

#[tokio::test]
async fn a_file_that_is_no_receipt_does_not_verify() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("r"), "not a receipt").unwrap();
    let id = "00".repeat(32);
    let said = run(dir.path(), &["verify", "r", "--image-id", &id, "--json"]).await;
    assert_eq!(said.status, 1, "{said:?}");
    assert!(json(&said)["error"].as_str().unwrap().contains("verification failed"));
    let said = run(dir.path(), &["verify", "nothing", "--image-id", &id]).await;
    assert_eq!(said.status, 2, "{said:?}");
    let said = run(dir.path(), &["verify", "r", "--image-id", "abc", "--json"]).await;
    assert_eq!(said.status, 2, "{said:?}");
    assert!(json(&said)["error"].as_str().unwrap().contains("64 hexadecimal digits"), "{said:?}");
}

#[tokio::test]
async fn an_elf_file_becomes_the_program_that_is_committed() {
    let dir = tempdir().unwrap();
    let elf = guest("tiny.elf").display().to_string();
    let said = run(dir.path(), &["wrap", &elf, "--json"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    assert_eq!(json(&said)["program"], "tiny.bin");
    let wrapped = std::fs::read(dir.path().join("tiny.bin")).unwrap();
    assert_eq!(wrapped, std::fs::read(guest("tiny.bin")).unwrap());
    let said = run(dir.path(), &["wrap", "tiny.bin"]).await;
    assert_eq!(said.status, 2);
    assert!(said.err.contains("already"), "{said:?}");
}

#[tokio::test]
async fn the_configuration_is_layered_and_strict() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("c.toml"), "data_dir = \"/from/file\"\n[node]\nslots = 3\n").unwrap();
    let said = run(dir.path(), &["config", "show", "--config", "c.toml"]).await;
    assert!(said.out.contains("data_dir = \"/from/file\"") && said.out.contains("slots = 3"), "{said:?}");
    let shown = json(&run(dir.path(), &["config", "show", "--config", "c.toml", "--json"]).await);
    assert_eq!((&shown["data_dir"], &shown["node"]["slots"]), (&"/from/file".into(), &3.into()), "{shown}");
    let mut command = manyhands(dir.path(), &["config", "show", "--config", "c.toml"]);
    let output = command.env("MANYHANDS_DATA_DIR", "/from/env").output().await.unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("/from/env"));
    let mut command = manyhands(dir.path(), &["config", "show", "--config", "c.toml", "--data-dir", "/from/option"]);
    let output = command.env("MANYHANDS_DATA_DIR", "/from/env").output().await.unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("/from/option"));
    std::fs::write(dir.path().join("c.toml"), "[node]\nslotz = 3\n").unwrap();
    let said = run(dir.path(), &["config", "show", "--config", "c.toml"]).await;
    assert_eq!(said.status, 2);
    assert!(said.err.contains("slotz"), "{said:?}");
    let said = run(dir.path(), &["config", "show", "--config", "c.toml", "--json"]).await;
    assert_eq!(said.status, 2);
    assert!(json(&said)["error"].as_str().unwrap().contains("slotz"), "{said:?}");
}

#[tokio::test]
async fn doctor_counts_what_is_wrong() {
    let dir = tempdir().unwrap();
    let said = run(dir.path(), &["doctor", "--worker", "/nowhere/worker", "--gateway", "127.0.0.1:1", "--json"]).await;
    assert_eq!(said.status, 2, "{said:?}");
    let value = json(&said);
    assert_eq!(value["state"], "failure");
    let worker = value["checks"].as_array().unwrap().iter().find(|check| check["name"] == "worker").unwrap();
    assert_eq!(worker["state"], "failure");
    assert!(worker["fix"].as_str().unwrap().contains("--worker"));
    assert!(!dir.path().join("data").exists(), "it leaves nothing behind");
}

#[tokio::test]
async fn a_demo_without_its_program_says_where_to_run_it() {
    let dir = tempdir().unwrap();
    let said = run(dir.path(), &["demo"]).await;
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.err.contains("guests/built/inflate.bin") && said.err.contains("--program"), "{said:?}");
}

/// A worker that says who it is and does nothing else.
fn idle_worker(dir: &Path) -> String {
    let identity = Report::Identity(Identity { zkvm: manyhands_zkvm::ZKVM_VERSION.to_owned(), recursion: false });
    let frame = manyhands_proto::encode(&identity);
    let length = (frame.len() as u32).to_le_bytes();
    let octal: String = length.iter().chain(&frame).map(|byte| format!("\\{byte:03o}")).collect();
    let path = dir.join("idle-worker");
    std::fs::write(&path, format!("#!/bin/sh\nprintf '{octal}'\nexec cat >/dev/null\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// A network of one gateway and two nodes on a free port, and its HTTP address.
async fn up(dir: &Path) -> (Child, String) {
    let words = ["up", "--nodes", "2", "--po2-max", "14", "--http", "127.0.0.1:0", "--worker", &idle_worker(dir)];
    let mut command = manyhands(dir, &words);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut shown = Vec::new();
    while let Ok(Ok(Some(line))) = tokio::time::timeout(PATIENCE, lines.next_line()).await {
        let is_last = line.starts_with("next: ");
        shown.push(line);
        if is_last {
            break;
        }
    }
    let gateway = shown.iter().find(|line| line.starts_with("gateway")).unwrap_or_else(|| panic!("{shown:#?}"));
    let http = gateway.split_whitespace().find_map(|word| word.strip_prefix("http://")).unwrap().to_owned();
    assert_eq!(shown.iter().filter(|line| line.starts_with("node ")).count(), 2, "{shown:#?}");
    assert!(shown.iter().any(|line| line.contains("up to po2 14")), "{shown:#?}");
    (child, http)
}

/// Waits until as many nodes as that are connected.
async fn nodes_connected(dir: &Path, http: &str, expected: usize) {
    let connected = async {
        loop {
            let said = run(dir, &["status", "--gateway", http, "--json"]).await;
            let value = json(&said);
            let nodes = value["nodes"].as_array().map(Vec::len).unwrap_or_default();
            if nodes == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.expect("the nodes find the gateway");
}

/// Waits until nobody answers at an address.
async fn gone(http: &str) {
    let gone = async {
        while tokio::net::TcpStream::connect(http).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the gateway ends");
}

#[tokio::test]
async fn a_network_comes_up_and_ends_with_ctrl_c() {
    let dir = tempdir().unwrap();
    let (mut child, http) = up(dir.path()).await;
    nodes_connected(dir.path(), &http, 2).await;
    signal(&child, Signal::INT);
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    gone(&http).await;
}

#[tokio::test]
async fn a_network_ends_with_its_parent_even_if_that_is_killed() {
    let dir = tempdir().unwrap();
    let (mut child, http) = up(dir.path()).await;
    signal(&child, Signal::KILL);
    tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    gone(&http).await;
}

#[tokio::test]
async fn a_network_that_cannot_start_says_why() {
    let dir = tempdir().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let worker = idle_worker(dir.path());
    let said = run(dir.path(), &["up", "--http", &address, "--worker", &worker]).await;
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.err.contains(&address) && said.err.contains("--http") && said.err.contains("gateway.log"), "{said:?}");
    let said = run(dir.path(), &["up", "--http", "127.0.0.1:0", "--worker", "/nowhere/worker"]).await;
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.err.contains("/nowhere/worker"), "{said:?}");
}
