//! Who is there.

use manyhands_bee::{Bee, BeeError, Fault, NodeMode};
use serde_json::json;

use crate::support::{Reply, Stub, no};

fn health() -> Reply {
    Reply::Json(200, json!({ "status": "ok", "version": "2.8.1-d0e1f2", "apiVersion": "8.1.0", "new": {} }))
}

#[tokio::test]
async fn a_bee_says_what_it_is() {
    for (word, mode, uploads) in [
        ("full", NodeMode::Full, true),
        ("light", NodeMode::Light, true),
        ("ultra-light", NodeMode::UltraLight, false),
        ("dev", NodeMode::Dev, true),
        ("queen", NodeMode::Unknown, true),
    ] {
        let stub = Stub::start(move |seen| match seen.call.as_str() {
            "GET /health" => health(),
            _ => Reply::Json(200, json!({ "beeMode": word })),
        });
        let about = stub.await.bee().about().await.unwrap();
        assert_eq!((about.version.as_str(), about.api_version.as_str()), ("2.8.1-d0e1f2", "8.1.0"));
        assert_eq!((about.mode, about.is_healthy), (Some(mode), true));
        assert_eq!(mode.can_upload(), uploads);
        assert!(about.to_string().starts_with("Bee 2.8.1-d0e1f2 (API 8.1.0), "), "{about}");
    }
}

#[tokio::test]
async fn a_bee_that_syncs_is_a_bee() {
    let stub = Stub::start(|seen| match seen.call.as_str() {
        "GET /health" => health(),
        _ => no(503, "Node is syncing. This endpoint is unavailable. Try again later."),
    });
    let about = stub.await.bee().about().await.unwrap();
    assert_eq!(about.mode, None);
    assert!(about.to_string().contains("syncing"));
}

#[tokio::test]
async fn other_servers_are_told_apart() {
    let answers: [fn() -> Reply; 6] = [
        || Reply::Raw(200, b"<html>hello".to_vec()),
        || Reply::Raw(404, b"not here".to_vec()),
        || Reply::Raw(301, Vec::new()),
        || Reply::Json(200, json!({ "status": "ok" })),
        || Reply::Endless(b"{\"a\":1,".to_vec()),
        || Reply::HangUp,
    ];
    for answer in answers {
        let stub = Stub::start(move |_| answer()).await;
        let error = stub.bee().about().await.unwrap_err();
        assert!(matches!(error, BeeError::NotABee { .. }), "{error:?}");
        assert_eq!(error.fault(), Fault::Owner);
        assert!(error.advice().contains("another program"));
        assert_eq!(stub.seen().len(), 1, "asked once");
    }
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    // A port that was just free and that nobody listens on.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Bee::new(&address.to_string(), None).unwrap().about().await.unwrap_err();
    assert!(matches!(error, BeeError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(error.advice().contains("start the Bee node"));
}

#[tokio::test]
async fn who_never_answers_is_not_waited_for() {
    let stub = Stub::start(|_| Reply::Silence).await;
    let error = stub.bee().about().await.unwrap_err();
    assert!(matches!(error, BeeError::Silent { .. }), "{error:?}");
    assert_eq!(error.fault(), Fault::Network);
}

#[tokio::test]
async fn readiness_is_waited_for() {
    let stub = Stub::start(|seen| match seen.nth {
        0 | 1 => Reply::Json(400, json!({ "status": "notReady" })),
        _ => Reply::Json(200, json!({ "status": "ready" })),
    });
    let stub = stub.await;
    stub.bee().wait_ready().await.unwrap();
    assert_eq!(stub.count("GET /readiness"), 3);
    assert_eq!(stub.world.pauses().len(), 2);
}

#[tokio::test]
async fn a_token_is_sent_and_never_shown() {
    let stub = Stub::start(|seen| match seen.header("authorization") {
        Some("Bearer open-sesame") => Reply::Json(200, json!({ "stamps": [] })),
        _ => no(401, "who are you?"),
    });
    let stub = stub.await;
    let bee = stub.bee_with_token("open-sesame");
    assert!(bee.batches().await.unwrap().is_empty());
    assert!(!format!("{bee:?}").contains("sesame"));
    let error = stub.bee_with_token("wrong-sesame").batches().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Owner);
    assert!(!format!("{error:?} {error}").contains("sesame"));
}
