//! Takes tasks one after the other and reports on them.

use std::fs::File;
use std::io::{self, BufReader, stdin};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, exit};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use manyhands_proto::limits::WORKER_FRAME_BYTES_MAX;
use manyhands_proto::worker::{Failure, Identity, Report, Task};
use manyhands_zkvm::ZKVM_VERSION;
use manyhands_zkvm::prove::{self, ExecuteTask};
use serde_bytes::ByteBuf;

use crate::{frames, process};

/// How often a working task is heard of.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What came in was no task, or one too many (`EX_DATAERR`).
const EXIT_DATA: i32 = 65;

/// Whether a task is under way.
static WORKING: AtomicBool = AtomicBool::new(false);

/// What this worker is.
pub fn identity() -> Identity {
    Identity { zkvm: ZKVM_VERSION.to_owned(), recursion: prove::has_recursion() }
}

/// Works on the tasks that arrive on stdin until it ends.
pub fn serve(reports: File) -> ExitCode {
    let reports = Reports(Mutex::new(reports));
    let (sender, tasks) = mpsc::sync_channel(1);
    thread::spawn(move || read_tasks(&sender));
    work(&tasks, &reports)
}

fn work(tasks: &Receiver<Task>, reports: &Reports) -> ExitCode {
    for task in tasks {
        WORKING.store(true, Ordering::Relaxed);
        let last = with_progress(reports, || run(task, reports));
        WORKING.store(false, Ordering::Relaxed);
        if reports.send(&last).is_err() {
            break;
        }
    }
    // Nobody listens any more.
    ExitCode::SUCCESS
}

/// Reads tasks for as long as the daemon lives. Never waits for anything but stdin, so that its end is noticed at any time.
fn read_tasks(sender: &SyncSender<Task>) {
    let mut stream = BufReader::new(stdin());
    loop {
        let frame = match frames::read(&mut stream) {
            Ok(Some(frame)) => frame,
            Ok(None) => end(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => leave(&error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => leave("stdin ended inside a frame"),
            Err(error) => leave(&format!("stdin cannot be read: {error}")),
        };
        let task = match manyhands_proto::decode::<Task>(&frame, WORKER_FRAME_BYTES_MAX) {
            Ok(task) => task,
            Err(error) => leave(&format!("stdin holds something that is no task: {error}")),
        };
        drop(frame);
        match sender.try_send(task) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => leave("tasks are sent one at a time"),
            Err(TrySendError::Disconnected(_)) => end(),
        }
    }
}

/// Ends the process, whatever its other threads do.
fn end() -> ! {
    if WORKING.load(Ordering::Relaxed) {
        // An orderly exit would run the destructors of the prover's kernels while these work, and might wait for them.
        process::kill_self();
    }
    exit(0)
}

fn leave(why: &str) -> ! {
    eprintln!("manyhands-worker: {why}");
    exit(EXIT_DATA)
}

/// Runs one task to its final report. A panic costs the task, not the process.
fn run(task: Task, reports: &Reports) -> Report {
    let outcome = catch_unwind(AssertUnwindSafe(|| attempt(task, reports)));
    outcome
        .unwrap_or_else(|panic| Err(Failure::Prover(prove::panic_text(panic.as_ref()))))
        .unwrap_or_else(Report::Failed)
}

fn attempt(task: Task, reports: &Reports) -> Result<Report, Failure> {
    let start = Instant::now();
    let receipt = match task {
        Task::Identify => return Ok(Report::Identity(identity())),
        Task::Execute { program, input, assumptions, po2, cycles_max, blobs } => {
            let task =
                ExecuteTask { program: &program, input: &input, assumptions: &assumptions, po2, cycles_max, blobs };
            let execution = prove::execute(&task, &|report| reports.send(&report))?;
            return Ok(Report::Executed(Box::new(execution)));
        }
        Task::Prove { segment, nonce } => prove::prove_segment(&segment, nonce),
        Task::Lift { receipt } => prove::lift(&receipt),
        Task::Join { left, right } => prove::join(&left, &right),
        Task::Resolve { conditional, assumption } => prove::resolve(&conditional, &assumption),
        Task::Keccak { request } => prove::prove_keccak(&request),
        Task::Union { left, right } => prove::unite(&left, &right),
        Task::Shrink { receipt } => prove::shrink(&receipt),
    }?;
    let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Report::Receipt { receipt: ByteBuf::from(receipt), elapsed_ms })
}

/// Reports progress once a second while `run` runs, and not after it.
fn with_progress(reports: &Reports, run: impl FnOnce() -> Report) -> Report {
    let start_ms = process::cpu_ms();
    let (done, ticks) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = ticks.recv_timeout(PROGRESS_EVERY) {
                let cpu_ms = process::cpu_ms().saturating_sub(start_ms);
                if reports.send(&Report::Progress { cpu_ms }).is_err() {
                    end();
                }
            }
        });
        let last = run();
        drop(done);
        last
    })
}

/// The stream to the daemon: whole frames, from any thread.
struct Reports(Mutex<File>);

impl Reports {
    fn send(&self, report: &Report) -> io::Result<()> {
        let frame = manyhands_proto::encode(report);
        let mut stream = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        frames::write(&mut *stream, &frame)
    }
}
