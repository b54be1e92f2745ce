//! What copies buy: makespan against copies per segment, a line for each share of nodes that waste time (steps III and IV).

use super::summary::{Case, MEASURES};
use super::svg::{Anchor, Axis, Frame, GREY, INK, PALETTE, Svg, text_width};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 960.0;
const TOP: f64 = 172.0;
const BOTTOM: f64 = 592.0;
/// Where points of jobs that never finished stand.
const NEVER: f64 = 148.0;
/// Points of one line that are nearer to each other are moved apart, in pixels.
const APART: f64 = 15.0;
/// The lines themselves are moved apart by so much, in pixels.
const LINES_APART: f64 = 4.0;
/// When the latest job takes so many times as long as the earliest, the axis is logarithmic.
const DECADE: f64 = 6.0;

/// One case in the picture.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    policy: String,
    copies: f64,
    p50_s: Option<f64>,
    p99_s: Option<f64>,
}

/// A percentile of a point.
type Seconds = fn(&Point) -> Option<f64>;

/// The cases with one share of wasters, by copies.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    name: String,
    points: Vec<Point>,
}

/// The picture of these cases. A case whose runs leased nothing has no place in it.
pub fn redundancy(cases: &[Case]) -> String {
    let lines = lines(cases);
    let points = || lines.iter().flat_map(|line| &line.points);
    let copies = points().map(|point| point.copies).fold(1.0, f64::max);
    let times = || points().flat_map(|point| [point.p50_s, point.p99_s]).flatten();
    let frame = Frame { x: Axis::up_to(copies * 1.08, 8, LEFT, RIGHT), y: time_axis(times()) };
    let explanation = "Filled, solid line: p50. Open, dashed line: p99. Over the jobs of all seeds; points that would cover each other stand apart.";
    let scenario = cases.first().map_or("no scenario", |case| case.scenario.as_str());
    let mut svg = Svg::new(WIDTH, BOTTOM + 56.0, &format!("What copies buy: {scenario}"), explanation);
    let coloured = || lines.iter().zip(PALETTE.iter().cycle());
    let entries: Vec<_> = coloured().map(|(line, colour)| (format!("fill=\"{colour}\""), line.name.clone())).collect();
    svg.legend(24.0, 84.0, &entries);
    let policies = policies(&lines);
    policy_legend(&mut svg, &policies);
    frame.draw(&mut svg, "attempts at proving for each segment", Some("makespan, s"));
    if points().any(|point| point.p50_s.is_none() || point.p99_s.is_none()) {
        never_row(&mut svg);
    }
    for (place, (line, colour)) in coloured().enumerate() {
        draw_line(&mut svg, line, place as f64 * LINES_APART, colour, &frame, &policies);
    }
    svg.finish()
}

fn time_axis(times_s: impl Iterator<Item = f64> + Clone) -> Axis {
    let latest = times_s.clone().fold(0.0, f64::max);
    let earliest = times_s.fold(f64::INFINITY, f64::min);
    if latest > earliest * DECADE {
        Axis::logarithmic(earliest, latest, BOTTOM, TOP)
    } else {
        Axis::up_to(latest * 1.05, 6, BOTTOM, TOP)
    }
}

/// Every policy in the picture, in the order in which it comes; its place is its shape.
fn policies(lines: &[Line]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for point in lines.iter().flat_map(|line| &line.points) {
        if !names.contains(&point.policy) {
            names.push(point.policy.clone());
        }
    }
    names.sort();
    names
}

fn policy_legend(svg: &mut Svg, policies: &[String]) {
    let mut x = 33.0;
    for (shape, policy) in policies.iter().enumerate() {
        svg.marker(shape, (x, 110.0), &format!("fill=\"{INK}\""));
        svg.text(x + 15.0, 115.0, Anchor::Start, INK, policy);
        x += 15.0 + text_width(policy) + 27.0;
    }
}

fn lines(cases: &[Case]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for case in cases {
        let name = case
            .waster_share
            .map_or_else(|| "this scenario".to_owned(), |share| format!("{} % wasters", share * 100.0));
        let Some(point) = point(case) else { continue };
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name, points: vec![point] }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|one, other| one.copies.total_cmp(&other.copies));
    }
    lines
}

fn point(case: &Case) -> Option<Point> {
    let measure = MEASURES.iter().find(|measure| measure.name == "copies_per_segment")?;
    Some(Point {
        policy: case.policy.clone(),
        copies: case.spread(measure).median?,
        p50_s: case.pooled.makespan_p50_s,
        p99_s: case.pooled.makespan_p99_s,
    })
}

/// A strip above the field for what has no height.
fn never_row(svg: &mut Svg) {
    let style = "fill=\"#f6f1ea\"";
    svg.rect(LEFT, NEVER - 14.0, RIGHT - LEFT, 28.0, style);
    svg.text(LEFT - 8.0, NEVER + 4.5, Anchor::End, GREY, "never");
}

fn draw_line(svg: &mut Svg, line: &Line, aside: f64, colour: &str, frame: &Frame, policies: &[String]) {
    let places: Vec<f64> = places(line, frame).into_iter().map(|x| x + aside).collect();
    let heights =
        |of: fn(&Point) -> Option<f64>| line.points.iter().zip(&places).map(move |(point, x)| (of(point), *x));
    let percentiles: [(Seconds, &str); 2] =
        [(|point| point.p50_s, ""), (|point| point.p99_s, "stroke-dasharray=\"6 4\"")];
    for (of, dash) in percentiles {
        let drawn: Vec<_> = heights(of).filter_map(|(seconds, x)| Some((x, frame.y.at(seconds?)))).collect();
        if drawn.len() > 1 {
            svg.polyline(&drawn, &format!("stroke=\"{colour}\" stroke-opacity=\"0.5\" stroke-width=\"1.5\" {dash}"));
        }
    }
    for (point, x) in line.points.iter().zip(&places) {
        let shape = policies.iter().position(|policy| *policy == point.policy).unwrap_or_default();
        let open = format!("fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"1.8\"");
        svg.marker(shape, (*x, height(point.p99_s, frame)), &open);
        let filled = format!("fill=\"{colour}\" stroke=\"#ffffff\" stroke-width=\"0.8\"");
        svg.marker(shape, (*x, height(point.p50_s, frame)), &filled);
    }
}

/// Where the line's points are from left to right, none nearer to the one before than its mark is wide.
fn places(line: &Line, frame: &Frame) -> Vec<f64> {
    let mut least = f64::NEG_INFINITY;
    let place = |point: &Point| {
        let x = frame.x.at(point.copies).max(least);
        least = x + APART;
        x
    };
    line.points.iter().map(place).collect()
}

fn height(seconds: Option<f64>, frame: &Frame) -> f64 {
    seconds.map_or(NEVER, |seconds| frame.y.at(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::handmade;
    use crate::report::summary::SeedReport;
    use crate::report::svg::tests::assert_well_formed;

    fn case(policy: &str, wasters: Option<f64>, copies: u32) -> Case {
        let run = handmade::wide(12, copies);
        Case::new(policy, "by-hand", policy, vec![SeedReport::of(&run)]).with_wasters(wasters)
    }

    #[test]
    fn there_is_a_line_for_each_share_of_wasters() {
        let cases = [case("fixed-5", Some(0.2), 5), case("adaptive", Some(0.2), 1), case("fixed-5", Some(0.5), 5)];
        let lines = lines(&cases);
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["20 % wasters", "50 % wasters"]);
        let copies: Vec<f64> = lines[0].points.iter().map(|point| point.copies).collect();
        assert_eq!(copies, [1.0, 5.0]);
        assert_eq!(policies(&lines), ["adaptive", "fixed-5"]);
    }

    #[test]
    fn points_that_would_cover_each_other_stand_apart() {
        let cases = ["fixed-5", "fixed-5-ranked", "fixed-5-run-on"].map(|policy| case(policy, None, 5));
        let lines = lines(&cases);
        let frame = Frame { x: Axis::up_to(5.4, 8, LEFT, RIGHT), y: time_axis([300.0].into_iter()) };
        let places = places(&lines[0], &frame);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= APART), "{places:?}");
    }

    #[test]
    fn what_never_finished_has_a_place_of_its_own() {
        let mut never = case("fixed-5", Some(0.8), 5);
        (never.pooled.makespan_p50_s, never.pooled.makespan_p99_s) = (None, None);
        let svg = redundancy(&[case("adaptive", Some(0.8), 2), never]);
        assert_well_formed(&svg);
        assert!(svg.contains(">never<"));
        assert!(!redundancy(&[case("adaptive", None, 2)]).contains(">never<"));
    }

    #[test]
    fn the_picture_is_well_formed_and_small() {
        let cases: Vec<Case> = (1..=8).map(|copies| case(&format!("fixed-{copies}"), Some(0.1), copies)).collect();
        for cases in [&cases[..], &[]] {
            let svg = redundancy(cases);
            assert_well_formed(&svg);
            assert!(svg.len() < 20_000, "{}", svg.len());
        }
    }
}
