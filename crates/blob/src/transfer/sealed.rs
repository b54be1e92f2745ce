//! Encrypted trees over a stream: who serves them needs no key, who fetches them has it.
//!
//! The holder sends the tree's chunks backwards: the root, then the children of each, the last one first. Whoever has the
//! root's key opens each interior chunk as it comes, so that it knows the address of every next one, and the first wrong
//! byte ends the stream as for a plain blob. Chunks are all of one length, and their number follows from the size.

use std::sync::Arc;

use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use manyhands_proto::limits::SEGMENT_BYTES_MAX;
use manyhands_proto::{BlobRef, Reference};
use tokio::time::timeout;

use super::fetch::{ask, receive_wire};
use super::pace::Pace;
use super::{FetchError, Request, TransferLimits, blocking};
use crate::chunk::{Chunk, WIRE_BYTES_MAX};
use crate::encryption::EncryptedReference;
use crate::read::{ReadError, Target, links, open};
use crate::redundancy::{Level, Span};
use crate::shape::{self, Scheme};
use crate::store::{ChunkStore, Owner};

/// Largest blob that is fetched encrypted, in bytes: a segment, the largest of what a private job's prover is given. Its tree is held in memory
/// until it is whole, with spans and links 34 MB at most, so that nothing is stored of half a tree.
pub const SEALED_BYTES_MAX: u64 = SEGMENT_BYTES_MAX;

/// An encrypted tree on its way in. What came over one stream is kept for the next, in memory; see [`SEALED_BYTES_MAX`].
#[derive(Debug)]
pub struct SealedDownload {
    root: EncryptedReference,
    size_bytes: u64,
    /// What is still to come, the next one last, each with the bytes of the blob below it.
    due: Vec<(Target, u64)>,
    /// Shared with the thread that stores them, so that they are in memory once.
    chunks: Arc<Vec<Chunk>>,
}

impl SealedDownload {
    /// Begins with nothing. The blob is said to have `size_bytes`, not counting the padding.
    pub fn new(root: EncryptedReference, size_bytes: u64) -> Self {
        let target = Target { address: root.address, key: Some(root.key) };
        Self { root, size_bytes, due: vec![(target, size_bytes)], chunks: Arc::default() }
    }

    /// The address of the chunk that must come next; none once all have come.
    pub fn expected(&self) -> Option<Reference> {
        self.due.last().map(|(target, _)| target.address)
    }

    /// Chunks that have come.
    pub fn received_chunks(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`ReadError`] if it is not part of an encrypted tree of that size: the fault of who made the tree, not of who
    /// sent the chunk.
    pub fn accept(&mut self, chunk: Chunk) -> Result<(), ReadError> {
        let Some((target, due_bytes)) = self.due.last().copied().filter(|(next, _)| next.address == chunk.reference())
        else {
            return Err(ReadError::Lost { reference: chunk.reference(), group_chunks: 1 });
        };
        let root = Span { level: Level::None, bytes: self.size_bytes };
        let (span, payload) = open(target, Some(root), due_bytes, self.size_bytes, &chunk)?;
        self.due.pop();
        if !shape::is_leaf(span.bytes) {
            let scheme = Scheme { level: Level::None, encrypted: true };
            let (capacity_bytes, mut rest_bytes) = (scheme.child_capacity_bytes(span.bytes), span.bytes);
            for child in links(scheme, span.bytes, &payload).0 {
                let below_bytes = capacity_bytes.min(rest_bytes);
                rest_bytes -= below_bytes;
                self.due.push((child, below_bytes));
            }
        }
        Arc::make_mut(&mut self.chunks).push(chunk);
        Ok(())
    }
}

/// Fetches what is still to come of `download` over `stream`, which must be new. When this returns, all of it is on disk,
/// held by `owner`, still encrypted.
///
/// # Errors
/// [`FetchError`]; the chunks that came before it stay in `download`. [`FetchError::TooLarge`], or [`FetchError::Store`] if there is no room
/// for all of it, before anybody is asked.
pub async fn fetch_sealed<S>(
    mut stream: S,
    store: &ChunkStore,
    owner: &Owner,
    download: &mut SealedDownload,
    limits: &TransferLimits,
) -> Result<(), FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (size_bytes, max_bytes) = (download.size_bytes, limits.blob_bytes_max.min(SEALED_BYTES_MAX));
    if size_bytes > max_bytes {
        return Err(FetchError::TooLarge { size_bytes, max_bytes });
    }
    if download.expected().is_some() {
        let room = store.clone();
        blocking(move || room.require_sealed_room(size_bytes)).await?;
        // Never more than a u32: no size that the limits allow has so many chunks.
        let skip_chunks = u32::try_from(download.received_chunks()).unwrap_or(u32::MAX);
        let blob = BlobRef { reference: download.root.address, size_bytes };
        let request = Request::sealed(blob, skip_chunks);
        let count = download.received_chunks();
        ask(&mut stream, &request, limits, || cut_short(count, size_bytes)).await?;
        let mut pace = Pace::start(limits, shape::sealed_bytes(size_bytes));
        while let Some(expected) = download.expected() {
            receive(&mut stream, download, expected, &mut pace).await?;
        }
        // All is here. That the goodbye does not arrive changes nothing.
        let _ = timeout(limits.request_timeout, stream.close()).await;
    }
    let (store, owner, address) = (store.clone(), owner.clone(), download.root.address);
    let chunks = Arc::clone(&download.chunks);
    Ok(blocking(move || store.put_sealed(&owner, &address, &chunks)).await?)
}

async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    download: &mut SealedDownload,
    expected: Reference,
    pace: &mut Pace,
) -> Result<(), FetchError> {
    let number = download.received_chunks();
    let cut = || cut_short(number, download.size_bytes);
    let mut wire = [0; WIRE_BYTES_MAX];
    if !receive_wire(stream, pace, number, &mut wire).await? {
        return Err(cut());
    }
    let chunk = Chunk::verify(expected, &wire).map_err(|source| FetchError::Chunk { chunk: number, source })?;
    download.accept(chunk).map_err(|source| FetchError::Malformed { chunk: number, source })
}

fn cut_short(chunks: u64, size_bytes: u64) -> FetchError {
    FetchError::CutShort { chunks, chunk_count: shape::sealed_chunk_count(size_bytes) }
}
