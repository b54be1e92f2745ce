//! Whoever is refused hears why. A connection that is closed with bytes of a body unread is reset, and its sender may never see the answer:
//! so what is left of a refused body is read on for a while and dropped, whichever call refused it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use futures::{Stream, StreamExt as _};

use super::limits::{DRAIN_BYTES_MAX, DRAIN_TIME};
use super::respond::Answer;

/// A body that its handler reads, and we after it.
#[derive(Clone)]
struct Shared(Arc<Mutex<Rest>>);

struct Rest {
    pieces: BodyDataStream,
    is_begun: bool,
}

impl Stream for Shared {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Never waited for: the handler has ended when we read on.
        let mut rest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rest.is_begun = true;
        rest.pieces.poll_next_unpin(context)
    }
}

/// Calls the handler, and reads on if it refused.
pub(super) async fn hear_out(request: Request, next: Next) -> Answer {
    // Such a client sends its body only when somebody begins to read it.
    let waits = request.headers().contains_key(EXPECT);
    let (head, body) = request.into_parts();
    let body = Shared(Arc::new(Mutex::new(Rest { pieces: body.into_data_stream(), is_begun: false })));
    let answer = next.run(Request::from_parts(head, Body::from_stream(body.clone()))).await;
    let is_refused = answer.status().is_client_error() || answer.status().is_server_error();
    let is_begun = body.0.lock().unwrap_or_else(PoisonError::into_inner).is_begun;
    if is_refused && (is_begun || !waits) {
        drain(body).await;
    }
    answer
}

async fn drain(mut body: Shared) {
    let mut left_bytes = DRAIN_BYTES_MAX;
    let draining = async {
        while let Some(Ok(piece)) = body.next().await {
            let Some(left) = left_bytes.checked_sub(piece.len() as u64) else { return };
            left_bytes = left;
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, draining).await;
}
