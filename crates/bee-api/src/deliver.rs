//! Sending a tree: its size first, then its bytes from the disk as fast as the client takes them, in bounded memory.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use manyhands_blob::store::TreeReader;
use manyhands_blob::{AnyReference, StoreError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::hive::Hive;
use crate::look::open_tree;
use crate::range::{Part, part};
use crate::refusal::{Refusal, plain};

/// Bytes of one piece of a body.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the client.
const PIECES_MAX: usize = 4;
/// How long a client may take for one piece. While it reads, the store keeps all pages of that moment.
const STALL_TIME: Duration = Duration::from_secs(60);

/// A file that is to be sent.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) root: AnyReference,
    /// The request's headers.
    pub(crate) asked: &'a HeaderMap,
    /// What is known of the file, as headers.
    pub(crate) about: HeaderMap,
    /// Whether only the head is wanted.
    pub(crate) head_only: bool,
}

impl Delivery<'_> {
    /// The answer, its body still to come.
    pub(crate) async fn answer(self, hive: &Hive) -> Result<Response<Body>, Refusal> {
        let (root, bytes_max) = (self.root, hive.options.bytes_max);
        let opened = hive.on_store(move |store| {
            let mut reader = open_tree(store, root, bytes_max)?;
            let first = reader.next_piece()?;
            Ok::<_, StoreError>((reader, first.unwrap_or_default()))
        });
        let (reader, first) = opened.await.map_err(|error| Refusal::of_get(&error, "joiner failed"))?;
        let size_bytes = reader.size_bytes().unwrap_or_default();
        let etag = format!("\"{}\"", root.reveal());
        if self.asks(IF_NONE_MATCH).is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag)) {
            return Ok(with_etag(plain_empty(StatusCode::NOT_MODIFIED), &etag));
        }
        let is_same = self.asks(IF_RANGE).is_none_or(|known| known == etag);
        let wanted = self.asks(RANGE).filter(|_| is_same && !self.head_only);
        let mut answer = match part(wanted, size_bytes) {
            Part::Unsatisfiable => {
                let mut answer = plain(StatusCode::RANGE_NOT_SATISFIABLE);
                set(answer.headers_mut(), CONTENT_RANGE, &format!("bytes */{size_bytes}"));
                return Ok(answer);
            }
            Part::Whole => {
                let body = if self.head_only { Body::empty() } else { stream(reader, first, size_bytes) };
                sized(StatusCode::OK, body, size_bytes)
            }
            Part::Range { first, count } => {
                let reader = hive.on_store(move |store| Ok(open_tree(store, root, bytes_max)?.skipping(first))).await;
                let reader = reader.map_err(|error: StoreError| Refusal::of_get(&error, "joiner failed"))?;
                let mut answer = sized(StatusCode::PARTIAL_CONTENT, stream(reader, Vec::new(), count), count);
                let last = first + count - 1;
                set(answer.headers_mut(), CONTENT_RANGE, &format!("bytes {first}-{last}/{size_bytes}"));
                answer
            }
        };
        answer.headers_mut().extend(self.about);
        Ok(with_etag(answer, &etag))
    }

    fn asks(&self, name: HeaderName) -> Option<&str> {
        self.asked.get(name)?.to_str().ok()
    }
}

fn sized(status: StatusCode, body: Body, size_bytes: u64) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size_bytes));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer
}

fn with_etag(mut answer: Response<Body>, etag: &str) -> Response<Body> {
    set(answer.headers_mut(), ETAG, etag);
    answer
}

fn plain_empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// Sets a header whose value is made of digits and signs.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// The next `count` bytes of `reader`, after what was read of it already.
fn stream(reader: TreeReader, first: Vec<u8>, count: u64) -> Body {
    let (send, receive) = mpsc::channel(PIECES_MAX);
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let hand_out = |piece: io::Result<Bytes>| {
            let sent = handle.block_on(tokio::time::timeout(STALL_TIME, send.send(piece)));
            sent.is_ok_and(|sent| sent.is_ok())
        };
        if let Err(error) = pump(reader, first, count, &hand_out) {
            tracing::warn!(%error, "a download broke off");
            // Ends the connection before the length that was promised, so that the client sees it.
            hand_out(Err(io::Error::other(error)));
        }
    });
    Body::from_stream(futures::stream::unfold(receive, async |mut receive: mpsc::Receiver<_>| {
        receive.recv().await.map(|piece| (piece, receive))
    }))
}

fn pump(
    mut reader: TreeReader,
    first: Vec<u8>,
    count: u64,
    hand_out: &impl Fn(io::Result<Bytes>) -> bool,
) -> Result<(), StoreError> {
    let (mut batch, mut left) = (first, count);
    while left > 0 {
        match reader.next_piece()? {
            Some(piece) if batch.len() + piece.len() <= PIECE_BYTES => batch.extend_from_slice(&piece),
            next => {
                batch.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                left -= batch.len() as u64;
                let is_last = next.is_none();
                if !batch.is_empty() && !hand_out(Ok(Bytes::from(std::mem::take(&mut batch)))) || is_last {
                    return Ok(());
                }
                batch = next.unwrap_or_default();
            }
        }
    }
    Ok(())
}
