//! The gateway daemon: the client side of the paper, steps I to VI.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use manyhands_core::Policy;
use manyhands_net::{Identity, node_of_text, peer_text, with_node};
use manyhands_proto::message::Holder;
use manyhands_proto::worker::Identity as WorkerIdentity;
use manyhands_proto::{JobId, NodeId, Reference};
use manyhands_vbs::Trust;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::data_dir::DataDir;
use crate::providers::Providers;
use crate::scores::Scoreboard;
use crate::swarm::{Role, Storage};
use crate::worker::{self, Worker, WorkerOptions};
use crate::{Config, StartError, bee_door};
use backup::Archivist;
use bonsai::{Book, Desk, Machine};
use door::Door;
use jobs_db::JobsDb;
use shelf::Shelf;
use shell::{Shell, Sources};
use sweep::sweep;
use tasks::Tasks;
use turns::Turns;

mod assumptions;
mod backup;
pub mod bonsai;
mod door;
mod inputs;
mod jobs_db;
mod owners;
mod privacy;
mod questions;
mod room;
mod runs;
mod scoring;
mod shelf;
mod shell;
mod sqlite;
mod standings;
mod survey;
mod sweep;
mod tasks;
mod turns;

/// Questions and finished tasks that wait for the loop; whoever has more waits.
const QUEUE_MAX: usize = 1024;

/// Where a gateway listens for nodes if nobody says otherwise.
const LISTEN: [&str; 2] = ["/ip4/0.0.0.0/tcp/7170", "/ip4/0.0.0.0/udp/7170/quic-v1"];

/// A gateway that is up.
#[derive(Debug, Clone)]
pub struct GatewayReady {
    /// Its HTTP door.
    pub http: SocketAddr,
    /// Its door for programs made for a Bee, if it has one.
    pub bee_api: Option<SocketAddr>,
    /// Its peer id as libp2p writes it.
    pub peer_id: String,
    /// Where nodes can dial it, as multiaddresses with `/p2p`.
    pub addresses: Vec<String>,
    /// Its worker.
    pub worker: WorkerIdentity,
    /// Jobs that it took up again.
    pub resumed: usize,
    /// Where it keeps and looks for blobs: the mode, the Bee node and the batch.
    pub storage: String,
}

/// Runs a gateway until `shutdown`. `ready` is called once it is up.
///
/// # Errors
/// [`StartError`] in words for its owner; nothing is left behind then but the data directory.
pub async fn run(
    config: Config,
    ready: impl FnOnce(GatewayReady),
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let (storage, storage_text) = Storage::open(&config.bee, Role::Gateway).await?;
    tracing::info!("storage: {storage_text}");
    let program = worker::locate(config.worker.as_deref())?;
    let identity = Worker::spawn(&program, WorkerOptions::default())?.identify().await?;
    let database = |source| StartError::Database { path: data_dir.jobs(), source };
    let db = JobsDb::open(&data_dir.jobs()).map_err(database)?;
    let store = crate::store::open(&config, &data_dir.chunks())?;
    let (open, kept) = needed(&db).map_err(database)?;
    let swept = sweep(&store, open, kept.as_ref(), |job| db.may_cache(job).unwrap_or_default())?;
    tracing::debug!(swept, "blobs that nobody needs any more were released");
    let (listener, http) = listen(config.gateway.http).await?;
    let bee = bee_door::open(&config, &data_dir, &store, bee_door::GATEWAY_PORT).await?;
    let (key, scores) = open_scores(&config, &data_dir)?;
    let net_config = crate::blobs::net_config(&config, "gateway", &LISTEN, &identity);
    let (net, events) = manyhands_net::start(key.clone(), net_config).await?;
    let me = Holder { node: net.node_id(), addresses: net.addresses().await };

    let (feedback, fed_back) = mpsc::channel(QUEUE_MAX);
    let (questions, asked) = mpsc::channel(QUEUE_MAX);
    let (shelf, archiving) = Shelf::of(storage.clone(), &store);
    let tasks = Tasks {
        net: net.clone(),
        store: store.clone(),
        providers: Providers::new(net.clone(), store.clone(), storage),
        shelf,
        worker: program,
        feedback,
        scratch: scratch(&data_dir)?,
        executions: Arc::new(Semaphore::new(1)),
        fetches: Turns::new(),
        checks: Arc::new(Semaphore::new(usize::from(crate::machine::cores()))),
    };
    let scoring = (key, scores.clone());
    let mut shell = Shell::new(db, tasks.clone(), identity.clone(), me.clone(), scoring, policy(&config));
    let resumed = shell.resume().map_err(database)?;

    let (stop, stopped) = watch::channel(false);
    let door = Arc::new(Door {
        tasks,
        archivist: Arc::new(Archivist::new(&config, &data_dir, questions.clone())),
        questions,
        cycles_max: config.gateway.cycles_max,
        trusted: config.gateway.trusted.clone(),
        scores: scores.clone(),
    });
    let desk = open_desk(&config, &data_dir, http, Arc::clone(&door), identity.recursion).await?;
    let host = desk.public_host();
    let calls = manyhands_api::bonsai::routes(Arc::clone(&desk));
    let server = tokio::spawn(manyhands_api::serve_beside(listener, Arc::clone(&door), calls, host, until(stopped)));
    let tending = [tokio::spawn(desk.tend()), tokio::spawn(scores.clone().tend())];
    let addresses = me.addresses.iter().map(|address| with_node(address, me.node)).collect();
    let (bee_api, peer_id) = (bee.as_ref().map(|bee| bee.address), peer_text(me.node));
    ready(GatewayReady { http, bee_api, peer_id, addresses, worker: identity, resumed, storage: storage_text });
    shell.run(Sources { net: events, feedback: fed_back, questions: asked }, shutdown).await;
    door.archivist.close().await;
    bee_door::close(bee).await;
    tending.iter().for_each(JoinHandle::abort);
    scores.close();
    let _ = stop.send(true);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), server).await;
    end(archiving).await;
    net.shutdown().await;
    Ok(())
}

/// Where large inputs lie while a guest reads them, empty: what a kill left there may be of a private job.
fn scratch(data_dir: &DataDir) -> Result<std::path::PathBuf, StartError> {
    let path = data_dir.scratch();
    let emptied = match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    let made = emptied.and_then(|()| std::fs::create_dir(&path));
    made.map(|()| path.clone()).map_err(|source| StartError::DataDir { path, source })
}

/// What stands behind the Bonsai API, with what a restart cut off under way again.
async fn open_desk(
    config: &Config,
    data_dir: &DataDir,
    http: SocketAddr,
    door: Arc<Door>,
    has_recursion: bool,
) -> Result<Arc<Desk>, StartError> {
    let path = data_dir.bonsai();
    let book = Book::open(&path).map_err(|source| StartError::Database { path, source })?;
    let folder = data_dir.uploads();
    // Whoever comes through a proxy comes from outside.
    let may_be_open = http.ip().is_loopback() && config.gateway.public_url.is_none();
    let maker = Arc::new(Machine::new(door.tasks.worker.clone(), has_recursion, &door.tasks.scratch));
    let desk = Desk::new(door, book, folder.clone(), config, may_be_open, maker)
        .map_err(|source| StartError::DataDir { path: folder, source })?;
    match desk.resume().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "sessions that only execute are run again"),
        Err(problem) => tracing::warn!(%problem, "sessions that only execute cannot be taken up again"),
    }
    match desk.resume_snarks().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "Groth16 receipts are made again"),
        Err(problem) => tracing::warn!(%problem, "Groth16 receipts cannot be taken up again"),
    }
    Ok(desk)
}

/// Takes the HTTP door's address.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let taken = |source| StartError::Http { address, source };
    let listener = TcpListener::bind(address).await.map_err(taken)?;
    let bound = listener.local_addr().map_err(taken)?;
    Ok((listener, bound))
}

/// The open jobs, and the receipts of ended ones if all are known.
fn needed(db: &JobsDb) -> rusqlite::Result<(Vec<JobId>, Option<BTreeSet<Reference>>)> {
    let open = db.open_jobs()?.into_iter().map(|row| row.job).collect();
    Ok((open, db.receipts()?))
}

/// Ends a task, and does not only tell it to: whoever opens the store next must find it free.
async fn end(task: Option<JoinHandle<()>>) {
    if let Some(task) = task {
        task.abort();
        let _ = task.await;
    }
}

/// The rules' constants, as far as the owner has a say.
fn policy(config: &Config) -> Policy {
    let usual = Policy::default();
    let challenge_after_ms = if config.gateway.challenges { usual.challenge_after_ms } else { 0 };
    Policy { challenge_after_ms, ..usual }
}

/// The key that scores are signed with, and what has been said of nodes.
fn open_scores(config: &Config, data_dir: &DataDir) -> Result<(Identity, Scoreboard), StartError> {
    let key = Identity::load_or_create(&data_dir.identity())?;
    let trust = trust(config, key.node_id())?;
    Ok((key, Scoreboard::open(data_dir.scores(), trust)))
}

/// Whose scores count.
fn trust(config: &Config, me: NodeId) -> Result<Trust, StartError> {
    let named = |text: &String| node_of_text(text).ok_or_else(|| StartError::Verifier { name: text.clone() });
    Ok(Trust::new(me, config.gateway.verifiers.iter().map(named).collect::<Result<_, _>>()?))
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
