//! A back-up against everything that goes on meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use manyhands_api::bonsai::types::Tenant;
use manyhands_api::types::ProblemKind;
use manyhands_blob::{ChunkStore, Owner};
use manyhands_core::{JobSpec, Outcome, Priority};
use manyhands_proto::{BlobRef, Digest, JobId, Po2, Unit};

use super::*;
use crate::gateway::bonsai::{Book, UploadRow};
use crate::gateway::jobs_db::{JobRow, JobsDb, Piece};
use crate::gateway::owners::{owner_of, receipts};

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
    let maker = Arc::clone(&archivist);
    let begun = tokio::spawn(async move { maker.begin().await });
    let Some(Question::Freeze(prepared, to)) = asked.recv().await else { panic!("it asks for its moment") };
    let frozen = prepared.freeze(&data.store).unwrap();
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
    // The loop is told, so that it can empty its database's log.
    assert!(matches!(asked.recv().await, Some(Question::Thaw)));
    drop(data.dir);
}

#[tokio::test]
async fn one_at_a_time_and_none_without_room() {
    let data = Data::new();
    let mut config = data.config();
    let (archivist, mut asked) = data.archivist(&config);
    let maker = Arc::clone(&archivist);
    let first = tokio::spawn(async move { maker.begin().await });
    let Some(Question::Freeze(prepared, to)) = asked.recv().await else { panic!("it asks for its moment") };
    let refused = archivist.begin().await.unwrap_err();
    assert_eq!(refused.kind, ProblemKind::Busy);
    assert!(archivist.list().await.unwrap().running.is_some());
    to.send(prepared.freeze(&data.store)).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(ended(&archivist).await.error, None);
    assert_eq!(archivist.list().await.unwrap().kept.len(), 1);

    config.store_floor_bytes = u64::MAX / 2;
    config.gateway.backup_folder = Some(data.dir.path().join("elsewhere"));
    let (archivist, mut asked) = data.archivist(&config);
    let maker = Arc::clone(&archivist);
    let begun = tokio::spawn(async move { maker.begin().await });
    let Some(Question::Freeze(prepared, to)) = asked.recv().await else { panic!("it asks for its moment") };
    to.send(prepared.freeze(&data.store)).unwrap();
    let refused = begun.await.unwrap().unwrap_err();
    assert!(refused.kind == ProblemKind::NoSpace && refused.message.contains("elsewhere"), "{refused}");
    let found = archivist.list().await.unwrap();
    assert!(found.kept.is_empty() && found.running.is_none());
    assert_eq!(found.last.unwrap().error, Some(refused));
    assert_eq!(fs::read_dir(data.dir.path().join("elsewhere")).unwrap().count(), 1, "its lock, and nothing else");
    assert_private(&data.dir.path().join("elsewhere"));
}

/// What is under way ends with the gateway, and the store is free then.
#[tokio::test]
async fn a_gateway_that_stops_leaves_nothing_half_made() {
    let data = Data::new();
    data.put(&receipts(), 500_000, 1);
    let (archivist, mut asked) = data.archivist(&data.config());
    let maker = Arc::clone(&archivist);
    let begun = tokio::spawn(async move { maker.begin().await });
    let Some(Question::Freeze(prepared, to)) = asked.recv().await else { panic!("it asks for its moment") };
    let progress = Arc::clone(&archivist.state().running.as_ref().unwrap().progress);
    progress.is_over.store(true, Ordering::Relaxed);
    to.send(prepared.freeze(&data.store)).unwrap();
    begun.await.unwrap().unwrap();
    archivist.close().await;
    let end = ended(&archivist).await;
    assert!(end.path.is_none() && end.error.unwrap().message.contains("stopping"));
    assert!(archivist.list().await.unwrap().kept.is_empty());
    assert!(archivist.begin().await.is_err());
    let Data { data_dir, store, .. } = data;
    drop(store);
    ChunkStore::open(&data_dir.chunks(), PLENTY).unwrap();
}
