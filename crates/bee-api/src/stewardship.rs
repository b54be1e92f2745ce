//! `/stewardship`: whether all of something is there, and putting it on a batch anew.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use manyhands_blob::{AnyReference, ChunkStore, Owner, StoreError, shape};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::batches::BatchId;
use crate::headers::{self, Path};
use crate::hive::{Hive, aside};
use crate::look::{LookError, open_tree};
use crate::refusal::{Refusal, json, plain};
use crate::upload::still_holds;

const NOT_HERE: &str = "locally stored content not found";

type Answer = Result<Response<Body>, Refusal>;

/// `GET /stewardship/{reference}`: reads all of it, so it takes a second for each 100 MB.
pub(crate) async fn get(State(hive): State<Arc<Hive>>, Path(reference): Path<String>) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answered {
        is_retrievable: bool,
    }
    let found = check(&hive, headers::reference(&reference)?).await;
    let is_retrievable = found.map_err(|error| error.refusal("stewardship check failed"))?.is_some();
    Ok(json(StatusCode::OK, &Answered { is_retrievable }))
}

/// `PUT /stewardship/{reference}`: has the batch hold what is here.
pub(crate) async fn put(State(hive): State<Arc<Hive>>, Path(reference): Path<String>, headers: HeaderMap) -> Answer {
    let root = headers::reference(&reference)?;
    let batch = headers::batch(&headers)?;
    hive.on_book(move |book| book.usable(batch, 1)).await?;
    let whole = check(&hive, root).await.map_err(|error| error.refusal(NOT_HERE))?;
    let Whole { trees, size_bytes, turn } = whole.ok_or_else(|| Refusal::not_found(NOT_HERE))?;
    hive.on_book(move |book| book.stamp(batch, shape::chunk_count(size_bytes))).await?;
    let (store, book) = (hive.store.clone(), Arc::clone(&hive.batches));
    let held = aside(move || {
        let _turn = turn;
        let held = hold(&store, batch, &trees).map_err(|error| LookError::from(error).refusal(NOT_HERE));
        still_holds(&store, &book, batch).and(held)
    });
    held.await??;
    Ok(plain(StatusCode::OK))
}

fn hold(store: &ChunkStore, batch: BatchId, trees: &[AnyReference]) -> Result<(), StoreError> {
    for reference in trees {
        store.hold_tree(&Owner::from(batch), reference)?;
    }
    Ok(())
}

/// Something that is here with all that it leads to.
struct Whole {
    /// What it leads to, and last itself.
    trees: Vec<AnyReference>,
    size_bytes: u64,
    /// Its turn: the references of a large folder take as much memory as its manifest.
    turn: OwnedSemaphorePermit,
}

/// Reads a tree and, if it is a manifest, all that it leads to; none if something of it is not here.
async fn check(hive: &Hive, root: AnyReference) -> Result<Option<Whole>, LookError> {
    match read_all(hive, root).await {
        Ok(whole) => Ok(Some(whole)),
        Err(error) if error.is_absence() => {
            error.note();
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn read_all(hive: &Hive, root: AnyReference) -> Result<Whole, LookError> {
    let bytes_max = hive.options.bytes_max;
    let turn = hive.walk_turn().await?;
    let mut trees = hive.below(root).await?.references;
    trees.push(root);
    let read = hive.on_store(move |store| {
        let mut size_bytes = 0_u64;
        for reference in &trees {
            let mut reader = open_tree(store, *reference, bytes_max)?;
            while reader.next_piece()?.is_some() {}
            size_bytes = size_bytes.saturating_add(reader.size_bytes().unwrap_or_default());
        }
        Ok(Whole { trees, size_bytes, turn })
    });
    read.await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use manyhands_blob::redundancy::Level;

    use super::*;
    use crate::hive::{HiveOptions, WALKS_MAX};

    #[tokio::test]
    async fn not_everything_is_read_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&folder.path().join("chunks.redb"), 1 << 24).unwrap();
        let options = HiveOptions { folder: folder.path().to_owned(), level: Level::None, bytes_max: 1 << 20 };
        let hive = Hive::open(store, options).unwrap();
        let blob = hive.store.put_tree(&Owner::cut("batch"), &[7_u8; 5000][..], 1 << 20, Level::None).unwrap();
        let root = AnyReference::Plain(blob.reference);
        let mut read = Vec::new();
        for _ in 0..WALKS_MAX {
            read.push(check(&hive, root).await.unwrap().unwrap());
        }
        let mut waiting = std::pin::pin!(check(&hive, root));
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "all turns are taken");
        read.pop();
        assert_eq!(waiting.await.unwrap().unwrap().size_bytes, 5000);
    }
}
