//! `manyhands sim paper`: each claim of the paper beside what the simulation shows (steps III to V).
//!
//! The paper counts proving only, with latency taken as zero, so its times are compared with the time to the last segment's proof; the
//! time to delivery, with lifts and joins, stands beside it.

use clap::Args;
use manyhands_sim::report::summary::{Case, Pooled};
use serde::Serialize;

use super::choice::{Contender, World};
use super::seeds::{Plan, Seeds};
use super::simulate;
use crate::failure::Failure;
use crate::screen;
use crate::screen::table::pairs;
use crate::screen::text::plural;

/// Options of `sim paper`.
#[derive(Debug, Args)]
pub struct PaperArgs {
    #[command(flatten)]
    seeds: Seeds,
    /// Prints the claims and all figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Something that the paper says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Claim {
    /// In its words.
    claim: &'static str,
    /// Its figure.
    paper: &'static str,
    /// The built-in scenario in which it is tried.
    scenario: &'static str,
    /// Another share of wasters than the scenario's.
    wasters: Option<f64>,
    /// What must hold.
    #[serde(skip)]
    test: Test,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Test {
    /// Every segment is proved within so many seconds.
    ProvedWithin(f64),
    /// The receipt is delivered within so many seconds.
    DeliveredWithin(f64),
    /// Every segment is proved at all.
    Proved,
}

/// The paper's contender and ours.
const CONTENDERS: [&str; 2] = ["fixed-5-run-on", "adaptive"];

const CLAIMS: [Claim; 5] = [
    Claim {
        claim: "168 segments x 5 copies = 840 nodes prove the 90M-cycle program in 249 s",
        paper: "249 s",
        scenario: "paper-840",
        wasters: None,
        test: Test::ProvedWithin(249.0),
    },
    Claim {
        claim: "15,000 nodes serve 17 such programs at once",
        paper: "17 programs, 249 s each",
        scenario: "paper-15000",
        wasters: None,
        test: Test::ProvedWithin(249.0),
    },
    Claim {
        claim: "355 segments of 2^18 x 5 copies = 1,775 nodes prove it in 119 s",
        paper: "119 s",
        scenario: "paper-1775",
        wasters: None,
        test: Test::ProvedWithin(119.0),
    },
    Claim {
        claim: "ten L2 sequencers share 17,775 nodes with a finality of 2 minutes",
        paper: "120 s",
        scenario: "sequencers",
        wasters: None,
        test: Test::DeliveredWithin(120.0),
    },
    Claim {
        claim: "five copies suffice at a signal-to-noise ratio of 1:4 (by arithmetic 0.8^5 = 33% of the segments stay unproved)",
        paper: "168 of 168 segments",
        scenario: "paper-840",
        wasters: Some(0.8),
        test: Test::Proved,
    },
];

/// A claim with what came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Tried {
    #[serde(flatten)]
    claim: Claim,
    fixed_5: Case,
    adaptive: Case,
    verdict: String,
}

/// Runs the scenario of each claim and prints the claims.
pub fn run(args: &PaperArgs) -> Result<(), Failure> {
    let mut plans = Vec::new();
    for claim in &CLAIMS {
        plans.extend(claim.plans()?);
    }
    screen::err(&format!(
        "simulating {} x {}",
        plural(plans.len() as u64, "world"),
        plural(args.seeds.count.into(), "seed")
    ));
    let mut cases = simulate(&plans, &args.seeds, false)?.into_iter().map(|done| done.case);
    let mut tried = Vec::new();
    for claim in CLAIMS {
        if let (Some(fixed_5), Some(adaptive)) = (cases.next(), cases.next()) {
            let verdict = claim.test.verdict(&fixed_5.pooled, &adaptive.pooled);
            tried.push(Tried { claim, fixed_5, adaptive, verdict });
        }
    }
    if args.json {
        screen::json(&serde_json::json!({ "claims": tried }));
    } else {
        screen::out(&tried.iter().map(lines).collect::<Vec<_>>().join("\n\n"));
    }
    Ok(())
}

impl Claim {
    /// The paper's contender, then ours.
    fn plans(&self) -> Result<Vec<Plan>, Failure> {
        let contenders = CONTENDERS.map(Contender::named).into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut plans =
            World::named(self.scenario)?.plans(&contenders, self.wasters.as_ref().map(std::slice::from_ref))?;
        for plan in &mut plans {
            plan.label = format!("{} under {}", self.scenario, plan.label);
        }
        Ok(plans)
    }
}

impl Test {
    /// What came out, as figures.
    fn figure(self, pooled: &Pooled) -> String {
        let done = format!("{} of {} done", pooled.jobs_finished, plural(pooled.jobs, "job"));
        match self {
            Self::Proved => format!("{} of {} segments, {done}", pooled.segments_proved, pooled.segments),
            Self::ProvedWithin(_) | Self::DeliveredWithin(_) => format!(
                "proved in {} (p99 {}), delivered in {} (p99 {}), {done}",
                time(pooled.proving_p50_s),
                time(pooled.proving_p99_s),
                time(pooled.makespan_p50_s),
                time(pooled.makespan_p99_s)
            ),
        }
    }

    /// Whether the claim holds, for the paper's policy and for ours.
    fn verdict(self, fixed_5: &Pooled, adaptive: &Pooled) -> String {
        format!("with fixed copies it {}; adaptive, it {}", self.word(fixed_5), self.word(adaptive))
    }

    fn word(self, pooled: &Pooled) -> String {
        let (limit_s, p50_s, p99_s) = match self {
            Self::Proved if pooled.segments_proved == pooled.segments => {
                return "holds: every segment is proved".to_owned();
            }
            Self::Proved => {
                let missing = pooled.segments.saturating_sub(pooled.segments_proved);
                let percent = 100.0 * missing as f64 / pooled.segments.max(1) as f64;
                return format!("fails: {percent:.0}% of the segments stay unproved");
            }
            Self::ProvedWithin(limit_s) => (limit_s, pooled.proving_p50_s, pooled.proving_p99_s),
            Self::DeliveredWithin(limit_s) => (limit_s, pooled.makespan_p50_s, pooled.makespan_p99_s),
        };
        match (p50_s, p99_s) {
            (_, Some(p99_s)) if p99_s <= limit_s => "holds".to_owned(),
            (Some(p50_s), _) if p50_s <= limit_s => "holds for half of the jobs, not for the slowest".to_owned(),
            (Some(p50_s), Some(_)) => format!("takes {:.1} times as long", p50_s / limit_s),
            (Some(p50_s), None) => format!("takes {:.1} times as long, and some jobs never end", p50_s / limit_s),
            (None, _) => "fails: most jobs never end".to_owned(),
        }
    }
}

fn time(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.0} s"))
}

fn lines(tried: &Tried) -> String {
    let test = tried.claim.test;
    let wasters = tried.claim.wasters.map(|share| format!(" with {:.0}% wasters", share * 100.0)).unwrap_or_default();
    let rows = [
        ("paper", tried.claim.paper.to_owned()),
        ("fixed-5", test.figure(&tried.fixed_5.pooled)),
        ("adaptive", test.figure(&tried.adaptive.pooled)),
        ("verdict", tried.verdict.clone()),
    ];
    let rows: Vec<String> = pairs(&rows).into_iter().map(|row| format!("  {row}")).collect();
    format!("{}  [{}{wasters}]\n{}", tried.claim.claim, tried.claim.scenario, rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::super::seeds::{run_all, tests::known};
    use super::*;

    fn tried(claim: Claim, first: u64) -> Tried {
        let plans = claim.plans().unwrap();
        let mut done = run_all(&plans, &Seeds { count: 2, first }, known, false, &mut |_| ()).unwrap().into_iter();
        let (fixed_5, adaptive) = (done.next().unwrap().case, done.next().unwrap().case);
        Tried { claim, verdict: claim.test.verdict(&fixed_5.pooled, &adaptive.pooled), fixed_5, adaptive }
    }

    #[test]
    fn every_claim_has_its_scenario_and_both_contenders() {
        for claim in CLAIMS {
            let plans = claim.plans().unwrap();
            let contenders: Vec<&str> = plans.iter().map(|plan| plan.contender).collect();
            assert_eq!(contenders, CONTENDERS);
            assert!(plans.iter().all(|plan| claim.wasters.is_none_or(|share| plan.scenario.villains.wasters == share)));
        }
    }

    #[test]
    fn a_claim_stands_beside_what_came_out() {
        // Proved after 80 s and 180 s, delivered after 100 s and 200 s.
        assert_eq!(
            lines(&tried(CLAIMS[0], 1)),
            "168 segments x 5 copies = 840 nodes prove the 90M-cycle program in 249 s  [paper-840]\n  \
             paper     249 s\n  \
             fixed-5   proved in 80 s (p99 180 s), delivered in 100 s (p99 200 s), 2 of 2 jobs done\n  \
             adaptive  proved in 80 s (p99 180 s), delivered in 100 s (p99 200 s), 2 of 2 jobs done\n  \
             verdict   with fixed copies it holds; adaptive, it holds"
        );
        let noisy = lines(&tried(CLAIMS[4], 1));
        assert!(noisy.contains("fixed-5   0 of 2 segments, 0 of 2 jobs done"), "{noisy}");
        assert!(noisy.contains("fails: 100% of the segments stay unproved; adaptive, it holds"), "{noisy}");
    }

    #[test]
    fn verdicts_follow_from_the_figures() {
        let pooled = |p50_s, p99_s| Pooled { proving_p50_s: p50_s, proving_p99_s: p99_s, ..Pooled::default() };
        let word = |p50_s, p99_s| Test::ProvedWithin(100.0).word(&pooled(p50_s, p99_s));
        assert_eq!(word(Some(80.0), Some(100.0)), "holds");
        assert_eq!(word(Some(80.0), Some(101.0)), "holds for half of the jobs, not for the slowest");
        assert_eq!(word(Some(80.0), None), "holds for half of the jobs, not for the slowest");
        assert_eq!(word(Some(150.0), Some(200.0)), "takes 1.5 times as long");
        assert_eq!(word(Some(150.0), None), "takes 1.5 times as long, and some jobs never end");
        assert_eq!(word(None, None), "fails: most jobs never end");
    }

    #[test]
    fn the_json_has_claim_figures_and_verdict() {
        let value = serde_json::to_value(tried(CLAIMS[3], 1)).unwrap();
        assert_eq!((&value["paper"], &value["scenario"]), (&"120 s".into(), &"sequencers".into()));
        assert_eq!(value["fixed_5"]["seeds"].as_array().unwrap().len(), 2);
        assert!(value["verdict"].as_str().unwrap().contains("holds for half"));
    }
}
