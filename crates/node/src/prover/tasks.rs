//! What a node does off its event loop: ask a gateway, fetch inputs, let the worker work.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use manyhands_blob::{ChunkStore, Owner, StoreError};
use manyhands_core::Room;
use manyhands_core::prover::{Input, Tag};
use manyhands_net::Net;
use manyhands_proto::message::{Holder, Lease, Request};
use manyhands_proto::worker::{Report, Task};
use manyhands_proto::{BlobRef, JobId, LeaseId, Po2, SignedScore, Unit};
use serde_bytes::ByteBuf;
use tokio::sync::{Mutex, Semaphore, mpsc};

use super::pace::Pace;
use super::surroundings::Workers;
use crate::blobs::{on_store, read_input, root_of};
use crate::providers::Providers;
use crate::scores::Scoreboard;
use crate::store::keep;
use crate::swarm::{Storage, with_advice};
use crate::worker::{Worker, WorkerError, WorkerOptions};

/// Leases whose inputs a node fetches at the same time. Half of what a holder gives one peer: a node of many slots would hear Busy from its
/// gateway otherwise, and lose the lease.
pub(crate) const FETCHES_MAX: usize = 4;

/// What a task tells the event loop.
#[derive(Debug)]
pub(crate) enum Feedback {
    /// For the state machine.
    Core(Input),
    /// A configured gateway is connected.
    Gateway(Holder),
    /// Whether there is room for another lease has changed.
    Room(Room),
}

/// What tasks share.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    pub(crate) net: Net,
    pub(crate) store: ChunkStore,
    pub(crate) providers: Providers,
    pub(crate) storage: Storage,
    /// Leases whose inputs are fetched at the same time; see [`FETCHES_MAX`].
    pub(crate) fetches: Arc<Semaphore>,
    pub(crate) worker: PathBuf,
    /// Those that were started.
    pub(crate) workers: Workers,
    pub(crate) options: WorkerOptions,
    /// Workers without a task, at most one for each slot.
    pub(crate) idle: Arc<Mutex<Vec<Worker>>>,
    /// What units need of the processor.
    pub(crate) pace: Arc<Mutex<Pace>>,
    /// What verifiers say of nodes, this one among them.
    pub(crate) scores: Scoreboard,
    pub(crate) feedback: mpsc::Sender<Feedback>,
}

/// Owner of a lease's inputs. Each attempt has its own: the inputs of one that was stopped are let go while the next may fetch them.
pub(crate) fn inputs_of(lease: LeaseId) -> Owner {
    // 32 digits of job and at most 28 of unit and attempt are always a name; job zero, which nobody has, stands for the impossible.
    let unit = match lease.unit {
        Unit::Prove(index) => format!("p{index:x}"),
        Unit::Lift(index) => format!("l{index:x}"),
        Unit::Join { start, end, .. } => format!("j{start:x}-{end:x}"),
        Unit::Resolve { index, .. } => format!("r{index:x}"),
        Unit::Keccak(index) => format!("k{index:x}"),
        Unit::Union { start, end, .. } => format!("u{start:x}-{end:x}"),
    };
    Owner::new(format!("{} {unit} {:x}", lease.job, lease.attempt)).unwrap_or_else(|_| Owner::from(JobId::default()))
}

/// Owner of the receipts that this node made, until they are handed over. A gateway calls its own otherwise.
pub(crate) fn made() -> Owner {
    Owner::new(MADE).unwrap_or_else(|_| Owner::from(JobId::default()))
}

const MADE: &str = "made";

/// Owner of the last receipt of this size that has a score.
fn scored(po2: Po2) -> Owner {
    Owner::cut(&format!("scored {po2}"))
}

/// Whether the owner is one of [`inputs_of`] or [`made`]. Others, such as a user's, are not ours to release.
fn is_of_lease(owner: &Owner) -> bool {
    let mut words = owner.as_str().split(' ');
    let (job, unit, attempt) = (words.next(), words.next(), words.next());
    let is_job = |word: &str| word.parse::<JobId>().is_ok();
    let is_unit = |word: &str| word.starts_with(['p', 'l', 'j', 'r', 'k', 'u']) && word.len() > 1;
    let is_attempt = |word: &str| u32::from_str_radix(word, 16).is_ok();
    owner.as_str() == MADE
        || (words.next().is_none()
            && job.is_some_and(is_job)
            && unit.is_some_and(is_unit)
            && attempt.is_some_and(is_attempt))
}

/// Releases to the cache all that leases hold. At the start none is under way.
pub(crate) fn release_leases(store: &ChunkStore) -> Result<usize, StoreError> {
    let owners = store.owners()?;
    owners.iter().filter(|owner| is_of_lease(owner)).map(|owner| store.release_owner_to_cache(owner)).sum()
}

/// The holders of an input in the order in which to ask them. Those before the last made the inputs, in the inputs' order, so each input
/// begins with another.
fn in_turn(holders: &[Holder], place: usize) -> Vec<Holder> {
    let mut order = holders.to_vec();
    if let Some((_, makers)) = order.split_last_mut()
        && !makers.is_empty()
    {
        makers.rotate_left(place % makers.len());
    }
    order
}

impl Tasks {
    async fn tell(&self, input: Input) {
        // The loop ends before its tasks only at shutdown, when nobody needs their word.
        let _ = self.feedback.send(Feedback::Core(input)).await;
    }

    pub(crate) async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ChunkStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        on_store(&self.store, work).await
    }

    /// Asks a gateway; whatever happens, the state machine hears of it.
    pub(crate) async fn ask(self, to: Holder, request: Request, tag: Tag) {
        let response = match self.net.dial(&to).await {
            Ok(()) => self.net.request(to.node, request).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &response {
            tracing::debug!(gateway = %to.node.short(), error, "a question was not answered");
        }
        self.tell(Input::Answered { tag, response: response.ok() }).await;
    }

    /// Gets a lease's inputs into the store.
    pub(crate) async fn fetch(self, lease: Box<Lease>) {
        let Ok(_turn) = self.fetches.acquire().await else { return };
        let mut result = Ok(());
        for (place, input) in lease.inputs.iter().enumerate() {
            let holders = in_turn(&lease.holders, place);
            let owner = inputs_of(lease.id);
            let fetched = match root_of(*input, lease.key) {
                Some(root) => self.providers.fetch_sealed(&owner, root, input.size_bytes, &holders).await,
                None => self.providers.fetch(&owner, *input, &holders).await,
            };
            if let Err(error) = fetched {
                result = Err(error.to_string());
                break;
            }
        }
        self.tell(Input::Fetched { lease: lease.id, result }).await;
    }

    /// Does a lease's work. Dropping the future kills the worker at once.
    pub(crate) async fn work(self, lease: Box<Lease>) {
        let id = lease.id;
        let result = self.make(&lease).await;
        self.let_go_inputs(id).await;
        match &result {
            Ok((receipt, elapsed_ms)) => {
                tracing::info!(lease = %id, seconds = elapsed_ms / 1000, bytes = receipt.size_bytes, "made");
            }
            Err(error) => tracing::warn!(lease = %id, error, "the worker failed"),
        }
        self.tell(Input::Made { lease: id, result }).await;
    }

    /// Releases a lease's inputs. They stay as cache, for whoever asks this node for them.
    pub(crate) async fn let_go_inputs(&self, lease: LeaseId) {
        if let Err(error) = self.on_store(move |store| store.release_owner_to_cache(&inputs_of(lease))).await {
            tracing::warn!(%lease, %error, "a lease's inputs could not be released");
        }
    }

    /// Releases a receipt that was handed over or is needed no more. As cache it is there for its lift or join.
    pub(crate) async fn let_go_receipt(self, receipt: BlobRef) {
        if let Err(error) = self.on_store(move |store| store.release_to_cache(&made(), &receipt.reference)).await {
            tracing::warn!(%error, "a receipt could not be released");
        }
    }

    /// Keeps what a gateway said of a receipt, and the receipt itself, which others may ask for as long as that counts. One of each size.
    pub(crate) async fn keep_score(&self, signed: SignedScore) {
        let (receipt, owner) = (signed.score.receipt, scored(signed.score.po2));
        let held = self.on_store(move |store| {
            store.release_owner_to_cache(&owner)?;
            store.hold(&owner, &receipt)
        });
        if let Err(error) = held.await {
            tracing::warn!(%error, "a scored receipt is not kept; others cannot check the score");
        }
        let scores = self.scores.clone();
        let kept = tokio::task::spawn_blocking(move || scores.keep(signed)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "the score cannot be written down");
        }
    }

    async fn make(&self, lease: &Lease) -> Result<(BlobRef, u64), String> {
        let (inputs, key) = (lease.inputs.clone(), lease.key);
        let read = self.on_store(move |store| {
            inputs.iter().map(|input| read_input(store, *input, key)).collect::<Result<Vec<_>, _>>()
        });
        let inputs = read.await.map_err(|error| error.to_string())?;
        let task = task_of(lease, inputs).ok_or("the lease has the wrong number of inputs")?;
        let (receipt, elapsed_ms) = self.run(lease, &task).await.map_err(|error| error.to_string())?;
        let blob = keep(&self.store, made(), receipt).await.map_err(|error| error.to_string())?;
        self.hand_in(blob).await.map(|()| (blob, elapsed_ms))
    }

    /// Where blobs are kept in the Bee node only, a receipt is there before anybody hears of it.
    async fn hand_in(&self, receipt: BlobRef) -> Result<(), String> {
        let Storage::BeeOnly(depot) = &self.storage else { return Ok(()) };
        let uploaded = depot.put(&self.store, receipt).await;
        if let Err(error) = uploaded {
            self.clone().let_go_receipt(receipt).await;
            return Err(format!("the receipt could not be uploaded: {}", with_advice(&error)));
        }
        Ok(())
    }

    /// Runs a task on an idle worker or a new one; a worker that lives on is kept for the next.
    async fn run(&self, lease: &Lease, task: &Task) -> Result<(Vec<u8>, u64), WorkerError> {
        let idle = self.idle.lock().await.pop();
        let mut worker = match idle {
            Some(worker) => worker,
            None => Worker::spawn(&self.worker, self.options)?,
        };
        self.workers.add(worker.process_id());
        let result = self.watch(&mut worker, lease, task).await;
        if matches!(result, Ok(_) | Err(WorkerError::Failed(_))) {
            self.idle.lock().await.push(worker);
        }
        match result? {
            Report::Receipt { receipt, elapsed_ms } => Ok((receipt.into_vec(), elapsed_ms)),
            _ => Err(WorkerError::Protocol { what: "an answer to another question".to_owned() }),
        }
    }

    /// Runs a task to its final report, and tells on the way how long it will still take.
    async fn watch(&self, worker: &mut Worker, lease: &Lease, task: &Task) -> Result<Report, WorkerError> {
        let mut run = self.pace.lock().await.begin(lease.id.unit.kind(), lease.po2);
        let begin = Instant::now();
        let passed_ms = || u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        worker.begin(task).await?;
        loop {
            let report = worker.report().await?;
            if let Report::Progress { cpu_ms } = report {
                if let Some(remaining_ms) = run.note(passed_ms(), cpu_ms) {
                    self.tell(Input::Progress { lease: lease.id, remaining_ms }).await;
                }
            } else if report.is_final() {
                self.pace.lock().await.end(&run, passed_ms());
                return Ok(report);
            }
        }
    }
}

fn task_of(lease: &Lease, inputs: Vec<Vec<u8>>) -> Option<Task> {
    let mut inputs = inputs.into_iter().map(ByteBuf::from);
    Some(match lease.id.unit {
        Unit::Prove(_) => Task::Prove { segment: inputs.next()?, nonce: lease.nonce },
        Unit::Lift(_) => Task::Lift { receipt: inputs.next()? },
        Unit::Join { .. } => Task::Join { left: inputs.next()?, right: inputs.next()? },
        Unit::Resolve { .. } => Task::Resolve { conditional: inputs.next()?, assumption: inputs.next()? },
        Unit::Keccak(_) => Task::Keccak { request: inputs.next()? },
        Unit::Union { .. } => Task::Union { left: inputs.next()?, right: inputs.next()? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::keeper;
    use crate::stub::{Stub, no};
    use crate::swarm::Depot;
    use crate::swarm::tests::bee_that_takes_all;
    use manyhands_vbs::Trust;

    #[test]
    fn every_lease_has_inputs_of_its_own() {
        let largest = Unit::Join { start: u32::MAX, mid: u32::MAX, end: u32::MAX };
        let resolve = Unit::Resolve { segments: u32::MAX, index: 1 };
        let units = [Unit::Prove(1), Unit::Lift(1), Unit::Join { start: 1, mid: 2, end: 3 }, largest, resolve];
        let keccaks = [Unit::Keccak(1), Unit::Union { start: 1, mid: 2, end: 3 }];
        let leases = units
            .into_iter()
            .chain(keccaks)
            .flat_map(|unit| [1, 2, u32::MAX].map(|attempt| LeaseId { job: JobId([0xff; 16]), unit, attempt }));
        let owners: std::collections::BTreeSet<Owner> = leases.map(inputs_of).collect();
        assert_eq!(owners.len(), 21);
        assert!(!owners.contains(&Owner::from(JobId::default())), "a name is too long");
        assert!(owners.iter().all(is_of_lease));
    }

    #[test]
    fn at_the_start_leases_become_cache_and_what_others_hold_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 24).unwrap();
        let put = |owner: &Owner, text: &str| store.put_blob(owner, text.as_bytes()).unwrap().reference;
        let lease = LeaseId { job: JobId([7; 16]), unit: Unit::Prove(3), attempt: 1 };
        let input = put(&inputs_of(lease), "an input");
        let receipt = put(&made(), "a receipt");
        let digits = "ab".repeat(16);
        let others =
            ["cli", "batch-7", "receipts", "made 2", &format!("job {digits}"), &format!("{digits} x 1"), &digits];
        for name in others {
            put(&Owner::new(name).unwrap(), name);
        }
        let pinned = put(&made(), "pinned");
        store.pin(&pinned).unwrap();
        assert_eq!(release_leases(&store).unwrap(), 3);
        assert_eq!(std::collections::BTreeSet::from_iter(store.cached().unwrap()), [input, receipt].into());
        let left: Vec<String> = store.owners().unwrap().iter().map(Owner::to_string).collect();
        assert_eq!(left, std::collections::BTreeSet::from(others).into_iter().collect::<Vec<_>>());
        assert!(store.is_pinned(&pinned).unwrap());
    }

    /// A node whose store has `limit_bytes`, and what its event loop would hear.
    async fn node(limit_bytes: u64) -> (tempfile::TempDir, Tasks, mpsc::Receiver<Feedback>) {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), limit_bytes).unwrap();
        let (net, _) = keeper(store.clone()).await;
        let (feedback, fed_back) = mpsc::channel(16);
        let tasks = Tasks {
            net: net.clone(),
            providers: Providers::new(net, store.clone(), Storage::Embedded),
            storage: Storage::Embedded,
            store,
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            worker: PathBuf::new(),
            workers: Workers::default(),
            options: WorkerOptions::default(),
            idle: Arc::default(),
            pace: Arc::default(),
            scores: Scoreboard::open(dir.path().join("scores"), Trust::default()),
            feedback,
        };
        (dir, tasks, fed_back)
    }

    fn bytes(seed: u32) -> Vec<u8> {
        (0..100_000_u32).map(|number| (number.wrapping_mul(2_654_435_761).wrapping_add(seed * 7) >> 13) as u8).collect()
    }

    #[tokio::test]
    async fn a_receipt_is_in_the_bee_node_before_anybody_hears_of_it() {
        let (_dir, mut tasks, _fed_back) = node(1 << 24).await;
        let receipt = tasks.store.put_blob(&made(), &bytes(1)).unwrap();
        tasks.hand_in(receipt).await.unwrap();

        let stub = Stub::start(bee_that_takes_all).await;
        tasks.storage = Storage::BeeOnly(Depot::new(stub.bee(), None));
        tasks.hand_in(receipt).await.unwrap();
        assert_eq!(stub.count("POST /bytes"), 1);

        let stub = Stub::start(|_| no(403, "Forbidden")).await;
        tasks.storage = Storage::BeeOnly(Depot::new(stub.bee(), None));
        let why = tasks.hand_in(receipt).await.unwrap_err();
        assert!(why.contains("could not be uploaded") && why.contains("run it light"), "{why}");
        assert_eq!(tasks.store.cached().unwrap(), [receipt.reference], "nothing is held for a lease that failed");
    }

    #[tokio::test]
    async fn what_leases_leave_is_served_on_and_yields_to_the_next() {
        // Room for one lease's input and receipt, and half as much again.
        let (_dir, tasks, mut fed_back) = node(320_000).await;
        let kept = tempfile::tempdir().unwrap();
        let gateway_s = ChunkStore::open(&kept.path().join("chunks.redb"), 1 << 26).unwrap();
        let (_net, gateway) = keeper(gateway_s.clone()).await;
        let mut last = Vec::new();
        for number in 0..20 {
            let input = gateway_s.put_blob(&Owner::new("job").unwrap(), &bytes(number)).unwrap();
            let id = LeaseId { job: JobId([7; 16]), unit: Unit::Prove(number), attempt: 1 };
            let lease = Lease {
                key: None,
                id,
                inputs: vec![input],
                po2: manyhands_proto::Po2::MIN,
                nonce: manyhands_proto::Nonce { log: [0; 20], job: 0, segment: number },
                deadline_ms: 1,
                heartbeat_ms: 1,
                holders: vec![gateway.clone()],
            };
            tasks.clone().fetch(Box::new(lease)).await;
            let heard = fed_back.recv().await.unwrap();
            assert!(matches!(heard, Feedback::Core(Input::Fetched { result: Ok(()), .. })), "{number}: {heard:?}");
            let receipt = tasks.store.put_blob(&made(), &bytes(1_000 + number)).unwrap();
            tasks.let_go_inputs(id).await;
            tasks.clone().let_go_receipt(receipt).await;
            last = vec![input, receipt];
        }
        let usage = tasks.store.usage().unwrap();
        assert_eq!(usage.used_bytes, usage.cached_bytes, "nothing is held");
        assert!(usage.cached_bytes > 200_000 && usage.cached_bytes <= 320_000, "{usage:?}");

        // Somebody else is given the last of them by this node.
        let (_dir, other, mut heard) = node(1 << 24).await;
        let me = Holder { node: tasks.net.node_id(), addresses: tasks.net.addresses().await };
        for blob in last {
            other.providers.fetch(&made(), blob, std::slice::from_ref(&me)).await.unwrap();
        }
        assert!(heard.try_recv().is_err());
    }
}
