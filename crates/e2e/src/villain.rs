//! Nodes that misbehave, over real sockets: they bid as any node does, and then do one thing wrong.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use manyhands_blob::transfer::{BlobServer, REQUEST_BYTES, Request as BlobRequest, TransferLimits, fetch};
use manyhands_blob::{ChunkStore, Owner, StoreError};
use manyhands_net::{BlobStream, Identity, Net, NetConfig, NetEvent};
use manyhands_node::worker::{Worker, WorkerOptions};
use manyhands_proto::limits::EPOCH_S;
use manyhands_proto::message::{Bid, Capabilities, Lease, Request, Response, Stage, Timing};
use manyhands_proto::score::Work;
use manyhands_proto::unit::UnitKind;
use manyhands_proto::worker::{Report, Task};
use manyhands_proto::{Binding, BlobRef, LeaseId, NodeId, Nonce, Po2, Score, SignedScore};
use manyhands_vbs::sign;
use serde_bytes::ByteBuf;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{program, until};

/// How a villain hands its receipt out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hands {
    /// Like an honest node.
    Honest,
    /// One byte a second.
    Drip,
    /// Half of it, then the stream ends.
    Half,
}

/// A node that misbehaves.
pub struct Villain {
    net: Net,
    identity: Identity,
    gateway: NodeId,
    store: ChunkStore,
    _dir: TempDir,
}

impl Villain {
    /// Connects to a gateway and introduces itself like any node.
    pub async fn connect(address: &str, hands: Hands) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 30)?;
        let config = NetConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()], ..NetConfig::default() };
        let identity = Identity::generate();
        let (net, events) = manyhands_net::start(identity.clone(), config).await?;
        tokio::spawn(serve(events, store.clone(), hands));
        let gateway = net.connect_to(address).await?;
        net.request(gateway, Request::Hello(capabilities()?)).await?;
        Ok(Self { net, identity, gateway, store, _dir: dir })
    }

    /// Who it is.
    pub fn id(&self) -> NodeId {
        self.net.node_id()
    }

    /// Bids until it gets a lease, and fetches the segment.
    pub async fn lease(&self) -> Result<(Lease, Vec<u8>)> {
        let lease = until("a lease for the villain", async || {
            let bid = Bid { capabilities: capabilities()?, slots_free: 1, score: None };
            match self.net.request(self.gateway, Request::Bid(bid)).await? {
                Response::Lease(lease) => Ok(Some(*lease)),
                Response::Refused { reason, .. } => bail!("the villain was found out too early: {reason}"),
                Response::Wait { .. } | Response::Ok | Response::Stale | Response::Scored(_) => Ok(None),
            }
        })
        .await?;
        let input = *lease.inputs.first().context("a lease without inputs")?;
        let stream = self.net.open_blob_stream(self.gateway).await?;
        let owner = Owner::new("loot")?;
        fetch(stream, &self.store, &owner, input, &TransferLimits::default()).await?;
        let segment = self.store.read_blob(&input, 64 << 20)?;
        Ok((lease, segment))
    }

    /// Bids with this score, and gives the answer.
    pub async fn bid_showing(&self, score: SignedScore) -> Result<Response> {
        let bid = Bid { capabilities: capabilities()?, slots_free: 1, score: Some(Box::new(score)) };
        Ok(self.net.request(self.gateway, Request::Bid(bid)).await?)
    }

    /// Says a score of somebody, as if it had seen his proof. The epoch is that of `binding`'s making.
    pub fn vouches_for(&self, peer: NodeId, receipt: &[u8], binding: Binding) -> Result<SignedScore> {
        let receipt = self.store.put_blob(&Owner::new("loot")?, receipt)?;
        vouched(&self.identity, peer, Po2::try_from(15)?, 1_000, receipt, binding)
    }

    /// Keeps a blob that it will be asked for.
    pub fn keeps(&self, blob: &[u8]) -> Result<()> {
        self.store.put_blob(&Owner::new("loot")?, blob)?;
        Ok(())
    }

    /// Beats once for a lease.
    pub async fn beat(&self, lease: LeaseId) -> Result<Response> {
        Ok(self.net.request(self.gateway, Request::Heartbeat { lease, stage: Stage::Work, remaining_ms: None }).await?)
    }

    /// Proves a segment under any nonce, beating for the lease meanwhile as an honest node does.
    pub async fn prove(&self, lease: LeaseId, segment: &[u8], nonce: Nonce) -> Result<Vec<u8>> {
        let mut work = std::pin::pin!(prove(segment, nonce));
        loop {
            tokio::select! {
                receipt = &mut work => return receipt,
                () = tokio::time::sleep(Duration::from_secs(5)) => drop(self.beat(lease).await?),
            }
        }
    }

    /// Stores `receipt` and says that the lease is done; gives the gateway's answer, if it gives one.
    pub async fn deliver(&self, lease: LeaseId, receipt: &[u8]) -> Result<Option<Response>> {
        let blob = self.store.put_blob(&Owner::new("loot")?, receipt)?;
        Ok(self.claim(lease, blob).await)
    }

    /// Says that a lease is done, whatever is in the store.
    pub async fn claim(&self, lease: LeaseId, receipt: BlobRef) -> Option<Response> {
        self.net.request(self.gateway, Request::Done { lease, receipt, elapsed_ms: 1 }).await.ok()
    }
}

/// What `verifier` says now of a proof of `peer`'s, seen or not.
///
/// # Errors
/// The clock stands before 1970.
pub fn vouched(
    verifier: &Identity,
    peer: NodeId,
    po2: Po2,
    elapsed_ms: u64,
    receipt: BlobRef,
    binding: Binding,
) -> Result<SignedScore> {
    let issued_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let score = Score {
        peer,
        verifier: verifier.node_id(),
        po2,
        elapsed_ms,
        receipt,
        work: Work::Job,
        index: 0,
        binding,
        issued_s,
        expires_s: issued_s + EPOCH_S,
    };
    Ok(sign(score, |bytes| verifier.sign(bytes)))
}

async fn prove(segment: &[u8], nonce: Nonce) -> Result<Vec<u8>> {
    let mut worker = Worker::spawn(&program("MANYHANDS_WORKER")?, WorkerOptions::default())?;
    match worker.run(&Task::Prove { segment: ByteBuf::from(segment), nonce }).await? {
        Report::Receipt { receipt, .. } => Ok(receipt.into_vec()),
        other => bail!("the worker gave {other:?}"),
    }
}

fn capabilities() -> Result<Capabilities> {
    Ok(Capabilities {
        zkvm: manyhands_zkvm::ZKVM_VERSION.to_owned(),
        po2_max: Po2::try_from(16)?,
        memory_bytes: 2 << 30,
        slots: 1,
        cores: 1,
        recursion: false,
        // The longest that a gateway believes, so that a villain's proof on a busy machine is refused for what it is and not for being late.
        timings: vec![Timing { kind: UnitKind::Prove, po2: Po2::try_from(16)?, elapsed_ms: 560_000 }],
    })
}

async fn serve(mut events: mpsc::Receiver<NetEvent>, store: ChunkStore, hands: Hands) {
    let server = BlobServer::new(store.clone(), TransferLimits::default());
    while let Some(event) = events.recv().await {
        match event {
            NetEvent::BlobStream { stream, .. } if hands == Hands::Honest => {
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream).await.map(|_| ()) });
            }
            NetEvent::BlobStream { stream, .. } => {
                let store = store.clone();
                tokio::spawn(async move { serve_badly(stream, store, hands).await });
            }
            NetEvent::Request { reply, .. } => reply.send(Response::Ok),
            _ => {}
        }
    }
}

/// Answers a request as the protocol says, but slowly or by half.
async fn serve_badly(mut stream: BlobStream, store: ChunkStore, hands: Hands) -> Result<()> {
    let mut request = [0; REQUEST_BYTES];
    stream.read_exact(&mut request).await?;
    let blob = BlobRequest::decode(&request)?.blob;
    let answer = answer(&store, &blob)?;
    if hands == Hands::Half {
        stream.write_all(answer.get(..answer.len() / 2).unwrap_or_default()).await?;
        stream.close().await?;
        return Ok(());
    }
    for byte in answer {
        stream.write_all(&[byte]).await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// The whole answer for a blob: status Ok, then its chunks in pre-order.
fn answer(store: &ChunkStore, blob: &BlobRef) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0];
    let mut reader = store.reader(blob)?;
    while let Some(chunk) = reader.next_chunk()? {
        let wire = chunk.wire();
        bytes.extend(u16::try_from(wire.len()).unwrap_or_default().to_le_bytes());
        bytes.extend(wire);
    }
    Ok(bytes)
}
