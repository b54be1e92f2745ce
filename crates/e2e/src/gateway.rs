//! A gateway inside the test's own process, over real sockets, with a real worker process.

use anyhow::{Context, Result, bail};
use manyhands_api::types::{JobRequest, JobStatus};
use manyhands_api::{Client, GatewayStatus};
use manyhands_core::Outcome;
use manyhands_node::config::StorageMode;
use manyhands_node::gateway::{self, GatewayReady};
use manyhands_node::{Config, StartError};
use manyhands_proto::{JobId, NodeId, Po2};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{program, until};

/// A gateway as its requesters see it.
pub struct Requester {
    /// A client of its HTTP door.
    pub client: Client,
}

/// A gateway that is up.
pub struct TestGateway {
    /// Its data.
    pub dir: TempDir,
    /// Its HTTP door.
    pub requester: Requester,
    /// Where nodes dial it.
    pub address: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), StartError>>,
}

/// A configuration for a daemon on loopback with free ports.
pub fn config(dir: &std::path::Path) -> Result<Config> {
    let mut config =
        Config { data_dir: dir.to_owned(), worker: Some(program("MANYHANDS_WORKER")?), ..Config::default() };
    config.net.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    config.net.mdns = false;
    // Whatever Bee node this machine has is none of a test's business.
    config.bee.mode = Some(StorageMode::Embedded);
    config.gateway.http = ([127, 0, 0, 1], 0).into();
    // A test that waits for something else must not find its nodes at work on a challenge.
    config.gateway.challenges = false;
    Ok(config)
}

impl TestGateway {
    /// Starts one in a new directory.
    pub async fn start() -> Result<Self> {
        Self::start_in(tempfile::tempdir()?).await
    }

    /// Starts one on existing data.
    pub async fn start_in(dir: TempDir) -> Result<Self> {
        let config = config(dir.path())?;
        Self::start_with(dir, config).await
    }

    /// Starts one as configured.
    pub async fn start_with(dir: TempDir, config: Config) -> Result<Self> {
        let (ready, is_ready) = oneshot::channel::<GatewayReady>();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(gateway::run(config, move |up| drop(ready.send(up)), async move {
            let _ = stopped.await;
        }));
        let Ok(up) = is_ready.await else {
            bail!("the gateway did not start: {:?}", task.await?);
        };
        let address = up.addresses.first().context("the gateway has no address")?.clone();
        Ok(Self { dir, requester: Requester::of(&up.http.to_string())?, address, stop, task })
    }

    /// Stops it and gives its data back.
    pub async fn stop(self) -> Result<TempDir> {
        let _ = self.stop.send(());
        self.task.await??;
        Ok(self.dir)
    }
}

impl std::ops::Deref for TestGateway {
    type Target = Requester;

    fn deref(&self) -> &Requester {
        &self.requester
    }
}

impl Requester {
    /// A requester of the gateway whose HTTP door is at `address`.
    pub fn of(address: &str) -> Result<Self> {
        Ok(Self { client: Client::new(address)? })
    }

    /// Uploads and submits.
    pub async fn submit(&self, program: &[u8], input: Vec<u8>, po2: u8, outcome: Outcome) -> Result<JobId> {
        let program = self.client.upload_program(program.to_vec()).await?.blob;
        let input = Some(self.client.upload_input(input).await?.blob);
        let po2 = Some(Po2::try_from(po2)?);
        let request = JobRequest {
            assumptions: Vec::new(),
            program,
            input,
            po2,
            outcome,
            cycles_max: None,
            priority: manyhands_core::Priority::Normal,
            private: None,
        };
        Ok(self.client.submit(&request).await?.job)
    }

    /// Waits until a job's status satisfies `condition`; fails at once if the job does.
    pub async fn wait(&self, job: JobId, what: &str, condition: impl Fn(&JobStatus) -> bool) -> Result<JobStatus> {
        until(what, async || {
            let status = self.client.job(job).await?;
            if condition(&status) {
                return Ok(Some(status));
            }
            if let Some(error) = &status.view.error {
                bail!("waited for {what}, but the job failed: {error}");
            }
            Ok(None)
        })
        .await
    }

    /// Waits for the receipt.
    pub async fn done(&self, job: JobId) -> Result<(JobStatus, Vec<u8>)> {
        let status = self.wait(job, "the receipt", |status| status.view.phase == "done").await?;
        let receipt = self.client.receipt(job, 64 << 20).await?;
        Ok((status, receipt))
    }

    /// Waits until `count` nodes have introduced themselves.
    pub async fn nodes(&self, count: usize) -> Result<GatewayStatus> {
        until("nodes", async || {
            let status = self.client.status().await?;
            let known = status.nodes.iter().filter(|node| node.connected && node.po2_max.is_some()).count();
            Ok((known >= count).then_some(status))
        })
        .await
    }

    /// What the gateway thinks of a node.
    pub async fn offences(&self, node: NodeId) -> Result<u32> {
        let status = self.client.status().await?;
        Ok(status.nodes.iter().find(|view| view.node == node).map_or(0, |view| view.offences))
    }
}
