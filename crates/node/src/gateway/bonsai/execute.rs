//! Sessions that only execute: the guest runs in a worker, its journal is kept. One at a time; after a restart those that had not ended
//! run again.

use std::sync::{Arc, PoisonError};

use manyhands_api::bonsai::types::{Stats, Upload, Uuid};
use manyhands_api::types::Problem;
use manyhands_proto::Po2;
use manyhands_proto::limits::{GUEST_LOG_BYTES_MAX, INPUT_BYTES_MAX};
use manyhands_proto::worker::{Execution, Report, Task};
use serde_bytes::ByteBuf;

use super::Desk;
use super::book::{End, SessionRow, unix_ms};
use crate::worker::{Worker, WorkerOptions};
use manyhands_core::requester::STOPPED;

impl Desk {
    /// Begins to execute, or goes on waiting to. The desk must be shared.
    pub(super) fn execute(&self, row: SessionRow) {
        let id = row.id;
        let Some(desk) = self.shared() else { return };
        let task = tokio::spawn(async move { desk.execute_to_end(row).await });
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id, task.abort_handle());
    }

    /// Begins again what a restart cut off.
    pub(crate) async fn resume(&self) -> Result<usize, Problem> {
        let rows = self.on_book(super::Book::executing).await?;
        let count = rows.len();
        rows.into_iter().for_each(|row| self.execute(row));
        Ok(count)
    }

    pub(super) async fn abort_execution(&self, id: Uuid) -> Result<(), Problem> {
        let task = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(task) = task {
            task.abort();
        }
        let end = End { at_ms: unix_ms(), result: Err(STOPPED.to_owned()), stats: None, log: Vec::new() };
        self.on_book(move |book| book.end(id, &end)).await
    }

    async fn execute_to_end(self: Arc<Self>, row: SessionRow) {
        let Ok(_turn) = self.executions.acquire().await else { return };
        let id = row.id;
        let mut log = Vec::new();
        let executed = self.run(&row, &mut log).await;
        let (result, stats) = match executed {
            Ok(execution) => {
                let stats = Stats {
                    segments: execution.segments.into(),
                    total_cycles: execution.total_cycles,
                    cycles: execution.user_cycles,
                };
                (Ok(execution.journal.into_vec()), Some(stats))
            }
            Err(error) => (Err(error), None),
        };
        let end = End { at_ms: unix_ms(), result, stats, log };
        if let Err(problem) = self.on_book(move |book| book.end(id, &end)).await {
            tracing::warn!(session = %id, %problem, "a session's end could not be written down; it runs again after a restart");
        }
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    async fn run(&self, row: &SessionRow, log: &mut Vec<u8>) -> Result<Execution, String> {
        let program = self.read_program(&row.tenant, row.image).await.map_err(|problem| problem.message)?;
        let input = match row.input {
            Some(input) => self.read(&row.tenant, Upload::Input(input), INPUT_BYTES_MAX).await,
            None => Ok(Vec::new()),
        };
        let task = Task::Execute {
            program: ByteBuf::from(program),
            input: ByteBuf::from(input.map_err(|problem| problem.message)?),
            po2: Po2::try_from(20).unwrap_or(Po2::MIN),
            cycles_max: row.cycles_max,
            blobs: false,
        };
        let worker = Worker::spawn(&self.door.tasks.worker, WorkerOptions::default());
        let mut worker = worker.map_err(|error| error.to_string())?;
        worker.begin(&task).await.map_err(|error| error.to_string())?;
        loop {
            match worker.report().await.map_err(|error| error.to_string())? {
                Report::Log { bytes, .. } => {
                    let room = GUEST_LOG_BYTES_MAX.saturating_sub(log.len());
                    log.extend(bytes.into_vec().into_iter().take(room));
                }
                Report::Executed(execution) => return Ok(*execution),
                Report::Segment(_) | Report::Progress { .. } => {}
                Report::Identity(_) | Report::Receipt { .. } | Report::Failed(_) => {
                    return Err("the worker answered another question".to_owned());
                }
            }
        }
    }
}
