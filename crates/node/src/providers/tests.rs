//! Providers over real sockets on loopback: who is asked, in which order, and who is left out afterwards. Never the network.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use manyhands_blob::transfer::{BlobServer, REQUEST_BYTES, Status};
use manyhands_proto::message::Blame;
use tokio::sync::Barrier;

use super::*;
use crate::loopback::{keeper, peer};
use crate::stub::{self, Reply, Stub, no};

fn store() -> (tempfile::TempDir, ChunkStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 24).unwrap();
    (dir, store)
}

/// Promises the blob and sends noise.
fn lie(_: NodeId, mut stream: BlobStream) {
    tokio::spawn(async move {
        let _ = stream.read(&mut [0; 64]).await;
        let _ = stream.write_all(&[0, 8, 16]).await;
        let _ = stream.write_all(&[7; 4104]).await;
        let _ = stream.flush().await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    });
}

#[tokio::test]
async fn the_next_provider_is_asked_until_one_has_it() {
    let ((_a, full), (_b, empty), (_c, own)) = (store(), store(), store());
    let owner = Owner::new("x").unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number * 31 % 251) as u8).collect();
    let blob = full.put_blob(&owner, &bytes).unwrap();
    let (_net1, liar) = peer(lie).await;
    let (_net2, ignorant) = keeper(empty).await;
    let full_copy = full.clone();
    let (_net3, gateway) = keeper(full).await;
    let (me, _) = keeper(own.clone()).await;
    let gone = Holder { node: NodeId([3; 32]), addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()] };

    let providers = Providers::new(me, own.clone(), Storage::Embedded);
    let holders = [gone.clone(), liar.clone(), ignorant.clone(), gateway.clone()];
    providers.fetch(&owner, blob, &holders).await.unwrap();
    assert_eq!(own.read_blob(&blob, 1 << 20).unwrap(), bytes);
    // The liar and the one that is gone are left out from now on.
    let order = providers.shunned().order(&holders, Instant::now());
    assert_eq!(order, [ignorant.clone(), gateway]);

    // An encrypted blob in the same way; the liar, who is left out now, would have been found out.
    let sealed = full_copy
        .put_encrypted_tree(&owner, &bytes[..], 1 << 20, manyhands_blob::redundancy::Level::None, |key| key.fill(7))
        .unwrap();
    providers.fetch_sealed(&owner, sealed, 300_000, &holders).await.unwrap();
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut own.encrypted_tree_reader(&sealed, 1 << 20).unwrap(), &mut read).unwrap();
    assert!(read == bytes);
    own.release(&owner, &sealed.address).unwrap();
    let error = providers.fetch_sealed(&owner, sealed, 300_000, std::slice::from_ref(&liar)).await.unwrap_err();
    assert_eq!(error.blame(), Blame::Peer, "{error}");

    // Alone they are asked, and the last one's answer is told.
    own.release(&owner, &blob.reference).unwrap();
    let error = providers.fetch(&owner, blob, &[gone, ignorant]).await.unwrap_err();
    assert!(matches!(error, BlobError::Fetch { source: FetchError::Refused { status: Status::NotFound } }), "{error}");
    let error = providers.fetch(&owner, blob, &[liar]).await.unwrap_err();
    assert_eq!(error.blame(), Blame::Peer, "{error}");
    assert!(matches!(providers.fetch(&owner, blob, &[]).await, Err(BlobError::NoHolder)));
}

/// A keeper that answers its first asker only when `meet` lets it, and counts its askers.
async fn keeper_that_waits(store: ChunkStore, meet: Arc<Barrier>) -> (Net, Holder, Arc<AtomicUsize>) {
    let (server, asked) = (BlobServer::new(store, TransferLimits::default()), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let serve = move |from, stream| {
        let (server, meet, is_first) = (server.clone(), Arc::clone(&meet), count.fetch_add(1, Ordering::SeqCst) == 0);
        tokio::spawn(async move {
            if is_first {
                meet.wait().await;
            }
            let _ = server.serve_to(from, stream).await;
        });
    };
    let (net, holder) = peer(serve).await;
    (net, holder, asked)
}

/// Of the three before the gateway two answer only when all were asked: if they were asked in turn, the gateway would have to help.
#[tokio::test]
async fn a_large_blob_comes_from_several_at_once_and_not_from_the_gateway() {
    let ((_a, full), (_b, own)) = (store(), store());
    let owner = Owner::new("x").unwrap();
    let bytes = stub::bytes(1_500_000);
    let blob = full.put_blob(&owner, &bytes).unwrap();
    let meet = Arc::new(Barrier::new(3));
    let (net1, first, asked1) = keeper_that_waits(full.clone(), Arc::clone(&meet)).await;
    let (net2, second, asked2) = keeper_that_waits(full.clone(), Arc::clone(&meet)).await;
    // The third comes first and lies; the others wait until the asker has hung up on it.
    let liars_meet = Arc::clone(&meet);
    let (_net3, liar) = peer(move |_, mut stream: BlobStream| {
        let meet = Arc::clone(&liars_meet);
        tokio::spawn(async move {
            let _ = stream.read_exact(&mut [0; REQUEST_BYTES]).await;
            let _ = stream.write_all(&[&[0, 8, 16][..], &[7; 4_104]].concat()).await;
            let _ = stream.flush().await;
            let _ = stream.read(&mut [0]).await;
            meet.wait().await;
        });
    })
    .await;
    let alone = Arc::new(Barrier::new(1));
    let (_net4, gateway, asked) = keeper_that_waits(full, alone).await;
    let (me, _) = keeper(own.clone()).await;
    let providers = Providers::new(me, own.clone(), Storage::Embedded);
    let holders = [liar, first.clone(), second.clone(), gateway.clone()];
    providers.fetch(&owner, blob, &holders).await.unwrap();
    assert!(own.read_blob(&blob, 1 << 22).unwrap() == bytes);
    assert!(asked1.load(Ordering::SeqCst) > 0 && asked2.load(Ordering::SeqCst) > 0);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "the gateway's line was spared");
    // Who lied is left out, and nobody else.
    let order = providers.shunned().order(&holders, Instant::now());
    assert_eq!(order, [first, second, gateway]);

    // With the others gone the gateway gives it.
    own.release(&owner, &blob.reference).unwrap();
    drop((net1, net2));
    assert!(!own.has(&blob).unwrap());
    providers.fetch(&owner, blob, &[gone(), order[2].clone()]).await.unwrap();
    assert!(own.read_blob(&blob, 1 << 22).unwrap() == bytes);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// It has the first part, and with it the root: without the others' help it would all wait for it.
#[tokio::test]
async fn one_that_says_nothing_while_others_give_is_left_out() {
    let ((_a, full), (_b, own)) = (store(), store());
    let owner = Owner::new("x").unwrap();
    let bytes = stub::bytes(400_000);
    let blob = full.put_blob(&owner, &bytes).unwrap();
    let (_net1, silent) = peer(|_, mut stream: BlobStream| {
        tokio::spawn(async move { while stream.read(&mut [0]).await.is_ok_and(|count| count > 0) {} });
    })
    .await;
    let (_net2, first) = keeper(full.clone()).await;
    let (_net3, second) = keeper(full).await;
    let (me, _) = keeper(own.clone()).await;
    let providers = Providers::new(me, own.clone(), Storage::Embedded);
    let holders = [silent, first.clone(), second.clone()];
    providers.fetch(&owner, blob, &holders).await.unwrap();
    assert!(own.read_blob(&blob, 1 << 20).unwrap() == bytes);
    assert_eq!(providers.shunned().order(&holders, Instant::now()), [first, second]);
}

/// A Bee node that answers each download with these bytes.
async fn bee_with(bytes: Vec<u8>) -> Stub {
    Stub::start(move |seen| match seen.call.starts_with("GET /bytes/") {
        true => Reply::Raw(200, bytes.clone()),
        false => no(500, "nothing else was to be asked"),
    })
    .await
}

fn gone() -> Holder {
    Holder { node: NodeId([3; 32]), addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()] }
}

#[tokio::test]
async fn what_no_peer_gives_comes_from_the_bee_node_and_false_bytes_do_not() {
    let owner = Owner::new("x").unwrap();
    let bytes = stub::bytes(90_000);
    let blob = BlobRef { reference: manyhands_blob::reference_of(&bytes), size_bytes: 90_000 };
    let mut flipped = bytes.clone();
    flipped[70_000] ^= 1;
    for (sent, is_true) in [(bytes.clone(), true), (flipped, false), (bytes[1..].to_vec(), false)] {
        let bee = bee_with(sent).await;
        let (_dir, own) = store();
        let (me, _) = keeper(own.clone()).await;
        let providers = Providers::new(me, own.clone(), Storage::PeerFirst(Depot::new(bee.bee(), None)));
        let fetched = providers.fetch(&owner, blob, &[gone()]).await;
        assert_eq!(bee.count(&format!("GET /bytes/{}", blob.reference)), 1);
        if is_true {
            fetched.unwrap();
            assert_eq!(own.read_blob(&blob, 1 << 20).unwrap(), bytes);
        } else {
            assert!(matches!(fetched, Err(BlobError::Dial { .. })), "the peer's reason counts: {fetched:?}");
            assert!(!own.has(&blob).unwrap());
            assert_eq!(own.used_bytes().unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn what_a_peer_began_and_the_bee_node_ended_reserves_no_room_any_more() {
    let owner = Owner::new("x").unwrap();
    let bytes = stub::bytes(300_000);
    let blob = BlobRef { reference: manyhands_blob::reference_of(&bytes), size_bytes: 300_000 };
    let bee = bee_with(bytes).await;
    let (_dir, own) = store();
    let (me, _) = keeper(own.clone()).await;
    let (_net, liar) = peer(lie).await;
    let providers = Providers::new(me, own.clone(), Storage::PeerFirst(Depot::new(bee.bee(), None)));
    providers.fetch(&owner, blob, &[liar]).await.unwrap();
    assert_eq!((own.partials().unwrap().len(), own.usage().unwrap().reserved_bytes), (0, 0));
    assert!(own.has(&blob).unwrap());
}

#[tokio::test]
async fn where_blobs_are_in_the_bee_node_only_no_peer_is_asked() {
    let owner = Owner::new("x").unwrap();
    let ((_a, full), (_b, own)) = (store(), store());
    let blob = full.put_blob(&owner, &stub::bytes(20_000)).unwrap();
    let (_net, holder) = keeper(full).await;
    let (me, _) = keeper(own.clone()).await;
    let bee = Stub::start(|_| no(404, "Not Found")).await;
    let providers = Providers::new(me.clone(), own, Storage::BeeOnly(Depot::new(bee.bee(), None)));
    let error = providers.fetch(&owner, blob, std::slice::from_ref(&holder)).await.unwrap_err();
    assert!(matches!(&error, BlobError::Bee { .. }), "{error}");
    assert!(!bee.world.pauses().is_empty(), "what was just uploaded is waited for");
    assert!(me.peers().await.is_empty());
}

#[tokio::test]
async fn no_blob_is_fetched_from_the_bee_node_that_is_larger_than_any_can_be() {
    let (_dir, own) = store();
    let (me, _) = keeper(own.clone()).await;
    let bee = bee_with(Vec::new()).await;
    let providers = Providers::new(me, own, Storage::BeeOnly(Depot::new(bee.bee(), None)));
    let huge = BlobRef { reference: manyhands_blob::reference_of(&[]), size_bytes: SEGMENT_BYTES_MAX + 1 };
    let error = providers.fetch(&Owner::new("x").unwrap(), huge, &[]).await.unwrap_err();
    assert!(matches!(error, BlobError::Fetch { source: FetchError::TooLarge { .. } }), "{error}");
    assert!(bee.seen().is_empty());
}
