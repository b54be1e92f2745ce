//! Folders: a tar becomes a manifest with an entry for each of its files.

use std::io::Read as _;

use axum::http::HeaderMap;
use manyhands_blob::manifest::{Manifest, PATH_BYTES_MAX};
use manyhands_blob::{AnyReference, ChunkStore};
use tar::{Archive, EntryType};

use super::upload::{NO_MULTIPART, PutError, about, broken, file_entry, store_manifest};
use super::{ERROR, INDEX, ROOT};
use crate::headers;
use crate::refusal::Refusal;
use crate::spool::Spooled;
use crate::upload::Shelf;

/// Files of one folder.
const FILES_MAX: usize = 100_000;

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
}

pub(super) fn no_multipart() -> Refusal {
    Refusal::new(NO_MULTIPART, "folders are taken as a tar (content-type application/x-tar), not as a form")
}

/// Stores the files of a tar and a manifest of them.
pub(super) fn put(
    store: &ChunkStore,
    shelf: &Shelf,
    spooled: Spooled,
    documents: &Documents,
) -> Result<AnyReference, PutError> {
    let mut archive = Archive::new(spooled.into_reader().map_err(broken)?);
    let mut manifest = Manifest::new(shelf.encrypt);
    let not_a_tar = |error: std::io::Error| PutError::folder(format!("the tar cannot be read: {error}"));
    let mut count = 0;
    for entry in archive.entries().map_err(not_a_tar)? {
        let mut entry = entry.map_err(not_a_tar)?;
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            continue;
        }
        count += 1;
        if count > FILES_MAX {
            return Err(PutError::folder(format!("the folder has more than {FILES_MAX} files")));
        }
        let path = clean(&entry.path_bytes())?;
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let size_bytes = entry.size();
        let file = shelf.put(store, entry.by_ref().take(size_bytes))?;
        let content_type = content_type(&name);
        manifest.add(path.as_bytes(), file_entry(file, name, content_type.to_owned()))?;
    }
    if count == 0 {
        return Err(PutError::folder("no files in root directory"));
    }
    let index = documents.index.clone().map(|index| (INDEX, index));
    let error = documents.error.clone().map(|error| (ERROR, error));
    match (index, error) {
        (Some(index), Some(error)) => manifest.add(ROOT.as_bytes(), about([index, error]))?,
        (Some(only), None) | (None, Some(only)) => manifest.add(ROOT.as_bytes(), about([only]))?,
        (None, None) => {}
    }
    store_manifest(store, shelf, manifest)
}

/// A file's path without dots and doubled slashes, as Bee has it in the manifest.
fn clean(path: &[u8]) -> Result<String, PutError> {
    let text = std::str::from_utf8(path).map_err(|_| PutError::folder("a file's path is not UTF-8"))?;
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || text.starts_with('/') {
        return Err(PutError::folder(format!("a file's path leads out of the folder: {text:.200?}")));
    }
    if parts.is_empty() || text.len() > PATH_BYTES_MAX {
        return Err(PutError::folder(format!("a file's path has 1 to {PATH_BYTES_MAX} bytes")));
    }
    Ok(parts.join("/"))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_cleaned_and_never_lead_out() {
        assert_eq!(clean(b"./img//1.png").unwrap(), "img/1.png");
        assert_eq!(clean(b"a/./b/").unwrap(), "a/b");
        for wrong in [&b"../x"[..], b"a/../../x", b"/etc/passwd", b"", b".", b"\xff"] {
            assert!(clean(wrong).is_err(), "{wrong:?}");
        }
    }
}
