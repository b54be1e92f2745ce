//! Prover nodes as processes of their own, to be killed at will.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{program, until};

/// A `manyhands node` process. Dropping it kills it.
pub struct NodeProcess {
    child: Child,
    dir: TempDir,
}

impl NodeProcess {
    /// Starts a node that works for the gateway at `address`.
    pub fn start(address: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let child = Command::new(program("MANYHANDS_BIN")?)
            .arg("node")
            .args(["--gateway", address, "--po2-max", "16"])
            .arg("--config")
            .arg(write_config(dir.path())?)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start MANYHANDS_BIN")?;
        Ok(Self { child, dir })
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as the kernel would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Kills its worker process, once there is one at work.
    pub async fn kill_worker(&self) -> Result<()> {
        let node = self.child.id();
        let worker = until("a worker process", async || Ok(child_of(node))).await?;
        let status = Command::new("kill").args(["-9", &worker.to_string()]).status()?;
        anyhow::ensure!(status.success(), "kill failed");
        Ok(())
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(dir: &Path) -> Result<std::path::PathBuf> {
    let config = crate::gateway::config(&dir.join("data"))?;
    let path = dir.join("config.toml");
    std::fs::write(&path, config.to_toml())?;
    Ok(path)
}

/// The child of a process that runs the worker program, if there is one.
pub fn child_of(parent: u32) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?;
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.into_iter().find(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // `pid (name) state ppid ..`; the name is cut to 15 characters by the kernel.
        let fields = stat.rsplit_once(") ").map(|(head, tail)| (head.contains("manyhands-worke"), tail));
        fields.is_some_and(|(is_worker, tail)| is_worker && tail.split(' ').nth(1) == Some(&parent.to_string()))
    })
}
