//! What copies buy: makespan against copies per segment, a line for each share of nodes that waste time (steps III and IV).

use super::summary::{Case, MEASURES};
use super::svg::{Anchor, Axis, Frame, GREY, INK, PALETTE, Svg, text_width};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 960.0;
const TOP: f64 = 150.0;
const BOTTOM: f64 = 560.0;
/// Where points of jobs that never finished stand.
const NEVER: f64 = 122.0;

/// One case in the picture.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    label: String,
    copies: f64,
    p50_s: Option<f64>,
    p99_s: Option<f64>,
}

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
    let latest = points().flat_map(|point| [point.p50_s, point.p99_s]).flatten().fold(0.0, f64::max);
    let frame = Frame { x: Axis::up_to(copies * 1.08, 8, LEFT, RIGHT), y: Axis::up_to(latest * 1.05, 6, BOTTOM, TOP) };
    let mut svg = Svg::new(
        WIDTH,
        BOTTOM + 56.0,
        &title(cases),
        "Filled: p50, solid line. Open: p99, dashed line. Over the jobs of all seeds; the label is the policy.",
    );
    let coloured = || lines.iter().zip(PALETTE.iter().cycle());
    let entries: Vec<_> = coloured().map(|(line, colour)| (format!("fill=\"{colour}\""), line.name.clone())).collect();
    svg.legend(24.0, 82.0, &entries);
    frame.draw(&mut svg, "attempts at proving for each segment", Some("makespan, s"));
    if points().any(|point| point.p50_s.is_none() || point.p99_s.is_none()) {
        never_row(&mut svg);
    }
    for (line, colour) in coloured() {
        draw_line(&mut svg, line, colour, &frame);
    }
    labels(&mut svg, &lines, &frame);
    svg.finish()
}

fn title(cases: &[Case]) -> String {
    let scenario = cases.first().map_or("no scenario", |case| case.scenario.as_str());
    format!("What copies buy: {scenario}")
}

fn lines(cases: &[Case]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for case in cases {
        let name = case.waster_share.map_or_else(
            || "this scenario".to_owned(),
            |share| format!("{:.0} % of the nodes waste time", share * 100.0),
        );
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
        label: case.policy.clone(),
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

fn draw_line(svg: &mut Svg, line: &Line, colour: &str, frame: &Frame) {
    let at = |point: &Point, seconds: Option<f64>| (frame.x.at(point.copies), height(seconds, frame));
    for (of, dash) in
        [((|point| point.p50_s) as fn(&Point) -> Option<f64>, ""), (|point| point.p99_s, "stroke-dasharray=\"6 4\"")]
    {
        let drawn: Vec<_> =
            line.points.iter().filter(|point| of(point).is_some()).map(|point| at(point, of(point))).collect();
        if drawn.len() > 1 {
            svg.polyline(&drawn, &format!("stroke=\"{colour}\" stroke-width=\"1.5\" {dash}"));
        }
    }
    for point in &line.points {
        svg.dot(at(point, point.p99_s), 5.0, &format!("fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"2\""));
        svg.dot(at(point, point.p50_s), 5.0, &format!("fill=\"{colour}\" stroke=\"#ffffff\" stroke-width=\"1\""));
    }
}

fn height(seconds: Option<f64>, frame: &Frame) -> f64 {
    seconds.map_or(NEVER, |seconds| frame.y.at(seconds))
}

/// The policies' names beside their medians. A name that would cover another or a point moves down until it has room.
fn labels(svg: &mut Svg, lines: &[Line], frame: &Frame) {
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    for point in lines.iter().flat_map(|line| &line.points) {
        let x = frame.x.at(point.copies);
        for y in [height(point.p50_s, frame), height(point.p99_s, frame)] {
            taken.push((x - 7.0, x + 7.0, y));
        }
    }
    for point in lines.iter().flat_map(|line| &line.points) {
        let (x, width) = (frame.x.at(point.copies), text_width(&point.label));
        let is_last = x + 10.0 + width > RIGHT;
        let (left, anchor) = if is_last { (x - 10.0 - width, Anchor::End) } else { (x + 10.0, Anchor::Start) };
        let start = height(point.p50_s, frame) + 4.5;
        let clear = |y: &f64| {
            !taken.iter().any(|(from, to, at)| left < *to && left + width > *from && (y - 4.5 - at).abs() < 14.0)
        };
        let steps = (0..24).flat_map(|step| [start + f64::from(step) * 7.0, start - f64::from(step) * 7.0]);
        let y = steps.filter(|y| *y > NEVER && *y < BOTTOM - 4.0).find(clear).unwrap_or(start);
        svg.text(if is_last { x - 10.0 } else { left }, y, anchor, INK, &point.label);
        taken.push((left, left + width, y - 4.5));
    }
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
        assert_eq!(names, ["20 % of the nodes waste time", "50 % of the nodes waste time"]);
        let copies: Vec<f64> = lines[0].points.iter().map(|point| point.copies).collect();
        assert_eq!(copies, [1.0, 5.0]);
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
