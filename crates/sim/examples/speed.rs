//! Runs a scenario once, a built-in one or that of a TOML file, and says in one line what came of it: `cargo run --release -p manyhands-sim --example speed -- cafe 1`.
//! Numbers after the name and the seed replace the nodes and the jobs of the scenario's first load. Time it from outside.

use manyhands_sim::{Scenario, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "cafe".to_owned());
    let is_file = name.ends_with(".toml");
    let mut scenario =
        if is_file { Scenario::from_toml(&std::fs::read_to_string(name)?)? } else { Scenario::built_in(&name)? };
    let seed = words.next().map_or(Ok(1), |word| word.parse())?;
    if let Some(nodes) = words.next() {
        scenario.fleet.nodes = nodes.parse()?;
    }
    if let (Some(count), Some(load)) = (words.next(), scenario.jobs.first_mut()) {
        load.count = count.parse()?;
    }
    let run = run(&scenario, seed)?;
    let mut spans: Vec<u64> =
        run.jobs.iter().filter_map(|job| Some(job.finished_ms?.saturating_sub(job.submitted_ms))).collect();
    spans.sort_unstable();
    let busy_ms: u64 = run.attempts.iter().map(|lease| lease.freed_ms.saturating_sub(lease.granted_ms)).sum();
    let sent_bytes: u64 = run.jobs.iter().map(|job| job.sent_bytes).sum();
    let proofs: u64 = run.jobs.iter().map(|job| u64::from(job.segments)).sum();
    let at = |percent: usize| spans.get(spans.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0) / 1000;
    let line = format!(
        "{} seed {}: {} of {} jobs, p50 {} s, p99 {} s, {} leases, {} node-s per segment, {} MB sent for each job, bounds {} s and {} s, {} events, log {}",
        run.scenario,
        run.seed,
        spans.len(),
        run.jobs.len(),
        at(50),
        at(99),
        run.attempts.len(),
        busy_ms / 1000 / proofs.max(1),
        sent_bytes / 1_000_000 / (run.jobs.len() as u64).max(1),
        run.bound.list_ms / 1000,
        run.bound.whole_ms / 1000,
        run.events,
        run.log_hash.get(..16).unwrap_or_default()
    );
    #[allow(clippy::print_stdout)]
    {
        println!("{line}");
    }
    Ok(())
}
