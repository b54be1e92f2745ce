//! The archive behind a gateway: what it stores goes to Swarm too, in the background. No lease and no job waits for it or fails because of it.

use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::stream;
use manyhands_bee::BeeError;
use manyhands_blob::ChunkStore;
use manyhands_proto::BlobRef;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

use super::depot::{Depot, with_advice};
use crate::blobs::on_store;

/// Blobs that wait: the segments of twenty jobs of the paper's size. Beyond that a blob is not archived.
const QUEUE_MAX: usize = 4_096;

/// Uploads at the same time: the next one's bytes are under way while the network takes the chunks of the one before.
const UPLOADS_MAX: usize = 2;

/// Reasons that are remembered as told; a Bee node that finds more has said enough.
const TOLD_MAX: usize = 32;

/// Where to leave blobs for the archive. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    queue: mpsc::Sender<BlobRef>,
    told: Told,
}

impl Archive {
    /// Begins to archive. The task ends when every clone is gone and the queue is empty.
    pub(crate) fn start(depot: Depot, store: ChunkStore) -> (Self, JoinHandle<()>) {
        let (queue, mut queued) = mpsc::channel(QUEUE_MAX);
        let told = Told::default();
        let teller = told.clone();
        let task = tokio::spawn(async move {
            let blobs = stream::poll_fn(move |cx| queued.poll_recv(cx));
            blobs.for_each_concurrent(UPLOADS_MAX, |blob| keep(&depot, &store, &teller, blob)).await;
        });
        (Self { queue, told }, task)
    }

    /// Leaves a stored blob to be archived; one too many is let be.
    pub(crate) fn offer(&self, blob: BlobRef) {
        match self.queue.try_send(blob) {
            Ok(()) => {
                // Not with the first place that is free: it would be told with every blob.
                if self.queue.capacity() > QUEUE_MAX / 2 {
                    self.told.forget(|reason| reason == Reason::Behind);
                }
            }
            Err(TrySendError::Full(blob)) if self.told.is_news(Reason::Behind) => {
                let blob = blob.reference.short();
                tracing::warn!(blob, "the archive is {QUEUE_MAX} blobs behind; what comes now is not archived");
            }
            Err(_) => {}
        }
    }
}

async fn keep(depot: &Depot, store: &ChunkStore, told: &Told, blob: BlobRef) {
    // Its job may have ended long since, and its room have been needed.
    if !is_here(store, blob).await {
        return tracing::debug!(blob = %blob.reference.short(), "it is gone before it was archived");
    }
    match depot.put(store, blob).await {
        Ok(()) => {
            tracing::debug!(blob = %blob.reference.short(), "archived");
            if told.forget(|reason| reason != Reason::Behind) {
                tracing::info!("the archive works again");
            }
        }
        Err(BeeError::Source { .. }) if !is_here(store, blob).await => {
            tracing::debug!(blob = %blob.reference.short(), "it is gone while it was archived");
        }
        Err(error) if told.is_news(Reason::of(&error)) => {
            let blob = blob.reference.short();
            tracing::warn!(blob, "a blob was not archived, which stops no job: {}", with_advice(&error));
        }
        Err(error) => tracing::debug!(blob = %blob.reference.short(), %error, "a blob was not archived"),
    }
}

async fn is_here(store: &ChunkStore, blob: BlobRef) -> bool {
    on_store(store, move |store| store.has(&blob)).await.unwrap_or(false)
}

/// Why something was not archived, as far as it is worth to be told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The queue is full.
    Behind,
    /// The kind of error, with the status of a refusal.
    Error(Discriminant<BeeError>, u16),
}

impl Reason {
    fn of(error: &BeeError) -> Self {
        match error {
            BeeError::OutOfTime { last, .. } | BeeError::NoWay { last, .. } => Self::of(last),
            BeeError::Refused { status, .. } => Self::Error(discriminant(error), *status),
            _ => Self::Error(discriminant(error), 0),
        }
    }
}

/// What the owner was told since the archive last worked.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<Reason>>>);

impl Told {
    /// Takes note of a reason. Whether it is to be told.
    fn is_news(&self, reason: Reason) -> bool {
        let mut told = self.reasons();
        let is_news = !told.contains(&reason) && told.len() < TOLD_MAX;
        if is_news {
            told.push(reason);
        }
        is_news
    }

    /// Forgets reasons that have passed. Whether there was one.
    fn forget(&self, has_passed: impl Fn(Reason) -> bool) -> bool {
        let mut told = self.reasons();
        let before = told.len();
        told.retain(|reason| !has_passed(*reason));
        told.len() < before
    }

    fn reasons(&self) -> MutexGuard<'_, Vec<Reason>> {
        // Each change is a single call, so the list is valid after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use manyhands_blob::Owner;

    use super::*;
    use crate::stub::{Stub, bytes, no};
    use crate::swarm::tests::{BATCH, bee_that_takes_all};

    fn store_with(count: usize) -> (tempfile::TempDir, ChunkStore, Vec<BlobRef>) {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 24).unwrap();
        let owner = Owner::new("x").unwrap();
        let blobs = (1..=count).map(|number| store.put_blob(&owner, &bytes(number * 10_000)).unwrap()).collect();
        (dir, store, blobs)
    }

    #[tokio::test]
    async fn what_is_stored_goes_to_the_bee_node_with_a_batch_that_was_chosen() {
        let stub = Stub::start(bee_that_takes_all).await;
        let (_dir, store, blobs) = store_with(3);
        let (archive, task) = Archive::start(Depot::new(stub.bee(), None), store);
        blobs.iter().for_each(|blob| archive.offer(*blob));
        drop(archive);
        task.await.unwrap();
        let mut sent: Vec<usize> = Vec::new();
        for seen in stub.seen().iter().filter(|seen| seen.call == "POST /bytes") {
            assert_eq!(seen.header("swarm-postage-batch-id"), Some(BATCH.to_string().as_str()));
            assert_eq!(seen.header("swarm-deferred-upload"), Some("false"));
            sent.push(seen.body.len());
        }
        sent.sort_unstable();
        assert_eq!(sent, [10_000, 20_000, 30_000]);
    }

    #[tokio::test]
    async fn what_has_gone_is_passed_over() {
        let stub = Stub::start(bee_that_takes_all).await;
        let (_dir, store, blobs) = store_with(2);
        store.discard(&blobs[0].reference).unwrap();
        let (archive, task) = Archive::start(Depot::new(stub.bee(), None), store);
        blobs.iter().for_each(|blob| archive.offer(*blob));
        drop(archive);
        task.await.unwrap();
        assert_eq!(stub.count("POST /bytes"), 1);
    }

    #[tokio::test]
    async fn a_reason_is_told_once_until_it_works_again() {
        let stub = Stub::start(|seen| match (seen.call.as_str(), seen.nth) {
            ("POST /bytes", 0..3) => no(402, "batch is overissued"),
            ("POST /bytes", 3) => no(400, "nonsense"),
            _ => bee_that_takes_all(seen),
        });
        let stub = stub.await;
        let (_dir, store, blobs) = store_with(5);
        let (depot, told) = (Depot::new(stub.bee(), None), Told::default());
        let mut count = Vec::new();
        for blob in blobs {
            keep(&depot, &store, &told, blob).await;
            count.push(told.reasons().len());
        }
        assert_eq!(count, [1, 1, 1, 2, 0]);
    }

    #[test]
    fn a_reason_is_the_innermost_and_what_is_remembered_is_bounded() {
        let deadline = Duration::from_secs(1);
        let late = BeeError::OutOfTime { deadline, last: Box::new(BeeError::Token) };
        assert_eq!(Reason::of(&late), Reason::of(&BeeError::Token));
        let told = Told::default();
        let kind = discriminant(&BeeError::Token);
        let news = (0..1_000).filter(|status| told.is_news(Reason::Error(kind, *status))).count();
        assert_eq!(news, TOLD_MAX);
    }

    #[tokio::test]
    async fn a_full_queue_keeps_nobody_waiting() {
        let (queue, _queued) = mpsc::channel(1);
        let archive = Archive { queue, told: Told::default() };
        let (_dir, _store, blobs) = store_with(1);
        (0..3).for_each(|_| archive.offer(blobs[0]));
        assert!(!archive.told.is_news(Reason::Behind), "it was told");
    }
}
