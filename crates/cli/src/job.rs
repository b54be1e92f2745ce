//! A job from the requester's side: submitted, followed, its receipt fetched and verified here.
//!
//! The gateway is trusted with nothing: a receipt counts once it was checked on this machine against an image id that was computed on
//! this machine.

use std::time::Duration;

use manyhands_api::{Client, ClientError, JobRequest, JobStatus, ProblemKind, Submitted};
use manyhands_core::{Outcome, Priority};
use manyhands_proto::{BlobRef, Digest, JobId};
use manyhands_zkvm::ReceiptSummary;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use crate::failure::{Exit, Failure};
use crate::files::{Draft, Program, Source};
use crate::options::Po2Choice;
use crate::screen::meter::Meter;
use crate::screen::progress::Progress;
use crate::screen::summary::Summary;
use crate::screen::text::{printable, tail};

/// Pause between two questions about a job.
const POLL: Duration = Duration::from_millis(500);

/// The same for a job of more than [`MANY_UNITS`] units, whose status is large.
const POLL_LARGE: Duration = Duration::from_secs(3);

/// Units from which a status is large.
const MANY_UNITS: u32 = 2_000;

/// How long a gateway may be away in the middle of a job: a restart takes seconds, and the job is on its disk.
const OUTAGE: Duration = Duration::from_secs(120);

/// Lines of a failed guest's log that are shown.
const LOG_LINES: usize = 10;

/// Largest receipt that is fetched, in bytes, whatever the gateway says about its size: 4,000 segments of 250 kB.
const RECEIPT_BYTES_MAX: u64 = 1 << 30;

/// What is asked of the gateway, apart from what is uploaded.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Segment size.
    pub po2: Po2Choice,
    /// The receipt that is wanted.
    pub outcome: Outcome,
    /// Cycles after which the guest is stopped.
    pub cycles_max: Option<u64>,
    /// Its share of the fleet beside other jobs.
    pub priority: Priority,
    /// The peers that may work on it, if not everybody may; none named means those that the gateway trusts.
    pub private: Option<Vec<String>>,
}

/// Uploads and submits.
pub async fn submit(
    client: &Client,
    program: &Program,
    input: Source,
    receipts: Vec<Vec<u8>>,
    terms: Terms,
) -> Result<Submitted, Failure> {
    // A question first: it finds a missing gateway, or a stranger on its port, before megabytes are sent there.
    client.health().await?;
    let uploaded = client.upload_program(program.bytes.clone()).await?;
    if uploaded.image_id.is_some_and(|theirs| theirs != program.image_id) {
        let message = format!("the gateway at {} computed another image id for this program", client.address());
        return Err(Failure::failed(message).hint("compare its version with this program's: `manyhands status`"));
    }
    let input = upload(client, input).await?;
    let mut assumptions = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        assumptions.push(client.upload_input(receipt).await?.blob);
    }
    let request = JobRequest {
        assumptions,
        private: terms.private,
        program: uploaded.blob,
        input,
        po2: terms.po2.size(),
        outcome: terms.outcome,
        cycles_max: terms.cycles_max,
        priority: terms.priority,
    };
    Ok(client.submit(&request).await?)
}

/// Uploads an input, a large one as it is read and with a bar.
async fn upload(client: &Client, input: Source) -> Result<Option<BlobRef>, Failure> {
    let uploaded = match input {
        Source::Nothing => return Ok(None),
        Source::Bytes(bytes) => client.upload_input(bytes).await?,
        Source::Stream(first, rest, size_bytes) => {
            let mut meter = Meter::new("uploading the input", size_bytes);
            let source = std::io::Cursor::new(first).chain(tokio::fs::File::from_std(rest));
            client.upload_input_from(source, size_bytes, move |bytes| meter.add(bytes)).await?
        }
    };
    Ok(Some(uploaded.blob))
}

/// Follows a job to its receipt.
///
/// # Errors
/// The job failed, or its gateway is gone for longer than a restart takes.
pub async fn follow(client: &Client, job: JobId, mut progress: Progress) -> Result<JobStatus, Failure> {
    let status = poll_to_end(client, job, &mut progress).await?;
    drop(progress);
    match failed(&status) {
        Some(reason) => Err(why_failed(client, job, &reason).await),
        None => Ok(status),
    }
}

async fn poll_to_end(client: &Client, job: JobId, progress: &mut Progress) -> Result<JobStatus, Failure> {
    let mut away_since: Option<Instant> = None;
    loop {
        match client.job(job).await {
            Ok(status) => {
                if away_since.take().is_some() {
                    progress.note("the gateway is back");
                }
                progress.show(&status);
                if status.view.phase == "done" || status.view.phase == "failed" {
                    return Ok(status);
                }
                let pause = if status.view.units_total > MANY_UNITS { POLL_LARGE } else { POLL };
                tokio::time::sleep(pause).await;
            }
            Err(error) if error.is_unreachable() => {
                let since = *away_since.get_or_insert_with(|| {
                    progress.note(&format!("the gateway at {} does not answer; trying again", client.address()));
                    Instant::now()
                });
                if since.elapsed() > OUTAGE {
                    let hint = format!("its jobs are on its disk: start it again, then `manyhands attach {job}`");
                    return Err(Failure::from(error).hint(hint));
                }
                tokio::time::sleep(POLL).await;
            }
            Err(ClientError::Problem(problem)) if problem.kind == ProblemKind::NotFound => {
                return Err(Failure::failed(format!(
                    "job {job} is not at this gateway any more: it was stopped or forgotten"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn failed(status: &JobStatus) -> Option<String> {
    let reason = || status.view.error.clone().unwrap_or_else(|| "the gateway does not say why".to_owned());
    (status.view.phase == "failed").then(reason)
}

/// A failed job's reason with the end of what its guest wrote, where its panic message is.
async fn why_failed(client: &Client, job: JobId, reason: &str) -> Failure {
    let log = client.log(job).await.unwrap_or_default();
    let log = printable(&String::from_utf8_lossy(&log));
    let mut message = format!("the job failed: {}", printable(reason.trim()));
    let lines = tail(&log, LOG_LINES, 300);
    if !lines.is_empty() {
        message.push_str("\nthe guest's last words:\n  ");
        message.push_str(&lines.join("\n  "));
    }
    Failure::failed(message)
}

/// What Ctrl-C means for a job: it goes on.
pub fn goes_on(job: JobId) -> Failure {
    Failure::new(Exit::Interrupted, format!("job {job} goes on at the gateway"))
        .hint(format!("`manyhands attach {job}` comes back to it, `manyhands stop {job}` ends it"))
}

/// What Ctrl-C means for a job that nobody knows to be one yet.
pub fn not_submitted() -> Failure {
    Failure::new(Exit::Interrupted, "stopped before the gateway had said that it took the job")
        .hint("`manyhands status` lists the jobs that it has")
}

/// Fetches a finished job's receipt, verifies it against `image_id`, and only then writes it.
pub async fn deliver(client: &Client, status: &JobStatus, image_id: Digest, draft: Draft) -> Result<Summary, Failure> {
    let limit_bytes = status.receipt.map_or(RECEIPT_BYTES_MAX, |receipt| receipt.size_bytes.min(RECEIPT_BYTES_MAX));
    let bytes = client.receipt(status.view.job, limit_bytes).await?;
    let receipt =
        verify(&bytes, image_id).map_err(|failure| failure.hint("the receipt is not accepted and was not kept"))?;
    let path = draft.finish(&bytes)?;
    Ok(Summary::new(status, &receipt, bytes.len() as u64, &path, image_id))
}

/// Verifies a receipt.
pub fn verify(bytes: &[u8], image_id: Digest) -> Result<ReceiptSummary, Failure> {
    manyhands_zkvm::verify_receipt(bytes, image_id).map_err(|error| {
        let failure = Failure::failed(format!("verification failed: {error}"));
        match error {
            manyhands_zkvm::ReceiptError::WrongImage { .. } => {
                failure.hint("it is a sound receipt of another program, or of another build of this one")
            }
            _ => failure,
        }
    })
}
