//! The configuration file: one typed tree, every field with a default, unknown keys rejected.
//!
//! A value is taken from the command line, else from an environment variable, else from the file, else from here.

mod bee;
mod bee_api;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use manyhands_core::neighbour::Hours;
use manyhands_proto::Po2;
use serde::{Deserialize, Serialize};

pub use bee::{BEE_TOKEN, BatchId, BeeConfig, StorageMode};
pub use bee_api::BeeApiConfig;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the identity key, the chunk store and the job database are kept.
    pub data_dir: PathBuf,
    /// The worker program; absent means beside this program, then on the PATH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<PathBuf>,
    /// Limit of the chunk store in bytes.
    pub store_limit_bytes: u64,
    /// Free space on the store's disk, in bytes, below which nothing new is stored: no job is taken, and no lease asked for.
    pub store_floor_bytes: u64,
    /// The user's own Bee node.
    pub bee: BeeConfig,
    /// Bee's HTTP API.
    pub bee_api: BeeApiConfig,
    /// The network.
    pub net: NetConfig,
    /// The gateway.
    pub gateway: GatewayConfig,
    /// The prover node.
    pub node: NodeConfig,
}

/// The network's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetConfig {
    /// Multiaddresses to listen on; empty means the daemon's own choice (gateway: port 7170, node: any free port).
    pub listen: Vec<String>,
    /// Multiaddresses of peers to begin with.
    pub boot: Vec<String>,
    /// Whether peers on the local network find each other.
    pub mdns: bool,
}

/// The gateway's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where the HTTP API listens. It has no passwords: keep it on loopback.
    pub http: SocketAddr,
    /// Cycles after which a guest is stopped unless the requester asks for fewer.
    pub cycles_max: u64,
    /// The address that clients reach the HTTP API by, if that is not where it listens: `https://prove.example`, of a proxy that speaks TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Peers that may work on private jobs, unless a job names its own: peer ids as libp2p writes them.
    pub trusted: Vec<String>,
    /// Verifiers whose benchmark scores count here as this gateway's own do: peer ids of other gateways.
    pub verifiers: Vec<String>,
    /// Whether nodes without a score that wait for work are given a challenge: a proof that nobody needs but to know what they can do.
    pub challenges: bool,
    /// Where back-ups go; absent means the folder `backups` in the data directory. Each gateway needs one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_folder: Option<PathBuf>,
    /// The most back-ups that are kept; the oldest go when a new one is whole.
    pub backups_max: u8,
}

/// The prover node's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Gateways to work for, as multiaddresses or HOST:PORT; others are found by their job notices.
    pub gateways: Vec<String>,
    /// The largest segment to offer; absent means what memory allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub po2_max: Option<Po2>,
    /// Memory that one slot may use, in bytes; absent means half of the machine, shared by the slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Units worked on at the same time.
    pub slots: u8,
    /// Threads of one worker; absent means every core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u16>,
    /// Memory that is left to other programs, in bytes; absent means a sixteenth of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_free_bytes: Option<u64>,
    /// Rest while other programs use more of the processors, in percent of all; absent means never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy_percent_max: Option<u8>,
    /// Rest while programs wait for memory or the disk during more than this share of the time, in percent; absent means never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure_percent_max: Option<u8>,
    /// Whether to work while the machine runs on its battery.
    pub on_battery: bool,
    /// When to work, local time.
    #[serde(skip_serializing_if = "Hours::is_always")]
    pub hours: Hours,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("the configuration file {} is wrong: {source}\n`manyhands config show` prints a complete one", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value is outside its bounds.
    #[error("the configuration says {what}")]
    Value {
        /// Which, and what is allowed.
        what: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            worker: None,
            store_limit_bytes: 10 << 30,
            store_floor_bytes: 1_000_000_000,
            bee: BeeConfig::default(),
            bee_api: BeeApiConfig::default(),
            net: NetConfig::default(),
            gateway: GatewayConfig::default(),
            node: NodeConfig::default(),
        }
    }
}

impl Default for NetConfig {
    fn default() -> Self {
        Self { listen: Vec::new(), boot: Vec::new(), mdns: true }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        // 2^36 cycles: some 500 times the paper's largest guest.
        Self {
            http: SocketAddr::from(([127, 0, 0, 1], 7171)),
            cycles_max: 1 << 36,
            public_url: None,
            trusted: Vec::new(),
            verifiers: Vec::new(),
            challenges: true,
            backup_folder: None,
            backups_max: 3,
        }
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            gateways: Vec::new(),
            po2_max: None,
            memory_bytes: None,
            slots: 1,
            threads: None,
            keep_free_bytes: None,
            busy_percent_max: None,
            pressure_percent_max: None,
            on_battery: false,
            hours: Hours::default(),
        }
    }
}

impl Config {
    /// Where the file is if nobody says otherwise.
    pub fn default_path() -> PathBuf {
        base_dir("XDG_CONFIG_HOME", ".config").join("manyhands/config.toml")
    }

    /// Reads `path`, or the default file if that exists, then the environment variables `MANYHANDS_DATA_DIR` and `MANYHANDS_WORKER`.
    ///
    /// # Errors
    /// [`ConfigError`] if a named file is missing, or a file has unknown keys or wrong values.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let default = Self::default_path();
        let mut config = match path {
            Some(path) => Self::read(path)?,
            None if default.exists() => Self::read(&default)?,
            None => Self::default(),
        };
        if let Some(data_dir) = std::env::var_os("MANYHANDS_DATA_DIR") {
            config.data_dir = data_dir.into();
        }
        if let Some(worker) = std::env::var_os("MANYHANDS_WORKER") {
            config.worker = Some(worker.into());
        }
        config.check()?;
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// Refuses values that no daemon could run with.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the first such value.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |what: String| Err(ConfigError::Value { what });
        if self.node.slots == 0 || self.node.slots > manyhands_proto::limits::SLOTS_MAX {
            return wrong(format!("node.slots = {}; it must be from 1 to 64", self.node.slots));
        }
        self.bee_api.level()?;
        if self.gateway.backups_max == 0 {
            return wrong("gateway.backups_max = 0; it must be at least 1".to_owned());
        }
        if self.node.threads == Some(0) {
            return wrong("node.threads = 0; leave it out for every core".to_owned());
        }
        for (name, percent) in
            [("busy_percent_max", self.node.busy_percent_max), ("pressure_percent_max", self.node.pressure_percent_max)]
        {
            if percent.is_some_and(|percent| percent > 100) {
                return wrong(format!("node.{name} = {}; it must be at most 100", percent.unwrap_or_default()));
            }
        }
        if self.store_limit_bytes < STORE_BYTES_MIN {
            return wrong(format!(
                "store_limit_bytes = {}; it must be at least {STORE_BYTES_MIN}",
                self.store_limit_bytes
            ));
        }
        Ok(())
    }

    /// The effective configuration as a file, every field with its meaning.
    pub fn to_toml(&self) -> String {
        let plain = toml::to_string_pretty(self).unwrap_or_default();
        let mut text = String::new();
        for line in plain.lines() {
            let key = line.split('=').next().unwrap_or_default().trim();
            if let Some((_, meaning)) = MEANINGS.iter().find(|(name, _)| *name == key) {
                text.push_str(&format!("# {meaning}\n"));
            }
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// One job of the smallest size: a program, an input and some receipts.
const STORE_BYTES_MIN: u64 = 16 << 20;

const MEANINGS: &[(&str, &str)] = &[
    ("data_dir", "Where the identity key, the chunk store and the job database are kept."),
    ("worker", "The worker program; without this line beside this program, then on the PATH."),
    ("store_limit_bytes", "Limit of the chunk store in bytes."),
    (
        "store_floor_bytes",
        "Free space on the store's disk, in bytes, below which nothing new is stored: no job is taken, and no lease asked for.",
    ),
    (
        "mode",
        "Where blobs are kept: peer-first, bee-only or embedded; without this line peer-first if a Bee node is named or found at the start.",
    ),
    (
        "url",
        "The Bee node's address; without this line http://127.0.0.1:1633. A token for it: MANYHANDS_BEE_TOKEN in the environment.",
    ),
    ("batch", "The postage batch that pays for uploads; without this line one of the Bee node's is chosen."),
    ("enabled", "Whether Bee's HTTP API is served over the chunk store."),
    (
        "address",
        "Where it listens; without this line 127.0.0.1:7172 (gateway) or 7173 (node), or a free port. Keep it on loopback.",
    ),
    ("redundancy_level", "Of uploads that name none: 0 as this program and Bee up to 2.8.0, 1 as Bee from 2.8.1."),
    ("listen", "Multiaddresses to listen on; empty means port 7170 for a gateway, any free port for a node."),
    ("boot", "Multiaddresses of peers to begin with."),
    ("mdns", "Whether peers on the local network find each other."),
    ("http", "Where the gateway's HTTP API listens. It has no passwords: keep it on loopback."),
    ("cycles_max", "Cycles after which a guest is stopped unless the requester asks for fewer."),
    (
        "public_url",
        "The address that clients reach the HTTP API by, if that is not where it listens, as https://prove.example.",
    ),
    ("trusted", "Peers that may work on private jobs, unless a job names its own; peer ids."),
    ("verifiers", "Gateways whose benchmark scores count here as this gateway's own do; peer ids."),
    (
        "challenges",
        "Whether nodes without a score that wait for work prove a benchmark, so that it is known what they can do when work comes.",
    ),
    (
        "backup_folder",
        "Where back-ups go; without this line the folder backups in the data directory. Each gateway needs one of its own.",
    ),
    ("backups_max", "The most back-ups that are kept; the oldest go when a new one is whole."),
    ("gateways", "Gateways to work for, as multiaddresses or HOST:PORT; others are found by their job notices."),
    ("po2_max", "The largest segment to offer; without this line what memory allows."),
    ("memory_bytes", "Memory that one slot may use, in bytes; without this line half of the machine."),
    ("slots", "Units worked on at the same time."),
    ("threads", "Threads of one worker; without this line every core."),
    (
        "keep_free_bytes",
        "Memory that is left to other programs, in bytes; without this line a sixteenth of the machine.",
    ),
    ("busy_percent_max", "Rest while other programs use more of the processors, in percent; without this line never."),
    (
        "pressure_percent_max",
        "Rest while programs wait for memory or the disk during more of the time, in percent; without this line never.",
    ),
    ("on_battery", "Whether to work while the machine runs on its battery."),
    ("hours", "When to work, local time: 22:00-07:00, several with commas; without this line always."),
];

fn base_dir(variable: &str, below_home: &str) -> PathBuf {
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    set.unwrap_or_else(|| std::env::home_dir().unwrap_or_else(|| PathBuf::from(".")).join(below_home))
}

fn default_data_dir() -> PathBuf {
    base_dir("XDG_DATA_HOME", ".local/share").join("manyhands")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_back() {
        let mut config = Config { data_dir: "/data".into(), ..Config::default() };
        config.node.po2_max = Po2::try_from(18).ok();
        let text = config.to_toml();
        assert!(text.contains("# Limit of the chunk store in bytes.\nstore_limit_bytes = 10737418240"), "{text}");
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_named() {
        let error = toml::from_str::<Config>("[node]\nslotz = 2").unwrap_err().to_string();
        assert!(error.contains("slotz"), "{error}");
        let error = toml::from_str::<Config>("[node]\npo2_max = 13").unwrap_err().to_string();
        assert!(error.contains("14 to 24"), "{error}");
        let config = Config { node: NodeConfig { slots: 0, ..NodeConfig::default() }, ..Config::default() };
        assert!(config.check().unwrap_err().to_string().contains("from 1 to 64"));
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = Config::load(Some(Path::new("/nowhere/manyhands.toml"))).unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }), "{error}");
    }
}
