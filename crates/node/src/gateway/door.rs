//! The gateway behind its HTTP door: uploads and receipts go straight to the store, everything else to the event loop.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use manyhands_api::server::Gateway;
use manyhands_api::types::{
    Backups, BegunBackup, GatewayStatus, JobRequest, JobStatus, NodeRuling, Problem, ProblemKind, Scores, Submitted,
    Uploaded,
};
use manyhands_blob::StoreError;
use manyhands_core::Ruling;
use manyhands_core::explain::Explanation;
use manyhands_proto::limits::{PROGRAM_BYTES_MAX, STREAMED_INPUT_BYTES_MAX};
use manyhands_proto::{BlobRef, JobId, NodeId, Reference};
use tempfile::NamedTempFile;
use tokio::sync::{mpsc, oneshot};

use super::backup::Archivist;
use super::owners::{owner_of, uploads};
use super::privacy;
use super::questions::{Ended, Question, To, Wanted};
use super::scoring;
use super::tasks::Tasks;
use crate::scores::Scoreboard;
use crate::store::{Shortage, is_no_room};

/// Largest final receipt that is handed out at once, in bytes: 2,000 segments of 250 kB.
pub(super) const RECEIPT_BYTES_MAX: u64 = 512 << 20;

/// The gateway as the HTTP server sees it.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) tasks: Tasks,
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) cycles_max: u64,
    /// Peers that may work on private jobs that name none.
    pub(crate) trusted: Vec<String>,
    /// What verifiers say of nodes.
    pub(crate) scores: Scoreboard,
    /// What makes back-ups.
    pub(crate) archivist: Arc<Archivist>,
}

impl Door {
    async fn ask<T>(&self, question: impl FnOnce(To<T>) -> Question) -> Result<T, Problem> {
        let (to, answer) = oneshot::channel();
        self.questions.send(question(to)).await.map_err(|_| Problem::stopping())?;
        answer.await.map_err(|_| Problem::stopping())
    }

    /// Stores a program or a receipt.
    pub(super) async fn upload(&self, bytes: Vec<u8>) -> Result<BlobRef, Problem> {
        let stored = self.tasks.on_store(move |store| store.put_blob(&uploads(), &bytes)).await;
        stored.map_err(|error| of_store(&error))
    }

    /// Stores an input out of a file, in constant memory.
    pub(super) async fn upload_file(&self, file: std::fs::File) -> Result<BlobRef, Problem> {
        let stored = self.tasks.on_store(move |store| store.put_reader(&uploads(), file, STREAMED_INPUT_BYTES_MAX));
        stored.await.map_err(|error| of_store(&error))
    }

    /// Has the job hold its blobs, so that they stay whatever happens to the upload.
    async fn hold(&self, job: JobId, program: BlobRef, input: Option<BlobRef>) -> Result<Vec<u8>, Problem> {
        let held = self.tasks.on_store(move |store| {
            let bytes = store.read_blob(&program, PROGRAM_BYTES_MAX)?;
            for blob in std::iter::once(program).chain(input) {
                store.hold(&owner_of(job), &blob)?;
            }
            Ok(bytes)
        });
        held.await.map_err(|error| match error {
            StoreError::NotFound { .. } | StoreError::SizeMismatch { .. } | StoreError::TooLarge { .. } => {
                problem(ProblemKind::Invalid, &format!("the program or input was not uploaded: {error}"))
            }
            error => of_store(&error),
        })
    }

    /// Has the event loop take a job, if there is room for what it will likely bring.
    async fn take(&self, job: JobId, wanted: Wanted) -> Result<Submitted, Problem> {
        if wanted.circle.is_some() {
            self.tasks.admit_private()?;
        }
        let needed_bytes = self.ask(|to| Question::Need(wanted.clone(), to)).await?;
        self.tasks.admit(needed_bytes).await?;
        self.ask(|to| Question::Submit(job, wanted, to)).await.flatten()
    }

    async fn forget_uploads(&self, request: JobRequest) {
        let released = self.tasks.on_store(move |store| {
            let mut blobs = std::iter::once(request.program).chain(request.input).chain(request.assumptions);
            blobs.try_for_each(|blob| store.release(&uploads(), &blob.reference).map(|_| ()))
        });
        if let Err(error) = released.await {
            tracing::warn!(%error, "uploads could not be released");
        }
    }

    async fn let_go(&self, job: JobId) {
        let _ = self.tasks.on_store(move |store| store.release_owner(&owner_of(job))).await;
    }
}

impl Door {
    /// Stops a job, if it is open.
    pub(super) async fn stop(&self, job: JobId) -> Result<(), Problem> {
        self.ask(|to| Question::Stop(job, to)).await.flatten()
    }

    /// Which of these jobs run no more, and how they are; nothing of one that was removed.
    pub(super) async fn ended(&self, jobs: Vec<JobId>) -> Result<Ended, Problem> {
        self.ask(|to| Question::Ended(jobs, to)).await.flatten()
    }

    /// Takes a job under an id that was written down before.
    pub(super) async fn submit_as(&self, job: JobId, request: JobRequest) -> Result<Submitted, Problem> {
        if request.input.is_some_and(|input| input.size_bytes > STREAMED_INPUT_BYTES_MAX) {
            let message = format!("an input has at most {STREAMED_INPUT_BYTES_MAX} bytes");
            return Err(problem(ProblemKind::TooLarge, &message));
        }
        let circle = privacy::circle(request.private.as_deref(), &self.trusted)?;
        let submitted = self.submit_held(job, &request, circle).await;
        match &submitted {
            // The job holds its blobs now; kept as uploads too, they would fill the store until the next start.
            Ok(_) => self.forget_uploads(request).await,
            Err(_) => self.let_go(job).await,
        }
        submitted
    }

    /// Takes a job whose blobs it holds by the way.
    async fn submit_held(
        &self,
        job: JobId,
        request: &JobRequest,
        circle: Option<BTreeSet<NodeId>>,
    ) -> Result<Submitted, Problem> {
        let program = self.hold(job, request.program, request.input).await?;
        let image_id = manyhands_zkvm::image_id(&program).map_err(|error| Problem::invalid(error.to_string()))?;
        let wanted = Wanted {
            image_id,
            program: request.program,
            input: request.input,
            assumptions: self.tasks.assume(job, &request.assumptions).await?,
            po2: request.po2,
            outcome: request.outcome,
            priority: request.priority,
            cycles_max: request.cycles_max.unwrap_or(self.cycles_max).min(self.cycles_max),
            circle,
        };
        self.take(job, wanted).await
    }
}

impl Gateway for Door {
    async fn upload_program(&self, bytes: Vec<u8>) -> Result<Uploaded, Problem> {
        let image_id =
            manyhands_zkvm::image_id(&bytes).map_err(|error| problem(ProblemKind::Invalid, &error.to_string()))?;
        Ok(Uploaded { blob: self.upload(bytes).await?, image_id: Some(image_id) })
    }

    fn spool(&self) -> &Path {
        &self.tasks.scratch
    }

    /// It lies in a file and in the store at the same time, for as long as it is stored: the store takes all of it, also what has come.
    async fn room(&self, come_bytes: u64, coming_bytes: u64) -> Result<(), Problem> {
        let stored_bytes = come_bytes.saturating_add(coming_bytes);
        let looked = self.tasks.on_store(move |store| Shortage::beside(store, stored_bytes, coming_bytes));
        match looked.await.map_err(|error| of_store(&error))? {
            None => Ok(()),
            Some(lack) => {
                let message = format!("this gateway has no room for the input: {lack}; {}", lack.advice());
                Err(problem(ProblemKind::NoSpace, &message))
            }
        }
    }

    async fn upload_input(&self, file: NamedTempFile, _: u64) -> Result<Uploaded, Problem> {
        let opened = file.reopen().map_err(|error| Problem::of_disk("the input could not be read again", &error))?;
        Ok(Uploaded { blob: self.upload_file(opened).await?, image_id: None })
    }

    async fn scores(&self) -> Result<Scores, Problem> {
        Ok(scoring::shown(&self.scores))
    }

    async fn score_receipt(&self, receipt: Reference) -> Result<Vec<u8>, Problem> {
        self.tasks.scored_receipt(&self.scores, receipt).await
    }

    async fn rule(&self, node: NodeId, said: NodeRuling) -> Result<(), Problem> {
        let ruling = said.verdict.map(|verdict| Ruling { verdict, reason: said.reason });
        self.ask(|to| Question::Rule(node, ruling, to)).await.flatten()
    }

    async fn back_up(&self) -> Result<BegunBackup, Problem> {
        self.archivist.begin().await
    }

    async fn backups(&self) -> Result<Backups, Problem> {
        self.archivist.list().await
    }

    async fn submit(&self, request: JobRequest) -> Result<Submitted, Problem> {
        self.submit_as(JobId(rand::random()), request).await
    }

    async fn job(&self, job: JobId) -> Result<JobStatus, Problem> {
        self.ask(|to| Question::Job(job, to)).await.flatten()
    }

    async fn explain(&self, job: JobId) -> Result<Explanation, Problem> {
        self.ask(|to| Question::Explain(job, to)).await.flatten()
    }

    async fn abort(&self, job: JobId) -> Result<(), Problem> {
        self.ask(|to| Question::Remove(job, to)).await.flatten()
    }

    async fn receipt(&self, job: JobId) -> Result<(BlobRef, Vec<u8>), Problem> {
        let status = self.job(job).await?;
        let Some(receipt) = status.receipt.filter(|_| status.view.phase == "done") else {
            let message = match status.view.error {
                Some(error) => format!("job {job} has no receipt: {error}"),
                None => format!(
                    "job {job} has no receipt yet: {} of {} units are done",
                    status.view.units_done, status.view.units_total
                ),
            };
            return Err(problem(ProblemKind::NotFound, &message));
        };
        let read = || self.tasks.on_store(move |store| store.read_blob(&receipt, RECEIPT_BYTES_MAX));
        let mut bytes = read().await;
        let is_lost = matches!(bytes, Err(StoreError::NotFound { .. } | StoreError::Corrupt { .. }));
        if is_lost && self.tasks.recover(receipt).await.is_ok() {
            bytes = read().await;
        }
        bytes.map(|bytes| (receipt, bytes)).map_err(|error| of_store(&error))
    }

    async fn log(&self, job: JobId) -> Result<Vec<u8>, Problem> {
        self.ask(|to| Question::Log(job, to)).await.flatten()
    }

    async fn status(&self) -> Result<GatewayStatus, Problem> {
        let mut status = self.ask(Question::Status).await?;
        let usage = self.tasks.on_store(|store| store.usage()).await.map_err(|error| of_store(&error))?;
        // What only the cache needs is not used: it yields.
        status.store_used_bytes = usage.used_bytes.saturating_sub(usage.cached_bytes);
        status.store_limit_bytes = usage.limit_bytes;
        Ok(status)
    }
}

fn problem(kind: ProblemKind, message: &str) -> Problem {
    Problem { kind, message: message.to_owned() }
}

pub(super) fn of_store(error: &StoreError) -> Problem {
    let kind = match error {
        error if is_no_room(error) => ProblemKind::NoSpace,
        StoreError::TooLarge { .. } => ProblemKind::TooLarge,
        StoreError::Interrupted => return Problem::stopping(),
        _ => ProblemKind::Internal,
    };
    problem(kind, &error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::Config;
    use crate::data_dir::DataDir;
    use crate::gateway::tasks::tests::tasks;
    use crate::store::tests::on_test_disk;
    use crate::swarm::Storage;

    /// An input is in its file and in the store at once; what has come is in the file already, and the store still takes it.
    #[tokio::test]
    async fn an_input_has_room_twice_or_is_refused() {
        let (dir, store, disk) = on_test_disk();
        let (tasks, _fed_back) = tasks(store, Storage::Embedded).await;
        let (questions, _asked) = mpsc::channel(1);
        let data_dir = DataDir::open(&dir.path().join("data")).unwrap();
        let archivist = Arc::new(Archivist::new(&Config::default(), &data_dir, questions.clone()));
        let scores = Scoreboard::open(dir.path().join("scores"), manyhands_vbs::Trust::default());
        let door = Door { tasks, questions, cycles_max: 1, trusted: Vec::new(), scores, archivist };
        // 0.3 MB above the floor: 0.2 MB find room in a file, and in the store, but not in both.
        disk.0.store(100_300_000, Ordering::SeqCst);
        let refused = door.room(0, 200_000).await.unwrap_err();
        assert!(refused.kind == ProblemKind::NoSpace && refused.message.contains("about 0.4 MB"), "{refused}");
        door.room(200_000, 0).await.unwrap();
        door.room(0, 100_000).await.unwrap();
        door.room(200_000, 100_000).await.unwrap_err();
        disk.0.store(100_600_000, Ordering::SeqCst);
        door.room(0, 200_000).await.unwrap();
        door.room(200_000, 100_000).await.unwrap();
        // The store's own limit is looked at once.
        let refused = door.room(900_000, 200_000).await.unwrap_err();
        assert!(refused.message.contains("store_limit_bytes"), "{refused}");
    }
}
