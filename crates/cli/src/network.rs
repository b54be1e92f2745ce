//! A whole network on this machine, for `up` and `demo`: one gateway and some nodes, each a process of this very program.
//!
//! Every member has its directory with the configuration it runs with, and a log file. A member ends when this process does, however that
//! happens: it watches the other end of its standard input.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use manyhands_node::config::StorageMode;
use manyhands_node::{Config, machine};
use manyhands_proto::Po2;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::daemon::ReadyLine;
use crate::failure::Failure;
use crate::screen::text::{printable, tail};

/// How long a member may take until it is up. Opening stores and asking the worker takes a second or two on a slow disk.
const START_TIME: Duration = Duration::from_secs(60);

/// How long a member may take to end before it is killed.
const END_TIME: Duration = Duration::from_secs(5);

/// How often the members are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Lines of a dead member's log that are shown.
const LOG_LINES: usize = 12;

/// Memory that a node needs to lift and join.
const RECURSION_MEMORY_BYTES: u64 = manyhands_core::job::step3_dispatch::RECURSION_MEMORY_BYTES;

/// What network to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the members' configurations are made of.
    pub base: Config,
    /// Where the members' directories are.
    pub dir: PathBuf,
    /// Where the gateway's HTTP API listens.
    pub http: SocketAddr,
    /// Number of nodes.
    pub nodes: u16,
    /// The largest segment that a node offers.
    pub po2_max: Option<Po2>,
    /// Whether nodes must have the memory to lift and join.
    pub recursion: bool,
}

/// A network that is up.
#[derive(Debug)]
pub struct Network {
    /// The gateway.
    pub gateway: Member,
    /// The nodes.
    pub nodes: Vec<Member>,
}

/// One process of it.
#[derive(Debug)]
pub struct Member {
    /// `gateway`, `node 1`, ...
    pub name: String,
    /// What it said when it was up.
    pub ready: ReadyLine,
    /// Its log file.
    pub log: PathBuf,
    process: Child,
    /// Closing it ends the member.
    stdin: Option<ChildStdin>,
}

impl Plan {
    /// Memory for one node: an equal part of half of the machine, but what the asked-for work needs in any case.
    pub fn memory_bytes(&self) -> u64 {
        let part = machine::memory_per_slot_bytes(1) / u64::from(self.nodes.max(1));
        let part = self.base.node.memory_bytes.unwrap_or(part);
        let for_po2 = self.po2_max.map_or(0, Po2::memory_bytes);
        part.max(for_po2).max(if self.recursion { RECURSION_MEMORY_BYTES } else { 0 })
    }

    fn gateway(&self) -> Config {
        let mut config = self.member("gateway");
        config.gateway.http = self.http;
        // Somebody waits for the machine; what its nodes can do shows with their first proofs.
        config.gateway.challenges = false;
        config
    }

    fn node(&self, number: u16, gateway: &str) -> Config {
        let mut config = self.member(&format!("node-{number}"));
        config.node.gateways = vec![gateway.to_owned()];
        config.bee_api.address = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.node.memory_bytes = Some(self.memory_bytes());
        config.node.po2_max = self.po2_max.or(config.node.po2_max);
        // Somebody sits at the machine and waits for it.
        config.node.on_battery = true;
        config
    }

    /// On loopback, and by itself: nobody finds it, and it looks for nobody, nor for a Bee node that it was not told of.
    fn member(&self, name: &str) -> Config {
        let mut config = self.base.clone();
        config.data_dir = self.dir.join(name);
        config.net.listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"].map(str::to_owned).to_vec();
        config.net.boot = Vec::new();
        config.net.mdns = false;
        if config.bee.mode.is_none() && config.bee.url.is_none() {
            config.bee.mode = Some(StorageMode::Embedded);
        }
        config
    }
}

impl Network {
    /// Starts a gateway, then the nodes. If one of them does not come up, all end.
    pub async fn start(plan: &Plan) -> Result<Self, Failure> {
        let gateway = Member::start("gateway", "gateway", &plan.gateway(), &plan.dir).await?;
        let address = gateway
            .ready
            .addresses
            .iter()
            .find(|address| address.contains("/tcp/"))
            .or(gateway.ready.addresses.first());
        let Some(address) = address.cloned() else {
            return Err(Failure::failed("the gateway listens on no address that a node could dial"));
        };
        let mut starts = JoinSet::new();
        for number in 1..=plan.nodes {
            let (config, dir) = (plan.node(number, &address), plan.dir.clone());
            starts
                .spawn(async move { (number, Member::start(&format!("node {number}"), "node", &config, &dir).await) });
        }
        let mut nodes = BTreeMap::new();
        while let Some(Ok((number, node))) = starts.join_next().await {
            nodes.insert(number, node?);
        }
        Ok(Self { gateway, nodes: nodes.into_values().collect() })
    }

    /// The gateway's HTTP address.
    pub fn http(&self) -> String {
        self.gateway.ready.http.map(|address| address.to_string()).unwrap_or_default()
    }

    /// Done when a member died, with its last words.
    pub async fn a_death(&mut self) -> Failure {
        loop {
            for member in std::iter::once(&mut self.gateway).chain(&mut self.nodes) {
                if let Ok(Some(status)) = member.process.try_wait() {
                    return last_words(&format!("{} ended by itself ({status})", member.name), &member.log);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends every member, nodes first; kills what does not end.
    pub async fn stop(mut self) {
        for member in self.nodes.iter_mut().chain([&mut self.gateway]) {
            member.stdin = None;
        }
        let deadline = Instant::now() + END_TIME;
        for member in self.nodes.iter_mut().chain([&mut self.gateway]) {
            if tokio::time::timeout_at(deadline, member.process.wait()).await.is_err() {
                let _ = member.process.kill().await;
            }
        }
    }
}

impl Member {
    async fn start(name: &str, command: &str, config: &Config, dir: &Path) -> Result<Self, Failure> {
        let log = dir.join(format!("{}.log", name.replace(' ', "-")));
        let file = config.data_dir.join("config.toml");
        let unwritable = |path: &Path, error: std::io::Error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
                .hint("choose another directory with --data-dir")
        };
        std::fs::create_dir_all(&config.data_dir).map_err(|error| unwritable(&config.data_dir, error))?;
        std::fs::write(&file, config.to_toml()).map_err(|error| unwritable(&file, error))?;
        let stderr = File::create(&log).map_err(|error| unwritable(&log, error))?;
        let (mut process, stdin, stdout) =
            spawn(command, &file, stderr).map_err(|error| Failure::failed(format!("cannot start {name}: {error}")))?;
        let mut line = String::new();
        // A ready line is some hundred bytes; whatever else comes is no reason to read without end.
        let mut lines = BufReader::new(stdout.take(64 << 10));
        let read = tokio::time::timeout(START_TIME, lines.read_line(&mut line)).await;
        let ready = if matches!(read, Ok(Ok(_))) { serde_json::from_str(&line).ok() } else { None };
        match ready {
            Some(ready) => Ok(Self { name: name.to_owned(), ready, log, process, stdin }),
            None => {
                let why = if read.is_err() {
                    format!("did not come up within {} s", START_TIME.as_secs())
                } else {
                    "did not start".into()
                };
                let _ = process.kill().await;
                Err(last_words(&format!("{name} {why}"), &log))
            }
        }
    }
}

fn spawn(
    command: &str,
    config: &Path,
    stderr: File,
) -> std::io::Result<(Child, Option<ChildStdin>, tokio::process::ChildStdout)> {
    let mut process = Command::new(std::env::current_exe()?);
    process.arg(command).arg("--config").arg(config).arg("--parent-watch");
    // The file says it all; and Ctrl-C is for this process, which ends the others in order.
    process.env_remove("MANYHANDS_DATA_DIR").env_remove("MANYHANDS_WORKER").process_group(0);
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
    let mut process = process.spawn()?;
    let stdin = process.stdin.take();
    let stdout = process.stdout.take().ok_or_else(|| std::io::Error::other("its output is missing"))?;
    Ok((process, stdin, stdout))
}

/// A failure with the end of a log: an error that the member printed for people, else the last lines.
fn last_words(what: &str, log: &Path) -> Failure {
    let text = std::fs::read(log).unwrap_or_default();
    let text = printable(&String::from_utf8_lossy(&text));
    let said = text.rfind("\nerror: ").or_else(|| text.starts_with("error: ").then_some(0));
    let lines = tail(said.and_then(|at| text.get(at..)).unwrap_or(&text), LOG_LINES, 400);
    let shown = if lines.is_empty() {
        "its log is empty".to_owned()
    } else {
        format!("its last words:\n  {}", lines.join("\n  "))
    };
    Failure::failed(format!("{what}; {shown}")).hint(format!("its log: {}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_look_for_no_bee_node_that_they_were_not_told_of() {
        let plan = |base| Plan {
            base,
            dir: "/x".into(),
            http: ([127, 0, 0, 1], 0).into(),
            nodes: 1,
            po2_max: None,
            recursion: false,
        };
        let modes = |plan: &Plan| [plan.gateway().bee.mode, plan.node(1, "x").bee.mode];
        let mut config = Config::default();
        assert_eq!(modes(&plan(config.clone())), [Some(StorageMode::Embedded); 2]);
        config.bee.url = Some("http://bee".to_owned());
        assert_eq!(modes(&plan(config.clone())), [None; 2], "what is told is theirs to follow");
        config.bee.mode = Some(StorageMode::BeeOnly);
        assert_eq!(modes(&plan(config)), [Some(StorageMode::BeeOnly); 2]);
    }
}
