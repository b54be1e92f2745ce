//! `manyhands up`: a whole network on this machine until Ctrl-C.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use manyhands_proto::Po2;

use crate::failure::Failure;
use crate::interrupt::interrupted;
use crate::network::{Network, Plan};
use crate::options::{ConfigOptions, po2};
use crate::screen::table::{Align, table};
use crate::screen::text::{bytes, plural};
use crate::screen::{self, Paint};

/// Options of `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Number of nodes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// The largest segment that the nodes offer, 14 to 24 [default: what an equal part of half the memory allows].
    #[arg(long, value_name = "N", value_parser = po2)]
    po2_max: Option<Po2>,
    /// Where the gateway's HTTP API listens [default: the configuration's, 127.0.0.1:7171].
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    config: ConfigOptions,
}

/// Starts the network and waits.
pub async fn run(args: UpArgs) -> Result<ExitCode, Failure> {
    let base = args.config.load()?;
    let plan = Plan {
        dir: base.data_dir.join("up"),
        http: args.http.unwrap_or(base.gateway.http),
        nodes: args.nodes,
        po2_max: args.po2_max,
        recursion: false,
        base,
    };
    screen::err(&format!("starting a gateway and {} ...", plural(plan.nodes.into(), "node")));
    let mut network = tokio::select! {
        network = Network::start(&plan) => network?,
        () = interrupted() => return Ok(ExitCode::SUCCESS),
    };
    screen::out(&lines(&network, &plan, Paint::stdout()).join("\n"));
    let death = tokio::select! {
        death = network.a_death() => Some(death),
        () = interrupted() => None,
    };
    screen::err("\nending the network ...");
    network.stop().await;
    death.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// What runs where, and one next command.
pub fn lines(network: &Network, plan: &Plan, paint: Paint) -> Vec<String> {
    let gateway = &network.gateway.ready;
    let http = format!("http://{}", network.http());
    let mut rows =
        vec![vec!["gateway".to_owned(), gateway.peer_id.clone(), http, network.gateway.log.display().to_string()]];
    rows.extend(network.nodes.iter().map(|node| {
        let po2 = node.ready.po2_max.map_or_else(|| "?".to_owned(), |po2| po2.to_string());
        let recursion = if node.ready.recursion { ", lift, join" } else { "" };
        vec![
            node.name.clone(),
            node.ready.peer_id.clone(),
            format!("up to po2 {po2}{recursion}"),
            node.log.display().to_string(),
        ]
    }));
    let columns = [("what", Align::Left), ("peer id", Align::Left), ("does", Align::Left), ("log", Align::Left)];
    let mut lines = table(&columns, &rows);
    lines.push(format!("{} of memory for each node; data in {}", bytes(plan.memory_bytes()), plan.dir.display()));
    if !network.nodes.iter().all(|node| node.ready.recursion) {
        lines.push(paint.yellow("no recursion programs in the worker: receipts will be composite, not succinct"));
    }
    if let Some(address) = gateway.bee_api {
        lines.push(format!("programs made for a Swarm node find Bee's API at http://{address}"));
    }
    lines.push(String::new());
    let address = network.http();
    let option =
        if address == manyhands_api::types::DEFAULT_ADDRESS { String::new() } else { format!(" --gateway {address}") };
    lines.push(format!(
        "next: {}    (Ctrl-C ends the network)",
        paint.bold(&format!("manyhands prove PROGRAM.bin --input FILE{option}"))
    ));
    lines
}
