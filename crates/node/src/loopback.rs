//! Peers on loopback, for tests: real sockets and the real protocol, around whatever a test has them do.

use manyhands_blob::ChunkStore;
use manyhands_blob::transfer::{BlobServer, TransferLimits};
use manyhands_net::{BlobStream, Identity, Net, NetConfig, NetEvent};
use manyhands_proto::limits::EPOCH_S;
use manyhands_proto::message::Holder;
use manyhands_proto::score::Work;
use manyhands_proto::{Binding, BlobRef, NodeId, Po2, Reference, Score, Seed, SignedScore};

/// A peer on loopback that treats each blob stream as `serve` says.
pub(crate) async fn peer(serve: impl Fn(NodeId, BlobStream) + Send + 'static) -> (Net, Holder) {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    let config = NetConfig { listen, ..NetConfig::default() };
    let (net, mut events) = manyhands_net::start(Identity::generate(), config).await.unwrap();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let NetEvent::BlobStream { from, stream } = event {
                serve(from, stream);
            }
        }
    });
    let holder = Holder { node: net.node_id(), addresses: net.addresses().await };
    assert!(!holder.addresses.is_empty());
    (net, holder)
}

/// A peer that serves what is in `store`.
pub(crate) async fn keeper(store: ChunkStore) -> (Net, Holder) {
    let server = BlobServer::new(store, TransferLimits::default());
    peer(move |from, stream| crate::blobs::serve(&server, from, stream)).await
}

/// What `verifier` says now of a proof of `node`'s.
pub(crate) fn score(verifier: &Identity, node: NodeId, po2: u8) -> SignedScore {
    let issued_s = crate::clock::unix_s();
    let score = Score {
        peer: node,
        verifier: verifier.node_id(),
        po2: Po2::try_from(po2).unwrap(),
        elapsed_ms: 28_000,
        receipt: BlobRef { reference: Reference([3; 32]), size_bytes: 221_000 },
        work: Work::Job,
        index: 0,
        binding: Binding { seed: Seed([4; 16]), epoch: Binding::epoch_at(issued_s) },
        issued_s,
        expires_s: issued_s + EPOCH_S,
    };
    manyhands_vbs::sign(score, |bytes| verifier.sign(bytes))
}
