//! The server: connections, bounds, and the trait that stands behind the door.
//!
//! [`serve`] owns every connection it accepted and ends them all; nothing outlives it. It never lets one client hold what others
//! need: heads and bodies have times, connections and uploads have numbers.

pub(crate) mod body;
mod events;
mod guard;
mod hear_out;
pub(crate) mod id;
pub(crate) mod limits;
mod local;
mod openapi;
mod respond;
mod routes;
pub(crate) mod spool;

use std::io;
use std::path::Path;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use manyhands_core::explain::Explanation;
use manyhands_proto::{BlobRef, JobId, NodeId, Reference};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

pub use guard::check as check_host;
pub use openapi::OPENAPI;

use crate::types::{
    Backups, BegunBackup, GatewayStatus, JobRequest, JobStatus, NodeRuling, Problem, Scores, Submitted, Uploaded,
};
use limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, GRACE, HEAD_BYTES_MAX, HEAD_TIME};

/// What stands behind the door.
pub trait Gateway: Send + Sync + 'static {
    /// Stores a program and says its image id.
    fn upload_program(&self, bytes: Vec<u8>) -> impl Future<Output = Result<Uploaded, Problem>> + Send;
    /// The folder that inputs come into, as files without a name that lasts.
    fn spool(&self) -> &Path;
    /// Fails if there is no room for `coming_bytes` of an input that come next, of which `come_bytes` lie in a file already; nothing is reserved.
    fn room(&self, come_bytes: u64, coming_bytes: u64) -> impl Future<Output = Result<(), Problem>> + Send;
    /// Stores an input of `size_bytes`, which is in `file`.
    fn upload_input(
        &self,
        file: NamedTempFile,
        size_bytes: u64,
    ) -> impl Future<Output = Result<Uploaded, Problem>> + Send;
    /// Takes a job; it is on disk when this returns.
    fn submit(&self, request: JobRequest) -> impl Future<Output = Result<Submitted, Problem>> + Send;
    /// A job.
    fn job(&self, job: JobId) -> impl Future<Output = Result<JobStatus, Problem>> + Send;
    /// Why a job is as far as it is.
    fn explain(&self, job: JobId) -> impl Future<Output = Result<Explanation, Problem>> + Send;
    /// Stops a job that is open, and forgets one that has ended, with its receipt.
    fn abort(&self, job: JobId) -> impl Future<Output = Result<(), Problem>> + Send;
    /// A job's receipt, as `bincode` of `risc0_zkvm::Receipt`.
    fn receipt(&self, job: JobId) -> impl Future<Output = Result<(BlobRef, Vec<u8>), Problem>> + Send;
    /// What the guest wrote to stdout and stderr so far.
    fn log(&self, job: JobId) -> impl Future<Output = Result<Vec<u8>, Problem>> + Send;
    /// The gateway and its fleet.
    fn status(&self) -> impl Future<Output = Result<GatewayStatus, Problem>> + Send;
    /// What verifiers say of nodes.
    fn scores(&self) -> impl Future<Output = Result<Scores, Problem>> + Send;
    /// The receipt that a score is of: one segment's, as its node handed it over.
    fn score_receipt(&self, receipt: Reference) -> impl Future<Output = Result<Vec<u8>, Problem>> + Send;
    /// Notes what the operator says of a node. It is on disk when this returns. Asked for as [`Gateway::back_up`] is.
    fn rule(&self, node: NodeId, ruling: NodeRuling) -> impl Future<Output = Result<(), Problem>> + Send;
    /// Begins a back-up. Asked for on the gateway's own machine only, as far as that can be told.
    fn back_up(&self) -> impl Future<Output = Result<BegunBackup, Problem>> + Send;
    /// The back-ups that are there, and the one under way. Asked for as [`Gateway::back_up`] is.
    fn backups(&self) -> impl Future<Output = Result<Backups, Problem>> + Send;
}

/// Serves `/v1` on `listener` until `shutdown` is done, then lets requests under way end for a few seconds.
///
/// # Errors
/// The listener's address cannot be read. Errors of single connections end those connections only.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<impl Gateway>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    serve_beside(listener, gateway, axum::Router::new(), None, shutdown).await
}

/// As [`serve`], with the calls of `beside` at the same door, behind the same guard. `public_host` is a name that the door is reached by
/// from outside, as a proxy that speaks TLS passes it on.
///
/// # Errors
/// As [`serve`].
pub async fn serve_beside(
    listener: TcpListener,
    gateway: Arc<impl Gateway>,
    beside: axum::Router,
    public_host: Option<String>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let router = routes::router(gateway, beside, listener.local_addr()?, public_host);
    serve_router(listener, router, shutdown).await;
    Ok(())
}

/// Serves any router on `listener` within the bounds of this door, until `shutdown` is done; then lets requests under way
/// end for a few seconds. For a second door of the same daemon. Errors of single connections end those only.
pub async fn serve_router(listener: TcpListener, router: axum::Router, shutdown: impl Future<Output = ()> + Send) {
    let router = router.layer(axum::middleware::from_fn(hear_out::hear_out));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some((stream, origin, place)) = accepted else { continue };
        let router = router.clone().layer(axum::Extension(origin));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an API connection broke");
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    connections.shutdown().await;
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, local::Origin, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            let origin = local::Origin::of(peer, stream.local_addr().ok());
            Some((stream, origin, place))
        }
        Err(error) => {
            // Out of file descriptors, most likely: others have to end first.
            tracing::warn!(%error, "cannot accept API connections");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
