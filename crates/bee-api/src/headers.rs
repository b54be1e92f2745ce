//! What a request's headers, path and query say. Names are Bee's; values are read as Go reads them.

use std::error::Error as _;

use axum::extract::{self, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use manyhands_blob::AnyReference;
use manyhands_blob::redundancy::Level;
use serde::de::DeserializeOwned;

use crate::batches::BatchId;
use crate::refusal::Refusal;

/// Longest reference in a path: 128 digits, and what may stand in front.
const REFERENCE_CHARS_MAX: usize = 140;

/// What an upload asks for.
#[derive(Debug, Clone)]
pub(crate) struct UploadHeaders {
    pub(crate) batch: BatchId,
    pub(crate) tag: u64,
    pub(crate) pin: bool,
    pub(crate) deferred: bool,
    pub(crate) encrypt: bool,
    pub(crate) level: Level,
}

impl UploadHeaders {
    pub(crate) fn read(headers: &HeaderMap, default_level: Level) -> Result<Self, Refusal> {
        if flag(headers, "swarm-act")?.unwrap_or(false) {
            return Err(Refusal::new(
                StatusCode::NOT_IMPLEMENTED,
                "access control (swarm-act) needs a node of the Swarm network",
            ));
        }
        Ok(Self {
            batch: batch(headers)?,
            tag: tag(headers)?,
            pin: flag(headers, "swarm-pin")?.unwrap_or(false),
            deferred: flag(headers, "swarm-deferred-upload")?.unwrap_or(true),
            encrypt: flag(headers, "swarm-encrypt")?.unwrap_or(false),
            level: level(headers)?.unwrap_or(default_level),
        })
    }
}

/// The batch that an upload names.
pub(crate) fn batch(headers: &HeaderMap) -> Result<BatchId, Refusal> {
    let field = "swarm-postage-batch-id";
    let value = text(headers, field)?.ok_or_else(|| Refusal::parameter("header", field, "want required:"))?;
    value.parse().map_err(|_| Refusal::parameter("header", field, "invalid batch id: 64 hexadecimal digits are wanted"))
}

/// The tag that an upload belongs to; 0 for none.
pub(crate) fn tag(headers: &HeaderMap) -> Result<u64, Refusal> {
    match text(headers, "swarm-tag")? {
        None => Ok(0),
        Some(value) => value.parse().map_err(|_| Refusal::parameter("header", "swarm-tag", "invalid syntax")),
    }
}

/// The redundancy level, if it is given.
pub(crate) fn level(headers: &HeaderMap) -> Result<Option<Level>, Refusal> {
    let field = "swarm-redundancy-level";
    let Some(value) = text(headers, field)? else { return Ok(None) };
    let level = value.parse::<u8>().ok().and_then(Level::from_number);
    level.map(Some).ok_or_else(|| Refusal::parameter("header", field, "want redundancy level to be between 0 and 4"))
}

/// A yes or no, in the words that Go takes.
pub(crate) fn flag(headers: &HeaderMap, field: &str) -> Result<Option<bool>, Refusal> {
    match text(headers, field)? {
        None | Some("") => Ok(None),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
        Some(_) => Err(Refusal::parameter("header", field, "invalid syntax")),
    }
}

/// A header as text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, field: &str) -> Result<Option<&'a str>, Refusal> {
    let value = headers.get(field).map(|value| value.to_str());
    value.transpose().map_err(|_| Refusal::parameter("header", field, "not text"))
}

/// A reference in a path.
pub(crate) fn reference(text: &str) -> Result<AnyReference, Refusal> {
    let wrong = || Refusal::parameter("path", "address", "invalid reference: 64 or 128 hexadecimal digits are wanted");
    if text.len() > REFERENCE_CHARS_MAX {
        return Err(wrong());
    }
    text.parse().map_err(|_| wrong())
}

/// axum's `Query`, that refuses in Bee's words.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = extract::Query::from_request_parts(parts, state).await;
        read.map(|extract::Query(query)| Self(query)).map_err(|wrong| {
            let text = wrong.source().map_or_else(|| wrong.body_text(), ToString::to_string);
            let (field, error) = text.split_once(": ").unwrap_or(("query", &text));
            Refusal::parameter("query", field, error)
        })
    }
}

/// axum's `Path`, that refuses in Bee's words.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = extract::Path::from_request_parts(parts, state).await;
        read.map(|extract::Path(path)| Self(path))
            .map_err(|wrong| Refusal::parameter("path", "path", wrong.body_text()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_left_out_has_bees_defaults() {
        let id = "ab".repeat(32);
        let read = UploadHeaders::read(&headers(&[("swarm-postage-batch-id", &id)]), Level::Medium).unwrap();
        assert_eq!(
            (read.tag, read.pin, read.deferred, read.encrypt, read.level),
            (0, false, true, false, Level::Medium)
        );
        let zero = headers(&[("swarm-postage-batch-id", &id), ("swarm-redundancy-level", "0"), ("swarm-pin", "True")]);
        let read = UploadHeaders::read(&zero, Level::Medium).unwrap();
        assert_eq!((read.level, read.pin), (Level::None, true));
    }

    #[test]
    fn wrong_values_are_named() {
        let id = "ab".repeat(32);
        for (name, value) in [
            ("swarm-redundancy-level", "5"),
            ("swarm-pin", "yes"),
            ("swarm-tag", "-1"),
            ("swarm-postage-batch-id", "ab"),
        ] {
            let mut given = headers(&[("swarm-postage-batch-id", &id)]);
            given.insert(name, value.parse().unwrap());
            let refusal = serde_json::to_string(&UploadHeaders::read(&given, Level::None).unwrap_err()).unwrap();
            assert!(refusal.contains(name) && refusal.contains("invalid header params"), "{refusal}");
        }
    }
}
