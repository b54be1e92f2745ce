//! `manyhands nodes`: what the gateway's operator says of a node.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use manyhands_api::types::{NodeRuling, REASON_BYTES_MAX};
use manyhands_core::Verdict;
use manyhands_node::node_of_text;
use manyhands_proto::NodeId;

use crate::failure::{Exit, Failure};
use crate::options::GatewayOptions;
use crate::screen::{self, Paint, fleet};

/// Fewest letters that name a node in short: what `status` shows.
const SHORT_MIN: usize = 8;

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// Shows the nodes that the gateway knows, and what is held against them.
    List(ListArgs),
    /// Gives a node no more work: what it works on is taken back at once.
    Deny(RuleArgs),
    /// Gives a node work as to one that has delivered often. What it did before is forgiven, not what it does from now on.
    Allow(RuleArgs),
    /// Takes back what was said of a node, and forgives what it did.
    Reset(RuleArgs),
}

/// Options of `nodes list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Prints the nodes as JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// Options of the others. They are for the gateway's own machine.
#[derive(Debug, Args)]
pub struct RuleArgs {
    /// The node: its peer id (12D3Koo..), its id in hex, or the eight digits that `status` shows.
    node: String,
    /// Why, in a line: the node is told it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    json: bool,
}

impl NodesCommand {
    /// Whether standard output is for a program.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::List(args) => args.json,
            Self::Deny(args) | Self::Allow(args) | Self::Reset(args) => args.json,
        }
    }
}

/// Does it.
pub async fn run(command: NodesCommand) -> Result<ExitCode, Failure> {
    match command {
        NodesCommand::List(args) => list(args).await,
        NodesCommand::Deny(args) => rule(args, Some(Verdict::Denied)).await,
        NodesCommand::Allow(args) => rule(args, Some(Verdict::Allowed)).await,
        NodesCommand::Reset(args) => rule(args, None).await,
    }
    .map(|()| ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let status = args.gateway.client()?.status().await?;
    if args.json {
        screen::json(&status.nodes);
    } else {
        screen::out(&fleet::fleet(&status, Paint::stdout()).join("\n"));
    }
    Ok(())
}

async fn rule(args: RuleArgs, verdict: Option<Verdict>) -> Result<(), Failure> {
    if args.reason.len() > REASON_BYTES_MAX {
        return Err(Failure::new(Exit::Usage, format!("a reason has at most {REASON_BYTES_MAX} bytes")));
    }
    let client = args.gateway.client()?;
    let node = match named(&args.node) {
        Some(node) => node,
        None => {
            let known = client.status().await?.nodes.into_iter().map(|known| known.node);
            in_short(&args.node, known)?
        }
    };
    client.rule(node, &NodeRuling { verdict, reason: args.reason }).await?;
    if args.json {
        screen::json(&serde_json::json!({ "node": node, "verdict": verdict }));
    } else {
        screen::out(&format!("{node} {}", said(verdict)));
    }
    Ok(())
}

const fn said(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Denied) => "is denied: it gets no more work (`manyhands nodes reset` takes that back)",
        Some(Verdict::Allowed) => "is allowed: it counts as one that has delivered often",
        None => "stands as any other: nothing is held against it",
    }
}

pub(super) fn named(text: &str) -> Option<NodeId> {
    text.parse().ok().or_else(|| node_of_text(text))
}

fn in_short(text: &str, known: impl Iterator<Item = NodeId>) -> Result<NodeId, Failure> {
    let short = text.to_ascii_lowercase();
    let is_short = short.len() >= SHORT_MIN && short.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut found = known.filter(|node| is_short && node.to_string().starts_with(&short));
    match (found.next(), found.next()) {
        (Some(node), None) => Ok(node),
        (Some(_), Some(_)) => {
            Err(Failure::new(Exit::Usage, format!("more than one node's id begins with {text}"))
                .hint("give more of it"))
        }
        (None, _) => Err(Failure::new(Exit::Usage, format!("the gateway knows no node {text}"))
            .hint("`manyhands nodes list` shows them; one that it does not know yet is named by its whole id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_by_any_of_its_names() {
        let node = |byte| NodeId([byte; 32]);
        let peer_id = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        assert_eq!(named(peer_id), named(&named(peer_id).unwrap().to_string()));
        assert_eq!(named("01010101"), None);
        let known = [
            node(1),
            node(2),
            NodeId({
                let mut near = [2; 32];
                near[31] = 3;
                near
            }),
        ];
        let short = |text: &str| in_short(text, known.into_iter());
        assert_eq!(short("01010101").unwrap(), node(1));
        for (wrong, why) in
            [("02020202", "more than one"), ("0101", "knows no node"), ("03030303", "knows no node"), ("", "knows no")]
        {
            assert!(format!("{:?}", short(wrong).unwrap_err()).contains(why), "{wrong}");
        }
    }
}
