//! A daemon on a file system of a few megabytes, which the test can fill and free: a tmpfs in a mount namespace of the daemon's own, so
//! that nothing else on the machine sees it and nothing is left of it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use manyhands_node::Config;
use tempfile::TempDir;

use crate::program;

/// What the daemon leaves free of it, in bytes.
pub const FLOOR_BYTES: u64 = 2 << 20;

/// Mounts `$1` with `$2` kilobytes and becomes the program that the other words are.
const MOUNT_AND_RUN: &str = r#"dir=$1 && mount -t tmpfs -o size="$2k" tmpfs "$dir" && shift 2 && exec "$@""#;

/// How to get a mount namespace: as root, else in a user namespace.
const NAMESPACES: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

/// Whether this system lets us mount, and how; nothing says so loudly, past the test runner's capture.
pub fn namespace() -> Option<&'static [&'static str]> {
    let is_allowed = |words: &&&[&str]| {
        let probe = ["sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"];
        Command::new("unshare").args(**words).args(probe).output().is_ok_and(|output| output.status.success())
    };
    let found = NAMESPACES.iter().find(is_allowed).copied();
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no full disk was tested, as neither root nor a user namespace may mount here"
        );
    }
    found
}

/// A `manyhands` daemon whose data directory is such a file system.
pub struct SmallDisk {
    child: Child,
    outside: TempDir,
    /// The line with which it said that it is up.
    pub ready: serde_json::Value,
}

/// A directory with an empty place to mount on, a configuration and a log file.
fn prepare(namespace: &[&str], size_kb: u32, daemon: &[&str]) -> Result<(Command, TempDir)> {
    let outside = tempfile::tempdir()?;
    let data = outside.path().join("data");
    std::fs::create_dir(&data)?;
    let config = outside.path().join("config.toml");
    let daemon_s = Config { store_floor_bytes: FLOOR_BYTES, ..crate::gateway::config(&data)? };
    std::fs::write(&config, daemon_s.to_toml())?;
    let mut command = Command::new("unshare");
    command.args(namespace).args(["sh", "-c", MOUNT_AND_RUN, "sh"]).arg(&data).arg(size_kb.to_string());
    command.arg(program("MANYHANDS_BIN")?).args(daemon).arg("--config").arg(config).arg("--parent-watch");
    command.env("RUST_LOG", "info").stdin(Stdio::piped());
    Ok((command, outside))
}

impl SmallDisk {
    /// Starts `manyhands` with these words on a disk of that size.
    pub fn start(namespace: &[&str], size_kb: u32, daemon: &[&str]) -> Result<Self> {
        let (mut command, outside) = prepare(namespace, size_kb, daemon)?;
        let log = File::create(outside.path().join("log"))?;
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().context("cannot start unshare")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let Ok(ready) = serde_json::from_str(&line) else {
            bail!("{daemon:?} did not start: {}", std::fs::read_to_string(outside.path().join("log"))?);
        };
        Ok(Self { child, outside, ready })
    }

    /// Runs `manyhands` with these words on a disk of that size, to its end.
    pub fn run(namespace: &[&str], size_kb: u32, daemon: &[&str]) -> Result<Output> {
        let (mut command, _outside) = prepare(namespace, size_kb, daemon)?;
        Ok(command.output()?)
    }

    /// The disk, as the daemon sees it.
    fn ballast(&self) -> PathBuf {
        let data = self.outside.path().join("data/ballast");
        PathBuf::from(format!("/proc/{}/root{}", self.child.id(), data.display()))
    }

    /// Leaves no byte free.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::options().append(true).create(true).open(self.ballast())?;
        for size in [1 << 16, 1 << 12, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(())
    }

    /// Takes this many bytes.
    pub fn fill_part(&self, bytes: usize) -> Result<()> {
        Ok(std::fs::write(self.ballast(), vec![0; bytes])?)
    }

    /// Gives back what was taken.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.outside.path().join("log")).unwrap_or_default()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
