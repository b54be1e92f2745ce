//! A daemon's data directory: made private, proved writable, held by one daemon at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::StartError;

/// A data directory that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The advisory lock ends with the process at the latest, however that ends.
    lock: File,
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closed, it would stay locked as long as a process that was just begun from this one has a copy of it.
        let _ = self.lock.unlock();
    }
}

impl DataDir {
    /// Makes the directory if need be (mode 0700) and takes its lock.
    ///
    /// # Errors
    /// [`StartError::DataDir`] if it cannot be written, [`StartError::InUse`] if another daemon has it.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let unwritable = |source| StartError::DataDir { path: path.to_owned(), source };
        Self::make(path)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::InUse { path: path.to_owned(), holder: holder(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        write_pid(&mut lock).map_err(unwritable)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Makes the directory if need be (mode 0700), and takes no lock: for programs that use only what has a lock of its own,
    /// as the chunk store.
    ///
    /// # Errors
    /// [`StartError::DataDir`] if it cannot be made.
    pub fn make(path: &Path) -> Result<(), StartError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| StartError::DataDir { path: path.to_owned(), source })
    }

    /// Where the chunk store of the data directory `path` is.
    pub fn chunks_in(path: &Path) -> PathBuf {
        path.join("chunks.redb")
    }

    /// The directory itself.
    pub fn folder(&self) -> &Path {
        &self.path
    }

    /// Where the identity key is.
    pub fn identity(&self) -> PathBuf {
        self.path.join("identity.key")
    }

    /// Where the chunk store is.
    pub fn chunks(&self) -> PathBuf {
        Self::chunks_in(&self.path)
    }

    /// Where the database of the Bonsai API's keys and sessions is in the data directory `path`.
    pub fn bonsai_in(path: &Path) -> PathBuf {
        path.join("bonsai.db")
    }

    /// Where that database is.
    pub fn bonsai(&self) -> PathBuf {
        Self::bonsai_in(&self.path)
    }

    /// Where large inputs lie while a guest reads them. A gateway empties it when it starts.
    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// Where the Bonsai API's uploads lie.
    pub fn uploads(&self) -> PathBuf {
        self.path.join("uploads")
    }

    /// Where the book of the Bee API's batches is.
    pub fn batches(&self) -> PathBuf {
        self.path.join("batches.json")
    }

    /// Where back-ups go unless the configuration says otherwise.
    pub fn backups(&self) -> PathBuf {
        self.path.join("backups")
    }

    /// Where the scoreboard of the data directory `path` is.
    pub fn scores_in(path: &Path) -> PathBuf {
        path.join("scores")
    }

    /// Where the scoreboard is.
    pub fn scores(&self) -> PathBuf {
        Self::scores_in(&self.path)
    }

    /// Where the gateway's job database is.
    pub fn jobs(&self) -> PathBuf {
        self.path.join("jobs.db")
    }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    write!(lock, "{}", std::process::id())
}

/// Who holds the lock, as far as its file says.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let pid = lock.take(16).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        assert!(error.contains("--data-dir"), "{error}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn an_unusable_path_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = DataDir::open(&file.join("data")).unwrap_err();
        assert!(matches!(&error, StartError::DataDir { .. }), "{error}");
        assert!(error.to_string().contains("file/data"), "{error}");
    }
}
