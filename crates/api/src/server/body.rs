//! Request bodies, read piece by piece up to a bound: nothing beyond it is kept.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use futures::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::limits::{SILENCE_TIME, UPLOAD_TIME};
use crate::types::{Problem, ProblemKind};

/// From here on (2^53) floating-point numbers, which is what most languages read and write, leave whole numbers out.
const WHOLE_END: u64 = 1 << 53;

/// Reads a body of at most `limit_bytes`. `what` names it in refusals, as in "the program".
///
/// # Errors
/// [`ProblemKind::TooLarge`], [`ProblemKind::TooSlow`], or [`ProblemKind::Invalid`] if the connection broke.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit_bytes: u64, what: &str) -> Result<Vec<u8>, Problem> {
    let stated = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    let reading = async {
        if stated.is_some_and(|stated| stated > limit_bytes) {
            return Err(too_large(what, limit_bytes));
        }
        while let Some(piece) = next_in(SILENCE_TIME, &mut pieces, what).await? {
            if bytes.len() as u64 + piece.len() as u64 > limit_bytes {
                bytes = Vec::new();
                return Err(too_large(what, limit_bytes));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(())
    };
    let result = tokio::time::timeout(UPLOAD_TIME, reading).await.unwrap_or_else(|_| Err(too_slow(what)));
    result.map(|()| bytes)
}

pub(super) type Pieces = axum::body::BodyDataStream;

/// The next piece of a body, or nothing at its end.
///
/// # Errors
/// [`ProblemKind::TooSlow`] if it does not come in `time`, [`ProblemKind::Invalid`] if the connection broke.
pub(super) async fn next_in(
    time: Duration,
    pieces: &mut Pieces,
    what: &str,
) -> Result<Option<impl std::ops::Deref<Target = [u8]>>, Problem> {
    match tokio::time::timeout(time, pieces.next()).await {
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(_))) => Err(Problem::invalid(format!("the connection broke in the middle of {what}"))),
        Ok(None) => Ok(None),
        Err(_) => Err(too_slow(what)),
    }
}

/// What a body says as JSON. Whole numbers below 2^53 may have a fraction of nothing, as some languages write them (`1.0`) and JSON Schema
/// has it. An error is that of the body as it came unless such numbers were all that was wrong so far.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes).or_else(|error| match without_empty_fractions(bytes) {
        // The same strict reading, so that nothing else passes that was refused.
        Some(rewritten) => serde_json::from_slice(&rewritten),
        None => Err(error),
    })
}

/// The same JSON with whole numbers that were written as fractions written as whole, and the rest of it where it was; nothing if there are none.
fn without_empty_fractions(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut rewritten, mut rest, mut is_changed) = (Vec::with_capacity(bytes.len()), bytes, false);
    while let Some(first) = rest.first() {
        let count = match first {
            b'"' => string_bytes(rest),
            b'-' | b'0'..=b'9' => rest.iter().take_while(|byte| is_of_number(**byte)).count(),
            _ => 1,
        };
        let (token, after) = rest.split_at_checked(count)?;
        rest = after;
        match whole(token) {
            Some(number) => {
                is_changed = true;
                let width = token.len();
                rewritten.extend_from_slice(format!("{number:<width$}").as_bytes());
            }
            None => rewritten.extend_from_slice(token),
        }
    }
    is_changed.then_some(rewritten)
}

/// How long the string is with which `bytes` begin, in its quotation marks.
fn string_bytes(bytes: &[u8]) -> usize {
    let (mut is_escaped, mut count) = (false, 1);
    for byte in bytes.iter().skip(1) {
        count += 1;
        match byte {
            b'"' if !is_escaped => break,
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    count
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')
}

/// The whole number that a JSON number with a fraction or an exponent is, if it is one. Nothing is rounded; from [`WHOLE_END`] on whoever
/// wrote it so may have rounded it already.
fn whole(token: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(token).ok()?;
    if !text.contains(['.', 'e', 'E']) || serde_json::from_slice::<IgnoredAny>(token).is_err() {
        return None;
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (before, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{before}{fraction}");
    let digits = all.trim_end_matches('0');
    if digits.trim_start_matches(['-', '0']).is_empty() {
        return Some(0);
    }
    let zeros = exponent.parse::<i64>().ok()?.checked_sub_unsigned(fraction.len() as u64)?;
    let zeros = zeros.checked_add_unsigned((all.len() - digits.len()) as u64)?;
    let scale = 10_u64.checked_pow(u32::try_from(zeros).ok()?)?;
    // A sign is no part of a u64.
    digits.parse::<u64>().ok()?.checked_mul(scale).filter(|number| *number < WHOLE_END)
}

fn too_large(what: &str, limit_bytes: u64) -> Problem {
    let limit = if limit_bytes >= 1 << 20 {
        format!("{} MiB", limit_bytes >> 20)
    } else {
        format!("{} KiB", limit_bytes >> 10)
    };
    Problem::new(ProblemKind::TooLarge, format!("{what} is larger than {limit}, the most that a gateway takes"))
}

fn too_slow(what: &str) -> Problem {
    Problem::new(ProblemKind::TooSlow, format!("{what} came too slowly, and the gateway stopped waiting for it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_be_written_with_a_fraction_and_others_are_not_rounded() {
        assert_eq!(json::<Vec<u64>>(b"[1, 2.0, 3e2, 8539.0, 0.0]").unwrap(), [1, 2, 300, 8539, 0]);
        let last = (1 << 53) - 1;
        assert_eq!(
            json::<Vec<u64>>(b"[120.0e-1, 1.5e1,1e15, 9007199254740991.0]").unwrap(),
            [12, 15, 1_000_000_000_000_000, last]
        );
        assert_eq!(json::<u64>(b"18446744073709551615").unwrap(), u64::MAX, "as it is written");
        assert_eq!(json::<[Option<u8>; 2]>(br#"[null, 16.0]"#).unwrap(), [None, Some(16)]);
        let rounded = ["[9007199254740993.0]", "[9007199254740992.0]", "[18446744073709551616.0]", "[1e300]", "[1e19]"];
        let others =
            ["[1.5]", "[-1.0]", "[\"1.0\"]", "[1.]", "[01.0]", "[1.0.0]", "[1.00000000000000000001]", "[1e-400]"];
        for wrong in rounded.into_iter().chain(others) {
            assert!(json::<Vec<u64>>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_besides_is_said() {
        assert!(json::<u64>(b"{ooo}").unwrap_err().to_string().contains("line 1"));
        assert!(json::<Vec<u8>>(b"[1.0, 300]").unwrap_err().to_string().contains("300"));
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Asked {
        name: String,
        count: u64,
    }

    #[test]
    fn fields_that_come_twice_are_refused_however_numbers_are_written() {
        for body in [r#"{"name": "", "count": 1, "count": 2}"#, r#"{"name": "", "count": 1.0, "count": 2.0}"#] {
            let error = json::<Asked>(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("duplicate field `count`"), "{error}");
        }
        let name = r#"a "1.0" \"#;
        let body = serde_json::json!({ "name": name, "count": 7.0 }).to_string();
        assert_eq!(json::<Asked>(body.as_bytes()).unwrap(), Asked { name: name.to_owned(), count: 7 });
    }

    #[test]
    fn what_is_missing_is_told_with_its_place() {
        for body in ["{\n\"count\": 1}", "{\n\"count\": 1.0}"] {
            let error = json::<Asked>(body.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("missing field `name`"), "{error}");
            assert_eq!((error.line(), error.column()), (2, body.len() - 2), "{error}");
        }
    }
}
