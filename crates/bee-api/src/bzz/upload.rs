//! Uploads to `/bzz`: one file, or a folder as a tar.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use manyhands_blob::manifest::{Entry, Manifest, ManifestError, Metadata};
use manyhands_blob::{AnyReference, ChunkStore, StoreError};
use serde::Deserialize;

use super::{CONTENT_TYPE, FILENAME, INDEX, ROOT, folder};
use crate::headers::{self, Query};
use crate::hive::{Hive, randomness};
use crate::refusal::Refusal;
use crate::spool::{Spooled, spool};
use crate::upload::{Shelf, Upload};

/// Longest name and content type that are taken, in bytes: both end up in one node.
const TEXT_BYTES_MAX: usize = 4096;

/// What a file is called.
#[derive(Debug, Deserialize)]
pub(crate) struct Name {
    #[serde(default)]
    name: String,
}

/// Why an upload is not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{0}")]
    Folder(String),
}

impl From<PutError> for Refusal {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Store(error) => Self::of_put(&error, "could not store file"),
            PutError::Manifest(error) => Self::bad(error.to_string()),
            PutError::Folder(message) => Self::bad(message),
        }
    }
}

/// `POST /bzz`.
pub(crate) async fn post(
    State(hive): State<Arc<Hive>>,
    Query(query): Query<Name>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    let content_type = headers::text(&headers, "content-type")?.unwrap_or_default().to_owned();
    if content_type.is_empty() {
        return Err(Refusal::parameter("header", "content-type", "want required:"));
    }
    if query.name.starts_with('/') {
        return Err(Refusal::parameter("query", "name", "want startsnotwith:/"));
    }
    if query.name.len() > TEXT_BYTES_MAX || content_type.len() > TEXT_BYTES_MAX {
        return Err(Refusal::bad(format!("a name and a content type have at most {TEXT_BYTES_MAX} bytes")));
    }
    let is_folder = headers::flag(&headers, "swarm-collection")?.unwrap_or(false);
    let documents = if is_folder { Some(folder::Documents::read(&headers, &content_type)?) } else { None };
    if !is_folder && content_type.starts_with("multipart/form-data") {
        return Err(folder::no_multipart());
    }
    let upload = Upload::begin(&hive, &headers).await?;
    let _turn = hive.turn().await?;
    let spooled = spool(&headers, body, hive.options.bytes_max, hive.folder(), &hive.store).await?;
    let folder_turn = if documents.is_some() { Some(hive.folder_turn().await?) } else { None };
    upload.pay(&hive, spooled.size_bytes).await?;
    let stored = upload.keep(&hive, move |store, shelf| {
        let _turn = folder_turn;
        Ok(match documents {
            Some(documents) => folder::put(store, shelf, spooled, documents)?,
            None => put_file(store, shelf, spooled, query.name, content_type)?,
        })
    });
    let root = stored.await?;
    upload.end(&hive, root).await
}

/// A file, and a manifest that has nothing else.
fn put_file(
    store: &ChunkStore,
    shelf: &Shelf,
    spooled: Spooled,
    name: String,
    content_type: String,
) -> Result<AnyReference, PutError> {
    let file = shelf.put(store, spooled.into_reader().map_err(broken)?)?;
    // Bee takes the reference for a file's name if it is given none.
    let name = if name.is_empty() { file.reveal() } else { name };
    let mut manifest = Manifest::new(shelf.encrypt);
    let about = Entry { reference: None, metadata: [(INDEX.to_owned(), name.clone())].into() };
    manifest.add(ROOT.as_bytes(), about)?;
    manifest.add(name.as_bytes(), file_entry(file, name.clone(), content_type))?;
    store_manifest(store, shelf, manifest)
}

/// A file with its name and type.
pub(super) fn file_entry(file: AnyReference, name: String, content_type: String) -> Entry {
    let metadata: Metadata = [(CONTENT_TYPE.to_owned(), content_type), (FILENAME.to_owned(), name)].into();
    Entry { reference: Some(file), metadata }
}

/// Stores a manifest's nodes in the same way as its files.
pub(super) fn store_manifest(store: &ChunkStore, shelf: &Shelf, manifest: Manifest) -> Result<AnyReference, PutError> {
    manifest.store(&mut |key: &mut [u8]| randomness(key), &mut |node| Ok(shelf.put(store, node)?))
}

pub(super) fn broken(source: io::Error) -> PutError {
    PutError::Store(StoreError::Source { source })
}

impl PutError {
    /// What is wrong with a folder that was sent.
    pub(super) fn folder(message: impl Into<String>) -> Self {
        Self::Folder(message.into())
    }
}

/// The status that says that only tars are taken.
pub(super) const NO_MULTIPART: StatusCode = StatusCode::UNSUPPORTED_MEDIA_TYPE;
