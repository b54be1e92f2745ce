//! What is printed: made by pure functions from data, written in one place.
//!
//! Results go to standard output, everything about the way there to standard error. Colours and redrawing only on a terminal, and no
//! colours where `NO_COLOR` is set; a glyph or a word always says the same as its colour.

pub mod explain;
pub mod fleet;
pub mod grid;
pub mod lines;
pub mod meter;
pub mod picture;
pub mod progress;
pub mod runs;
pub mod summary;
pub mod table;
pub mod text;

use std::io::{self, IsTerminal, Write};

/// Prints a line on standard output. That nobody reads it is no failure.
pub fn out(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{}", text.trim_end_matches('\n'));
}

/// Prints a line on standard error.
pub fn err(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a value as the one JSON object on standard output.
pub fn json(value: &impl serde::Serialize) {
    out(&serde_json::to_string_pretty(value)
        .unwrap_or_else(|error| format!("{{\"error\": \"{error}\", \"hint\": null}}")));
}

/// Whether standard error is a terminal that can be redrawn.
pub fn is_live() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// No colours.
    #[cfg(test)]
    pub const PLAIN: Self = Self { on: false };

    /// What standard error takes.
    pub fn stderr() -> Self {
        Self::of(io::stderr().is_terminal())
    }

    /// What standard output takes.
    pub fn stdout() -> Self {
        Self::of(io::stdout().is_terminal())
    }

    fn of(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { on: is_terminal && !refused && !dumb }
    }

    /// For failures.
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// For what is done and right.
    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// For what is under way, and for warnings.
    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// For what is being checked.
    pub fn cyan(self, text: &str) -> String {
        self.with("36", text)
    }

    /// For headings.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// For what may be overlooked.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_off_where_they_are_not_wanted() {
        assert_eq!(Paint::PLAIN.green("ok"), "ok");
        assert_eq!(Paint { on: true }.green("ok"), "\x1b[32mok\x1b[0m");
        assert_eq!(Paint { on: true }.green(""), "");
    }
}
