//! The back-ups in their folder: how they are called, which is whole, which go.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What a back-up that is not whole ends with; no data directory is called so by chance.
const PART: &str = ".part";

/// Where back-ups are, and how many.
#[derive(Debug, Clone)]
pub(super) struct Set {
    /// Their folder, of one gateway only.
    pub(super) folder: PathBuf,
    /// The most that are kept.
    pub(super) kept_max: usize,
}

/// A back-up that is being made. Dropped, it leaves nothing.
#[derive(Debug)]
pub(super) struct Draft {
    set: Set,
    name: String,
    part: PathBuf,
    /// Nobody else makes one in the same folder. Ends with the file.
    _lock: File,
}

impl Set {
    /// Begins a back-up; what an earlier one has left that was cut off is removed. The folder is made if need be, for its owner alone.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::WouldBlock`] if another process makes one here.
    pub(super) fn draft(&self, name: &str) -> io::Result<Draft> {
        make_folder(&self.folder)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(self.folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                let message = "another gateway makes its back-up there now: each needs a folder of its own";
                io::Error::new(io::ErrorKind::WouldBlock, message)
            }
            TryLockError::Error(error) => error,
        })?;
        for path in self.named(|name| name.strip_suffix(PART).is_some_and(is_name))? {
            fs::remove_dir_all(path)?;
        }
        if self.folder.join(name).exists() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} is there already")));
        }
        let part = self.folder.join(format!("{name}{PART}"));
        DirBuilder::new().mode(0o700).create(&part)?;
        Ok(Draft { set: self.clone(), name: name.to_owned(), part, _lock: lock })
    }

    /// Those that are whole, the oldest first.
    ///
    /// # Errors
    /// The system's; that there is no folder yet is none.
    pub(super) fn kept(&self) -> io::Result<Vec<PathBuf>> {
        match self.named(is_name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            kept => kept,
        }
    }

    fn named(&self, is_wanted: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Links are nobody's back-ups, and are never followed.
            if entry.file_type()?.is_dir() && entry.file_name().to_str().is_some_and(&is_wanted) {
                paths.push(entry.path());
            }
        }
        // The names are times, which sort as text.
        paths.sort();
        Ok(paths)
    }

    /// Removes the oldest beyond those that are kept. Each first loses its name, so that what is called so is whole at every moment.
    fn thin_out(&self) -> io::Result<()> {
        let kept = self.kept()?;
        let too_many = kept.len().saturating_sub(self.kept_max.max(1));
        for path in kept.into_iter().take(too_many) {
            let mut gone = path.clone().into_os_string();
            gone.push(PART);
            fs::rename(&path, &gone)?;
            fs::remove_dir_all(gone)?;
        }
        Ok(())
    }
}

impl Draft {
    /// Where its files go.
    pub(super) fn folder(&self) -> &Path {
        &self.part
    }

    /// Syncs what was written, gives it its name, and lets the oldest go. Tells where it is and its size in bytes.
    ///
    /// # Errors
    /// The system's; there is no new back-up then.
    pub(super) fn finish(self) -> io::Result<(PathBuf, u64)> {
        let bytes = sync_all(&self.part)?;
        let path = self.set.folder.join(&self.name);
        fs::rename(&self.part, &path)?;
        File::open(&self.set.folder)?.sync_all()?;
        if let Err(error) = self.set.thin_out() {
            // The new one is whole all the same; the next one tries again.
            tracing::warn!(%error, folder = %self.set.folder.display(), "an old back-up could not be removed");
        }
        Ok((path, bytes))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Of one that has its name there is nothing any more.
        let _ = fs::remove_dir_all(&self.part);
    }
}

/// How a back-up is called that is begun so many seconds after 1970: `2026-01-31T12-00-00Z`.
pub(super) fn name_at(unix_seconds: u64) -> String {
    let (days, of_day) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Years that begin in March have their leap day at the end; 719,468 days lie between the first of March of year 0 and 1970.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, year) = (day - (153 * month + 2) / 5 + 1, era * 400 + year);
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let (hours, minutes, seconds) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}-{minutes:02}-{seconds:02}Z")
}

/// Whether a back-up may be called so. Nothing else in the folder is ever touched.
fn is_name(name: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00-00-00Z";
    let fits = |(letter, form): (u8, &u8)| if *form == b'0' { letter.is_ascii_digit() } else { letter == *form };
    name.len() == FORM.len() && name.bytes().zip(FORM).all(fits)
}

/// Makes a folder for its owner alone, if it is not there.
fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Has all below a folder on disk, and tells how many bytes that is.
fn sync_all(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bytes += sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
            bytes += entry.metadata()?.len();
        }
    }
    File::open(folder)?.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn set(folder: &Path) -> Set {
        Set { folder: folder.join("deep/backups"), kept_max: 2 }
    }

    fn make(set: &Set, name: &str) -> PathBuf {
        let draft = set.draft(name).unwrap();
        fs::write(draft.folder().join("file"), name).unwrap();
        let (path, bytes) = draft.finish().unwrap();
        assert_eq!(bytes, name.len() as u64);
        path
    }

    #[test]
    fn names_are_times_that_sort() {
        assert_eq!(name_at(0), "1970-01-01T00-00-00Z");
        assert_eq!(name_at(951_868_799), "2000-02-29T23-59-59Z");
        assert_eq!(name_at(1_795_399_438), "2026-11-23T02-03-58Z");
        assert!([0, 951_868_799, u64::from(u32::MAX)].iter().all(|at| is_name(&name_at(*at))));
        for other in ["", "lock", "2026-11-23T02-03-58", "2026-11-23T02-03-58Z.part", "2026-11-23 02-03-58Z", "../x"] {
            assert!(!is_name(other), "{other}");
        }
    }

    #[test]
    fn the_oldest_go_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let set = set(dir.path());
        assert!(set.kept().unwrap().is_empty(), "there is no folder yet");
        let [first, second, third] = [1, 2, 3].map(|at| make(&set, &name_at(at)));
        assert_eq!(set.kept().unwrap(), [second.clone(), third.clone()]);
        assert!(!first.exists());
        for (path, mode) in [(&set.folder, 0o700), (&third, 0o700), (&set.folder.join("lock"), 0o600)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
        // What others have put there stays, also where it is called as a back-up is.
        fs::create_dir(set.folder.join("mine")).unwrap();
        std::os::unix::fs::symlink(dir.path(), set.folder.join(name_at(0))).unwrap();
        let fourth = make(&set, &name_at(4));
        assert_eq!(set.kept().unwrap(), [third, fourth]);
        assert!(set.folder.join("mine").exists() && set.folder.join(name_at(0)).symlink_metadata().is_ok());
    }

    #[test]
    fn what_is_not_whole_has_no_name_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let set = set(dir.path());
        let draft = set.draft(&name_at(1)).unwrap();
        let refused = set.draft(&name_at(2)).unwrap_err();
        assert!(refused.to_string().contains("a folder of its own"), "{refused}");
        let part = draft.folder().to_owned();
        fs::write(part.join("file"), "x").unwrap();
        assert!(set.kept().unwrap().is_empty());
        // Cut off, as by a kill, and given up.
        let left = set.folder.join(format!("{}{PART}", name_at(0)));
        fs::create_dir(&left).unwrap();
        drop(draft);
        assert!(!part.exists() && left.exists());
        let second = make(&set, &name_at(2));
        assert!(!left.exists());
        assert_eq!(set.kept().unwrap(), [second]);
        assert_eq!(set.draft(&name_at(2)).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
