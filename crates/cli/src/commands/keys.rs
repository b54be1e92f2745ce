//! `manyhands keys`: who may use a gateway's Bonsai API.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use manyhands_api::{Problem, ProblemKind};
use manyhands_core::Priority;
use manyhands_node::gateway::bonsai::{KeyLimits, Keys};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::options::ConfigOptions;
use crate::screen;
use crate::screen::table::{Align, table};
use crate::screen::text::bytes;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Makes a key and shows it, once. The first one shuts the door to those who have none.
    Create(CreateArgs),
    /// Shows who has a key, and what it may do.
    List(ListArgs),
    /// Ends a key at once.
    Revoke(RevokeArgs),
}

/// Options of `keys create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Whose key it is: letters, digits and -_.@. What one has uploaded and proved, another does not see.
    name: String,
    /// Cycles of one session.
    #[arg(long, value_name = "N", default_value_t = 1 << 36)]
    cycles_max: u64,
    /// Sessions at the same time, and Groth16 receipts that wait or are being made, together.
    #[arg(long, value_name = "N", default_value_t = 100)]
    sessions_max: u32,
    /// Cycles of all sessions of this name together, also with later keys. Without it there is no such limit.
    #[arg(long, value_name = "N")]
    budget_cycles: Option<u64>,
    /// The share of the fleet that its sessions have beside other jobs: each step up gives four times as many nodes, and no job is starved.
    #[arg(long, value_name = "low|normal|high", default_value = "normal")]
    priority: Priority,
    /// Megabytes of programs and inputs that are kept.
    #[arg(long, value_name = "MB", default_value_t = 1_000)]
    storage_mb: u64,
    #[command(flatten)]
    config: ConfigOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// Options of `keys list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    config: ConfigOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// Options of `keys revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Whose key.
    name: String,
    #[command(flatten)]
    config: ConfigOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    json: bool,
}

impl KeysCommand {
    /// Whether standard output is for a program.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Create(args) => args.json,
            Self::List(args) => args.json,
            Self::Revoke(args) => args.json,
        }
    }
}

/// Does it.
pub fn run(command: KeysCommand) -> Result<ExitCode, Failure> {
    match command {
        KeysCommand::Create(args) => create(&args),
        KeysCommand::List(args) => list(&args),
        KeysCommand::Revoke(args) => revoke(&args),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn open(config: &ConfigOptions) -> Result<Keys, Failure> {
    Ok(Keys::open(&config.load()?.data_dir)?)
}

fn create(args: &CreateArgs) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Created<'a> {
        name: &'a str,
        key: &'a str,
    }
    let limits = KeyLimits {
        cycles_max: args.cycles_max,
        sessions_max: args.sessions_max,
        bytes_max: args.storage_mb.saturating_mul(1_000_000),
        budget_cycles: args.budget_cycles,
        priority: args.priority,
    };
    let key = open(&args.config)?.create(&args.name, limits).map_err(refused)?;
    if args.json {
        screen::json(&Created { name: &args.name, key: &key });
    } else {
        screen::out(&key);
        screen::err("this key is kept nowhere: note it down. A program uses it as BONSAI_API_KEY");
    }
    Ok(())
}

/// A database that fails is not the user's mistake.
fn refused(problem: Problem) -> Failure {
    let exit = if problem.kind == ProblemKind::Internal { Exit::Failed } else { Exit::Usage };
    Failure::new(exit, problem.message)
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Listed {
        name: String,
        created_ms: i64,
        revoked: bool,
        cycles_max: u64,
        sessions_max: u32,
        bytes_max: u64,
        budget_cycles: Option<u64>,
        priority: Priority,
        used_cycles: u64,
    }
    let keys = open(&args.config)?;
    let listed = keys.list().and_then(|rows| {
        let listed = rows.into_iter().map(|row| {
            Ok(Listed {
                used_cycles: keys.used_cycles(&row.tenant)?,
                name: row.tenant,
                created_ms: row.created_ms,
                revoked: row.is_revoked,
                cycles_max: row.limits.cycles_max,
                sessions_max: row.limits.sessions_max,
                bytes_max: row.limits.bytes_max,
                budget_cycles: row.limits.budget_cycles,
                priority: row.limits.priority,
            })
        });
        listed.collect::<Result<Vec<_>, _>>()
    });
    let listed: Vec<Listed> = listed.map_err(|problem| Failure::failed(problem.message))?;
    if args.json {
        screen::json(&serde_json::json!({ "keys": listed }));
        return Ok(());
    }
    let columns = [
        ("name", Align::Left),
        ("state", Align::Left),
        ("priority", Align::Left),
        ("cycles", Align::Right),
        ("used", Align::Right),
        ("budget", Align::Right),
        ("sessions", Align::Right),
        ("storage", Align::Right),
    ];
    let cells = |row: &Listed| {
        let state = if row.revoked { "revoked" } else { "valid" };
        vec![
            row.name.clone(),
            state.to_owned(),
            row.priority.word().to_owned(),
            row.cycles_max.to_string(),
            row.used_cycles.to_string(),
            row.budget_cycles.map_or_else(|| "-".to_owned(), |cycles| cycles.to_string()),
            row.sessions_max.to_string(),
            bytes(row.bytes_max),
        ]
    };
    let rows: Vec<_> = listed.iter().map(cells).collect();
    screen::out(&table(&columns, &rows).join("\n"));
    if listed.is_empty() {
        screen::out("no keys: whoever reaches the gateway on loopback may use it, nobody from outside");
    }
    Ok(())
}

fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let was_there = open(&args.config)?.revoke(&args.name).map_err(|problem| Failure::failed(problem.message))?;
    if !was_there {
        return Err(
            Failure::new(Exit::Failed, format!("{} has no valid key", args.name)).hint("see `manyhands keys list`")
        );
    }
    if args.json {
        screen::json(&serde_json::json!({ "name": args.name, "revoked": true }));
    } else {
        screen::out(&format!("{} has no key any more", args.name));
    }
    Ok(())
}
