//! One request, and one operation of several attempts: time limits, bounds of answers, and when to ask again.

use core::fmt;
use core::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::future::{Either, select};
use reqwest::{Method, RequestBuilder, Response, Url, header};
use serde_json::Value;

use crate::address::{self, Token};
use crate::call::{Call, Refusal};
use crate::error::BeeError;
use crate::json;
use crate::patience::{Next, Patience, Schedule};
use crate::world::{RealWorld, World};

/// Largest JSON answer in bytes: a batch has some 350 bytes, so that this is 3,000 batches.
pub const JSON_BYTES_MAX: u64 = 1 << 20;

/// How long a question may take whose answer the node has at hand.
pub(crate) const ASK_TIME: Duration = Duration::from_secs(30);

/// Time for the first byte of a transfer, on top of what its size needs: a Bee searches 30 s for one chunk (its
/// `Swarm-Chunk-Retrieval-Timeout`), below each of a tree's levels.
const TRANSFER_BASE: Duration = Duration::from_secs(90);

/// The slowest transfer that is waited for, in bytes per second: a tenth of what nodes in data centres were measured at
/// (50 MB in 59 s).
const TRANSFER_BYTES_PER_SECOND_MIN: u64 = 85_000;

/// A user's own Bee node, seen from outside.
///
/// Cheap to clone. It connects only when asked something, speaks plain HTTP, never goes through a proxy and never
/// follows a redirect.
#[derive(Clone)]
pub struct Bee {
    http: reqwest::Client,
    base: Url,
    token: Option<Token>,
    patience: Patience,
    world: Arc<dyn World>,
    /// Whether the node was seen to make trees of another redundancy level than asked for.
    pub(crate) makes_other_trees: Arc<AtomicBool>,
}

impl fmt::Debug for Bee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bee").field("address", &self.address()).field("token", &self.token).finish_non_exhaustive()
    }
}

/// The time that one operation has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    since: Duration,
    patience: Patience,
    /// For how long after its start a 404 does not count.
    fresh_for: Duration,
}

impl Bee {
    /// A client of the node at `address`: `HOST`, `HOST:PORT` (1633 if not given) or `http://HOST:PORT/PATH`. A token is
    /// for a gateway in front of the node.
    ///
    /// # Errors
    /// [`BeeError::Address`], which hides what may be secret.
    pub fn new(address: &str, token: Option<Token>) -> Result<Self, BeeError> {
        let base = address::parse(address)?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| BeeError::Address { text: address::shown(&base), why: error.to_string() })?;
        let world = Arc::new(RealWorld::default());
        let patience = Patience::default();
        Ok(Self { http, base, token, patience, world, makes_other_trees: Arc::default() })
    }

    /// The same node, with another patience.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The same node, in another world.
    #[must_use]
    pub fn in_world(mut self, world: Arc<dyn World>) -> Self {
        self.world = world;
        self
    }

    /// Where the node is, without secrets.
    pub fn address(&self) -> String {
        address::shown(&self.base)
    }

    /// Begins an operation.
    pub(crate) fn run(&self, fresh_for: Duration) -> Run {
        Run { since: self.world.now(), patience: self.patience, fresh_for }
    }

    /// Begins an operation that may fail once and has `deadline` for it.
    pub(crate) fn run_once(&self, deadline: Duration) -> Run {
        Run { since: self.world.now(), patience: Patience::none(deadline), fresh_for: Duration::ZERO }
    }

    /// Asks for an answer in JSON.
    pub(crate) async fn ask(&self, run: &Run, call: Call, method: Method, path: &str) -> Result<Value, BeeError> {
        let attempt = || async {
            let answer = self.send(call, self.request(method.clone(), path)).await?;
            self.json(call, answer).await
        };
        self.persist(run, call, ASK_TIME, attempt).await
    }

    /// Makes attempts, each of at most `limit`, until one succeeds or it is no use to go on.
    pub(crate) async fn persist<T, F>(
        &self,
        run: &Run,
        call: Call,
        limit: Duration,
        attempt: impl Fn() -> F,
    ) -> Result<T, BeeError>
    where
        F: Future<Output = Result<T, BeeError>>,
    {
        let deadline = run.patience.deadline;
        let mut schedule = Schedule::new(run.patience, run.fresh_for);
        loop {
            let left = deadline.saturating_sub(self.elapsed(run));
            let error = match self.within(call, limit.min(left), attempt()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match schedule.next(error.retry(), self.elapsed(run), self.world.random()) {
                Next::GiveUp => return Err(error),
                Next::OutOfTime => return Err(BeeError::OutOfTime { deadline, last: Box::new(error) }),
                Next::Pause(pause) => {
                    tracing::debug!(%error, pause_ms = pause.as_millis(), "asking the Bee node again");
                    self.world.pause(pause).await;
                }
            }
        }
    }

    fn elapsed(&self, run: &Run) -> Duration {
        self.world.now().saturating_sub(run.since)
    }

    async fn within<T>(
        &self,
        call: Call,
        limit: Duration,
        attempt: impl Future<Output = Result<T, BeeError>>,
    ) -> Result<T, BeeError> {
        match select(pin!(attempt), self.world.expiry(limit)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(((), _)) => Err(BeeError::Silent { call, limit }),
        }
    }

    /// A request for `path`, which may have a query and stands below the node's address.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url.set_query(query);
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, token.header()),
            None => request,
        }
    }

    /// Sends a request and lets through what the node says yes to.
    pub(crate) async fn send(&self, call: Call, request: RequestBuilder) -> Result<Response, BeeError> {
        let answer = request.send().await.map_err(|error| self.broken(call, error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        // The status has said it; that its words cannot be read is no reason to forget it.
        let words = self.bytes(call, answer, JSON_BYTES_MAX).await.unwrap_or_default();
        let message = serde_json::from_slice::<Value>(&words).ok();
        let message = message.as_ref().and_then(|words| json::text(words, "message")).unwrap_or_default();
        let refusal = call.refusal(status);
        Err(BeeError::Refused { call, status, refusal, message: json::tame(message, 200) })
    }

    pub(crate) async fn json(&self, call: Call, answer: Response) -> Result<Value, BeeError> {
        let bytes = self.bytes(call, answer, JSON_BYTES_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|error| BeeError::Garbled { call, why: error.to_string() })
    }

    /// An answer of at most `limit_bytes`. Nothing is allocated by what the answer says about its length.
    pub(crate) async fn bytes(&self, call: Call, answer: Response, limit_bytes: u64) -> Result<Vec<u8>, BeeError> {
        let mut bytes = Vec::new();
        self.read(call, answer, limit_bytes, &mut |piece| bytes.extend_from_slice(piece)).await?;
        Ok(bytes)
    }

    /// Hands on an answer of at most `limit_bytes`, piece by piece.
    pub(crate) async fn read(
        &self,
        call: Call,
        mut answer: Response,
        limit_bytes: u64,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), BeeError> {
        let mut left = limit_bytes;
        while let Some(piece) = answer.chunk().await.map_err(|error| self.broken(call, error))? {
            left = left.checked_sub(piece.len() as u64).ok_or(BeeError::TooLarge { call, limit_bytes })?;
            take(&piece);
        }
        Ok(())
    }

    /// The error without the URL, which may say more than logs should.
    fn broken(&self, call: Call, source: reqwest::Error) -> BeeError {
        let source = source.without_url();
        if source.is_connect() {
            return BeeError::Unreachable { address: self.address(), source };
        }
        BeeError::Broken { call, source }
    }
}

/// How long a transfer of `size_bytes` may take.
pub(crate) fn transfer_time(size_bytes: u64) -> Duration {
    TRANSFER_BASE.saturating_add(Duration::from_secs(size_bytes / TRANSFER_BYTES_PER_SECOND_MIN))
}

/// Whether the error is this refusal.
pub(crate) fn is_refusal(error: &BeeError, wanted: Refusal) -> bool {
    matches!(error, BeeError::Refused { refusal, .. } if *refusal == wanted)
}
