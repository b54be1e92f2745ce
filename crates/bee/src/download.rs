//! Downloads. Nothing is returned that does not hash to what was asked for, and nothing is read beyond the size that was
//! expected.

use std::convert::Infallible;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use manyhands_blob::chunk::WIRE_BYTES_MAX;
use manyhands_blob::{Chunk, ReadError, Reader, Splitter, Step};
use manyhands_proto::{BlobRef, Reference};
use reqwest::Method;

use crate::call::Call;
use crate::client::{Bee, Run, transfer_time};
use crate::error::BeeError;
use crate::upload::{CHUNKS_AT_A_TIME, LEVEL_HEADER};

impl Bee {
    /// The bytes of `blob`. Until `fresh_for` has passed, that the network does not know it is not believed: what was just
    /// uploaded can take a while.
    ///
    /// # Errors
    /// [`BeeError`]; [`BeeError::WrongBytes`] if the node sends others.
    pub async fn download(&self, blob: &BlobRef, fresh_for: Duration) -> Result<Vec<u8>, BeeError> {
        let run = self.run(fresh_for);
        let attempt = || async {
            // On a download, the level says among how many replicas a lost root is searched; ours have none.
            let path = format!("bytes/{}", blob.reference);
            let request = self.request(Method::GET, &path).header(LEVEL_HEADER.0, LEVEL_HEADER.1);
            let answer = self.send(Call::GetBytes, request).await?;
            let mut bytes = Vec::new();
            let mut splitter = Splitter::new();
            let mut drop_chunk = |_| Ok::<(), Infallible>(());
            let mut take = |piece: &[u8]| {
                let Ok(()) = splitter.update(piece, &mut drop_chunk);
                bytes.extend_from_slice(piece);
            };
            self.read(Call::GetBytes, answer, blob.size_bytes, &mut take).await?;
            let Ok(got) = splitter.finish(&mut drop_chunk);
            if got == *blob { Ok(bytes) } else { Err(wrong(blob, &got)) }
        };
        self.persist(&run, Call::GetBytes, transfer_time(blob.size_bytes), attempt).await
    }

    /// The bytes of `blob`, chunk by chunk: slower, and each chunk that comes is one that need not come again. For a node
    /// whose [`Bee::download`] fails.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn download_by_chunks(&self, blob: &BlobRef, fresh_for: Duration) -> Result<Vec<u8>, BeeError> {
        let run = self.run(fresh_for);
        let mut reader = Reader::new(blob.reference, blob.size_bytes);
        let mut bytes = Vec::new();
        loop {
            match reader.step().map_err(|source| malformed(blob, source))? {
                Step::Piece(piece) => bytes.extend_from_slice(&piece),
                Step::Want(wanted) => self.bring(&run, &mut reader, wanted).await?,
                Step::Done => break,
            }
        }
        if bytes.len() as u64 == blob.size_bytes {
            return Ok(bytes);
        }
        let got = BlobRef { size_bytes: bytes.len() as u64, ..*blob };
        Err(wrong(blob, &got))
    }

    /// One chunk.
    ///
    /// # Errors
    /// [`BeeError`]; [`BeeError::WrongBytes`] if the node sends another.
    pub async fn chunk(&self, reference: Reference, fresh_for: Duration) -> Result<Chunk, BeeError> {
        self.chunk_in(&self.run(fresh_for), reference).await
    }

    async fn chunk_in(&self, run: &Run, reference: Reference) -> Result<Chunk, BeeError> {
        let attempt = || async {
            let request = self.request(Method::GET, &format!("chunks/{reference}"));
            let answer = self.send(Call::GetChunk, request).await?;
            let wire = self.bytes(Call::GetChunk, answer, WIRE_BYTES_MAX as u64).await?;
            let false_chunk = |error: manyhands_blob::ChunkError| error.to_string();
            Chunk::verify(reference, &wire)
                .map_err(|error| BeeError::WrongBytes { expected: reference, why: false_chunk(error) })
        };
        self.persist(run, Call::GetChunk, transfer_time(0), attempt).await
    }

    /// Fetches chunks and brings them to the reader, in whatever order they come.
    async fn bring(&self, run: &Run, reader: &mut Reader, wanted: Vec<Reference>) -> Result<(), BeeError> {
        let fetches: Vec<_> = wanted.into_iter().map(|reference| self.chunk_in(run, reference)).collect();
        let mut chunks = stream::iter(fetches).buffer_unordered(CHUNKS_AT_A_TIME);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            let reference = chunk.reference();
            reader
                .supply(reference, chunk.wire())
                .map_err(|error| BeeError::WrongBytes { expected: reference, why: error.to_string() })?;
        }
        Ok(())
    }
}

fn wrong(blob: &BlobRef, got: &BlobRef) -> BeeError {
    let why = if got.size_bytes == blob.size_bytes {
        format!("it is {}", got.reference)
    } else {
        format!("it has {} bytes, not {}", got.size_bytes, blob.size_bytes)
    };
    BeeError::WrongBytes { expected: blob.reference, why }
}

fn malformed(blob: &BlobRef, source: ReadError) -> BeeError {
    BeeError::Malformed { reference: blob.reference, source }
}
