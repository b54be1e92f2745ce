//! `/bytes`: bytes without a name.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response};
use manyhands_blob::StoreError;

use crate::deliver::Delivery;
use crate::headers::{self, Path};
use crate::hive::Hive;
use crate::refusal::Refusal;
use crate::spool::spool;
use crate::upload::Upload;

/// `POST /bytes`.
pub(crate) async fn post(
    State(hive): State<Arc<Hive>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    let upload = Upload::begin(&hive, &headers).await?;
    let _turn = hive.turn().await?;
    let spooled = spool(&headers, body, hive.options.bytes_max, hive.folder(), &hive.store).await?;
    upload.pay(&hive, spooled.size_bytes).await?;
    let stored = upload.keep(&hive, |store, shelf| {
        let reader = spooled.into_reader().map_err(|source| StoreError::Source { source });
        let root = reader.and_then(|reader| shelf.put(store, reader));
        root.map_err(|error| Refusal::of_put(&error, "split write all failed"))
    });
    let root = stored.await?;
    upload.end(&hive, root).await
}

/// `GET` and `HEAD /bytes/{reference}`.
pub(crate) async fn get(
    State(hive): State<Arc<Hive>>,
    method: Method,
    Path(reference): Path<String>,
    asked: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let root = headers::reference(&reference)?;
    headers::level(&asked)?;
    let delivery = Delivery { root, asked: &asked, about: HeaderMap::new(), head_only: method == Method::HEAD };
    delivery.answer(&hive).await
}
