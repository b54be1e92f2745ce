//! Why a daemon does not start, in the words of the person who has to act on it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;

use manyhands_bee::BeeError;
use manyhands_blob::StoreError;
use manyhands_net::{IdentityError, NetError};

use crate::worker::WorkerError;

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be made or written.
    #[error("cannot write to the data directory {}: {source}. Choose another with --data-dir, or {}", path.display(), to_write(source))]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another daemon uses the data directory.
    #[error("another manyhands daemon{holder} is using the data directory {}. Stop it, or choose another with --data-dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// ` (process 123)` if that is known.
        holder: String,
    },
    /// The identity key is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The chunk store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The job database cannot be opened.
    #[error("cannot open the job database {}: {source}. {}", path.display(), to_open(source))]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The Bee node cannot be used, and nothing works without it; or what is configured is none.
    #[error("the Bee node cannot be used: {}. Without one: --storage embedded", crate::swarm::with_advice(source))]
    Bee {
        /// Why.
        #[source]
        source: Box<BeeError>,
    },
    /// The network could not be started.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The HTTP door is taken.
    #[error(
        "cannot listen on {address} for the HTTP API: {source}. Another program may use the port; choose another with --http"
    )]
    Http {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Bee's API cannot listen.
    #[error(
        "cannot listen on {address} for Bee's HTTP API: {source}. Choose another address with --bee-api, or leave it out with --no-bee-api"
    )]
    BeeApi {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The batches of Bee's API cannot be kept.
    #[error(transparent)]
    Batches(#[from] manyhands_bee_api::BatchError),
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
    /// The worker is missing or does not work.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The machine has too little memory for the smallest segment.
    #[error(
        "a slot of this machine may use {memory_mb} MB, and the smallest segment (po2 14) needs {needed_mb} MB. Lower --slots or raise --memory-mb"
    )]
    Memory {
        /// What a slot may use.
        memory_mb: u64,
        /// What the smallest segment needs.
        needed_mb: u64,
    },
    /// A verifier's name is none.
    #[error(
        "{name:?} in gateway.verifiers is no peer id: another gateway says its own, 12D3Koo.., in `manyhands status`"
    )]
    Verifier {
        /// What was given.
        name: String,
    },
    /// A gateway's address is none.
    #[error("{address:?} is no address of a gateway: give a multiaddress such as /ip4/192.0.2.1/tcp/7170 or HOST:PORT")]
    GatewayAddress {
        /// What was given.
        address: String,
    },
}

impl StartError {
    pub(crate) fn bee(source: BeeError) -> Self {
        Self::Bee { source: Box::new(source) }
    }
}

/// What makes a directory writable.
fn to_write(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space",
        _ => "mend its permissions",
    }
}

/// What makes a job database readable.
fn to_open(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => "Free some space",
        Some(rusqlite::ErrorCode::SchemaChanged) => "Run the newer version that wrote it, or use another --data-dir",
        _ => "If it is damaged, move it away; its jobs and their receipts are lost then",
    }
}
