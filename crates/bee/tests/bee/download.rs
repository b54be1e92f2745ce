//! Downloads: nothing false comes through.

use std::sync::Arc;
use std::time::Duration;

use manyhands_bee::{BeeError, Fault};
use manyhands_blob::reference_of;
use manyhands_proto::{BlobRef, Reference};

use crate::support::{Reply, Seen, Stub, bytes, chunks_of, no};

const FRESH: Duration = Duration::from_secs(60);

fn blob(size: usize) -> (Vec<u8>, BlobRef) {
    let bytes = bytes(size);
    let reference = reference_of(&bytes);
    (bytes, BlobRef { reference, size_bytes: size as u64 })
}

/// A node that has the chunks of these bytes.
fn by_chunks(bytes: &[u8]) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static + use<> {
    let chunks = Arc::new(chunks_of(bytes));
    move |seen| {
        let address = seen.call.strip_prefix("GET /chunks/").and_then(|text| text.parse::<Reference>().ok());
        match address.and_then(|address| chunks.get(&address)) {
            Some(wire) => Reply::Raw(200, wire.clone()),
            None => no(404, "chunk not found"),
        }
    }
}

#[tokio::test]
async fn what_hashes_right_comes_through() {
    for size in [0, 1, 4096, 4097, 600_000] {
        let (bytes, blob) = blob(size);
        let sent = bytes.clone();
        let stub = Stub::start(move |_| Reply::Raw(200, sent.clone())).await;
        assert_eq!(stub.bee().download(&blob, FRESH).await.unwrap(), bytes);
        let seen = &stub.seen()[0];
        assert_eq!(seen.call, format!("GET /bytes/{}", blob.reference));
        assert_eq!(seen.header("swarm-redundancy-level"), Some("0"));
    }
}

#[tokio::test]
async fn false_bytes_are_the_node_s_fault() {
    let (bytes, blob) = blob(9000);
    let (mut flipped, mut short) = (bytes.clone(), bytes.clone());
    flipped[5000] ^= 1;
    short.pop();
    for false_bytes in [flipped, short, Vec::new()] {
        let stub = Stub::start(move |_| Reply::Raw(200, false_bytes.clone())).await;
        let error = stub.bee().download(&blob, FRESH).await.unwrap_err();
        assert!(matches!(error, BeeError::WrongBytes { .. }), "{error:?}");
        assert_eq!(error.fault(), Fault::Bee);
        assert_eq!(stub.seen().len(), 1);
    }
}

#[tokio::test]
async fn nothing_is_read_beyond_the_size() {
    let (_, blob) = blob(9000);
    let stub = Stub::start(|_| Reply::Endless(vec![0; 4096])).await;
    let error = stub.bee().download(&blob, FRESH).await.unwrap_err();
    assert!(matches!(error, BeeError::TooLarge { limit_bytes: 9000, .. }), "{error:?}");
}

#[tokio::test]
async fn a_cut_download_is_begun_again() {
    let (bytes, blob) = blob(200_000);
    let sent = bytes.clone();
    let stub = Stub::start(move |seen| match seen.nth {
        0 => Reply::Cut(sent.len(), sent[..70_000].to_vec()),
        _ => Reply::Raw(200, sent.clone()),
    });
    let stub = stub.await;
    assert_eq!(stub.bee().download(&blob, FRESH).await.unwrap(), bytes);
    assert_eq!(stub.seen().len(), 2);
}

#[tokio::test]
async fn fresh_data_is_waited_for_and_old_data_is_not() {
    let (bytes, blob) = blob(5000);
    let stub = Stub::start(move |seen| match seen.nth {
        0..3 => no(404, "Not Found"),
        _ => Reply::Raw(200, bytes.clone()),
    });
    let stub = stub.await;
    assert!(stub.bee().download(&blob, FRESH).await.is_ok());
    assert_eq!(stub.world.pauses().len(), 3);

    let stub = Stub::start(|_| no(404, "Not Found")).await;
    let error = stub.bee().download(&blob, FRESH).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Network);
    let waited: Duration = stub.world.pauses().iter().sum();
    assert!(waited >= FRESH && waited < 2 * FRESH, "{waited:?}");
    let error = stub.bee().download(&blob, Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    assert!(stub.world.pauses().iter().sum::<Duration>() == waited, "asked once");
}

#[tokio::test]
async fn chunk_by_chunk_gives_the_same() {
    for size in [0, 1, 4097, 128 * 4096 + 1, 700_000] {
        let (bytes, blob) = blob(size);
        let stub = Stub::start(by_chunks(&bytes)).await;
        assert_eq!(stub.bee().download_by_chunks(&blob, FRESH).await.unwrap(), bytes);
        assert_eq!(stub.seen().len(), chunks_of(&bytes).len());
    }
}

#[tokio::test]
async fn a_false_chunk_is_not_taken() {
    let (bytes, blob) = blob(9000);
    let node = by_chunks(&bytes);
    let stub = Stub::start(move |seen| match node(seen) {
        Reply::Raw(200, mut wire) if wire.len() < 4000 && !seen.call.contains(&blob.reference.to_string()) => {
            wire[100] ^= 1;
            Reply::Raw(200, wire)
        }
        reply => reply,
    });
    let error = stub.await.bee().download_by_chunks(&blob, FRESH).await.unwrap_err();
    assert!(matches!(error, BeeError::WrongBytes { .. }), "{error:?}");
    assert_eq!(error.fault(), Fault::Bee);
}

#[tokio::test]
async fn a_blob_of_another_size_is_told_before_it_is_fetched() {
    let (bytes, blob) = blob(600_000);
    let stub = Stub::start(by_chunks(&bytes)).await;
    let smaller = BlobRef { size_bytes: 599_999, ..blob };
    let error = stub.bee().download_by_chunks(&smaller, FRESH).await.unwrap_err();
    assert!(matches!(error, BeeError::Malformed { .. }), "{error:?}");
    assert_eq!(stub.seen().len(), 1, "the root says it");
    let larger = BlobRef { size_bytes: 600_001, ..blob };
    assert!(stub.bee().download_by_chunks(&larger, FRESH).await.is_err());
}

#[tokio::test]
async fn a_chunk_is_bounded_and_verified() {
    let (bytes, blob) = blob(3);
    let stub = Stub::start(by_chunks(&bytes)).await;
    assert_eq!(stub.bee().chunk(blob.reference, FRESH).await.unwrap().payload(), bytes);
    assert!(stub.bee().chunk(Reference([1; 32]), Duration::ZERO).await.is_err());
    let stub = Stub::start(|_| Reply::Endless(vec![0; 4096])).await;
    let error = stub.bee().chunk(blob.reference, FRESH).await.unwrap_err();
    assert!(matches!(error, BeeError::TooLarge { limit_bytes: 4104, .. }), "{error:?}");
}
