//! Refusals in the form of Bee's: a code, a message, and for a wrong parameter which and why.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse;
use manyhands_blob::StoreError;
use serde::Serialize;

/// Why a call is not answered as asked.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Refusal {
    code: u16,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Reason>,
}

#[derive(Debug, Clone, Serialize)]
struct Reason {
    field: String,
    error: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { code: status.as_u16(), message: message.into(), reasons: Vec::new() }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// A header, path or query that is not what it should be.
    pub(crate) fn parameter(place: &str, field: &str, error: impl Into<String>) -> Self {
        let reasons = vec![Reason { field: field.to_owned(), error: error.into() }];
        Self { code: 400, message: format!("invalid {place} params"), reasons }
    }

    /// What the store says while something is being stored. A full one is the client's to know, in the store's words.
    pub(crate) fn of_put(error: &StoreError, message: &str) -> Self {
        match error {
            StoreError::Full { .. } | StoreError::LowSpace { .. } | StoreError::DiskFull { .. } => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string())
            }
            StoreError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            error => {
                tracing::warn!(%error, "the chunk store failed a call");
                Self::broken(message)
            }
        }
    }

    /// What the store says while something is being read.
    pub(crate) fn of_get(error: &StoreError, message: &str) -> Self {
        if error.is_absence() {
            note_absence(error);
            return Self::not_found("Not Found");
        }
        tracing::warn!(%error, "a download failed");
        Self::broken(message)
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        json(self.status(), &self)
    }
}

/// Writes down that the store has not what a call asks for. What is damaged looks to the client as if it were not here, so whoever runs the
/// store is told, with what to do.
pub(crate) fn note_absence(error: &StoreError) {
    if matches!(error, StoreError::Corrupt { .. }) {
        tracing::warn!(%error, "a call is answered as if this were not here");
    } else {
        tracing::debug!(%error, "what is asked for is not here");
    }
}

/// A value as JSON, with the type that Bee gives it.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], bytes).into_response()
}

/// A status alone, as Bee says it.
pub(crate) fn plain(status: StatusCode) -> Response<Body> {
    let message = status.canonical_reason().unwrap_or_default();
    json(status, &Refusal::new(status, message))
}

/// Services of a Swarm node that this store has not.
const ELSEWHERE: [&str; 26] = [
    "accounting",
    "addresses",
    "balances",
    "batches",
    "blocklist",
    "chequebook",
    "connect",
    "consumed",
    "envelope",
    "feeds",
    "grantee",
    "gsoc",
    "loggers",
    "peers",
    "pingpong",
    "pss",
    "rchash",
    "redistributionstate",
    "reservestate",
    "settlements",
    "stake",
    "status",
    "timesettlements",
    "topology",
    "transactions",
    "wallet",
];

/// A path that is not served.
pub(crate) fn no_such_path(path: &str) -> Refusal {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if ELSEWHERE.contains(&first) {
        let message = format!(
            "/{first} is a service of a node of the Swarm network; this is the embedded store of Manyhands, which has no \
             chain and no such peers"
        );
        return Refusal::new(StatusCode::NOT_IMPLEMENTED, message);
    }
    Refusal::not_found("Not Found")
}

/// A path that is served, with another method.
pub(crate) fn not_allowed(method: &Method) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not allowed here"))
}
