//! What a gateway and a node have in common as processes: log lines, signals, and how they tell a parent that they are up.

use std::io::IsTerminal;
use std::net::SocketAddr;

use clap::Args;
use manyhands_node::Config;
use manyhands_proto::Po2;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::interrupt::{interrupted, parent_gone};
use crate::options::{ConfigOptions, StorageOptions};
use crate::screen;

/// Options of both daemons.
#[derive(Debug, Clone, Args)]
pub struct DaemonOptions {
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Address to listen on for other peers; may be given several times [default: the configuration's].
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// Peer to begin with; may be given several times [default: the configuration's].
    #[arg(long, value_name = "MULTIADDR")]
    boot: Vec<String>,
    /// Neither looks for peers on the local network nor lets them find it.
    #[arg(long)]
    no_mdns: bool,
    /// Limit of the chunk store, in megabytes [default: the configuration's, 10 GB].
    #[arg(long, value_name = "MB")]
    store_mb: Option<u64>,
    /// Free space on the store's disk below which nothing new is stored, in megabytes [default: the configuration's, 1 GB].
    #[arg(long, value_name = "MB")]
    store_floor_mb: Option<u64>,
    /// Where Bee's HTTP API listens, for programs made for a Swarm node; it has no passwords [default: the configuration's, or a
    /// port of loopback].
    #[arg(long, value_name = "ADDR:PORT")]
    bee_api: Option<SocketAddr>,
    /// Does not serve Bee's HTTP API.
    #[arg(long, conflicts_with = "bee_api")]
    no_bee_api: bool,
    #[command(flatten)]
    storage: StorageOptions,
    /// Ends when standard input does, and says on standard output when it is up: for `up` and `demo`.
    #[arg(long, hide = true)]
    pub parent_watch: bool,
}

impl DaemonOptions {
    /// The configuration with these options in it.
    pub fn load(&self) -> Result<Config, Failure> {
        let mut config = self.config.load()?;
        if !self.listen.is_empty() {
            config.net.listen.clone_from(&self.listen);
        }
        if !self.boot.is_empty() {
            config.net.boot.clone_from(&self.boot);
        }
        if self.no_mdns {
            config.net.mdns = false;
        }
        if let Some(megabytes) = self.store_mb {
            config.store_limit_bytes = megabytes.saturating_mul(1_000_000);
        }
        if let Some(megabytes) = self.store_floor_mb {
            config.store_floor_bytes = megabytes.saturating_mul(1_000_000);
        }
        if self.no_bee_api {
            config.bee_api.enabled = false;
        }
        if self.bee_api.is_some() {
            (config.bee_api.enabled, config.bee_api.address) = (true, self.bee_api);
        }
        self.storage.apply(&mut config.bee);
        Ok(config)
    }

    /// Done when the daemon is to end.
    pub async fn shutdown(&self) {
        if self.parent_watch {
            tokio::select! {
                () = interrupted() => {}
                () = parent_gone() => {}
            }
        } else {
            interrupted().await;
        }
        tracing::info!("ending");
    }

    /// Says that the daemon is up: to its parent in one line of JSON, to a person in some lines of text.
    pub fn announce(&self, ready: &ReadyLine, text: &str) {
        if self.parent_watch {
            screen::out(&serde_json::to_string(ready).unwrap_or_default());
        } else {
            screen::out(text);
        }
    }
}

/// What a daemon tells its parent once it is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyLine {
    /// A gateway's HTTP address.
    pub http: Option<SocketAddr>,
    /// Where Bee's HTTP API is.
    #[serde(default)]
    pub bee_api: Option<SocketAddr>,
    /// Its peer id as libp2p writes it.
    pub peer_id: String,
    /// Where it can be dialled, with `/p2p`.
    pub addresses: Vec<String>,
    /// The largest segment that a node offers.
    pub po2_max: Option<Po2>,
    /// Whether its worker has the recursion programs.
    pub recursion: bool,
}

/// What is logged unless `RUST_LOG` says otherwise: libp2p tells of what is no trouble here, such as knowing nobody at the start.
const LOGGED: &str = "info,libp2p_gossipsub=error,libp2p_kad=error,libp2p_swarm=warn";

/// Begins to write log lines on standard error: from `info` on unless `RUST_LOG` says otherwise.
pub fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A second logger could only come from a test.
    let _ = logger.try_init();
}
