//! The asker's side with several holders: one blob over as many streams into the store. What to ask of whom is decided in
//! `parts`, what came too early is proven in `ahead`; here are the streams, the clock and the disk.
//!
//! All streams belong to the one future: dropping it closes them.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures::future::{AbortHandle, Abortable, BoxFuture, FutureExt as _};
use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use manyhands_proto::BlobRef;
use tokio::time::{Instant, timeout};

use super::ahead::Ahead;
use super::fetch::{PENDING_CHUNKS_MAX, SKIPPABLE_BYTES_MAX, Saver, ask, begin, blocking_save, receive_wire};
use super::pace::{Pace, Pauses};
use super::parts::{Parts, Step};
use super::{FetchError, Request, TransferLimits};
use crate::chunk::WIRE_BYTES_MAX;
use crate::shape;
use crate::store::{ChunkStore, Download, Owner, SAVE_CHUNKS};

/// Least blob that is fetched from several holders at once, 256 KiB. At a home line's 1 MB/s it takes a quarter of a second, as
/// long as it takes to reach somebody far away; below that a second holder is ready when the first is done.
pub const SHARED_BYTES_MIN: u64 = 256 << 10;

/// Most holders that give parts of one blob at a time. Three home lines of 2 MB/s fill half of a 100 Mbit/s line; each one more is a
/// handshake, and one more part that may wait for its parents in memory.
pub const SOURCES_AT_ONCE: usize = 3;

/// How often an idle holder looks whether another's part is worth taking over: a delay that nobody notices, and cheap.
const LOOK: Duration = Duration::from_millis(200);

/// How long the end of a stream may take whose chunks are all here.
const GOODBYE: Duration = Duration::from_secs(1);

/// Those who are said to have a blob, by number, in the order of preference. The last is asked only if no other is left.
pub trait Sources: Sync {
    /// A stream to one of them.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;
    /// Why one of them gave nothing, or no more.
    type Error: From<FetchError> + Send;

    /// How many there are.
    fn count(&self) -> usize;

    /// A new stream to one of them. Takes no longer than the caller of [`fetch_shared`] wants to wait for it.
    fn open(&self, source: usize) -> impl Future<Output = Result<Self::Stream, Self::Error>> + Send;

    /// The bounds for one of them. Of the least rates each stream must bring its share only, while several share the line.
    fn limits(&self, source: usize) -> TransferLimits;

    /// One of them is of no use for this blob any more. Told again if what it sent before that proves wrong.
    fn failed(&self, source: usize, error: &Self::Error);

    /// One of them, which has sent so many chunks, is so much slower than another that its part was given to that one. It is no fault.
    fn slow(&self, source: usize, sent_chunks: u64);
}

/// What a shared fetch did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shared {
    /// Chunks that were here before.
    pub resumed_chunks: u64,
    /// Chunks that each source sent and that had the right length, whatever became of them.
    pub sent_chunks: Vec<u64>,
    /// Most chunks that were held at a time because they came before their turn.
    pub held_chunks_max: usize,
}

/// Fetches `blob` from `sources` and has `owner` hold it; one of [`SHARED_BYTES_MIN`] or more from up to [`SOURCES_AT_ONCE`] at once. It
/// is on disk when this returns. A blob that is here already is not asked for.
///
/// What is on disk is a prefix in pre-order, as with [`fetch`](super::fetch()). In memory are at most 8.4 MB that came before their turn and
/// 4.2 MB on their way to the disk. If all sources fail, or the future is dropped, the former are lost and fetched again. What a source has on
/// its way when the rest of its part is taken over is sent twice, some round trips' worth; so is what a liar sent between its lies.
///
/// # Errors
/// That of the source that failed last if all did; [`FetchError::TooLarge`] before anybody is asked; [`FetchError::Store`], at nobody's fault.
pub async fn fetch_shared<S: Sources>(
    sources: &S,
    store: &ChunkStore,
    owner: &Owner,
    blob: BlobRef,
    blob_bytes_max: u64,
) -> Result<Shared, S::Error> {
    let (size_bytes, max_bytes) = (blob.size_bytes, blob_bytes_max.min(SKIPPABLE_BYTES_MAX));
    if size_bytes > max_bytes {
        return Err(FetchError::TooLarge { size_bytes, max_bytes }.into());
    }
    let begun = begin(store, owner, blob).await.map_err(FetchError::Store)?;
    let Some(download) = begun else { return Ok(Shared::default()) };
    let mut fetching = Fetching::new(sources, download);
    let outcome = fetching.run().await;
    fetching.saver.wait().await.map_err(FetchError::Store)?;
    blocking_save(fetching.download.take_batch()).await.map_err(FetchError::Store)?;
    outcome?;
    fetching.part().await;
    Ok(fetching.shared)
}

/// A stream that gives a part.
struct Line<T> {
    source: usize,
    stream: T,
    pace: Pace,
}

/// What became of a stream's next chunk.
enum Event<S: Sources> {
    Came(Line<S::Stream>, Vec<u8>),
    Failed(usize, Failure<S::Error>),
    /// It is closed, by us.
    Over,
}

enum Failure<E> {
    Open(E),
    Fetch(FetchError),
}

/// What to read next of a stream.
#[derive(Clone, Copy)]
struct Due {
    number: u64,
    wire_bytes: usize,
    chunk_count: u64,
}

/// A stream to be opened, for a part.
struct Opening {
    source: usize,
    request: Request,
    due: Due,
    limits: TransferLimits,
    pauses: Pauses,
}

struct Fetching<'a, S: Sources> {
    sources: &'a S,
    download: Download,
    saver: Saver,
    ahead: Ahead,
    parts: Parts,
    lines: FuturesUnordered<BoxFuture<'a, Event<S>>>,
    /// Ends the stream of a source that is giving a part.
    ends: BTreeMap<usize, AbortHandle>,
    started: Instant,
    pauses: Pauses,
    failure: Option<S::Error>,
    shared: Shared,
}

impl<'a, S: Sources> Fetching<'a, S> {
    fn new(sources: &'a S, download: Download) -> Self {
        let (blob, resumed_chunks) = (download.blob(), download.saved_chunks());
        let at_once = if blob.size_bytes < SHARED_BYTES_MIN { 1 } else { SOURCES_AT_ONCE };
        let count = sources.count();
        Self {
            sources,
            saver: Saver::default(),
            ahead: Ahead::new(download.walk()),
            parts: Parts::new(resumed_chunks, shape::chunk_count(blob.size_bytes), count, at_once),
            download,
            lines: FuturesUnordered::new(),
            ends: BTreeMap::new(),
            started: Instant::now(),
            pauses: Pauses::default(),
            failure: None,
            shared: Shared { resumed_chunks, sent_chunks: vec![0; count], held_chunks_max: 0 },
        }
    }

    /// Until the blob is complete, or nobody is left.
    async fn run(&mut self) -> Result<(), S::Error> {
        loop {
            self.schedule();
            if self.download.expected().is_none() {
                return Ok(());
            }
            if self.parts.is_over() || self.lines.is_empty() {
                let failure = self.failure.take();
                return Err(failure.unwrap_or_else(|| self.cut_short().into()));
            }
            tokio::select! {
                biased;
                event = self.lines.next() => self.handle(event.unwrap_or(Event::Over)),
                () = tokio::time::sleep(LOOK), if self.parts.has_idle() => {}
            }
            self.keep().await?;
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn schedule(&mut self) {
        let now_ms = self.now_ms();
        // All steps first, so that it is known how many share the line.
        let steps: Vec<Step> = std::iter::from_fn(|| self.parts.step(now_ms)).collect();
        for step in steps {
            match step {
                Step::Ask { source, from, to } => self.open(source, from, to),
                Step::Cut { source } => self.cut(source),
            }
        }
    }

    fn cut(&mut self, source: usize) {
        self.end(source);
        self.sources.slow(source, self.shared.sent_chunks.get(source).copied().unwrap_or_default());
    }

    fn open(&mut self, source: usize, from: u64, to: u64) {
        // Never more than a u32: the size is bounded by SKIPPABLE_BYTES_MAX.
        let [skip, take] = [from, to - from].map(|chunks| u32::try_from(chunks).unwrap_or(u32::MAX));
        let request = Request::part(self.download.blob(), skip, take);
        let limits = self.sources.limits(source).shared_by(self.parts.busy());
        let opening = Opening { source, request, due: self.due(from), limits, pauses: self.pauses.clone() };
        self.push(source, open(self.sources, opening));
    }

    fn push(&mut self, source: usize, work: impl Future<Output = Event<S>> + Send + 'a) {
        let (end, registration) = AbortHandle::new_pair();
        self.ends.insert(source, end);
        let work = Abortable::new(work, registration);
        self.lines.push(work.map(|event| event.unwrap_or(Event::Over)).boxed());
    }

    fn end(&mut self, source: usize) {
        if let Some(end) = self.ends.remove(&source) {
            end.abort();
        }
    }

    fn due(&self, number: u64) -> Due {
        let chunk_count = shape::chunk_count(self.download.blob().size_bytes);
        Due { number, wire_bytes: self.ahead.wire_bytes(number), chunk_count }
    }

    fn handle(&mut self, event: Event<S>) {
        match event {
            Event::Came(line, wire) => self.came(line, &wire),
            Event::Failed(source, Failure::Fetch(error)) => self.fail(source, error),
            Event::Failed(source, Failure::Open(error)) => self.gone(source, error),
            Event::Over => {}
        }
    }

    fn came(&mut self, line: Line<S::Stream>, wire: &[u8]) {
        let source = line.source;
        let Some(number) = self.parts.next_of(source) else { return };
        if let Some(sent) = self.shared.sent_chunks.get_mut(source) {
            *sent += 1;
        }
        let wrong = match self.ahead.take(number, source, wire) {
            Ok(wrong) => wrong,
            Err(error) => return self.fail(source, error),
        };
        self.shared.held_chunks_max = self.shared.held_chunks_max.max(self.ahead.len());
        let now_ms = self.now_ms();
        if self.parts.came(source, now_ms) {
            let due = self.due(number + 1);
            self.push(source, read(line, due));
        } else {
            self.ends.remove(&source);
            self.lines.push(close(line.stream).boxed());
        }
        for wrong in wrong {
            self.lose(wrong.lost);
            self.fail(wrong.source, wrong.error);
        }
    }

    fn lose(&mut self, lost: Vec<u64>) {
        lost.into_iter().for_each(|number| self.parts.lose(number));
    }

    fn fail(&mut self, source: usize, error: FetchError) {
        // Who sent one wrong chunk is not believed in any other; who is slow or gone may have been honest.
        if matches!(error, FetchError::Length { .. } | FetchError::Chunk { .. } | FetchError::Shape { .. }) {
            let lost = self.ahead.drop_doubtful(source);
            self.lose(lost);
        }
        self.gone(source, error.into());
    }

    fn gone(&mut self, source: usize, error: S::Error) {
        self.end(source);
        self.parts.fail(source);
        self.sources.failed(source, &error);
        self.failure = Some(error);
    }

    /// Hands what has its turn over to be saved, as `fetch` does.
    async fn keep(&mut self) -> Result<(), FetchError> {
        loop {
            let number = self.download.walk().passed_chunks();
            self.parts.advance(number);
            let Some(chunk) = self.ahead.pop(number) else { return Ok(()) };
            self.download.accept(chunk).map_err(|source| FetchError::Shape { chunk: number, source })?;
            let pending_chunks = self.download.pending_chunks();
            if pending_chunks >= PENDING_CHUNKS_MAX || pending_chunks >= SAVE_CHUNKS && self.saver.is_idle() {
                let since = Instant::now();
                self.saver.save(self.download.take_batch()).await?;
                self.pauses.add(since);
            }
        }
    }

    /// All is here; streams that are being closed get a moment.
    async fn part(&mut self) {
        self.ends.values().for_each(AbortHandle::abort);
        while self.lines.next().await.is_some() {}
    }

    /// Nobody was there to ask.
    fn cut_short(&self) -> FetchError {
        self.due(self.download.walk().passed_chunks()).cut_short()
    }
}

async fn open<S: Sources>(sources: &S, opening: Opening) -> Event<S> {
    let Opening { source, request, due, limits, pauses } = opening;
    let mut stream = match sources.open(source).await {
        Ok(stream) => stream,
        Err(error) => return Event::Failed(source, Failure::Open(error)),
    };
    if let Err(error) = ask(&mut stream, &request, &limits, || due.cut_short()).await {
        return Event::Failed(source, Failure::Fetch(error));
    }
    let due_bytes = u64::from(request.take_chunks).saturating_mul(WIRE_BYTES_MAX as u64);
    let pace = Pace::start(&limits, due_bytes).without(pauses);
    read(Line { source, stream, pace }, due).await
}

async fn read<S: Sources>(mut line: Line<S::Stream>, due: Due) -> Event<S> {
    let mut wire = vec![0; due.wire_bytes];
    let error = match receive_wire(&mut line.stream, &mut line.pace, due.number, &mut wire).await {
        Ok(true) => return Event::Came(line, wire),
        Ok(false) => due.cut_short(),
        Err(error) => error,
    };
    Event::Failed(line.source, Failure::Fetch(error))
}

/// That the goodbye does not arrive changes nothing.
async fn close<S: Sources>(mut stream: S::Stream) -> Event<S> {
    let _ = timeout(GOODBYE, stream.close()).await;
    Event::Over
}

impl Due {
    fn cut_short(&self) -> FetchError {
        FetchError::CutShort { chunks: self.number, chunk_count: self.chunk_count }
    }
}
