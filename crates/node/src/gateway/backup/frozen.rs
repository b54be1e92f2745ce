//! What a gateway has, held as it is at one moment, and copied from there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use manyhands_api::types::Problem;
use manyhands_blob::ChunkStore;
use manyhands_blob::store::{CopyError, Snapshot};
use rusqlite::Connection;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Source, fault};
use crate::gateway::door::of_store;
use crate::gateway::questions::Question;
use crate::gateway::sqlite;

/// Bytes that are copied of a file at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Databases that are open and not held yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    jobs: Reading,
    bonsai: Reading,
    files: Vec<(PathBuf, u64)>,
}

/// Everything, held. Dropped, it lets go.
#[derive(Debug)]
pub(crate) struct Frozen {
    jobs: Reading,
    bonsai: Reading,
    chunks: Snapshot,
    /// Bytes of the two databases.
    databases_bytes: u64,
    /// Bytes that the jobs which were open then still bring.
    promised_bytes: u64,
    files: Vec<(PathBuf, u64)>,
    uploads: Held,
}

/// A database that is read. Its reader goes first, then whoever waits for that is told.
#[derive(Debug)]
struct Reading {
    db: Connection,
    path: PathBuf,
    _thaw: Option<Thaw>,
}

/// Tells the event loop, once it is dropped, that nobody reads the job database any more, so that its log can be emptied.
#[derive(Debug)]
pub(super) struct Thaw(pub(super) mpsc::Sender<Question>);

/// Uploads under their second names.
#[derive(Debug, Default)]
struct Held {
    folder: Option<PathBuf>,
    bytes: u64,
}

impl Prepared {
    /// Opens what will be held, which takes no lock. `thaw` goes as soon as the job database is read no more, whatever comes.
    pub(super) fn open(source: &Source, thaw: Thaw) -> Result<Self, Problem> {
        let mut files = Vec::new();
        for path in &source.files {
            match fs::metadata(path) {
                Ok(found) => files.push((path.clone(), found.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(fault::of_source(path, &error)),
            }
        }
        Ok(Self { jobs: Reading::open(&source.jobs, Some(thaw))?, bonsai: Reading::open(&source.bonsai, None)?, files })
    }

    /// Holds everything but the uploads. What names comes before what is named; a few milliseconds in all, in the event loop, so that nothing is
    /// let go in between. `promised_bytes` are those that open jobs still bring.
    pub(crate) fn freeze(self, store: &ChunkStore, promised_bytes: u64) -> Result<Frozen, Problem> {
        let (bonsai_bytes, jobs_bytes) = (self.bonsai.hold()?, self.jobs.hold()?);
        let chunks = store.snapshot().map_err(|error| of_store(&error))?;
        Ok(Frozen {
            jobs: self.jobs,
            bonsai: self.bonsai,
            chunks,
            databases_bytes: bonsai_bytes.saturating_add(jobs_bytes),
            promised_bytes,
            files: self.files,
            uploads: Held::default(),
        })
    }
}

impl Reading {
    fn open(path: &Path, thaw: Option<Thaw>) -> Result<Self, Problem> {
        let db = sqlite::open_to_read(path).map_err(|error| fault::of_source(path, &sqlite::as_io(error)))?;
        Ok(Self { db, path: path.to_owned(), _thaw: thaw })
    }

    fn hold(&self) -> Result<u64, Problem> {
        sqlite::hold(&self.db).map_err(|error| fault::of_source(&self.path, &sqlite::as_io(error)))
    }

    /// Copies it as it is held, and lets go of it.
    fn copy_to(self, to: &Path, on_bytes: &mut impl FnMut(u64) -> Result<(), Problem>) -> Result<(), Problem> {
        new_file(to).map_err(|error| fault::of_copy(to, &error))?;
        let from = self.path.clone();
        sqlite::copy(self, to, on_bytes).map_err(|error| match error {
            sqlite::CopyError::Unread(error) => fault::of_source(&from, &error),
            sqlite::CopyError::Unwritten(error) => fault::of_copy(to, &error),
            sqlite::CopyError::Ended(problem) => problem,
        })
    }
}

impl Deref for Reading {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.db
    }
}

impl Drop for Thaw {
    fn drop(&mut self) {
        let Err(TrySendError::Full(question)) = self.0.try_send(Question::Thaw) else { return };
        // The loop is busy, and may be who drops this: it is not waited for here.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let questions = self.0.clone();
            runtime.spawn(async move { questions.send(question).await });
        }
    }
}

impl Frozen {
    /// Gives each upload a second name, under which it stays whatever its owner does. No upload may be removed meanwhile. `go_on` may end it.
    pub(super) fn hold_uploads(
        &mut self,
        source: &Source,
        go_on: &mut impl FnMut(u64) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let held = &source.held;
        let emptied = match fs::remove_dir_all(held) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => DirBuilder::new().recursive(true).mode(0o700).create(held),
        };
        emptied.map_err(|error| fault::of_holding(held, &error))?;
        self.uploads.folder = Some(held.clone());
        for (name, path, bytes) in uploads(&source.uploads)? {
            go_on(0)?;
            self.uploads.bytes = self.uploads.bytes.saturating_add(bytes);
            let second = held.join(name);
            // Where there are no second names, a copy does: what is whole never changes.
            if fs::hard_link(&path, &second).is_err() {
                copy_file(&path, &second, fault::of_holding, go_on)?;
            }
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

    /// Bytes that the gateway has let jobs bring, and that are not there yet.
    pub(super) const fn promised_bytes(&self) -> u64 {
        self.promised_bytes
    }

    /// Copies everything into `folder`. `on_bytes` hears of bytes that are copied, and may end the work. The databases come first, the jobs'
    /// before the other, and are let go: while they are held, their logs are not emptied.
    pub(super) fn copy_to(
        self,
        folder: &Path,
        on_bytes: &mut impl FnMut(u64) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let Self { jobs, bonsai, chunks, files, uploads, .. } = self;
        jobs.copy_to(&folder.join("jobs.db"), on_bytes)?;
        bonsai.copy_to(&folder.join("bonsai.db"), on_bytes)?;
        for (path, _) in files {
            let Some(name) = path.file_name() else { continue };
            copy_file(&path, &folder.join(name), fault::of_copy, on_bytes)?;
        }
        uploads.copy_to(&folder.join("uploads"), on_bytes)?;
        let place = folder.join("chunks.redb");
        new_file(&place).map_err(|error| fault::of_copy(&place, &error))?;
        chunks.copy_to(&place, |bytes| on_bytes(bytes).map_err(Ended::ByCaller)).map_err(|ended| match ended {
            Ended::ByCaller(problem) => problem,
            Ended::Copy(CopyError::Unread(error)) => of_store(&error),
            Ended::Copy(CopyError::Unwritten { source }) => fault::of_copy(&place, &source),
        })
    }
}

impl Held {
    fn copy_to(self, folder: &Path, on_bytes: &mut impl FnMut(u64) -> Result<(), Problem>) -> Result<(), Problem> {
        DirBuilder::new().mode(0o700).create(folder).map_err(|error| fault::of_copy(folder, &error))?;
        let Some(held) = &self.folder else { return Ok(()) };
        for (name, path, _) in uploads(held)? {
            copy_file(&path, &folder.join(name), fault::of_copy, on_bytes)?;
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
enum Ended {
    ByCaller(Problem),
    Copy(CopyError),
}

impl From<CopyError> for Ended {
    fn from(error: CopyError) -> Self {
        Self::Copy(error)
    }
}

/// Uploads that are whole: name, place and size in bytes. Those that come have names with a dot first.
fn uploads(folder: &Path) -> Result<Vec<(std::ffi::OsString, PathBuf, u64)>, Problem> {
    let list = || -> io::Result<_> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let is_whole = !entry.file_name().to_string_lossy().starts_with('.');
            if is_whole && entry.file_type()?.is_file() {
                found.push((entry.file_name(), entry.path(), entry.metadata()?.len()));
            }
        }
        Ok(found)
    };
    list().map_err(|error| fault::of_source(folder, &error))
}

/// Copies a file for its owner alone. `unwritten` tells why the copy could not be written.
fn copy_file(
    from: &Path,
    to: &Path,
    unwritten: fn(&Path, &io::Error) -> Problem,
    on_bytes: &mut impl FnMut(u64) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let unread = |error: io::Error| fault::of_source(from, &error);
    let unwritten = |error: io::Error| unwritten(to, &error);
    let (mut source, mut copy) = (File::open(from).map_err(unread)?, new_file(to).map_err(unwritten)?);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = source.read(&mut piece).map_err(unread)?;
        if count == 0 {
            return Ok(());
        }
        copy.write_all(piece.get(..count).unwrap_or_default()).map_err(unwritten)?;
        on_bytes(count as u64)?;
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
