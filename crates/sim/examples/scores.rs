//! What benchmark scores cost a network: `cargo run --release -p manyhands-sim --example scores [SCENARIO ..]`
//!
//! Challenges against the work of jobs, and the gossip that each node hears, in worlds of the paper's size with work and without.
#![allow(clippy::print_stdout)]

use manyhands_sim::scenario::{BUILT_IN, Scenario};
use manyhands_sim::{run, villains};

/// Copies of a message that a peer of a gossipsub mesh hears or sends: the mesh's usual degree.
const MESH: f64 = 6.0;

/// What gossipsub adds to a message, about: author, sequence number, topic, its signature and key, in bytes.
const ENVELOPE_BYTES: f64 = 200.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let names = if names.is_empty() { vec!["scores-busy".to_owned(), "scores-idle".to_owned()] } else { names };
    for name in names {
        let text = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let scenario = Scenario::from_toml(text.ok_or_else(|| format!("there is no scenario {name}"))?)?;
        let run = run(&scenario, 1)?;
        let scoring = run.scoring.ok_or_else(|| format!("{name} has no challenges"))?;
        let counted_ms = run.end_ms.saturating_sub(scenario.scoring_from_ms) as f64;
        let hours = counted_ms / 3_600_000.0;
        let honest = villains(&scenario, 1).iter().filter(|is_villain| !**is_villain).count();
        let machine_ms = honest as f64 * counted_ms;
        let percent = |ms: u64| 100.0 * ms as f64 / machine_ms;
        let told_per_s = scoring.told as f64 / (counted_ms / 1000.0);
        let bytes = scoring.told_bytes as f64 / scoring.told.max(1) as f64 + ENVELOPE_BYTES;
        let finished = run.jobs.iter().filter(|job| job.finished_ms.is_some()).count();
        println!("{name}: {} nodes, {hours:.1} h, {finished} of {} jobs done", run.nodes, run.jobs.len());
        println!(
            "  honest nodes work on jobs {:.1} % of the time, on challenges {:.3} %",
            percent(scoring.work_ms),
            percent(scoring.challenge_ms)
        );
        println!(
            "  challenges: {}, {:.2} a node and hour",
            scoring.challenges,
            scoring.challenges as f64 / f64::from(run.nodes) / hours
        );
        println!(
            "  challenges take {:.3} % of the work of jobs",
            100.0 * scoring.challenge_ms as f64 / scoring.work_ms.max(1) as f64
        );
        println!(
            "  scores: {} signed, {} of other gateways looked into, {} told, {told_per_s:.2} a second of {bytes:.0} bytes; a node hears and sends {:.0} bytes a second each way at most",
            scoring.signed,
            scoring.looked_into,
            scoring.told,
            told_per_s * bytes * MESH
        );
    }
    Ok(())
}
