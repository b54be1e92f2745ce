//! A back-up against everything that goes on meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

use manyhands_api::bonsai::types::Tenant;
use manyhands_api::types::ProblemKind;
use manyhands_blob::{ChunkStore, Owner};
use manyhands_core::{JobSpec, Outcome, Priority};
use manyhands_proto::{BlobRef, Digest, JobId, Po2, Unit};
use tokio::task::JoinHandle;

use super::*;
use crate::gateway::bonsai::{Book, UploadRow};
use crate::gateway::jobs_db::{JobRow, JobsDb, Piece};
use crate::gateway::owners::{owner_of, receipts};
use crate::gateway::questions::To;

const PLENTY: u64 = 1 << 30;

/// A gateway's data, without the gateway.
struct Data {
    dir: tempfile::TempDir,
    data_dir: DataDir,
    jobs: JobsDb,
    store: ChunkStore,
}

impl Data {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&dir.path().join("data")).unwrap();
        let jobs = JobsDb::open(&data_dir.jobs()).unwrap();
        Book::open(&data_dir.bonsai()).unwrap();
        fs::create_dir(data_dir.uploads()).unwrap();
        fs::create_dir(data_dir.scratch()).unwrap();
        fs::write(data_dir.identity(), "the key").unwrap();
        let store = ChunkStore::open(&data_dir.chunks(), PLENTY).unwrap();
        Self { dir, data_dir, jobs, store }
    }

    fn config(&self) -> Config {
        Config { data_dir: self.data_dir.folder().to_owned(), store_floor_bytes: 0, ..Config::default() }
    }

    /// A back-up's maker, and an event loop that does nothing else but answer it and `meanwhile`, between the moment of the back-up and its
    /// copying.
    fn archivist(&self, config: &Config) -> (Arc<Archivist>, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(4);
        (Arc::new(Archivist::new(config, &self.data_dir, questions)), asked)
    }

    fn put(&self, owner: &Owner, size: usize, seed: u8) -> BlobRef {
        let bytes: Vec<u8> = (0..size).map(|at| (at / 4096) as u8 ^ (at % 249) as u8 ^ seed).collect();
        self.store.put_blob(owner, &bytes).unwrap()
    }

    fn job(&self, number: u8) -> (JobRow, Piece) {
        let job = JobId([number; 16]);
        let program = self.put(&owner_of(job), 30_000, number);
        let spec = JobSpec { po2: Po2::MIN, is_auto: false, outcome: Outcome::Composite, priority: Priority::Normal };
        let row = JobRow {
            job,
            image_id: Digest([1; 32]),
            program,
            input: None,
            assumptions: Vec::new(),
            spec,
            cycles_max: 7,
            circle: None,
            sizing: None,
            runs: 0,
        };
        let blob = self.put(&owner_of(job), 90_000, number ^ 0x80);
        let segment = Piece { unit: Unit::Prove(0), po2: Po2::MIN, claim: vec![1], blob, key: None };
        self.jobs.submit(&row).unwrap();
        self.jobs.add_piece(job, &segment).unwrap();
        (row, segment)
    }
}

async fn ended(archivist: &Arc<Archivist>) -> BackupEnd {
    loop {
        let found = archivist.list().await.unwrap();
        if let (None, Some(end)) = (found.running, found.last) {
            return end;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// No file of it is anybody else's to read.
fn assert_private(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let (path, found) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        assert_eq!(
            found.permissions().mode() & 0o777,
            if found.is_dir() { 0o700 } else { 0o600 },
            "{}",
            path.display()
        );
        if found.is_dir() {
            assert_private(&path);
        }
    }
}

/// All that can go between the moment and the copying goes: the job ends, its blobs are let go, the upload is forgotten, and more comes.
#[tokio::test]
async fn what_was_there_at_the_moment_is_in_it_whatever_happens_then() {
    let mut data = Data::new();
    let (row, segment) = data.job(1);
    let receipt = data.put(&receipts(), 50_000, 9);
    let cached = data.put(&owner_of(JobId([2; 16])), 70_000, 5);
    data.store.release_owner_to_cache(&owner_of(JobId([2; 16]))).unwrap();
    let upload = data.data_dir.uploads().join("input-1");
    fs::write(&upload, "an input").unwrap();
    fs::write(data.data_dir.uploads().join(".coming"), "half").unwrap();
    let tenant = Tenant("a".to_owned());
    let book = Book::open(&data.data_dir.bonsai()).unwrap();
    let known = UploadRow { digest: [3; 32], bytes: 8 };
    book.add_upload(&tenant, b"1", "input", &known).unwrap();

    let config = data.config();
    let (archivist, mut asked) = data.archivist(&config);
    let (begun, prepared, to) = to_its_moment(&archivist, &mut asked).await;
    let frozen = prepared.freeze(&data.store, 0).unwrap();
    // From here on nothing counts.
    let later = data.job(3).0.job;
    data.jobs.begin_anew(row.job).unwrap();
    data.store.release_owner(&owner_of(row.job)).unwrap();
    data.store.release_owner(&receipts()).unwrap();
    book.remove_upload(&tenant, b"1", "input").unwrap();
    assert!(archivist.keeping().try_read_owned().is_err(), "uploads are not removed before they have another name");
    to.send(Ok(frozen)).unwrap();
    let name = begun.await.unwrap().unwrap().name;
    // As its owner forgets it: not before it may be.
    let kept = archivist.keeping().read_owned().await;
    fs::remove_file(&upload).unwrap();
    drop(kept);
    let end = ended(&archivist).await;
    assert_eq!((end.name.as_str(), end.error), (name.as_str(), None));

    let path = PathBuf::from(end.path.unwrap());
    assert_eq!(path, data.data_dir.folder().join("backups").join(&name));
    assert_private(&data.data_dir.folder().join("backups"));
    let names = |folder: &Path| -> BTreeSet<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let due = ["bonsai.db", "chunks.redb", "identity.key", "jobs.db", "uploads"];
    assert_eq!(names(&path), due.map(str::to_owned).into());
    assert_eq!(names(&path.join("uploads")), ["input-1".to_owned()].into());
    let jobs = JobsDb::open(&path.join("jobs.db")).unwrap();
    assert_eq!(jobs.open_jobs().unwrap(), std::slice::from_ref(&row));
    assert_eq!(jobs.piece(row.job, Unit::Prove(0)).unwrap(), Some(segment.clone()));
    let copied = Book::open(&path.join("bonsai.db")).unwrap();
    assert_eq!(copied.upload(&tenant, b"1", "input").unwrap(), Some(known));
    let store = ChunkStore::open(&path.join("chunks.redb"), PLENTY).unwrap();
    for blob in [row.program, segment.blob, receipt] {
        assert_eq!(store.read_blob(&blob, PLENTY).unwrap().len() as u64, blob.size_bytes);
    }
    assert!(!store.has(&cached).unwrap());
    assert!(store.held_by(&owner_of(later)).unwrap().is_empty());
    assert!(!data.data_dir.scratch().join("held-uploads").exists());
    drop(data.dir);
}

/// Begins a back-up up to its moment: the loop is asked to hold everything, and the test is the loop.
async fn to_its_moment(
    archivist: &Arc<Archivist>,
    asked: &mut mpsc::Receiver<Question>,
) -> (JoinHandle<Result<BegunBackup, Problem>>, Box<Prepared>, To<Result<Frozen, Problem>>) {
    let maker = Arc::clone(archivist);
    let begun = tokio::spawn(async move { maker.begin().await });
    let Some(Question::Freeze(prepared, to)) = asked.recv().await else { panic!("it asks for its moment") };
    (begun, prepared, to)
}

/// Whether it waits, at its first look.
async fn is_waiting(future: Pin<&mut impl Future>) -> bool {
    let mut future = future;
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// A pipe in the identity key's place: whoever copies it waits there until somebody writes to it.
fn pipe(data: &Data) -> PathBuf {
    let path = data.dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// The pipe's other end, once somebody copies it; it goes on with what is written there.
fn once_at(path: &Path) -> fs::File {
    fs::OpenOptions::new().write(true).open(path).unwrap()
}

/// The job database is let go before anything else is copied, and its log is emptied then, not when all is done.
#[tokio::test(flavor = "multi_thread")]
async fn the_loop_is_told_as_soon_as_its_database_is_free() {
    let data = Data::new();
    let (mut archivist, mut asked) = data.archivist(&data.config());
    let pipe = pipe(&data);
    Arc::get_mut(&mut archivist).unwrap().source.files[0].clone_from(&pipe);
    let (begun, prepared, to) = to_its_moment(&archivist, &mut asked).await;
    to.send(prepared.freeze(&data.store, 0)).unwrap();
    begun.await.unwrap().unwrap();
    assert!(matches!(asked.recv().await, Some(Question::Thaw)));
    let mut pipe = once_at(&pipe);
    assert!(archivist.list().await.unwrap().running.is_some(), "it waits for the pipe");
    pipe.write_all(b"x").unwrap();
    drop(pipe);
    assert_eq!(ended(&archivist).await.error, None);
}

/// Whatever keeps a back-up from being made, nothing stays held: each time the loop is told.
#[tokio::test]
async fn the_loop_is_told_also_when_nothing_comes_of_it() {
    let data = Data::new();
    let (archivist, mut asked) = data.archivist(&data.config());
    // The loop refuses.
    let (begun, prepared, to) = to_its_moment(&archivist, &mut asked).await;
    drop(prepared);
    to.send(Err(Problem::internal("no"))).unwrap();
    begun.await.unwrap().unwrap_err();
    assert!(matches!(asked.recv().await, Some(Question::Thaw)));
    // There is no room once all is held.
    let (begun, prepared, to) = to_its_moment(&archivist, &mut asked).await;
    to.send(prepared.freeze(&data.store, u64::MAX)).unwrap();
    let refused = begun.await.unwrap().unwrap_err();
    assert!(refused.kind == ProblemKind::NoSpace && refused.message.contains("open jobs still bring"), "{refused}");
    assert!(matches!(asked.recv().await, Some(Question::Thaw)));
    // The uploads cannot be held.
    fs::remove_dir(data.data_dir.uploads()).unwrap();
    let (begun, prepared, to) = to_its_moment(&archivist, &mut asked).await;
    to.send(prepared.freeze(&data.store, 0)).unwrap();
    let refused = begun.await.unwrap().unwrap_err();
    assert!(refused.message.contains("the gateway's own") && refused.message.contains("/uploads"), "{refused}");
    assert!(matches!(asked.recv().await, Some(Question::Thaw)));
    // A database is not there.
    fs::remove_file(data.data_dir.bonsai()).unwrap();
    let refused = archivist.begin().await.unwrap_err();
    assert!(refused.message.contains("the gateway's own") && refused.message.contains("bonsai.db"), "{refused}");
    assert!(matches!(asked.recv().await, Some(Question::Thaw)));
    assert!(archivist.list().await.unwrap().kept.is_empty());
}

#[tokio::test]
async fn one_at_a_time_and_none_without_room() {
    let data = Data::new();
    let mut config = data.config();
    let (archivist, mut asked) = data.archivist(&config);
    let (first, prepared, to) = to_its_moment(&archivist, &mut asked).await;
    let refused = archivist.begin().await.unwrap_err();
    assert_eq!(refused.kind, ProblemKind::Busy);
    assert!(archivist.list().await.unwrap().running.is_some());
    to.send(prepared.freeze(&data.store, 0)).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(ended(&archivist).await.error, None);
    assert_eq!(archivist.list().await.unwrap().kept.len(), 1);

    config.store_floor_bytes = u64::MAX / 2;
    config.gateway.backup_folder = Some(data.dir.path().join("elsewhere"));
    let (archivist, mut asked) = data.archivist(&config);
    let (begun, prepared, to) = to_its_moment(&archivist, &mut asked).await;
    to.send(prepared.freeze(&data.store, 0)).unwrap();
    let refused = begun.await.unwrap().unwrap_err();
    assert!(refused.kind == ProblemKind::NoSpace && refused.message.contains("elsewhere"), "{refused}");
    let found = archivist.list().await.unwrap();
    assert!(found.kept.is_empty() && found.running.is_none());
    assert_eq!(found.last.unwrap().error, Some(refused));
    assert_eq!(fs::read_dir(data.dir.path().join("elsewhere")).unwrap().count(), 1, "its lock, and nothing else");
    assert_private(&data.dir.path().join("elsewhere"));
}

impl Data {
    /// Nothing of a back-up is left, and the store is free.
    fn assert_nothing_is_left(self) {
        let folder = self.data_dir.backups();
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["lock"]);
        assert!(!self.data_dir.scratch().join("held-uploads").exists());
        let Self { data_dir, store, .. } = self;
        drop(store);
        ChunkStore::open(&data_dir.chunks(), PLENTY).unwrap();
    }
}

/// What is being copied ends with the gateway, which waits for that: nothing is left when it has closed, and the store is free.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_leaves_nothing_half_made() {
    let data = Data::new();
    data.put(&receipts(), 500_000, 1);
    fs::write(data.data_dir.uploads().join("input-1"), "an input").unwrap();
    let (mut archivist, mut asked) = data.archivist(&data.config());
    let pipe = pipe(&data);
    Arc::get_mut(&mut archivist).unwrap().source.files[0].clone_from(&pipe);
    let (begun, prepared, to) = to_its_moment(&archivist, &mut asked).await;
    to.send(prepared.freeze(&data.store, 0)).unwrap();
    begun.await.unwrap().unwrap();
    let mut pipe = once_at(&pipe);
    let mut closing = std::pin::pin!(archivist.close());
    assert!(is_waiting(closing.as_mut()).await);
    pipe.write_all(b"x").unwrap();
    drop(pipe);
    closing.await;
    let found = archivist.list().await.unwrap();
    assert!(found.running.is_none() && found.kept.is_empty());
    let end = found.last.unwrap();
    assert!(end.path.is_none() && end.error.unwrap().message.contains("stopping"));
    assert!(archivist.begin().await.unwrap_err().message.contains("stopping"));
    data.assert_nothing_is_left();
}

/// One that has not begun to copy is no different: no task begins after the gateway has closed.
#[tokio::test]
async fn a_gateway_that_stops_at_the_moment_itself_waits_for_it_to_be_let_go() {
    let data = Data::new();
    fs::write(data.data_dir.uploads().join("input-1"), "an input").unwrap();
    let (archivist, mut asked) = data.archivist(&data.config());
    let (begun, prepared, to) = to_its_moment(&archivist, &mut asked).await;
    let mut closing = std::pin::pin!(archivist.close());
    assert!(is_waiting(closing.as_mut()).await);
    to.send(prepared.freeze(&data.store, 0)).unwrap();
    closing.await;
    assert!(begun.await.unwrap().unwrap_err().message.contains("stopping"));
    data.assert_nothing_is_left();
}

/// A disk that does not answer does not keep a gateway from stopping.
#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_not_waited_for_for_ever() {
    let data = Data::new();
    let (archivist, mut asked) = data.archivist(&data.config());
    let (_begun, _prepared, _to) = to_its_moment(&archivist, &mut asked).await;
    let since = tokio::time::Instant::now();
    archivist.close().await;
    assert_eq!(since.elapsed().as_secs(), CLOSE_TIME.as_secs());
    assert!(archivist.list().await.unwrap().running.is_some());
}

/// Told to stop at any look, it stops there with that reason, and what it has made goes.
#[tokio::test]
async fn the_copy_ends_at_every_look() {
    let data = Data::new();
    data.put(&receipts(), 500_000, 1);
    fs::write(data.data_dir.uploads().join("input-1"), "an input").unwrap();
    let (archivist, _asked) = data.archivist(&data.config());
    let thaw = || Thaw(archivist.questions.clone());
    for looks_max in 0.. {
        let draft = archivist.set.draft(7).unwrap();
        let mut frozen = Prepared::open(&archivist.source, thaw()).unwrap().freeze(&data.store, 0).unwrap();
        let mut looks = 0;
        let mut look = |_: u64| {
            looks += 1;
            if looks > looks_max { Err(Problem::stopping()) } else { Ok(()) }
        };
        let copied = frozen
            .hold_uploads(&archivist.source, &mut look)
            .and_then(|()| frozen.copy_to(draft.folder(), &mut look))
            .and_then(|()| draft.finish(&mut || look(0)));
        match copied {
            Err(problem) => assert!(problem == Problem::stopping() && looks == looks_max + 1, "{problem}"),
            Ok((path, _)) => {
                assert!(looks > 10 && path.exists());
                fs::remove_dir_all(path).unwrap();
                break;
            }
        }
        assert!(archivist.set.kept().unwrap().is_empty());
    }
    data.assert_nothing_is_left();
}
