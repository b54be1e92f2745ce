//! Pins, stewardship and tags.

use manyhands_bee::{BatchId, BeeError, PinCheck, Tag};
use manyhands_proto::Reference;
use serde_json::json;

use crate::support::{Reply, Stub, no};

const BLOB: Reference = Reference([5; 32]);

#[tokio::test]
async fn pins_are_set_asked_for_and_dropped() {
    let stub = Stub::start(|seen| match seen.nth {
        0 if seen.call.starts_with("POST") => Reply::Json(201, json!({ "code": 201, "message": "Created" })),
        0 => Reply::Json(200, json!({ "code": 200, "message": "OK" })),
        _ => no(404, "Not Found"),
    });
    let stub = stub.await;
    let bee = stub.bee();
    bee.pin(BLOB).await.unwrap();
    assert!(bee.is_pinned(BLOB).await.unwrap());
    assert!(!bee.is_pinned(BLOB).await.unwrap());
    bee.unpin(BLOB).await.unwrap();
    bee.unpin(BLOB).await.unwrap();
    assert!(stub.seen().iter().all(|seen| seen.call.ends_with(&format!("/pins/{BLOB}"))));
}

#[tokio::test]
async fn a_pin_is_checked_line_by_line() {
    let stub = Stub::start(|_| {
        let other = json!({ "reference": Reference([6; 32]).to_string(), "total": 1, "missing": 1, "invalid": 1 });
        let ours = json!({ "reference": BLOB.to_string(), "total": 66, "missing": 2, "invalid": 0 });
        Reply::Raw(200, format!("{other}\n{ours}\n").into_bytes())
    });
    let stub = stub.await;
    let check = stub.bee().check_pin(BLOB).await.unwrap().unwrap();
    assert_eq!(check, PinCheck { total: 66, missing: 2, invalid: 0 });
    assert!(!check.is_whole());
    assert_eq!(stub.seen()[0].call, format!("GET /pins/check?ref={BLOB}"));
    assert_eq!(stub.bee().check_pin(Reference([7; 32])).await.unwrap(), None);
}

#[tokio::test]
async fn a_steward_looks_and_pushes_again() {
    let stub = Stub::start(|seen| match seen.call.starts_with("GET") {
        true => Reply::Json(200, json!({ "isRetrievable": false })),
        false => Reply::Raw(200, Vec::new()),
    });
    let stub = stub.await;
    assert!(!stub.bee().is_retrievable(BLOB).await.unwrap());
    stub.bee().reupload(BLOB, BatchId([0xB0; 32])).await.unwrap();
    let seen = stub.seen().pop().unwrap();
    assert_eq!(seen.call, format!("PUT /stewardship/{BLOB}"));
    assert_eq!(seen.header("swarm-postage-batch-id"), Some("b0".repeat(32).as_str()));
}

#[tokio::test]
async fn a_tag_says_how_far_an_upload_is() {
    let stub = Stub::start(|seen| match seen.call.as_str() {
        "GET /tags/7" if seen.nth == 0 => {
            Reply::Json(200, json!({ "uid": 7, "split": 66, "seen": 6, "stored": 66, "sent": 60, "synced": 59 }))
        }
        "GET /tags/7" => Reply::Json(200, json!({ "split": 66, "seen": 6, "synced": 60 })),
        _ => Reply::Json(200, json!({ "split": 66 })),
    });
    let stub = stub.await;
    let tag = stub.bee().tag(7).await.unwrap();
    assert_eq!(tag, Tag { split: 66, seen: 6, synced: 59 });
    assert!(!tag.is_synced());
    assert!(stub.bee().tag(7).await.unwrap().is_synced());
    assert!(matches!(stub.bee().tag(8).await, Err(BeeError::Garbled { .. })));
}
