//! Back-ups of the data directory while the gateway runs.
//!
//! A back-up is a folder that can stand in the data directory's place: the databases, the identity key, the book of batches, the uploads, and a
//! copy of the chunk store without its cache. It is made under a temporary name, synced, and gets its own name, the time at which it was begun,
//! when it is whole; then the oldest beyond the number that is kept go.
//!
//! # Consistency
//! Whatever is named must be there: `bonsai.db` names jobs and uploads, `jobs.db` names blobs. Each is written after what it names, so they are
//! snapshotted in that order, what names before what is named. Between them nothing that is named may go: all three snapshots are taken by the
//! event loop in one go, which alone ends and forgets jobs and so releases their blobs, and uploads are not removed until each has a second name
//! in a folder of ours. So a back-up is what a power cut at that moment would leave, and a gateway starts on it as after one.

mod frozen;
mod room;
mod set;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use manyhands_api::types::{BackupEnd, BackupProgress, Backups, BegunBackup, Problem, ProblemKind};
use tokio::sync::{RwLock, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::questions::Question;
use crate::Config;
use crate::data_dir::DataDir;
pub(crate) use frozen::{Frozen, Prepared};
use room::Room;
use set::{Draft, Set, name_at};

/// What makes back-ups.
#[derive(Debug)]
pub(crate) struct Archivist {
    source: Source,
    set: Set,
    floor_bytes: u64,
    state: Mutex<State>,
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
    task: Option<JoinHandle<()>>,
}

/// How far a back-up is, as its thread tells it.
#[derive(Debug, Default)]
struct Progress {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    /// The gateway stops, and does not wait.
    is_over: AtomicBool,
}

impl Archivist {
    /// For the data in `data_dir`. `questions` lead to the event loop.
    pub(crate) fn new(config: &Config, data_dir: &DataDir, questions: mpsc::Sender<Question>) -> Self {
        let folder = config.gateway.backup_folder.clone().unwrap_or_else(|| data_dir.folder().join("backups"));
        Self {
            source: Source {
                jobs: data_dir.jobs(),
                bonsai: data_dir.bonsai(),
                uploads: data_dir.uploads(),
                held: data_dir.scratch().join("held-uploads"),
                files: [data_dir.identity(), data_dir.folder().join("batches.json")],
            },
            set: Set { folder, kept_max: usize::from(config.gateway.backups_max) },
            floor_bytes: config.store_floor_bytes,
            state: Mutex::default(),
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
        let name = name_at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
        let progress = Arc::new(Progress::default());
        self.enter(&name, &progress)?;
        let (draft, frozen) = match self.make_ready(&name, &progress).await {
            Ok(ready) => ready,
            Err(problem) => {
                self.leave(Err(problem.clone()));
                return Err(problem);
            }
        };
        let task = tokio::spawn(Arc::clone(&self).make(draft, frozen, progress));
        if let Some(running) = &mut self.state().running {
            running.task = Some(task);
        }
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
        // The job database's log could not be emptied meanwhile.
        let _ = self.questions.send(Question::Thaw).await;
    }

    /// The back-ups that are there, and the one under way.
    pub(crate) async fn list(self: &Arc<Self>) -> Result<Backups, Problem> {
        let me = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || me.set.kept()).await.map_err(|_| Problem::stopping())?;
        let kept = kept.map_err(|error| self.failed(&error))?;
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

    /// Ends what is under way, and begins no more: whoever opens the store next must find it free.
    pub(crate) async fn close(&self) {
        let task = {
            let mut state = self.state();
            state.is_closed = true;
            let running = state.running.as_mut();
            running.and_then(|running| {
                running.progress.is_over.store(true, Ordering::Relaxed);
                running.task.take()
            })
        };
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    fn enter(&self, name: &str, progress: &Arc<Progress>) -> Result<(), Problem> {
        let mut state = self.state();
        if state.is_closed {
            return Err(Problem::stopping());
        }
        if state.running.is_some() {
            return Err(Problem::new(ProblemKind::Busy, "a back-up is under way already; wait for its end"));
        }
        let (name, progress) = (name.to_owned(), Arc::clone(progress));
        state.running = Some(Running { name, since: Instant::now(), progress, task: None });
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
    }

    /// Takes the folder, looks for room, and holds everything as it is now.
    async fn make_ready(&self, name: &str, progress: &Progress) -> Result<(Draft, Frozen), Problem> {
        let (set, source, name) = (self.set.clone(), self.source.clone(), name.to_owned());
        let begun = tokio::task::spawn_blocking(move || {
            let draft = set.draft(&name)?;
            Ok((draft, Prepared::open(&source)?))
        });
        let begun = begun.await.map_err(|_| Problem::stopping())?;
        let (draft, prepared) = begun.map_err(|error: std::io::Error| self.failed(&error))?;
        let kept = self.keeping.write().await;
        let (to, answer) = oneshot::channel();
        self.questions.send(Question::Freeze(Box::new(prepared), to)).await.map_err(|_| Problem::stopping())?;
        let mut frozen = answer.await.map_err(|_| Problem::stopping())??;
        let source = self.source.clone();
        let held = tokio::task::spawn_blocking(move || {
            frozen.hold_uploads(&source)?;
            Ok(frozen)
        });
        let frozen =
            held.await.map_err(|_| Problem::stopping())?.map_err(|error: std::io::Error| self.failed(&error))?;
        drop(kept);
        let due_bytes = frozen.bytes();
        progress.total_bytes.store(due_bytes, Ordering::Relaxed);
        self.room().require(frozen.room_bytes())?;
        Ok((draft, frozen))
    }

    /// Copies everything, and gives it its name.
    fn copy(&self, draft: Draft, frozen: Frozen, progress: &Progress) -> Result<(PathBuf, u64), Problem> {
        let mut room = self.room();
        frozen.copy_to(draft.folder(), &mut |bytes| {
            progress.done_bytes.fetch_add(bytes, Ordering::Relaxed);
            if progress.is_over.load(Ordering::Relaxed) {
                return Err(Problem::stopping());
            }
            room.spend(bytes)
        })?;
        draft.finish().map_err(|error| self.failed(&error))
    }

    fn room(&self) -> Room {
        Room::of(&self.set.folder, self.floor_bytes)
    }

    fn failed(&self, error: &std::io::Error) -> Problem {
        let folder = self.set.folder.display();
        Problem::of_disk(&format!("a back-up could not be made in {folder} (gateway.backup_folder)"), error)
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
