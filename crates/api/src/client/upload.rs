//! Inputs that are sent as they are read: memory is a few pieces, whatever the size.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use manyhands_proto::limits::INPUT_BYTES_MAX;
use reqwest::{Body, Method, header};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::ReaderStream;

use super::{Client, ClientError, TRANSFER_TIME};
use crate::types::Uploaded;

/// Bytes read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// How long an input may take of which the size is not known: what the largest one may.
const UNKNOWN_BYTES: u64 = manyhands_proto::limits::STREAMED_INPUT_BYTES_MAX;

/// Why a source came to no good end, for whoever asks after the request has failed.
type Broken = Arc<Mutex<Option<io::Error>>>;

impl Client {
    /// Uploads an input as it is read, in constant memory, of up to 4 GiB. With `size_bytes` exactly so many bytes are taken, and fewer are an
    /// error; without it all there are. `on_bytes` hears of each piece that was read, in bytes, for a progress bar.
    ///
    /// # Errors
    /// [`ClientError::Source`] if the source cannot be read or is shorter than was said; [`ClientError`] otherwise.
    pub async fn upload_input_from(
        &self,
        source: impl AsyncRead + Send + 'static,
        size_bytes: Option<u64>,
        on_bytes: impl FnMut(u64) + Send + 'static,
    ) -> Result<Uploaded, ClientError> {
        let broken = Broken::default();
        let pieces = pieces(source, size_bytes, on_bytes, Arc::clone(&broken));
        let request = self
            .request(Method::PUT, "v1/inputs", time_for(size_bytes.unwrap_or(UNKNOWN_BYTES)))
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(Body::wrap_stream(pieces));
        let request = match size_bytes {
            Some(size_bytes) => request.header(header::CONTENT_LENGTH, size_bytes),
            None => request,
        };
        let answer = self.send(request).await.map_err(|error| {
            let source = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
            source.map_or(error, |source| ClientError::Source { source })
        })?;
        self.json(answer, "answer").await
    }
}

/// Above the gateway's own limit, which grows in the same way.
fn time_for(size_bytes: u64) -> Duration {
    TRANSFER_TIME + Duration::from_secs(TRANSFER_TIME.as_secs().saturating_mul(size_bytes) / INPUT_BYTES_MAX)
}

/// The source's bytes. An error ends them, and with them the request.
fn pieces(
    source: impl AsyncRead + Send + 'static,
    size_bytes: Option<u64>,
    mut on_bytes: impl FnMut(u64) + Send + 'static,
    broken: Broken,
) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
    let mut left_bytes = size_bytes;
    let source = Box::pin(source.take(size_bytes.unwrap_or(u64::MAX)));
    let pieces = ReaderStream::with_capacity(source, PIECE_BYTES).map(Some).chain(stream::iter([None]));
    pieces.filter_map(move |piece| {
        let piece = match piece {
            Some(Ok(piece)) => {
                left_bytes = left_bytes.map(|left| left.saturating_sub(piece.len() as u64));
                on_bytes(piece.len() as u64);
                Some(Ok(piece.to_vec()))
            }
            Some(Err(error)) => Some(Err(note(&broken, error))),
            None if left_bytes.is_some_and(|left| left > 0) => {
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read");
                Some(Err(note(&broken, error)))
            }
            None => None,
        };
        std::future::ready(piece)
    })
}

/// Keeps an error for its user, and gives the one that ends the request.
fn note(broken: &Broken, error: io::Error) -> io::Error {
    let ended = io::Error::new(error.kind(), "the source failed");
    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    ended
}
