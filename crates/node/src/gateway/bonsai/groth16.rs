//! Groth16 receipts by this machine: whether it can make them here and now, and making one in a worker process of its own.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use manyhands_proto::worker::{Report, Task};
use manyhands_zkvm::{GROTH16_IMAGE, Shrinkable};
use serde_bytes::ByteBuf;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::gateway::runs::RUNS_MAX;
use crate::worker::{Worker, WorkerError, WorkerOptions};

/// How long Docker may take for one answer. Two are asked for, and a client waits 30 s for a call (bonsai-sdk 1.4.3).
const DOCKER_TIME: Duration = Duration::from_secs(8);

/// How long what was found out counts: clients ask in bursts.
const PROBE_AGE: Duration = Duration::from_secs(10);

/// How long one receipt may take; what hangs must not hold up all others. The worker's half alone took 12 minutes on two busy cores.
const MAKE_TIME: Duration = Duration::from_secs(2 * 3600);

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
}

impl Machine {
    pub(crate) fn new(worker: PathBuf, has_recursion: bool, folder: &Path) -> Self {
        // Docker takes a relative path for the name of a volume.
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        // The prover starts what is on the PATH under this name, so nothing else is asked.
        Self { worker, has_recursion, docker: PathBuf::from("docker"), folder, probe: Mutex::default() }
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
        let mut command = Command::new(&self.docker);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = match tokio::time::timeout(DOCKER_TIME, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => {
                return Err("there is no `docker` on its PATH".to_owned());
            }
            Ok(Err(error)) => return Err(format!("`docker` cannot be started ({error})")),
            Err(_) => return Err(format!("`docker {}` did not answer within {DOCKER_TIME:?}", words.join(" "))),
        };
        if output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
        Ok(Some(line.trim().chars().take(200).collect()))
    }

    async fn made(&self, succinct: Vec<u8>) -> Result<Vec<u8>, String> {
        let (succinct, wanted) = blocking(move || {
            let wanted = Shrinkable::read(&succinct).map_err(|error| error.to_string())?;
            Ok((succinct, wanted))
        })
        .await?;
        let task = Task::Shrink { receipt: ByteBuf::from(succinct) };
        let mut runs = 1;
        let receipt = loop {
            match tokio::time::timeout(MAKE_TIME, self.run_once(&task)).await {
                // A worker that died need not be the receipt's fault.
                Ok(Err(error @ WorkerError::Died { .. })) if runs < RUNS_MAX => {
                    tracing::warn!(%error, "a Groth16 receipt is begun once more");
                    runs += 1;
                }
                Ok(ended) => break ended.map_err(|error| error.to_string())?,
                Err(_) => return Err(format!("it was not made within {} hours", MAKE_TIME.as_secs() / 3600)),
            }
        };
        blocking(move || wanted.check(&receipt).map(|()| receipt).map_err(|error| error.to_string())).await
    }

    /// One run of the worker, whose files are gone when it ends, however it ends.
    async fn run_once(&self, task: &Task) -> Result<Vec<u8>, WorkerError> {
        let spawn = |source| WorkerError::Spawn { path: self.worker.clone(), source };
        let folder = tempfile::Builder::new().prefix("groth16-").tempdir_in(&self.folder).map_err(spawn)?;
        let mut worker = Worker::spawn_in(&self.worker, WorkerOptions::default(), folder.path())?;
        match worker.run(task).await? {
            Report::Receipt { receipt, .. } => Ok(receipt.into_vec()),
            Report::Failed(failure) => Err(failure.into()),
            _ => Err(WorkerError::Protocol { what: "an answer to another question".to_owned() }),
        }
    }
}

impl Maker for Machine {
    fn can(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.probed())
    }

    fn make(&self, succinct: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(self.made(succinct))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err("it was interrupted".to_owned()))
}

#[cfg(test)]
mod tests;
