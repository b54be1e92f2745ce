//! Back-ups of the data directory while the gateway runs.
//!
//! A back-up is a folder that can stand in the data directory's place: the databases, the identity key, the book of batches, the uploads, and a
//! copy of the chunk store without its cache. It is made under a temporary name, synced, and gets its own name, the time at which it was begun,
//! when it is whole; then the oldest beyond the number that is kept go.
//!
//! # Consistency
//! A back-up is what a power cut at one moment would leave, and a gateway starts on it as after one. The event loop takes the three snapshots in one
//! go: `bonsai.db`, which names jobs and uploads, then `jobs.db`, which names blobs, then the chunk store. What is acknowledged is in them, as each
//! acknowledgement waits for its own commit.
//!
//! What names comes first, because what is named may come in between, and may not go. Blobs go only after the loop has written that their job has
//! ended or is forgotten, and the loop is busy here; uploads are not removed until each has a second name in a folder of ours, which the lock around
//! that waits for. A name without its thing is there all the same, as after a power cut: a session is written down before its job is submitted, and
//! an upload before its file has its name. Neither is acknowledged yet; such a session counts as failed, and such an upload as not there.
//!
//! The identity key never changes. The book of batches is copied some time later, as it is then: nothing else names its rows.

mod fault;
mod frozen;
mod room;
mod set;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use manyhands_api::types::{BackupEnd, BackupProgress, Backups, BegunBackup, Problem, ProblemKind};
use tokio::sync::{RwLock, mpsc, oneshot, watch};

use super::questions::Question;
use crate::Config;
use crate::data_dir::DataDir;
use frozen::Thaw;
pub(crate) use frozen::{Frozen, Prepared};
use room::Room;
use set::{Draft, Set, name_at};

/// How long a gateway that stops waits for a back-up to end. It ends at its next look, some megabytes or one file later; what takes longer is a disk
/// that is slow to sync, and what it leaves there the next back-up removes.
const CLOSE_TIME: Duration = Duration::from_secs(30);

/// What makes back-ups.
#[derive(Debug)]
pub(crate) struct Archivist {
    source: Source,
    set: Set,
    floor_bytes: u64,
    state: Mutex<State>,
    /// Whether one is under way, from the first question to the last file let go.
    is_running: watch::Sender<bool>,
    /// Whoever removes an upload reads; who gives them second names writes.
    keeping: Arc<RwLock<()>>,
    questions: mpsc::Sender<Question>,
}

/// Where what is backed up is.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) jobs: PathBuf,
    pub(crate) bonsai: PathBuf,
    pub(crate) uploads: PathBuf,
    /// Second names of uploads, while they are copied. Emptied when the gateway starts.
    pub(crate) held: PathBuf,
    /// Small files that are copied as they are, if they are there.
    pub(crate) files: [PathBuf; 2],
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    last: Option<BackupEnd>,
    is_closed: bool,
}

#[derive(Debug)]
struct Running {
    name: String,
    since: Instant,
    progress: Arc<Progress>,
}

/// How far a back-up is, as its thread tells it.
#[derive(Debug, Default)]
struct Progress {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    /// The gateway stops, and does not wait.
    is_over: AtomicBool,
}

impl Progress {
    /// Fails once the gateway stops.
    fn go_on(&self) -> Result<(), Problem> {
        if self.is_over.load(Ordering::Relaxed) { Err(Problem::stopping()) } else { Ok(()) }
    }
}

impl Archivist {
    /// For the data in `data_dir`. `questions` lead to the event loop.
    pub(crate) fn new(config: &Config, data_dir: &DataDir, questions: mpsc::Sender<Question>) -> Self {
        let folder = config.gateway.backup_folder.clone().unwrap_or_else(|| data_dir.backups());
        Self {
            source: Source {
                jobs: data_dir.jobs(),
                bonsai: data_dir.bonsai(),
                uploads: data_dir.uploads(),
                held: data_dir.scratch().join("held-uploads"),
                files: [data_dir.identity(), data_dir.batches()],
            },
            set: Set { folder, kept_max: usize::from(config.gateway.backups_max), identity: data_dir.identity() },
            floor_bytes: config.store_floor_bytes,
            state: Mutex::default(),
            is_running: watch::Sender::new(false),
            keeping: Arc::default(),
            questions,
        }
    }

    /// What whoever removes uploads holds meanwhile, for reading.
    pub(crate) fn keeping(&self) -> Arc<RwLock<()>> {
        Arc::clone(&self.keeping)
    }

    /// Begins a back-up; it goes on when its asker has gone. Whoever asks hears of everything that keeps it from being made; only the copying
    /// is left to itself.
    pub(crate) async fn begin(self: &Arc<Self>) -> Result<BegunBackup, Problem> {
        tokio::spawn(Arc::clone(self).begin_to_its_end()).await.map_err(|_| Problem::stopping())?
    }

    async fn begin_to_its_end(self: Arc<Self>) -> Result<BegunBackup, Problem> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let progress = Arc::new(Progress::default());
        self.enter(name_at(at), &progress)?;
        let (draft, frozen) = match self.make_ready(at, &progress).await {
            Ok(ready) => ready,
            Err(problem) => {
                self.leave(Err(problem.clone()));
                return Err(problem);
            }
        };
        let name = draft.name().to_owned();
        if let Some(running) = &mut self.state().running {
            running.name.clone_from(&name);
        }
        tokio::spawn(self.make(draft, frozen, progress));
        Ok(BegunBackup { name })
    }

    async fn make(self: Arc<Self>, draft: Draft, frozen: Frozen, progress: Arc<Progress>) {
        let me = Arc::clone(&self);
        let copied = tokio::task::spawn_blocking(move || me.copy(draft, frozen, &progress)).await;
        let made = copied.unwrap_or_else(|_| Err(Problem::internal("the back-up was interrupted")));
        match &made {
            Ok((path, bytes)) => tracing::info!(path = %path.display(), bytes, "backed up"),
            Err(problem) => tracing::warn!(%problem, "a back-up failed"),
        }
        self.leave(made);
    }

    /// The back-ups that are there, and the one under way.
    pub(crate) async fn list(self: &Arc<Self>) -> Result<Backups, Problem> {
        let me = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || me.set.kept()).await.map_err(|_| Problem::stopping())?;
        let kept = kept.map_err(|error| fault::of_list(&self.set.folder, &error))?;
        let state = self.state();
        Ok(Backups {
            folder: self.set.folder.display().to_string(),
            kept_max: u32::try_from(self.set.kept_max).unwrap_or(u32::MAX),
            kept: kept.iter().rev().map(|path| path.display().to_string()).collect(),
            running: state.running.as_ref().map(|running| BackupProgress {
                name: running.name.clone(),
                done_bytes: running.progress.done_bytes.load(Ordering::Relaxed),
                total_bytes: running.progress.total_bytes.load(Ordering::Relaxed),
                elapsed_ms: elapsed_ms(running.since),
            }),
            last: state.last.clone(),
        })
    }

    /// Ends what is under way, and begins no more: whoever opens the store next must find it free. Waits for [`CLOSE_TIME`] at most.
    pub(crate) async fn close(&self) {
        let mut is_running = self.is_running.subscribe();
        {
            let mut state = self.state();
            state.is_closed = true;
            if let Some(running) = &state.running {
                running.progress.is_over.store(true, Ordering::Relaxed);
            }
        }
        if tokio::time::timeout(CLOSE_TIME, is_running.wait_for(|is_running| !is_running)).await.is_err() {
            let folder = self.set.folder.display();
            tracing::warn!(%folder, "a back-up does not end, its disk is slow; the gateway stops without waiting for it");
        }
    }

    fn enter(&self, name: String, progress: &Arc<Progress>) -> Result<(), Problem> {
        let mut state = self.state();
        if state.is_closed {
            return Err(Problem::stopping());
        }
        if state.running.is_some() {
            return Err(Problem::new(ProblemKind::Busy, "a back-up is under way already; wait for its end"));
        }
        state.running = Some(Running { name, since: Instant::now(), progress: Arc::clone(progress) });
        self.is_running.send_replace(true);
        Ok(())
    }

    fn leave(&self, made: Result<(PathBuf, u64), Problem>) {
        let mut state = self.state();
        let Some(running) = state.running.take() else { return };
        let (path, size_bytes, error) = match made {
            Ok((path, bytes)) => (Some(path.display().to_string()), bytes, None),
            Err(problem) => (None, 0, Some(problem)),
        };
        let elapsed_ms = elapsed_ms(running.since);
        state.last = Some(BackupEnd { name: running.name, path, size_bytes, elapsed_ms, error });
        self.is_running.send_replace(false);
    }

    /// Takes the folder, holds everything as it is now, and looks for room.
    async fn make_ready(&self, at: u64, progress: &Arc<Progress>) -> Result<(Draft, Frozen), Problem> {
        let (set, source, thaw) = (self.set.clone(), self.source.clone(), Thaw(self.questions.clone()));
        let begun =
            tokio::task::spawn_blocking(move || Ok::<_, Problem>((set.draft(at)?, Prepared::open(&source, thaw)?)));
        let (draft, prepared) = begun.await.map_err(|_| Problem::stopping())??;
        let kept = self.keeping.write().await;
        progress.go_on()?;
        let (to, answer) = oneshot::channel();
        self.questions.send(Question::Freeze(Box::new(prepared), to)).await.map_err(|_| Problem::stopping())?;
        let mut frozen = answer.await.map_err(|_| Problem::stopping())??;
        let (source, going) = (self.source.clone(), Arc::clone(progress));
        let held = tokio::task::spawn_blocking(move || {
            frozen.hold_uploads(&source, &mut |_| going.go_on())?;
            going.go_on()?;
            Ok::<_, Problem>(frozen)
        });
        let frozen = held.await.map_err(|_| Problem::stopping())??;
        drop(kept);
        progress.total_bytes.store(frozen.bytes(), Ordering::Relaxed);
        self.room().require(frozen.room_bytes(), frozen.promised_bytes())?;
        Ok((draft, frozen))
    }

    /// Copies everything, and gives it its name.
    fn copy(&self, draft: Draft, frozen: Frozen, progress: &Progress) -> Result<(PathBuf, u64), Problem> {
        let mut room = self.room();
        frozen.copy_to(draft.folder(), &mut |bytes| {
            progress.done_bytes.fetch_add(bytes, Ordering::Relaxed);
            progress.go_on()?;
            room.spend(bytes)
        })?;
        draft.finish(&mut || progress.go_on())
    }

    fn room(&self) -> Room {
        Room::of(&self.set.folder, &self.source.jobs, self.floor_bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
