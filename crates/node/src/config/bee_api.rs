//! The part of the configuration for the daemons' second door.

use std::net::SocketAddr;

use manyhands_blob::redundancy::Level;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Bee's HTTP API over a daemon's chunk store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BeeApiConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// Where it listens; absent means the daemon's own choice (gateway: 127.0.0.1:7172, node: 127.0.0.1:7173, or any free port there
    /// if that one is taken). It has no passwords: keep it on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The redundancy level, 0 to 4, of uploads that name none. 0 gives the references of this program and of a Bee up to 2.8.0, 1
    /// those of a Bee from 2.8.1.
    pub redundancy_level: u8,
}

impl Default for BeeApiConfig {
    fn default() -> Self {
        Self { enabled: true, address: None, redundancy_level: 0 }
    }
}

impl BeeApiConfig {
    /// The redundancy level.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if there is none of that number.
    pub fn level(&self) -> Result<Level, ConfigError> {
        let number = self.redundancy_level;
        let wrong =
            || ConfigError::Value { what: format!("bee_api.redundancy_level = {number}; it must be from 0 to 4") };
        Level::from_number(number).ok_or_else(wrong)
    }
}
