//! Uploads. A node is told level 0 each time, since the default changed with Bee 2.8.1, and what it says came of it is
//! held against what was computed here. A node that makes another tree all the same gets the chunks one by one, which
//! leaves it nothing to decide. Serves step II, where blobs are stored.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use manyhands_blob::Chunk;
use manyhands_proto::{BlobRef, Reference};
use reqwest::{Body, Method, RequestBuilder, header};

use crate::batch::BatchId;
use crate::call::Call;
use crate::client::{Bee, Run, transfer_time};
use crate::error::BeeError;
use crate::json;
use crate::source::{Cut, Cutter, Slot, Source, blob_of};

/// Chunks that are under way to or from the node at a time: enough to hide a loopback's latency, and few enough for a
/// node of two cores.
pub(crate) const CHUNKS_AT_A_TIME: usize = 8;

/// The header that fixes the tree. Bee's default is 0 up to 2.8.0 and 1 from 2.8.1.
pub(crate) const LEVEL_HEADER: (&str, &str) = ("swarm-redundancy-level", "0");
const BATCH_HEADER: &str = "swarm-postage-batch-id";
const DEFERRED_HEADER: &str = "swarm-deferred-upload";
const PIN_HEADER: &str = "swarm-pin";
const TAG_HEADER: &str = "swarm-tag";

/// When an upload is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// When the network has the chunks.
    Direct,
    /// When the node has them; it pushes them on by itself. The tag tells how far it is.
    Deferred,
}

/// How to upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upload {
    /// What pays for it.
    pub batch: BatchId,
    /// Whether the node keeps it. A node that makes another tree (it is seen once, see [`Way::Chunks`]) may keep that as
    /// well: it is not unpinned, since it may be one that the owner had pinned before.
    pub pin: bool,
    /// When it is done. Chunks that are sent one by one are always sent directly.
    pub push: Push,
}

/// How the bytes came to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As a whole.
    Whole,
    /// Chunk by chunk, since the node makes trees of its own.
    Chunks,
}

/// An upload that is done: the node has named the blob as we do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uploaded {
    /// How it was sent.
    pub way: Way,
    /// The node's tag for it, for [`Bee::tag`]; not of direct uploads.
    pub tag: Option<u64>,
}

/// The node's word for an upload.
struct Answer {
    reference: Reference,
    tag: Option<u64>,
}

impl Bee {
    /// Uploads `blob`, whose bytes are in `source`. Memory use does not depend on the size.
    ///
    /// A node refuses before it has read all if the batch will not do; a long upload may then end as a broken
    /// connection. So ask for the batch first, with [`Bee::choose_batch`] or [`Bee::check_batch`].
    ///
    /// # Errors
    /// [`BeeError`]. The node may have some or all of the chunks then; to try again does no harm and costs no slots.
    pub async fn upload(&self, blob: &BlobRef, source: &dyn Source, upload: &Upload) -> Result<Uploaded, BeeError> {
        let run = self.run(Duration::ZERO);
        if self.makes_other_trees.load(Ordering::Relaxed) {
            return self.upload_chunks(&run, blob, source, upload).await;
        }
        let answer = self.upload_whole(&run, blob, source, upload).await?;
        if answer.reference == blob.reference {
            return Ok(Uploaded { way: Way::Whole, tag: answer.tag });
        }
        self.check_source(blob, source).await?;
        let (expected, got) = (blob.reference, answer.reference);
        tracing::warn!(%expected, %got, "the Bee node makes other trees than it was told to; sending chunk by chunk");
        let chunks = self.upload_chunks(&run, blob, source, upload).await;
        match chunks {
            Ok(uploaded) => {
                self.makes_other_trees.store(true, Ordering::Relaxed);
                Ok(uploaded)
            }
            Err(last) => Err(BeeError::NoWay { expected, got, last: Box::new(last) }),
        }
    }

    /// Uploads one chunk.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn upload_chunk(&self, chunk: &Chunk, batch: BatchId) -> Result<(), BeeError> {
        self.put_chunk(&self.run(Duration::ZERO), chunk, batch).await
    }

    async fn upload_whole(
        &self,
        run: &Run,
        blob: &BlobRef,
        source: &dyn Source,
        upload: &Upload,
    ) -> Result<Answer, BeeError> {
        let deferred = match upload.push {
            Push::Direct => "false",
            Push::Deferred => "true",
        };
        let attempt = || async {
            let slot = Slot::default();
            let pieces = source.open().map_err(|source| unreadable(blob, source))?;
            let mut request = stamped(self.request(Method::POST, "bytes"), upload.batch)
                .header(LEVEL_HEADER.0, LEVEL_HEADER.1)
                .header(DEFERRED_HEADER, deferred)
                .header(header::CONTENT_LENGTH, blob.size_bytes);
            if upload.pin {
                request = request.header(PIN_HEADER, "true");
            }
            let request = request.body(Body::wrap_stream(slot.watch(pieces)));
            let sent = self.send(Call::PutBytes, request).await;
            if let Some(source) = slot.take() {
                return Err(unreadable(blob, source));
            }
            self.answer(Call::PutBytes, sent?).await
        };
        let time = transfer_time(blob.size_bytes);
        let sent = self.persist(run, Call::PutBytes, time, attempt).await;
        if let Err(BeeError::Broken { .. }) = &sent {
            // A source that has more or less than was said looks like a broken connection.
            self.check_source(blob, source).await?;
        }
        sent
    }

    async fn upload_chunks(
        &self,
        run: &Run,
        blob: &BlobRef,
        source: &dyn Source,
        upload: &Upload,
    ) -> Result<Uploaded, BeeError> {
        let mut cutter = Cutter::open(source).map_err(|source| unreadable(blob, source))?;
        while let Cut::Chunks(chunks) = cutter.cut().await.map_err(|source| unreadable(blob, source))? {
            self.put_chunks(run, &chunks, upload.batch).await?;
        }
        let (chunks, got) = cutter.finish();
        if got != *blob {
            return Err(BeeError::OtherSource { expected: blob.reference, got: got.reference });
        }
        self.put_chunks(run, &chunks, upload.batch).await?;
        if upload.pin {
            self.pin_in(run, blob.reference).await?;
        }
        Ok(Uploaded { way: Way::Chunks, tag: None })
    }

    async fn put_chunks(&self, run: &Run, chunks: &[Chunk], batch: BatchId) -> Result<(), BeeError> {
        let puts: Vec<_> = chunks.iter().map(|chunk| self.put_chunk(run, chunk, batch)).collect();
        stream::iter(puts).buffer_unordered(CHUNKS_AT_A_TIME).try_collect().await
    }

    async fn put_chunk(&self, run: &Run, chunk: &Chunk, batch: BatchId) -> Result<(), BeeError> {
        let call = Call::PutChunk;
        let attempt = || async {
            let request = stamped(self.request(Method::POST, "chunks"), batch).body(chunk.wire().to_vec());
            let got = self.answer(call, self.send(call, request).await?).await?.reference;
            let expected = chunk.reference();
            if got == expected { Ok(()) } else { Err(BeeError::WrongReference { call, expected, got }) }
        };
        self.persist(run, call, transfer_time(0), attempt).await
    }

    async fn answer(&self, call: Call, answer: reqwest::Response) -> Result<Answer, BeeError> {
        let tag = answer.headers().get(TAG_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        let value = self.json(call, answer).await?;
        let missing = || BeeError::Garbled { call, why: "it has no reference of 64 digits".to_owned() };
        let reference = json::reference(&value, "reference").ok_or_else(missing)?;
        Ok(Answer { reference, tag })
    }

    /// Whose fault a wrong reference is.
    async fn check_source(&self, blob: &BlobRef, source: &dyn Source) -> Result<(), BeeError> {
        let got = blob_of(source).await.map_err(|source| unreadable(blob, source))?;
        if got == *blob {
            return Ok(());
        }
        Err(BeeError::OtherSource { expected: blob.reference, got: got.reference })
    }
}

fn stamped(request: RequestBuilder, batch: BatchId) -> RequestBuilder {
    request.header(BATCH_HEADER, batch.to_string()).header(header::CONTENT_TYPE, "application/octet-stream")
}

fn unreadable(blob: &BlobRef, source: io::Error) -> BeeError {
    BeeError::Source { reference: blob.reference, source }
}
