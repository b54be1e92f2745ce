//! `manyhands gateway`: the gateway daemon in the foreground.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use manyhands_node::gateway::{self, GatewayReady};

use crate::daemon::{DaemonOptions, ReadyLine, start_logging};
use crate::failure::Failure;
use crate::screen::table::pairs;

/// Options of `gateway`.
#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// Where the HTTP API listens; it has no passwords, so keep it on loopback [default: the configuration's, 127.0.0.1:7171].
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Stops guests after this many cycles [default: the configuration's].
    #[arg(long, value_name = "N")]
    cycles_max: Option<u64>,
    #[command(flatten)]
    daemon: DaemonOptions,
}

/// Runs until a signal.
pub async fn run(args: GatewayArgs) -> Result<ExitCode, Failure> {
    start_logging();
    let mut config = args.daemon.load()?;
    if let Some(http) = args.http {
        config.gateway.http = http;
    }
    if let Some(cycles_max) = args.cycles_max {
        config.gateway.cycles_max = cycles_max;
    }
    config.check()?;
    if !config.gateway.http.ip().is_loopback() {
        tracing::warn!(http = %config.gateway.http, "the API has no passwords: whoever reaches this address can use the gateway");
    }
    gateway::run(config, |ready| args.daemon.announce(&ready_line(&ready), &banner(&ready)), args.daemon.shutdown())
        .await?;
    Ok(ExitCode::SUCCESS)
}

fn ready_line(ready: &GatewayReady) -> ReadyLine {
    ReadyLine {
        http: Some(ready.http),
        bee_api: ready.bee_api,
        peer_id: ready.peer_id.clone(),
        addresses: ready.addresses.clone(),
        po2_max: None,
        recursion: ready.worker.recursion,
    }
}

fn banner(ready: &GatewayReady) -> String {
    let first = ready.addresses.first().map_or("ADDRESS", String::as_str);
    let recursion =
        if ready.worker.recursion { "" } else { ", without the recursion programs: composite receipts only" };
    let mut facts = vec![
        ("gateway", format!("http://{}", ready.http)),
        ("peer id", ready.peer_id.clone()),
        ("addresses", ready.addresses.join("\n")),
        ("worker", format!("{}{recursion}", ready.worker.zkvm)),
        ("storage", ready.storage.clone()),
    ];
    facts.extend(ready.bee_api.map(|address| ("Bee's API", format!("http://{address}"))));
    if ready.resumed > 0 {
        facts.push(("resumed", crate::screen::text::plural(ready.resumed as u64, "job")));
    }
    facts.push(("add a node", format!("manyhands node --gateway {first}")));
    facts.push(("prove", format!("manyhands prove PROGRAM --gateway {}", ready.http)));
    pairs(&facts).join("\n")
}
