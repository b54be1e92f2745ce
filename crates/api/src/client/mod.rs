//! The client: one typed method for each path of `/v1`.
//!
//! It speaks plain HTTP: a gateway is on loopback or behind a tunnel of its owner's. It never goes through a proxy, never follows a
//! redirect, and never believes a gateway's number: each answer has its own bound.

mod error;
mod upload;
mod watch;

use std::time::{Duration, Instant};

use manyhands_core::explain::Explanation;
use manyhands_proto::limits::GUEST_LOG_BYTES_MAX;
use manyhands_proto::{BlobRef, JobId, NodeId};
use reqwest::{Method, RequestBuilder, Response, Url, header};
use serde::de::DeserializeOwned;

use crate::types::{
    Backups, BegunBackup, GatewayStatus, Health, JobRequest, JobStatus, NodeRuling, Problem, ProblemKind,
    SERVICE_HEADER, Scores, Submitted, Uploaded,
};
pub use error::ClientError;
pub use watch::Watch;

/// The port of a gateway whose address names none.
const DEFAULT_PORT: u16 = 7171;

/// Largest JSON answer in bytes: a job's status has some 250 bytes for each result, and the paper's largest round has 36,046 segments.
const JSON_BYTES_MAX: u64 = 64 << 20;

/// How long a gateway may take to say that it is there.
const HEALTH_TIME: Duration = Duration::from_secs(10);

/// How long a question may take.
const ASK_TIME: Duration = Duration::from_secs(30);

/// How long the gateway may take to store a job, above its own limit for it.
const SUBMIT_TIME: Duration = Duration::from_secs(150);

/// How long an upload or a receipt may take, above the gateway's own limit for uploads.
const TRANSFER_TIME: Duration = Duration::from_secs(20 * 60);

/// Pauses before a question is asked again. Together under a second: who asks in vain should soon know.
const PAUSES_MS: [u64; 3] = [100, 200, 400];

/// A gateway, seen from outside.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    address: String,
}

impl Client {
    /// A client of the gateway at `address`: `HOST:PORT`, `HOST` (port 7171) or `http://HOST:PORT`. Connects only when asked something.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn new(address: &str) -> Result<Self, ClientError> {
        let base = parse(address)?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            // Below the 30 s after which the gateway ends an idle connection.
            .pool_idle_timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| wrong(address, &error.to_string()))?;
        let host = base.host_str().unwrap_or_default();
        let address = format!("{host}:{}", base.port_or_known_default().unwrap_or(DEFAULT_PORT));
        Ok(Self { http, base, address })
    }

    /// The gateway's host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether a gateway is there.
    ///
    /// # Errors
    /// [`ClientError`], as of all methods below.
    pub async fn health(&self) -> Result<Health, ClientError> {
        let bytes = self.fetch("v1/health", "answer", JSON_BYTES_MAX, HEALTH_TIME).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Malformed { what: "answer", source })
    }

    /// The gateway and its fleet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<GatewayStatus, ClientError> {
        self.ask("v1/status", "status").await
    }

    /// Uploads a program.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn upload_program(&self, bytes: Vec<u8>) -> Result<Uploaded, ClientError> {
        self.upload("v1/programs", bytes).await
    }

    /// Uploads an input that is in memory; [`Client::upload_input_from`] takes one that is not.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn upload_input(&self, bytes: Vec<u8>) -> Result<Uploaded, ClientError> {
        self.upload("v1/inputs", bytes).await
    }

    /// Submits a job. Not tried again by itself: each submission is a job.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit(&self, request: &JobRequest) -> Result<Submitted, ClientError> {
        let sent = self.request(Method::POST, "v1/jobs", SUBMIT_TIME).json(request);
        self.json(self.send(sent).await?, "answer").await
    }

    /// A job.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn job(&self, job: JobId) -> Result<JobStatus, ClientError> {
        self.ask(&format!("v1/jobs/{job}"), "job").await
    }

    /// Why a job is as far as it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain(&self, job: JobId) -> Result<Explanation, ClientError> {
        self.ask(&format!("v1/jobs/{job}/explain"), "explanation").await
    }

    /// Stops a job that is open, and has the gateway forget one that has ended, with its receipt.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn abort(&self, job: JobId) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("v1/jobs/{job}"), ASK_TIME)).await.map(drop)
    }

    /// A finished job's receipt, of at most `limit_bytes`. The receipt is the gateway's word until its proof was verified.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn receipt(&self, job: JobId, limit_bytes: u64) -> Result<Vec<u8>, ClientError> {
        self.fetch(&format!("v1/jobs/{job}/receipt"), "receipt", limit_bytes, TRANSFER_TIME).await
    }

    /// What a job's guest wrote to stdout and stderr so far.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn log(&self, job: JobId) -> Result<Vec<u8>, ClientError> {
        self.fetch(&format!("v1/jobs/{job}/log"), "log", 2 * GUEST_LOG_BYTES_MAX as u64, ASK_TIME).await
    }

    /// Says something of a node, or takes back what was said. Gateways hear their own machine only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rule(&self, node: NodeId, ruling: &NodeRuling) -> Result<(), ClientError> {
        let request = self.request(Method::PUT, &format!("v1/nodes/{node}"), SUBMIT_TIME);
        self.send(request.json(ruling)).await.map(drop)
    }

    /// What verifiers say of nodes, as far as the gateway has heard.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn scores(&self) -> Result<Scores, ClientError> {
        self.ask("v1/scores", "list of scores").await
    }

    /// The receipt that a score is of, fetched from whoever has it. Nothing of it is checked.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn score_receipt(&self, receipt: BlobRef) -> Result<Vec<u8>, ClientError> {
        let path = format!("v1/scores/{}/receipt", receipt.reference);
        self.fetch(&path, "receipt", receipt.size_bytes, ASK_TIME).await
    }

    /// Begins a back-up of the gateway's data directory; [`Client::backups`] tells how far it is. Gateways refuse other machines.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn back_up(&self) -> Result<BegunBackup, ClientError> {
        self.json(self.send(self.request(Method::POST, "v1/backups", SUBMIT_TIME)).await?, "answer").await
    }

    /// The gateway's back-ups, and the one under way. Gateways refuse other machines.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backups(&self) -> Result<Backups, ClientError> {
        self.ask("v1/backups", "list of back-ups").await
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, what: &'static str) -> Result<T, ClientError> {
        let bytes = self.fetch(path, what, JSON_BYTES_MAX, ASK_TIME).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Malformed { what, source })
    }

    /// A GET, asked again when the connection breaks: a question changes nothing, and one lost answer is no reason to give a job up. All
    /// attempts together take `time`: what listens there may be of another kind, and hang up late each time.
    async fn fetch(
        &self,
        path: &str,
        what: &'static str,
        limit_bytes: u64,
        time: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let mut pauses = PAUSES_MS.iter();
        let since = Instant::now();
        loop {
            let left = time.saturating_sub(since.elapsed());
            let once = async {
                let answer = self.send(self.request(Method::GET, path, left)).await?;
                self.bytes(answer, what, limit_bytes).await
            };
            let error = match once.await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            let is_worth_it = matches!(&error, ClientError::Unreachable { source, .. } if !source.is_timeout());
            let Some(pause) = pauses.next().filter(|_| is_worth_it) else { return Err(error) };
            tracing::debug!(%error, pause_ms = pause, "asking the gateway again");
            tokio::time::sleep(Duration::from_millis(*pause)).await;
        }
    }

    async fn upload(&self, path: &str, bytes: Vec<u8>) -> Result<Uploaded, ClientError> {
        let sent = self
            .request(Method::PUT, path, TRANSFER_TIME)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(bytes);
        self.json(self.send(sent).await?, "answer").await
    }

    fn request(&self, method: Method, path: &str, time: Duration) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(path);
        self.http.request(method, url).timeout(time)
    }

    /// Sends a request and lets through what a gateway says yes to.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let answer = request.send().await.map_err(|error| self.broken(error))?;
        if !answer.headers().contains_key(SERVICE_HEADER) {
            return Err(self.stranger(&answer));
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let bytes = self.bytes(answer, "answer", JSON_BYTES_MAX).await?;
        let unreadable =
            || Problem::new(ProblemKind::Internal, format!("the gateway answered {status} without saying why"));
        Err(ClientError::Problem(serde_json::from_slice(&bytes).unwrap_or_else(|_| unreadable())))
    }

    async fn json<T: DeserializeOwned>(&self, answer: Response, what: &'static str) -> Result<T, ClientError> {
        let bytes = self.bytes(answer, what, JSON_BYTES_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Malformed { what, source })
    }

    async fn bytes(&self, mut answer: Response, what: &'static str, limit_bytes: u64) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.broken(error))? {
            if bytes.len() as u64 + piece.len() as u64 > limit_bytes {
                return Err(ClientError::TooLarge { what, limit_bytes });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn broken(&self, source: reqwest::Error) -> ClientError {
        if is_foreign(&source) {
            let what = "it does not speak HTTP".to_owned();
            return ClientError::NotAGateway { address: self.address.clone(), what };
        }
        ClientError::Unreachable { address: self.address.clone(), source }
    }

    fn stranger(&self, answer: &Response) -> ClientError {
        let name = answer.headers().get(header::SERVER).and_then(|value| value.to_str().ok());
        let name: String =
            name.unwrap_or("a web server").chars().filter(|letter| !letter.is_control()).take(60).collect();
        let what = format!("{name} answered with status {}", answer.status().as_u16());
        ClientError::NotAGateway { address: self.address.clone(), what }
    }
}

/// Whether what came back was not HTTP.
fn is_foreign(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = inner.source();
    }
    false
}

fn parse(text: &str) -> Result<Url, ClientError> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url = Url::parse(&with_scheme).map_err(|error| wrong(text, &error.to_string()))?;
    if url.scheme() != "http" {
        return Err(wrong(text, "gateways speak plain HTTP only, for now"));
    }
    if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
        return Err(wrong(text, "it must be a host and a port and nothing more"));
    }
    let has_port = text.trim_end_matches('/').rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| wrong(text, "it takes no port"))?;
    }
    Ok(url)
}

fn wrong(text: &str, why: &str) -> ClientError {
    ClientError::Address { text: text.chars().take(80).collect(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        let address = |text| Client::new(text).unwrap().address().to_owned();
        assert_eq!(address("127.0.0.1:7171"), "127.0.0.1:7171");
        assert_eq!(address("gateway.example"), "gateway.example:7171");
        assert_eq!(address("http://127.0.0.1:80/"), "127.0.0.1:80");
        assert_eq!(address("[::1]:9000"), "[::1]:9000");
        assert_eq!(address("[::1]"), "[::1]:7171");
        assert_eq!(address(" localhost:1 "), "localhost:1");
    }

    #[test]
    fn other_addresses_are_refused_with_the_reason() {
        for (text, why) in [
            ("", "empty host"),
            ("https://127.0.0.1:7171", "plain HTTP"),
            ("127.0.0.1:7171/v1", "nothing more"),
            ("me@127.0.0.1:7171", "nothing more"),
            ("127.0.0.1:99999", "invalid port"),
        ] {
            let error = Client::new(text).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert!(error.hint().unwrap().contains("HOST:PORT"));
        }
    }
}
