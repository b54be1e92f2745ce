//! Peers on loopback, for tests: real sockets and the real protocol, around whatever a test has them do.

use manyhands_blob::ChunkStore;
use manyhands_blob::transfer::{BlobServer, TransferLimits};
use manyhands_net::{BlobStream, Identity, Net, NetConfig, NetEvent};
use manyhands_proto::NodeId;
use manyhands_proto::message::Holder;

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
