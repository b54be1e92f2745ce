//! What a gateway has, held as it is at one moment, and copied from there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use manyhands_api::types::Problem;
use manyhands_blob::store::Snapshot;
use manyhands_blob::{ChunkStore, StoreError};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::Source;
use crate::gateway::door::of_store;
use crate::gateway::shell::Shell;
use crate::gateway::sqlite;

/// Pages that are copied between two looks at whether to go on: some 4 MB.
const STEP_PAGES: i32 = 1_000;

/// Bytes that are copied of a file at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Databases that are open and not held yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    jobs: Connection,
    bonsai: Connection,
    files: Vec<(PathBuf, u64)>,
}

/// Everything, held. Dropped, it lets go.
#[derive(Debug)]
pub(crate) struct Frozen {
    jobs: Connection,
    bonsai: Connection,
    chunks: Snapshot,
    /// Bytes of the two databases.
    databases_bytes: u64,
    files: Vec<(PathBuf, u64)>,
    uploads: Held,
}

/// Uploads under their second names.
#[derive(Debug, Default)]
struct Held {
    folder: Option<PathBuf>,
    bytes: u64,
}

impl Prepared {
    /// Opens what will be held, which takes no lock.
    pub(super) fn open(source: &Source) -> io::Result<Self> {
        let open = |path: &Path| open(path).map_err(io::Error::other);
        let mut files = Vec::new();
        for path in &source.files {
            match fs::metadata(path) {
                Ok(found) => files.push((path.clone(), found.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { jobs: open(&source.jobs)?, bonsai: open(&source.bonsai)?, files })
    }

    /// Holds everything but the uploads. What names comes before what is named; a few milliseconds in all, in the event loop, so that nothing is
    /// let go in between.
    pub(crate) fn freeze(self, store: &ChunkStore) -> Result<Frozen, Problem> {
        let bonsai_bytes = hold(&self.bonsai).map_err(|error| Shell::database(&error))?;
        let jobs_bytes = hold(&self.jobs).map_err(|error| Shell::database(&error))?;
        let chunks = store.snapshot().map_err(|error| of_store(&error))?;
        Ok(Frozen {
            jobs: self.jobs,
            bonsai: self.bonsai,
            chunks,
            databases_bytes: bonsai_bytes.saturating_add(jobs_bytes),
            files: self.files,
            uploads: Held::default(),
        })
    }
}

impl Frozen {
    /// Gives each upload a second name, under which it stays whatever its owner does. No upload may be removed meanwhile.
    pub(super) fn hold_uploads(&mut self, source: &Source) -> io::Result<()> {
        match fs::remove_dir_all(&source.held) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => DirBuilder::new().recursive(true).mode(0o700).create(&source.held)?,
        }
        self.uploads.folder = Some(source.held.clone());
        for (name, path) in uploads(&source.uploads)? {
            self.uploads.bytes = self.uploads.bytes.saturating_add(fs::metadata(&path)?.len());
            link_or_copy(&path, &source.held.join(name), &mut |_| Ok(()))?;
        }
        Ok(())
    }

    /// Bytes to be copied, about.
    pub(super) fn bytes(&self) -> u64 {
        let files = self.files.iter().map(|(_, bytes)| *bytes);
        files
            .fold(self.chunks.kept_bytes(), u64::saturating_add)
            .saturating_add(self.databases_bytes)
            .saturating_add(self.uploads.bytes)
    }

    /// The most that they take of the disk.
    pub(super) fn room_bytes(&self) -> u64 {
        self.bytes().saturating_sub(self.chunks.kept_bytes()).saturating_add(self.chunks.file_bytes())
    }

    /// Copies everything into `folder`. `on_bytes` hears of bytes that are copied, and may end the work. The databases come first, and are let
    /// go: while they are held, their logs are not emptied.
    pub(super) fn copy_to(
        self,
        folder: &Path,
        on_bytes: &mut impl FnMut(u64) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let Self { jobs, bonsai, chunks, files, uploads, .. } = self;
        copy_database(jobs, &folder.join("jobs.db"), on_bytes)?;
        copy_database(bonsai, &folder.join("bonsai.db"), on_bytes)?;
        for (path, _) in files {
            let Some(name) = path.file_name() else { continue };
            copy_file(&path, &folder.join(name), on_bytes)?;
        }
        uploads.copy_to(&folder.join("uploads"), on_bytes)?;
        let place = folder.join("chunks.redb");
        new_file(&place).map_err(|error| failed(&error))?;
        chunks.copy_to(&place, |bytes| on_bytes(bytes).map_err(Ended)).map_err(|Ended(problem)| problem)
    }
}

impl Held {
    fn copy_to(self, folder: &Path, on_bytes: &mut impl FnMut(u64) -> Result<(), Problem>) -> Result<(), Problem> {
        DirBuilder::new().mode(0o700).create(folder).map_err(|error| failed(&error))?;
        let Some(held) = &self.folder else { return Ok(()) };
        for (name, path) in uploads(held).map_err(|error| failed(&error))? {
            copy_file(&path, &folder.join(name), on_bytes)?;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Why copying chunks ended.
struct Ended(Problem);

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self(of_store(&error))
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(sqlite::BUSY_TIME)?;
    Ok(db)
}

/// Begins to read, and tells how many bytes there are.
fn hold(db: &Connection) -> rusqlite::Result<u64> {
    db.execute_batch("BEGIN")?;
    // It is the first read that holds.
    let pages: i64 = db.query_row("SELECT page_count FROM pragma_page_count", [], |row| row.get(0))?;
    let page_bytes: i64 = db.query_row("SELECT page_size FROM pragma_page_size", [], |row| row.get(0))?;
    db.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    Ok(pages.saturating_mul(page_bytes).unsigned_abs())
}

/// Copies a database as it is held, and looks whether the copy can be read.
fn copy_database(
    from: Connection,
    path: &Path,
    on_bytes: &mut impl FnMut(u64) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let wrong = |error: rusqlite::Error| Shell::database(&error);
    new_file(path).map_err(|error| failed(&error))?;
    let mut to = Connection::open(path).map_err(wrong)?;
    let page_bytes: i64 =
        from.query_row("SELECT page_size FROM pragma_page_size", [], |row| row.get(0)).map_err(wrong)?;
    let backup = Backup::new(&from, &mut to).map_err(wrong)?;
    let mut left_pages = None;
    loop {
        let step = backup.step(STEP_PAGES).map_err(wrong)?;
        let progress = backup.progress();
        let done_pages = left_pages.unwrap_or(progress.pagecount).saturating_sub(progress.remaining);
        left_pages = Some(progress.remaining);
        on_bytes(i64::from(done_pages).saturating_mul(page_bytes).unsigned_abs())?;
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // Nobody else has the copy, and reading waits for nobody.
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    drop(backup);
    drop(from);
    let found: String = to.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(wrong)?;
    if found != "ok" {
        return Err(Problem::internal(format!("the copy of {} is damaged: {found}", path.display())));
    }
    to.close().map_err(|(_, error)| wrong(error))
}

/// Uploads that are whole, by name. Those that come have names with a dot first.
fn uploads(folder: &Path) -> io::Result<Vec<(std::ffi::OsString, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_whole = !entry.file_name().to_string_lossy().starts_with('.');
        if is_whole && entry.file_type()?.is_file() {
            found.push((entry.file_name(), entry.path()));
        }
    }
    Ok(found)
}

/// A second name for a file that never changes, or a copy where there are no second names.
fn link_or_copy(from: &Path, to: &Path, on_bytes: &mut impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| copy(from, to, on_bytes))
}

fn copy_file(from: &Path, to: &Path, on_bytes: &mut impl FnMut(u64) -> Result<(), Problem>) -> Result<(), Problem> {
    let mut ended = None;
    let copied = copy(from, to, &mut |bytes| {
        on_bytes(bytes).map_err(|problem| {
            ended = Some(problem);
            io::Error::other("ended")
        })
    });
    copied.map_err(|error| ended.unwrap_or_else(|| failed(&error)))
}

/// Copies a file for its owner alone.
fn copy(from: &Path, to: &Path, on_bytes: &mut impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, new_file(to)?);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(piece.get(..count).unwrap_or_default())?;
        on_bytes(count as u64)?;
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn failed(error: &io::Error) -> Problem {
    Problem::of_disk("a back-up could not be written", error)
}
