//! The holder's side: complete blobs from the store, to whoever asks.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use manyhands_proto::{BlobRef, NodeId};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::shared::{SHARED_BYTES_MIN, SOURCES_AT_ONCE};
use super::wire::Kind;
use super::{REQUEST_BYTES, Request, ServeError, Status, TransferLimits, blocking};
use crate::chunk::{Chunk, WIRE_BYTES_MAX};
use crate::store::{BlobReader, ChunkStore, SealedReader, StoreError};

/// Chunks read from the store and written to the stream at a time: 131 kB.
pub const SERVE_BATCH_CHUNKS: usize = 32;

/// Bytes of the length in front of each chunk.
const PREFIX_BYTES: usize = 2;

/// Serves a store's blobs. Clones share the bound on simultaneous streams.
#[derive(Debug, Clone)]
pub struct BlobServer {
    store: ChunkStore,
    limits: TransferLimits,
    streams: Arc<Semaphore>,
    /// Streams to each peer that is being served.
    peers: Arc<Mutex<BTreeMap<NodeId, usize>>>,
}

/// One of a peer's streams; it ends when this is dropped.
#[derive(Debug)]
struct Share {
    peers: Arc<Mutex<BTreeMap<NodeId, usize>>>,
    peer: NodeId,
}

/// What was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The blob asked for.
    pub blob: BlobRef,
    /// What the asker was told.
    pub status: Status,
    /// Chunks sent.
    pub chunks: u64,
}

impl BlobServer {
    /// A server of what is in `store`.
    pub fn new(store: ChunkStore, limits: TransferLimits) -> Self {
        let streams = Arc::new(Semaphore::new(limits.streams_max.min(Semaphore::MAX_PERMITS)));
        Self { store, limits, streams, peers: Arc::default() }
    }

    /// As [`Self::serve`], with a bound on what one peer takes of our line: at most
    /// [`TransferLimits::streams_per_peer_max`] streams at a time, beyond which it hears Busy.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub async fn serve_to<S>(&self, peer: NodeId, mut stream: S) -> Result<Served, ServeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let share = self.share(peer);
        let request = self.request(&mut stream).await?;
        match share {
            Some(_share) => self.answer(&mut stream, request).await,
            None => self.busy(&mut stream, request).await,
        }
    }

    fn share(&self, peer: NodeId) -> Option<Share> {
        let mut peers = counts(&self.peers);
        let count = peers.entry(peer).or_default();
        (*count < self.limits.streams_per_peer_max).then(|| {
            *count += 1;
            Share { peers: Arc::clone(&self.peers), peer }
        })
    }

    /// Answers the one request that comes over `stream` and closes it. Memory and time are bounded whatever the asker
    /// does; the number of streams that have not sent their request is the transport's to bound.
    ///
    /// # Errors
    /// [`ServeError`]. A refusal that follows the protocol is not an error.
    pub async fn serve<S>(&self, mut stream: S) -> Result<Served, ServeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = self.request(&mut stream).await?;
        self.answer(&mut stream, request).await
    }

    async fn request<S>(&self, stream: &mut S) -> Result<Request, ServeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut bytes = [0; REQUEST_BYTES];
        within(self.limits.request_timeout, stream.read_exact(&mut bytes)).await?;
        match Request::decode(&bytes) {
            Ok(request) => Ok(request),
            Err(error) => {
                self.refuse(stream, Status::Malformed).await?;
                Err(ServeError::Request(error))
            }
        }
    }

    async fn busy<S: AsyncWrite + Unpin>(&self, stream: &mut S, request: Request) -> Result<Served, ServeError> {
        self.refuse(stream, Status::Busy).await?;
        Ok(Served { blob: request.blob, status: Status::Busy, chunks: 0 })
    }

    async fn answer<S>(&self, stream: &mut S, request: Request) -> Result<Served, ServeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(_permit) = self.streams.try_acquire() else { return self.busy(stream, request).await };
        let (status, reader, failure) = match self.open(request).await {
            Ok(reader) => (Status::Ok, Some(reader), None),
            Err(StoreError::NotFound { .. }) => (Status::NotFound, None, None),
            Err(StoreError::SizeMismatch { .. }) => (Status::SizeMismatch, None, None),
            Err(error) => (Status::NotFound, None, Some(error)),
        };
        let Some(reader) = reader else {
            self.refuse(stream, status).await?;
            return failure.map_or(Ok(Served { blob: request.blob, status, chunks: 0 }), |error| Err(error.into()));
        };
        let waited = self.patience(&request, &reader);
        let sending = timeout(waited, self.send(stream, reader, request.take_chunks)).await;
        let chunks = sending.map_err(|_| ServeError::Stalled { waited })??;
        Ok(Served { blob: request.blob, status, chunks })
    }

    /// How long the asker may take for all that it is sent. Twice its own deadline, because that does not count the time its disk takes; and
    /// an asker that draws a plain blob from several holders reads each at its share of the pace.
    fn patience(&self, request: &Request, reader: &Source) -> Duration {
        let sharers = match request.kind {
            Kind::Plain if request.blob.size_bytes >= SHARED_BYTES_MIN => SOURCES_AT_ONCE,
            Kind::Plain | Kind::Sealed => 1,
        };
        let limits = self.limits.clone().shared_by(sharers);
        limits.deadline(stored_bytes(request, reader.chunks_left_max())).saturating_mul(2)
    }

    async fn open(&self, request: Request) -> Result<Source, StoreError> {
        let store = self.store.clone();
        blocking(move || match request.kind {
            Kind::Plain => {
                let mut reader = store.reader(&request.blob)?;
                reader.skip_to(request.skip_chunks.into())?;
                Ok(Source::Plain(Box::new(reader)))
            }
            Kind::Sealed => {
                let mut reader = store.sealed_reader(&request.blob.reference)?;
                reader.skip(request.skip_chunks.into())?;
                Ok(Source::Sealed(Box::new(reader)))
            }
        })
        .await
    }

    async fn refuse<S: AsyncWrite + Unpin>(&self, stream: &mut S, status: Status) -> Result<(), ServeError> {
        within(self.limits.request_timeout, stream.write_all(&[status.encode()])).await?;
        within(self.limits.request_timeout, stream.close()).await
    }

    /// Sends so many chunks. While one batch is on its way, the next one is read and verified.
    async fn send<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        reader: Source,
        take_chunks: u32,
    ) -> Result<u64, ServeError> {
        let (mut sent, mut rest) = (0, take_chunks);
        within(self.limits.write_timeout, stream.write_all(&[Status::Ok.encode()])).await?;
        let (mut reader, mut batch, mut count) = blocking(move || read_batch(reader, rest)).await?;
        while count > 0 {
            rest = rest.saturating_sub(count);
            let write = async {
                within(self.limits.write_timeout, stream.write_all(&batch)).await?;
                within(self.limits.write_timeout, stream.flush()).await
            };
            let (written, next) = futures::join!(write, blocking(move || read_batch(reader, rest)));
            written?;
            sent += u64::from(count);
            (reader, batch, count) = next?;
        }
        within(self.limits.request_timeout, stream.close()).await?;
        Ok(sent)
    }
}

/// What is being sent.
enum Source {
    Plain(Box<BlobReader>),
    Sealed(Box<SealedReader>),
}

impl Source {
    /// Chunks that there are to send, whatever the asker says of the blob's size. That of a plain blob was compared with ours.
    fn chunks_left_max(&self) -> u64 {
        match self {
            Self::Plain(_) => u64::MAX,
            Self::Sealed(reader) => reader.chunks_left(),
        }
    }

    fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, StoreError> {
        match self {
            Self::Plain(reader) => reader.next_chunk(),
            Self::Sealed(reader) => reader.next_chunk(),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut peers = counts(&self.peers);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

/// Each change is a single call, so the counts are valid after any panic.
fn counts(peers: &Mutex<BTreeMap<NodeId, usize>>) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, usize>> {
    peers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of what is asked for, of `left_chunks` that there are at most.
fn stored_bytes(request: &Request, left_chunks: u64) -> u64 {
    let part_bytes = u64::from(request.take_chunks).min(left_chunks).saturating_mul(WIRE_BYTES_MAX as u64);
    request.kind.stored_bytes(request.blob.size_bytes).min(part_bytes)
}

/// The next chunks, framed, `most` at most, and how many they are.
fn read_batch(mut reader: Source, most: u32) -> Result<(Source, Vec<u8>, u32), StoreError> {
    let batch_chunks = SERVE_BATCH_CHUNKS.min(usize::try_from(most).unwrap_or(SERVE_BATCH_CHUNKS));
    let mut batch = Vec::with_capacity(batch_chunks * (PREFIX_BYTES + WIRE_BYTES_MAX));
    let mut count = 0;
    for _ in 0..batch_chunks {
        let Some(chunk) = reader.next_chunk()? else { break };
        // Zeros at the end of an encrypted chunk are not kept, and all are sent with their full length.
        let padding = WIRE_BYTES_MAX.saturating_sub(chunk.wire().len()) * usize::from(reader.is_sealed());
        batch.extend_from_slice(&((chunk.wire().len() + padding) as u16).to_le_bytes());
        batch.extend_from_slice(chunk.wire());
        batch.resize(batch.len() + padding, 0);
        count += 1;
    }
    Ok((reader, batch, count))
}

async fn within<T>(waited: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, ServeError> {
    timeout(waited, work).await.map_err(|_| ServeError::Stalled { waited })?.map_err(ServeError::Io)
}
