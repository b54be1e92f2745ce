//! Uploads: what is sent, what is believed, and the way by chunks.

use std::io;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use manyhands_bee::{BatchId, BeeError, Fault, Pieces, Push, Source, Upload, Uploaded, Way, blob_of};
use manyhands_blob::redundancy::Level;
use manyhands_blob::reference_of;
use manyhands_proto::{BlobRef, Reference};

use crate::support::{Reply, Seen, Stub, bytes, chunk_of, chunks_of, name_at, named, no};

fn order() -> Upload {
    Upload { batch: BatchId([0xB0; 32]), pin: false, push: Push::Direct }
}

fn blob(size: usize) -> (Arc<[u8]>, BlobRef) {
    let bytes = bytes(size);
    let reference = reference_of(&bytes);
    (bytes.into(), BlobRef { reference, size_bytes: size as u64 })
}

/// A Bee that does as the header says.
fn honest(seen: &Seen) -> Reply {
    match seen.call.as_str() {
        "POST /bytes" => named(reference_of(&seen.body)),
        "POST /chunks" => named(chunk_of(&seen.body).reference()),
        _ => Reply::Raw(201, Vec::new()),
    }
}

/// A Bee 2.8.1 whose header got lost: it makes trees of level 1.
fn headstrong(seen: &Seen) -> Reply {
    match seen.call.as_str() {
        "POST /bytes" => named(name_at(Level::Medium, &seen.body)),
        _ => honest(seen),
    }
}

#[tokio::test]
async fn level_deferral_and_batch_are_always_said() {
    let stub = Stub::start(honest).await;
    for size in [0, 1, 4096, 4097, 265_000] {
        let (bytes, blob) = blob(size);
        let uploaded = stub.bee().upload(&blob, &bytes, &order()).await.unwrap();
        assert_eq!(uploaded, Uploaded { way: Way::Whole, tag: None });
        let seen = stub.seen().pop().unwrap();
        assert_eq!(seen.body[..], bytes[..]);
        assert_eq!(seen.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(seen.header("swarm-redundancy-level"), Some("0"));
        assert_eq!(seen.header("swarm-deferred-upload"), Some("false"));
        assert_eq!(seen.header("swarm-postage-batch-id"), Some("b0".repeat(32).as_str()));
        assert_eq!(seen.header("swarm-pin"), None);
    }
}

#[tokio::test]
async fn a_deferred_upload_has_a_tag() {
    let stub = Stub::start(|seen| {
        Reply::Tagged(201, serde_json::json!({ "reference": reference_of(&seen.body).to_string() }), 7)
    });
    let stub = stub.await;
    let (bytes, blob) = blob(5000);
    let order = Upload { pin: true, push: Push::Deferred, ..order() };
    assert_eq!(stub.bee().upload(&blob, &bytes, &order).await.unwrap().tag, Some(7));
    let seen = stub.seen().pop().unwrap();
    assert_eq!(seen.header("swarm-deferred-upload"), Some("true"));
    assert_eq!(seen.header("swarm-pin"), Some("true"));
}

#[tokio::test]
async fn a_node_that_makes_other_trees_gets_the_chunks() {
    let stub = Stub::start(headstrong).await;
    let bee = stub.bee();
    let (bytes, blob) = blob(265_000);
    let order = Upload { pin: true, ..order() };
    assert_eq!(bee.upload(&blob, &bytes, &order).await.unwrap().way, Way::Chunks);
    let sent: std::collections::BTreeMap<_, _> = stub
        .seen()
        .iter()
        .filter(|seen| seen.call == "POST /chunks")
        .map(|seen| (chunk_of(&seen.body).reference(), seen.body.clone()))
        .collect();
    assert_eq!(sent, chunks_of(&bytes));
    assert_eq!(stub.count("POST /chunks"), 66);
    assert_eq!(stub.count(&format!("POST /pins/{}", blob.reference)), 1);
    // It is known now, to every copy of the client.
    bee.clone().upload(&blob, &bytes, &order).await.unwrap();
    assert_eq!(stub.count("POST /bytes"), 1);
    assert_eq!(stub.count("POST /chunks"), 132);
}

#[tokio::test]
async fn up_to_a_chunk_all_levels_agree() {
    let stub = Stub::start(headstrong).await;
    let (bytes, blob) = blob(4096);
    assert_eq!(stub.bee().upload(&blob, &bytes, &order()).await.unwrap().way, Way::Whole);
}

#[tokio::test]
async fn a_node_that_lies_about_chunks_too_is_blamed() {
    let stub = Stub::start(|_| named(Reference([7; 32]))).await;
    let (bytes, blob) = blob(9000);
    let error = stub.bee().upload(&blob, &bytes, &order()).await.unwrap_err();
    let BeeError::NoWay { expected, got, last } = &error else { panic!("{error:?}") };
    assert_eq!((*expected, *got), (blob.reference, Reference([7; 32])));
    assert!(matches!(**last, BeeError::WrongReference { .. }), "{last:?}");
    assert_eq!(error.fault(), Fault::Bee);
    assert!(error.advice().contains("do not use this node"));
}

#[tokio::test]
async fn a_full_batch_on_the_way_by_chunks_is_the_owner_s() {
    let stub = Stub::start(|seen| match seen.call.as_str() {
        "POST /chunks" => no(402, "batch is overissued"),
        _ => headstrong(seen),
    });
    let (bytes, blob) = blob(9000);
    let error = stub.await.bee().upload(&blob, &bytes, &order()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Owner, "{error}");
    assert!(error.advice().contains("dilute"), "{}", error.advice());
}

#[tokio::test]
async fn a_source_of_other_bytes_is_our_fault() {
    let stub = Stub::start(honest).await;
    let (_, blob) = blob(9000);
    let other: Arc<[u8]> = vec![1; 9000].into();
    let error = stub.bee().upload(&blob, &other, &order()).await.unwrap_err();
    assert!(matches!(error, BeeError::OtherSource { .. }), "{error:?}");
    assert_eq!(error.fault(), Fault::Us);
    assert_eq!(stub.count("POST /chunks"), 0, "nothing more is sent of what is wrong");
    for size in [8000, 10_000] {
        let other: Arc<[u8]> = bytes(size).into_iter().rev().collect();
        let error = stub.bee().upload(&blob, &other, &order()).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Us, "{size}: {error:?}");
    }
}

/// A disk that fails after the first piece.
struct Failing;

impl Source for Failing {
    fn open(&self) -> io::Result<Pieces> {
        Ok(stream::iter([Ok(vec![1; 4096]), Err(io::Error::other("the disk is gone"))]).boxed())
    }
}

#[tokio::test]
async fn a_source_that_fails_is_our_fault_and_not_tried_again() {
    let stub = Stub::start(honest).await;
    let (_, blob) = blob(9000);
    let error = stub.bee().upload(&blob, &Failing, &order()).await.unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    assert_eq!(error.fault(), Fault::Us);
    assert!(stub.world.pauses().is_empty());
}

#[tokio::test]
async fn what_is_cut_in_the_middle_is_tried_a_few_times() {
    let stub = Stub::start_cutting(100_000).await;
    let (bytes, blob) = blob(3_000_000);
    let error = stub.bee().upload(&blob, &bytes, &order()).await.unwrap_err();
    assert!(matches!(error, BeeError::Broken { .. }), "{error:?}");
    assert_eq!(error.fault(), Fault::Network);
    assert_eq!(stub.count("POST /bytes"), 4);
    assert_eq!(stub.world.pauses().len(), 3);
}

#[tokio::test]
async fn a_single_chunk_can_be_sent() {
    let stub = Stub::start(honest).await;
    let wire = [&3u64.to_le_bytes()[..], b"foo"].concat();
    stub.bee().upload_chunk(&chunk_of(&wire), order().batch).await.unwrap();
    assert_eq!(stub.seen()[0].body, wire);
}

#[tokio::test]
async fn a_blob_is_known_by_reading_it_once() {
    for size in [0, 4096, 65_536, 200_000] {
        let (bytes, blob) = blob(size);
        assert_eq!(blob_of(&bytes).await.unwrap(), blob);
    }
    assert!(blob_of(&Failing).await.is_err());
}
