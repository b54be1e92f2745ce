//! Groth16 receipts by this machine: whether it can make them here and now, and making one in a worker process of its own.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use manyhands_proto::worker::{Report, Task};
use manyhands_zkvm::{GROTH16_IMAGE, Shrinkable};
use serde_bytes::ByteBuf;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::gateway::runs::anew_if_it_dies;
use crate::machine;
use crate::worker::{Worker, WorkerError, WorkerOptions};

/// How long Docker may take for one answer. Two are asked for, and a client waits 30 s for a call (bonsai-sdk 1.4.3).
const DOCKER_TIME: Duration = Duration::from_secs(8);

/// How long what was found out counts: clients ask in bursts.
const PROBE_AGE: Duration = Duration::from_secs(10);

/// How long one receipt may take, however often its worker dies; what hangs must not hold up all others. The worker's half alone took 12
/// minutes on two busy cores.
const MAKE_TIME: Duration = Duration::from_secs(2 * 3600);

/// Memory that is free where one is begun, in bytes. The worker's half took 1.44 GB; what the container takes is not known.
const FREE_BYTES_MIN: u64 = 2_000_000_000;

/// How the names of the folders begin that a worker and its container have in common.
const FOLDER: &str = "groth16-";

/// Who makes Groth16 receipts.
pub(crate) trait Maker: fmt::Debug + Send + Sync {
    /// Whether it can here and now; else why not, and what its owner may do about it.
    fn can(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Makes one of a whole succinct receipt, and checks that it proves the same; else says why there is none.
    fn make(&self, succinct: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, String>>;
}

/// RISC Zero's own prover: in our worker, and in its container.
#[derive(Debug)]
pub(crate) struct Machine {
    worker: PathBuf,
    has_recursion: bool,
    docker: PathBuf,
    /// Where the two exchange files.
    folder: PathBuf,
    probe: Mutex<Option<(Instant, Result<(), String>)>>,
    /// How much memory is free, if that can be told.
    free_bytes: fn() -> Option<u64>,
    make_time: Duration,
    /// Held while one is made.
    making: Mutex<()>,
}

impl Machine {
    pub(crate) fn new(worker: PathBuf, has_recursion: bool, folder: &Path) -> Self {
        // Docker takes a relative path for the name of a volume, and tells of one in its shortest form.
        let whole = folder.canonicalize().or_else(|_| std::path::absolute(folder));
        Self {
            worker,
            has_recursion,
            // The prover starts what is on the PATH under this name, so nothing else is asked.
            docker: PathBuf::from("docker"),
            folder: whole.unwrap_or_else(|_| folder.to_owned()),
            probe: Mutex::default(),
            free_bytes: machine::free_bytes,
            make_time: MAKE_TIME,
            making: Mutex::default(),
        }
    }

    /// Whether it can, and has the memory. Whoever asks while one is made waits for its turn, and that one's memory is free then.
    async fn ready(&self) -> Result<(), String> {
        self.probed().await?;
        match (self.free_bytes)().filter(|bytes| *bytes < FREE_BYTES_MIN) {
            Some(bytes) if self.making.try_lock().is_ok() => Err(format!(
                "it takes {} MB of free memory, and its machine has {} MB: stop something else there, or ask again later",
                FREE_BYTES_MIN / 1_000_000,
                bytes / 1_000_000
            )),
            _ => Ok(()),
        }
    }

    async fn probed(&self) -> Result<(), String> {
        let mut probe = self.probe.lock().await;
        if let Some((at, found)) = &*probe
            && at.elapsed() < PROBE_AGE
        {
            return found.clone();
        }
        let found = self.look().await;
        *probe = Some((Instant::now(), found.clone()));
        found
    }

    async fn look(&self) -> Result<(), String> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(format!(
                "RISC Zero's prover for them is made for Linux on x86-64, and this machine is {} on {}",
                std::env::consts::OS,
                std::env::consts::ARCH
            ));
        }
        if !self.has_recursion {
            return Err(
                "its worker was built without the recursion programs: build it again where they can be had".to_owned()
            );
        }
        if self.folder.to_string_lossy().contains(':') {
            return Err("the path of its data directory has a colon, so Docker cannot mount it".to_owned());
        }
        let install = "install Docker, start it, and let the gateway's user use it (group docker)";
        match self.ask(&["info"]).await {
            Ok(None) => {}
            Ok(Some(said)) => return Err(format!("Docker does not work for it ({said}): {install}")),
            Err(why) => return Err(format!("{why}: {install}")),
        }
        match self.ask(&["image", "inspect", GROTH16_IMAGE]).await {
            Ok(None) => Ok(()),
            Ok(Some(said)) => {
                Err(format!("RISC Zero's container is not on it ({said}): `docker pull {GROTH16_IMAGE}` there"))
            }
            Err(why) => Err(why),
        }
    }

    /// Asks Docker something. What it says to it if it refuses; else why there was no answer.
    async fn ask(&self, words: &[&str]) -> Result<Option<String>, String> {
        let output = self.docker(words).await?;
        Ok((!output.status.success()).then(|| last_line(&output.stderr)))
    }

    async fn docker(&self, words: &[&str]) -> Result<Output, String> {
        let mut command = Command::new(&self.docker);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        match tokio::time::timeout(DOCKER_TIME, command.output()).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Err("there is no `docker` on its PATH".to_owned()),
            Ok(Err(error)) => Err(format!("`docker` cannot be started ({error})")),
            Err(_) => Err(format!("`docker {}` did not answer within {DOCKER_TIME:?}", words.join(" "))),
        }
    }

    /// Ends containers whose folder has a path that begins like this. Whoever started one may be killed, and it goes on.
    async fn end_containers(&self, path: &Path) {
        let list = match self.docker(&["ps", "--no-trunc", "--format", "{{.ID}} {{.Mounts}}"]).await {
            Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
            Ok(output) => return could_not_end(&last_line(&output.stderr)),
            Err(why) => return could_not_end(&why),
        };
        for container in containers_at(&list, &path.to_string_lossy()) {
            tracing::warn!(container, "a container that nobody waits for is ended");
            match self.ask(&["kill", container]).await {
                Ok(None) => {}
                Ok(Some(why)) | Err(why) => could_not_end(&why),
            }
        }
    }

    async fn made(&self, succinct: Vec<u8>) -> Result<Vec<u8>, String> {
        let _making = self.making.lock().await;
        let (succinct, wanted) = blocking(move || {
            let wanted = Shrinkable::read(&succinct).map_err(|error| error.to_string())?;
            Ok((succinct, wanted))
        })
        .await?;
        let task = Task::Shrink { receipt: ByteBuf::from(succinct) };
        // Of a gateway that was killed.
        self.end_containers(&self.folder.join(FOLDER)).await;
        let folder = tempfile::Builder::new().prefix(FOLDER).tempdir_in(&self.folder);
        let folder =
            folder.map_err(|error| format!("its files have no folder in {}: {error}", self.folder.display()))?;
        let run = anew_if_it_dies("a Groth16 receipt", || self.run_once(&task, folder.path()));
        let Ok(ended) = tokio::time::timeout(self.make_time, run).await else {
            self.end_containers(folder.path()).await;
            return Err(format!("it was not made within {} hours", self.make_time.as_secs() / 3600));
        };
        let receipt = ended.map_err(|error| error.to_string())?;
        blocking(move || wanted.check(&receipt).map(|()| receipt).map_err(|error| error.to_string())).await
    }

    /// One run of the worker, which leaves no container behind if it fails.
    async fn run_once(&self, task: &Task, folder: &Path) -> Result<Vec<u8>, WorkerError> {
        let mut worker = Worker::spawn_in(&self.worker, WorkerOptions::default(), folder)?;
        let ended = worker.run(task).await;
        drop(worker);
        if ended.is_err() {
            self.end_containers(folder).await;
        }
        match ended? {
            Report::Receipt { receipt, .. } => Ok(receipt.into_vec()),
            _ => Err(WorkerError::Protocol { what: "an answer to another question".to_owned() }),
        }
    }
}

impl Maker for Machine {
    fn can(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.ready())
    }

    fn make(&self, succinct: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(self.made(succinct))
    }
}

/// The containers in a list of Docker's, an id and its mounts a line, that have a mount which begins like this.
fn containers_at<'a>(list: &'a str, path: &str) -> Vec<&'a str> {
    let later = format!(",{path}");
    let is_there = |mounts: &str| mounts.starts_with(path) || mounts.contains(&later);
    list.lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, mounts)| is_there(mounts))
        .map(|(id, _)| id)
        .collect()
}

fn could_not_end(why: &str) {
    tracing::warn!(why, "a container that nobody waits for may go on until it ends by itself");
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    line.trim().chars().take(200).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err("it was interrupted".to_owned()))
}

#[cfg(test)]
mod tests;
