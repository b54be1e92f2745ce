//! Options that several commands share, and how their values are read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use manyhands_api::Client;
use manyhands_node::Config;
use manyhands_node::config::{BatchId, BeeConfig, StorageMode};
use manyhands_proto::Po2;

use crate::failure::Failure;

/// Where the configuration comes from. An option comes before an environment variable, that before the file.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigOptions {
    /// Configuration file [default: ~/.config/manyhands/config.toml, if there is one].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory for the identity key, the chunk store and the jobs [env: MANYHANDS_DATA_DIR].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The worker program [env: MANYHANDS_WORKER; default: beside this program, then on the PATH].
    #[arg(long, value_name = "FILE")]
    pub worker: Option<PathBuf>,
}

impl ConfigOptions {
    /// The effective configuration.
    pub fn load(&self) -> Result<Config, Failure> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        if let Some(worker) = &self.worker {
            config.worker = Some(worker.clone());
        }
        Ok(config)
    }
}

/// Where a daemon keeps and looks for blobs, beside its own store.
#[derive(Debug, Clone, Default, Args)]
pub struct StorageOptions {
    /// Where blobs are kept: peer-first, bee-only or embedded [default: the configuration's, else peer-first if a Bee node is named or found].
    #[arg(long, value_name = "MODE")]
    storage: Option<StorageMode>,
    /// Your Bee node's address; a token for it is taken from MANYHANDS_BEE_TOKEN [default: the configuration's, http://127.0.0.1:1633].
    #[arg(long, value_name = "URL")]
    bee: Option<String>,
    /// The postage batch that pays for uploads [default: the configuration's, else one of the Bee node's is chosen].
    #[arg(long, value_name = "ID")]
    batch: Option<BatchId>,
}

impl StorageOptions {
    /// Puts these options into a configuration.
    pub fn apply(&self, bee: &mut BeeConfig) {
        bee.mode = self.storage.or(bee.mode);
        bee.url = self.bee.clone().or(bee.url.take());
        bee.batch = self.batch.or(bee.batch);
    }
}

/// Which gateway to talk to.
#[derive(Debug, Clone, Default, Args)]
pub struct GatewayOptions {
    /// The gateway's HTTP address [default: the one in the configuration, 127.0.0.1:7171].
    #[arg(long, env = "MANYHANDS_GATEWAY", value_name = "HOST:PORT")]
    pub gateway: Option<String>,
}

impl GatewayOptions {
    /// A client of that gateway.
    pub fn client(&self) -> Result<Client, Failure> {
        match &self.gateway {
            Some(address) => Ok(Client::new(address)?),
            None => self.client_or(Config::load(None)?.gateway.http),
        }
    }

    /// A client of that gateway, or of the one that listens on `bound` if none is named.
    pub fn client_or(&self, bound: SocketAddr) -> Result<Client, Failure> {
        let address = self.gateway.clone().unwrap_or_else(|| reachable(bound).to_string());
        Ok(Client::new(&address)?)
    }
}

/// Where to reach what listens on `bound`: a gateway that listens on every address is also on loopback.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let loopback: IpAddr = match bound.ip() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    if bound.ip().is_unspecified() { (loopback, bound.port()).into() } else { bound }
}

/// A segment size, or the gateway's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Po2Choice {
    /// The one at which the connected nodes are predicted to be done first.
    Auto,
    /// This.
    Size(Po2),
}

impl Po2Choice {
    /// The size, if one was chosen.
    pub const fn size(self) -> Option<Po2> {
        match self {
            Self::Auto => None,
            Self::Size(po2) => Some(po2),
        }
    }
}

impl FromStr for Po2Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" { Ok(Self::Auto) } else { po2(text).map(Self::Size) }
    }
}

/// Reads a segment size.
pub fn po2(text: &str) -> Result<Po2, String> {
    let wrong = || format!("a segment size must be a po2 from {} to {}, got {text:?}", Po2::MIN, Po2::MAX);
    text.trim().parse::<u8>().ok().and_then(|number| Po2::try_from(number).ok()).ok_or_else(wrong)
}

/// Segment sizes: `16`, `14..=20`, `14-20` or `14,16,18`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Po2List(pub Vec<Po2>);

impl FromStr for Po2List {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut sizes = Vec::new();
        for part in text.split(',') {
            let ends = part.split_once("..=").or_else(|| part.split_once("..")).or_else(|| part.split_once('-'));
            let (from, to) = ends.unwrap_or((part, part));
            let (from, to) = (po2(from)?, po2(to)?);
            if from > to {
                return Err(format!("{part:?} goes from a larger size to a smaller one"));
            }
            sizes.extend(Po2::all().filter(|po2| (from..=to).contains(po2)));
        }
        sizes.sort_unstable();
        sizes.dedup();
        Ok(Self(sizes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(text: &str) -> Vec<u8> {
        text.parse::<Po2List>().unwrap().0.into_iter().map(Po2::get).collect()
    }

    #[test]
    fn what_is_not_said_of_the_storage_is_as_configured() {
        let batch = BatchId([7; 32]);
        let mut bee = BeeConfig { mode: Some(StorageMode::BeeOnly), url: Some("a".to_owned()), batch: Some(batch) };
        let configured = bee.clone();
        StorageOptions::default().apply(&mut bee);
        assert_eq!(bee, configured);
        let said = StorageOptions { storage: Some(StorageMode::PeerFirst), bee: Some("b".to_owned()), batch: None };
        said.apply(&mut bee);
        assert_eq!(
            bee,
            BeeConfig { mode: Some(StorageMode::PeerFirst), url: Some("b".to_owned()), batch: Some(batch) }
        );
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(sizes("16"), [16]);
        assert_eq!(sizes("14..=17"), [14, 15, 16, 17]);
        assert_eq!(sizes("14..16"), [14, 15, 16], "both ends belong to it, as in the paper's tables");
        assert_eq!(sizes("18-19"), [18, 19]);
        assert_eq!(sizes("20,14, 14..15"), [14, 15, 20]);
    }

    #[test]
    fn wrong_sizes_name_the_range() {
        for text in ["13", "25", "300", "-1", "", "x"] {
            let error = text.parse::<Po2Choice>().unwrap_err();
            assert!(error.contains("14 to 24"), "{text}: {error}");
        }
        assert!("14..=25".parse::<Po2List>().unwrap_err().contains("14 to 24"));
        assert!("18..=16".parse::<Po2List>().unwrap_err().contains("larger"));
        assert_eq!("auto".parse(), Ok(Po2Choice::Auto));
    }

    #[test]
    fn a_gateway_on_all_addresses_is_reached_over_loopback() {
        assert_eq!(reachable("0.0.0.0:7171".parse().unwrap()), "127.0.0.1:7171".parse().unwrap());
        assert_eq!(reachable("192.0.2.1:7171".parse().unwrap()), "192.0.2.1:7171".parse().unwrap());
    }
}
