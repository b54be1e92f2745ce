//! Both daemons as a whole, with a worker that only says what it is: what they refuse before anybody works, and what outlives them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manyhands_api::client::{Client, ClientError};
use manyhands_api::types::{JobRequest, JobStatus, ProblemKind};
use manyhands_blob::{ChunkStore, Owner};
use manyhands_core::view::JobView;
use manyhands_core::{Outcome, Priority};
use manyhands_node::config::{BeeConfig, StorageMode};
use manyhands_node::gateway::GatewayReady;
use manyhands_node::gateway::bonsai::{KeyLimits, Keys};
use manyhands_node::prover::NodeReady;
use manyhands_node::{Config, StartError, gateway, prover};
use manyhands_proto::Po2;
use manyhands_proto::worker::{Identity, Report};
use tokio::sync::oneshot;

/// A program of the repository's own.
const PROGRAM: &[u8] = include_bytes!("../../../guests/built/tiny.bin");

/// Says what it is, as often as it is started, and does nothing.
const WORKER: &str = "#!/bin/sh\ncat \"$(dirname \"$0\")/identity\"\nexec cat >/dev/null\n";

/// Says what it is once for each file `say`; else it takes what it is given and is silent, as a guest that runs on.
const SILENT_WORKER: &str =
    "#!/bin/sh\ncd \"$(dirname \"$0\")\"\nif rm say 2>/dev/null; then cat identity; fi\nexec cat >/dev/null\n";

fn config(dir: &Path) -> Config {
    let worker = dir.join("worker");
    let identity = Report::Identity(Identity { zkvm: "risc0-zkvm 3.0.6".to_owned(), recursion: false });
    let frame = manyhands_proto::encode(&identity);
    let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
    std::fs::write(dir.join("identity"), [&length[..], &frame].concat()).unwrap();
    std::fs::write(&worker, WORKER).unwrap();
    std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o700)).unwrap();
    let data_dir = dir.join("data");
    let mut config = Config { data_dir, worker: Some(worker), store_floor_bytes: 0, ..Config::default() };
    config.net.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    config.net.mdns = false;
    config.gateway.http = ([127, 0, 0, 1], 0).into();
    config.bee.mode = Some(StorageMode::Embedded);
    config
}

/// Runs a gateway as long as `visit` takes.
async fn with_gateway<T>(config: Config, visit: impl AsyncFnOnce(GatewayReady) -> T) -> T {
    let (up, is_up) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let visit = async {
        let visited = visit(is_up.await.expect("it does not start")).await;
        drop(stop);
        visited
    };
    let (result, visited) = tokio::join!(gateway::run(config, |ready| drop(up.send(ready)), shutdown), visit);
    result.unwrap();
    visited
}

async fn until_ready(config: Config) -> NodeReady {
    let (up, is_up) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let visit = async {
        let ready = is_up.await.expect("it does not start");
        drop(stop);
        ready
    };
    let (result, ready) = tokio::join!(prover::run(config, |ready| drop(up.send(ready)), shutdown), visit);
    result.unwrap();
    ready
}

fn problem(error: ClientError) -> (ProblemKind, String) {
    let ClientError::Problem(problem) = error else { panic!("{error}") };
    (problem.kind, problem.message)
}

/// Fills a store before a daemon begins, and says who holds what after it.
fn put(config: &Config, owner: &str, text: &str) {
    std::fs::create_dir_all(&config.data_dir).unwrap();
    let store = ChunkStore::open(&config.data_dir.join("chunks.redb"), 1 << 30).unwrap();
    store.put_blob(&Owner::new(owner).unwrap(), text.as_bytes()).unwrap();
}

fn left(config: &Config) -> (Vec<String>, usize) {
    let store = ChunkStore::open(&config.data_dir.join("chunks.redb"), 1 << 30).unwrap();
    let owners = store.owners().unwrap().iter().map(Owner::to_string).collect();
    (owners, store.cached().unwrap().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_room_is_refused_when_it_is_submitted_and_a_smaller_one_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.store_limit_bytes = 16 << 20;
    with_gateway(config, async |ready| {
        assert!(ready.storage.starts_with("embedded"));
        let client = Client::new(&ready.http.to_string()).unwrap();
        let program = client.upload_program(PROGRAM.to_vec()).await.unwrap().blob;
        let request = |po2| JobRequest {
            assumptions: Vec::new(),
            private: None,
            program,
            input: None,
            po2: Some(Po2::try_from(po2).unwrap()),
            outcome: Outcome::Composite,
            cycles_max: None,
            priority: Priority::Normal,
        };
        let (kind, message) = problem(client.submit(&request(22)).await.unwrap_err());
        assert_eq!(kind, ProblemKind::NoSpace);
        assert!(message.contains("no room for the job") && message.contains("store_limit_bytes"), "{message}");
        assert!(client.status().await.unwrap().jobs.is_empty(), "nothing was begun");
        // What was uploaded for it serves the next one.
        client.submit(&request(16)).await.unwrap();
    })
    .await;
}

/// Asks for a back-up and waits for it.
async fn back_up(client: &Client) -> PathBuf {
    let name = client.back_up().await.unwrap().name;
    loop {
        let found = client.backups().await.unwrap();
        match found.last {
            Some(end) if end.name == name => {
                return PathBuf::from(end.path.unwrap_or_else(|| panic!("{:?}", end.error)));
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Has a job be done that was stopped, with this receipt, while no gateway runs.
fn finish(config: &Config, job: &JobStatus, receipt: &[u8]) {
    let store = ChunkStore::open(&config.data_dir.join("chunks.redb"), 1 << 30).unwrap();
    let blob = store.put_blob(&Owner::new("receipts").unwrap(), receipt).unwrap();
    let view = JobView { phase: "done".to_owned(), error: None, ..job.view.clone() };
    let status = serde_json::to_string(&JobStatus { view, receipt: Some(blob), ..job.clone() }).unwrap();
    let db = rusqlite::Connection::open(config.data_dir.join("jobs.db")).unwrap();
    let changed = db.execute("UPDATE jobs SET status = ?2 WHERE job = ?1", rusqlite::params![job.view.job.0, status]);
    assert_eq!(changed.unwrap(), 1);
}

/// Story: a gateway with open jobs, ended ones, a key and its uploads is backed up while it runs, and another starts on the copy.
#[test]
fn a_gateway_starts_on_a_back_up_with_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    std::fs::write(dir.path().join("worker"), SILENT_WORKER).unwrap();
    let runtime = || {
        std::fs::write(dir.path().join("say"), "").unwrap();
        // Of its own: its end is that of every task that has the store open.
        tokio::runtime::Runtime::new().unwrap()
    };
    let keys = Keys::open(&config.data_dir).unwrap();
    let limits = KeyLimits {
        cycles_max: 1 << 30,
        sessions_max: 3,
        bytes_max: 1 << 30,
        budget_cycles: None,
        priority: Priority::Normal,
    };
    let key = keys.create("alice", limits).unwrap();
    let upload = format!("inputs/{}", "0".repeat(8) + "-0000-4000-8000-000000000001");
    let put = async |ready: &GatewayReady, bytes: &'static [u8]| {
        let url = format!("http://{}/{upload}", ready.http);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        http.put(url).header("x-api-key", &key).body(bytes).send().await.unwrap().status().as_u16()
    };
    let done = runtime().block_on(with_gateway(config.clone(), async |ready| {
        let client = Client::new(&ready.http.to_string()).unwrap();
        let program = client.upload_program(PROGRAM.to_vec()).await.unwrap().blob;
        let job = client.submit(&JobRequest::new(program)).await.unwrap().job;
        client.abort(job).await.unwrap();
        client.job(job).await.unwrap()
    }));
    let receipt: Vec<u8> = (0..500_000_u32).map(|at| (at % 251) as u8).collect();
    finish(&config, &done, &receipt);
    let (before, peer_id, path) = runtime().block_on(with_gateway(config.clone(), async |ready| {
        let client = Client::new(&ready.http.to_string()).unwrap();
        let program = client.upload_program(PROGRAM.to_vec()).await.unwrap().blob;
        let input = client.upload_input(vec![7; 300_000]).await.unwrap().blob;
        let request = JobRequest { input: Some(input), ..JobRequest::new(program) };
        let open = client.submit(&request).await.unwrap().job;
        let stopped = client.submit(&JobRequest { po2: Po2::try_from(16).ok(), ..request }).await.unwrap().job;
        client.abort(stopped).await.unwrap();
        let before = [client.job(open).await.unwrap(), client.job(stopped).await.unwrap()];
        assert_eq!(put(&ready, b"an input").await, 200);
        let path = back_up(&client).await;
        // What comes later is not in it, and what goes later is.
        client.abort(done.view.job).await.unwrap();
        assert!(client.receipt(done.view.job, 1 << 20).await.is_err());
        client.submit(&JobRequest::new(client.upload_program(PROGRAM.to_vec()).await.unwrap().blob)).await.unwrap();
        (before, ready.peer_id, path)
    }));
    let restored = Config { data_dir: path, ..config };
    runtime().block_on(with_gateway(restored, async |ready| {
        assert_eq!((ready.resumed, &ready.peer_id), (1, &peer_id));
        let client = Client::new(&ready.http.to_string()).unwrap();
        assert_eq!(client.status().await.unwrap().jobs.len(), 3);
        assert!(client.receipt(done.view.job, 1 << 20).await.unwrap() == receipt);
        let [open, stopped] = before;
        let again = client.job(open.view.job).await.unwrap();
        assert_eq!((again.view.phase.as_str(), again.image_id), ("open", open.image_id));
        assert_eq!(client.job(stopped.view.job).await.unwrap().view.error, stopped.view.error);
        // The same id with something else is refused: the key, its upload and what that was are known.
        assert_eq!(put(&ready, b"an input").await, 200);
        assert_eq!(put(&ready, b"another").await, 400);
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_floor_nothing_new_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { store_floor_bytes: u64::MAX / 4, ..config(dir.path()) };
    with_gateway(config, async |ready| {
        let client = Client::new(&ready.http.to_string()).unwrap();
        let (kind, message) = problem(client.upload_program(PROGRAM.to_vec()).await.unwrap_err());
        assert_eq!(kind, ProblemKind::NoSpace);
        assert!(message.contains("free some space on the disk"), "{message}");
    })
    .await;
}

#[test]
fn a_daemon_s_start_lets_its_own_go_and_nobody_else_s() {
    let lease = format!("{} p0 1", "ab".repeat(16));
    let own = [("uploads", true), ("made", false), (lease.as_str(), false)];
    for is_gateway in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        own.iter().for_each(|(owner, _)| put(&config, owner, owner));
        ["cli", "batch-7"].iter().for_each(|owner| put(&config, owner, owner));
        let run = async {
            if is_gateway {
                with_gateway(config.clone(), async |_| ()).await;
            } else {
                until_ready(config.clone()).await;
            }
        };
        // Its own runtime, whose end is that of every task that has the store open.
        tokio::runtime::Runtime::new().unwrap().block_on(run);
        let (owners, cached) = left(&config);
        let kept = own.iter().filter(|(_, is_gateway_s)| *is_gateway_s != is_gateway).map(|(owner, _)| *owner);
        let mut due: Vec<&str> = kept.chain(["cli", "batch-7"]).collect();
        due.sort_unstable();
        assert_eq!(owners, due);
        // An upload that became no job is nobody's; what a lease held may be asked for.
        assert_eq!(cached, if is_gateway { 0 } else { 2 });
    }
}

/// A daemon for which there is nothing without a Bee node does not start without one, and says what to do.
#[tokio::test]
async fn neither_daemon_starts_without_the_bee_node_that_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens on port 1.
    let url = Some("http://127.0.0.1:1".to_owned());
    let bee = BeeConfig { mode: Some(StorageMode::BeeOnly), url, batch: None };
    let config = Config { bee, ..config(dir.path()) };
    let refused = |result: Result<(), StartError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, StartError::Bee { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("no Bee node answers") && said.contains("start the Bee node"), "{said}");
    };
    refused(gateway::run(config.clone(), |_| panic!("it is up"), std::future::pending()).await);
    refused(prover::run(config.clone(), |_| panic!("it is up"), std::future::pending()).await);
    assert!(!config.data_dir.join("chunks.redb").exists(), "nothing was begun");
}
