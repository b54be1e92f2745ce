//! What this machine is, as far as the checks of `doctor` ask. Reads, and judges nothing.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use manyhands_api::Client;
use manyhands_node::worker::{self, Worker, WorkerOptions};
use manyhands_node::{Config, machine};
use manyhands_proto::worker::Identity;

use crate::failure::Failure;
use crate::screen::text::plural;

/// How long the worker and the gateway may take to say who they are.
const ASK_TIME: Duration = Duration::from_secs(10);

/// What `doctor` judges.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Memory of the machine, or of the control group if that has less.
    pub memory_bytes: u64,
    /// Memory that a node's slot would use.
    pub slot_bytes: u64,
    /// Memory that is free or can be freed at once.
    pub available_bytes: u64,
    /// Swap in all.
    pub swap_bytes: u64,
    /// Swap in use.
    pub swap_used_bytes: u64,
    /// Logical cores.
    pub cores: u16,
    /// Whether the processor has AVX2; absent where that is no question.
    pub has_avx2: Option<bool>,
    /// The worker's path and identity, or why there is none.
    pub worker: Result<(String, Identity), String>,
    /// The data directory.
    pub data_dir: String,
    /// Why it cannot be written.
    pub data_dir_error: Option<String>,
    /// Free space there.
    pub disk_free_bytes: Option<u64>,
    /// The store's limit.
    pub store_limit_bytes: u64,
    /// Files that a process may have open; absent means no limit.
    pub files_max: Option<u64>,
    /// The clock, since 1970.
    pub now: Duration,
    /// When this program was written to disk, since 1970.
    pub built: Option<Duration>,
    /// Which gateway answers, or why none does.
    pub gateway: Result<String, String>,
}

impl Facts {
    /// Looks at everything.
    pub async fn gather(config: &Config, client: &Client) -> Self {
        let limit_bytes = machine::memory_limit_bytes().unwrap_or(u64::MAX);
        let memory_bytes = machine::memory_bytes().min(limit_bytes);
        let (swap_bytes, swap_used_bytes) = machine::swap_bytes();
        let (worker, gateway) = tokio::join!(find_worker(config), find_gateway(client));
        Self {
            memory_bytes,
            slot_bytes: config
                .node
                .memory_bytes
                .unwrap_or_else(|| machine::memory_per_slot_bytes(config.node.slots))
                .min(limit_bytes),
            available_bytes: machine::free_bytes().unwrap_or_default(),
            swap_bytes,
            swap_used_bytes,
            cores: machine::cores(),
            has_avx2: has_avx2(),
            worker,
            data_dir: config.data_dir.display().to_string(),
            data_dir_error: try_write(&config.data_dir).err().map(|error| error.to_string()),
            disk_free_bytes: free_bytes(&config.data_dir),
            store_limit_bytes: config.store_limit_bytes,
            files_max: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            built: built(),
            gateway,
        }
    }
}

async fn find_worker(config: &Config) -> Result<(String, Identity), String> {
    // The rest of this error says what to do, which is for the check to say.
    let first_sentence = |text: String| text.split(". ").next().unwrap_or_default().to_owned();
    let path = worker::locate(config.worker.as_deref()).map_err(|error| first_sentence(error.to_string()))?;
    let mut worker = Worker::spawn(&path, WorkerOptions::default()).map_err(|error| error.to_string())?;
    let identity = tokio::time::timeout(ASK_TIME, worker.identify()).await;
    match identity {
        Ok(Ok(identity)) => Ok((path.display().to_string(), identity)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{} does not answer", path.display())),
    }
}

async fn find_gateway(client: &Client) -> Result<String, String> {
    match tokio::time::timeout(ASK_TIME, client.status()).await {
        Ok(Ok(status)) => {
            let nodes = status.nodes.iter().filter(|node| node.connected).count();
            Ok(format!("{} with {}", client.address(), plural(nodes as u64, "node")))
        }
        Ok(Err(error)) => Err(Failure::from(error).message),
        Err(_) => Err(format!("{} does not answer", client.address())),
    }
}

fn has_avx2() -> Option<bool> {
    #[cfg(target_arch = "x86_64")]
    return Some(std::arch::is_x86_feature_detected!("avx2"));
    #[cfg(not(target_arch = "x86_64"))]
    None
}

fn built() -> Option<Duration> {
    let modified = std::env::current_exe().ok()?.metadata().ok()?.modified().ok()?;
    modified.duration_since(UNIX_EPOCH).ok()
}

/// Writes and removes a file in the directory, or in the nearest one above it that exists: `doctor` leaves nothing behind.
fn try_write(dir: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(existing(dir)).map(drop)
}

fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(existing(dir)).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn existing(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_judged_by_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        assert!(try_write(&dir.path().join("a/b/c")).is_ok());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
        assert!(free_bytes(&dir.path().join("a/b/c")).is_some());
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(try_write(&file.join("below")).is_err());
    }
}
