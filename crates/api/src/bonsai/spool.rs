//! Uploads, streamed to a file: memory is a few pieces of the network's, whatever the size.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use tempfile::NamedTempFile;

use crate::types::{Problem, ProblemKind};

/// Longest silence in the middle of an upload.
const SILENCE_TIME: Duration = Duration::from_secs(60);
/// Bytes gathered before they are written.
const PIECE_BYTES: usize = 1 << 20;

/// Takes a body of at most `bytes_max` into a new file in `folder`, on disk when this returns.
pub(super) async fn spool(
    body: Body,
    folder: &Path,
    bytes_max: u64,
    what: &str,
) -> Result<(NamedTempFile, u64), Problem> {
    let mut file = NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    let mut pieces = body.into_data_stream();
    let (mut buffer, mut size_bytes) = (Vec::with_capacity(PIECE_BYTES), 0_u64);
    loop {
        let piece = match tokio::time::timeout(SILENCE_TIME, pieces.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Problem::invalid(format!("the connection broke in the middle of {what}"))),
            Err(_) => return Err(Problem::new(ProblemKind::TooSlow, format!("{what} came too slowly"))),
        };
        size_bytes += piece.len() as u64;
        if size_bytes > bytes_max {
            let message =
                format!("{what} is larger than {} MB, the most that this gateway takes", bytes_max / 1_000_000);
            return Err(Problem::new(ProblemKind::TooLarge, message));
        }
        buffer.extend_from_slice(&piece);
        if buffer.len() >= PIECE_BYTES {
            (file, buffer) = write(file, buffer).await?;
        }
    }
    (file, _) = write(file, buffer).await?;
    let synced = tokio::task::spawn_blocking(move || file.as_file().sync_all().map(|()| file)).await;
    let file = synced.map_err(|_| Problem::internal("the gateway is stopping"))?.map_err(|error| failed(&error))?;
    Ok((file, size_bytes))
}

async fn write(mut file: NamedTempFile, mut buffer: Vec<u8>) -> Result<(NamedTempFile, Vec<u8>), Problem> {
    let written = tokio::task::spawn_blocking(move || {
        file.write_all(&buffer)?;
        buffer.clear();
        Ok((file, buffer))
    });
    written.await.map_err(|_| Problem::internal("the gateway is stopping"))?.map_err(|error| failed(&error))
}

fn failed(error: &std::io::Error) -> Problem {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ProblemKind::NoSpace,
        _ => ProblemKind::Internal,
    };
    Problem::new(kind, format!("the upload could not be kept: {error}"))
}
