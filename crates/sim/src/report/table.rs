//! The figures as one table of fixed width, for people: a row for each case, a column for each figure (steps III to V).
//!
//! It fits 120 columns. With several seeds, the least and the greatest stand below a figure, so that the columns stay narrow; a spread
//! that is none is left out.

use super::summary::{Case, MEASURES, Measure, Spread};

/// The widest line, in characters.
pub const WIDTH_MAX: usize = 120;
/// A label is never cut to less than this.
const LABEL_WIDTH_MIN: usize = 12;
/// Between two columns.
const GAP: &str = "  ";

/// How a number is written.
#[derive(Debug, Clone, Copy)]
enum Style {
    /// Whole, and with one decimal below ten.
    Plain,
    /// With two decimals.
    Ratio,
    /// A share as per cent.
    Percent,
    /// Bytes as megabytes.
    Megabytes,
}

/// A column: a figure under two lines of heading, the second its unit.
struct Column {
    heading: &'static str,
    unit: &'static str,
    figure: &'static str,
    style: Style,
    has_spread: bool,
}

const fn column(heading: &'static str, unit: &'static str, figure: &'static str, style: Style) -> Column {
    Column { heading, unit, figure, style, has_spread: false }
}

/// A column with its spread below.
const fn spread_column(heading: &'static str, unit: &'static str, figure: &'static str, style: Style) -> Column {
    Column { has_spread: true, ..column(heading, unit, figure, style) }
}

/// After the label and the jobs finished.
const COLUMNS: [Column; 10] = [
    spread_column("p50", "s", "makespan_p50_s", Style::Plain),
    spread_column("p99", "s", "makespan_p99_s", Style::Plain),
    column("p50/T*", "x", "p50_over_list_bound", Style::Ratio),
    spread_column("proof", "node-s", "node_seconds_per_proof", Style::Plain),
    spread_column("wasted", "%", "wasted_share_proving", Style::Percent),
    spread_column("copies", "/segment", "copies_per_segment", Style::Ratio),
    column("sent", "MB/job", "sent_bytes_per_job", Style::Megabytes),
    column("got", "MB/job", "received_bytes_per_job", Style::Megabytes),
    column("joins", "left", "joins_after_last_proof", Style::Plain),
    column("refused", "after s", "refusal_s", Style::Plain),
];

/// The table, line by line: two of heading, then one for each case, or two where there are several seeds.
pub fn table(cases: &[Case]) -> Vec<String> {
    let mut rows = vec![heading(|column| column.heading, "jobs"), heading(|column| column.unit, "done")];
    for case in cases {
        rows.push(figures(case));
        if case.seeds.len() > 1 {
            rows.push(spreads(case));
        }
    }
    lay_out(&rows)
}

/// What the columns mean, for below the table.
pub fn legend() -> Vec<String> {
    [
        "p50, p99: makespan over the jobs of all seeds; never: that job did not finish. T*: the list bound.",
        "proof: slot-seconds of all attempts for each segment proved; wasted: the part that no winner spent.",
        "sent, got: by the client; joins left: after the last proof; refused: a lie, after its lease.",
        "Below a figure: the least and the greatest of the seeds, where they differ.",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn heading(of: fn(&Column) -> &'static str, jobs: &str) -> Vec<String> {
    [String::new(), jobs.to_owned()].into_iter().chain(COLUMNS.iter().map(|column| of(column).to_owned())).collect()
}

fn figures(case: &Case) -> Vec<String> {
    let finished = format!("{}/{}", case.pooled.jobs_finished, case.pooled.jobs);
    let value = |column: &Column| match column.figure {
        "makespan_p50_s" => late(case.pooled.makespan_p50_s),
        "makespan_p99_s" => late(case.pooled.makespan_p99_s),
        _ => number(spread(case, column).median, column.style),
    };
    [case.label.clone(), finished].into_iter().chain(COLUMNS.iter().map(value)).collect()
}

/// A makespan, which may never come.
fn late(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "never".to_owned(), |seconds| number(Some(seconds), Style::Plain))
}

fn spreads(case: &Case) -> Vec<String> {
    let value = |column: &Column| {
        let Spread { min, max, .. } = spread(case, column);
        let Some(least) = min.filter(|_| column.has_spread) else { return String::new() };
        let least = number(Some(least), column.style);
        let greatest = max.map_or_else(|| "never".to_owned(), |max| number(Some(max), column.style));
        if least == greatest { String::new() } else { format!("{least}–{greatest}") }
    };
    [String::new(), String::new()].into_iter().chain(COLUMNS.iter().map(value)).collect()
}

fn spread(case: &Case, column: &Column) -> Spread {
    let measure: Option<&Measure> = MEASURES.iter().find(|measure| measure.name == column.figure);
    measure.map_or_else(Spread::default, |measure| case.spread(measure))
}

fn number(value: Option<f64>, style: Style) -> String {
    let Some(value) = value else { return "-".to_owned() };
    match style {
        Style::Plain if value < 9.95 && (value - value.round()).abs() > 0.001 => format!("{value:.1}"),
        Style::Plain => format!("{value:.0}"),
        Style::Ratio => format!("{value:.2}"),
        Style::Percent => format!("{:.0}", value * 100.0),
        Style::Megabytes if value < 99.5e6 => format!("{:.1}", value / 1e6),
        Style::Megabytes => format!("{:.0}", value / 1e6),
    }
}

/// The label to the left, cut if the line would be too wide, everything else to the right.
fn lay_out(rows: &[Vec<String>]) -> Vec<String> {
    let width = |place: usize| {
        rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (1..COLUMNS.len() + 2).map(width).collect();
    let figures: usize = widths.iter().map(|width| width + GAP.len()).sum();
    let label_width = width(0).min(WIDTH_MAX.saturating_sub(figures).max(LABEL_WIDTH_MIN));
    let line = |row: &Vec<String>| {
        let label = row.first().map(|label| clip(label, label_width)).unwrap_or_default();
        let mut line = format!("{label:<label_width$}");
        for (cell, width) in row.iter().skip(1).zip(&widths) {
            line.push_str(GAP);
            line.push_str(&format!("{cell:>width$}"));
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn clip(label: &str, width: usize) -> String {
    if label.chars().count() <= width {
        return label.to_owned();
    }
    label.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::handmade;
    use crate::report::summary::SeedReport;

    fn case(label: &str, seeds: u64) -> Case {
        let run = |seed: u64| {
            let mut run = handmade::run();
            run.seed = seed;
            run.jobs[1].finished_ms = Some(102_000 + seed * 10_000);
            run.jobs[0].sent_bytes = 44_500_000;
            run.attempts[0].freed_ms += seed * 9_000;
            SeedReport::of(&run)
        };
        Case::new(label, "by-hand", label, (1..=seeds).map(run).collect())
    }

    const SNAPSHOT: [&str; 5] = [
        "                                jobs  p50      p99  p50/T*   proof  wasted    copies    sent     got  joins  refused",
        "                                done    s        s       x  node-s       %  /segment  MB/job  MB/job   left  after s",
        "adaptive                         6/6  100      130    2.00      76      35      1.50    22.3     0.0      1       10",
        "                                           110–130           73–79   34–37",
        "fixed-5, losers run on, ranked   2/2  100    never    2.00      73      37      1.50    22.3     0.0      1       10",
    ];

    #[test]
    fn spreads_stand_below_their_figures() {
        let mut never = case("fixed-5, losers run on, ranked", 1);
        never.pooled.makespan_p99_s = None;
        let lines = table(&[case("adaptive", 3), never]);
        assert_eq!(lines, SNAPSHOT);
    }

    #[test]
    fn wide_numbers_still_fit() {
        let mut case = case(&"long".repeat(20), 5);
        for (place, seed) in (0..).zip(&mut case.seeds) {
            let figures = &mut seed.figures;
            (figures.makespan_p50_s, figures.makespan_p99_s) = (Some(1_234.0 + place as f64), Some(12_345.0));
            figures.node_seconds_per_proof = Some(1_234.0 + place as f64);
            figures.sent_bytes_per_job = Some(123e6 + 1e7 * place as f64);
            figures.refusal_s = Some(250.0 + place as f64);
        }
        let lines = table(&[case]);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH_MAX), "{}", lines.join("\n"));
        assert!(legend().iter().all(|line| line.chars().count() <= WIDTH_MAX));
    }

    #[test]
    fn numbers_are_as_fine_as_they_need_to_be() {
        let plain = [3.0, 3.25, 12.4, 1_487.0].map(|value| number(Some(value), Style::Plain));
        assert_eq!(plain, ["3", "3.2", "12", "1487"].map(str::to_owned));
        assert_eq!((number(Some(0.126), Style::Percent), number(None, Style::Ratio)), ("13".into(), "-".into()));
        assert_eq!((number(Some(44.5e6), Style::Megabytes), late(None)), ("44.5".into(), "never".into()));
    }
}
