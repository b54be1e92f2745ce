//! Bodies on their way to the store: kept in memory while they are small, then in a file without a name, which is gone
//! with the process. So a slow client holds nothing that others need.

use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use futures::StreamExt as _;
use manyhands_blob::ChunkStore;
use manyhands_blob::store::Admission;
use tempfile::SpooledTempFile;

use crate::hive::aside;
use crate::refusal::Refusal;

/// Bytes of a body that stay in memory.
const MEMORY_BYTES: usize = 256 << 10;
/// Longest silence in the middle of a body.
const SILENCE_TIME: Duration = Duration::from_secs(60);

/// Bytes between two looks at the room that is left, of a body whose length is not known beforehand.
const LOOK_BYTES: u64 = 64 << 20;

/// A body that has come as a whole.
#[derive(Debug)]
pub(crate) struct Spooled {
    file: SpooledTempFile,
    pub(crate) size_bytes: u64,
}

impl Spooled {
    /// The bytes from the start.
    pub(crate) fn into_reader(mut self) -> io::Result<SpooledTempFile> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(self.file)
    }
}

/// Takes a body of at most `bytes_max` that `store` has room for.
pub(crate) async fn spool(
    headers: &HeaderMap,
    body: Body,
    bytes_max: u64,
    folder: &Path,
    store: &ChunkStore,
) -> Result<Spooled, Refusal> {
    let stated = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(stated) = stated {
        check_size(stated, bytes_max)?;
        require_room(store, stated).await?;
    }
    let mut pieces = body.into_data_stream();
    let mut file = tempfile::spooled_tempfile_in(MEMORY_BYTES, folder);
    let mut size_bytes = 0_u64;
    let mut next_look_bytes = LOOK_BYTES;
    while let Some(piece) = next(&mut pieces).await? {
        size_bytes += piece.len() as u64;
        check_size(size_bytes, bytes_max)?;
        // The file lies on the store's disk: without this it could eat what the store is to leave alone.
        if size_bytes >= next_look_bytes {
            require_room(store, size_bytes).await?;
            next_look_bytes += LOOK_BYTES;
        }
        file = write(file, piece, size_bytes).await?;
    }
    require_room(store, size_bytes).await?;
    Ok(Spooled { file, size_bytes })
}

/// Takes a body of at most `bytes_max` into memory.
pub(crate) async fn small(body: Body, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut pieces).await? {
        check_size((bytes.len() + piece.len()) as u64, bytes_max as u64)?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn next(
    pieces: &mut BodyDataStream,
) -> Result<Option<impl std::ops::Deref<Target = [u8]> + Send + 'static>, Refusal> {
    match tokio::time::timeout(SILENCE_TIME, pieces.next()).await {
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(_))) => Err(Refusal::bad("the connection broke in the middle of the upload")),
        Ok(None) => Ok(None),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the upload came too slowly")),
    }
}

/// Small pieces stay in memory; beyond that the disk may take its time.
async fn write(
    mut file: SpooledTempFile,
    piece: impl std::ops::Deref<Target = [u8]> + Send + 'static,
    size_bytes: u64,
) -> Result<SpooledTempFile, Refusal> {
    let failed = |error: &io::Error| {
        let status = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal::new(status, format!("the upload could not be kept on its way to the store: {error}"))
    };
    if size_bytes <= MEMORY_BYTES as u64 {
        return file.write_all(&piece).map(|()| file).map_err(|error| failed(&error));
    }
    aside(move || file.write_all(&piece).map(|()| file)).await?.map_err(|error| failed(&error))
}

fn check_size(size_bytes: u64, bytes_max: u64) -> Result<(), Refusal> {
    if size_bytes > bytes_max {
        let message = format!("the upload is larger than {bytes_max} bytes, the most that this store takes");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(())
}

async fn require_room(store: &ChunkStore, size_bytes: u64) -> Result<(), Refusal> {
    let store = store.clone();
    let admission = aside(move || store.admits(size_bytes)).await?;
    let message = match admission.map_err(|error| Refusal::of_put(&error, "the chunk store's room cannot be told"))? {
        Admission::Yes => return Ok(()),
        Admission::OverLimit { short_bytes } => {
            format!(
                "the chunk store is full: {short_bytes} bytes are too few; unpin what is not needed, or raise its limit"
            )
        }
        Admission::LowSpace { free_bytes, floor_bytes } => format!(
            "the disk below the chunk store has {free_bytes} bytes free, and the store leaves {floor_bytes} alone; free some space"
        ),
    };
    Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, message))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_body_of_unknown_length_ends_where_the_room_does() {
        const PIECE_BYTES: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&folder.path().join("chunks.redb"), 1 << 20).unwrap();
        let given = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&given);
        let pieces = futures::stream::repeat_with(move || {
            counter.fetch_add(PIECE_BYTES, Ordering::Relaxed);
            Ok::<_, io::Error>(vec![7; PIECE_BYTES as usize])
        });
        let body = Body::from_stream(pieces);
        let refusal = spool(&HeaderMap::new(), body, 1 << 40, folder.path(), &store).await.unwrap_err();
        assert_eq!(refusal.status(), StatusCode::INSUFFICIENT_STORAGE);
        assert!(given.load(Ordering::Relaxed) <= LOOK_BYTES + PIECE_BYTES);
    }
}
