//! Bytes on their way, on standard error: a bar with the time left, on a terminal and for what takes long enough to be waited for.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// From so many bytes on a bar is shown: what a core hashes in about half a second.
const SHOWN_FROM_BYTES: u64 = 64_000_000;

/// How far a file or a blob is.
#[derive(Debug)]
pub struct Meter {
    what: String,
    size_bytes: Option<u64>,
    done_bytes: u64,
    is_live: bool,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// Nothing is done yet of `size_bytes`, if they are known; `what` is the word for the work.
    pub fn new(what: impl Into<String>, size_bytes: Option<u64>) -> Self {
        Self { what: what.into(), size_bytes, done_bytes: 0, is_live: super::is_live(), bar: None }
    }

    /// So many more bytes are done.
    pub fn add(&mut self, bytes: u64) {
        self.reach(self.done_bytes.saturating_add(bytes));
    }

    /// So many bytes are done in all.
    pub fn reach(&mut self, done_bytes: u64) {
        self.done_bytes = done_bytes;
        if self.bar.is_none() && self.is_live && self.is_long() {
            self.bar = Some(bar(&self.what, self.size_bytes));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done_bytes);
        }
    }

    /// Bytes that are done.
    pub const fn done_bytes(&self) -> u64 {
        self.done_bytes
    }

    fn is_long(&self) -> bool {
        self.size_bytes.unwrap_or(self.done_bytes) >= SHOWN_FROM_BYTES
    }
}

impl Drop for Meter {
    /// Takes the bar away.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &str, size_bytes: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(size_bytes, ProgressDrawTarget::stderr_with_hz(8));
    let template = match size_bytes {
        Some(_) => {
            "{msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, about {eta} left"
        }
        None => "{spinner} {msg} {decimal_bytes}, {decimal_bytes_per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(is_live: bool, size_bytes: Option<u64>) -> Meter {
        Meter { what: "hashing".to_owned(), size_bytes, done_bytes: 0, is_live, bar: None }
    }

    #[test]
    fn what_is_done_in_a_moment_has_no_bar() {
        let mut small = meter(true, Some(SHOWN_FROM_BYTES - 1));
        small.add(SHOWN_FROM_BYTES - 1);
        assert!(small.bar.is_none());
        let mut large = meter(true, Some(SHOWN_FROM_BYTES));
        large.add(1);
        assert_eq!(large.bar.as_ref().map(ProgressBar::position), Some(1));
        let mut pipe = meter(true, None);
        pipe.add(SHOWN_FROM_BYTES - 1);
        assert!(pipe.bar.is_none(), "not known to be long yet");
        pipe.add(1);
        assert_eq!((pipe.bar.is_some(), pipe.done_bytes()), (true, SHOWN_FROM_BYTES));
        let mut elsewhere = meter(false, Some(u64::MAX));
        elsewhere.reach(u64::MAX);
        elsewhere.add(1);
        assert!(elsewhere.bar.is_none());
    }
}
