//! The prover node's daemon: the other side of steps III and IV.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use manyhands_blob::ChunkStore;
use manyhands_blob::transfer::{BlobServer, TransferLimits};
use manyhands_core::Prover;
use manyhands_core::job::step3_dispatch::RECURSION_MEMORY_BYTES;
use manyhands_core::neighbour::{Manners, Neighbour};
use manyhands_core::prover::Input;
use manyhands_core::room::leases_bytes;
use manyhands_net::{Identity, Net, peer_text};
use manyhands_proto::Po2;
use manyhands_proto::message::{Capabilities, Holder};
use manyhands_vbs::Trust;
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::clock::{Clock, unix_s};
use crate::data_dir::DataDir;
use crate::providers::Providers;
use crate::scores::Scoreboard;
use crate::swarm::{Role, Storage};
use crate::worker::{self, Worker, WorkerOptions};
use crate::{Config, StartError, bee_door, machine};
use room::Watch;
use shell::{Shell, Sources};
use surroundings::{Surroundings, Workers};
use tasks::{FETCHES_MAX, Feedback, Tasks};

mod pace;
mod room;
mod shell;
mod surroundings;
mod tasks;

/// Finished tasks that wait for the loop; whoever has more waits.
const QUEUE_MAX: usize = 256;

/// Where a node listens if nobody says otherwise: any free port, as it dials out itself.
const LISTEN: [&str; 2] = ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"];

/// How often a configured gateway that is not connected is dialled.
const REDIAL: Duration = Duration::from_secs(3);

/// A node that is up.
#[derive(Debug, Clone)]
pub struct NodeReady {
    /// Its door for programs made for a Bee, if it has one.
    pub bee_api: Option<SocketAddr>,
    /// Its peer id as libp2p writes it.
    pub peer_id: String,
    /// Where it can be dialled, as multiaddresses with `/p2p`.
    pub addresses: Vec<String>,
    /// What it offers.
    pub capabilities: Capabilities,
    /// Where it keeps and looks for blobs: the mode, the Bee node and the batch.
    pub storage: String,
}

/// Runs a node until `shutdown`. `ready` is called once it is up.
///
/// # Errors
/// [`StartError`] in words for its owner.
pub async fn run(
    config: Config,
    ready: impl FnOnce(NodeReady),
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let (storage, storage_text) = Storage::open(&config.bee, Role::Node).await?;
    tracing::info!("storage: {storage_text}");
    let gateways: Vec<String> = config.node.gateways.iter().map(|text| multiaddr(text)).collect::<Result<_, _>>()?;
    let program = worker::locate(config.worker.as_deref())?;
    let worker_identity = Worker::spawn(&program, WorkerOptions::default())?.identify().await?;
    let capabilities = capabilities(&config, &worker_identity)?;
    let store = open_store(&config, &data_dir)?;
    let bee = bee_door::open(&config, &data_dir, &store, bee_door::NODE_PORT).await?;
    let identity = Identity::load_or_create(&data_dir.identity())?;
    let net_config = crate::blobs::net_config(&config, "node", &LISTEN, &worker_identity);
    let (net, events) = manyhands_net::start(identity, net_config).await?;

    let (feedback, fed_back) = mpsc::channel(QUEUE_MAX);
    let mut watch = Watch::new(store.clone(), leases_bytes(&capabilities));
    let me = net.node_id();
    let mut core = Prover::new(me, capabilities.clone());
    let clock = Clock::start();
    let scores = Scoreboard::open(data_dir.scores(), Trust::new(me, BTreeSet::new()));
    recall(&scores, &mut core, clock);
    if let Some(room) = watch.look().await {
        core.handle(clock.now(), Input::Room(room));
    }
    let watching = tokio::spawn(watch.run(feedback.clone()));
    let keeping = tokio::spawn(scores.clone().tend());
    let workers = Workers::default();
    let neighbour = Neighbour::new(manners(&config), capabilities.memory_bytes, capabilities.slots);
    let looking = tokio::spawn(Surroundings::new(workers.clone()).watch(neighbour, feedback.clone()));
    dial(&net, gateways, &feedback);
    let (peer_id, addresses) = called(&net).await;
    let options = WorkerOptions { memory_bytes: Some(capabilities.memory_bytes), threads: config.node.threads };
    let shell = Shell {
        core,
        tasks: Tasks {
            net: net.clone(),
            store: store.clone(),
            providers: Providers::new(net.clone(), store.clone(), storage.clone()),
            storage,
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            worker: program,
            workers,
            options,
            idle: Arc::new(Mutex::new(Vec::new())),
            pace: Arc::default(),
            scores: scores.clone(),
            feedback,
        },
        blobs: BlobServer::new(store, TransferLimits::default()),
        clock,
        running: Default::default(),
    };
    let bee_api = bee.as_ref().map(|bee| bee.address);
    ready(NodeReady { bee_api, peer_id, addresses, capabilities, storage: storage_text });
    shell.run(Sources { net: events, feedback: fed_back }, shutdown).await;
    // Ended, not only told to: whoever opens the store next must find it free.
    looking.abort();
    watching.abort();
    keeping.abort();
    let _ = watching.await;
    scores.close();
    bee_door::close(bee).await;
    net.shutdown().await;
    Ok(())
}

/// Connects to the configured gateways, now and whenever they are gone.
fn dial(net: &Net, gateways: Vec<String>, feedback: &mpsc::Sender<Feedback>) {
    for address in gateways {
        tokio::spawn(keep_dialling(net.clone(), address, feedback.clone()));
    }
}

/// The node's peer id, and where it can be dialled, with that.
async fn called(net: &Net) -> (String, Vec<String>) {
    let peer_id = peer_text(net.node_id());
    let own = net.addresses().await;
    let addresses = own.iter().map(|address| format!("{address}/p2p/{peer_id}")).collect();
    (peer_id, addresses)
}

/// What gateways said of this node before a restart counts on.
fn recall(scores: &Scoreboard, core: &mut Prover, clock: Clock) {
    let me = core.node_id();
    for signed in scores.of(&me) {
        let left_ms = signed.score.expires_s.saturating_sub(unix_s()).saturating_mul(1000);
        core.handle(clock.now(), Input::Score { signed: Box::new(signed), left_ms });
    }
}

/// What its owner asks of it.
fn manners(config: &Config) -> Manners {
    let node = &config.node;
    Manners {
        keep_free_bytes: node.keep_free_bytes.unwrap_or_else(machine::keep_free_bytes),
        busy_percent_max: node.busy_percent_max,
        pressure_percent_max: node.pressure_percent_max,
        on_battery: node.on_battery,
        hours: node.hours.clone(),
    }
}

/// What this machine offers.
fn capabilities(config: &Config, worker: &manyhands_proto::worker::Identity) -> Result<Capabilities, StartError> {
    let slots = config.node.slots;
    let memory_bytes = config.node.memory_bytes.unwrap_or_else(|| machine::memory_per_slot_bytes(slots));
    let largest = Po2::try_from(manyhands_zkvm::PO2_MAX).ok();
    let allowed = config.node.po2_max.into_iter().chain(largest).min();
    let too_little =
        || StartError::Memory { memory_mb: memory_bytes / 1_000_000, needed_mb: Po2::MIN.memory_bytes() / 1_000_000 };
    Ok(Capabilities {
        zkvm: worker.zkvm.clone(),
        po2_max: machine::po2_max(memory_bytes, allowed).ok_or_else(too_little)?,
        memory_bytes,
        slots,
        cores: machine::cores(),
        recursion: worker.recursion && memory_bytes >= RECURSION_MEMORY_BYTES,
        timings: Vec::new(),
    })
}

/// A node's store outlives the node; what its leases held when it stopped becomes cache, as no gateway waits for them any more.
fn open_store(config: &Config, data_dir: &DataDir) -> Result<ChunkStore, StartError> {
    let store = crate::store::open(config, &data_dir.chunks())?;
    let count = tasks::release_leases(&store)?;
    tracing::debug!(count, "blobs of leases from before the start are cache now");
    Ok(store)
}

/// Connects to a configured gateway, and again whenever that connection is gone.
async fn keep_dialling(net: Net, address: String, feedback: mpsc::Sender<Feedback>) {
    let mut known = None;
    let mut told_why = String::new();
    loop {
        let connected = match known {
            Some(node) => net.peers().await.iter().any(|peer| peer.node == node),
            None => false,
        };
        if !connected {
            match net.connect_to(&address).await {
                Ok(node) => {
                    known = Some(node);
                    told_why.clear();
                    tracing::info!(gateway = %node.short(), address, "connected");
                    let addresses = vec![without_peer(&address)];
                    let told = feedback.send(Feedback::Gateway(Holder { node, addresses })).await;
                    if told.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // Said once for each reason, not once for each attempt.
                    let why = error.to_string();
                    if why != told_why {
                        tracing::warn!("{why}; trying again every {} s", REDIAL.as_secs());
                        told_why = why;
                    }
                }
            }
        }
        tokio::time::sleep(REDIAL).await;
    }
}

fn without_peer(address: &str) -> String {
    address.split("/p2p/").next().unwrap_or(address).to_owned()
}

/// Takes `HOST:PORT` for a multiaddress over TCP.
fn multiaddr(text: &str) -> Result<String, StartError> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let wrong = || StartError::GatewayAddress { address: text.to_owned() };
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        let kind = if socket.is_ipv4() { "ip4" } else { "ip6" };
        return Ok(format!("/{kind}/{}/tcp/{}", socket.ip(), socket.port()));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    if is_name { Ok(format!("/dns/{host}/tcp/{port}")) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_named_in_any_usual_way() {
        let ok = |text: &str| multiaddr(text).unwrap();
        assert_eq!(ok("/ip4/1.2.3.4/tcp/5"), "/ip4/1.2.3.4/tcp/5");
        assert_eq!(ok("127.0.0.1:7170"), "/ip4/127.0.0.1/tcp/7170");
        assert_eq!(ok("[::1]:7170"), "/ip6/::1/tcp/7170");
        assert_eq!(ok("gateway.example:7170"), "/dns/gateway.example/tcp/7170");
        for wrong in ["", "gateway", "a b:1", "host:70000", ":1"] {
            assert!(matches!(multiaddr(wrong), Err(StartError::GatewayAddress { .. })), "{wrong}");
        }
    }
}
