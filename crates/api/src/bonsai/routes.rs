//! The paths of the Bonsai API.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{get, post, put};
use manyhands_proto::Digest;
use manyhands_proto::limits::{INPUT_BYTES_MAX, PROGRAM_BYTES_MAX, STREAMED_INPUT_BYTES_MAX};
use serde::Serialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::Bonsai;
use super::base::base;
use super::types::{CreateSession, SessionStatus, State as SessionState, Stats, Tenant, Upload, Uuid};
use crate::server::body;
use crate::server::id::Id;
use crate::server::spool::spool;
use crate::types::{Problem, ProblemKind};

/// Uploads at the same time; each is a file and some pieces of memory.
const UPLOADS_MAX: usize = 32;
/// How long an upload waits for others: less than RISC Zero's client gives a call (30 s in bonsai-sdk 1.4.3).
const TURN_TIME: Duration = Duration::from_secs(20);
/// Largest JSON body.
pub(crate) const JSON_BYTES_MAX: u64 = 1 << 20;

struct Desk<B> {
    bonsai: Arc<B>,
    uploads: Semaphore,
}

type Shared<B> = State<Arc<Desk<B>>>;
type Answer = Result<Response<Body>, Sentence>;

/// A refusal as the client shows it: its text.
struct Sentence(Problem);

impl From<Problem> for Sentence {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl axum::response::IntoResponse for Sentence {
    fn into_response(self) -> Response<Body> {
        let status = StatusCode::from_u16(self.0.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if self.0.kind == ProblemKind::Internal {
            tracing::warn!(message = self.0.message, "a Bonsai request failed");
        }
        (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], self.0.message).into_response()
    }
}

/// A problem as these calls are refused with it.
pub(crate) fn refusal(problem: Problem) -> Response<Body> {
    Sentence(problem).into_response()
}

/// All calls, for [`serve_beside`](crate::serve_beside).
pub fn routes<B: Bonsai>(bonsai: Arc<B>) -> Router {
    let desk = Arc::new(Desk { bonsai, uploads: Semaphore::new(UPLOADS_MAX) });
    Router::new()
        .route("/images/upload/{id}", get(image_url::<B>))
        .route("/images/{id}", put(put_image::<B>).delete(delete_image::<B>))
        .route("/inputs/upload", get(input_url::<B>))
        .route("/inputs/{id}", put(put_input::<B>).delete(delete_input::<B>))
        .route("/receipts/upload", get(receipt_url::<B>))
        .route("/receipts/{id}", get(receipt_at::<B>).put(put_receipt::<B>))
        .route("/receipts/{id}/download", get(receipt::<B>))
        .route("/sessions/create", post(create::<B>))
        .route("/sessions/status/{id}", get(status::<B>))
        .route("/sessions/logs/{id}", get(logs::<B>))
        .route("/sessions/stop/{id}", get(stop::<B>))
        .route("/sessions/exec_only_journal/{id}", get(journal::<B>))
        .route("/snark/create", post(create_snark::<B>))
        .route("/snark/status/{id}", get(snark_status::<B>))
        .route("/snark/receipt/{id}", get(snark_receipt::<B>))
        // What Boundless' brokers ask of Bento beside Bonsai's calls.
        .route("/health", get(health))
        .route("/receipts/stark/receipt/{id}", get(receipt::<B>))
        .route("/receipts/groth16/receipt/{id}", get(snark_receipt::<B>))
        .route("/version", get(version::<B>))
        .route("/user/quotas", get(quotas::<B>))
        .layer(DefaultBodyLimit::disable())
        .method_not_allowed_fallback(not_allowed)
        .with_state(desk)
}

async fn not_allowed() -> Response<Body> {
    let message = "this path does not take this method: what is uploaded is PUT, what is created is POSTed, the rest is read with GET, and \
                   DELETE forgets an upload";
    refusal(Problem::new(ProblemKind::NotAllowed, message))
}

async fn image_url<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let tenant = tenant(&desk, &headers).await?;
    let image = digest(&id)?;
    if desk.bonsai.has_image(&tenant, image).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(ok(&json!({ "url": format!("{}/images/{image}", base(&headers, desk.bonsai.public_url())) })))
}

async fn input_url<B: Bonsai>(State(desk): Shared<B>, headers: HeaderMap) -> Answer {
    upload_url(&desk, &headers, "inputs").await
}

async fn receipt_url<B: Bonsai>(State(desk): Shared<B>, headers: HeaderMap) -> Answer {
    upload_url(&desk, &headers, "receipts").await
}

async fn upload_url<B: Bonsai>(desk: &Desk<B>, headers: &HeaderMap, what: &str) -> Answer {
    tenant(desk, headers).await?;
    let id = Uuid::from_random(rand::random());
    let url = format!("{}/{what}/{id}", base(headers, desk.bonsai.public_url()));
    Ok(ok(&json!({ "url": url, "uuid": id.to_string() })))
}

async fn put_image<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap, body: Body) -> Answer {
    let image = digest(&id)?;
    take(&desk, &headers, body, Upload::Image(image), PROGRAM_BYTES_MAX, "the program").await
}

async fn put_input<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap, body: Body) -> Answer {
    let id = uuid(&id)?;
    take(&desk, &headers, body, Upload::Input(id), STREAMED_INPUT_BYTES_MAX, "the input").await
}

async fn put_receipt<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap, body: Body) -> Answer {
    let id = uuid(&id)?;
    take(&desk, &headers, body, Upload::Receipt(id), INPUT_BYTES_MAX, "the receipt").await
}

async fn take<B: Bonsai>(
    desk: &Desk<B>,
    headers: &HeaderMap,
    body: Body,
    upload: Upload,
    bytes_max: u64,
    what: &str,
) -> Answer {
    let tenant = tenant(desk, headers).await?;
    // Clients do not try again what is refused, so those that are many wait for each other.
    let busy = "too many uploads are under way, and none ended for a while; try again";
    let waited = tokio::time::timeout(TURN_TIME, desk.uploads.acquire()).await;
    let _turn = waited.ok().and_then(Result::ok).ok_or_else(|| Problem::new(ProblemKind::Busy, busy))?;
    // It stays in its file: of what has come nothing is copied.
    let room = |_, coming_bytes| desk.bonsai.room(&tenant, coming_bytes);
    let (file, size_bytes) = spool(headers, body, desk.bonsai.spool(), bytes_max, room, what).await?;
    desk.bonsai.keep(&tenant, upload, file, size_bytes).await?;
    Ok(StatusCode::OK.into_response())
}

async fn delete_image<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let tenant = tenant(&desk, &headers).await?;
    desk.bonsai.forget(&tenant, Upload::Image(digest(&id)?)).await?;
    Ok(StatusCode::OK.into_response())
}

async fn delete_input<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let tenant = tenant(&desk, &headers).await?;
    desk.bonsai.forget(&tenant, Upload::Input(uuid(&id)?)).await?;
    Ok(StatusCode::OK.into_response())
}

async fn create<B: Bonsai>(State(desk): Shared<B>, headers: HeaderMap, body: Body) -> Answer {
    let tenant = tenant(&desk, &headers).await?;
    check_version(&headers, desk.bonsai.zkvm())?;
    let request: CreateSession = json_body(&headers, body).await?;
    let id = desk.bonsai.create(&tenant, request).await?;
    Ok(ok(&json!({ "uuid": id.to_string() })))
}

async fn status<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let (tenant, id) = (tenant(&desk, &headers).await?, uuid(&id)?);
    let status = desk.bonsai.session(&tenant, id).await?;
    let download = || format!("{}/receipts/{id}/download", base(&headers, desk.bonsai.public_url()));
    let receipt_url = status.has_receipt.then(download);
    Ok(ok(&Written::of(status, receipt_url)))
}

/// A session's status as it is written.
#[derive(Serialize)]
struct Written {
    status: SessionState,
    receipt_url: Option<String>,
    error_msg: Option<String>,
    state: String,
    elapsed_time: f64,
    stats: Option<Stats>,
}

impl Written {
    fn of(status: SessionStatus, receipt_url: Option<String>) -> Self {
        Self {
            status: status.state,
            receipt_url,
            error_msg: status.error,
            state: status.stage,
            elapsed_time: status.elapsed_s,
            stats: status.stats,
        }
    }
}

async fn logs<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let (tenant, id) = (tenant(&desk, &headers).await?, uuid(&id)?);
    let log = desk.bonsai.session_log(&tenant, id).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], log).into_response())
}

async fn stop<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let (tenant, id) = (tenant(&desk, &headers).await?, uuid(&id)?);
    desk.bonsai.stop(&tenant, id).await?;
    Ok(StatusCode::OK.into_response())
}

async fn journal<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let (tenant, id) = (tenant(&desk, &headers).await?, uuid(&id)?);
    Ok(bytes(desk.bonsai.journal(&tenant, id).await?))
}

async fn receipt_at<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let (tenant, id) = (tenant(&desk, &headers).await?, uuid(&id)?);
    let status = desk.bonsai.session(&tenant, id).await?;
    if !status.has_receipt {
        let message = status.error.unwrap_or_else(|| "there is no receipt yet".to_owned());
        return Err(Problem::not_found(message).into());
    }
    Ok(ok(&json!({ "url": format!("{}/receipts/{id}/download", base(&headers, desk.bonsai.public_url())) })))
}

async fn receipt<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let (tenant, id) = (tenant(&desk, &headers).await?, uuid(&id)?);
    Ok(bytes(desk.bonsai.session_receipt(&tenant, id).await?))
}

async fn create_snark<B: Bonsai>(State(desk): Shared<B>, headers: HeaderMap, body: Body) -> Answer {
    #[derive(serde::Deserialize)]
    struct Request {
        session_id: String,
    }
    let tenant = tenant(&desk, &headers).await?;
    let request: Request = json_body(&headers, body).await?;
    let id = desk.bonsai.create_snark(&tenant, uuid(&request.session_id)?).await?;
    Ok(ok(&json!({ "uuid": id.to_string() })))
}

async fn snark_status<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let (tenant, id) = (tenant(&desk, &headers).await?, uuid(&id)?);
    let status = desk.bonsai.snark(&tenant, id).await?;
    let address = || format!("{}/snark/receipt/{id}", base(&headers, desk.bonsai.public_url()));
    let output = (status.state == SessionState::Succeeded).then(address);
    Ok(ok(&json!({ "status": status.state, "output": output, "error_msg": status.error })))
}

async fn snark_receipt<B: Bonsai>(State(desk): Shared<B>, Id(id): Id, headers: HeaderMap) -> Answer {
    let (tenant, id) = (tenant(&desk, &headers).await?, uuid(&id)?);
    Ok(bytes(desk.bonsai.snark_receipt(&tenant, id).await?))
}

async fn health() -> Answer {
    Ok(ok(&json!({ "status": "ok" })))
}

async fn version<B: Bonsai>(State(desk): Shared<B>) -> Answer {
    Ok(ok(&json!({ "risc0_zkvm": [desk.bonsai.zkvm()] })))
}

async fn quotas<B: Bonsai>(State(desk): Shared<B>, headers: HeaderMap) -> Answer {
    let tenant = tenant(&desk, &headers).await?;
    Ok(ok(&desk.bonsai.quotas(&tenant).await?))
}

/// A receipt of another version is refused by the client's own verifier, after hours: better now.
fn check_version(headers: &HeaderMap, ours: &str) -> Result<(), Problem> {
    let Some(theirs) = headers.get("x-risc0-version").and_then(|value| value.to_str().ok()) else { return Ok(()) };
    let line = |version: &str| version.split('.').take(2).collect::<Vec<_>>().join(".");
    if line(theirs) == line(ours) {
        return Ok(());
    }
    let theirs: String = theirs.chars().take(40).collect();
    Err(Problem::invalid(format!(
        "this gateway proves with risc0-zkvm {ours}, and the program asks for {theirs:?}, which could not verify its receipts: build it with \
         risc0-zkvm {}, or ask a gateway of that version",
        line(ours)
    )))
}

async fn tenant<B: Bonsai>(desk: &Desk<B>, headers: &HeaderMap) -> Result<Tenant, Problem> {
    desk.bonsai.tenant(headers.get("x-api-key").and_then(|key| key.to_str().ok())).await
}

async fn json_body<T: serde::de::DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let bytes = body::read(headers, body, JSON_BYTES_MAX, "the request").await?;
    body::json(&bytes).map_err(|error| Problem::invalid(format!("the body is not the JSON of this call: {error}")))
}

fn digest(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|error: manyhands_proto::ids::ParseIdError| Problem::invalid(format!("an image id: {error}")))
}

fn uuid(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| Problem::not_found("there is nothing of that id here: ids are UUIDs"))
}

fn ok(value: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

fn bytes(body: Vec<u8>) -> Response<Body> {
    ([(CONTENT_TYPE, "application/octet-stream")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_the_same_minor_version_are_served_and_so_are_those_that_say_none() {
        let asked = |theirs: &str| {
            let headers = [("x-risc0-version", theirs)]
                .into_iter()
                .map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap()));
            check_version(&headers.collect(), "3.0.6")
        };
        assert!(check_version(&HeaderMap::new(), "3.0.6").is_ok());
        for served in ["3.0.6", "3.0.5", "3.0.10", "3.0"] {
            assert!(asked(served).is_ok(), "{served}");
        }
        for refused in ["3.1.0", "2.3.1", "30.0.6", "3", "", "nonsense"] {
            let problem = asked(refused).unwrap_err();
            assert!(problem.kind == ProblemKind::Invalid && problem.message.contains("risc0-zkvm 3.0"), "{refused}");
        }
        assert!(asked(&"9".repeat(1_000)).unwrap_err().message.len() < 400, "what is repeated to the asker is cut");
    }
}
