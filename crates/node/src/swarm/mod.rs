//! Swarm behind a daemon: the user's own Bee node, as the archive behind peers, as the only way, or not at all. Serves step II.

mod archive;
mod depot;
mod source;

use manyhands_bee::{Bee, BeeError, DEFAULT_ADDRESS, Mode, Token};

use crate::StartError;
use crate::config::{BEE_TOKEN, BeeConfig};

pub(crate) use archive::Archive;
pub(crate) use depot::{Depot, Hope, with_advice};

/// Where a daemon looks for blobs that it has not, and puts those that it has.
#[derive(Debug, Clone)]
pub(crate) enum Storage {
    /// Its peers.
    Embedded,
    /// Its peers, and behind them the Bee node.
    PeerFirst(Depot),
    /// The Bee node.
    BeeOnly(Depot),
}

/// Who asks, and so whether uploads are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It archives.
    Gateway,
    /// It uploads only where there is no other way to hand a receipt over.
    Node,
}

impl Storage {
    /// Opens what is configured, with the token that the environment has. The text says what it is.
    ///
    /// # Errors
    /// [`StartError::Bee`] if the configuration names no Bee node that there could be, or if nothing works without one that is not there.
    pub(crate) async fn open(config: &BeeConfig, role: Role) -> Result<(Self, String), StartError> {
        if config.mode == Some(Mode::Embedded) {
            return Ok((Self::Embedded, embedded()));
        }
        let token = std::env::var_os(BEE_TOKEN).map(|text| Token::new(&text.to_string_lossy())).transpose();
        let token = token.map_err(StartError::bee)?;
        Self::open_at(config, role, token, DEFAULT_ADDRESS).await
    }

    async fn open_at(
        config: &BeeConfig,
        role: Role,
        token: Option<Token>,
        usual_address: &str,
    ) -> Result<(Self, String), StartError> {
        if config.mode == Some(Mode::Embedded) {
            return Ok((Self::Embedded, embedded()));
        }
        let address = config.url.as_deref().unwrap_or(usual_address);
        let bee = Bee::new(address, token).map_err(StartError::bee)?;
        let about = bee.about().await;
        let usual = || if config.url.is_some() { Mode::PeerFirst } else { Mode::usual(about.is_ok()) };
        let mode = config.mode.unwrap_or_else(usual);
        let depot = Depot::new(bee.clone(), config.batch);
        let found = about.map(|about| format!("{about}, at {}", bee.address()));
        match mode {
            Mode::Embedded => Ok((Self::Embedded, embedded())),
            Mode::BeeOnly => {
                let node = found.map_err(StartError::bee)?;
                let batch = depot.batch_now().await.map_err(StartError::bee)?;
                Ok((Self::BeeOnly(depot), format!("{mode}: {node}, batch {}", batch.short())))
            }
            Mode::PeerFirst => {
                let text = match found {
                    Ok(node) if role == Role::Gateway => match depot.batch_now().await {
                        Ok(batch) => format!("{mode}: {node}, batch {}", batch.short()),
                        Err(error) => format!("{mode}: {node}, no batch yet: {}", later(&error)),
                    },
                    Ok(node) => format!("{mode}: {node}"),
                    Err(error) => format!("{mode}: {}", later(&error)),
                };
                Ok((Self::PeerFirst(depot), text))
            }
        }
    }
}

fn embedded() -> String {
    format!("{}: this daemon's store and its peers, no Bee node", Mode::Embedded)
}

/// What may come right while the daemon runs: it is said, and asked again with each blob.
fn later(error: &BeeError) -> String {
    tracing::warn!("the Bee node is of no use now, which stops no job: {}", with_advice(error));
    error.to_string()
}

#[cfg(test)]
pub(crate) mod tests;
