//! Who worked on a job, and when: its attempts as bars over time, from step III to step V.
//!
//! A job has hundreds or thousands of attempts. They are packed into lanes, in bands of one kind each, so that the picture stays
//! legible; where there are more lanes than pixels, every n-th is drawn, first of what did not count, and the picture says so.

use manyhands_proto::unit::UnitKind;

use super::metrics::seconds;
use super::svg::{Anchor, Axis, Frame, GREY, INK, Svg, bar, plural};
use crate::record::{AttemptRun, End, JobRun, Run};

const WIDTH: f64 = 1_060.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 1_030.0;
const TOP: f64 = 132.0;
/// The bands together are no higher, in pixels.
const BANDS_PX_MAX: f64 = 620.0;
/// A lane is no higher, in pixels.
const LANE_PX_MAX: f64 = 14.0;
/// A lane is no lower, in pixels: below that, bars run into each other.
const LANE_PX_MIN: f64 = 1.0;
/// Between two bands, in pixels: room for a label of the lower one.
const GAP_PX: f64 = 16.0;
/// No band is lower, in pixels: its label needs two lines.
const BAND_PX_MIN: f64 = 28.0;

/// What the bars of a band have in common, from top to bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BandKind {
    Proofs,
    LostProofs,
    Lifts,
    Joins,
}

impl BandKind {
    const ALL: [Self; 4] = [Self::Proofs, Self::LostProofs, Self::Lifts, Self::Joins];

    fn of(attempt: &AttemptRun) -> Self {
        match (attempt.unit.kind(), attempt.end) {
            (UnitKind::Prove, End::Won) => Self::Proofs,
            (UnitKind::Prove, _) => Self::LostProofs,
            (UnitKind::Lift | UnitKind::Keccak, _) => Self::Lifts,
            (UnitKind::Join, _) => Self::Joins,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Proofs => "proofs",
            Self::LostProofs => "lost proofs",
            Self::Lifts => "lifts",
            Self::Joins => "joins",
        }
    }

    const fn solid(self) -> &'static str {
        match self {
            Self::Proofs | Self::LostProofs => "#0072B2",
            Self::Lifts => "#D55E00",
            Self::Joins => "#009E73",
        }
    }

    const fn pale(self) -> &'static str {
        match self {
            Self::Proofs | Self::LostProofs => "#A6CBE3",
            Self::Lifts => "#F2C4A0",
            Self::Joins => "#A3DCC8",
        }
    }
}

/// The attempts of a kind, in lanes in which no two overlap.
struct Band<'a> {
    kind: BandKind,
    attempts: usize,
    lanes: Vec<Vec<&'a AttemptRun>>,
}

/// Which lanes are drawn, and how high. Those of the proofs that count come first: the last of them is what the job waited for.
struct Thinning {
    proofs_step: usize,
    rest_step: usize,
    lane_px: f64,
}

impl Thinning {
    fn of(bands: &[Band<'_>]) -> Self {
        let lanes_max = (BANDS_PX_MAX / LANE_PX_MIN) as usize;
        let (proofs, rest): (Vec<&Band<'_>>, Vec<&Band<'_>>) =
            bands.iter().partition(|band| band.kind == BandKind::Proofs);
        let lanes = |bands: &[&Band<'_>]| bands.iter().map(|band| band.lanes.len()).sum::<usize>();
        let proofs_step = lanes(&proofs).div_ceil(lanes_max / 2).max(1);
        let proofs_drawn = lanes(&proofs).div_ceil(proofs_step);
        let rest_step = lanes(&rest).div_ceil(lanes_max.saturating_sub(proofs_drawn).max(1)).max(1);
        let drawn = proofs_drawn + lanes(&rest).div_ceil(rest_step);
        let lane_px = (BANDS_PX_MAX / drawn.max(1) as f64).clamp(LANE_PX_MIN, LANE_PX_MAX);
        Self { proofs_step, rest_step, lane_px }
    }

    fn step(&self, band: &Band<'_>) -> usize {
        if band.kind == BandKind::Proofs { self.proofs_step } else { self.rest_step }
    }

    fn height_px(&self, band: &Band<'_>) -> f64 {
        band.lanes.len().div_ceil(self.step(band)) as f64 * self.lane_px
    }

    fn words(&self) -> String {
        match (self.proofs_step, self.rest_step) {
            (1, 1) => String::new(),
            (1, step) => format!("; all proofs that count are drawn, of the rest 1 lane of {step}"),
            (proofs, rest) => {
                format!("; of the proofs that count 1 lane of {proofs} is drawn, of the rest 1 of {rest}")
            }
        }
    }
}

/// The picture of the job at this place in [`Run::jobs`], or nothing if there is no such job.
pub fn gantt(run: &Run, place: usize) -> Option<String> {
    let job = run.jobs.get(place)?;
    let attempts: Vec<&AttemptRun> = run.attempts.iter().filter(|attempt| attempt.job as usize == place).collect();
    let end_ms = attempts.iter().map(|attempt| attempt.freed_ms).chain(job.finished_ms).max().unwrap_or(run.end_ms);
    let bands: Vec<Band<'_>> = BandKind::ALL.into_iter().filter_map(|kind| band(kind, &attempts)).collect();
    let thinning = Thinning::of(&bands);
    let heights = bands.iter().map(|band| thinning.height_px(band).max(BAND_PX_MIN) + GAP_PX);
    let bottom = TOP + heights.sum::<f64>();
    let span_s = seconds(end_ms.saturating_sub(job.submitted_ms)) * 1.02;
    let x = Axis::exactly(span_s, 9, LEFT, RIGHT);
    let frame = Frame { x, y: Axis::exactly(1.0, 1, bottom, TOP) };
    let mut svg = Svg::new(WIDTH, bottom + 56.0, &title(run, place), &explanation(run, job, attempts.len(), &thinning));
    legend(&mut svg);
    frame.draw(&mut svg, "time since the job was submitted, s", None);
    let mut y = TOP;
    for band in &bands {
        y = draw_band(&mut svg, band, &x, job.submitted_ms, y, &thinning);
    }
    marks(&mut svg, job, &x, bottom);
    frame.border(&mut svg);
    Some(svg.finish())
}

/// The job whose makespan is the median, which speaks for the others; the first one if half of them never finished.
pub fn typical_job(run: &Run) -> usize {
    let makespans = super::metrics::makespans_ms(&run.jobs);
    let median = super::metrics::percentile_of_jobs(&makespans, 50);
    makespans.iter().position(|makespan| median.is_some() && *makespan == median).unwrap_or_default()
}

fn title(run: &Run, place: usize) -> String {
    let of_jobs = if run.jobs.len() > 1 { format!(", job {} of {}", place + 1, run.jobs.len()) } else { String::new() };
    format!("Who worked when: {} under {}{of_jobs}", run.scenario, run.policy)
}

fn explanation(run: &Run, job: &JobRun, attempts: usize, thinning: &Thinning) -> String {
    let end = job.finished_ms.map_or_else(
        || "not delivered".to_owned(),
        |ms| format!("delivered after {:.0} s", seconds(ms.saturating_sub(job.submitted_ms))),
    );
    format!(
        "{}, {}, {end}; seed {}{}",
        plural(job.segments.into(), "segment"),
        plural(attempts as u64, "attempt"),
        run.seed,
        thinning.words()
    )
}

fn band<'a>(kind: BandKind, attempts: &[&'a AttemptRun]) -> Option<Band<'a>> {
    let mut of_kind: Vec<&AttemptRun> =
        attempts.iter().copied().filter(|attempt| BandKind::of(attempt) == kind).collect();
    of_kind.sort_by_key(|attempt| (attempt.granted_ms, attempt.freed_ms, attempt.node));
    let mut lanes: Vec<Vec<&AttemptRun>> = Vec::new();
    for attempt in &of_kind {
        let is_free = |lane: &&mut Vec<&AttemptRun>| lane.last().is_none_or(|last| last.freed_ms <= attempt.granted_ms);
        match lanes.iter_mut().find(is_free) {
            Some(lane) => lane.push(attempt),
            None => lanes.push(vec![attempt]),
        }
    }
    (!of_kind.is_empty()).then_some(Band { kind, attempts: of_kind.len(), lanes })
}

/// Draws a band and its label from `y` on; where the next one begins.
fn draw_band(svg: &mut Svg, band: &Band<'_>, x: &Axis, zero_ms: u64, y: f64, thinning: &Thinning) -> f64 {
    let lane_px = thinning.lane_px;
    let (mut won, mut lost) = (String::new(), String::new());
    let thickness = if lane_px >= 4.0 { lane_px - 1.0 } else { lane_px * 0.85 };
    let mut lane_y = y;
    for lane in band.lanes.iter().step_by(thinning.step(band)) {
        for attempt in lane {
            let from = x.at(seconds(attempt.granted_ms.saturating_sub(zero_ms)));
            let to = x.at(seconds(attempt.freed_ms.saturating_sub(zero_ms)));
            // A hair of white between bars that follow each other.
            let width = (to - from - 0.5).max(0.5);
            let commands = if attempt.end == End::Won { &mut won } else { &mut lost };
            bar(commands, from, lane_y, width, thickness);
        }
        lane_y += lane_px;
    }
    svg.path(&lost, &format!("fill=\"{}\"", band.kind.pale()));
    svg.path(&won, &format!("fill=\"{}\"", band.kind.solid()));
    let bottom = lane_y.max(y + BAND_PX_MIN);
    let middle = f64::midpoint(y, bottom);
    svg.text(LEFT - 12.0, middle - 2.0, Anchor::End, INK, band.kind.word());
    svg.text(LEFT - 12.0, middle + 14.0, Anchor::End, GREY, &plural(band.attempts as u64, "attempt"));
    bottom + GAP_PX
}

fn legend(svg: &mut Svg) {
    let entry = |colour: &str, word: &str| (format!("fill=\"{colour}\""), word.to_owned());
    let (proofs, lifts, joins) = (BandKind::Proofs, BandKind::Lifts, BandKind::Joins);
    svg.legend(
        24.0,
        80.0,
        &[
            entry(proofs.solid(), "proof that counts"),
            entry(proofs.pale(), "overtaken, refused, lapsed or given back"),
            entry(lifts.solid(), "lift"),
            entry(lifts.pale(), "lost lift"),
            entry(joins.solid(), "join"),
            entry(joins.pale(), "lost join"),
        ],
    );
}

/// Vertical lines at the last proof and at delivery. Their words stand in rows of their own, so that they never meet, and on the side
/// that has room.
fn marks(svg: &mut Svg, job: &JobRun, x: &Axis, bottom: f64) {
    let mut mark = |ms: Option<u64>, word: &str, above: f64, dash: &str| {
        let Some(ms) = ms else { return };
        let at_s = seconds(ms.saturating_sub(job.submitted_ms));
        let (at, text) = (x.at(at_s), format!("{word} {at_s:.0} s"));
        svg.line((at, TOP - above), (at, bottom), &format!("stroke=\"{INK}\" stroke-width=\"1.5\" {dash}"));
        let (anchor, aside) = if at > f64::midpoint(LEFT, RIGHT) { (Anchor::End, -5.0) } else { (Anchor::Start, 5.0) };
        svg.text(at + aside, TOP - above + 10.0, anchor, INK, &text);
    };
    mark(job.last_proof_ms, "last proof", 20.0, "stroke-dasharray=\"5 3\"");
    mark(job.finished_ms, "delivered", 36.0, "");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::handmade;
    use crate::report::svg::tests::assert_well_formed;

    fn lanes(run: &Run, kind: BandKind) -> usize {
        band(kind, &run.attempts.iter().collect::<Vec<_>>()).map_or(0, |band| band.lanes.len())
    }

    #[test]
    fn the_median_job_is_drawn_with_its_marks() {
        let run = handmade::run();
        assert_eq!(typical_job(&run), 0);
        let svg = gantt(&run, 0).unwrap();
        assert_well_formed(&svg);
        for word in ["last proof 60 s", "delivered 100 s", "2 segments, 7 attempts", "job 1 of 2", "seed 7"] {
            assert!(svg.contains(word), "{word}: {svg}");
        }
        let unfinished = gantt(&run, 1).unwrap();
        assert_well_formed(&unfinished);
        assert!(unfinished.contains("not delivered") && !unfinished.contains("last proof"));
        assert_eq!(gantt(&run, 2), None);
    }

    #[test]
    fn in_a_lane_no_two_attempts_overlap() {
        let run = handmade::wide(24, 3);
        assert_eq!((lanes(&run, BandKind::Proofs), lanes(&run, BandKind::LostProofs)), (24, 48));
        let attempts: Vec<&AttemptRun> = run.attempts.iter().collect();
        for kind in BandKind::ALL {
            let band = band(kind, &attempts).unwrap();
            let overlap = |lane: &Vec<&AttemptRun>| lane.windows(2).any(|pair| pair[0].freed_ms > pair[1].granted_ms);
            assert!(!band.lanes.iter().any(overlap), "{kind:?}");
            assert_eq!(band.lanes.iter().map(Vec::len).sum::<usize>(), band.attempts);
        }
    }

    #[test]
    fn thousands_of_attempts_stay_legible_and_small() {
        for (segments, copies) in [(168, 5), (355, 5), (2_000, 8)] {
            let svg = gantt(&handmade::wide(segments, copies), 0).unwrap();
            assert_well_formed(&svg);
            assert!(svg.len() < 120_000, "{segments} x {copies}: {} bytes", svg.len());
            let height: f64 = svg.split("height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
            assert!(height < 1_000.0, "{height}");
        }
        assert!(!gantt(&handmade::wide(12, 3), 0).unwrap().contains("1 lane of"));
        assert!(gantt(&handmade::wide(168, 5), 0).unwrap().contains("of the rest 1 lane of 2"));
        assert!(gantt(&handmade::wide(2_000, 8), 0).unwrap().contains("of the proofs that count 1 lane of"));
    }
}
