//! The store that the commands open: which file, and what is said if it cannot be had.

use std::path::{Path, PathBuf};

use clap::Args;
use manyhands_blob::store::Entry;
use manyhands_blob::{ChunkStore, StoreError};
use manyhands_node::data_dir::DataDir;
use manyhands_node::{Config, StartError, open_store};

use crate::failure::Failure;
use crate::options::ConfigOptions;
use crate::screen::text::printable;

/// Owners that a sentence names; the rest is a number.
const NAMED_MAX: usize = 5;

/// Which store.
#[derive(Debug, Clone, Args)]
pub struct StoreOptions {
    #[command(flatten)]
    config: ConfigOptions,
    /// The chunk store's file [default: chunks.redb in the data directory].
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

/// A store that this process has for itself.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: ChunkStore,
    /// Its file.
    pub path: PathBuf,
    /// What its chunks may take, in bytes.
    pub limit_bytes: u64,
}

impl StoreOptions {
    /// Opens the store, which must be there.
    pub fn open(&self) -> Result<Opened, Failure> {
        let config = self.config.load()?;
        let path = self.path(&config);
        match path.try_exists() {
            Ok(true) => open(path, &config),
            Ok(false) => Err(Failure::usage(format!("there is no chunk store {}", path.display()))
                .hint("`manyhands blob put` makes one; name another with --data-dir or --store")),
            Err(error) => Err(Failure::failed(format!("cannot look for the chunk store {}: {error}", path.display()))),
        }
    }

    /// Opens the store or makes it, and its data directory with it.
    pub fn open_or_make(&self) -> Result<Opened, Failure> {
        let config = self.config.load()?;
        if self.store.is_none() {
            DataDir::make(&config.data_dir)?;
        }
        open(self.path(&config), &config)
    }

    fn path(&self, config: &Config) -> PathBuf {
        self.store.clone().unwrap_or_else(|| DataDir::chunks_in(&config.data_dir))
    }
}

/// As a daemon would: within its limit, and above the floor of its disk.
fn open(path: PathBuf, config: &Config) -> Result<Opened, Failure> {
    let limit_bytes = config.store_limit_bytes;
    match open_store(config, &path) {
        Ok(store) => Ok(Opened { store, path, limit_bytes }),
        Err(StartError::Store(StoreError::AlreadyOpen { .. })) => Err(in_use(&path, config)),
        Err(StartError::Store(error)) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}

fn in_use(path: &Path, config: &Config) -> Failure {
    let shown = path.display();
    let what = "a gateway that runs has it, or another `manyhands blob`";
    Failure::failed(format!("the chunk store {shown} is open in another program: {what}")).hint(format!(
        "stop that program and try again; a gateway's Bee-compatible HTTP API, here http://{}, can be used while it runs",
        config.gateway.http
    ))
}

/// Who keeps a root, in words: `it is pinned and held by receipts`. None if nobody does.
pub fn keepers(entry: &Entry) -> Option<String> {
    let mut owners: Vec<String> =
        entry.owners.iter().take(NAMED_MAX).map(|owner| printable(&owner.to_string())).collect();
    if entry.owners.len() > NAMED_MAX {
        owners.push(format!("{} more", entry.owners.len() - NAMED_MAX));
    }
    match (entry.is_pinned, owners.is_empty()) {
        (false, true) => None,
        (true, true) => Some("it is pinned".to_owned()),
        (true, false) => Some(format!("it is pinned and held by {}", owners.join(", "))),
        (false, false) => Some(format!("it is held by {}", owners.join(", "))),
    }
}
