//! Runs made by hand for the tests of the figures and pictures (steps III to V), small enough to be counted on paper.

use manyhands_proto::Unit;

use crate::record::{AttemptRun, Bound, End, JobRun, Run};

/// An attempt of job 0 by node 0; times in seconds.
pub fn attempt(unit: Unit, granted_s: u64, freed_s: u64, end: End) -> AttemptRun {
    AttemptRun {
        job: 0,
        unit,
        attempt: 1,
        node: 0,
        is_copy: false,
        granted_ms: granted_s * 1_000,
        predicted_ms: 50_000,
        freed_ms: freed_s * 1_000,
        end,
    }
}

/// Two jobs of two segments: the first is delivered after 100 s, of the second one segment is proved and one never.
pub fn run() -> Run {
    let copy = |attempt: AttemptRun| AttemptRun { attempt: 2, is_copy: true, ..attempt };
    let second = |attempt: AttemptRun| AttemptRun { job: 1, ..attempt };
    let join = Unit::Join { start: 0, mid: 1, end: 2 };
    let attempts = [
        attempt(Unit::Prove(0), 0, 60, End::Won),
        attempt(Unit::Prove(1), 0, 20, End::Overtaken),
        copy(attempt(Unit::Prove(1), 10, 50, End::Won)),
        second(attempt(Unit::Prove(0), 20, 50, End::Won)),
        second(attempt(Unit::Prove(1), 20, 30, End::Refused)),
        second(copy(attempt(Unit::Prove(1), 40, 90, End::Lapsed))),
        attempt(Unit::Lift(1), 60, 65, End::Won),
        attempt(Unit::Lift(0), 65, 70, End::Won),
        attempt(join, 75, 79, End::GivenBack),
        copy(attempt(join, 80, 90, End::Won)),
    ];
    let nodes = (0..).step_by(3);
    let job = |finished_ms, joins| JobRun {
        gateway: 0,
        submitted_ms: 2_000,
        finished_ms,
        last_proof_ms: finished_ms.map(|_| 62_000),
        segments: 2,
        joins_after_last_proof: joins,
        sent_bytes: 1_000,
        received_bytes: 400,
    };
    Run {
        scenario: "by-hand".to_owned(),
        policy: "adaptive".to_owned(),
        seed: 7,
        log_hash: "ab".repeat(32),
        events: 42,
        end_ms: 120_000,
        nodes: 30,
        jobs: vec![job(Some(102_000), Some(1)), JobRun { sent_bytes: 500, received_bytes: 200, ..job(None, None) }],
        attempts: attempts.into_iter().zip(nodes).map(|(attempt, node)| AttemptRun { node, ..attempt }).collect(),
        bound: Bound { list_ms: 50_000, whole_ms: 80_000 },
        scoring: None,
    }
}

/// One job of `segments` segments, each leased `copies` times to a node of its own; the slots of the losers are freed late. Then lifts
/// and the joins of a balanced tree. The times follow a fixed arithmetic, so that every picture of it is the same.
pub fn wide(segments: u32, copies: u32) -> Run {
    let mut attempts = Vec::new();
    let mut ready_ms = Vec::new();
    for segment in 0..segments {
        let of = |copy: u32| 120_000 + u64::from((segment * 7_919 + copy * 104_729) % 211) * 1_400;
        let best_ms = (0..copies).map(of).min().unwrap_or_default();
        for copy in 0..copies {
            let ms = of(copy);
            let end = if ms == best_ms { End::Won } else { End::Overtaken };
            let freed_ms = ms.min(best_ms + 40_000);
            let node = segment * copies + copy;
            let granted = attempt(Unit::Prove(segment), 0, 0, end);
            attempts.push(AttemptRun {
                node,
                attempt: copy + 1,
                is_copy: copy > 0,
                granted_ms: 500,
                freed_ms,
                ..granted
            });
        }
        let lift = attempt(Unit::Lift(segment), 0, 0, End::Won);
        attempts.push(AttemptRun { granted_ms: best_ms + 900, freed_ms: best_ms + 12_000, node: segment, ..lift });
        ready_ms.push((segment, segment + 1, best_ms + 13_000));
    }
    let last_proof_ms = ready_ms.iter().map(|(_, _, ms)| ms - 13_000).max();
    let (finished_ms, depth) = joins(ready_ms, &mut attempts);
    let mut run = run();
    run.jobs.truncate(1);
    for job in &mut run.jobs {
        (job.submitted_ms, job.segments, job.last_proof_ms) = (0, segments, last_proof_ms);
        (job.finished_ms, job.joins_after_last_proof) = (Some(finished_ms), Some(depth));
    }
    (run.end_ms, run.nodes, run.attempts) = (finished_ms + 5_000, segments * copies + 60, attempts);
    run
}

/// Joins neighbours until one is left; when that is, and after how many rounds.
fn joins(mut ready: Vec<(u32, u32, u64)>, attempts: &mut Vec<AttemptRun>) -> (u64, u32) {
    let mut depth = 0;
    while ready.len() > 1 {
        depth += 1;
        let pairs = ready.chunks(2).map(|pair| match *pair {
            [(start, mid, left_ms), (_, end, right_ms)] => {
                let granted_ms = left_ms.max(right_ms) + 800;
                let lease = attempt(Unit::Join { start, mid, end }, 0, 0, End::Won);
                attempts.push(AttemptRun { granted_ms, freed_ms: granted_ms + 9_000, node: start, ..lease });
                (start, end, granted_ms + 10_000)
            }
            [single, ..] => single,
            [] => (0, 0, 0),
        });
        ready = pairs.collect();
    }
    (ready.first().map_or(0, |(_, _, ms)| *ms), depth)
}
