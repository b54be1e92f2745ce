//! Which path is whose, and the guard in front of them all.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use axum::routing::{get, patch, post};

use crate::hive::Hive;
use crate::refusal::{Refusal, no_such_path, not_allowed};
use crate::{about, bytes, bzz, chunks, pins, stamps, stewardship, tags};

/// All calls, each with and without `/v1` in front.
pub(crate) fn router(hive: Arc<Hive>, bound: SocketAddr) -> Router {
    Router::new()
        .merge(calls())
        .nest("/v1", calls())
        .fallback(async |request: Request| no_such_path(request.uri().path()))
        .method_not_allowed_fallback(async |request: Request| not_allowed(request.method()))
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .with_state(hive)
        .layer(from_fn(move |request: Request, next: Next| guarded(bound, request, next)))
}

fn calls() -> Router<Arc<Hive>> {
    Router::new()
        .route("/", get(about::root))
        .route("/health", get(about::health))
        .route("/readiness", get(about::readiness))
        .route("/node", get(about::node))
        .route("/chainstate", get(about::chain_state))
        .route("/bytes", post(bytes::post))
        .route("/bytes/{reference}", get(bytes::get))
        .route("/chunks", post(chunks::post))
        .route("/chunks/{address}", get(chunks::get))
        .route("/soc/{owner}/{id}", post(chunks::post_owned))
        .route("/bzz", post(bzz::post))
        .route("/bzz/{reference}", get(bzz::redirect))
        .route("/bzz/{reference}/", get(bzz::get_root))
        .route("/bzz/{reference}/{*path}", get(bzz::get))
        .route("/pins", get(pins::list))
        .route("/pins/{reference}", get(pins::get).post(pins::post).delete(pins::delete))
        .route("/stewardship/{reference}", get(stewardship::get).put(stewardship::put))
        .route("/stamps", get(stamps::list))
        .route("/stamps/{id}", get(stamps::get))
        .route("/stamps/{amount}/{depth}", post(stamps::buy))
        .route("/stamps/topup/{id}/{amount}", patch(stamps::top_up))
        .route("/stamps/dilute/{id}/{depth}", patch(stamps::dilute))
        .route("/tags", get(tags::list).post(tags::create))
        .route("/tags/{uid}", get(tags::get).delete(tags::delete).patch(tags::done))
}

async fn guarded(bound: SocketAddr, request: Request, next: Next) -> Response<Body> {
    let mut answer = match manyhands_api::check_host(request.headers(), bound) {
        Ok(()) => next.run(request).await,
        Err(problem) => Refusal::new(StatusCode::FORBIDDEN, problem.message).into_response(),
    };
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
