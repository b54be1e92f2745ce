//! The worker process: found, started, spoken to in frames, killed when it is not wanted any more.
//!
//! A daemon never links the prover. A worker that crashes, is killed or runs out of memory costs one task.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manyhands_proto::limits::WORKER_FRAME_BYTES_MAX;
use manyhands_proto::worker::{Execution, Failure, Identity, KeccakReport, Report, SegmentReport, Task};
use manyhands_proto::{decode, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// The worker program's name.
pub const PROGRAM: &str = "manyhands-worker";

/// Last bytes of the worker's stderr that are kept to explain its death.
const STDERR_BYTES_MAX: usize = 4 << 10;

/// How long a worker may take to say what it is: a second or two on a slow disk. A program that is no worker may read for ever.
const IDENTIFY_TIME: Duration = Duration::from_secs(60);

/// What a worker may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerOptions {
    /// Memory limit in bytes; absent means none.
    pub memory_bytes: Option<u64>,
    /// Threads; absent means every core.
    pub threads: Option<u16>,
}

/// Why a worker is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// There is no such program.
    #[error("the worker program {PROGRAM} was not found{}. Build it with `cargo xtask build`, or name it with --worker or MANYHANDS_WORKER", at.as_deref().map(|at| format!(" at {}", at.display())).unwrap_or_default())]
    Missing {
        /// Where it was said to be.
        at: Option<PathBuf>,
    },
    /// It cannot be started.
    #[error("cannot start the worker {}: {source}", path.display())]
    Spawn {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ended in the middle of a task.
    #[error("the worker ended in the middle of a task ({how}){tail}")]
    Died {
        /// Its exit status, or the signal.
        how: String,
        /// What it wrote to stderr, if anything.
        tail: String,
    },
    /// It broke the frame protocol.
    #[error("the worker sent no valid frame: {what}. Is it of the same version as this program?")]
    Protocol {
        /// What was wrong.
        what: String,
    },
    /// It refused or failed the task, and goes on living.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<WorkerError> for String {
    fn from(error: WorkerError) -> Self {
        error.to_string()
    }
}

/// Finds the worker program: where the owner says, beside this program, or on the PATH.
///
/// # Errors
/// [`WorkerError::Missing`].
pub fn locate(stated: Option<&Path>) -> Result<PathBuf, WorkerError> {
    if let Some(path) = stated {
        let found = path.is_file().then(|| path.to_owned());
        return found.ok_or_else(|| WorkerError::Missing { at: Some(path.to_owned()) });
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join(PROGRAM));
    beside.into_iter().chain(on_path).find(|path| path.is_file()).ok_or(WorkerError::Missing { at: None })
}

/// What is heard of a guest.
#[derive(Debug)]
pub enum Heard {
    /// A segment was cut; the guest may still run.
    Segment(SegmentReport),
    /// It left a batch of keccak permutations to its host.
    Keccak(KeccakReport),
    /// It wrote to stdout or stderr.
    Log(Vec<u8>),
    /// It ended well.
    Ended(Box<Execution>),
}

/// A running worker. Dropping it kills it.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: Tail,
}

/// The end of what a worker wrote to its stderr, read as it comes: a worker that nobody listens to would stop at a full pipe.
#[derive(Debug)]
struct Tail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    reading: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    /// [`WorkerError::Spawn`].
    pub fn spawn(path: &Path, options: WorkerOptions) -> Result<Self, WorkerError> {
        Self::start(Command::new(path), path, options)
    }

    /// Starts a worker that has a folder of its own for temporary files, and for those that it exchanges with RISC Zero's container.
    ///
    /// # Errors
    /// [`WorkerError::Spawn`].
    pub fn spawn_in(path: &Path, options: WorkerOptions, folder: &Path) -> Result<Self, WorkerError> {
        let mut command = Command::new(path);
        // The second is RISC Zero's own; one that this program was started with would lead elsewhere.
        command.env("TMPDIR", folder).env("RISC0_WORK_DIR", folder);
        Self::start(command, path, options)
    }

    fn start(mut command: Command, path: &Path, options: WorkerOptions) -> Result<Self, WorkerError> {
        if let Some(bytes) = options.memory_bytes {
            command.arg("--memory-bytes").arg(bytes.to_string());
        }
        if let Some(threads) = options.threads {
            command.arg("--threads").arg(threads.to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let broken = |source| WorkerError::Spawn { path: path.to_owned(), source };
        let mut child = command.spawn().map_err(broken)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(broken(std::io::Error::other("its pipes are missing")));
        };
        Ok(Self { child, stdin, stdout: BufReader::with_capacity(1 << 16, stdout), stderr: Tail::of(stderr) })
    }

    /// The operating system's id of the process, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks what the worker is.
    ///
    /// # Errors
    /// [`WorkerError`] if it does not say.
    pub async fn identify(&mut self) -> Result<Identity, WorkerError> {
        self.identify_within(IDENTIFY_TIME).await
    }

    async fn identify_within(&mut self, time: Duration) -> Result<Identity, WorkerError> {
        let silent = |_| WorkerError::Protocol { what: format!("nothing within {time:?}") };
        match tokio::time::timeout(time, self.run(&Task::Identify)).await.map_err(silent)?? {
            Report::Identity(identity) => Ok(identity),
            _ => Err(WorkerError::Protocol { what: "an answer to another question".to_owned() }),
        }
    }

    /// Runs one task to its final report, passing over what comes before it.
    ///
    /// # Errors
    /// As [`Worker::report`].
    pub async fn run(&mut self, task: &Task) -> Result<Report, WorkerError> {
        self.begin(task).await?;
        loop {
            let report = self.report().await?;
            if report.is_final() {
                return Ok(report);
            }
        }
    }

    /// What is heard next of a guest that the worker was told to execute.
    ///
    /// # Errors
    /// As [`Worker::report`].
    pub async fn hear(&mut self) -> Result<Heard, WorkerError> {
        loop {
            return Ok(match self.report().await? {
                Report::Segment(segment) => Heard::Segment(segment),
                Report::Keccak(request) => Heard::Keccak(request),
                Report::Log { bytes, .. } => Heard::Log(bytes.into_vec()),
                Report::Executed(execution) => Heard::Ended(execution),
                Report::Progress { .. } => continue,
                Report::Identity(_) | Report::Receipt { .. } | Report::Failed(_) => {
                    return Err(WorkerError::Protocol { what: "an answer to another question".to_owned() });
                }
            });
        }
    }

    /// Gives the worker a task. Its reports are read with [`Worker::report`] until a final one; to stop it, drop the worker.
    ///
    /// # Errors
    /// [`WorkerError`] if the worker is gone.
    pub async fn begin(&mut self, task: &Task) -> Result<(), WorkerError> {
        match self.send(task).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.died(error).await),
        }
    }

    /// The next report of the task under way. A worker waits until its reports are read, so segments never pile up.
    ///
    /// # Errors
    /// [`WorkerError::Failed`] if the task failed and the worker lives on; after any other the worker must be dropped.
    pub async fn report(&mut self) -> Result<Report, WorkerError> {
        match self.receive().await? {
            Report::Failed(failure) => Err(WorkerError::Failed(failure)),
            report => Ok(report),
        }
    }

    async fn send(&mut self, task: &Task) -> std::io::Result<()> {
        let bytes = encode(task);
        let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
        self.stdin.write_all(&length.to_le_bytes()).await?;
        self.stdin.write_all(&bytes).await?;
        self.stdin.flush().await
    }

    async fn receive(&mut self) -> Result<Report, WorkerError> {
        let length = match self.stdout.read_u32_le().await {
            Ok(length) => length as usize,
            Err(error) => return Err(self.died(error).await),
        };
        if length > WORKER_FRAME_BYTES_MAX {
            return Err(WorkerError::Protocol { what: format!("a frame of {length} bytes") });
        }
        let mut bytes = Vec::new();
        match (&mut self.stdout).take(length as u64).read_to_end(&mut bytes).await {
            Ok(read) if read == length => {}
            Ok(_) => return Err(self.died(std::io::ErrorKind::UnexpectedEof.into()).await),
            Err(error) => return Err(self.died(error).await),
        }
        decode(&bytes, WORKER_FRAME_BYTES_MAX).map_err(|error| WorkerError::Protocol { what: error.to_string() })
    }

    /// Says how the worker died.
    async fn died(&mut self, error: std::io::Error) -> WorkerError {
        let status = tokio::time::timeout(Duration::from_secs(2), self.child.wait()).await;
        let how = match status {
            Ok(Ok(status)) => describe(status),
            Ok(Err(_)) | Err(_) => error.to_string(),
        };
        let text = self.stderr.last_words().await;
        let tail = if text.is_empty() { String::new() } else { format!(": {text}") };
        WorkerError::Died { how, tail }
    }
}

impl Tail {
    fn of(mut stderr: ChildStderr) -> Self {
        let bytes = Arc::new(Mutex::new(VecDeque::new()));
        let kept = bytes.clone();
        let reading = tokio::spawn(async move {
            let mut buffer = [0; STDERR_BYTES_MAX];
            while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(buffer.get(..count).unwrap_or_default());
                let surplus = kept.len().saturating_sub(STDERR_BYTES_MAX);
                kept.drain(..surplus);
            }
        });
        Self { bytes, reading }
    }

    /// What came, once no more comes; a child of the worker's may hold the pipe open, and is not waited for.
    async fn last_words(&mut self) -> String {
        let _ = tokio::time::timeout(Duration::from_millis(200), &mut self.reading).await;
        let bytes: Vec<u8> = self.bytes.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(9), _) => "killed, perhaps for want of memory".to_owned(),
        (Some(6), _) => "aborted, perhaps at its memory limit".to_owned(),
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => "unknown exit".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(dir: &Path, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("worker.sh");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_dead_worker_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), "cat >/dev/null & echo out of luck >&2; exit 3");
        let mut worker = Worker::spawn(&path, WorkerOptions::default()).unwrap();
        let error = worker.identify().await.unwrap_err().to_string();
        assert!(error.contains("exit status 3") && error.contains("out of luck"), "{error}");
    }

    #[tokio::test]
    async fn a_talkative_worker_does_not_stop_at_a_full_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let path = script(
            dir.path(),
            "cat >/dev/null & head -c 1000000 /dev/zero | tr '\\0' 'x' >&2; echo the end >&2; exit 3",
        );
        let mut worker = Worker::spawn(&path, WorkerOptions::default()).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(60), worker.identify()).await;
        let error = answer.expect("it waits for a reader").unwrap_err().to_string();
        assert!(error.contains("exit status 3") && error.ends_with("xthe end"), "{error}");
        assert!(error.len() < 2 * STDERR_BYTES_MAX, "{} bytes", error.len());
    }

    #[tokio::test]
    async fn a_program_that_only_listens_is_no_worker() {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), "exec cat >/dev/null");
        let mut worker = Worker::spawn(&path, WorkerOptions::default()).unwrap();
        let error = worker.identify_within(Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(error, WorkerError::Protocol { .. }), "{error}");
    }

    /// What a hung kernel of the prover amounts to: it hears no signal that can be refused, and does not look at its stdin.
    #[tokio::test]
    async fn dropping_a_worker_kills_it_whatever_it_does() {
        for deaf in ["trap '' HUP INT TERM PIPE; touch ready; while :; do :; done", "touch ready; kill -STOP $$"] {
            let dir = tempfile::tempdir().unwrap();
            let path = script(dir.path(), &format!("cd {}; {deaf}", dir.path().display()));
            let worker = Worker::spawn(&path, WorkerOptions::default()).unwrap();
            let process = worker.process_id().unwrap();
            let is_alive = || {
                let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
            };
            while !dir.path().join("ready").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(is_alive());
            drop(worker);
            let gone = async {
                while is_alive() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), gone).await.expect("it outlives its daemon's wish");
        }
    }

    #[tokio::test]
    async fn a_foreign_program_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), "echo 'hello, I am no worker'; sleep 5");
        let mut worker = Worker::spawn(&path, WorkerOptions::default()).unwrap();
        let error = worker.identify().await.unwrap_err();
        assert!(matches!(error, WorkerError::Protocol { .. }), "{error}");
    }

    #[test]
    fn a_missing_worker_names_the_way_out() {
        let error = locate(Some(Path::new("/nowhere/worker"))).unwrap_err().to_string();
        assert!(error.contains("/nowhere/worker") && error.contains("MANYHANDS_WORKER"), "{error}");
    }
}
