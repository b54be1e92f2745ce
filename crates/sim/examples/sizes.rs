//! Runs a built-in scenario with its guests cut at every size and at the size that the gateway chooses, and says the median makespan of each: `cargo run --release -p manyhands-sim --example sizes -- cafe 4`.
//! The number is how many seeds. A size at which the median job never ends is `never`, one that makes too many segments is left out.

use manyhands_proto::Po2;
use manyhands_sim::scenario::Load;
use manyhands_sim::{Scenario, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let scenario = Scenario::built_in(&words.next().unwrap_or_else(|| "cafe".to_owned()))?;
    let seeds: u64 = words.next().map_or(Ok(1), |word| word.parse())?;
    for seed in 1..=seeds {
        let mut cells =
            vec![format!("chosen {}", median(&scenario, seed, |load| Load { auto: true, ..load.clone() })?)];
        for number in [14, 16, 17, 18, 19, 20, 21] {
            let po2 = Po2::try_from(number)?;
            if scenario.jobs.iter().map(|load| u64::from(load.count) * u64::from(load.at(po2).segments)).sum::<u64>()
                <= manyhands_sim::scenario::UNITS_MAX
            {
                cells.push(format!("2^{number} {}", median(&scenario, seed, |load| load.at(po2))?));
            }
        }
        #[allow(clippy::print_stdout)]
        {
            println!("{} seed {seed}: {}", scenario.name, cells.join(", "));
        }
    }
    Ok(())
}

/// The median makespan, with the segments of the first job.
fn median(scenario: &Scenario, seed: u64, cut: impl Fn(&Load) -> Load) -> Result<String, Box<dyn std::error::Error>> {
    let jobs = scenario.jobs.iter().map(cut).collect();
    let run = run(&Scenario { jobs, ..scenario.clone() }, seed)?;
    let span = |job: &manyhands_sim::record::JobRun| job.finished_ms.map(|ms| ms.saturating_sub(job.submitted_ms));
    let mut spans: Vec<u64> = run.jobs.iter().map(|job| span(job).unwrap_or(u64::MAX)).collect();
    spans.sort_unstable();
    let middle = spans.get(spans.len() / 2).copied().filter(|ms| *ms < u64::MAX);
    let time = middle.map_or_else(|| "never".to_owned(), |ms| format!("{} s", ms / 1000));
    Ok(format!("{time} ({} segments)", run.jobs.first().map_or(0, |job| job.segments)))
}
