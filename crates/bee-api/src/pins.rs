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
use crate::look::LookError;
use crate::refusal::{Refusal, json, plain};

/// What Bee says when something could not be pinned.
pub(crate) const FAILED: &str = "pin collection failed";

type Answer = Result<Response<Body>, Refusal>;

/// `POST /pins/{reference}`.
pub(crate) async fn post(State(hive): State<Arc<Hive>>, Path(reference): Path<String>) -> Answer {
    let root = headers::reference(&reference)?;
    let is_new = pin(&hive, root).await.map_err(|error| error.refusal(FAILED))?;
    Ok(plain(if is_new { StatusCode::CREATED } else { StatusCode::OK }))
}

/// `DELETE /pins/{reference}`.
pub(crate) async fn delete(State(hive): State<Arc<Hive>>, Path(reference): Path<String>) -> Answer {
    let address = headers::reference(&reference)?.address();
    let was_pinned = unpin(&hive, address).await.map_err(|error| error.refusal("unpin collection failed"))?;
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
pub(crate) async fn pin(hive: &Hive, root: AnyReference) -> Result<bool, LookError> {
    let turn = hive.pin_turn(root.address()).await?;
    if hive.on_store(move |store| store.is_pinned(&root.address())).await? {
        return Ok(false);
    }
    let below = hive.below(root).await?;
    let pinned = hive.on_store(move |store| {
        let _turn = turn;
        let pinned = pin_all(store, root, &below.references);
        if pinned.is_err() {
            let_go(store, root.address());
        }
        pinned
    });
    Ok(pinned.await?)
}

fn pin_all(store: &ChunkStore, root: AnyReference, below: &[AnyReference]) -> Result<bool, StoreError> {
    let holder = holder_of(root.address());
    for reference in below {
        store.hold_tree(&holder, reference)?;
    }
    store.pin_tree(&root)
}

/// Ends what was held for a pin that was not set. If that fails, the next start does it.
fn let_go(store: &ChunkStore, root: Reference) {
    if let Err(error) = store.release_owner_to_cache(&holder_of(root)) {
        tracing::warn!(%error, "what was held for a pin that could not be set is still held");
    }
}

/// Ends a pin and then what was held for it: if the second fails, the next start does it. Tells whether there was a pin.
async fn unpin(hive: &Hive, root: Reference) -> Result<bool, LookError> {
    let turn = hive.pin_turn(root).await?;
    let ended = hive.on_store(move |store| {
        let _turn = turn;
        let was_pinned = store.unpin(&root)?;
        store.release_owner_to_cache(&holder_of(root))?;
        Ok::<_, StoreError>(was_pinned)
    });
    Ok(ended.await?)
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
    use std::time::Duration;

    use manyhands_blob::manifest::{Entry, Manifest, Metadata};
    use manyhands_blob::redundancy::Level;

    use super::*;
    use crate::hive::{FOLDERS_MAX, HiveOptions};

    fn hive() -> (tempfile::TempDir, Arc<Hive>) {
        let folder = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&folder.path().join("chunks.redb"), 1 << 24).unwrap();
        let options = HiveOptions { folder: folder.path().to_owned(), level: Level::None, bytes_max: 1 << 20 };
        (folder, Arc::new(Hive::open(store, options).unwrap()))
    }

    fn put(store: &ChunkStore, bytes: &[u8]) -> Result<AnyReference, LookError> {
        let blob = store.put_tree(&Owner::cut("batch"), bytes, 1 << 20, Level::None)?;
        Ok(AnyReference::Plain(blob.reference))
    }

    fn folder_of(store: &ChunkStore, files: &[(&str, AnyReference)]) -> AnyReference {
        let mut manifest = Manifest::new(false);
        for (path, file) in files {
            manifest.add(path.as_bytes(), Entry { reference: Some(*file), metadata: Metadata::default() }).unwrap();
        }
        manifest.store(&mut |_: &mut [u8]| {}, &mut |node| put(store, node)).unwrap()
    }

    #[tokio::test]
    async fn a_pin_that_cannot_be_set_holds_nothing() {
        let (_folder, hive) = hive();
        let store = &hive.store;
        let gone = put(store, &[7; 5000]).unwrap();
        let root = folder_of(store, &[("a", put(store, b"here").unwrap()), ("b", gone)]);
        store.discard(&gone.address()).unwrap();
        let error = pin(&hive, root).await.unwrap_err();
        assert!(error.is_absence(), "{error}");
        let owners: Vec<Owner> = store.owners().unwrap().into_iter().collect();
        assert_eq!((owners, store.pins().unwrap()), (vec![Owner::cut("batch")], vec![]));
        put(store, &[7; 5000]).unwrap();
        assert!(pin(&hive, root).await.unwrap());
        assert!(!pin(&hive, root).await.unwrap());
        clear_up(store).unwrap();
        assert!(store.owners().unwrap().contains(&holder_of(root.address())), "it is pinned");
    }

    #[tokio::test]
    async fn what_is_no_folder_does_not_wait_for_folders() {
        let (_folder, hive) = hive();
        let mut turns = Vec::new();
        for _ in 0..FOLDERS_MAX {
            turns.push(hive.folder_turn().await.unwrap());
        }
        let file = put(&hive.store, &[7; 5000]).unwrap();
        assert!(pin(&hive, file).await.unwrap());
        let folder = folder_of(&hive.store, &[("a", file)]);
        let mut waiting = std::pin::pin!(pin(&hive, folder));
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "all turns are taken");
        turns.clear();
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_pin_waits_for_those_of_its_own_root_only() {
        let (_folder, hive) = hive();
        let [one, other] = [1, 2].map(|byte| put(&hive.store, &[byte; 5000]).unwrap());
        let turn = hive.pin_turn(one.address()).await.unwrap();
        assert!(pin(&hive, other).await.unwrap() && unpin(&hive, other.address()).await.unwrap());
        let mut waiting = std::pin::pin!(pin(&hive, one));
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err());
        drop(turn);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn what_is_to_be_pinned_has_its_turn_of_folders_until_it_is() {
        let (_folder, hive) = hive();
        let folder = folder_of(&hive.store, &[("a", put(&hive.store, &[7; 5000]).unwrap())]);
        let below = hive.below(folder).await.unwrap();
        let mut turns = Vec::new();
        for _ in 1..FOLDERS_MAX {
            turns.push(hive.folder_turn().await.unwrap());
        }
        let mut waiting = std::pin::pin!(hive.folder_turn());
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err());
        drop(below);
        drop(waiting.await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn who_pins_and_who_unpins_the_same_folder_do_not_undo_each_other_by_halves() {
        let (_folder, hive) = hive();
        let names: Vec<String> = (b'a'..=b'l').map(|name| char::from(name).to_string()).collect();
        let files: Vec<(&str, AnyReference)> =
            names.iter().map(|name| (name.as_str(), put(&hive.store, name.as_bytes()).unwrap())).collect();
        let root = folder_of(&hive.store, &files);
        let all = hive.below(root).await.unwrap().references.len();
        assert!(all >= files.len());
        for _ in 0..12 {
            let spawn_pin = || {
                let hive = Arc::clone(&hive);
                tokio::spawn(async move { pin(&hive, root).await.map(drop) })
            };
            let spawn_unpin = || {
                let hive = Arc::clone(&hive);
                tokio::spawn(async move { unpin(&hive, root.address()).await.map(drop) })
            };
            for done in [spawn_pin(), spawn_unpin(), spawn_pin(), spawn_unpin(), spawn_pin()] {
                done.await.unwrap().unwrap();
            }
            let is_pinned = hive.store.is_pinned(&root.address()).unwrap();
            let held = hive.store.held_roots(&holder_of(root.address())).unwrap().len();
            assert_eq!(held, if is_pinned { all } else { 0 }, "pinned: {is_pinned}");
        }
    }
}
