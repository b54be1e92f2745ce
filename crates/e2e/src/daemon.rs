//! Prover nodes and a gateway as processes of their own, to be killed at will and started again on what they left.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{program, until};

/// A `manyhands node` process. Dropping it kills it.
pub struct NodeProcess {
    child: Child,
    dir: TempDir,
    gateway: String,
}

/// A `manyhands gateway` process, which keeps its ports over restarts. Dropping it kills it.
pub struct GatewayProcess {
    child: Child,
    dir: TempDir,
    /// Its HTTP door.
    pub http: String,
    /// Where nodes dial it.
    pub address: String,
}

/// Starts `manyhands` with these words on the data in `dir`; what it says is added to the log there.
fn spawn(dir: &Path, words: &[&str]) -> Result<Child> {
    let log = std::fs::File::options().append(true).create(true).open(dir.join("log"))?;
    let child = Command::new(program("MANYHANDS_BIN")?)
        .args(words)
        .arg("--config")
        .arg(dir.join("config.toml"))
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn();
    child.context("cannot start MANYHANDS_BIN")
}

/// Kills a process as the kernel would.
fn kill(child: &mut Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Kills the worker of a process, if it has one now.
fn kill_worker_now(parent: u32) -> Result<bool> {
    let Some(worker) = child_of(parent) else { return Ok(false) };
    // Not killed if it ended meanwhile.
    Ok(Command::new("kill").args(["-9", &worker.to_string()]).stderr(Stdio::null()).status()?.success())
}

/// A port of loopback that was free just now.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl GatewayProcess {
    /// Starts one in a new directory.
    pub fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (http, net) = (free_port()?, free_port()?);
        let mut config = crate::gateway::config(&dir.path().join("data"))?;
        config.gateway.http = ([127, 0, 0, 1], http).into();
        config.net.listen = vec![format!("/ip4/127.0.0.1/tcp/{net}")];
        std::fs::write(dir.path().join("config.toml"), config.to_toml())?;
        let child = spawn(dir.path(), &["gateway"])?;
        Ok(Self { child, dir, http: format!("http://127.0.0.1:{http}"), address: format!("127.0.0.1:{net}") })
    }

    /// Kills it and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        kill(&mut self.child)?;
        self.child = spawn(self.dir.path(), &["gateway"])?;
        Ok(())
    }

    /// Kills its worker process, if there is one now.
    pub fn kill_worker_now(&self) -> Result<bool> {
        kill_worker_now(self.child.id())
    }

    /// The most memory that it has had resident, in bytes.
    pub fn peak_memory_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kb: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kb << 10)
    }

    /// What it wrote so far, in all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        let _ = kill(&mut self.child);
    }
}

impl NodeProcess {
    /// Starts a node that works for the gateway at `address`.
    pub fn start(address: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let config = crate::gateway::config(&dir.path().join("data"))?;
        std::fs::write(dir.path().join("config.toml"), config.to_toml())?;
        let child = spawn(dir.path(), &["node", "--gateway", address, "--po2-max", "16"])?;
        Ok(Self { child, dir, gateway: address.to_owned() })
    }

    /// Kills it and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.child = spawn(self.dir.path(), &["node", "--gateway", &self.gateway, "--po2-max", "16"])?;
        Ok(())
    }

    /// Kills it and starts it again for another gateway.
    pub fn restart_for(&mut self, address: &str) -> Result<()> {
        self.gateway = address.to_owned();
        self.restart()
    }

    /// Kills its worker process, if there is one now.
    pub fn kill_worker_now(&self) -> Result<bool> {
        kill_worker_now(self.child.id())
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as the kernel would.
    pub fn kill(&mut self) -> Result<()> {
        kill(&mut self.child)
    }

    /// Kills its worker process, once there is one at work.
    pub async fn kill_worker(&self) -> Result<()> {
        until("a worker process", async || Ok(self.kill_worker_now()?.then_some(()))).await
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = kill(&mut self.child);
    }
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
