//! The open database file: opening with clear errors, and opening again after the disk failed.
//!
//! redb refuses all work after an I/O error until the file is closed and opened again, which rolls back to the last
//! commit. A daemon should go on by itself once the disk has room, so that is done here.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{
    Builder, CompactionError, Database, DatabaseError, ReadTransaction, ReadableDatabase as _, WriteTransaction,
};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::StoreError;

/// Memory for redb's pages, in bytes. The default of 1 GiB is more than a weak machine has to spare; blobs are read
/// once or twice, so a cache gains little beyond the tables' upper pages.
pub(super) const CACHE_BYTES: usize = 16 << 20;

type Opener = dyn Fn() -> Result<Database, DatabaseError> + Send + Sync;

/// A redb database that can be opened again.
pub(super) struct StoreFile {
    opener: Box<Opener>,
    /// None after a failure, until it could be opened again.
    database: RwLock<Option<Database>>,
    /// None if it is no file of the system's.
    path: Option<PathBuf>,
}

impl StoreFile {
    /// Opens or makes the file at `path`.
    pub(super) fn at_path(path: &Path) -> Result<Self, StoreError> {
        let place = path.to_owned();
        let opener = move || Builder::new().set_cache_size(CACHE_BYTES).create(&place);
        let opened = make(path).and_then(|()| Self::with_opener(Box::new(opener))).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::AlreadyOpen { path: path.to_owned() },
            error => match StoreError::from(error) {
                StoreError::Io { source } => {
                    StoreError::Open { path: path.to_owned(), source: Box::new(redb::Error::Io(source)) }
                }
                StoreError::Database { source } => StoreError::Open { path: path.to_owned(), source },
                error => error,
            },
        });
        Ok(Self { path: Some(path.to_owned()), ..opened? })
    }

    pub(super) fn with_opener(opener: Box<Opener>) -> Result<Self, DatabaseError> {
        let database = RwLock::new(Some(opener()?));
        Ok(Self { opener, database, path: None })
    }

    /// Has the room that a file takes of the disk be that of the one at `path`, for tests that make their disk up.
    #[cfg(test)]
    pub(super) fn with_size_of(self, path: PathBuf) -> Self {
        Self { path: Some(path), ..self }
    }

    /// The file's length in bytes.
    pub(super) fn size_bytes(&self) -> Result<u64, StoreError> {
        let Some(path) = &self.path else { return Ok(0) };
        Ok(std::fs::metadata(path).map_err(|source| StoreError::Io { source })?.len())
    }

    /// What the file takes of the disk, in bytes: less than its length, as redb makes it longer before it writes there.
    pub(super) fn disk_bytes(&self) -> Result<u64, StoreError> {
        let Some(path) = &self.path else { return Ok(0) };
        let stat = rustix::fs::stat(path).map_err(|error| StoreError::Io { source: error.into() })?;
        // In units of 512 bytes, whatever the file system's own.
        Ok(u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512))
    }

    /// Moves what is used to the front of the file and cuts off the rest. False, and nothing done, while a reader or a
    /// writer is at work; others wait until it is done.
    pub(super) fn compact(&self) -> Result<bool, StoreError> {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = slot.as_mut() else { return Ok(false) };
        match database.compact() {
            Ok(_) => Ok(true),
            Err(CompactionError::TransactionInProgress) => Ok(false),
            Err(error) => Err(redb::Error::from(error).into()),
        }
    }

    /// A snapshot to read from.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.attempt(|database| Ok(database.begin_read()?))
    }

    /// The only write transaction; waits for the one before it.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        let mut txn = self.attempt(|database| Ok(database.begin_write()?))?;
        // Without it, opening after a crash reads the whole file: minutes on a slow disk. It costs a second fsync per
        // commit.
        txn.set_quick_repair(true);
        Ok(txn)
    }

    fn attempt<T>(&self, work: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        if let Some(database) = &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            match work(database) {
                Err(redb::Error::PreviousIo) => {}
                outcome => return Ok(outcome?),
            }
        }
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been quicker.
        if let Some(database) = slot.as_ref() {
            match work(database) {
                Err(redb::Error::PreviousIo) => {}
                outcome => return Ok(outcome?),
            }
        }
        drop(slot.take());
        let database = slot.insert((self.opener)()?);
        Ok(work(database)?)
    }
}

/// Makes an empty file at `path` if there is none. It gets its name when it is whole: one that a kill left half made could not be opened
/// again, and nobody would know that nothing is in it.
fn make(path: &Path) -> Result<(), DatabaseError> {
    if path.try_exists()? {
        return Ok(());
    }
    let draft = path.with_extension("redb.new");
    let begin = || Builder::new().set_cache_size(CACHE_BYTES).create(&draft);
    let made = match begin() {
        // What a kill left of another beginning.
        Err(DatabaseError::Storage(_)) => {
            std::fs::remove_file(&draft).map_err(DatabaseError::from).and_then(|()| begin())
        }
        made => made,
    };
    drop(made?);
    File::open(&draft)?.sync_all()?;
    match rustix::fs::renameat_with(CWD, &draft, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // Somebody else was quicker; theirs is as empty.
        Err(Errno::EXIST) => std::fs::remove_file(&draft)?,
        // Not every file system knows how not to replace.
        Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(&draft, path)?,
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(File::open(folder)?.sync_all()?)
}

impl fmt::Debug for StoreFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFile").finish_non_exhaustive()
    }
}

/// The time, for the age of downloads only.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_left_of_a_beginning_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chunks.redb");
        let draft = dir.path().join("chunks.redb.new");
        for left in [&b""[..], b"half of a header"] {
            std::fs::write(&draft, left).unwrap();
            drop(StoreFile::at_path(&path).unwrap());
            assert!(!draft.exists() && path.exists(), "{left:?}");
            std::fs::remove_file(&path).unwrap();
        }
        // A file that is there is never taken for one that was only begun.
        std::fs::write(&path, b"somebody's file").unwrap();
        assert!(StoreFile::at_path(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"somebody's file");
        assert!(!draft.exists());
    }
}
