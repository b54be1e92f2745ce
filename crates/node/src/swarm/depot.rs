//! The user's Bee node as a place where blobs are put and fetched. Nothing that it says is believed: the client holds what it sends against
//! reference and size, and the store against the reference again.

use std::time::Duration;

use manyhands_bee::{BatchId, Bee, BeeError, Need, Patience, Push, Upload};
use manyhands_blob::transfer::FetchError;
use manyhands_blob::{ChunkStore, Owner};
use manyhands_proto::BlobRef;

use super::source::Stored;
use crate::blobs::{BlobError, on_store};

/// How long a batch must last to be taken: a job's blobs are needed for hours, and no batch is sold for less than a day.
const BATCH_TIME: Duration = Duration::from_secs(24 * 3600);

/// What a batch is bought for if there is none: 168 segments of 265 kB, the paper's job.
const JOB_BYTES: u64 = 168 * 265_000;

/// How long the network may not know what was just uploaded.
const FRESH: Duration = Duration::from_secs(60);

/// What a look at the Bee node may take where another way has failed before it: its search for a chunk ends after 30 s.
const FALLBACK_TIME: Duration = Duration::from_secs(120);

/// Whether to wait for a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hope {
    /// It was just uploaded, and there is no other way to it.
    Sure,
    /// It may be there. Asked once.
    Faint,
}

/// A Bee node, and what pays for uploads to it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Depot {
    bee: Bee,
    /// The batch that was configured; else one is chosen for each upload, as the room in them shrinks.
    batch: Option<BatchId>,
}

impl Depot {
    pub(crate) fn new(bee: Bee, batch: Option<BatchId>) -> Self {
        Self { bee, batch }
    }

    /// The batch that would take a blob of `size_bytes`.
    ///
    /// # Errors
    /// [`BeeError`]; [`BeeError::NoBatch`] advises one that takes a whole job.
    pub(crate) async fn batch_for(&self, size_bytes: u64) -> Result<BatchId, BeeError> {
        let need = |size_bytes| Need { size_bytes, time_to_live: BATCH_TIME };
        let found = match self.batch {
            Some(id) => self.bee.check_batch(id, &need(size_bytes)).await,
            None => match self.bee.choose_batch(&need(size_bytes)).await {
                Err(BeeError::NoBatch { .. }) => self.bee.choose_batch(&need(size_bytes.max(JOB_BYTES))).await,
                outcome => outcome,
            },
        };
        found.map(|batch| batch.id)
    }

    /// As [`Depot::batch_for`], answered at once.
    pub(crate) async fn batch_now(&self) -> Result<BatchId, BeeError> {
        let bee = self.bee.clone().with_patience(Patience::none(Duration::from_secs(5)));
        Self { bee, batch: self.batch }.batch_for(1).await
    }

    /// Uploads a stored blob. When it returns, the network has it.
    pub(crate) async fn put(&self, store: &ChunkStore, blob: BlobRef) -> Result<(), BeeError> {
        let batch = self.batch_for(blob.size_bytes).await?;
        let upload = Upload { batch, pin: false, push: Push::Direct };
        self.bee.upload(&blob, &Stored::new(store.clone(), blob), &upload).await.map(drop)
    }

    /// Fetches a blob of at most `max_bytes`, and has `owner` hold it. It is on disk when this returns.
    pub(crate) async fn get(
        &self,
        store: &ChunkStore,
        owner: &Owner,
        blob: BlobRef,
        max_bytes: u64,
        hope: Hope,
    ) -> Result<(), BlobError> {
        let of_fetch = |source| BlobError::Fetch { source };
        if blob.size_bytes > max_bytes {
            return Err(of_fetch(FetchError::TooLarge { size_bytes: blob.size_bytes, max_bytes }));
        }
        let downloaded = match hope {
            Hope::Sure => self.bee.download(&blob, FRESH).await,
            Hope::Faint => {
                let bee = self.bee.clone().with_patience(Patience::none(FALLBACK_TIME));
                bee.download(&blob, Duration::ZERO).await
            }
        };
        let bytes = downloaded.map_err(|source| BlobError::Bee { source: Box::new(source) })?;
        let owner = owner.clone();
        let stored = on_store(store, move |store| {
            // What a peer began to send has room reserved for the rest, which comes from elsewhere now.
            store.release(&owner, &blob.reference)?;
            store.put_blob(&owner, &bytes)
        });
        stored.await.map(drop).map_err(|error| of_fetch(FetchError::Store(error)))
    }
}

/// An error of the Bee node and what to do about it, in one sentence.
pub(crate) fn with_advice(error: &BeeError) -> String {
    format!("{error}; {}", error.advice())
}
