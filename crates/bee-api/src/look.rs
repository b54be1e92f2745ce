//! Reading trees and manifests that are in the store, and telling what is not here from what cannot be read.

use manyhands_blob::manifest::{self, ManifestError, NODE_BYTES_MAX};
use manyhands_blob::store::TreeReader;
use manyhands_blob::{AnyReference, ChunkStore, StoreError};

use crate::hive::Busy;
use crate::refusal::{Refusal, note_absence};

/// Files of one folder.
pub(crate) const FILES_MAX: usize = 100_000;
/// Nodes and files of a manifest that are followed. No folder is taken that has more, so what was taken can be pinned; four for each file
/// leave every path 30 bytes that it shares with no other.
pub(crate) const REFERENCES_MAX: usize = 4 * FILES_MAX;

/// Why a tree or a manifest cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Busy(#[from] Busy),
}

impl LookError {
    /// Whether it means that there is nothing at the reference that could be read; else something failed.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Store(error) => error.is_absence(),
            Self::Manifest(error) => !matches!(error, ManifestError::TooMany { .. }),
            Self::Busy(_) => false,
        }
    }

    /// Writes down an absence that is answered without a refusal made of it.
    pub(crate) fn note(&self) {
        match self {
            Self::Store(error) => note_absence(error),
            Self::Manifest(error) => tracing::debug!(%error, "what is asked for is no manifest"),
            Self::Busy(_) => {}
        }
    }

    /// The refusal of a call that cannot go on without it. `message` is Bee's for the call.
    pub(crate) fn refusal(&self, message: &str) -> Refusal {
        match self {
            Self::Store(error) if error.is_absence() => {
                note_absence(error);
                Refusal::not_found(message)
            }
            Self::Store(error) => Refusal::of_put(error, message),
            Self::Manifest(error) => Refusal::bad(format!("{message}: {error}")),
            Self::Busy(busy) => (*busy).into(),
        }
    }
}

/// A reader of a tree of either kind.
pub(crate) fn open_tree(store: &ChunkStore, root: AnyReference, max_bytes: u64) -> Result<TreeReader, StoreError> {
    match root {
        AnyReference::Plain(reference) => store.tree_reader(&reference, max_bytes),
        AnyReference::Encrypted(root) => store.encrypted_tree_reader(&root, max_bytes),
    }
}

/// Reads a node of a manifest.
pub(crate) fn load_node(store: &ChunkStore, reference: AnyReference) -> Result<Vec<u8>, LookError> {
    let mut reader = open_tree(store, reference, NODE_BYTES_MAX)?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next_piece()? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Whether `root` is a manifest that can be read. What is not one may still be kept.
pub(crate) fn is_manifest(store: &ChunkStore, root: AnyReference) -> Result<bool, LookError> {
    match load_node(store, root) {
        Ok(bytes) => Ok(manifest::is_node(&bytes)),
        // Too large for a node, or not there; whether it can be kept is another question.
        Err(error) if error.is_absence() => Ok(false),
        Err(error) => Err(error),
    }
}

/// All that the manifest `root` leads to, itself not included. [`Hive::below`](crate::Hive) bounds how many are read at once.
pub(crate) fn below(store: &ChunkStore, root: AnyReference) -> Result<Vec<AnyReference>, LookError> {
    let (nodes, files) = manifest::references(root, REFERENCES_MAX, &mut |reference| load_node(store, reference))?;
    Ok(nodes.into_iter().skip(1).chain(files).collect())
}

#[cfg(test)]
mod tests {
    use manyhands_proto::Reference;

    use super::*;

    #[test]
    fn only_what_is_not_here_is_absent() {
        let reference = Reference([7; 32]);
        let io = || std::io::Error::other("the disk is gone");
        for error in [
            StoreError::NotFound { reference },
            StoreError::Corrupt { reference },
            StoreError::Incomplete { reference, missing: vec![reference], missing_count: 1 },
        ] {
            assert!(LookError::from(error).is_absence());
        }
        for error in [
            StoreError::Io { source: io() },
            StoreError::DiskFull { source: io() },
            StoreError::LowSpace { free_bytes: 1, floor_bytes: 2, missing_bytes: 1 },
            StoreError::Interrupted,
        ] {
            let error = LookError::from(error);
            assert!(!error.is_absence() && error.refusal("no").status().is_server_error(), "{error}");
        }
        let bad = LookError::from(ManifestError::TooMany { count_max: REFERENCES_MAX });
        assert!(!bad.is_absence() && bad.refusal("no").status().is_client_error());
    }
}
