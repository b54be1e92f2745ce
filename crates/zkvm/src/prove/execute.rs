//! Step I: runs a guest and cuts it into segments, each handed out while the guest still runs.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use manyhands_proto::limits::{GUEST_LOG_BYTES_MAX, KECCAK_PO2_MAX, KECCAK_WEIGHT, KECCAKS_MAX, SEGMENT_BYTES_MAX};
use manyhands_proto::worker::{Execution, Failure, GuestInput, KeccakReport, Report, SegmentReport};
use manyhands_proto::{Digest, Po2};
use risc0_binfmt::ExitCode;
use risc0_zkvm::sha::Digestible;
use risc0_zkvm::{
    Assumption, CoprocessorCallback, ExecutorEnv, ExecutorImpl, NullSegmentRef, ProveKeccakRequest, Segment,
    SegmentRef, Session, SuccinctReceiptVerifierParameters,
};
use serde_bytes::ByteBuf;

use super::blob::Blob;
use super::guarded;
use super::keccak::Request;
use crate::{ClaimError, PO2_MAX, from_proto, is_provable, program, to_proto};

/// Bytes of a file that are read at once.
const INPUT_PIECE_BYTES: usize = 1 << 16;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct ExecuteTask<'a> {
    /// The program binary (`R0BF`).
    pub program: &'a [u8],
    /// What the guest reads from its input.
    pub input: &'a GuestInput,
    /// The claims that the guest may rely on: their receipts are there.
    pub assumptions: &'a [Digest],
    /// Segment size.
    pub po2: Po2,
    /// Cycles of the guest's own instructions after which it is stopped.
    pub cycles_max: u64,
    /// Whether the reports carry the segments' blobs.
    pub blobs: bool,
}

/// Where reports go while the guest runs: segments from a thread of the executor, the guest's output from the caller's.
pub type Sink<'a> = dyn Fn(Report) -> io::Result<()> + Sync + 'a;

/// Runs a guest to its end. `sink` gets a [`Report::Segment`] for each segment and a [`Report::Keccak`] for each keccak request, in order,
/// and a [`Report::Log`] for what the guest writes, up to [`GUEST_LOG_BYTES_MAX`]. Nothing accumulates but the journal.
///
/// # Errors
/// [`Failure`] with the guest's own words when it panicked.
pub fn execute(task: &ExecuteTask<'_>, sink: &Sink<'_>) -> Result<Execution, Failure> {
    if !is_provable(task.po2) {
        return Err(Failure::Unsupported(format!("segments of 2^{}; the largest are 2^{PO2_MAX}", task.po2)));
    }
    program::check(task.program).map_err(|error| Failure::Program(error.to_string()))?;
    let total_cycles = AtomicU64::new(0);
    let input = open(task.input)?;
    let session =
        guarded(of_panic, || run(task, input, sink, &total_cycles).map_err(|error| of_error(&error, task.cycles_max)))?;
    outcome(session, total_cycles.into_inner())
}

fn open(input: &GuestInput) -> Result<Box<dyn BufRead + '_>, Failure> {
    Ok(match input {
        GuestInput::Bytes(bytes) => Box::new(bytes.as_slice()),
        GuestInput::File(path) => {
            let file = File::open(path)
                .map_err(|error| Failure::Input(format!("the guest's input cannot be opened: {error}")))?;
            Box::new(BufReader::with_capacity(INPUT_PIECE_BYTES, file))
        }
    })
}

fn run(
    task: &ExecuteTask<'_>,
    input: Box<dyn BufRead + '_>,
    sink: &Sink<'_>,
    total_cycles: &AtomicU64,
) -> anyhow::Result<Session> {
    let left_bytes = Rc::new(Cell::new(GUEST_LOG_BYTES_MAX));
    let log = |stderr| GuestLog { stderr, sink, left_bytes: left_bytes.clone() };
    let mut builder = ExecutorEnv::builder();
    // The executor needs no receipts, only what they prove, and with which set of recursion programs.
    let control_root = SuccinctReceiptVerifierParameters::default().control_root;
    for claim in task.assumptions {
        builder.add_assumption(Assumption { claim: from_proto(*claim), control_root });
    }
    let env = builder
        .segment_limit_po2(task.po2.get().into())
        .session_limit(Some(task.cycles_max))
        .read_fd(0, input)
        .stdout(log(false))
        .stderr(log(true))
        .keccak_max_po2(KECCAK_PO2_MAX.into())?
        .coprocessor_callback(Requests { sink, blobs: task.blobs, count: 0, cycles: 0, cycles_max: task.cycles_max })
        .build()?;
    ExecutorImpl::from_elf(env, task.program)?.run_with_callback(|segment| {
        let report = report(&segment, task.blobs)?;
        total_cycles.fetch_add(report.po2.cycles(), Ordering::Relaxed);
        sink(Report::Segment(report)).map_err(SinkError)?;
        Ok(Box::new(NullSegmentRef) as Box<dyn SegmentRef>)
    })
}

fn report(segment: &Segment, with_blob: bool) -> anyhow::Result<SegmentReport> {
    let parts = Blob::of(segment).map_err(anyhow::Error::msg)?;
    let claim = parts.claim()?;
    let po2 = parts.po2().ok_or_else(|| anyhow::anyhow!("a segment of 2^{} cycles", segment.po2()))?;
    let blob = parts.encode();
    let blob_bytes = blob.len() as u64;
    anyhow::ensure!(
        blob_bytes <= SEGMENT_BYTES_MAX,
        Refused(format!("a segment blob of {blob_bytes} bytes; choose smaller segments"))
    );
    Ok(SegmentReport {
        index: parts.index(),
        po2,
        user_cycles: parts.user_cycles(),
        claim: ByteBuf::from(claim.encode()),
        blob: ByteBuf::from(if with_blob { blob } else { Vec::new() }),
        blob_bytes,
    })
}

fn outcome(session: Session, total_cycles: u64) -> Result<Execution, Failure> {
    match session.exit_code {
        ExitCode::Halted(0) => {}
        ExitCode::Halted(code) => return Err(Failure::Guest(format!("it ended with exit code {code}"))),
        ExitCode::Paused(_) => return Err(Failure::Unsupported("guests that pause".into())),
        other => return Err(Failure::Guest(format!("it ended with {other:?}"))),
    }
    Ok(Execution {
        image_id: to_proto(session.pre_state.digest()),
        segments: u32::try_from(session.segments.len()).unwrap_or(u32::MAX),
        user_cycles: session.user_cycles,
        total_cycles,
        journal: ByteBuf::from(session.journal.unwrap_or_default().bytes),
    })
}

/// The words by which RISC Zero's executor (3.0.6) says what happened; it has no types for them.
const PANICKED: &str = "Guest panicked: ";
const LIMIT_EXCEEDED: &str = "Session limit exceeded";
const NO_ASSUMPTION: &str = "no receipt found to resolve assumption";
/// The same for who submitted it.
const NOT_GIVEN: &str = "it relies on another program's receipt (env::verify) that was not given as an assumption (`--assumption FILE`, or `assumptions` of a Bonsai session)";
const TOO_SMALL: &str = "too small for instruction";

fn of_error(error: &anyhow::Error, cycles_max: u64) -> Failure {
    let text = format!("{error:#}");
    if let Some(refused) = error.chain().find_map(|cause| cause.downcast_ref::<Refused>()) {
        return Failure::Unsupported(refused.0.clone());
    }
    if let Some(claim @ ClaimError::TooManyAssumptions { .. }) = error.chain().find_map(|cause| cause.downcast_ref()) {
        return Failure::Unsupported(claim.to_string());
    }
    if let Some((_, which)) = text.split_once(NO_ASSUMPTION) {
        return Failure::Guest(format!("{NOT_GIVEN}{which}"));
    }
    if let Some(wrong) = error.chain().find_map(|cause| cause.downcast_ref::<Wrong>()) {
        return Failure::Guest(wrong.0.clone());
    }
    if let Some(gone) = error.chain().find_map(|cause| cause.downcast_ref::<SinkError>()) {
        return Failure::Prover(gone.to_string());
    }
    if text.contains(LIMIT_EXCEEDED) || error.chain().any(|cause| cause.is::<Exceeded>()) {
        return Failure::CycleLimit { cycles_max };
    }
    match text.split_once(PANICKED) {
        Some((_, message)) => Failure::Guest(format!("it panicked: {message}")),
        None => Failure::Guest(text),
    }
}

fn of_panic(panic: String) -> Failure {
    if panic.contains(TOO_SMALL) {
        return Failure::Unsupported("this guest does not fit into segments of this size; choose larger ones".into());
    }
    Failure::Guest(format!("the executor gave up: {panic}"))
}

/// Something that the executor would do and Manyhands does not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// The daemon does not take reports any more.
#[derive(Debug, thiserror::Error)]
#[error("reports cannot be written")]
struct SinkError(#[source] io::Error);

/// The guest's keccak requests take more cycles than it may have.
#[derive(Debug, thiserror::Error)]
#[error("keccak requests beyond the cycle limit")]
struct Exceeded;

/// The guest did something that no prover could stand for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

/// Hands the guest's keccak requests out as it makes them.
struct Requests<'a> {
    sink: &'a Sink<'a>,
    blobs: bool,
    count: u32,
    /// Of all requests so far, weighted.
    cycles: u64,
    cycles_max: u64,
}

impl CoprocessorCallback for Requests<'_> {
    fn prove_keccak(&mut self, request: ProveKeccakRequest) -> anyhow::Result<()> {
        let index = self.count;
        if index >= KECCAKS_MAX {
            return Err(Refused(format!("more than {KECCAKS_MAX} keccak requests of one program")).into());
        }
        self.count += 1;
        let request = Request::of(&request).map_err(Wrong)?;
        let blob = request.encode();
        let blob_bytes = blob.len() as u64;
        self.cycles = self.cycles.saturating_add(request.po2.cycles().saturating_mul(KECCAK_WEIGHT));
        anyhow::ensure!(self.cycles <= self.cycles_max, Exceeded);
        let blob = ByteBuf::from(if self.blobs { blob } else { Vec::new() });
        let report = KeccakReport { index, po2: request.po2, claim: request.claim, blob, blob_bytes };
        (self.sink)(Report::Keccak(report)).map_err(|error| SinkError(error).into())
    }
}

/// What the guest writes, up to a limit that its two streams share.
struct GuestLog<'a> {
    stderr: bool,
    sink: &'a Sink<'a>,
    left_bytes: Rc<Cell<usize>>,
}

impl Write for GuestLog<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left_bytes.get();
        if left == 0 {
            return Ok(bytes.len());
        }
        let kept = bytes.get(..bytes.len().min(left)).unwrap_or_default();
        self.left_bytes.set(left - kept.len());
        (self.sink)(Report::Log { stderr: self.stderr, bytes: ByteBuf::from(kept) })?;
        if self.left_bytes.get() == 0 {
            let note = format!("\n[what the guest writes after {GUEST_LOG_BYTES_MAX} bytes is dropped]\n");
            (self.sink)(Report::Log { stderr: true, bytes: ByteBuf::from(note) })?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::keccak::tests::asked;
    use super::*;

    #[test]
    fn requests_are_taken_up_to_their_limits_and_if_they_are_true() {
        let reports = AtomicU64::new(0);
        let sink = |report| {
            assert!(matches!(report, Report::Keccak(_)));
            reports.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let one = Po2::MIN.cycles() * KECCAK_WEIGHT;
        let requests = |count, cycles_max| Requests { sink: &sink, blobs: false, count, cycles: 0, cycles_max };
        let ended = |result: anyhow::Result<()>| of_error(&result.unwrap_err(), 7);

        let mut within = requests(0, one);
        within.prove_keccak(asked(1)).unwrap();
        assert_eq!(ended(within.prove_keccak(asked(1))), Failure::CycleLimit { cycles_max: 7 });
        let mut last = requests(KECCAKS_MAX - 1, u64::MAX);
        last.prove_keccak(asked(1)).unwrap();
        assert!(matches!(ended(last.prove_keccak(asked(1))), Failure::Unsupported(why) if why.contains("16384")));
        assert_eq!(reports.load(Ordering::Relaxed), 2);

        let untrue = ProveKeccakRequest { claim_digest: [7; 32].into(), ..asked(1) };
        assert!(
            matches!(ended(requests(0, u64::MAX).prove_keccak(untrue)), Failure::Guest(why) if why.contains("not so"))
        );
        let gone = |_| Err(io::ErrorKind::BrokenPipe.into());
        let mut unheard = Requests { sink: &gone, ..requests(0, u64::MAX) };
        assert!(matches!(ended(unheard.prove_keccak(asked(1))), Failure::Prover(_)));
    }
}
