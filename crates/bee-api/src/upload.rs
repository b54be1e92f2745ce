//! What all uploads have in common: the batch that pays, the tag that counts, and the answer.

use std::io::Read;

use axum::body::Body;
use axum::http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use manyhands_blob::redundancy::Level;
use manyhands_blob::{AnyReference, ChunkStore, Owner, StoreError, shape};
use serde::Serialize;

use crate::headers::UploadHeaders;
use crate::hive::{Hive, randomness};
use crate::pins;
use crate::refusal::{Refusal, json};

/// An upload that may go ahead.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) headers: UploadHeaders,
    /// Its tag, if it has one.
    tag: Option<u64>,
}

/// How the trees of an upload are made, and who holds them.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    pub(crate) owner: Owner,
    pub(crate) level: Level,
    pub(crate) encrypt: bool,
    pub(crate) bytes_max: u64,
}

impl Upload {
    /// Looks at the batch and the tag before the body is read.
    pub(crate) async fn begin(hive: &Hive, headers: &HeaderMap) -> Result<Self, Refusal> {
        let headers = UploadHeaders::read(headers, hive.options.level)?;
        let batch = headers.batch;
        hive.on_book(move |book| book.usable(batch, 1)).await?;
        let tag = match headers.tag {
            0 if headers.deferred || headers.pin => Some(hive.tags.create().uid()),
            0 => None,
            uid => Some(hive.tags.get(uid).ok_or_else(|| Refusal::not_found("tag not found"))?.uid()),
        };
        Ok(Self { headers, tag })
    }

    pub(crate) fn shelf(&self, hive: &Hive) -> Shelf {
        let UploadHeaders { batch, level, encrypt, .. } = self.headers;
        Shelf { owner: Owner::from(batch), level, encrypt, bytes_max: hive.options.bytes_max }
    }

    /// Has the batch pay for `size_bytes`.
    pub(crate) async fn pay(&self, hive: &Hive, size_bytes: u64) -> Result<(), Refusal> {
        let (batch, chunks) = (self.headers.batch, shape::chunk_count(size_bytes));
        hive.on_book(move |book| book.stamp(batch, chunks)).await?;
        if let Some(tag) = self.tag {
            hive.tags.add(tag, chunks, None);
        }
        Ok(())
    }

    /// Pins what was stored, if that was asked for, and answers.
    pub(crate) async fn end(&self, hive: &Hive, root: AnyReference) -> Result<Response<Body>, Refusal> {
        if self.headers.pin {
            let pinned = hive.on_store(move |store| pins::pin(store, root)).await;
            pinned.map_err(|error| error.refusal(pins::FAILED))?;
        }
        if let Some(tag) = self.tag {
            hive.tags.add(tag, 0, Some(root.address()));
        }
        let mut answer = stored(root);
        let headers = answer.headers_mut();
        if let Some(tag) = self.tag {
            headers.insert(HeaderName::from_static("swarm-tag"), HeaderValue::from(tag));
        }
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Swarm-Tag"));
        if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", root.reveal())) {
            headers.insert(ETAG, tag);
        }
        Ok(answer)
    }
}

impl Shelf {
    /// Stores what `reader` gives as one tree.
    pub(crate) fn put(&self, store: &ChunkStore, reader: impl Read) -> Result<AnyReference, StoreError> {
        if self.encrypt {
            let root = store.put_encrypted_tree(&self.owner, reader, self.bytes_max, self.level, randomness)?;
            return Ok(AnyReference::Encrypted(root));
        }
        let blob = store.put_tree(&self.owner, reader, self.bytes_max, self.level)?;
        Ok(AnyReference::Plain(blob.reference))
    }
}

/// The answer to whatever was stored: its reference.
pub(crate) fn stored(root: AnyReference) -> Response<Body> {
    #[derive(Serialize)]
    struct Stored {
        reference: String,
    }
    json(StatusCode::CREATED, &Stored { reference: root.reveal() })
}
