//! What stands behind the calls: the store, the book of batches, the tags, and the bounds.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manyhands_blob::redundancy::Level;
use manyhands_blob::{AnyReference, ChunkStore, Owner, StoreError};
use manyhands_proto::Reference;
use rand::RngCore as _;
use tokio::net::TcpListener;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::batches::{BatchBook, BatchError};
use crate::look::{self, LookError};
use crate::refusal::Refusal;
use crate::tags::Tags;
use crate::{pins, router, upload};

/// Uploads at the same time; bee-js sends 64 chunks at once. Each has at most 256 KiB in memory, but for what folders need.
const UPLOADS_MAX: usize = 64;
/// Calls at the same time that have a whole folder's manifest in memory: 100 MB for the largest that one meets, several times as much for
/// one that is made to be large.
pub(crate) const FOLDERS_MAX: usize = 4;
/// Calls at the same time that read all of something, which may be as much as the store has.
pub(crate) const WALKS_MAX: usize = 2;
/// How long a call waits for its turn.
const TURN_TIME: Duration = Duration::from_secs(60);
/// How often expired batches are looked for.
const EXPIRY_TIME: Duration = Duration::from_secs(600);

/// How a hive is to be.
#[derive(Debug, Clone)]
pub struct HiveOptions {
    /// The folder for the book of batches and for uploads under way; must exist.
    pub folder: PathBuf,
    /// The redundancy level of uploads that name none.
    pub level: Level,
    /// Largest upload and largest download, in bytes.
    pub bytes_max: u64,
}

/// The state behind Bee's API.
#[derive(Debug)]
pub struct Hive {
    pub(crate) store: ChunkStore,
    pub(crate) batches: Arc<BatchBook>,
    pub(crate) tags: Tags,
    pub(crate) options: HiveOptions,
    uploads: Semaphore,
    folders: Arc<Semaphore>,
    walks: Arc<Semaphore>,
    /// One pin of each root at a time is set or ended: it takes several steps in the store, and two would undo each other's.
    pins: Mutex<BTreeMap<Reference, Arc<Semaphore>>>,
}

/// What a manifest leads to.
#[derive(Debug)]
pub(crate) struct Below {
    pub(crate) references: Vec<AnyReference>,
    /// Theirs, if there are any: they take as much memory as the manifest.
    _turn: Option<OwnedSemaphorePermit>,
}

/// No turn came for a call; what is said is what others are doing.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0} are under way; try again")]
pub(crate) struct Busy(&'static str);

impl From<Busy> for Refusal {
    fn from(busy: Busy) -> Self {
        Self::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, busy.to_string())
    }
}

impl Hive {
    /// Opens the book of batches in the options' folder, over `store`, and lets go what a crash has left of uploads and of pins.
    ///
    /// # Errors
    /// [`BatchError::Book`].
    pub fn open(store: ChunkStore, options: HiveOptions) -> Result<Self, BatchError> {
        let batches = Arc::new(BatchBook::open(&options.folder.join("batches.json"))?);
        if let Err(error) = upload::clear_up(&store).and_then(|()| pins::clear_up(&store)) {
            tracing::warn!(%error, "what a crash may have left of uploads and pins is still held");
        }
        let (uploads, folders) = (Semaphore::new(UPLOADS_MAX), Arc::new(Semaphore::new(FOLDERS_MAX)));
        let (walks, pins) = (Arc::new(Semaphore::new(WALKS_MAX)), Mutex::default());
        Ok(Self { store, batches, tags: Tags::default(), options, uploads, folders, walks, pins })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// Runs work on the store on a thread that may block.
    pub(crate) async fn on_store<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&ChunkStore) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|_| Err(StoreError::Interrupted.into()))
    }

    /// All that `root` leads to if it is a manifest, itself not included. Only then it has a turn of folders.
    pub(crate) async fn below(&self, root: AnyReference) -> Result<Below, LookError> {
        if !self.on_store(move |store| look::is_manifest(store, root)).await? {
            return Ok(Below { references: Vec::new(), _turn: None });
        }
        let turn = self.folder_turn().await?;
        let read = self
            .on_store(move |store| look::below(store, root).map(|references| Below { references, _turn: Some(turn) }));
        read.await
    }

    /// A turn to have a whole manifest in memory. The work has to own it, as it goes on when the client has gone.
    pub(crate) async fn folder_turn(&self) -> Result<OwnedSemaphorePermit, Busy> {
        in_time(Arc::clone(&self.folders).acquire_owned(), "other folders").await
    }

    /// A turn to read all of something. The work has to own it, as it goes on when the client has gone.
    pub(crate) async fn walk_turn(&self) -> Result<OwnedSemaphorePermit, Busy> {
        in_time(Arc::clone(&self.walks).acquire_owned(), "other looks at everything that something leads to").await
    }

    /// The turn to set or end the pin of `root`. The work has to own it, as it goes on when the client has gone.
    pub(crate) async fn pin_turn(&self, root: Reference) -> Result<OwnedSemaphorePermit, Busy> {
        let turns = {
            let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
            // Of roots that nobody has or awaits a turn for there is nothing to know.
            pins.retain(|_, turns| Arc::strong_count(turns) > 1);
            Arc::clone(pins.entry(root).or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        in_time(turns.acquire_owned(), "other calls about this pin").await
    }

    /// Runs work on the book on a thread that may block: whoever looks at the book waits while another writes it to disk.
    pub(crate) async fn on_book<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BatchBook) -> Result<T, BatchError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let book = Arc::clone(&self.batches);
        aside(move || work(&book)).await?.map_err(Refusal::from)
    }

    /// A turn to upload.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, Busy> {
        in_time(self.uploads.acquire(), "other uploads").await
    }

    /// Lets go of what expired batches hold: it is cache from then on.
    pub(crate) async fn expire(&self) {
        for id in self.on_book(|book| Ok(book.expired())).await.unwrap_or_default() {
            let released = self.on_store(move |store| store.release_owner_to_cache(&Owner::from(id))).await;
            match released {
                Ok(count) => {
                    tracing::info!(batch = %id, count, "a batch expired; what it held is cache now");
                    if let Err(refusal) = self.on_book(move |book| book.forget(id)).await {
                        tracing::warn!(batch = %id, ?refusal, "an expired batch could not be struck out");
                    }
                }
                Err(error) => tracing::warn!(batch = %id, %error, "an expired batch still holds what it stamped"),
            }
        }
    }
}

/// Serves Bee's API on `listener` until `shutdown` is done.
///
/// # Errors
/// The listener's address cannot be read. Errors of single connections end those connections only.
pub async fn serve(listener: TcpListener, hive: Hive, shutdown: impl Future<Output = ()> + Send) -> io::Result<()> {
    let hive = Arc::new(hive);
    let router = router::router(Arc::clone(&hive), listener.local_addr()?);
    let mut expiry = tokio::time::interval(EXPIRY_TIME);
    let expiring = async {
        loop {
            expiry.tick().await;
            hive.expire().await;
        }
    };
    tokio::select! {
        () = manyhands_api::serve_router(listener, router, shutdown) => {}
        () = expiring => {}
    }
    Ok(())
}

/// Waits for a turn, but not for ever. `others` names those who have theirs.
async fn in_time<T>(turn: impl Future<Output = Result<T, AcquireError>>, others: &'static str) -> Result<T, Busy> {
    tokio::time::timeout(TURN_TIME, turn).await.ok().and_then(Result::ok).ok_or(Busy(others))
}

/// Runs work on a thread that may block.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Refusal::broken("work was interrupted; the daemon is shutting down or met a defect"))
}

/// Fills a slice from the operating system's generator, for keys.
pub(crate) fn randomness(bytes: &mut [u8]) {
    rand::rng().fill_bytes(bytes);
}
