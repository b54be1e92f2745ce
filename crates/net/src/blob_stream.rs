//! A stream of bytes between two nodes, for blobs and receipts. What is said on it is the blob crate's business.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

/// An open blob stream. Dropping it resets it; `close` ends our side properly.
#[derive(Debug)]
pub struct BlobStream {
    stream: libp2p::Stream,
    /// The places that an inbound stream takes: one of its peer's and one of all.
    _places: Option<[OwnedSemaphorePermit; 2]>,
}

impl BlobStream {
    pub(crate) fn outbound(stream: libp2p::Stream) -> Self {
        Self { stream, _places: None }
    }

    pub(crate) fn inbound(stream: libp2p::Stream, places: [OwnedSemaphorePermit; 2]) -> Self {
        Self { stream, _places: Some(places) }
    }
}

impl AsyncRead for BlobStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for BlobStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
