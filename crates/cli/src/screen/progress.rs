//! Shows a job on standard error while it goes on: a picture on a terminal, lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use manyhands_api::JobStatus;

use super::lines::PlainLines;
use super::{Paint, picture};

/// Width that is assumed where the terminal does not say its own.
const WIDTH: usize = 80;

/// A job's progress on standard error.
#[derive(Debug)]
pub enum Progress {
    /// Redrawn.
    Live {
        /// Owns the lines of the terminal.
        bar: ProgressBar,
        /// What is proved.
        title: String,
    },
    /// Line by line.
    Plain(PlainLines),
}

impl Progress {
    /// The form that suits standard error.
    pub fn new(title: &str) -> Self {
        if !super::is_live() {
            return Self::Plain(PlainLines::default());
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(125));
        Self::Live { bar, title: title.to_owned() }
    }

    /// Shows how far the job is.
    pub fn show(&mut self, status: &JobStatus) {
        match self {
            Self::Live { bar, title } => {
                let width = terminal_width();
                bar.set_message(picture::picture(title, status, width, Paint::stderr()).join("\n"));
            }
            Self::Plain(lines) => lines.news(status).iter().for_each(|line| super::err(line)),
        }
    }

    /// Says a sentence that stays.
    pub fn note(&self, text: &str) {
        match self {
            Self::Live { bar, .. } => bar.suspend(|| super::err(text)),
            Self::Plain(_) => super::err(text),
        }
    }
}

impl Drop for Progress {
    /// Takes the picture away.
    fn drop(&mut self) {
        if let Self::Live { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

/// The terminal's width now: people resize their windows.
fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(WIDTH)
}
