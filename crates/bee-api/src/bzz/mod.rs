//! `/bzz`: files with a name, and folders, behind one reference of a manifest.

mod archive;
mod download;
mod folder;
mod upload;

pub(crate) use download::{get, get_root, redirect};
pub(crate) use upload::post;

/// The path of a manifest's own metadata.
const ROOT: &str = "/";
/// What to show for a folder.
const INDEX: &str = "website-index-document";
/// What to show for a path that is not there.
const ERROR: &str = "website-error-document";
const CONTENT_TYPE: &str = "Content-Type";
const FILENAME: &str = "Filename";
