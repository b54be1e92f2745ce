//! The asker's side: one blob over one stream into the store.

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use manyhands_proto::BlobRef;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::pace::Pace;
use super::{FetchError, Request, Status, TransferLimits, blocking};
use crate::chunk::{Chunk, WIRE_BYTES_MAX};
use crate::shape;
use crate::store::{Batch, ChunkStore, Download, Owner, SAVE_CHUNKS, StoreError};
use crate::walk::Expected;

/// Largest blob whose chunks a request's u32 can count, rounded down to a power of two: 8.8 TB.
pub(super) const SKIPPABLE_BYTES_MAX: u64 = 1 << 43;

/// Most chunks that come while a batch is being saved: 2 MB, and as many are on their way to the disk. More than one step, so that a
/// line that is faster than the disk's syncs has fewer of them; bounded, because a node fetches several blobs at a time.
pub(super) const PENDING_CHUNKS_MAX: usize = 4 * SAVE_CHUNKS;

/// What a fetch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fetched {
    /// Chunks that were here before.
    pub resumed_chunks: u64,
    /// Chunks that came.
    pub received_chunks: u64,
    /// Bytes read from the stream, framing included.
    pub received_bytes: u64,
}

/// Fetches `blob` over `stream`, which must be new, and has `owner` hold it. It is on disk when this returns. A blob
/// that is here already is not asked for.
///
/// What came is saved in steps of [`SAVE_CHUNKS`], or larger ones where the disk is slower than the line, while the next chunks come.
/// Dropping the future keeps what was saved, and what is being saved at the moment.
///
/// # Errors
/// [`FetchError`]; [`FetchError::blame`] says whose fault it is. Chunks verified before it are saved, and the space
/// for the rest stays reserved until the blob is fetched, discarded or its owner released.
pub async fn fetch<S>(
    mut stream: S,
    store: &ChunkStore,
    owner: &Owner,
    blob: BlobRef,
    limits: &TransferLimits,
) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (size_bytes, max_bytes) = (blob.size_bytes, limits.blob_bytes_max.min(SKIPPABLE_BYTES_MAX));
    if size_bytes > max_bytes {
        return Err(FetchError::TooLarge { size_bytes, max_bytes });
    }
    let Some(mut download) = begin(store, owner, blob).await? else { return Ok(Fetched::default()) };
    let resumed_chunks = download.saved_chunks();
    // Never more than a u32: the size is bounded by SKIPPABLE_BYTES_MAX.
    let skip_chunks = u32::try_from(download.saved_chunks()).unwrap_or(u32::MAX);
    ask(&mut stream, &Request::plain(blob, skip_chunks), limits, || cut_short(&download)).await?;

    let mut pace = Pace::start(limits, shape::stored_bytes(blob.size_bytes));
    let mut saver = Saver::default();
    let received = receive(&mut stream, &mut download, &mut pace, &mut saver).await;
    saver.wait().await?;
    blocking_save(download.take_batch()).await?;
    received?;
    // The blob is here. That the goodbye does not arrive changes nothing.
    let _ = timeout(limits.request_timeout, stream.close()).await;
    let received_chunks = download.saved_chunks() - resumed_chunks;
    Ok(Fetched { resumed_chunks, received_chunks, received_bytes: pace.total_bytes() })
}

pub(super) async fn begin(store: &ChunkStore, owner: &Owner, blob: BlobRef) -> Result<Option<Download>, StoreError> {
    let (store, owner) = (store.clone(), owner.clone());
    blocking(move || store.begin_download(&owner, blob)).await
}

pub(super) async fn blocking_save(batch: Batch) -> Result<(), StoreError> {
    blocking(move || batch.save()).await
}

/// Saves one batch at a time on a thread of its own, while the next one comes.
#[derive(Default)]
pub(super) struct Saver(Option<JoinHandle<Result<(), StoreError>>>);

impl Saver {
    pub(super) fn is_idle(&self) -> bool {
        self.0.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Done when the batch is on disk.
    pub(super) async fn wait(&mut self) -> Result<(), StoreError> {
        match self.0.take() {
            Some(saving) => saving.await.unwrap_or(Err(StoreError::Interrupted)),
            None => Ok(()),
        }
    }

    /// Begins with a batch, after the one before.
    pub(super) async fn save(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.wait().await?;
        self.0 = Some(tokio::task::spawn_blocking(move || batch.save()));
        Ok(())
    }
}

/// Sends the request and waits for leave to read chunks.
pub(super) async fn ask<S>(
    stream: &mut S,
    request: &Request,
    limits: &TransferLimits,
    cut_short: impl FnOnce() -> FetchError,
) -> Result<(), FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request.encode();
    let send = async {
        stream.write_all(&request).await?;
        stream.flush().await
    };
    let waited = limits.request_timeout;
    timeout(waited, send).await.map_err(|_| FetchError::Silent { waited })?.map_err(FetchError::Io)?;

    let (mut byte, waited) = ([0], limits.answer_timeout);
    let read = timeout(waited, stream.read(&mut byte)).await.map_err(|_| FetchError::Silent { waited })?;
    if read.map_err(FetchError::Io)? == 0 {
        return Err(cut_short());
    }
    let [byte] = byte;
    match Status::decode(byte).map_err(FetchError::Answer)? {
        Status::Ok => Ok(()),
        status => Err(FetchError::Refused { status }),
    }
}

/// Reads chunks until the blob is complete or something is wrong, and hands them over to be saved. As long as the disk keeps up, in
/// steps of [`SAVE_CHUNKS`]; otherwise in larger ones, which cost it less.
async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    download: &mut Download,
    pace: &mut Pace,
    saver: &mut Saver,
) -> Result<(), FetchError> {
    while let Some(expected) = download.expected() {
        receive_chunk(stream, download, pace, expected).await?;
        let pending_chunks = download.pending_chunks();
        if pending_chunks >= PENDING_CHUNKS_MAX || pending_chunks >= SAVE_CHUNKS && saver.is_idle() {
            let since = Instant::now();
            saver.save(download.take_batch()).await?;
            pace.forgive(since);
        }
    }
    Ok(())
}

async fn receive_chunk<S: AsyncRead + Unpin>(
    stream: &mut S,
    download: &mut Download,
    pace: &mut Pace,
    expected: Expected,
) -> Result<(), FetchError> {
    let number = download.saved_chunks() + download.pending_chunks() as u64;
    let mut buffer = [0; WIRE_BYTES_MAX];
    let wire = buffer.get_mut(..expected.wire_bytes()).unwrap_or_default();
    if !receive_wire(stream, pace, number, wire).await? {
        return Err(cut_short(download));
    }
    let chunk =
        Chunk::verify(expected.reference, wire).map_err(|source| FetchError::Chunk { chunk: number, source })?;
    download.accept(chunk).map_err(|source| FetchError::Shape { chunk: number, source })
}

/// Reads the chunk of that number, whose length is that of `wire`; false if the stream ends before it does.
pub(super) async fn receive_wire<S: AsyncRead + Unpin>(
    stream: &mut S,
    pace: &mut Pace,
    chunk: u64,
    wire: &mut [u8],
) -> Result<bool, FetchError> {
    let mut prefix = [0; 2];
    if !pace.fill(stream, &mut prefix).await? {
        return Ok(false);
    }
    let (got_bytes, due_bytes) = (usize::from(u16::from_le_bytes(prefix)), wire.len());
    if got_bytes != due_bytes {
        return Err(FetchError::Length { chunk, got_bytes, due_bytes });
    }
    pace.fill(stream, wire).await
}

fn cut_short(download: &Download) -> FetchError {
    let chunks = download.saved_chunks() + download.pending_chunks() as u64;
    FetchError::CutShort { chunks, chunk_count: shape::chunk_count(download.blob().size_bytes) }
}
