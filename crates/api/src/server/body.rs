//! Request bodies, read piece by piece up to a bound: nothing beyond it is kept.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use futures::StreamExt;

use super::limits::{SILENCE_TIME, UPLOAD_TIME};
use crate::types::{Problem, ProblemKind};

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
