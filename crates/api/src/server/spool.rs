//! Uploads, streamed to a file: memory is a few pieces of the network's, whatever the size.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use manyhands_proto::limits::INPUT_BYTES_MAX;
use tempfile::NamedTempFile;
use tokio::time::Instant;

use super::body::next_in;
use super::limits::UPLOAD_TIME;
use crate::types::{Problem, ProblemKind};

/// Longest silence in the middle of an upload.
const SILENCE_TIME: Duration = Duration::from_secs(60);
/// Bytes gathered before they are written.
const PIECE_BYTES: usize = 1 << 20;

/// New bytes of an upload between two looks at the disk's room.
const LOOK_BYTES: u64 = 64 << 20;

/// How large an upload may be.
#[derive(Debug, Clone, Copy)]
struct Bound {
    /// By what it is, in bytes.
    bytes_max: u64,
    /// By what its sender may still upload, in bytes.
    room_bytes: u64,
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

/// As [`receive`], with the file on disk when this returns.
pub(crate) async fn spool<Asked: Future<Output = Result<u64, Problem>>>(
    headers: &HeaderMap,
    body: Body,
    folder: &Path,
    bytes_max: u64,
    room: impl Fn(u64, u64) -> Asked,
    what: &str,
) -> Result<(NamedTempFile, u64), Problem> {
    let (file, size_bytes) = receive(headers, body, folder, bytes_max, room, what).await?;
    let synced = tokio::task::spawn_blocking(move || file.as_file().sync_all().map(|()| file)).await;
    let file = synced.map_err(|_| Problem::stopping())?.map_err(|error| failed(&error))?;
    Ok((file, size_bytes))
}

/// Takes a body of at most `bytes_max` into a new file in `folder`, which is gone with its handle. `room` says how much its sender may still
/// upload, and fails if there is no room when so many bytes have come and so many come next; it is asked first and again and again.
pub(crate) async fn receive<Asked: Future<Output = Result<u64, Problem>>>(
    headers: &HeaderMap,
    body: Body,
    folder: &Path,
    bytes_max: u64,
    room: impl Fn(u64, u64) -> Asked,
    what: &str,
) -> Result<(NamedTempFile, u64), Problem> {
    let stated =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).unwrap_or_default();
    let bound = Bound { bytes_max, room_bytes: u64::MAX };
    bound.check(stated, what)?;
    let bound = Bound { room_bytes: room(0, stated).await?, ..bound };
    bound.check(stated, what)?;
    take(body, folder, bound, room, what).await
}

async fn take<Asked: Future<Output = Result<u64, Problem>>>(
    body: Body,
    folder: &Path,
    bound: Bound,
    room: impl Fn(u64, u64) -> Asked,
    what: &str,
) -> Result<(NamedTempFile, u64), Problem> {
    let mut file = NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    let mut pieces = body.into_data_stream();
    let (mut buffer, mut size_bytes, mut looked_at) = (Vec::with_capacity(PIECE_BYTES), 0_u64, 0_u64);
    let since = Instant::now();
    loop {
        let left = time_for(size_bytes).saturating_sub(since.elapsed());
        let Some(piece) = next_in(SILENCE_TIME.min(left), &mut pieces, what).await? else { break };
        size_bytes += piece.len() as u64;
        bound.check(size_bytes, what)?;
        buffer.extend_from_slice(&piece);
        if buffer.len() >= PIECE_BYTES {
            (file, buffer) = write(file, buffer).await?;
        }
        if size_bytes - looked_at >= LOOK_BYTES {
            looked_at = size_bytes;
            room(size_bytes, LOOK_BYTES).await?;
        }
    }
    (file, _) = write(file, buffer).await?;
    Ok((file, size_bytes))
}

/// How long an upload may take of which so much has come: what comes at the least rate, that of the largest in memory, never ends by it.
fn time_for(come_bytes: u64) -> Duration {
    UPLOAD_TIME + Duration::from_secs(UPLOAD_TIME.as_secs().saturating_mul(come_bytes) / INPUT_BYTES_MAX)
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
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::{StreamExt as _, stream};

    use super::*;

    #[test]
    fn time_is_given_for_what_has_come_and_not_for_what_is_promised() {
        assert_eq!(time_for(0), UPLOAD_TIME);
        assert_eq!(time_for(INPUT_BYTES_MAX), 2 * UPLOAD_TIME);
        assert!(time_for(u64::MAX) > UPLOAD_TIME, "whatever comes");
    }

    fn drip(every: Duration) -> Body {
        Body::from_stream(stream::unfold((), move |()| async move {
            tokio::time::sleep(every).await;
            Some((Ok::<_, std::io::Error>(vec![7_u8]), ()))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn who_states_much_and_drips_is_ended_like_anybody() {
        let dir = tempfile::tempdir().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, (4_u64 << 30).into());
        let began = Instant::now();
        let room = |_, _| std::future::ready(Ok(u64::MAX));
        let dripped = spool(&headers, drip(Duration::from_secs(50)), dir.path(), 8 << 30, room, "the input").await;
        assert_eq!(dripped.unwrap_err().kind, ProblemKind::TooSlow);
        assert!(began.elapsed() < UPLOAD_TIME + SILENCE_TIME, "{:?}", began.elapsed());
    }

    /// Two looks succeed: at the start, and after 64 MiB. Each hears what has come, for the store's copy of it.
    #[tokio::test]
    async fn an_upload_of_unknown_size_ends_when_the_disk_has_no_more_room() {
        let dir = tempfile::tempdir().unwrap();
        let looks = AtomicU64::new(0);
        let room = |come_bytes, coming_bytes| {
            let number = looks.fetch_add(1, Ordering::SeqCst);
            assert_eq!((come_bytes, coming_bytes), (number * LOOK_BYTES, if number == 0 { 0 } else { LOOK_BYTES }));
            let is_full = number == 2;
            std::future::ready(if is_full { Err(Problem::new(ProblemKind::NoSpace, "full")) } else { Ok(u64::MAX) })
        };
        let piece = || Ok::<_, std::io::Error>(vec![0_u8; 1 << 22]);
        let body = Body::from_stream(stream::repeat_with(piece).take(100));
        let spooled = spool(&HeaderMap::new(), body, dir.path(), 1 << 40, room, "the input").await;
        assert_eq!((spooled.unwrap_err().kind, looks.into_inner()), (ProblemKind::NoSpace, 3));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing of it stays");
    }
}
