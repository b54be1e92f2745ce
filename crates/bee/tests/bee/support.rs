//! A Bee node that does as it is told, and a world in which a pause takes no time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use futures::future::BoxFuture;
use futures::stream;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use manyhands_bee::world::World;
use manyhands_bee::{Bee, Token};
use manyhands_blob::redundancy::Level;
use manyhands_blob::{Chunk, Splitter};
use manyhands_proto::Reference;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A request as the node saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method and path with query, such as `GET /health`.
    pub call: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// How many requests with the same method and path came before it.
    pub nth: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What the node does.
pub enum Reply {
    Json(u16, Value),
    Raw(u16, Vec<u8>),
    /// As JSON, with a tag beside it.
    Tagged(u16, Value, u64),
    /// Says that it sends so many bytes, sends these, and hangs up.
    Cut(usize, Vec<u8>),
    /// Hangs up without an answer, having read all.
    HangUp,
    /// Never answers, and lets the world's next limit run out.
    Silence,
    /// Sends these bytes again and again.
    Endless(Vec<u8>),
}

pub type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

pub struct Stub {
    pub address: SocketAddr,
    pub world: Arc<TestWorld>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Stub {
    pub async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(Arc::new(handler), usize::MAX).await
    }

    /// A node that hangs up once it has read `cut_bytes` of a body.
    pub async fn start_cutting(cut_bytes: usize) -> Self {
        Self::start_with(Arc::new(|_: &Seen| Reply::HangUp), cut_bytes).await
    }

    async fn start_with(handler: Arc<Handler>, cut_bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, world) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<TestWorld>::default());
        let (all, quiet) = (seen.clone(), world.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, seen, world) = (handler.clone(), all.clone(), quiet.clone());
                let answer =
                    service_fn(move |request| answer(request, handler.clone(), seen.clone(), world.clone(), cut_bytes));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, world, seen }
    }

    pub fn bee(&self) -> Bee {
        Bee::new(&self.address.to_string(), None).unwrap().in_world(self.world.clone())
    }

    pub fn bee_with_token(&self, token: &str) -> Bee {
        Bee::new(&self.address.to_string(), Some(Token::new(token).unwrap())).unwrap().in_world(self.world.clone())
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self, call: &str) -> usize {
        self.seen().iter().filter(|seen| seen.call == call).count()
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: Arc<Handler>,
    all: Arc<Mutex<Vec<Seen>>>,
    world: Arc<TestWorld>,
    cut_bytes: usize,
) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let read = to_bytes(Body::new(body), cut_bytes).await;
    let body = read.map(Vec::from).map_err(io::Error::other);
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let call = format!("{} {}", head.method, head.uri);
    let nth = all.lock().unwrap().iter().filter(|seen| seen.call == call).count();
    let is_whole = body.is_ok();
    let seen = Seen { call, headers: headers.collect(), body: body.unwrap_or_default(), nth };
    all.lock().unwrap().push(seen.clone());
    if !is_whole {
        return Err(io::Error::other("hangs up in the middle of a body"));
    }
    let json = |status: u16, value: &Value| {
        Response::builder().status(status).header("content-type", "application/json").body(value.to_string().into())
    };
    let response = match handler(&seen) {
        Reply::Json(status, value) => json(status, &value),
        Reply::Raw(status, bytes) => Response::builder().status(status).body(bytes.into()),
        Reply::Tagged(status, value, tag) => {
            let body = value.to_string().into();
            Response::builder().status(status).header("Swarm-Tag", tag).body(body)
        }
        Reply::Cut(length, bytes) => {
            let pieces = [Ok(bytes), Err(io::Error::other("hangs up in the middle of an answer"))];
            Response::builder().header("content-length", length).body(Body::from_stream(stream::iter(pieces)))
        }
        Reply::HangUp => return Err(io::Error::other("hangs up")),
        Reply::Silence => {
            world.run_out.notify_one();
            pending().await
        }
        Reply::Endless(bytes) => {
            let pieces = stream::repeat_with(move || Ok::<_, Infallible>(bytes.clone()));
            Response::builder().body(Body::from_stream(pieces))
        }
    };
    response.map_err(io::Error::other)
}

/// A world whose pauses take no time and are written down.
#[derive(Debug, Default)]
pub struct TestWorld {
    now: Arc<Mutex<Duration>>,
    pauses: Mutex<Vec<Duration>>,
    /// Lets one limit run out.
    run_out: Arc<Notify>,
}

impl TestWorld {
    pub fn pauses(&self) -> Vec<Duration> {
        self.pauses.lock().unwrap().clone()
    }
}

impl World for TestWorld {
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn pause(&self, time: Duration) -> BoxFuture<'static, ()> {
        *self.now.lock().unwrap() += time;
        self.pauses.lock().unwrap().push(time);
        Box::pin(async {})
    }

    fn expiry(&self, time: Duration) -> BoxFuture<'static, ()> {
        let (run_out, now) = (self.run_out.clone(), self.now.clone());
        Box::pin(async move {
            run_out.notified().await;
            *now.lock().unwrap() += time;
        })
    }

    fn random(&self) -> u64 {
        1024
    }
}

/// Bytes without a period, so that no two chunks are equal.
pub fn bytes(size: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

/// What a Bee of `level` calls these bytes.
pub fn name_at(level: Level, bytes: &[u8]) -> Reference {
    let mut drop_chunk = |_| Ok::<(), Infallible>(());
    let mut splitter = Splitter::with_level(level);
    let Ok(()) = splitter.update(bytes, &mut drop_chunk);
    let Ok(blob) = splitter.finish(&mut drop_chunk);
    blob.reference
}

/// The chunk of a body of `POST /chunks`.
pub fn chunk_of(wire: &[u8]) -> Chunk {
    let (span, payload) = wire.split_first_chunk().unwrap();
    Chunk::from_payload(u64::from_le_bytes(*span), payload).unwrap()
}

/// The chunks of these bytes at level 0.
pub fn chunks_of(bytes: &[u8]) -> BTreeMap<Reference, Vec<u8>> {
    let mut chunks = BTreeMap::new();
    let mut keep = |chunk: Chunk| {
        chunks.insert(chunk.reference(), chunk.wire().to_vec());
        Ok::<(), Infallible>(())
    };
    let mut splitter = Splitter::new();
    let Ok(()) = splitter.update(bytes, &mut keep);
    let Ok(_) = splitter.finish(&mut keep);
    chunks
}

/// Bee's answer to an upload.
pub fn named(reference: Reference) -> Reply {
    Reply::Json(201, json!({ "reference": reference.to_string() }))
}

/// Bee's answer when it says no.
pub fn no(status: u16, message: &str) -> Reply {
    Reply::Json(status, json!({ "code": status, "message": message }))
}
