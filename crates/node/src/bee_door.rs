//! The second door of both daemons: Bee's HTTP API over their chunk store, for programs made for a Swarm node. Serves step II.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use manyhands_bee_api::{Hive, HiveOptions};
use manyhands_blob::ChunkStore;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::data_dir::DataDir;
use crate::{Config, StartError};

/// Where a gateway's listens if nobody says otherwise: next to its own API.
pub(crate) const GATEWAY_PORT: u16 = 7172;
/// Where a node's listens if nobody says otherwise.
pub(crate) const NODE_PORT: u16 = 7173;

/// How long requests under way may go on at the end.
const CLOSE_TIME: Duration = Duration::from_secs(4);

/// An open door.
#[derive(Debug)]
pub(crate) struct BeeDoor {
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<std::io::Result<()>>,
}

/// Opens the door, unless it is switched off. `usual_port` is taken if none is configured, or any free one if that is taken.
///
/// # Errors
/// [`StartError`] if the configured address cannot be had, or the book of batches not be read.
pub(crate) async fn open(
    config: &Config,
    data_dir: &DataDir,
    store: &ChunkStore,
    usual_port: u16,
) -> Result<Option<BeeDoor>, StartError> {
    if !config.bee_api.enabled {
        return Ok(None);
    }
    let listener = listen(config.bee_api.address, usual_port).await?;
    let taken = |source| StartError::BeeApi { address: SocketAddr::from((Ipv4Addr::LOCALHOST, usual_port)), source };
    let address = listener.local_addr().map_err(taken)?;
    let level = config.bee_api.level()?;
    let options = HiveOptions { folder: data_dir.folder().to_owned(), level, bytes_max: config.store_limit_bytes };
    let hive = Hive::open(store.clone(), options)?;
    let (stop, mut stopped) = watch::channel(false);
    let stopped = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
    let task = tokio::spawn(manyhands_bee_api::serve(listener, hive, stopped));
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "Bee's API has no passwords: whoever reaches this address can store and read");
    }
    Ok(Some(BeeDoor { address, stop, task }))
}

async fn listen(configured: Option<SocketAddr>, usual_port: u16) -> Result<TcpListener, StartError> {
    if let Some(address) = configured {
        return TcpListener::bind(address).await.map_err(|source| StartError::BeeApi { address, source });
    }
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, usual_port));
    match TcpListener::bind(usual).await {
        Ok(listener) => Ok(listener),
        Err(error) => {
            tracing::info!(%usual, %error, "Bee's API takes another port");
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            TcpListener::bind(any).await.map_err(|source| StartError::BeeApi { address: any, source })
        }
    }
}

/// Closes the door, if there is one: lets requests under way end, for some seconds.
pub(crate) async fn close(door: Option<BeeDoor>) {
    if let Some(BeeDoor { stop, task, .. }) = door {
        let _ = stop.send(true);
        let _ = tokio::time::timeout(CLOSE_TIME, task).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_no_obstacle_unless_it_was_asked_for() {
        let first = listen(None, 0).await.unwrap();
        let taken = first.local_addr().unwrap();
        let second = listen(None, taken.port()).await.unwrap();
        assert!(second.local_addr().unwrap().ip().is_loopback());
        let error = listen(Some(taken), 0).await.unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("--bee-api"), "{error}");
    }
}
