//! Before step I: the guest is run at several segment sizes, without keeping its segments, so that the state machine can choose one.
//!
//! Execution is some thousand times quicker than proving, so a look at the first cycles at each size costs seconds. How long the guest is
//! in all is seen at the largest size, where cutting costs least.

use std::path::Path;
use std::time::Duration;

use manyhands_core::Survey;
use manyhands_core::requester::Input;
use manyhands_core::sizing::Cut;
use manyhands_proto::worker::{Failure, GuestInput, Task};
use manyhands_proto::{Digest, Po2};
use serde_bytes::ByteBuf;

use super::jobs_db::JobRow;
use super::tasks::Tasks;
use crate::worker::{Heard, Worker, WorkerError, WorkerOptions};

/// Cycles that are run at each size. They take .4 s at 2^20 and 2.3 s at 2^14, worker's start and blobs included (own measurement, `manyhands
/// segment --cycles-max` on two cores).
const CYCLES: u64 = 1 << 24;

/// Cycles that are run at the largest size, to see how long the guest is: some 4 s, where proving as many takes the paper's
/// laptop 16 hours.
const CYCLES_WHOLE: u64 = 1 << 27;

/// A survey ends then, with the sizes that it has come to: a machine that is busy otherwise must not hold a job up.
const TIME: Duration = Duration::from_secs(30);

/// How one run went.
struct Look {
    cut: Cut,
    is_whole: bool,
}

impl Tasks {
    /// Surveys a job's guest at `sizes`, smallest first. A guest that fails is not surveyed: its real run says why. One for which there is no
    /// room beside the `due_bytes` of other jobs is not run.
    pub(crate) async fn survey(self, row: JobRow, sizes: Vec<Po2>, due_bytes: u64) {
        let Ok(_turn) = self.executions.acquire().await else { return };
        let mut looks = Vec::new();
        if let Ok((program, held)) = self.program(&row).await {
            let sizes: Vec<Po2> = sizes.into_iter().filter(|size| manyhands_zkvm::is_provable(*size)).collect();
            let guest = (ByteBuf::from(program), held.input.clone(), row.claims());
            let all = look_at_all(&self.worker, guest, &sizes, row.cycles_max, &mut looks);
            // What was seen until then counts.
            let _ = tokio::time::timeout(TIME, all).await;
        }
        let survey = looks.first().map(|longest| Survey {
            user_cycles: longest.cut.user_cycles,
            is_whole: longest.is_whole,
            cuts: looks.iter().map(|look| look.cut).collect(),
        });
        let input = match self.no_room_for(&row, survey.as_ref(), due_bytes).await {
            Some(reason) => Input::Broken { job: row.job, reason },
            None => Input::Surveyed { job: row.job, survey },
        };
        self.tell(input).await;
    }
}

/// Runs the guest at the largest size first, then at the others.
async fn look_at_all(
    worker: &Path,
    (program, input, assumptions): (ByteBuf, GuestInput, Vec<Digest>),
    sizes: &[Po2],
    cycles_max: u64,
    looks: &mut Vec<Look>,
) {
    for size in sizes.iter().rev() {
        let cycles_max = cycles_max.min(if looks.is_empty() { CYCLES_WHOLE } else { CYCLES });
        let (program, input, assumptions) = (program.clone(), input.clone(), assumptions.clone());
        let task = Task::Execute { program, input, assumptions, po2: *size, cycles_max, blobs: false };
        match look(worker, &task, *size).await {
            Some(look) => looks.push(look),
            // A guest may need more than the smallest segments hold, which is no reason not to cut it into larger ones.
            None if looks.is_empty() => return,
            None => {}
        }
    }
}

/// Runs the guest once; nothing if it failed, or no segment came.
async fn look(worker: &Path, task: &Task, po2: Po2) -> Option<Look> {
    let mut worker = Worker::spawn(worker, WorkerOptions::default()).ok()?;
    worker.begin(task).await.ok()?;
    let mut cut = Cut { po2, user_cycles: 0, segments: 0, total_cycles: 0, blob_bytes: 0, keccaks: 0 };
    let is_whole = loop {
        match worker.hear().await {
            Ok(Heard::Segment(segment)) => {
                cut.user_cycles = cut.user_cycles.saturating_add(segment.user_cycles);
                cut.segments = cut.segments.saturating_add(1);
                cut.total_cycles = cut.total_cycles.saturating_add(segment.po2.cycles());
                cut.blob_bytes = cut.blob_bytes.saturating_add(segment.blob_bytes);
            }
            Ok(Heard::Keccak(request)) => {
                cut.keccaks = cut.keccaks.saturating_add(1);
                cut.blob_bytes = cut.blob_bytes.saturating_add(request.blob_bytes);
            }
            Ok(Heard::Log(_)) => {}
            Ok(Heard::Ended(_)) => break true,
            Err(WorkerError::Failed(Failure::CycleLimit { .. })) => break false,
            Err(_) => return None,
        }
    };
    (cut.segments > 0).then_some(Look { cut, is_whole })
}
