//! `/stamps`: the batches of the book in Bee's words.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::batches::{BUCKET_DEPTH, Batch, BatchError, BatchId, now};
use crate::headers::{self, Path, Query};
use crate::hive::Hive;
use crate::refusal::{Refusal, json};

/// There is no chain; a transaction has to have some number.
const NO_TRANSACTION: &str = "0x0000000000000000000000000000000000000000000000000000000000000000";

/// A batch as Bee writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stamp {
    #[serde(rename = "batchID")]
    batch_id: String,
    utilization: u64,
    utilization_ratio: f64,
    usable: bool,
    label: String,
    depth: u8,
    amount: String,
    bucket_depth: u8,
    block_number: u64,
    immutable_flag: bool,
    exists: bool,
    #[serde(rename = "batchTTL")]
    batch_ttl: u64,
}

#[derive(Serialize)]
struct Bought {
    #[serde(rename = "batchID")]
    batch_id: String,
    #[serde(rename = "txHash")]
    tx_hash: &'static str,
}

impl From<&Batch> for Stamp {
    fn from(batch: &Batch) -> Self {
        let batch_ttl = batch.time_to_live(now());
        let utilization = batch.utilization();
        Self {
            batch_id: batch.id.to_string(),
            utilization,
            utilization_ratio: utilization as f64 / f64::from(1_u32 << (batch.depth - BUCKET_DEPTH)),
            usable: batch_ttl > 0,
            label: batch.label.clone(),
            depth: batch.depth,
            amount: batch.amount.to_string(),
            bucket_depth: BUCKET_DEPTH,
            block_number: 0,
            immutable_flag: batch.is_immutable,
            exists: batch_ttl > 0,
            batch_ttl,
        }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let status = match error {
            BatchError::Amount | BatchError::Depth | BatchError::Label => StatusCode::BAD_REQUEST,
            BatchError::TooMany => StatusCode::TOO_MANY_REQUESTS,
            BatchError::NotFound => StatusCode::NOT_FOUND,
            BatchError::Expired => StatusCode::UNPROCESSABLE_ENTITY,
            BatchError::Overissued => StatusCode::PAYMENT_REQUIRED,
            BatchError::Book { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

type Answer = Result<Response<Body>, Refusal>;

/// What a purchase calls its batch.
#[derive(Debug, Deserialize)]
pub(crate) struct Label {
    #[serde(default)]
    label: String,
}

/// `POST /stamps/{amount}/{depth}`.
pub(crate) async fn buy(
    State(hive): State<Arc<Hive>>,
    Path((amount, depth)): Path<(String, String)>,
    Query(query): Query<Label>,
    headers: HeaderMap,
) -> Answer {
    let (amount, depth) = (number(&amount, "amount")?, number(&depth, "depth")?);
    let is_immutable = headers::flag(&headers, "immutable")?.unwrap_or(true);
    let depth = u8::try_from(depth).map_err(|_| Refusal::from(BatchError::Depth))?;
    let id = hive.on_book(move |book| book.buy(amount, depth, &query.label, is_immutable)).await?;
    Ok(bought(StatusCode::CREATED, id))
}

/// `PATCH /stamps/topup/{id}/{amount}`.
pub(crate) async fn top_up(State(hive): State<Arc<Hive>>, Path((id, amount)): Path<(String, String)>) -> Answer {
    let (id, amount) = (batch_id(&id)?, number(&amount, "amount")?);
    hive.on_book(move |book| book.top_up(id, amount)).await?;
    Ok(bought(StatusCode::ACCEPTED, id))
}

/// `PATCH /stamps/dilute/{id}/{depth}`.
pub(crate) async fn dilute(State(hive): State<Arc<Hive>>, Path((id, depth)): Path<(String, String)>) -> Answer {
    let id = batch_id(&id)?;
    let depth = u8::try_from(number(&depth, "depth")?).map_err(|_| Refusal::from(BatchError::Depth))?;
    hive.on_book(move |book| book.dilute(id, depth)).await?;
    Ok(bought(StatusCode::ACCEPTED, id))
}

/// `GET /stamps`.
pub(crate) async fn list(State(hive): State<Arc<Hive>>) -> Answer {
    #[derive(Serialize)]
    struct List {
        stamps: Vec<Stamp>,
    }
    let batches = hive.on_book(|book| Ok(book.all())).await?;
    Ok(json(StatusCode::OK, &List { stamps: batches.iter().map(Stamp::from).collect() }))
}

/// `GET /stamps/{id}`.
pub(crate) async fn get(State(hive): State<Arc<Hive>>, Path(id): Path<String>) -> Answer {
    let id = batch_id(&id)?;
    let batch = hive.on_book(move |book| Ok(book.get(id))).await?;
    let batch = batch.ok_or_else(|| Refusal::not_found("issuer does not exist"))?;
    Ok(json(StatusCode::OK, &Stamp::from(&batch)))
}

fn bought(status: StatusCode, id: BatchId) -> Response<Body> {
    json(status, &Bought { batch_id: id.to_string(), tx_hash: NO_TRANSACTION })
}

fn number(text: &str, field: &str) -> Result<u128, Refusal> {
    text.parse().map_err(|_| Refusal::parameter("path", field, "invalid syntax"))
}

fn batch_id(text: &str) -> Result<BatchId, Refusal> {
    text.parse().map_err(|error: crate::batches::NotABatchId| Refusal::parameter("path", "batch_id", error.to_string()))
}
