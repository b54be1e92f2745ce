//! `/pins`: what stays whatever its batch does. A pinned manifest keeps its nodes and its files with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use manyhands_blob::{AnyReference, ChunkStore, Owner, StoreError};
use manyhands_proto::Reference;
use serde::Serialize;

use crate::headers::{self, Path};
use crate::hive::Hive;
use crate::look::{LookError, below};
use crate::refusal::{Refusal, json, plain};

/// What Bee says when something could not be pinned.
pub(crate) const FAILED: &str = "pin collection failed";

type Answer = Result<Response<Body>, Refusal>;

/// `POST /pins/{reference}`.
pub(crate) async fn post(State(hive): State<Arc<Hive>>, Path(reference): Path<String>) -> Answer {
    let root = headers::reference(&reference)?;
    let is_new = hive.on_manifest(move |store| pin(store, root)).await.map_err(|error| error.refusal(FAILED))?;
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
pub(crate) fn pin(store: &ChunkStore, root: AnyReference) -> Result<bool, LookError> {
    if store.is_pinned(&root.address())? {
        return Ok(false);
    }
    let pinned = pin_all(store, root);
    if pinned.is_err() {
        let_go(store, root.address());
    }
    pinned
}

fn pin_all(store: &ChunkStore, root: AnyReference) -> Result<bool, LookError> {
    let holder = holder_of(root.address());
    for reference in below(store, root)? {
        store.hold_tree(&holder, &reference)?;
    }
    Ok(match root {
        AnyReference::Plain(reference) => store.pin(&reference)?,
        AnyReference::Encrypted(root) => store.pin_encrypted(&root)?,
    })
}

/// Ends what was held for a pin that was not set. If that fails, the next start does it.
fn let_go(store: &ChunkStore, root: Reference) {
    let released = store.is_pinned(&root).and_then(|is_pinned| {
        // Another call may have pinned it meanwhile; then it is that one's.
        if is_pinned { Ok(0) } else { store.release_owner_to_cache(&holder_of(root)) }
    });
    if let Err(error) = released {
        tracing::warn!(%error, "what was held for a pin that could not be set is still held");
    }
}

/// Ends what is held for pins that are not there: a crash came before they were set.
pub(crate) fn clear_up(store: &ChunkStore) -> Result<(), StoreError> {
    let pinned: BTreeSet<Owner> = store.pins()?.into_iter().map(holder_of).collect();
    for owner in store.owners()? {
        if owner.as_str().starts_with(HOLDER) && !pinned.contains(&owner) {
            store.release_owner_to_cache(&owner)?;
        }
    }
    Ok(())
}

/// Who holds what a pinned manifest leads to.
fn holder_of(root: Reference) -> Owner {
    Owner::cut(&format!("{HOLDER}{:.56}", root.to_string()))
}

/// How the names of those who hold what pinned manifests lead to begin.
const HOLDER: &str = "pin ";

#[cfg(test)]
mod tests {
    use manyhands_blob::manifest::{Entry, Manifest, Metadata};
    use manyhands_blob::redundancy::Level;

    use super::*;

    #[test]
    fn a_pin_that_cannot_be_set_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&folder.path().join("chunks.redb"), 1 << 24).unwrap();
        let batch = Owner::cut("batch");
        let put = |bytes: &[u8]| {
            let blob = store.put_tree(&batch, bytes, 1 << 20, Level::None)?;
            Ok::<_, LookError>(AnyReference::Plain(blob.reference))
        };
        let gone = put(&[7; 5000]).unwrap();
        let mut manifest = Manifest::new(false);
        for (path, file) in [("a", put(b"here").unwrap()), ("b", gone)] {
            manifest.add(path.as_bytes(), Entry { reference: Some(file), metadata: Metadata::default() }).unwrap();
        }
        let root = manifest.store(&mut |_: &mut [u8]| {}, &mut |node| put(node)).unwrap();
        store.discard(&gone.address()).unwrap();
        let error = pin(&store, root).unwrap_err();
        assert!(error.is_absence(), "{error}");
        let owners: Vec<Owner> = store.owners().unwrap().into_iter().collect();
        assert_eq!((owners, store.pins().unwrap()), (vec![batch.clone()], vec![]));
        put(&[7; 5000]).unwrap();
        assert!(pin(&store, root).unwrap());
        assert!(!pin(&store, root).unwrap());
        clear_up(&store).unwrap();
        assert!(store.owners().unwrap().contains(&holder_of(root.address())), "it is pinned");
    }
}
