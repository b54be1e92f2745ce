//! Runs of the simulator while they go on (steps III to V): a bar with the time left on a terminal, a line for each run elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text::{count, duration, plural};
use crate::commands::sim::News;

/// The progress of a number of runs on standard error.
#[derive(Debug)]
pub enum Runs {
    /// Redrawn.
    Live(ProgressBar),
    /// Line by line.
    Plain,
}

impl Runs {
    /// The form that suits standard error.
    pub fn new(runs: u64) -> Self {
        if !super::is_live() {
            return Self::Plain;
        }
        let bar = ProgressBar::with_draw_target(Some(runs), ProgressDrawTarget::stderr_with_hz(8));
        style(&bar, "{spinner} {wide_bar} {pos}/{len} runs, {elapsed} so far");
        bar.enable_steady_tick(Duration::from_millis(125));
        Self::Live(bar)
    }

    /// A run has ended.
    pub fn show(&self, news: &News<'_>) {
        match self {
            Self::Live(bar) => {
                // Before the first run has ended, nothing is promised.
                if bar.position() == 0 {
                    style(bar, "{spinner} {wide_bar} {pos}/{len} runs, {elapsed} so far, about {eta} left  {msg}");
                }
                bar.set_message(news.label.to_owned());
                bar.inc(1);
            }
            Self::Plain => super::err(&line(news)),
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

fn line(news: &News<'_>) -> String {
    let figures = &news.report.figures;
    let p50 = figures.makespan_p50_s.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.0} s"));
    format!(
        "{}, seed {}: {} of {} done, p50 {p50}; {} events in {}",
        news.label,
        news.report.seed,
        figures.jobs_finished,
        plural(figures.jobs, "job"),
        count(news.report.events),
        duration(u64::try_from(news.took.as_millis()).unwrap_or(u64::MAX))
    )
}
