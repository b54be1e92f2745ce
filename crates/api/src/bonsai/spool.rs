//! Uploads, streamed to a file: memory is a few pieces of the network's, whatever the size.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use futures::StreamExt as _;
use manyhands_proto::limits::INPUT_BYTES_MAX;
use tempfile::NamedTempFile;

use crate::server::body::too_slow;
use crate::server::limits::UPLOAD_TIME;
use crate::types::{Problem, ProblemKind};

/// Longest silence in the middle of an upload.
const SILENCE_TIME: Duration = Duration::from_secs(60);
/// Bytes gathered before they are written.
const PIECE_BYTES: usize = 1 << 20;

/// How large an upload may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// By what it is, in bytes.
    pub(super) bytes_max: u64,
    /// By what its sender may still upload, in bytes.
    pub(super) room_bytes: u64,
}

impl Bound {
    fn check(self, size_bytes: u64, what: &str) -> Result<(), Problem> {
        let mega = |bytes: u64| bytes / 1_000_000;
        let (kind, message) = if size_bytes > self.bytes_max {
            let most = mega(self.bytes_max);
            (ProblemKind::TooLarge, format!("{what} is larger than {most} MB, the most that this gateway takes"))
        } else if size_bytes > self.room_bytes {
            let message = format!(
                "your key may have {} MB more of uploads here, and {what} takes more: delete some, or wait a day for those that are not used",
                mega(self.room_bytes)
            );
            (ProblemKind::NoSpace, message)
        } else {
            return Ok(());
        };
        Err(Problem::new(kind, message))
    }
}

/// Takes a body within its bound into a new file in `folder`, on disk when this returns.
pub(super) async fn spool(
    headers: &HeaderMap,
    body: Body,
    folder: &Path,
    bound: Bound,
    what: &str,
) -> Result<(NamedTempFile, u64), Problem> {
    let stated = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    bound.check(stated.unwrap_or_default(), what)?;
    let time = time_for(stated.unwrap_or(bound.bytes_max));
    let taken = tokio::time::timeout(time, take(body, folder, bound, what)).await;
    let (file, size_bytes) = taken.map_err(|_| too_slow(what))??;
    let synced = tokio::task::spawn_blocking(move || file.as_file().sync_all().map(|()| file)).await;
    let file = synced.map_err(|_| Problem::stopping())?.map_err(|error| failed(&error))?;
    Ok((file, size_bytes))
}

/// How long an upload of so many bytes may take: as fast as the largest in memory has to be.
fn time_for(bytes: u64) -> Duration {
    UPLOAD_TIME.max(Duration::from_secs(UPLOAD_TIME.as_secs().saturating_mul(bytes) / INPUT_BYTES_MAX))
}

async fn take(body: Body, folder: &Path, bound: Bound, what: &str) -> Result<(NamedTempFile, u64), Problem> {
    let mut file = NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    let mut pieces = body.into_data_stream();
    let (mut buffer, mut size_bytes) = (Vec::with_capacity(PIECE_BYTES), 0_u64);
    loop {
        let piece = match tokio::time::timeout(SILENCE_TIME, pieces.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Problem::invalid(format!("the connection broke in the middle of {what}"))),
            Err(_) => return Err(too_slow(what)),
        };
        size_bytes += piece.len() as u64;
        bound.check(size_bytes, what)?;
        buffer.extend_from_slice(&piece);
        if buffer.len() >= PIECE_BYTES {
            (file, buffer) = write(file, buffer).await?;
        }
    }
    (file, _) = write(file, buffer).await?;
    Ok((file, size_bytes))
}

async fn write(mut file: NamedTempFile, mut buffer: Vec<u8>) -> Result<(NamedTempFile, Vec<u8>), Problem> {
    let written = tokio::task::spawn_blocking(move || {
        file.write_all(&buffer)?;
        buffer.clear();
        Ok((file, buffer))
    });
    written.await.map_err(|_| Problem::stopping())?.map_err(|error| failed(&error))
}

fn failed(error: &std::io::Error) -> Problem {
    Problem::of_disk("the upload could not be kept", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_uploads_have_as_much_time_for_each_byte() {
        assert_eq!([0, 1, INPUT_BYTES_MAX].map(time_for), [UPLOAD_TIME; 3]);
        assert_eq!(time_for(4 * INPUT_BYTES_MAX), 4 * UPLOAD_TIME);
        assert!(time_for(u64::MAX) > UPLOAD_TIME, "whatever is stated");
    }
}
