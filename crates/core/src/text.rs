//! Texts of peers and workers, made fit to be shown and sent; and numbers as people read them.

use manyhands_proto::limits::TEXT_CHARS_MAX;

/// `text` in one line, without control characters, cut to the length that a message may hold.
pub(crate) fn clip(text: &str) -> String {
    let mut clipped = String::new();
    for char in text.chars().map(|char| if char.is_control() { ' ' } else { char }) {
        if clipped.len() + char.len_utf8() > TEXT_CHARS_MAX {
            break;
        }
        clipped.push(char);
    }
    clipped
}

/// A time as a person reads it: `850 ms`, `28 s`, `12 min 30 s`.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        _ => format!("{} min {} s", ms / 60_000, ms / 1_000 % 60),
    }
}
