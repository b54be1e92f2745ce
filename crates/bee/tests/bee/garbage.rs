//! Whatever a node answers, the client says something sensible and goes on living.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use manyhands_bee::{BatchId, Bee, BeeError, JSON_BYTES_MAX, Need, Push, Upload};
use manyhands_blob::reference_of;
use manyhands_proto::{BlobRef, Reference};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Reply, Stub};

const SOME: Reference = Reference([5; 32]);
const NEED: Need = Need { size_bytes: 265_000, time_to_live: Duration::from_secs(86_400) };

/// Asks everything; what comes of it does not matter.
async fn ask_everything(bee: &Bee) {
    let bytes: Arc<[u8]> = Arc::from(&b"hello"[..]);
    let blob = BlobRef { reference: reference_of(&bytes), size_bytes: 5 };
    let upload = Upload { batch: BatchId([1; 32]), pin: true, push: Push::Deferred };
    let fresh = Duration::ZERO;
    let _ = (bee.about().await, bee.batches().await, bee.choose_batch(&NEED).await);
    let _ = (bee.check_batch(BatchId([1; 32]), &NEED).await, bee.upload(&blob, &bytes, &upload).await);
    let _ = (bee.is_pinned(SOME).await, bee.check_pin(SOME).await, bee.is_retrievable(SOME).await, bee.tag(1).await);
    assert!(bee.download(&blob, fresh).await.is_err(), "nothing that was drawn is the blob");
    assert!(bee.download_by_chunks(&blob, fresh).await.is_err());
}

/// Fields that the client looks at, with anything in them.
fn answers() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[0-9]{0,45}".prop_map(Value::from),
        "[0-9a-f]{64}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("stamps"),
        Just("batchID"),
        Just("depth"),
        Just("bucketDepth"),
        Just("utilization"),
        Just("usable"),
        Just("batchTTL"),
        Just("exists"),
        Just("immutableFlag"),
        Just("label"),
        Just("reference"),
        Just("version"),
        Just("apiVersion"),
        Just("beeMode"),
        Just("currentPrice"),
        Just("split"),
        Just("seen"),
        Just("synced"),
        Just("total"),
        Just("isRetrievable"),
        Just("message"),
        Just("code"),
        Just("status"),
    ];
    leaf.prop_recursive(3, 60, 12, move |inner| {
        let object = prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner.clone(), 0..12);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::from),
            object.prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

#[test]
fn no_answer_is_too_odd() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = Arc::new(Mutex::new((200, Vec::new())));
    let said = answer.clone();
    let stub = runtime.block_on(Stub::start(move |_| {
        let (status, bytes) = said.lock().unwrap().clone();
        Reply::Raw(status, bytes)
    }));
    let statuses = prop::sample::select(vec![200u16, 201, 206, 299, 301, 400, 402, 404, 422, 500, 503]);
    let bodies = prop_oneof![
        4 => answers().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ];
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(status in statuses, body in bodies)| {
        *answer.lock().unwrap() = (status, body);
        runtime.block_on(ask_everything(&stub.bee()));
    });
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let stub = Stub::start(|_| Reply::Endless(vec![b' '; 65_536])).await;
    let error = stub.bee().batches().await.unwrap_err();
    assert!(matches!(error, BeeError::TooLarge { limit_bytes: JSON_BYTES_MAX, .. }), "{error:?}");
}

#[tokio::test]
async fn json_that_is_nested_too_deep_is_refused() {
    let stub = Stub::start(|_| Reply::Raw(200, vec![b'['; 100_000])).await;
    assert!(matches!(stub.bee().batches().await, Err(BeeError::Garbled { .. })));
}

#[tokio::test]
async fn an_upload_without_a_reference_is_no_success() {
    let bytes: Arc<[u8]> = Arc::from(&b"hello"[..]);
    let blob = BlobRef { reference: reference_of(&bytes), size_bytes: 5 };
    let upload = Upload { batch: BatchId([1; 32]), pin: false, push: Push::Direct };
    for odd in [json!({}), json!({ "reference": 7 }), json!({ "reference": "ab" }), json!([]), json!(null)] {
        let stub = Stub::start(move |_| Reply::Json(201, odd.clone())).await;
        let error = stub.bee().upload(&blob, &bytes, &upload).await.unwrap_err();
        assert!(matches!(error, BeeError::Garbled { .. }), "{error:?}");
        assert_eq!(stub.seen().len(), 1);
    }
}
