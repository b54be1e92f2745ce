//! `/chunks` and `/soc`: single chunks, content-addressed or with an owner.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use manyhands_blob::chunk::{SPAN_BYTES, WIRE_BYTES_MAX};
use manyhands_blob::soc::{ID_BYTES, SIGNATURE_BYTES, SOC_BYTES_MAX, SingleOwnerChunk};
use manyhands_blob::{AnyChunk, AnyReference, Chunk, Owner};

use serde::Deserialize;

use crate::headers::{self, Path, Query};
use crate::hive::{Hive, aside};
use crate::pins;
use crate::refusal::Refusal;
use crate::spool::small;
use crate::upload::{still_holds, stored};

type Answer = Result<Response<Body>, Refusal>;

/// `POST /chunks`: span and payload, or a single-owner chunk if it is longer than any such.
pub(crate) async fn post(State(hive): State<Arc<Hive>>, headers: HeaderMap, body: Body) -> Answer {
    let _turn = hive.turn().await?;
    let chunk = read(&small(body, SOC_BYTES_MAX).await?)?;
    keep(&hive, &headers, chunk).await
}

/// The owner's signature over a single-owner chunk, in 130 digits.
#[derive(Debug, Deserialize)]
pub(crate) struct Signature {
    #[serde(default)]
    sig: String,
}

/// `POST /soc/{owner}/{id}?sig=`: the chunk inside; what puts it at its address stands in the path and the query.
pub(crate) async fn post_owned(
    State(hive): State<Arc<Hive>>,
    Path((owner, id)): Path<(String, String)>,
    Query(query): Query<Signature>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let owner: [u8; 20] =
        digits(&owner).ok_or_else(|| Refusal::parameter("path", "owner", "want 40 hexadecimal digits"))?;
    let id: [u8; ID_BYTES] =
        digits(&id).ok_or_else(|| Refusal::parameter("path", "id", "want 64 hexadecimal digits"))?;
    let signature: [u8; SIGNATURE_BYTES] =
        digits(&query.sig).ok_or_else(|| Refusal::parameter("query", "sig", "want 130 hexadecimal digits"))?;
    let _turn = hive.turn().await?;
    let inner = small(body, WIRE_BYTES_MAX).await?;
    if inner.len() < SPAN_BYTES {
        return Err(Refusal::bad("short chunk data"));
    }
    let invalid = || Refusal::new(StatusCode::UNAUTHORIZED, "invalid chunk");
    let chunk = SingleOwnerChunk::read(&[&id[..], &signature, &inner].concat()).map_err(|_| invalid())?;
    if chunk.owner().0 != owner {
        return Err(invalid());
    }
    keep(&hive, &headers, AnyChunk::from(chunk)).await
}

fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).ok().map(|()| bytes)
}

/// Stores a chunk for the batch that the headers name.
async fn keep(hive: &Hive, headers: &HeaderMap, chunk: AnyChunk) -> Answer {
    if headers.contains_key("swarm-postage-stamp") && !headers.contains_key("swarm-postage-batch-id") {
        let message = "stamps made elsewhere are not checked here; name a batch of this store (swarm-postage-batch-id)";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, message));
    }
    let (batch, tag) = (headers::batch(headers)?, headers::tag(headers)?);
    if tag != 0 {
        hive.tags.get(tag).ok_or_else(|| Refusal::not_found("tag not found"))?;
    }
    let reference = chunk.reference();
    hive.on_book(move |book| book.stamp(batch, 1)).await?;
    let pin = headers::flag(headers, "swarm-pin")?.unwrap_or(false);
    let (store, book) = (hive.store.clone(), Arc::clone(&hive.batches));
    let kept = aside(move || {
        let failed = |error| Refusal::of_put(&error, "chunk write error");
        store.put_chunk(&Owner::from(batch), &chunk).map_err(failed)?;
        still_holds(&store, &book, batch)
    });
    kept.await??;
    if pin {
        // It may be the root of a tree, which is pinned as a whole or not at all.
        let pinned = pins::pin(hive, AnyReference::Plain(reference)).await;
        pinned.map_err(|error| error.refusal(pins::FAILED))?;
    }
    hive.tags.add(tag, 1, None);
    Ok(stored(AnyReference::Plain(reference)))
}

/// `GET` and `HEAD /chunks/{address}`.
pub(crate) async fn get(State(hive): State<Arc<Hive>>, method: Method, Path(address): Path<String>) -> Answer {
    let address = headers::reference(&address)?.address();
    let found = hive.on_store(move |store| store.get_chunk(&address)).await;
    let found = found.map_err(|error| Refusal::of_get(&error, "read chunk failed"))?;
    let wire = found.ok_or_else(|| Refusal::not_found("chunk not found"))?.to_wire();
    let length = HeaderValue::from(wire.len());
    let mut answer = Response::new(if method == Method::HEAD { Body::empty() } else { Body::from(wire) });
    answer.headers_mut().insert(CONTENT_LENGTH, length);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("binary/octet-stream"));
    Ok(answer)
}

fn read(wire: &[u8]) -> Result<AnyChunk, Refusal> {
    let Some((span, payload)) = wire.split_first_chunk::<SPAN_BYTES>() else {
        return Err(Refusal::bad("insufficient data length"));
    };
    if wire.len() > WIRE_BYTES_MAX {
        return SingleOwnerChunk::read(wire).map(AnyChunk::from).map_err(|error| Refusal::bad(error.to_string()));
    }
    let chunk = Chunk::from_payload(u64::from_le_bytes(*span), payload);
    chunk.map(AnyChunk::from).map_err(|error| Refusal::bad(error.to_string()))
}
