//! Groth16 receipts as clients see them: the unmodified `bonsai-sdk` against the real desk and database, with a prover that does what a test
//! has it do. What a real machine says and makes is `groth16`'s own tests' matter.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use bonsai_sdk::SdkErr;
use bonsai_sdk::non_blocking::{Client, SnarkId};
use futures::future::BoxFuture;
use manyhands_api::types::JobStatus;
use manyhands_core::Priority;
use manyhands_core::job::UnitState;
use manyhands_proto::{Digest, JobId};
use manyhands_zkvm::{composite_receipt, succinct_receipt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::*;
use crate::gateway::backup::Archivist;
use crate::gateway::bonsai::{Book, KeyLimits, Keys, Maker};
use crate::gateway::door::{Door, of_store};
use crate::gateway::owners::receipts;
use crate::gateway::questions::Question;
use crate::store::tests::{TestDisk, on_test_disk};
use crate::swarm::Storage;

/// A file of `manyhands-zkvm`'s test data.
pub(in crate::gateway::bonsai) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../zkvm/testdata/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn image_id() -> Digest {
    Digest(fixture("image_id").try_into().unwrap())
}

/// A real succinct receipt.
pub(in crate::gateway::bonsai) fn succinct() -> Vec<u8> {
    succinct_receipt(&fixture("join.receipt"), &fixture("journal"), image_id()).unwrap()
}

/// Another one, of another claim.
fn other_succinct() -> Vec<u8> {
    let mut bytes = succinct();
    // The last but the metadata's digest is the journal; this one does not verify, so it is no receipt of anything.
    let place = bytes.len() - 33;
    bytes[place] ^= 1;
    bytes
}

/// Makes what it is told to, one for each permit.
#[derive(Debug)]
struct Fake {
    can: Mutex<Result<(), String>>,
    outcome: Mutex<Result<Vec<u8>, String>>,
    permits: Semaphore,
    begun: Mutex<Vec<Vec<u8>>>,
}

impl Fake {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            can: Mutex::new(Ok(())),
            outcome: Mutex::new(Ok(b"a Groth16 receipt".to_vec())),
            permits: Semaphore::new(0),
            begun: Mutex::default(),
        })
    }

    fn begun(&self) -> usize {
        self.begun.lock().unwrap().len()
    }
}

impl Maker for Fake {
    fn can(&self) -> BoxFuture<'_, Result<(), String>> {
        let can = self.can.lock().unwrap().clone();
        Box::pin(std::future::ready(can))
    }

    fn make(&self, succinct: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(async {
            self.begun.lock().unwrap().push(succinct);
            self.permits.acquire().await.unwrap().forget();
            self.outcome.lock().unwrap().clone()
        })
    }
}

type Jobs = Arc<Mutex<BTreeMap<JobId, JobStatus>>>;

/// A gateway's door for Bonsai's calls, whose jobs are what a test says.
pub(in crate::gateway::bonsai) struct World {
    pub(in crate::gateway::bonsai) desk: Arc<Desk>,
    fake: Arc<Fake>,
    jobs: Jobs,
    url: String,
    /// What stands for the event loop.
    answering: JoinHandle<()>,
    disk: TestDisk,
    _store: tempfile::TempDir,
}

impl World {
    /// On the data in `dir`, in which alice and bob have keys.
    pub(in crate::gateway::bonsai) async fn open(dir: &Path) -> (Self, [Client; 2]) {
        let keys = Keys::open(dir).unwrap();
        let priority = Priority::Normal;
        let limits =
            KeyLimits { cycles_max: 1 << 30, sessions_max: 2, bytes_max: 1 << 30, budget_cycles: Some(0), priority };
        let key = |name: &str| {
            keys.revoke(name).unwrap();
            keys.create(name, limits).unwrap()
        };
        let keys = [key("alice"), key("bob")];
        // Blobs of a store are not what restarts here.
        let (_store, store, disk) = on_test_disk();
        let (tasks, _) = crate::gateway::tasks::tests::tasks(store, Storage::Embedded).await;
        let (questions, asked) = mpsc::channel(16);
        // Nor is anything backed up.
        let elsewhere = tempfile::tempdir_in(dir).unwrap().keep();
        let data_dir = crate::data_dir::DataDir::open(&elsewhere).unwrap();
        let archivist = Arc::new(Archivist::new(&crate::Config::default(), &data_dir, questions.clone()));
        let scores = crate::scores::Scoreboard::open(elsewhere.join("scores"), Default::default());
        let door = Arc::new(Door { tasks, questions, cycles_max: 1 << 30, trusted: Vec::new(), scores, archivist });
        let (fake, jobs) = (Fake::new(), Jobs::default());
        let answering = tokio::spawn(answer(asked, Arc::clone(&jobs)));
        let book = Book::open(&crate::data_dir::DataDir::bonsai_in(dir)).unwrap();
        let (config, maker) = (crate::Config::default(), Arc::clone(&fake));
        let desk = Desk::new(Arc::clone(&door), book, dir.join("uploads"), &config, true, maker).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = manyhands_api::bonsai::routes(Arc::clone(&desk));
        tokio::spawn(manyhands_api::serve_beside(listener, door, calls, None, std::future::pending()));
        let clients = keys.map(|key| Client::from_parts(url.clone(), key, "3.0.6").unwrap());
        (Self { desk, fake, jobs, url, answering, disk, _store }, clients)
    }

    /// Writes down a session of alice's.
    async fn session(&self, number: u8, job: Option<JobId>) -> String {
        let row = SessionRow {
            id: Uuid::from_random([number; 16]),
            tenant: Tenant("alice".to_owned()),
            fingerprint: [number; 32],
            job,
            image: image_id(),
            input: None,
            claims: Vec::new(),
            cycles_max: 1,
            created_ms: 1,
            end: None,
        };
        let id = row.id.to_string();
        self.desk.on_book(move |book| book.add_session(&row)).await.unwrap();
        id
    }

    /// A session that proves, whose job is in this phase.
    async fn proving(&self, number: u8, phase: &str) -> String {
        let job = JobId([number; 16]);
        let mut found = status::tests::job(phase, Some(2), &[UnitState::Verified; 2], (2, 5));
        if phase == "failed" {
            found.view.error = Some("the guest panicked".to_owned());
        }
        if phase == "done" {
            let put = |store: &manyhands_blob::ChunkStore| store.put_blob(&receipts(), &succinct());
            found.receipt = Some(self.desk.door.tasks.on_store(put).await.unwrap());
        }
        self.jobs.lock().unwrap().insert(job, found);
        self.session(number, Some(job)).await
    }
}

/// What an event loop would say of jobs.
async fn answer(mut asked: mpsc::Receiver<Question>, jobs: Jobs) {
    while let Some(question) = asked.recv().await {
        let find = |job: &JobId| jobs.lock().unwrap().get(job).cloned();
        match question {
            Question::Job(job, to) => {
                drop(to.send(find(&job).ok_or_else(|| Problem::not_found("there is no such job"))));
            }
            Question::Ended(asked, to) => {
                let runs = |found: &JobStatus| ["open", "assembling"].contains(&found.view.phase.as_str());
                let told = asked.into_iter().map(|job| (job, find(&job)));
                drop(to.send(Ok(told.filter(|(_, found)| !found.as_ref().is_some_and(runs)).collect())));
            }
            question => panic!("another question: {question:?}"),
        }
    }
}

/// Why a client is refused.
fn said<T>(result: Result<T, SdkErr>) -> String {
    match result {
        Ok(_) => panic!("that should have been refused"),
        Err(SdkErr::InternalServerErr(text)) => text,
        Err(error) => panic!("not a sentence: {error:?}"),
    }
}

/// The status, error and address of one that has ended.
async fn ended(client: &Client, snark: &SnarkId) -> (String, Option<String>, Option<String>) {
    loop {
        let status = snark.status(client).await.unwrap();
        if status.status != "RUNNING" {
            return (status.status, status.error_msg, status.output);
        }
        assert!(status.output.is_none() && status.error_msg.is_none());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_uploaded_receipt_is_made_groth16_once_and_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (world, [alice, bob]) = World::open(dir.path()).await;
    let uploaded = alice.upload_receipt(succinct()).await.unwrap();
    assert!(said(bob.create_snark(uploaded.clone()).await).contains("of yours here"));
    let snark = alice.create_snark(uploaded.clone()).await.unwrap();
    assert_eq!(snark.status(&alice).await.unwrap().status, "RUNNING");
    assert_eq!(alice.create_snark(uploaded.clone()).await.unwrap(), snark, "it attaches");
    assert!(said(snark.status(&bob).await).contains("of yours here"));
    let address = format!("{}/snark/receipt/{}", world.url, snark.uuid);
    assert_eq!(alice.download(&address).await.unwrap(), b"the Groth16 receipt is not made yet");

    world.fake.permits.add_permits(1);
    assert_eq!(ended(&alice, &snark).await, ("SUCCEEDED".to_owned(), None, Some(address.clone())));
    assert_eq!(alice.download(&address).await.unwrap(), b"a Groth16 receipt");
    assert_ne!(bob.download(&address).await.unwrap(), b"a Groth16 receipt");
    // Where Bento has it.
    let bentos = format!("{}/receipts/groth16/receipt/{}", world.url, snark.uuid);
    assert_eq!(alice.download(&bentos).await.unwrap(), b"a Groth16 receipt");
    assert_ne!(bob.download(&bentos).await.unwrap(), b"a Groth16 receipt");
    assert_eq!(*world.fake.begun.lock().unwrap(), [succinct()]);
    // Made is made, whatever has become of Docker.
    *world.fake.can.lock().unwrap() = Err("Docker is gone".to_owned());
    assert_eq!(alice.create_snark(uploaded).await.unwrap(), snark);
    // To bob the same receipt is another matter.
    let his = bob.upload_receipt(succinct()).await.unwrap();
    assert!(said(bob.create_snark(his).await).contains("Docker is gone"));
}

#[tokio::test]
async fn a_session_is_made_groth16_when_it_has_a_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let (world, [alice, _]) = World::open(dir.path()).await;
    let asked = async |id: &str| said(alice.create_snark(id.to_owned()).await);
    let running = asked(&world.proving(1, "open").await).await;
    assert!(running.contains("no receipt yet (RecursionJoin: 0/3)"), "{running}");
    let failed = asked(&world.proving(2, "failed").await).await;
    assert!(failed.contains("there will be none: the guest panicked"), "{failed}");
    assert!(asked(&world.session(3, Some(JobId([3; 16]))).await).await.contains("job was removed"));
    assert!(asked(&world.session(4, None).await).await.contains("only executes"));
    assert!(asked(&Uuid::from_random([9; 16]).to_string()).await.contains("no session and no uploaded receipt"));
    assert_eq!(world.fake.begun(), 0);
    // The two that have not ended would be as many as the key may have.
    let over = |number| world.desk.on_book(move |book| book.remove_session(Uuid::from_random([number; 16])));
    for number in 1..=4 {
        over(number).await.unwrap();
    }

    let done = world.proving(5, "done").await;
    let snark = alice.create_snark(done.clone()).await.unwrap();
    world.fake.permits.add_permits(1);
    assert_eq!(ended(&alice, &snark).await.0, "SUCCEEDED");
    assert_eq!(*world.fake.begun.lock().unwrap(), [succinct()]);
    assert_eq!(world.desk.forget_snarks().await.unwrap(), 0);
    // The session's own receipt is gone with its job, and so is this one.
    world.jobs.lock().unwrap().clear();
    assert_eq!(world.desk.forget_snarks().await.unwrap(), 1);
    assert!(said(snark.status(&alice).await).contains("no Groth16 receipt"));
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (world, [alice, _]) = World::open(dir.path()).await;
    let asked = async |bytes: Vec<u8>| said(alice.create_snark(alice.upload_receipt(bytes).await.unwrap()).await);
    let segments = [0, 1].map(|index| Ok(fixture(&format!("segment{index}.receipt"))));
    let composite = composite_receipt(segments, &[], &fixture("journal"), image_id()).unwrap();
    assert!(asked(composite).await.contains("not made of a composite one; make a succinct receipt of it first"));
    assert!(asked(fixture("groth16.receipt")).await.contains("a Groth16 receipt already"));
    assert!(asked(b"garbage".to_vec()).await.contains("not a RISC Zero receipt"));
    assert!(asked(other_succinct()).await.contains("does not verify"));
    // The third kind of receipt is RISC Zero's fake one.
    assert!(asked([&3_u32.to_le_bytes()[..], &[0; 100]].concat()).await.contains("development mode"));
    *world.fake.can.lock().unwrap() = Err("there is no `docker` on its PATH: install Docker".to_owned());
    let told = asked(succinct()).await;
    assert!(
        told.contains("cannot make Groth16 receipts: there is no `docker`") && told.contains("succinct()"),
        "{told}"
    );
    assert!(world.desk.on_book(|book| book.open_snarks()).await.unwrap().is_empty());
    assert_eq!(world.fake.begun(), 0);
}

#[tokio::test]
async fn they_are_made_one_at_a_time_and_count_as_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let (world, [alice, bob]) = World::open(dir.path()).await;
    let ask = async |client: &Client| {
        let uploaded = client.upload_receipt(succinct()).await.unwrap();
        client.create_snark(uploaded).await
    };
    let first = ask(&alice).await.unwrap();
    until(|| world.fake.begun() == 1).await;
    let second = ask(&alice).await.unwrap();
    assert!(said(ask(&alice).await).contains("Groth16 receipts that are being made included"));
    let his = ask(&bob).await.unwrap();
    assert_eq!(world.fake.begun(), 1, "the others wait");
    world.fake.permits.add_permits(1);
    ended(&alice, &first).await;
    until(|| world.fake.begun() == 2).await;
    assert_eq!(second.status(&alice).await.unwrap().status, "RUNNING");

    // One that fails says why, and can be asked for again.
    *world.fake.outcome.lock().unwrap() = Err("docker returned failure exit code: Some(125)".to_owned());
    *world.fake.can.lock().unwrap() = Err("Docker is gone".to_owned());
    world.fake.permits.add_permits(1);
    let (state, why, output) = ended(&alice, &second).await;
    assert_eq!((state.as_str(), output), ("FAILED", None));
    assert_eq!(why.unwrap(), "docker returned failure exit code: Some(125); Docker is gone");
    // One that has waited is not begun where it cannot be made any more.
    let (state, why, _) = ended(&bob, &his).await;
    assert!(state == "FAILED" && why.unwrap().contains("cannot make Groth16 receipts: Docker is gone"));
    assert_eq!(world.fake.begun(), 2);
    *world.fake.can.lock().unwrap() = Ok(());
    let uploaded = bob.upload_receipt(succinct()).await.unwrap();
    let again = bob.create_snark(uploaded.clone()).await.unwrap();
    world.fake.permits.add_permits(1);
    assert_eq!(ended(&bob, &again).await.0, "FAILED");
    assert_ne!(bob.create_snark(uploaded).await.unwrap(), again);
}

#[test]
fn what_a_restart_cuts_off_is_made_again_under_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let before = runtime();
    let ids = before.block_on(async {
        let (world, [alice, _]) = World::open(dir.path()).await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            let uploaded = alice.upload_receipt(succinct()).await.unwrap();
            ids.push(alice.create_snark(uploaded).await.unwrap());
        }
        until(|| world.fake.begun() == 1).await;
        ids
    });
    // All of its tasks end here, in the middle of what they do.
    drop(before);
    runtime().block_on(async {
        let (world, [alice, _]) = World::open(dir.path()).await;
        assert_eq!(world.desk.resume_snarks().await.unwrap(), 2);
        world.fake.permits.add_permits(2);
        for id in &ids {
            assert_eq!(ended(&alice, id).await.0, "SUCCEEDED");
        }
        assert_eq!(*world.fake.begun.lock().unwrap(), [succinct(), succinct()]);
        assert_eq!(world.desk.resume_snarks().await.unwrap(), 0, "what has ended has");
    });
}

#[test]
fn what_ends_the_gateway_each_time_is_not_begun_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut asked = None;
    for _ in 0..BEGUN_MAX {
        runtime().block_on(async {
            let (world, [alice, _]) = World::open(dir.path()).await;
            match asked {
                Some(_) => assert_eq!(world.desk.resume_snarks().await.unwrap(), 1),
                None => {
                    let uploaded = alice.upload_receipt(succinct()).await.unwrap();
                    asked = Some((alice.create_snark(uploaded.clone()).await.unwrap(), uploaded));
                }
            }
            until(|| world.fake.begun() == 1).await;
        });
    }
    let (snark, uploaded) = asked.unwrap();
    runtime().block_on(async {
        let (world, [alice, _]) = World::open(dir.path()).await;
        assert_eq!(world.desk.resume_snarks().await.unwrap(), 1);
        let (state, why, _) = ended(&alice, &snark).await;
        assert!(state == "FAILED" && why.unwrap().contains("begun 3 times"));
        assert_eq!(world.fake.begun(), 0);
        world.fake.permits.add_permits(1);
        let again = alice.create_snark(uploaded).await.unwrap();
        assert_eq!(ended(&alice, &again).await.0, "SUCCEEDED", "its owner may try once more");
    });
}

#[tokio::test]
async fn a_full_disk_is_told_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (world, [alice, _]) = World::open(dir.path()).await;
    let uploaded = alice.upload_receipt(succinct()).await.unwrap();
    // All that the floor leaves alone, and a little.
    world.disk.0.store(100_000_100, Ordering::SeqCst);
    let told = said(alice.create_snark(uploaded.clone()).await);
    assert!(told.contains("no room for Groth16 receipts"), "{told}");
    assert!(world.desk.on_book(|book| book.open_snarks()).await.unwrap().is_empty());
    world.disk.0.store(1_000_000_000, Ordering::SeqCst);
    alice.create_snark(uploaded).await.unwrap();
}

#[tokio::test]
async fn those_of_an_upload_that_is_gone_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (world, [alice, _]) = World::open(dir.path()).await;
    let row = SnarkRow {
        id: Uuid::from_random([1; 16]),
        tenant: Tenant("alice".to_owned()),
        source: Uuid::from_random([2; 16]),
        is_upload: true,
        fingerprint: [1; 32],
        created_ms: 1,
        end: SnarkEnd::Open,
    };
    let snark = SnarkId { uuid: row.id.to_string() };
    let write = |ended_ms| {
        let row = row.clone();
        world.desk.on_book(move |book| {
            book.add_snark(&row)?;
            book.end_snark(row.id, ended_ms, &Ok(b"a Groth16 receipt".to_vec()))
        })
    };
    write(1).await.unwrap();
    assert_eq!(world.desk.forget_snarks().await.unwrap(), 1);
    assert!(said(snark.status(&alice).await).contains("no Groth16 receipt"));
    write(unix_ms()).await.unwrap();
    assert_eq!(world.desk.forget_snarks().await.unwrap(), 0, "its owner has a day to fetch it");
}

#[tokio::test]
async fn what_has_ended_is_no_session_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (world, _) = World::open(dir.path()).await;
    let alice = Tenant("alice".to_owned());
    for (number, phase) in (1..).zip(["open", "assembling", "done", "failed"]) {
        world.proving(number, phase).await;
    }
    world.session(5, Some(JobId([5; 16]))).await;
    world.session(6, None).await;
    let turn = world.desk.turn(&alice).await;
    let count = async || {
        let whose = alice.clone();
        world.desk.on_book(move |book| book.count_open(&whose)).await.unwrap()
    };
    assert_eq!(count().await, 6);
    assert_eq!(world.desk.settle(&alice, &turn).await.unwrap(), 3);
    assert_eq!(count().await, 3);
    world.jobs.lock().unwrap().clear();
    assert_eq!(world.desk.settle(&alice, &turn).await.unwrap(), 1, "the one that executes");
}

#[tokio::test]
async fn a_gateway_that_stops_says_so_and_ends_none() {
    let dir = tempfile::tempdir().unwrap();
    let (mut world, [_alice, _]) = World::open(dir.path()).await;
    let source = world.proving(1, "done").await.parse().unwrap();
    let row = SnarkRow {
        id: Uuid::from_random([1; 16]),
        tenant: Tenant("alice".to_owned()),
        source,
        is_upload: false,
        fingerprint: [1; 32],
        created_ms: 1,
        end: SnarkEnd::Open,
    };
    let written = row.clone();
    world.desk.on_book(move |book| book.add_snark(&written)).await.unwrap();
    world.answering.abort();
    let _ = (&mut world.answering).await;
    assert!(world.desk.door.job(JobId([1; 16])).await.unwrap_err().is_stopping());
    assert!(of_store(&manyhands_blob::StoreError::Interrupted).is_stopping());
    assert!(!Problem::internal("it is broken").is_stopping());
    Arc::clone(&world.desk).shrink_to_end(row.clone()).await;
    assert_eq!(world.desk.on_book(|book| book.open_snarks()).await.unwrap(), [row], "it is made after the restart");
}
