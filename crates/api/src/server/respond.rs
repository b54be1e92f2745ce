//! Answers: JSON, problems with their status, receipts with their reference.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use manyhands_proto::Reference;
use serde::Serialize;

use crate::types::{API_VERSION, Problem, ProblemKind, SERVICE_HEADER};

/// An answer on its way out.
pub(super) type Answer = Response<Body>;

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => typed(status, "application/json", bytes),
        Err(error) => problem(&Problem::internal(format!("an answer could not be written as JSON: {error}"))),
    }
}

/// What is JSON already.
pub(super) fn written(status: StatusCode, json: &'static str) -> Answer {
    typed(status, "application/json", json.as_bytes().to_vec())
}

/// A problem, with the status of its kind.
pub(super) fn problem(problem: &Problem) -> Answer {
    let status = StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if problem.kind == ProblemKind::Internal {
        tracing::warn!(message = problem.message, "an API request failed");
    }
    // A problem is two texts: that they become JSON cannot fail, and an empty body still has its status.
    typed(status, "application/json", serde_json::to_vec(problem).unwrap_or_default())
}

/// A receipt, named by its reference.
pub(super) fn receipt(reference: Reference, bytes: Vec<u8>) -> Answer {
    let mut answer = typed(StatusCode::OK, "application/octet-stream", bytes);
    if let Ok(tag) = HeaderValue::try_from(etag(reference)) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}

/// How a reference is written as an entity tag.
pub(super) fn etag(reference: Reference) -> String {
    format!("\"{reference}\"")
}

/// Text that a guest wrote: shown as text, whatever it says it is.
pub(super) fn text(bytes: Vec<u8>) -> Answer {
    typed(StatusCode::OK, "text/plain; charset=utf-8", bytes)
}

/// No body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// Adds the headers that all answers carry.
pub(super) fn mark(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(HeaderName::from_static(SERVICE_HEADER), HeaderValue::from(API_VERSION));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn typed(status: StatusCode, content_type: &'static str, bytes: Vec<u8>) -> Answer {
    (status, [(CONTENT_TYPE, content_type)], bytes).into_response()
}
