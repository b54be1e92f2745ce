//! The Bonsai API's sessions as jobs of this gateway. Uploads are files until a session needs them; a session that proves is a job,
//! one that only executes is run here, and Groth16 receipts are made here.

mod book;
mod execute;
mod groth16;
mod keys;
mod sessions;
mod snarks;
mod status;
mod uploads;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use manyhands_api::bonsai::Bonsai;
use manyhands_api::bonsai::types::{CreateSession, Quotas, SessionStatus, SnarkStatus, Tenant, Upload, Uuid};
use manyhands_api::types::{Problem, ProblemKind};
use manyhands_core::Priority;
use manyhands_proto::Digest;
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::sync::{OwnedMutexGuard, Semaphore};

pub(crate) use book::Book;
#[cfg(test)]
pub(crate) use book::UploadRow;
pub use book::{KeyLimits, KeyRow};
use execute::Running;
pub(crate) use groth16::{Machine, Maker};
pub use keys::Keys;
use keys::{broken, hash_of};

use super::door::Door;

/// How often uploads that nobody uses are looked for.
const TIDY_TIME: Duration = Duration::from_secs(3600);

/// The name of everybody, while there are no keys.
const OPEN_TENANT: &str = "local";

/// What the one tenant of a gateway without keys may do, beside the gateway's own limits.
const OPEN_SESSIONS_MAX: u32 = 10_000;

/// Nobody else changes what a tenant has, while this lives.
struct Turn(#[expect(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

/// The state behind the calls.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) door: Arc<Door>,
    book: Arc<Book>,
    /// Where uploads lie.
    folder: PathBuf,
    public_url: Option<String>,
    /// Whether the door may be open to everybody who reaches it: on loopback.
    may_be_open: bool,
    /// Bytes of the store, which bound the uploads of who has no key.
    store_limit_bytes: u64,
    /// Sessions that execute now.
    running: Mutex<BTreeMap<Uuid, Running>>,
    /// Guests executed at the same time.
    executions: Arc<Semaphore>,
    /// Who makes Groth16 receipts.
    maker: Arc<dyn Maker>,
    /// Groth16 receipts made at the same time.
    shrinks: Arc<Semaphore>,
    /// Receipts that are looked at at the same time, to be asked for as Groth16: each may be held in memory as a whole.
    sources: Semaphore,
    /// The desk itself, for tasks that outlive a call.
    me: Weak<Self>,
    /// What changes a tenant's sessions and uploads takes turns, so that two sessions that are the same find each other, and limits hold.
    turns: Mutex<BTreeMap<Tenant, Arc<tokio::sync::Mutex<()>>>>,
}

impl Desk {
    pub(crate) fn new(
        door: Arc<Door>,
        book: Book,
        folder: PathBuf,
        config: &crate::Config,
        may_be_open: bool,
        maker: Arc<dyn Maker>,
    ) -> std::io::Result<Arc<Self>> {
        std::fs::create_dir_all(&folder)?;
        Ok(Arc::new_cyclic(|me| Self {
            door,
            book: Arc::new(book),
            folder,
            public_url: config.gateway.public_url.clone(),
            may_be_open,
            store_limit_bytes: config.store_limit_bytes,
            running: Mutex::default(),
            executions: Arc::new(Semaphore::new(1)),
            maker,
            shrinks: Arc::new(Semaphore::new(1)),
            sources: Semaphore::new(2),
            me: me.clone(),
            turns: Mutex::default(),
        }))
    }

    /// The name in the configured public address.
    pub(crate) fn public_host(&self) -> Option<String> {
        let (_, rest) = self.public_url.as_deref()?.split_once("://")?;
        let host = rest.split('/').next().unwrap_or_default();
        Some(host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned()).filter(|name| !name.is_empty())
    }

    /// Clears up every hour.
    pub(crate) async fn tend(self: Arc<Self>) {
        let mut hourly = tokio::time::interval(TIDY_TIME);
        loop {
            hourly.tick().await;
            if let Err(problem) = self.tidy_uploads().await {
                tracing::warn!(%problem, "uploads that nobody uses could not be removed");
            }
            if let Err(problem) = self.settle_all().await {
                tracing::warn!(%problem, "what sessions took could not be written down; trying again in an hour");
            }
            if let Err(problem) = self.forget_snarks().await {
                tracing::warn!(%problem, "Groth16 receipts that nobody needs could not be removed; trying again in an hour");
            }
        }
    }

    fn shared(&self) -> Result<Arc<Self>, Problem> {
        self.me.upgrade().ok_or_else(Problem::stopping)
    }

    /// Does work that goes on when the client hangs up: what is begun is not left half-way.
    async fn to_its_end<T: Send + 'static, F: Future<Output = Result<T, Problem>> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, Problem> {
        tokio::spawn(work(self.shared()?)).await.map_err(|_| Problem::stopping())?
    }

    /// Waits until nobody else changes what this tenant has.
    async fn turn(&self, tenant: &Tenant) -> Turn {
        let lock = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(tenant.clone()).or_default())
        };
        Turn(lock.lock_owned().await)
    }

    /// Runs work on the database on a thread that may block.
    async fn on_book<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Book) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let book = Arc::clone(&self.book);
        let done = tokio::task::spawn_blocking(move || work(&book)).await;
        done.map_err(|_| Problem::stopping())?.map_err(|error| broken(&error))
    }

    async fn limits(&self, tenant: &Tenant) -> Result<KeyLimits, Problem> {
        let name = tenant.clone();
        let limits = self.on_book(move |book| book.limits(&name)).await?;
        Ok(limits.unwrap_or(KeyLimits {
            cycles_max: self.door.cycles_max,
            sessions_max: OPEN_SESSIONS_MAX,
            bytes_max: self.store_limit_bytes,
            budget_cycles: None,
            priority: Priority::Normal,
        }))
    }
}

impl Bonsai for Desk {
    async fn tenant(&self, key: Option<&str>) -> Result<Tenant, Problem> {
        let unknown = |message: &str| Problem::new(ProblemKind::Unauthorized, message);
        let hash = key.map(hash_of);
        let (has_keys, row) = self
            .on_book(move |book| Ok((book.has_keys()?, hash.map(|hash| book.key(hash)).transpose()?.flatten())))
            .await?;
        match row {
            Some(row) => Ok(Tenant(row.tenant)),
            None if !has_keys && self.may_be_open => Ok(Tenant(OPEN_TENANT.to_owned())),
            None if !has_keys => Err(unknown(
                "this gateway can be reached from outside and has no keys yet: make one there with `manyhands keys create NAME`",
            )),
            None => {
                Err(unknown("this key opens nothing here: set BONSAI_API_KEY to one from `manyhands keys create NAME`"))
            }
        }
    }

    fn spool(&self) -> &Path {
        &self.folder
    }

    fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }

    async fn has_image(&self, tenant: &Tenant, image: Digest) -> Result<bool, Problem> {
        Ok(self.find(tenant, Upload::Image(image)).await?.is_some())
    }

    async fn room(&self, tenant: &Tenant, coming_bytes: u64) -> Result<u64, Problem> {
        self.upload_room(tenant, coming_bytes).await
    }

    async fn keep(&self, tenant: &Tenant, upload: Upload, file: NamedTempFile, size_bytes: u64) -> Result<(), Problem> {
        let tenant = tenant.clone();
        self.to_its_end(|desk| async move { desk.keep_upload(&tenant, upload, file, size_bytes).await }).await
    }

    async fn forget(&self, tenant: &Tenant, upload: Upload) -> Result<(), Problem> {
        self.forget_upload(tenant, upload).await
    }

    async fn create(&self, tenant: &Tenant, request: CreateSession) -> Result<Uuid, Problem> {
        let tenant = tenant.clone();
        self.to_its_end(|desk| async move { desk.create_session(&tenant, request).await }).await
    }

    async fn session(&self, tenant: &Tenant, id: Uuid) -> Result<SessionStatus, Problem> {
        self.status_of(&self.row(tenant, id).await?).await
    }

    async fn session_log(&self, tenant: &Tenant, id: Uuid) -> Result<Vec<u8>, Problem> {
        let row = self.row(tenant, id).await?;
        match row.job {
            Some(job) => manyhands_api::Gateway::log(&*self.door, job).await,
            None => Ok(row.end.map(|end| end.log).unwrap_or_default()),
        }
    }

    async fn stop(&self, tenant: &Tenant, id: Uuid) -> Result<(), Problem> {
        self.stop_session(tenant, id).await
    }

    async fn journal(&self, tenant: &Tenant, id: Uuid) -> Result<Vec<u8>, Problem> {
        self.journal_of(&self.row(tenant, id).await?).await
    }

    async fn session_receipt(&self, tenant: &Tenant, id: Uuid) -> Result<Vec<u8>, Problem> {
        let job = self.row(tenant, id).await?.job;
        let job =
            job.ok_or_else(|| Problem::not_found("this session only executes: it has a journal and no receipt"))?;
        manyhands_api::Gateway::receipt(&*self.door, job).await.map(|(_, bytes)| bytes)
    }

    async fn create_snark(&self, tenant: &Tenant, of: Uuid) -> Result<Uuid, Problem> {
        let tenant = tenant.clone();
        self.to_its_end(|desk| async move { desk.take_snark(&tenant, of).await }).await
    }

    async fn snark(&self, tenant: &Tenant, id: Uuid) -> Result<SnarkStatus, Problem> {
        self.snark_row(tenant, id).await.map(snarks::status_of)
    }

    async fn snark_receipt(&self, tenant: &Tenant, id: Uuid) -> Result<Vec<u8>, Problem> {
        self.receipt_of_snark(tenant, id).await
    }

    async fn quotas(&self, tenant: &Tenant) -> Result<Quotas, Problem> {
        let limits = self.limits(tenant).await?;
        let turn = self.turn(tenant).await;
        self.settle(tenant, &turn).await?;
        let whose = tenant.clone();
        let used_cycles = self.on_book(move |book| book.used_cycles(&whose)).await?;
        let mega = |cycles: u64| i64::try_from(cycles >> 20).unwrap_or(i64::MAX);
        Ok(Quotas {
            exec_cycle_limit: mega(limits.cycles_max.min(self.door.cycles_max)),
            concurrent_proofs: i64::from(limits.sessions_max),
            cycle_budget: limits.budget_cycles.map_or(i64::MAX, |budget| mega(budget.saturating_sub(used_cycles))),
            // Rounded up: little is not nothing.
            cycle_usage: mega(used_cycles.saturating_add((1 << 20) - 1)),
            dedicated_executor: 0,
            dedicated_gpu: 0,
        })
    }

    fn zkvm(&self) -> &str {
        // Clients know the number alone.
        manyhands_zkvm::ZKVM_VERSION.rsplit(' ').next().unwrap_or_default()
    }
}
