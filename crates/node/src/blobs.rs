//! Blobs between the store and the network: why one could not be fetched (`providers` fetches), and how they are served to whoever asks.

use std::time::Duration;

use manyhands_bee::{BeeError, Fault};
use manyhands_blob::encryption::{ChunkKey, EncryptedReference};
use manyhands_blob::transfer::{BlobServer, FetchError};
use manyhands_blob::{ChunkStore, StoreError};
use manyhands_net::{BlobStream, NetError, StreamError};
use manyhands_proto::limits::SEGMENT_BYTES_MAX;
use manyhands_proto::message::{Blame, BlobKey};
use manyhands_proto::{BlobRef, NodeId};

use crate::store::is_no_room;

/// Why a blob could not be had from a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("nobody is said to have it")]
    NoHolder,
    #[error("cannot reach {}: {source}", node.short())]
    Dial {
        node: NodeId,
        #[source]
        source: NetError,
    },
    #[error("cannot open a stream to {}: {source}", node.short())]
    Open {
        node: NodeId,
        #[source]
        source: StreamError,
    },
    #[error("{} was not reached within {waited:?}", node.short())]
    Unreached { node: NodeId, waited: Duration },
    #[error("{source}", source = with_cause(source))]
    Fetch {
        #[source]
        source: FetchError,
    },
    #[error("{}", crate::swarm::with_advice(source))]
    Bee {
        #[source]
        source: Box<BeeError>,
    },
}

impl From<FetchError> for BlobError {
    fn from(source: FetchError) -> Self {
        Self::Fetch { source }
    }
}

fn with_cause(error: &FetchError) -> String {
    match error {
        FetchError::Store(cause) => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

impl BlobError {
    pub(crate) fn blame(&self) -> Blame {
        match self {
            Self::NoHolder => Blame::Peer,
            Self::Dial { .. } | Self::Open { .. } | Self::Unreached { .. } => Blame::Network,
            Self::Fetch { source } => source.blame(),
            Self::Bee { source } => match source.fault() {
                Fault::Network => Blame::Network,
                Fault::Us | Fault::Bee | Fault::Owner => Blame::Us,
            },
        }
    }

    /// Our own store's refusal, if that is what it was.
    pub(crate) fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Fetch { source: FetchError::Store(error) } => Some(error),
            Self::Fetch { .. }
            | Self::NoHolder
            | Self::Dial { .. }
            | Self::Open { .. }
            | Self::Unreached { .. }
            | Self::Bee { .. } => None,
        }
    }

    /// Whether every other blob would fail in the same way, at no peer's fault: there is no room, or the only way to blobs is closed.
    pub(crate) fn is_general(&self) -> bool {
        self.store().is_some_and(is_no_room) || (matches!(self, Self::Bee { .. }) && self.blame() == Blame::Us)
    }
}

/// Runs work on the store on a thread that may block.
pub(crate) async fn on_store<T: Send + 'static>(
    store: &ChunkStore,
    work: impl FnOnce(&ChunkStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || work(&store)).await.unwrap_or(Err(StoreError::Interrupted))
}

/// What opens a unit's input, if it is encrypted.
pub(crate) fn root_of(input: BlobRef, key: Option<BlobKey>) -> Option<EncryptedReference> {
    key.map(|key| EncryptedReference { address: input.reference, key: ChunkKey::new(key.0) })
}

/// Reads a unit's input, encrypted or not.
pub(crate) fn read_input(store: &ChunkStore, input: BlobRef, key: Option<BlobKey>) -> Result<Vec<u8>, StoreError> {
    let Some(root) = root_of(input, key) else { return store.read_blob(&input, SEGMENT_BYTES_MAX) };
    let mut reader = store.encrypted_tree_reader(&root, SEGMENT_BYTES_MAX)?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next_piece()? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Answers one peer's request for a blob, in a task of its own.
pub(crate) fn serve(server: &BlobServer, from: NodeId, stream: BlobStream) {
    let server = server.clone();
    tokio::spawn(async move {
        match server.serve_to(from, stream).await {
            Ok(served) => tracing::debug!(node = %from.short(), blob = %served.blob.reference.short(), "served a blob"),
            Err(error) => tracing::debug!(node = %from.short(), %error, "a blob was not served"),
        }
    });
}

/// The network's configuration of either daemon.
pub(crate) fn net_config(
    config: &crate::Config,
    role: &str,
    listen: &[&str],
    worker: &manyhands_proto::worker::Identity,
) -> manyhands_net::NetConfig {
    let own = || listen.iter().map(|address| (*address).to_owned()).collect();
    let stated = config.net.listen.clone();
    manyhands_net::NetConfig {
        listen: if stated.is_empty() { own() } else { stated },
        boot: config.net.boot.clone(),
        mdns: config.net.mdns,
        agent: format!("manyhands/{} {role} {}", env!("CARGO_PKG_VERSION"), worker.zkvm),
        ..manyhands_net::NetConfig::default()
    }
}
