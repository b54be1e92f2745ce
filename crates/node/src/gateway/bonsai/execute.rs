//! Sessions that only execute: the guest runs in a worker, its journal is kept. One at a time; after a restart those that had not ended
//! run again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use manyhands_api::bonsai::types::{Stats, Upload, Uuid};
use manyhands_api::types::Problem;
use manyhands_core::requester::STOPPED;
use manyhands_proto::Po2;
use manyhands_proto::limits::{GUEST_LOG_BYTES_MAX, KECCAK_WEIGHT};
use manyhands_proto::worker::{Execution, GuestInput, KeccakReport, SegmentReport, Task};
use serde_bytes::ByteBuf;
use tokio::task::AbortHandle;

use super::Desk;
use super::book::{End, SessionRow};
use crate::gateway::runs::anew_if_it_dies;
use crate::gateway::sqlite::unix_ms;
use crate::worker::{Heard, Worker, WorkerError, WorkerOptions};

/// Segments are only counted here; these are as large as the weakest machine would prove.
const PO2: u8 = 20;

/// A session that executes, or waits to.
#[derive(Debug)]
pub(super) struct Running {
    task: AbortHandle,
    seen: Arc<Mutex<Seen>>,
}

/// What came of a guest so far.
#[derive(Debug, Default)]
struct Seen {
    stats: Stats,
    log: Vec<u8>,
}

impl Seen {
    fn note(&mut self, bytes: &[u8]) {
        let room = GUEST_LOG_BYTES_MAX.saturating_sub(self.log.len());
        self.log.extend(bytes.iter().take(room));
    }

    fn count(&mut self, segment: &SegmentReport) {
        self.stats.segments += 1;
        self.stats.total_cycles = self.stats.total_cycles.saturating_add(segment.po2.cycles());
        self.stats.cycles = self.stats.cycles.saturating_add(segment.user_cycles);
    }

    fn count_keccak(&mut self, request: &KeccakReport) {
        self.stats.cycles = self.stats.cycles.saturating_add(request.po2.cycles().saturating_mul(KECCAK_WEIGHT));
    }

    /// The session's end. One that came to no journal took what was seen of it.
    fn end(&mut self, result: Result<Vec<u8>, String>) -> End {
        let (stats, log) = (Some(self.stats), std::mem::take(&mut self.log));
        End { at_ms: unix_ms(), result, stats, log }
    }
}

impl Desk {
    /// Begins to execute, or goes on waiting to. The desk must be shared.
    pub(super) fn execute(&self, row: SessionRow) -> Result<(), Problem> {
        let (id, desk, seen) = (row.id, self.shared()?, Arc::<Mutex<Seen>>::default());
        // Held until it is written down: a task that ends at once strikes itself out after that.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tokio::spawn(desk.execute_to_end(row, Arc::clone(&seen)));
        running.insert(id, Running { task: task.abort_handle(), seen });
        Ok(())
    }

    /// Begins again what a restart cut off, before anybody can ask for more.
    pub(crate) async fn resume(&self) -> Result<usize, Problem> {
        let rows = self.on_book(super::Book::executing).await?;
        let count = rows.len();
        rows.into_iter().try_for_each(|row| self.execute(row))?;
        Ok(count)
    }

    pub(super) async fn abort_execution(&self, id: Uuid) -> Result<(), Problem> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // Nothing more than that it has ended, or is about to say so itself.
        let Some(Running { task, seen }) = running else { return Ok(()) };
        task.abort();
        let end = lock(&seen).end(Err(STOPPED.to_owned()));
        self.on_book(move |book| book.end(id, &end)).await
    }

    async fn execute_to_end(self: Arc<Self>, row: SessionRow, seen: Arc<Mutex<Seen>>) {
        let Ok(_turn) = self.executions.acquire().await else { return };
        let id = row.id;
        let executed = self.run(&row, &seen).await;
        let end = lock(&seen).end(executed.map(|execution| execution.journal.into_vec()));
        if let Err(problem) = self.on_book(move |book| book.end(id, &end)).await {
            tracing::warn!(session = %id, %problem, "a session's end could not be written down; it runs again after a restart");
        }
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    async fn run(&self, row: &SessionRow, seen: &Mutex<Seen>) -> Result<Execution, String> {
        let program = self.read_program(&row.tenant, row.image).await.map_err(|problem| problem.message)?;
        let input = row.input.map(|input| self.path(&row.tenant, Upload::Input(input)));
        let task = Task::Execute {
            program: ByteBuf::from(program),
            input: input.map_or_else(GuestInput::default, |path| GuestInput::File(path.to_string_lossy().into_owned())),
            assumptions: row.claims.clone(),
            po2: Po2::try_from(PO2).unwrap_or(Po2::MIN),
            cycles_max: row.cycles_max,
            blobs: false,
        };
        let executed = anew_if_it_dies(&format!("session {}", row.id), || self.run_once(&task, seen)).await;
        executed.map_err(|error| error.to_string())
    }

    async fn run_once(&self, task: &Task, seen: &Mutex<Seen>) -> Result<Execution, WorkerError> {
        *lock(seen) = Seen::default();
        let mut worker = Worker::spawn(&self.door.tasks.worker, WorkerOptions::default())?;
        worker.begin(task).await?;
        loop {
            match worker.hear().await? {
                Heard::Ended(execution) => return Ok(*execution),
                Heard::Segment(segment) => lock(seen).count(&segment),
                Heard::Keccak(request) => lock(seen).count_keccak(&request),
                Heard::Log(bytes) => lock(seen).note(&bytes),
            }
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // Each change is a whole one, so it is valid after any panic.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
