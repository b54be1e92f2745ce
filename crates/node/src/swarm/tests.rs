//! Which mode comes of which configuration, and what is said when a Bee node or its postage is missing.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::BatchId;
use crate::stub::{Reply, Seen, Stub, named};

/// The batch of the Bee node below.
pub(crate) const BATCH: BatchId = BatchId([3; 32]);

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1";

fn batch() -> Value {
    json!({
        "batchID": BATCH.to_string(), "utilization": 0, "usable": true, "depth": 24, "bucketDepth": 16,
        "immutableFlag": true, "exists": true, "batchTTL": Duration::from_secs(9 * 24 * 3600).as_secs(),
    })
}

/// A light node with a batch, which takes what it is sent and gives nothing.
pub(crate) fn bee_that_takes_all(seen: &Seen) -> Reply {
    match seen.call.as_str() {
        "GET /health" => Reply::Json(200, json!({ "status": "ok", "version": "2.8.1-0", "apiVersion": "8.1.0" })),
        "GET /node" => Reply::Json(200, json!({ "beeMode": "light" })),
        "GET /stamps" => Reply::Json(200, json!({ "stamps": [batch()] })),
        "POST /bytes" => named(manyhands_blob::split::reference_of(&seen.body)),
        call if call == format!("GET /stamps/{BATCH}") => Reply::Json(200, batch()),
        _ => Reply::Json(404, json!({ "code": 404, "message": "Not Found" })),
    }
}

/// The same without a batch.
fn penniless(seen: &Seen) -> Reply {
    match seen.call.as_str() {
        "GET /stamps" => Reply::Json(200, json!({ "stamps": [] })),
        "GET /chainstate" => Reply::Json(200, json!({ "currentPrice": "24000", "chainTip": 1 })),
        _ => bee_that_takes_all(seen),
    }
}

fn config(mode: Option<Mode>, url: Option<String>) -> BeeConfig {
    BeeConfig { mode, url, batch: None }
}

async fn open(config: &BeeConfig, role: Role, usual: &str) -> Result<(Storage, String), StartError> {
    Storage::open_at(config, role, None, usual).await
}

#[tokio::test]
async fn without_a_word_it_follows_from_whether_there_is_a_bee_node() {
    let stub = Stub::start(bee_that_takes_all).await;
    let here = format!("http://{}", stub.address);
    let (storage, text) = open(&config(None, None), Role::Gateway, &here).await.unwrap();
    assert!(matches!(storage, Storage::PeerFirst(_)));
    assert!(text.starts_with("peer-first: Bee 2.8.1-0"), "{text}");
    assert!(text.contains(&here) && text.ends_with("batch 03030303"), "{text}");
    let (storage, text) = open(&config(None, None), Role::Gateway, NOBODY).await.unwrap();
    assert!(matches!(storage, Storage::Embedded) && text.starts_with("embedded"), "{text}");
    // One that is named is meant, also if it is down now.
    let (storage, text) = open(&config(None, Some(NOBODY.to_owned())), Role::Gateway, &here).await.unwrap();
    assert!(matches!(storage, Storage::PeerFirst(_)) && text.contains("no Bee node answers"), "{text}");
    assert!(!text.contains("batch"), "one reason is enough: {text}");
}

#[tokio::test]
async fn embedded_asks_nobody() {
    let stub = Stub::start(bee_that_takes_all).await;
    let here = format!("http://{}", stub.address);
    let (storage, _) = open(&config(Some(Mode::Embedded), Some(here.clone())), Role::Gateway, &here).await.unwrap();
    assert!(matches!(storage, Storage::Embedded));
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn bee_only_does_not_start_without_a_bee_node_or_a_batch() {
    for role in [Role::Gateway, Role::Node] {
        let error = open(&config(Some(Mode::BeeOnly), None), role, NOBODY).await.unwrap_err().to_string();
        assert!(error.contains("no Bee node answers at http://127.0.0.1:1"), "{error}");
        assert!(error.contains("start the Bee node") && error.contains("--storage embedded"), "{error}");

        let stub = Stub::start(penniless).await;
        let here = format!("http://{}", stub.address);
        let error = open(&config(Some(Mode::BeeOnly), None), role, &here).await.unwrap_err().to_string();
        // For a job, not for the first blob: 168 segments take a batch of depth 19.
        assert!(error.contains("curl -X POST") && error.contains("/19"), "{error}");
        assert!(stub.seen().iter().all(|seen| seen.call.starts_with("GET ")), "nothing is bought");

        let stub = Stub::start(bee_that_takes_all).await;
        let here = format!("http://{}", stub.address);
        let (storage, text) = open(&config(Some(Mode::BeeOnly), None), role, &here).await.unwrap();
        assert!(matches!(storage, Storage::BeeOnly(_)) && text.ends_with("batch 03030303"), "{text}");
    }
}

#[tokio::test]
async fn a_named_batch_is_looked_at() {
    let stub = Stub::start(bee_that_takes_all).await;
    let here = format!("http://{}", stub.address);
    let with = |batch| BeeConfig { batch: Some(batch), ..config(Some(Mode::BeeOnly), None) };
    open(&with(BATCH), Role::Gateway, &here).await.unwrap();
    let error = open(&with(BatchId([9; 32])), Role::Gateway, &here).await.unwrap_err().to_string();
    assert!(error.contains("no such postage batch"), "{error}");
}

#[tokio::test]
async fn peer_first_starts_without_postage_and_says_so() {
    let stub = Stub::start(penniless).await;
    let here = format!("http://{}", stub.address);
    let (storage, text) = open(&config(None, None), Role::Gateway, &here).await.unwrap();
    assert!(matches!(storage, Storage::PeerFirst(_)) && text.contains("no batch yet"), "{text}");
    // A node archives nothing, and needs none.
    let (_, text) = open(&config(None, None), Role::Node, &here).await.unwrap();
    assert!(!text.contains("batch"), "{text}");
}

#[tokio::test]
async fn an_address_that_is_none_ends_the_start_and_no_secret_is_repeated() {
    let wrong = config(None, Some("http://me:secret@host".to_owned()));
    let error = open(&wrong, Role::Node, NOBODY).await.unwrap_err().to_string();
    assert!(error.contains("use a token") && !error.contains("secret"), "{error}");
}
