//! Folders: a tar becomes a manifest with an entry for each of its files.

use std::io::{Read as _, Seek as _, SeekFrom};

use axum::http::HeaderMap;
use manyhands_blob::manifest::{Entry, Manifest, Metadata, PATH_BYTES_MAX};
use manyhands_blob::{AnyReference, ChunkStore};

use super::archive::{self, Member};
use super::upload::{NO_MULTIPART, PutError, broken, file_entry, store_manifest};
use super::{ERROR, INDEX, ROOT};
use crate::headers;
use crate::refusal::Refusal;
use crate::spool::Spooled;
use crate::upload::Shelf;

/// What is shown for a folder, and for what is not there.
#[derive(Debug, Clone, Default)]
pub(super) struct Documents {
    index: Option<String>,
    error: Option<String>,
}

impl Documents {
    /// Reads the headers of a folder's upload.
    pub(super) fn read(headers: &HeaderMap, content_type: &str) -> Result<Self, Refusal> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/x-tar" => {}
            "multipart/form-data" => return Err(no_multipart()),
            _ => return Err(Refusal::bad("invalid content-type")),
        }
        let read = |field| {
            let text = headers::text(headers, field)?;
            Ok::<_, Refusal>(text.filter(|text| !text.is_empty()).map(str::to_owned))
        };
        let (index, error) = (read("swarm-index-document")?, read("swarm-error-document")?);
        if index.as_deref().is_some_and(|index| index.contains('/')) {
            return Err(Refusal::bad("index document suffix must not include slash character"));
        }
        if error.as_ref().is_some_and(|error| error.len() > PATH_BYTES_MAX) {
            return Err(Refusal::bad(format!("a path has at most {PATH_BYTES_MAX} bytes")));
        }
        Ok(Self { index, error })
    }

    /// What the manifest says of the whole folder, if anything.
    fn into_entry(self) -> Option<Entry> {
        let pairs = [(INDEX, self.index), (ERROR, self.error)];
        let metadata: Metadata = pairs.into_iter().filter_map(|(key, path)| Some((key.to_owned(), path?))).collect();
        (!metadata.is_empty()).then_some(Entry { reference: None, metadata })
    }
}

pub(super) fn no_multipart() -> Refusal {
    Refusal::new(NO_MULTIPART, "folders are taken as a tar (content-type application/x-tar), not as a form")
}

/// Stores the files of a tar and a manifest of them.
pub(super) fn put(
    store: &ChunkStore,
    shelf: &Shelf,
    spooled: Spooled,
    documents: Documents,
) -> Result<AnyReference, PutError> {
    let tar_bytes = spooled.size_bytes;
    let mut tar = spooled.into_reader().map_err(broken)?;
    let mut manifest = Manifest::new(shelf.encrypt);
    for Member { path, at, size_bytes } in archive::members(&mut tar, tar_bytes)? {
        tar.seek(SeekFrom::Start(at)).map_err(broken)?;
        let file = shelf.put(store, tar.by_ref().take(size_bytes))?;
        let name = path.rsplit('/').next().unwrap_or_default();
        manifest.add(path.as_bytes(), file_entry(file, name.to_owned(), content_type(name).to_owned()))?;
    }
    if let Some(about) = documents.into_entry() {
        manifest.add(ROOT.as_bytes(), about)?;
    }
    store_manifest(store, shelf, manifest)
}

/// What Go's own table says of an ending, and some that the tables of most systems add. Bee asks its system, so for
/// other endings its references depend on where it runs.
fn content_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "avif" => "image/avif",
        "css" => "text/css; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "gif" => "image/gif",
        "htm" | "html" => "text/html; charset=utf-8",
        "ico" => "image/vnd.microsoft.icon",
        "jpeg" | "jpg" => "image/jpeg",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "mp4" => "video/mp4",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        "webp" => "image/webp",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "xml" => "text/xml; charset=utf-8",
        "zip" => "application/zip",
        _ => "",
    }
}
