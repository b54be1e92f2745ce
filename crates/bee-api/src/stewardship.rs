//! `/stewardship`: whether all of something is there, and putting it on a batch anew.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use manyhands_blob::{AnyReference, ChunkStore, Owner, StoreError, shape};
use serde::Serialize;

use crate::headers::{self, Path};
use crate::hive::{Hive, open_tree};
use crate::pins::{PinError, below};
use crate::refusal::{Refusal, json, plain};

type Answer = Result<Response<Body>, Refusal>;

/// `GET /stewardship/{reference}`: reads all of it, so it takes a second for each 100 MB.
pub(crate) async fn get(State(hive): State<Arc<Hive>>, Path(reference): Path<String>) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answered {
        is_retrievable: bool,
    }
    let (root, bytes_max) = (headers::reference(&reference)?, hive.options.bytes_max);
    let is_retrievable = hive.on_store(move |store| check(store, root, bytes_max)).await?.is_some();
    Ok(json(StatusCode::OK, &Answered { is_retrievable }))
}

/// `PUT /stewardship/{reference}`: has the batch hold what is here.
pub(crate) async fn put(State(hive): State<Arc<Hive>>, Path(reference): Path<String>, headers: HeaderMap) -> Answer {
    let (root, bytes_max) = (headers::reference(&reference)?, hive.options.bytes_max);
    let batch = headers::batch(&headers)?;
    hive.batches.usable(batch, 1)?;
    let size_bytes = hive.on_store(move |store| check(store, root, bytes_max)).await?;
    let size_bytes = size_bytes.ok_or_else(|| Refusal::not_found("locally stored content not found"))?;
    hive.on_book(move |book| book.stamp(batch, shape::chunk_count(size_bytes))).await?;
    let held = hive.on_store(move |store| {
        for reference in below(store, root)?.into_iter().chain([root]) {
            store.hold_tree(&Owner::from(batch), &reference)?;
        }
        Ok::<_, PinError>(())
    });
    held.await?;
    Ok(plain(StatusCode::OK))
}

/// Reads a tree and, if it is a manifest, all that it leads to. Tells how many bytes that is, if all is there.
fn check(store: &ChunkStore, root: AnyReference, bytes_max: u64) -> Result<Option<u64>, PinError> {
    let references = match below(store, root) {
        Ok(references) => references,
        Err(_) => return Ok(None),
    };
    let mut size_bytes = 0_u64;
    for reference in references.into_iter().chain([root]) {
        let read = open_tree(store, reference, bytes_max).and_then(|mut reader| {
            while reader.next_piece()?.is_some() {}
            Ok(reader.size_bytes().unwrap_or_default())
        });
        match read {
            Ok(bytes) => size_bytes = size_bytes.saturating_add(bytes),
            Err(StoreError::NotFound { .. } | StoreError::Malformed { .. } | StoreError::Corrupt { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(size_bytes))
}
