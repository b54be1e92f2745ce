//! `manyhands scores`: what verifiers say of nodes' speed, and whether there is the proof of it.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use manyhands_api::Client;
use manyhands_api::types::KnownScore;
use manyhands_node::data_dir::DataDir;
use manyhands_node::{benchmark, scores, worker};
use manyhands_proto::score::Work;
use manyhands_proto::{NodeId, Score};
use manyhands_vbs::{CheckedScore, Source};
use manyhands_zkvm::{Claim, verify_scored};
use serde::Serialize;

use super::nodes::named;
use crate::failure::{Exit, Failure};
use crate::options::{ConfigOptions, GatewayOptions};
use crate::screen::table::{Align, table};
use crate::screen::text::{count, duration, guess, plural};
use crate::screen::{self, Paint};

/// Scores that are checked if nobody says how many: each costs the gateway a receipt of 250 kB, and this machine some 20 ms.
const CHECKED: usize = 20;

/// Options of `scores`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ScoresArgs {
    #[command(subcommand)]
    command: Option<ScoresCommand>,
    #[command(flatten)]
    list: ListArgs,
}

/// What to do with scores.
#[derive(Debug, Subcommand)]
enum ScoresCommand {
    /// Fetches the proofs that scores are of, and checks them on this machine.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Shows those of one node only: its peer id (12D3Koo..), its id in hex, or the first digits of that.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Reads the scoreboard that a daemon keeps in this directory, instead of asking a gateway.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Prints the scores as JSON on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// The node: its peer id (12D3Koo..), its id in hex, or the first digits of that. Without one, all.
    node: Option<String>,
    /// The most scores that are checked, the newest first.
    #[arg(long, value_name = "N", default_value_t = CHECKED)]
    max: usize,
    #[command(flatten)]
    gateway: GatewayOptions,
    #[command(flatten)]
    config: ConfigOptions,
    /// Prints the results as JSON on standard output.
    #[arg(long)]
    json: bool,
}

impl ScoresArgs {
    /// Whether standard output is for a program.
    pub fn wants_json(&self) -> bool {
        self.command.as_ref().map_or(self.list.json, |ScoresCommand::Verify(args)| args.json)
    }
}

/// Does it.
pub async fn run(args: ScoresArgs) -> Result<ExitCode, Failure> {
    match args.command {
        Some(ScoresCommand::Verify(args)) => verify(args).await,
        None => list(args.list).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let (known, total) = match &args.data_dir {
        Some(folder) => on_disk(folder)?,
        None => {
            let answer = args.gateway.client()?.scores().await?;
            (answer.scores, answer.total)
        }
    };
    let shown = only(known, args.node.as_deref());
    if args.json {
        screen::json(&serde_json::json!({ "scores": shown, "total": total }));
        return Ok(());
    }
    if shown.is_empty() {
        screen::out(
            "no score counts now: nodes get one with the first proof that they deliver, and have it for two hours",
        );
        return Ok(());
    }
    screen::out(&lines(&shown).join("\n"));
    let more = total.saturating_sub(shown.len() as u64);
    if more > 0 && args.node.is_none() {
        screen::out(&format!("and {} more", count(more)));
    }
    Ok(())
}

/// The scoreboard of a daemon on this machine. Whom that believes is in its configuration, so here all others are strangers.
fn on_disk(folder: &Path) -> Result<(Vec<KnownScore>, u64), Failure> {
    let path = DataDir::scores_in(folder);
    let unreadable = |error| Failure::new(Exit::Failed, format!("{} cannot be read: {error}", path.display()));
    if !folder.is_dir() {
        return Err(Failure::new(Exit::Usage, format!("there is no directory {}", folder.display()))
            .hint("name the data directory of a daemon on this machine"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let known = |kept: CheckedScore| KnownScore {
        source: Source::Stranger,
        cycles_per_s: kept.score().cycles_per_s(),
        expires_in_s: kept.score().expires_s.saturating_sub(now),
        signed: kept.signed().clone(),
    };
    let kept = scores::read(&path).map_err(unreadable)?.into_iter().filter(|kept| kept.score().is_valid_at(now));
    let mut known: Vec<KnownScore> = kept.map(known).collect();
    known.sort_by_key(|known| Reverse(known.signed.score.issued_s));
    let total = known.len() as u64;
    Ok((known, total))
}

/// Those of one node, if one is named.
fn only(known: Vec<KnownScore>, node: Option<&str>) -> Vec<KnownScore> {
    let Some(text) = node else { return known };
    let (whole, short) = (named(text), text.to_ascii_lowercase());
    let is_meant = |node: &NodeId| whole.map_or_else(|| node.to_string().starts_with(&short), |whole| whole == *node);
    known.into_iter().filter(|known| is_meant(&known.signed.score.peer)).collect()
}

fn lines(known: &[KnownScore]) -> Vec<String> {
    let columns = [
        ("node", Align::Left),
        ("po2", Align::Right),
        ("took", Align::Right),
        ("cycles/s", Align::Right),
        ("proofs/h", Align::Right),
        ("of", Align::Left),
        ("verifier", Align::Left),
        ("counts for", Align::Left),
    ];
    let row = |known: &KnownScore| {
        let score = &known.signed.score;
        vec![
            score.peer.short(),
            score.po2.to_string(),
            duration(score.elapsed_ms),
            count(known.cycles_per_s),
            count(3_600_000 / score.elapsed_ms.max(1)),
            what(score).to_owned(),
            format!("{}{}", score.verifier.short(), whose(known.source)),
            guess(known.expires_in_s.saturating_mul(1000)),
        ]
    };
    table(&columns, &known.iter().map(row).collect::<Vec<_>>())
}

const fn what(score: &Score) -> &'static str {
    match score.work {
        Work::Benchmark => "a benchmark",
        Work::Job => "a job's segment",
    }
}

const fn whose(source: Source) -> &'static str {
    match source {
        Source::Own => ", this gateway",
        Source::Named => ", believed here",
        Source::Reverified | Source::Stranger => "",
    }
}

/// What became of one check.
#[derive(Debug, Serialize)]
struct Checked {
    node: NodeId,
    po2: manyhands_proto::Po2,
    verifier: NodeId,
    /// Whether the record is signed and the proof is there, of that node, size and time; nothing if the proof could not be had.
    valid: Option<bool>,
    /// Whether what was proved is what the record says was asked for. Only of a benchmark that can be told.
    claim_compared: bool,
    why: Option<String>,
}

async fn verify(args: VerifyArgs) -> Result<ExitCode, Failure> {
    let client = args.gateway.client()?;
    let known = only(client.scores().await?.scores, args.node.as_deref());
    let config = args.config.load()?;
    // Without a worker the proofs are checked all the same; what a benchmark proved is not compared then.
    let worker = worker::locate(config.worker.as_deref()).ok();
    let (mut done, all) = (Vec::new(), known.len());
    for known in known.into_iter().take(args.max) {
        let checked = check(&client, worker.as_deref(), &known).await;
        if !args.json {
            screen::out(&line(&checked, &known));
        }
        done.push(checked);
    }
    let wrong = done.iter().filter(|checked| checked.valid == Some(false)).count();
    let (total, unknown) = (done.len(), done.iter().filter(|checked| checked.valid.is_none()).count());
    if args.json {
        screen::json(&done);
    } else if total == 0 {
        screen::out("there is no such score; `manyhands scores` shows those that count now");
    } else {
        let more = if all > total {
            format!("; {} more were not looked at (--max)", count((all - total) as u64))
        } else {
            String::new()
        };
        screen::out(&format!(
            "{}: {} right, {} wrong, {} could not be fetched{more}. How long they took is the verifiers' word alone",
            plural(total as u64, "score"),
            total - wrong - unknown,
            wrong,
            unknown,
        ));
    }
    Ok(if wrong > 0 { Exit::Failed.into() } else { ExitCode::SUCCESS })
}

fn line(checked: &Checked, known: &KnownScore) -> String {
    let score = &known.signed.score;
    let paint = Paint::stdout();
    let verdict = match checked.valid {
        Some(true) => paint.green("right"),
        Some(false) => paint.red("wrong"),
        None => paint.dim("not there"),
    };
    let compared = if checked.claim_compared { ", what was proved compared" } else { "" };
    let why = checked.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{verdict}  {} at po2 {}, {}{compared}{why}", score.peer.short(), score.po2, what(score))
}

async fn check(client: &Client, worker: Option<&Path>, known: &KnownScore) -> Checked {
    let score = known.signed.score;
    let said = |valid, claim_compared, why| Checked {
        node: score.peer,
        po2: score.po2,
        verifier: score.verifier,
        valid,
        claim_compared,
        why,
    };
    if let Err(error) = CheckedScore::check(known.signed.clone()) {
        return said(Some(false), false, Some(error.to_string()));
    }
    let bytes = match client.score_receipt(score.receipt).await {
        Ok(bytes) => bytes,
        Err(error) => return said(None, false, Some(error.to_string())),
    };
    if manyhands_blob::reference_of(&bytes) != score.receipt.reference {
        return said(Some(false), false, Some("what the gateway gave is another blob than the score names".to_owned()));
    }
    let claim = match (score.work, worker) {
        (Work::Benchmark, Some(worker)) if benchmark::is_repeatable(score.po2) => {
            match claim_of(worker, &score).await {
                Ok(claim) => Some(claim),
                Err(why) => return said(None, false, Some(format!("its segment cannot be made again: {why}"))),
            }
        }
        (Work::Benchmark | Work::Job, _) => None,
    };
    match verify_scored(&bytes, &score, claim.as_ref()) {
        Ok(()) => said(Some(true), claim.is_some(), None),
        Err(rejection) => said(Some(false), claim.is_some(), Some(rejection.to_string())),
    }
}

/// What the benchmark of a score must have proved.
async fn claim_of(worker: &Path, score: &Score) -> Result<Claim, String> {
    let segment = benchmark::segment(worker, score.po2, score.binding.seed).await?;
    Claim::decode(&segment.claim).map_err(|error| error.to_string())
}
