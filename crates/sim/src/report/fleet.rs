//! What the whole fleet did, and when: proofs that counted, lifts, joins, lost work and idle machines, as areas over time (steps III to V).

use manyhands_proto::unit::UnitKind;

use super::metrics::seconds;
use super::svg::{Axis, Frame, Svg, plural};
use crate::record::{AttemptRun, End, Run};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 970.0;
const TOP: f64 = 112.0;
const BOTTOM: f64 = 482.0;
/// Columns of equal time: about one for every four pixels.
const BINS: usize = 220;

/// The areas from below: colour, word and which attempts belong to it.
const LAYERS: [(&str, &str); 4] =
    [("#0072B2", "proofs that count"), ("#D55E00", "lifts"), ("#009E73", "joins"), ("#F0C75E", "copies and lost work")];
/// What is left of the fleet.
const IDLE: &str = "#EFEFEF";

fn layer(attempt: &AttemptRun) -> usize {
    match (attempt.end, attempt.unit.kind()) {
        (End::Won, UnitKind::Prove) => 0,
        (End::Won, UnitKind::Lift) => 1,
        (End::Won, UnitKind::Join) => 2,
        _ => 3,
    }
}

/// The picture of the whole run.
pub fn fleet(run: &Run) -> String {
    let end_ms = run.end_ms.max(1);
    let busy = busy(run, end_ms);
    let tops: Vec<[f64; 4]> = busy.iter().map(|column| stacked(*column)).collect();
    let most = tops.iter().map(|[.., top]| *top).fold(f64::from(run.nodes), f64::max);
    let frame = Frame { x: Axis::exactly(seconds(end_ms), 9, LEFT, RIGHT), y: Axis::exactly(most, 6, BOTTOM, TOP) };
    let explanation = explanation(run, &busy);
    let mut svg = Svg::new(
        WIDTH,
        BOTTOM + 56.0,
        &format!("What the fleet did: {} under {}", run.scenario, run.policy),
        &explanation,
    );
    let entry = |colour: &str, word: &str| (format!("fill=\"{colour}\""), word.to_owned());
    let layers = LAYERS.iter().map(|(colour, word)| entry(colour, word));
    svg.legend(24.0, 84.0, &layers.chain([entry(IDLE, "idle")]).collect::<Vec<_>>());
    frame.draw(&mut svg, "time since the run began, s", Some("nodes at work"));
    svg.rect(
        LEFT,
        frame.y.at(f64::from(run.nodes)),
        RIGHT - LEFT,
        BOTTOM - frame.y.at(f64::from(run.nodes)),
        &format!("fill=\"{IDLE}\""),
    );
    // From the greatest area to the least: each covers what lies below its own top.
    for (place, (colour, _)) in LAYERS.iter().enumerate().rev() {
        let heights: Vec<f64> = tops.iter().filter_map(|column| column.get(place).copied()).collect();
        svg.polygon(&outline(&heights, &frame), &format!("fill=\"{colour}\""));
    }
    frame.border(&mut svg);
    svg.finish()
}

fn explanation(run: &Run, busy: &[[f64; 4]]) -> String {
    let share = |place: usize| {
        let sum: f64 = busy.iter().filter_map(|column| column.get(place)).sum();
        100.0 * sum / (BINS as f64 * f64::from(run.nodes.max(1)))
    };
    let [proofs, lifts, joins, lost] = [0, 1, 2, 3].map(share);
    format!(
        "{}, {}, seed {}. Of all node-time: proofs {proofs:.1} %, lifts {lifts:.1} %, joins {joins:.1} %, lost {lost:.1} %",
        plural(run.nodes.into(), "node"),
        plural(run.jobs.len() as u64, "job"),
        run.seed
    )
}

/// For each column of time the mean number of slots at work in each layer.
fn busy(run: &Run, end_ms: u64) -> Vec<[f64; 4]> {
    let mut columns = vec![[0.0; 4]; BINS];
    let bin_ms = end_ms as f64 / BINS as f64;
    for attempt in &run.attempts {
        let (from, to) = (attempt.granted_ms as f64 / bin_ms, attempt.freed_ms.min(end_ms) as f64 / bin_ms);
        let first = from.floor().max(0.0) as usize;
        let layer = layer(attempt);
        for (bin, column) in columns.iter_mut().enumerate().skip(first) {
            let (start, end) = (bin as f64, bin as f64 + 1.0);
            if start >= to {
                break;
            }
            if let Some(slots) = column.get_mut(layer) {
                *slots += (to.min(end) - from.max(start)).max(0.0);
            }
        }
    }
    columns
}

/// Each layer's top above the ones below it.
fn stacked(column: [f64; 4]) -> [f64; 4] {
    let mut sum = 0.0;
    column.map(|slots| {
        sum += slots;
        sum
    })
}

/// The corners of an area with one step for each column.
fn outline(heights: &[f64], frame: &Frame) -> Vec<(f64, f64)> {
    let width = (RIGHT - LEFT) / BINS as f64;
    let mut corners = vec![(LEFT, BOTTOM)];
    let mut x = LEFT;
    for height in heights {
        let y = frame.y.at(*height);
        corners.extend([(x, y), (x + width, y)]);
        x += width;
    }
    corners.push((RIGHT, BOTTOM));
    corners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::handmade;
    use crate::report::svg::tests::assert_well_formed;

    #[test]
    fn no_work_is_lost_between_columns() {
        let run = handmade::run();
        let columns = busy(&run, run.end_ms);
        let seconds_each = 120.0 / BINS as f64;
        let seconds = |place: usize| columns.iter().map(|column| column[place]).sum::<f64>() * seconds_each;
        // By hand: winners 60 + 40 + 30, two lifts of 5, a join of 10; lost 20 + 10 + 50 + 4.
        for (place, expected) in [130.0, 10.0, 10.0, 84.0].into_iter().enumerate() {
            assert!((seconds(place) - expected).abs() < 1e-6, "{place}: {}", seconds(place));
        }
        assert_eq!(stacked([1.0, 2.0, 0.0, 4.0]), [1.0, 3.0, 3.0, 7.0]);
    }

    #[test]
    fn the_picture_is_well_formed_and_small() {
        for run in [handmade::run(), handmade::wide(168, 5)] {
            let svg = fleet(&run);
            assert_well_formed(&svg);
            assert!(svg.len() < 60_000, "{}", svg.len());
        }
        let mut empty = handmade::run();
        (empty.end_ms, empty.nodes) = (0, 0);
        empty.attempts.clear();
        assert_well_formed(&fleet(&empty));
    }
}
