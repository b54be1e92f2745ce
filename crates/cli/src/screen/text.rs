//! Numbers, sizes and times as people read them.

use jiff::Timestamp;

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things with its word: `1 node`, `3 nodes`.
pub fn plural(number: u64, word: &str) -> String {
    format!("{} {word}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Bytes in decimal units, as disks and the paper's tables have them.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (unit_bytes, unit) in UNITS {
        // From 999.5 of the smaller unit on, which would be written as 1000.
        if bytes >= unit_bytes - unit_bytes / 2_000 {
            let value = bytes as f64 / unit_bytes as f64;
            return if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") };
        }
    }
    format!("{bytes} B")
}

/// A time on a clock: `0:07`, `12:34`, `1:02:03`.
pub fn clock(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A time that was measured: `850 ms`, `28.4 s`, `12:34`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        _ => clock(ms),
    }
}

/// A time that is guessed, no finer than a guess can be: `under 10 s`, `40 s`, `7 min`, `2 h 10 min`.
pub fn guess(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..10 => "under 10 s".to_owned(),
        10..95 => format!("{} s", (seconds + 5) / 10 * 10),
        95..5_400 => format!("{} min", (seconds + 30) / 60),
        _ => {
            let minutes = (seconds + 300) / 600 * 10;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
    }
}

/// Seconds since 1970 as a date and a time.
pub fn date(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// How many times `whole` is `part`, or nothing if that has no meaning.
pub fn ratio(whole: u64, part: u64) -> Option<f64> {
    (part > 0).then(|| whole as f64 / part as f64)
}

/// Cycles proved for each cycle of the guest's own, as the paper writes it: `1.698x`.
pub fn inflation(total_cycles: u64, user_cycles: u64) -> String {
    ratio(total_cycles, user_cycles).map_or_else(|| "-".to_owned(), |inflation| format!("{inflation:.3}x"))
}

/// What a stranger wrote, safe on a terminal: control characters, which could move the cursor or change its colours, are shown as what
/// they are.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\n' => "\n".to_owned(),
            '\t' => "    ".to_owned(),
            letter if letter.is_control() => letter.escape_default().to_string(),
            letter => letter.to_string(),
        })
        .collect()
}

/// Bytes as text, if that is what they are.
pub fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_text =
        !text.is_empty() && text.chars().all(|letter| !letter.is_control() || matches!(letter, '\n' | '\t' | '\r'));
    is_text.then_some(text)
}

/// The last `lines` lines of what was written, of at most `chars` characters each.
pub fn tail(text: &str, lines: usize, chars: usize) -> Vec<String> {
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = all.len().saturating_sub(lines);
    all.into_iter().skip(skipped).map(|line| clip(line, chars)).collect()
}

/// The first `chars` characters, with a sign that there were more.
pub fn clip(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(chars.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        let of = |numbers: [u64; 5]| numbers.map(count);
        assert_eq!(of([0, 999, 1_000, 83_886_080, 1_234_567]), ["0", "999", "1,000", "83,886,080", "1,234,567"]);
        assert_eq!((plural(1, "node"), plural(2_000, "node")), ("1 node".into(), "2,000 nodes".into()));
    }

    #[test]
    fn sizes_have_two_digits_at_least_and_never_a_thousand() {
        let shown = [0, 999, 1_000, 38_400, 221_000, 999_499, 999_600, 1_550_000, 9_960_000, 4_300_000_000].map(bytes);
        let expected = ["0 B", "999 B", "1.0 kB", "38 kB", "221 kB", "999 kB", "1.0 MB", "1.6 MB", "10 MB", "4.3 GB"]
            .map(str::to_owned);
        assert_eq!(shown, expected);
    }

    #[test]
    fn times_read_as_clocks() {
        assert_eq!([0, 7_900, 754_000, 3_723_000].map(clock), ["0:00", "0:07", "12:34", "1:02:03"].map(str::to_owned));
        assert_eq!([850, 28_410, 754_000].map(duration), ["850 ms", "28.4 s", "12:34"].map(str::to_owned));
    }

    #[test]
    fn dates_have_no_seconds() {
        assert_eq!(date(951_868_799), "2000-02-29 23:59 UTC");
    }

    #[test]
    fn guesses_are_no_finer_than_they_are() {
        let shown = [4_000, 36_000, 94_000, 130_000, 5_399_000, 5_400_000, 7_900_000].map(guess);
        assert_eq!(
            shown,
            ["under 10 s", "40 s", "90 s", "2 min", "90 min", "1 h 30 min", "2 h 10 min"].map(str::to_owned)
        );
    }

    #[test]
    fn the_papers_inflation_is_reproduced() {
        assert_eq!(inflation(142_500_000, 83_922_261), "1.698x");
        assert_eq!(inflation(5, 0), "-");
    }

    #[test]
    fn what_strangers_write_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\r\nc\td"), "a\\u{1b}[2Jb\\r\nc    d");
        assert_eq!(as_text(b"hello\n"), Some("hello\n"));
        assert_eq!((as_text(b"\x1b[31m"), as_text(b"\xff"), as_text(b"")), (None, None, None));
    }

    #[test]
    fn tails_are_short() {
        assert_eq!(tail("1\n2\n\n333333\n", 2, 4), ["2", "333…"]);
    }
}
