//! What this "node" is, in the words of Bee: programs ask before they store.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::Serialize;

use crate::batches::PRICE_PLUR;
use crate::refusal::json;

/// The Bee whose behaviour this is.
const VERSION: &str = concat!("2.8.1-manyhands-", env!("CARGO_PKG_VERSION"));
/// The version of its API (openapi/Swarm.yaml).
const API_VERSION: &str = "8.1.0";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    status: &'static str,
    version: &'static str,
    api_version: &'static str,
}

/// `GET /`.
pub(crate) async fn root() -> Response<Body> {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], "Ethereum Swarm Bee\n").into_response()
}

/// `GET /health`.
pub(crate) async fn health() -> Response<Body> {
    json(StatusCode::OK, &Health { status: "ok", version: VERSION, api_version: API_VERSION })
}

/// `GET /readiness`.
pub(crate) async fn readiness() -> Response<Body> {
    json(StatusCode::OK, &Health { status: "ready", version: VERSION, api_version: API_VERSION })
}

/// `GET /node`. Of Bee's modes `dev` says it best: a store of its own, no chain.
pub(crate) async fn node() -> Response<Body> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Node {
        bee_mode: &'static str,
        chequebook_enabled: bool,
        swap_enabled: bool,
    }
    json(StatusCode::OK, &Node { bee_mode: "dev", chequebook_enabled: false, swap_enabled: false })
}

/// `GET /chainstate`: the price, from which programs reckon what a batch has to cost.
pub(crate) async fn chain_state() -> Response<Body> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ChainState {
        chain_tip: u64,
        block: u64,
        total_amount: &'static str,
        current_price: String,
    }
    let current_price = PRICE_PLUR.to_string();
    json(StatusCode::OK, &ChainState { chain_tip: 0, block: 0, total_amount: "0", current_price })
}
