//! `/pins`: what stays whatever its batch does. A pinned manifest keeps its nodes and its files with it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use manyhands_blob::manifest::{self, ManifestError, NODE_BYTES_MAX};
use manyhands_blob::{AnyReference, ChunkStore, Owner, StoreError};
use manyhands_proto::Reference;
use serde::Serialize;

use crate::headers::{self, Path};
use crate::hive::{Hive, read_tree};
use crate::refusal::{Refusal, json, plain};

/// Nodes and files of a manifest that are followed.
const REFERENCES_MAX: usize = 100_000;

type Answer = Result<Response<Body>, Refusal>;

/// Why something is not pinned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl From<PinError> for Refusal {
    fn from(error: PinError) -> Self {
        match error {
            PinError::Store(StoreError::Incomplete { .. } | StoreError::NotFound { .. }) => {
                Self::not_found("pin collection failed")
            }
            PinError::Store(error) => Self::of_put(&error, "pin collection failed"),
            PinError::Manifest(error) => Self::bad(format!("pin collection failed: {error}")),
        }
    }
}

/// `POST /pins/{reference}`.
pub(crate) async fn post(State(hive): State<Arc<Hive>>, Path(reference): Path<String>) -> Answer {
    let root = headers::reference(&reference)?;
    let is_new = hive.on_store(move |store| pin(store, root)).await?;
    Ok(plain(if is_new { StatusCode::CREATED } else { StatusCode::OK }))
}

/// `DELETE /pins/{reference}`.
pub(crate) async fn delete(State(hive): State<Arc<Hive>>, Path(reference): Path<String>) -> Answer {
    let address = headers::reference(&reference)?.address();
    let was_pinned = hive.on_store(move |store| {
        store.release_owner_to_cache(&holder_of(address))?;
        store.unpin(&address)
    });
    let was_pinned = was_pinned.await.map_err(|error: StoreError| Refusal::broken(error.to_string()))?;
    if was_pinned { Ok(plain(StatusCode::OK)) } else { Err(Refusal::not_found("Not Found")) }
}

/// `GET /pins/{reference}`.
pub(crate) async fn get(State(hive): State<Arc<Hive>>, Path(reference): Path<String>) -> Answer {
    #[derive(Serialize)]
    struct Pin {
        reference: String,
    }
    let root = headers::reference(&reference)?;
    let is_pinned = hive.on_store(move |store| store.is_pinned(&root.address())).await;
    if is_pinned.map_err(|error: StoreError| Refusal::broken(error.to_string()))? {
        return Ok(json(StatusCode::OK, &Pin { reference: root.reveal() }));
    }
    Err(Refusal::not_found("Not Found"))
}

/// `GET /pins`.
pub(crate) async fn list(State(hive): State<Arc<Hive>>) -> Answer {
    #[derive(Serialize)]
    struct Pins {
        references: Vec<String>,
    }
    let pins = hive.on_store(ChunkStore::pins).await.map_err(|error: StoreError| Refusal::broken(error.to_string()))?;
    Ok(json(StatusCode::OK, &Pins { references: pins.iter().map(Reference::to_string).collect() }))
}

/// Pins a tree and, if it is a manifest, all that it leads to. Tells whether it was not pinned before.
pub(crate) fn pin(store: &ChunkStore, root: AnyReference) -> Result<bool, PinError> {
    if store.is_pinned(&root.address())? {
        return Ok(false);
    }
    let holder = holder_of(root.address());
    for reference in below(store, root)? {
        if let Err(error) = store.hold_tree(&holder, &reference) {
            store.release_owner_to_cache(&holder)?;
            return Err(error.into());
        }
    }
    Ok(match root {
        AnyReference::Plain(reference) => store.pin(&reference)?,
        AnyReference::Encrypted(root) => store.pin_encrypted(&root)?,
    })
}

/// All that the manifest `root` leads to, itself not included; nothing if it is no manifest.
pub(crate) fn below(store: &ChunkStore, root: AnyReference) -> Result<Vec<AnyReference>, PinError> {
    let mut load = |reference| Ok::<_, PinError>(read_tree(store, reference, NODE_BYTES_MAX)?);
    let is_manifest = match load(root) {
        Ok(bytes) => manifest::is_node(&bytes),
        // Too large for a node, or not there; whether it can be kept is another question.
        Err(_) => false,
    };
    if !is_manifest {
        return Ok(Vec::new());
    }
    let (nodes, files) = manifest::references(root, REFERENCES_MAX, &mut load)?;
    Ok(nodes.into_iter().skip(1).chain(files).collect())
}

/// Who holds what a pinned manifest leads to.
fn holder_of(root: Reference) -> Owner {
    Owner::cut(&format!("pin {:.56}", root.to_string()))
}
