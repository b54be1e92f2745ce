//! `manyhands node`: the prover daemon in the foreground.

use std::process::ExitCode;

use clap::Args;
use manyhands_core::neighbour::Hours;
use manyhands_node::config::NodeConfig;
use manyhands_node::prover::{self, NodeReady};
use manyhands_proto::Po2;

use crate::daemon::{DaemonOptions, ReadyLine, start_logging};
use crate::failure::Failure;
use crate::options::po2;
use crate::screen::table::pairs;
use crate::screen::text::bytes;

/// Options of `node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Gateway to work for; may be given several times. HOST:PORT is where it listens for nodes, port 7170 as a rule.
    #[arg(long, value_name = "MULTIADDR|HOST:PORT")]
    gateway: Vec<String>,
    /// The largest segment to offer, 14 to 24 [default: what memory allows].
    #[arg(long, value_name = "N", value_parser = po2)]
    po2_max: Option<Po2>,
    /// Memory that one slot may use, in megabytes [default: half of the machine, shared by the slots].
    #[arg(long, value_name = "MB")]
    memory_mb: Option<u64>,
    /// Units to work on at the same time [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    slots: Option<u8>,
    /// Threads of one worker [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// When to work, local time: 22:00-07:00, several with commas [default: always].
    #[arg(long, value_name = "SPANS")]
    hours: Option<Hours>,
    /// Works also while the machine runs on its battery.
    #[arg(long)]
    on_battery: bool,
    /// Megabytes of memory that are left to other programs: with less the node offers smaller segments, then none [default: a sixteenth of
    /// the machine].
    #[arg(long, value_name = "MB")]
    keep_free_mb: Option<u64>,
    /// Rests while other programs use more of the processors [default: never].
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    rest_above_busy: Option<u8>,
    /// Rests while programs wait for memory or the disk during more of the time [default: never].
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    rest_above_pressure: Option<u8>,
    #[command(flatten)]
    daemon: DaemonOptions,
}

/// Runs until a signal.
pub async fn run(args: NodeArgs) -> Result<ExitCode, Failure> {
    start_logging();
    let mut config = args.daemon.load()?;
    if !args.gateway.is_empty() {
        config.node.gateways.clone_from(&args.gateway);
    }
    args.apply(&mut config.node);
    config.check()?;
    let gateways = config.node.gateways.join("\n");
    let ready = |ready: NodeReady| args.daemon.announce(&ready_line(&ready), &banner(&ready, &gateways));
    prover::run(config, ready, args.daemon.shutdown()).await?;
    Ok(ExitCode::SUCCESS)
}

impl NodeArgs {
    fn apply(&self, node: &mut NodeConfig) {
        let bytes = |megabytes: Option<u64>| megabytes.map(|megabytes| megabytes.saturating_mul(1_000_000));
        node.po2_max = self.po2_max.or(node.po2_max);
        node.memory_bytes = bytes(self.memory_mb).or(node.memory_bytes);
        node.slots = self.slots.unwrap_or(node.slots);
        node.threads = self.threads.or(node.threads);
        node.hours = self.hours.clone().unwrap_or_else(|| node.hours.clone());
        node.on_battery |= self.on_battery;
        node.keep_free_bytes = bytes(self.keep_free_mb).or(node.keep_free_bytes);
        node.busy_percent_max = self.rest_above_busy.or(node.busy_percent_max);
        node.pressure_percent_max = self.rest_above_pressure.or(node.pressure_percent_max);
    }
}

fn ready_line(ready: &NodeReady) -> ReadyLine {
    ReadyLine {
        http: None,
        bee_api: ready.bee_api,
        peer_id: ready.peer_id.clone(),
        addresses: ready.addresses.clone(),
        po2_max: Some(ready.capabilities.po2_max),
        recursion: ready.capabilities.recursion,
    }
}

fn banner(ready: &NodeReady, gateways: &str) -> String {
    let can = &ready.capabilities;
    let recursion =
        if can.recursion { "lifts and joins too" } else { "no lifts or joins (its worker has no recursion programs)" };
    let gateways = if gateways.is_empty() { "those that announce jobs; name one with --gateway" } else { gateways };
    let mut facts = vec![
        ("node", ready.peer_id.clone()),
        ("offers", format!("segments up to po2 {}, {recursion}", can.po2_max)),
        (
            "memory",
            format!(
                "{} for each of {}",
                bytes(can.memory_bytes),
                crate::screen::text::plural(can.slots.into(), "slot")
            ),
        ),
        ("worker", can.zkvm.clone()),
        ("storage", ready.storage.clone()),
        ("addresses", ready.addresses.join("\n")),
        ("gateways", gateways.to_owned()),
    ];
    facts.extend(ready.bee_api.map(|address| ("Bee's API", format!("http://{address}"))));
    pairs(&facts).join("\n")
}
