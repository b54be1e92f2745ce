//! Whether a Bee node is there, and what it is.

use core::fmt;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::address::DEFAULT_ADDRESS;
use crate::call::{Call, Refusal};
use crate::client::{Bee, is_refusal};
use crate::error::{BeeError, root};
use crate::json;

/// How long each question may take that asks who is there: a node on this machine answers in milliseconds.
const LOOK_TIME: Duration = Duration::from_secs(3);

/// What a Bee node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its version, such as `2.8.1-…`.
    pub version: String,
    /// The version of its API, such as `8.1.0`.
    pub api_version: String,
    /// How it takes part; none while it is still syncing.
    pub mode: Option<NodeMode>,
    /// Whether it says that it is well.
    pub is_healthy: bool,
}

/// How a Bee node takes part in Swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeMode {
    /// It stores for others.
    Full,
    /// It uploads and downloads.
    Light,
    /// It has no chain, and so it can only download.
    UltraLight,
    /// A development node, whose network is itself.
    Dev,
    /// Something that this program does not know.
    Unknown,
}

impl NodeMode {
    fn of_word(word: &str) -> Self {
        match word {
            "full" => Self::Full,
            "light" => Self::Light,
            "ultra-light" | "ultralight" => Self::UltraLight,
            "dev" => Self::Dev,
            _ => Self::Unknown,
        }
    }

    /// Whether such a node can upload.
    pub const fn can_upload(self) -> bool {
        match self {
            Self::Full | Self::Light | Self::Dev | Self::Unknown => true,
            Self::UltraLight => false,
        }
    }
}

impl fmt::Display for NodeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Light => "light",
            Self::UltraLight => "ultra-light",
            Self::Dev => "development",
            Self::Unknown => "of a mode unknown here",
        })
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = self.mode.map_or_else(|| "still syncing".to_owned(), |mode| mode.to_string());
        let health = if self.is_healthy { "" } else { ", not well" };
        write!(f, "Bee {} (API {}), {mode}{health}", self.version, self.api_version)
    }
}

impl Bee {
    /// The node of this machine, at [`DEFAULT_ADDRESS`], if it is there.
    ///
    /// # Errors
    /// As [`Bee::about`].
    pub async fn find() -> Result<(Self, About), BeeError> {
        let bee = Self::new(DEFAULT_ADDRESS, None)?;
        let about = bee.about().await?;
        Ok((bee, about))
    }

    /// Who is there. Asked once, and answered within seconds.
    ///
    /// # Errors
    /// [`BeeError::Unreachable`] if nobody is, [`BeeError::NotABee`] if it is somebody else, [`BeeError::Silent`].
    pub async fn about(&self) -> Result<About, BeeError> {
        let run = self.run_once(LOOK_TIME);
        let health = match self.ask(&run, Call::Health, Method::GET, "health").await {
            Ok(health) => health,
            Err(error) => return Err(self.stranger(error)),
        };
        let field = |name: &str| json::text(&health, name).map(|text| json::tame(text, 40));
        let (Some(version), Some(api_version)) = (field("version"), field("apiVersion")) else {
            return Err(self.no_bee("its /health says no Bee version".to_owned()));
        };
        let is_healthy = json::text(&health, "status").is_some_and(|status| status == "ok");
        let run = self.run_once(LOOK_TIME);
        let mode = match self.ask(&run, Call::Node, Method::GET, "node").await {
            Ok(node) => Some(json::text(&node, "beeMode").map_or(NodeMode::Unknown, NodeMode::of_word)),
            Err(error) if is_refusal(&error, Refusal::Syncing) => None,
            Err(error) => return Err(self.stranger(error)),
        };
        Ok(About { version, api_version, mode, is_healthy })
    }

    /// Waits until the node is ready, as long as the client's patience allows.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn wait_ready(&self) -> Result<(), BeeError> {
        let run = self.run(Duration::ZERO);
        let attempt = || async {
            match self.send(Call::Readiness, self.request(Method::GET, "readiness")).await {
                Ok(_) => Ok(()),
                // "notReady" comes as a 400, which is final everywhere else.
                Err(BeeError::Refused { call, status: 400, message, .. }) => {
                    Err(BeeError::Refused { call, status: 400, refusal: Refusal::Syncing, message })
                }
                Err(error) => Err(error),
            }
        };
        self.persist(&run, Call::Readiness, LOOK_TIME, attempt).await
    }

    /// Today's price in PLUR per chunk and block, if the node says it.
    pub(crate) async fn price_plur(&self) -> Option<u128> {
        let run = self.run_once(LOOK_TIME);
        let state: Value = self.ask(&run, Call::ChainState, Method::GET, "chainstate").await.ok()?;
        json::number(&state, "currentPrice")
    }

    /// What is wrong when the question who is there has no good answer.
    fn stranger(&self, error: BeeError) -> BeeError {
        match error {
            BeeError::Broken { source, .. } => self.no_bee(format!("its answer is broken ({})", root(&source))),
            BeeError::Garbled { .. } => self.no_bee("its /health is not in Bee's words".to_owned()),
            BeeError::TooLarge { .. } => self.no_bee("its /health has no end".to_owned()),
            BeeError::Refused { status, refusal: Refusal::NotFound | Refusal::Odd | Refusal::Unable, .. } => {
                self.no_bee(format!("it answers with status {status} where a Bee says how it is"))
            }
            other => other,
        }
    }

    fn no_bee(&self, what: String) -> BeeError {
        BeeError::NotABee { address: self.address(), what }
    }
}
