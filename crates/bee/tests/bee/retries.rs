//! Each status, as the answer to an upload: tried again or not, at whose fault.

use std::sync::Arc;
use std::time::Duration;

use manyhands_bee::{BatchId, Bee, BeeError, Fault, Patience, Push, Upload};
use manyhands_blob::reference_of;
use manyhands_proto::BlobRef;

use crate::support::{Reply, Stub, named, no};

const ORDER: Upload = Upload { batch: BatchId([0xB0; 32]), pin: false, push: Push::Direct };

async fn upload(bee: &Bee) -> Result<(), BeeError> {
    let bytes: Arc<[u8]> = Arc::from(&b"hello world"[..]);
    let blob = BlobRef { reference: reference_of(&bytes), size_bytes: 11 };
    bee.upload(&blob, &bytes, &ORDER).await.map(drop)
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    for (status, words) in [
        (422, "batch not usable yet or does not exist"),
        (429, "too many requests"),
        (503, "Node is syncing. This endpoint is unavailable. Try again later."),
        (500, "split write all failed"),
        (502, "bad gateway"),
    ] {
        let stub = Stub::start(move |seen| match seen.nth {
            0..3 => no(status, words),
            _ => named(reference_of(&seen.body)),
        });
        let stub = stub.await;
        upload(&stub.bee()).await.unwrap();
        let pauses: Vec<_> = stub.world.pauses().iter().map(Duration::as_micros).collect();
        assert_eq!(pauses, [250_000, 500_000, 1_000_000], "{status}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_said_at_once() {
    for (status, words, fault) in [
        (400, "invalid header params", Fault::Us),
        (401, "Unauthorized", Fault::Owner),
        (402, "batch is overissued", Fault::Owner),
        (403, "Chain is disabled. This endpoint is unavailable.", Fault::Owner),
        (404, "batch with id not found", Fault::Owner),
        (405, "Method Not Allowed", Fault::Owner),
        (413, "payload too large", Fault::Us),
        (418, "I'm a teapot", Fault::Bee),
        (501, "not implemented", Fault::Owner),
    ] {
        let stub = Stub::start(move |_| no(status, words)).await;
        let error = upload(&stub.bee()).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(error.fault(), fault, "{error}");
        assert!(!error.advice().is_empty());
        assert_eq!(stub.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn an_inner_error_that_stays_is_given_up_soon() {
    let stub = Stub::start(|_| no(500, "split write all failed")).await;
    let error = upload(&stub.bee()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Bee);
    assert_eq!(stub.seen().len(), 4);
}

#[tokio::test]
async fn the_deadline_ends_what_never_passes() {
    let stub = Stub::start(|_| no(503, "Node is syncing.")).await;
    let error = upload(&stub.bee()).await.unwrap_err();
    let BeeError::OutOfTime { deadline, last } = &error else { panic!("{error:?}") };
    assert_eq!(*deadline, Duration::from_secs(600));
    assert!(last.to_string().contains("still syncing"), "{last}");
    let waited: Duration = stub.world.pauses().iter().sum();
    assert!(waited < *deadline && waited > *deadline - Duration::from_secs(15), "{waited:?}");
    assert!(stub.seen().len() < 50, "{} questions", stub.seen().len());
}

#[tokio::test]
async fn silence_has_a_limit() {
    let stub = Stub::start(|seen| match seen.nth {
        0 => Reply::Silence,
        _ => named(reference_of(&seen.body)),
    });
    let stub = stub.await;
    upload(&stub.bee()).await.unwrap();
    assert_eq!(stub.seen().len(), 2);

    let stub = Stub::start(|_| Reply::Silence).await;
    let error = upload(&stub.bee()).await.unwrap_err();
    assert!(matches!(error, BeeError::Silent { .. }), "{error:?}");
    assert_eq!(stub.seen().len(), 4);
}

#[tokio::test]
async fn a_node_that_is_down_is_waited_for_until_the_deadline() {
    let stub = Stub::start(|_| Reply::HangUp).await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let patience = Patience { deadline: Duration::from_secs(5), ..Patience::default() };
    let bee = Bee::new(&address.to_string(), None).unwrap().in_world(stub.world.clone()).with_patience(patience);
    let error = upload(&bee).await.unwrap_err();
    assert!(matches!(error, BeeError::OutOfTime { .. }), "{error:?}");
    assert_eq!(error.fault(), Fault::Owner);
    assert!(error.to_string().contains("no Bee node answers"), "{error}");
}

#[tokio::test]
async fn words_of_a_node_are_tamed() {
    let stub = Stub::start(|_| no(400, &format!("a\u{1b}[31m\n{}", "x".repeat(9000)))).await;
    let text = upload(&stub.bee()).await.unwrap_err().to_string();
    assert!(text.len() < 400 && !text.contains(['\n', '\u{1b}']), "{text}");
    let stub = Stub::start(|_| Reply::Raw(402, b"\xFF\xFE no JSON".to_vec())).await;
    assert_eq!(upload(&stub.bee()).await.unwrap_err().fault(), Fault::Owner);
}
