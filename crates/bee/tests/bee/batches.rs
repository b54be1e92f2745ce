//! Postage: which batch is taken, and what is said if none will do.

use std::time::Duration;

use manyhands_bee::{BatchId, BeeError, Fault, Need};
use serde_json::{Value, json};

use crate::support::{Reply, Stub, no};

const DAY: u64 = 24 * 3600;

fn need() -> Need {
    Need { size_bytes: 265_000, time_to_live: Duration::from_secs(2 * DAY) }
}

fn batch(id: u8, usable: bool, fullest: u64) -> Value {
    json!({
        "batchID": BatchId([id; 32]).to_string(), "utilization": fullest, "usable": usable, "depth": 20,
        "bucketDepth": 16, "immutableFlag": true, "exists": true, "batchTTL": 9 * DAY, "amount": "414720000",
    })
}

#[tokio::test]
async fn one_that_will_do_is_chosen() {
    let stub = Stub::start(|_| {
        Reply::Json(200, json!({ "stamps": [batch(1, true, 16), batch(2, false, 0), 7, {}, batch(3, true, 4)] }))
    });
    let stub = stub.await;
    assert_eq!(stub.bee().choose_batch(&need()).await.unwrap().id, BatchId([3; 32]));
    assert_eq!(stub.bee().batches().await.unwrap().len(), 3, "what is no batch is left out");
}

#[tokio::test]
async fn a_new_batch_is_waited_for() {
    let stub =
        Stub::start(|seen| Reply::Json(200, json!({ "stamps": [batch(1, true, 16), batch(2, seen.nth >= 3, 0)] })));
    let stub = stub.await;
    assert_eq!(stub.bee().choose_batch(&need()).await.unwrap().id, BatchId([2; 32]));
    assert_eq!(stub.world.pauses().len(), 3);
}

#[tokio::test]
async fn none_means_advice_and_no_purchase() {
    let stub = Stub::start(|seen| match seen.call.as_str() {
        "GET /stamps" => Reply::Json(200, json!({ "stamps": [batch(1, true, 15)] })),
        _ => Reply::Json(200, json!({ "currentPrice": "24000", "chainTip": 1 })),
    });
    let stub = stub.await;
    let error = stub.bee().choose_batch(&need()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Owner);
    assert!(error.to_string().contains("01010101: its fullest bucket has 1 free slots"), "{error}");
    // 24,000 PLUR for 34,560 blocks, and a tenth more.
    let call = format!("curl -X POST http://{}/stamps/912384000/18", stub.address);
    assert!(error.advice().contains(&call), "{}", error.advice());
    assert!(stub.seen().iter().all(|seen| seen.call.starts_with("GET ")), "nothing is bought");
    assert!(stub.world.pauses().is_empty(), "nothing to wait for");
}

#[tokio::test]
async fn without_a_price_there_is_advice_all_the_same() {
    for stamps in [json!([]), Value::Null] {
        let stub = Stub::start(move |seen| match seen.call.as_str() {
            "GET /stamps" => Reply::Json(200, json!({ "stamps": stamps })),
            _ => no(503, "Node is syncing. This endpoint is unavailable. Try again later."),
        });
        let error = stub.await.bee().choose_batch(&need()).await.unwrap_err();
        assert!(error.to_string().contains("none at all"), "{error}");
        assert!(error.advice().contains("depth 18") && error.advice().contains("chainstate"), "{}", error.advice());
    }
}

#[tokio::test]
async fn a_named_batch_is_checked() {
    let stub = Stub::start(|seen| match &seen.call["GET /stamps/".len()..] {
        id if id == BatchId([1; 32]).to_string() => Reply::Json(200, batch(1, seen.nth > 0, 0)),
        id if id == BatchId([2; 32]).to_string() => Reply::Json(200, batch(2, true, 16)),
        id if id == BatchId([3; 32]).to_string() => Reply::Json(200, batch(9, true, 0)),
        _ => no(404, "issuer does not exist"),
    });
    let stub = stub.await;
    let check = async |id| stub.bee().check_batch(BatchId([id; 32]), &need()).await;
    assert_eq!(check(1).await.unwrap().free(), 16);
    assert_eq!(stub.world.pauses().len(), 1, "it was waited for");
    assert!(matches!(check(2).await, Err(BeeError::BatchUnfit { .. })));
    assert!(matches!(check(3).await, Err(BeeError::Garbled { .. })), "another batch than asked for");
    let error = check(4).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Owner);
    assert!(error.to_string().contains("no such postage batch"), "{error}");
}
