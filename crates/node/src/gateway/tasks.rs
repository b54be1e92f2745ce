//! What a gateway does off its event loop: execute a guest, collect a result, put a receipt together.

use std::path::PathBuf;
use std::sync::Arc;

use manyhands_blob::{ChunkStore, StoreError};
use manyhands_core::requester::Input;
use manyhands_core::{Check, Checked, Parts, Refusal};
use manyhands_net::Net;
use manyhands_proto::limits::{PROGRAM_BYTES_MAX, RECEIPT_BYTES_MAX};
use manyhands_proto::message::{Blame, Holder};
use manyhands_proto::worker::{Execution, KeccakReport, SegmentReport, Task};
use manyhands_proto::{BlobRef, Digest, JobId, LeaseId, NodeId, Po2, Unit};
use manyhands_zkvm::{AssumptionReceipt, composite_receipt, succinct_receipt};
use serde_bytes::ByteBuf;
use tokio::sync::{Semaphore, mpsc};

use super::inputs::Held;
use super::jobs_db::{JobRow, Piece};
use super::owners::{claims_of, owner_of, receipts};
use super::shelf::Shelf;
use super::turns::Turns;
use crate::blobs::{BlobError, on_store, read_input};
use crate::proofs::{self, Zkvm};
use crate::providers::Providers;
use crate::store::RoomWait;
use crate::worker::{Heard, Worker, WorkerError, WorkerOptions};

/// What a task tells the event loop.
#[derive(Debug)]
pub(crate) enum Feedback {
    /// For the state machine.
    Core(Box<Input<Zkvm>>),
    /// The guest wrote something.
    Log { job: JobId, bytes: Vec<u8> },
    /// A segment was cut, or a keccak request made, and stored.
    Piece { job: JobId, piece: Piece },
    /// The guest ended well.
    Executed { job: JobId, execution: Box<Execution> },
    /// The guest's run was cut off, through no fault of its own as far as can be seen.
    CutOff { job: JobId, reason: String },
    /// The blob of a segment or keccak request is not in the store any more.
    Lost { job: JobId, unit: Unit, blob: BlobRef, reason: String },
    /// The job has ended, and its blobs could not be released.
    StillHeld { job: JobId },
    /// Where the gateway can be dialled now.
    Addresses(Vec<String>),
    /// The receipt is stored.
    Receipt { job: JobId, receipt: BlobRef },
}

/// A result that a node says it has.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) node: NodeId,
    pub(crate) is_here: bool,
    pub(crate) lease: LeaseId,
    pub(crate) receipt: BlobRef,
    pub(crate) check: Check<Zkvm>,
}

/// Why a claimed result is not here.
enum Unfetched {
    Refused(Refusal),
    /// Our own disk or store is full, or our Bee node is gone and there is no other way: every other result would fail in the same way.
    General(String),
}

/// What tasks share.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    pub(crate) net: Net,
    pub(crate) store: ChunkStore,
    pub(crate) providers: Providers,
    /// Where what is stored goes beside.
    pub(crate) shelf: Shelf,
    pub(crate) worker: PathBuf,
    pub(crate) feedback: mpsc::Sender<Feedback>,
    /// Where large inputs lie while a guest reads them.
    pub(crate) scratch: PathBuf,
    /// Guests executed at the same time: one, as execution takes a core and streams into the disk.
    pub(crate) executions: Arc<Semaphore>,
    /// Results fetched at the same time. Not counted among the checks: a node that drips must not hold those up.
    pub(crate) fetches: Turns,
    /// Results checked at the same time: each takes a receipt's memory and some 20 ms of a core.
    pub(crate) checks: Arc<Semaphore>,
}

impl Tasks {
    pub(super) async fn tell(&self, input: Input<Zkvm>) {
        // The loop ends before its tasks only at shutdown, when nobody needs their word.
        let _ = self.feedback.send(Feedback::Core(Box::new(input))).await;
    }

    /// Runs blocking work on the store.
    pub(crate) async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ChunkStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        on_store(&self.store, work).await
    }

    /// Steps I and II: runs the guest; each segment and keccak request is stored as it appears.
    pub(crate) async fn execute(self, row: JobRow) {
        let Ok(_turn) = self.executions.acquire().await else { return };
        let job = row.job;
        match self.run_guest(&row).await {
            Ok(execution) => {
                let _ = self.feedback.send(Feedback::Executed { job, execution: Box::new(execution) }).await;
            }
            Err(CutShort::Worker(error @ WorkerError::Died { .. })) => {
                let _ = self.feedback.send(Feedback::CutOff { job, reason: error.to_string() }).await;
            }
            Err(CutShort::Worker(error)) => {
                self.tell(Input::Executed { job, result: Err(error.to_string()) }).await;
            }
            Err(CutShort::Ours(reason)) => self.tell(Input::Executed { job, result: Err(reason) }).await,
        }
    }

    /// Looks whether the blobs that a guest left are there and whole, and says so if they are not.
    pub(crate) async fn look_at(self, job: JobId, pieces: Vec<Piece>) {
        for Piece { unit, blob, key, .. } in pieces {
            let read = self.on_store(move |store| read_input(store, blob, key).map(drop));
            let Some(error) = read.await.err().filter(StoreError::is_absence) else { continue };
            tracing::warn!(%job, %unit, blob = %blob.reference.short(), %error, "what it works on is lost");
            let reason = format!("{} is lost: {error}", named(unit));
            let _ = self.feedback.send(Feedback::Lost { job, unit, blob, reason }).await;
        }
    }

    /// A job's program and input.
    pub(super) async fn program(&self, row: &JobRow) -> Result<(Vec<u8>, Held), String> {
        let program = row.program;
        let read = self.on_store(move |store| store.read_blob(&program, PROGRAM_BYTES_MAX));
        let program = read.await.map_err(|error| error.to_string())?;
        Ok((program, self.input(row.input).await.map_err(|error| error.to_string())?))
    }

    async fn run_guest(&self, row: &JobRow) -> Result<Execution, CutShort> {
        let (program, held) = self.program(row).await?;
        let task = Task::Execute {
            program: ByteBuf::from(program),
            input: held.input.clone(),
            assumptions: row.claims(),
            po2: row.spec.po2,
            cycles_max: row.cycles_max,
            blobs: true,
        };
        for assumed in row.assumptions.iter().filter(|_| row.circle.is_none()) {
            let shelved = self.shelve(assumed.receipt).await;
            shelved.map_err(|why| format!("an assumption's receipt could not be uploaded: {why}"))?;
        }
        let mut worker = Worker::spawn(&self.worker, WorkerOptions::default())?;
        worker.begin(&task).await?;
        loop {
            // Returning early drops the worker, which ends the guest.
            match worker.hear().await? {
                Heard::Segment(segment) => self.keep_piece(row.job, row.circle.is_some(), segment.into()).await?,
                Heard::Keccak(request) => self.keep_piece(row.job, row.circle.is_some(), request.into()).await?,
                Heard::Log(bytes) => drop(self.feedback.send(Feedback::Log { job: row.job, bytes }).await),
                Heard::Ended(execution) => return Ok(*execution),
            }
        }
    }

    pub(super) async fn keep_piece(&self, job: JobId, is_private: bool, fresh: Fresh) -> Result<(), String> {
        let Fresh { unit, po2, claim, bytes } = fresh;
        let name = named(unit);
        let kept = if is_private {
            self.keep_sealed(owner_of(job), bytes).await.map(|(blob, key)| (blob, Some(key)))
        } else {
            self.keep(owner_of(job), bytes).await.map(|blob| (blob, None))
        };
        let (blob, key) = kept.map_err(|error| format!("{name} could not be stored: {error}"))?;
        if key.is_none() {
            self.shelve(blob).await.map_err(|why| format!("{name} could not be uploaded: {why}"))?;
        }
        let piece = Piece { unit, po2, claim, blob, key };
        let _ = self.feedback.send(Feedback::Piece { job, piece }).await;
        Ok(())
    }

    /// Step IV: fetches a claimed result unless it is here, checks it, and says what came of it.
    pub(crate) async fn collect(self, claimed: Claimed) {
        let Claimed { node, is_here, lease, receipt, check } = claimed;
        let fetched = if is_here { Ok(()) } else { self.fetch_receipt(node, lease.job, receipt).await };
        let result = match fetched {
            Ok(()) => self.check_stored(lease, receipt, check).await,
            Err(Unfetched::Refused(refusal)) => Err(refusal),
            Err(Unfetched::General(reason)) => {
                let reason = format!("this gateway cannot keep receipts: {reason}");
                return self.tell(Input::Broken { job: lease.job, reason }).await;
            }
        };
        if result.as_ref().is_err_and(|refusal| refusal.blame == Blame::Peer) {
            // Kept no longer, nor is the room for the rest of it; that it cannot be let go changes nothing for the lease.
            let let_go = self.on_store(move |store| store.release(&claims_of(lease.job), &receipt.reference)).await;
            let_go.map_or_else(|error| tracing::warn!(%lease, %error, "a refused result could not be released"), drop);
        }
        self.tell(Input::Checked { node, lease, result }).await;
    }

    async fn check_stored(
        &self,
        lease: LeaseId,
        receipt: BlobRef,
        check: Check<Zkvm>,
    ) -> Result<Checked<Zkvm>, Refusal> {
        let stopped = || Refusal { blame: Blame::Us, reason: "the check was interrupted".to_owned() };
        let Ok(_turn) = self.checks.acquire().await else { return Err(stopped()) };
        let store = self.store.clone();
        let work = move || {
            let ours = |error: StoreError| Refusal { blame: Blame::Us, reason: error.to_string() };
            let bytes = store.read_blob(&receipt, RECEIPT_BYTES_MAX).map_err(ours)?;
            let checked = proofs::check(&bytes, receipt, &check)?;
            // From here on it is the job's own, and on disk as such before anybody is told.
            store.hold(&owner_of(lease.job), &receipt).map_err(ours)?;
            Ok(checked)
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Gets a receipt from its maker.
    async fn fetch_receipt(&self, node: NodeId, job: JobId, receipt: BlobRef) -> Result<(), Unfetched> {
        let holder = Holder { node, addresses: Vec::new() };
        let mut wait = RoomWait::default();
        let error = loop {
            let Some(turn) = self.fetches.take(node).await else { return Ok(()) };
            let fetched = self.providers.fetch(&claims_of(job), receipt, std::slice::from_ref(&holder)).await;
            drop(turn);
            let Err(error) = fetched else { return Ok(()) };
            let Some(ours) = error.store() else { break error };
            if !wait.is_worth_it(ours).await {
                break error;
            }
        };
        if error.is_general() {
            return Err(Unfetched::General(error.to_string()));
        }
        let mut blame = error.blame();
        if let Some(StoreError::SizeMismatch { .. }) = error.store() {
            // The blob that it named is here, and is another one.
            blame = Blame::Peer;
        }
        if blame == Blame::Network && matches!(error, BlobError::Fetch { .. }) && self.is_connected(node).await {
            // It said that the receipt is there, its connection works, and yet it does not hand it over.
            blame = Blame::Peer;
        }
        Err(Unfetched::Refused(Refusal { blame, reason: format!("its receipt could not be fetched: {error}") }))
    }

    /// Releases all blobs of a job that has ended, but its receipt. They stay as cache, for the next job of the same program, if they may;
    /// what was not verified is nothing worth.
    pub(crate) async fn let_go(self, job: JobId, may_cache: bool) {
        let released = self.on_store(move |store| {
            store.release_owner(&claims_of(job))?;
            let owner = owner_of(job);
            if may_cache { store.release_owner_to_cache(&owner) } else { store.release_owner(&owner) }
        });
        if let Err(error) = released.await {
            tracing::warn!(%job, %error, "a job's blobs could not be released; trying again");
            let _ = self.feedback.send(Feedback::StillHeld { job }).await;
        }
    }

    async fn is_connected(&self, node: NodeId) -> bool {
        // A connection that broke just now shows within a moment.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        self.net.peers().await.iter().any(|peer| peer.node == node)
    }

    /// Steps V and VI: puts the receipt together, verifies it, stores it.
    pub(crate) async fn assemble(self, row: JobRow, parts: Parts<Zkvm>, journal: Vec<u8>) {
        let (job, image_id, store) = (row.job, row.image_id, self.store.clone());
        let work = move || build_receipt(&store, parts, &journal, image_id);
        let built = tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err("it was interrupted".to_owned()));
        let result = match built {
            Ok(bytes) => self.keep(receipts(), bytes).await.map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        if let Ok(receipt) = result {
            // What a private job says is for its requester, and no archive forgets.
            if row.circle.is_none() {
                self.shelve_receipt(receipt).await;
            }
            let _ = self.feedback.send(Feedback::Receipt { job, receipt }).await;
        }
        self.tell(Input::Assembled { job, result: result.map(drop) }).await;
    }
}

/// What a worker says of a segment or of a keccak request, before it is stored.
#[derive(Debug)]
pub(crate) struct Fresh {
    unit: Unit,
    po2: Po2,
    claim: Vec<u8>,
    bytes: Vec<u8>,
}

impl From<SegmentReport> for Fresh {
    fn from(report: SegmentReport) -> Self {
        let (claim, bytes) = (report.claim.into_vec(), report.blob.into_vec());
        Self { unit: Unit::Prove(report.index), po2: report.po2, claim, bytes }
    }
}

impl From<KeccakReport> for Fresh {
    fn from(report: KeccakReport) -> Self {
        let (claim, bytes) = (report.claim.0.to_vec(), report.blob.into_vec());
        Self { unit: Unit::Keccak(report.index), po2: report.po2, claim, bytes }
    }
}

/// What a unit works on, for people.
pub(super) fn named(unit: Unit) -> String {
    let index = unit.range().start;
    if matches!(unit, Unit::Keccak(_)) { format!("keccak request {index}") } else { format!("segment {index}") }
}

/// Why a guest's run came to no end.
enum CutShort {
    /// The worker's word, or its death.
    Worker(WorkerError),
    /// Our own store's or Bee node's.
    Ours(String),
}

impl From<WorkerError> for CutShort {
    fn from(error: WorkerError) -> Self {
        Self::Worker(error)
    }
}

impl From<String> for CutShort {
    fn from(reason: String) -> Self {
        Self::Ours(reason)
    }
}

fn build_receipt(store: &ChunkStore, parts: Parts<Zkvm>, journal: &[u8], image_id: Digest) -> Result<Vec<u8>, String> {
    let read = |blob: BlobRef| store.read_blob(&blob, RECEIPT_BYTES_MAX).map_err(std::io::Error::other);
    let built = match parts {
        Parts::Composite(segments, assumptions) => {
            let assumption = |blob| {
                let bytes = read(blob).map_err(|error| error.to_string())?;
                AssumptionReceipt::decode(&bytes).map_err(|error| error.to_string())
            };
            let assumptions: Vec<_> = assumptions.into_iter().map(assumption).collect::<Result<_, _>>()?;
            composite_receipt(segments.into_iter().map(|(_, blob)| read(blob)), &assumptions, journal, image_id)
        }
        Parts::Succinct(_, blob) => {
            let bytes = read(blob).map_err(|error| error.to_string())?;
            succinct_receipt(&bytes, journal, image_id)
        }
    };
    built.map_err(|error| with_causes(&error))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::loopback::keeper;
    use crate::swarm::Storage;

    /// The tasks of a gateway with this store, and what its event loop would hear.
    pub(crate) async fn tasks(store: ChunkStore, storage: Storage) -> (Tasks, mpsc::Receiver<Feedback>) {
        let (net, _) = keeper(store.clone()).await;
        let (feedback, fed_back) = mpsc::channel(16);
        let tasks = Tasks {
            net: net.clone(),
            providers: Providers::new(net, store.clone(), storage.clone()),
            shelf: Shelf::of(storage, &store).0,
            store,
            worker: PathBuf::new(),
            feedback,
            scratch: std::env::temp_dir(),
            executions: Arc::new(Semaphore::new(1)),
            fetches: Turns::new(),
            checks: Arc::new(Semaphore::new(1)),
        };
        (tasks, fed_back)
    }

    /// A plain and an encrypted one: found whole, then lost.
    #[tokio::test]
    async fn a_segment_that_is_lost_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 24).unwrap();
        let (tasks, mut fed_back) = tasks(store.clone(), Storage::Embedded).await;
        let job = JobId([1; 16]);
        let plain = tasks.keep(owner_of(job), vec![5; 20_000]).await.unwrap();
        let (sealed, key) = tasks.keep_sealed(owner_of(job), vec![6; 20_000]).await.unwrap();
        let piece = |unit, blob, key| Piece { unit, po2: Po2::MIN, claim: Vec::new(), blob, key };
        for lost in [piece(Unit::Prove(3), plain, None), piece(Unit::Keccak(3), sealed, Some(key))] {
            let (expected, name) = (lost.unit, named(lost.unit));
            tasks.clone().look_at(job, vec![lost.clone()]).await;
            assert!(fed_back.try_recv().is_err(), "it is there");
            store.release(&owner_of(job), &lost.blob.reference).unwrap();
            tasks.clone().look_at(job, vec![lost]).await;
            let told = fed_back.try_recv().unwrap();
            assert!(
                matches!(&told, Feedback::Lost { job: of, unit, reason, .. }
                    if *of == job && *unit == expected && reason.starts_with(&format!("{name} is lost"))),
                "{told:?}"
            );
        }
    }
}
