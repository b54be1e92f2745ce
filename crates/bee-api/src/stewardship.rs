//! `/stewardship`: whether all of something is there, and putting it on a batch anew.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use manyhands_blob::{AnyReference, ChunkStore, Owner, shape};
use serde::Serialize;

use crate::batches::BatchId;
use crate::headers::{self, Path};
use crate::hive::{Hive, aside};
use crate::look::{LookError, below, open_tree};
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
    let (root, bytes_max) = (headers::reference(&reference)?, hive.options.bytes_max);
    let found = hive.on_manifest(move |store| check(store, root, bytes_max)).await;
    let is_retrievable = found.map_err(|error| error.refusal("stewardship check failed"))?.is_some();
    Ok(json(StatusCode::OK, &Answered { is_retrievable }))
}

/// `PUT /stewardship/{reference}`: has the batch hold what is here.
pub(crate) async fn put(State(hive): State<Arc<Hive>>, Path(reference): Path<String>, headers: HeaderMap) -> Answer {
    let (root, bytes_max) = (headers::reference(&reference)?, hive.options.bytes_max);
    let batch = headers::batch(&headers)?;
    hive.on_book(move |book| book.usable(batch, 1)).await?;
    let size_bytes = hive.on_manifest(move |store| check(store, root, bytes_max)).await;
    let size_bytes = size_bytes.map_err(|error| error.refusal(NOT_HERE))?;
    let size_bytes = size_bytes.ok_or_else(|| Refusal::not_found(NOT_HERE))?;
    hive.on_book(move |book| book.stamp(batch, shape::chunk_count(size_bytes))).await?;
    let (store, book) = (hive.store.clone(), Arc::clone(&hive.batches));
    let turn = hive.manifest_turn().await.map_err(|error| LookError::from(error).refusal(NOT_HERE))?;
    let held = aside(move || {
        let _turn = turn;
        let held = hold(&store, batch, root).map_err(|error| error.refusal(NOT_HERE));
        still_holds(&store, &book, batch).and(held)
    });
    held.await??;
    Ok(plain(StatusCode::OK))
}

fn hold(store: &ChunkStore, batch: BatchId, root: AnyReference) -> Result<(), LookError> {
    for reference in below(store, root)?.into_iter().chain([root]) {
        store.hold_tree(&Owner::from(batch), &reference)?;
    }
    Ok(())
}

/// Reads a tree and, if it is a manifest, all that it leads to. Tells how many bytes that is, if all is there.
fn check(store: &ChunkStore, root: AnyReference, bytes_max: u64) -> Result<Option<u64>, LookError> {
    match read_all(store, root, bytes_max) {
        Ok(size_bytes) => Ok(Some(size_bytes)),
        Err(error) if error.is_absence() => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_all(store: &ChunkStore, root: AnyReference, bytes_max: u64) -> Result<u64, LookError> {
    let mut size_bytes = 0_u64;
    for reference in below(store, root)?.into_iter().chain([root]) {
        let mut reader = open_tree(store, reference, bytes_max)?;
        while reader.next_piece()?.is_some() {}
        size_bytes = size_bytes.saturating_add(reader.size_bytes().unwrap_or_default());
    }
    Ok(size_bytes)
}
