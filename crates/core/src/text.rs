//! Texts of peers and workers, made fit to be shown and sent.

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
