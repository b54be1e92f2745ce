//! Request bodies, read piece by piece up to a bound: nothing beyond it is kept.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::limits::{SILENCE_TIME, UPLOAD_TIME};
use crate::types::{Problem, ProblemKind};

/// One past the largest `u64`.
const U64_END: f64 = 18_446_744_073_709_551_616.0;

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

type Pieces = axum::body::BodyDataStream;

async fn next_in(
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

/// What a body says as JSON. Whole numbers may have a fraction of nothing, as some languages write them (`1.0`) and JSON Schema has it.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes).or_else(|error| {
        // Of the two errors the first tells the place.
        let value: Value = serde_json::from_slice(bytes).map_err(|_| error)?;
        T::deserialize(without_empty_fractions(value))
    })
}

fn without_empty_fractions(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) if float.fract() == 0.0 && (0.0..U64_END).contains(&float) => (float as u64).into(),
            Some(_) | None => number,
        }),
        Value::Array(values) => values.into_iter().map(without_empty_fractions).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, without_empty_fractions(value))).collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

fn too_large(what: &str, limit_bytes: u64) -> Problem {
    let limit = if limit_bytes >= 1 << 20 {
        format!("{} MiB", limit_bytes >> 20)
    } else {
        format!("{} KiB", limit_bytes >> 10)
    };
    Problem::new(ProblemKind::TooLarge, format!("{what} is larger than {limit}, the most that a gateway takes"))
}

pub(crate) fn too_slow(what: &str) -> Problem {
    Problem::new(ProblemKind::TooSlow, format!("{what} came too slowly, and the gateway stopped waiting for it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_be_written_with_a_fraction_and_others_are_not_rounded() {
        assert_eq!(json::<Vec<u64>>(b"[1, 2.0, 3e2, 1e19, 0.0]").unwrap(), [1, 2, 300, 10_000_000_000_000_000_000, 0]);
        assert_eq!(json::<[Option<u8>; 2]>(br#"[null, 16.0]"#).unwrap(), [None, Some(16)]);
        for wrong in ["[1.5]", "[-1.0]", "[18446744073709551616.0]", "[1e300]", "[\"1.0\"]"] {
            assert!(json::<Vec<u64>>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_besides_is_said() {
        assert!(json::<u64>(b"{ooo}").unwrap_err().to_string().contains("line 1"));
        assert!(json::<Vec<u8>>(b"[1.0, 300]").unwrap_err().to_string().contains("300"));
    }
}
