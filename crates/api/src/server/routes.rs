//! The paths of `/v1` and what each asks of the gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::routing::{get, post, put};
use manyhands_proto::limits::{PROGRAM_BYTES_MAX, STREAMED_INPUT_BYTES_MAX};
use manyhands_proto::{JobId, NodeId, Reference};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::id::Id;
use super::limits::{ANSWER_BYTES, ANSWER_TIME, INPUTS_MAX, JSON_BYTES_MAX, TURN_TIME, UPLOADS_MAX, WATCHERS_MAX};
use super::local::Asker;
use super::respond::{self, Answer};
use super::spool::receive;
use super::{Gateway, body, events, guard, openapi};
use crate::bonsai::refusal;
use crate::types::{API_VERSION, Health, JobRequest, NodeRuling, Problem, ProblemKind, REASON_BYTES_MAX};

struct Door<G> {
    gateway: Arc<G>,
    uploads: Semaphore,
    inputs: Semaphore,
    watchers: Arc<Semaphore>,
}

type Shared<G> = State<Arc<Door<G>>>;

/// All of `/v1`, and what is beside it, behind the guard. Only what is beside it, which has passwords, is there for who asks by the public
/// name.
pub(super) fn router<G: Gateway>(
    gateway: Arc<G>,
    beside: Router,
    bound: SocketAddr,
    public_host: Option<String>,
) -> Router {
    let watchers = Arc::new(Semaphore::new(WATCHERS_MAX));
    let public_host: Option<Arc<str>> = public_host.map(Arc::from);
    let door =
        Arc::new(Door { gateway, uploads: Semaphore::new(UPLOADS_MAX), inputs: Semaphore::new(INPUTS_MAX), watchers });
    Router::new()
        .route("/v1/health", get(health))
        .route("/v1/openapi.json", get(openapi::describe))
        .route("/v1/status", get(status::<G>))
        .route("/v1/programs", put(program::<G>))
        .route("/v1/inputs", put(input::<G>))
        .route("/v1/nodes/{id}", put(rule::<G>))
        .route("/v1/scores", get(scores::<G>))
        .route("/v1/scores/{id}/receipt", get(score_receipt::<G>))
        .route("/v1/backups", get(backups::<G>).post(back_up::<G>))
        .route("/v1/jobs", post(submit::<G>))
        .route("/v1/jobs/{id}", get(job::<G>).delete(abort::<G>))
        .route("/v1/jobs/{id}/events", get(watch::<G>))
        .route("/v1/jobs/{id}/explain", get(explain::<G>))
        .route("/v1/jobs/{id}/receipt", get(receipt::<G>))
        .route("/v1/jobs/{id}/log", get(log::<G>))
        .fallback(no_such_path)
        .method_not_allowed_fallback(not_allowed)
        .with_state(door)
        .layer(from_fn(move |request: Request, next: Next| async move {
            let checked = guard::check(request.headers(), bound);
            guarded(checked.map_err(|problem| respond::problem(&problem)), request, next).await
        }))
        .merge(beside.layer(from_fn(move |request: Request, next: Next| {
            let is_public = public_host.as_ref().is_some_and(|host| guard::is_for(request.headers(), host));
            let checked = if is_public { Ok(()) } else { guard::check(request.headers(), bound) };
            guarded(checked.map_err(refusal), request, next)
        })))
}

async fn guarded(checked: Result<(), Answer>, request: Request, next: Next) -> Answer {
    respond::mark(match checked {
        Ok(()) => next.run(request).await,
        Err(refused) => refused,
    })
}

async fn health() -> Answer {
    respond::json(StatusCode::OK, &Health { service: "manyhands".to_owned(), api: API_VERSION })
}

async fn status<G: Gateway>(State(door): Shared<G>) -> Answer {
    answer(StatusCode::OK, in_time(door.gateway.status()).await)
}

async fn program<G: Gateway>(State(door): Shared<G>, headers: HeaderMap, body: Body) -> Answer {
    let stored = async {
        let _turn = turn(&door.uploads).await?;
        let bytes = body::read(&headers, body, PROGRAM_BYTES_MAX, "the program").await?;
        in_time(door.gateway.upload_program(bytes)).await
    };
    answer(StatusCode::OK, stored.await)
}

async fn input<G: Gateway>(State(door): Shared<G>, headers: HeaderMap, body: Body) -> Answer {
    let stored = async {
        let _turn = turn(&door.inputs).await?;
        // Nobody has less room here than another: what bounds an input is what the disk and the store take.
        let room =
            async |come_bytes, coming_bytes| door.gateway.room(come_bytes, coming_bytes).await.map(|()| u64::MAX);
        let (file, size_bytes) =
            receive(&headers, body, door.gateway.spool(), STREAMED_INPUT_BYTES_MAX, room, "the input").await?;
        let time = ANSWER_TIME + Duration::from_secs(size_bytes / ANSWER_BYTES);
        within(time, door.gateway.upload_input(file, size_bytes)).await
    };
    answer(StatusCode::OK, stored.await)
}

async fn rule<G: Gateway>(State(door): Shared<G>, Id(id): Id, asker: Asker, body: Body) -> Answer {
    let ruled = async {
        asker.must_be_local("who may work for a gateway", "nodes")?;
        let bytes = body::read(&asker.headers, body, JSON_BYTES_MAX, "the word on a node").await?;
        let said: NodeRuling = body::json(&bytes)
            .map_err(|error| Problem::invalid(format!("the body is no word on a node in JSON: {error}")))?;
        if said.reason.len() > REASON_BYTES_MAX || said.reason.chars().any(char::is_control) {
            let message = format!("a reason is one line of at most {REASON_BYTES_MAX} bytes");
            return Err(Problem::invalid(message));
        }
        in_time(door.gateway.rule(node_id(&id)?, said)).await
    };
    match ruled.await {
        Ok(()) => respond::empty(StatusCode::NO_CONTENT),
        Err(problem) => respond::problem(&problem),
    }
}

async fn scores<G: Gateway>(State(door): Shared<G>) -> Answer {
    answer(StatusCode::OK, in_time(door.gateway.scores()).await)
}

async fn score_receipt<G: Gateway>(State(door): Shared<G>, Id(id): Id) -> Answer {
    let found = async {
        let reference: Reference =
            id.parse().map_err(|error: manyhands_proto::ids::ParseIdError| Problem::invalid(error.to_string()))?;
        Ok((reference, in_time(door.gateway.score_receipt(reference)).await?))
    };
    match found.await {
        Ok((reference, bytes)) => respond::receipt(reference, bytes),
        Err(problem) => respond::problem(&problem),
    }
}

async fn back_up<G: Gateway>(State(door): Shared<G>, asker: Asker) -> Answer {
    let begun = async {
        asker.must_be_local("a back-up", "backup")?;
        in_time(door.gateway.back_up()).await
    };
    answer(StatusCode::ACCEPTED, begun.await)
}

async fn backups<G: Gateway>(State(door): Shared<G>, asker: Asker) -> Answer {
    let found = async {
        asker.must_be_local("a back-up", "backup")?;
        in_time(door.gateway.backups()).await
    };
    answer(StatusCode::OK, found.await)
}

async fn submit<G: Gateway>(State(door): Shared<G>, headers: HeaderMap, body: Body) -> Answer {
    let taken = async {
        let bytes = body::read(&headers, body, JSON_BYTES_MAX, "the job request").await?;
        let request: JobRequest = body::json(&bytes)
            .map_err(|error| Problem::invalid(format!("the body is not a job request in JSON: {error}")))?;
        in_time(door.gateway.submit(request)).await
    };
    answer(StatusCode::CREATED, taken.await)
}

async fn job<G: Gateway>(State(door): Shared<G>, Id(id): Id) -> Answer {
    answer(StatusCode::OK, async { in_time(door.gateway.job(job_id(&id)?)).await }.await)
}

async fn watch<G: Gateway>(State(door): Shared<G>, Id(id): Id) -> Answer {
    let begun = async {
        let job = job_id(&id)?;
        // One that is not there is an ordinary refusal.
        in_time(door.gateway.job(job)).await?;
        let many =
            || Problem::new(ProblemKind::Busy, "as many jobs are watched as can be; ask for /v1/jobs/ID now and then");
        let place = Arc::clone(&door.watchers).try_acquire_owned().map_err(|_| many())?;
        Ok(events::of_job(Arc::clone(&door.gateway), job, place))
    };
    begun.await.unwrap_or_else(|problem: Problem| respond::problem(&problem))
}

async fn explain<G: Gateway>(State(door): Shared<G>, Id(id): Id) -> Answer {
    answer(StatusCode::OK, async { in_time(door.gateway.explain(job_id(&id)?)).await }.await)
}

async fn abort<G: Gateway>(State(door): Shared<G>, Id(id): Id) -> Answer {
    match async { in_time(door.gateway.abort(job_id(&id)?)).await }.await {
        Ok(()) => respond::empty(StatusCode::NO_CONTENT),
        Err(problem) => respond::problem(&problem),
    }
}

async fn receipt<G: Gateway>(State(door): Shared<G>, Id(id): Id, headers: HeaderMap) -> Answer {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    match async { in_time(door.gateway.receipt(job_id(&id)?)).await }.await {
        Ok((blob, _)) if known == Some(respond::etag(blob.reference).as_str()) => {
            respond::empty(StatusCode::NOT_MODIFIED)
        }
        Ok((blob, bytes)) => respond::receipt(blob.reference, bytes),
        Err(problem) => respond::problem(&problem),
    }
}

async fn log<G: Gateway>(State(door): Shared<G>, Id(id): Id) -> Answer {
    match async { in_time(door.gateway.log(job_id(&id)?)).await }.await {
        Ok(bytes) => respond::text(bytes),
        Err(problem) => respond::problem(&problem),
    }
}

async fn no_such_path() -> Answer {
    let paths = "/v1/health, /v1/openapi.json, /v1/status, /v1/programs, /v1/inputs, /v1/nodes/ID, /v1/scores, /v1/scores/REFERENCE/receipt, /v1/backups, /v1/jobs, /v1/jobs/ID, /v1/jobs/ID/events, /v1/jobs/ID/explain, \
                 /v1/jobs/ID/receipt, /v1/jobs/ID/log";
    respond::problem(&Problem::not_found(format!("there is no such path here; the paths are {paths}")))
}

async fn not_allowed() -> Answer {
    let message = "this path does not take this method: programs, inputs and words on nodes are PUT, jobs and back-ups are POSTed, the rest is read with GET, and \
                   DELETE stops a job";
    respond::problem(&Problem::new(ProblemKind::NotAllowed, message))
}

fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|error: manyhands_proto::ids::ParseIdError| Problem::invalid(error.to_string()))
}

fn node_id(text: &str) -> Result<NodeId, Problem> {
    text.parse().map_err(|error: manyhands_proto::ids::ParseIdError| Problem::invalid(error.to_string()))
}

fn answer<T: serde::Serialize>(status: StatusCode, result: Result<T, Problem>) -> Answer {
    match result {
        Ok(value) => respond::json(status, &value),
        Err(problem) => respond::problem(&problem),
    }
}

/// The gateway's answer, if it has one within [`ANSWER_TIME`].
async fn in_time<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    within(ANSWER_TIME, work).await
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::time::timeout(time, work)
        .await
        .unwrap_or_else(|_| Err(Problem::new(ProblemKind::Busy, "the gateway is too busy to answer; ask again later")))
}

/// A turn to upload.
async fn turn(uploads: &Semaphore) -> Result<SemaphorePermit<'_>, Problem> {
    let busy = || Problem::new(ProblemKind::Busy, "other uploads are under way; try again in a minute");
    tokio::time::timeout(TURN_TIME, uploads.acquire()).await.ok().and_then(Result::ok).ok_or_else(busy)
}
