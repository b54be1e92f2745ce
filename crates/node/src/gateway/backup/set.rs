//! The back-ups in their folder: how they are called, which is whole, which go.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use manyhands_api::types::{Problem, ProblemKind};

use super::fault;

/// What a back-up that is not whole ends with; no data directory is called so by chance.
const PART: &str = ".part";

/// Where back-ups are, and how many.
#[derive(Debug, Clone)]
pub(super) struct Set {
    /// Their folder, of one gateway only.
    pub(super) folder: PathBuf,
    /// The most that are kept.
    pub(super) kept_max: usize,
    /// The gateway's identity key. A back-up has a copy of it, which tells whose it is.
    pub(super) identity: PathBuf,
}

/// A back-up that is being made. Dropped, it leaves nothing.
#[derive(Debug)]
pub(super) struct Draft {
    set: Set,
    name: String,
    part: PathBuf,
    /// Nobody else makes one in the same folder.
    lock: File,
}

impl Set {
    /// Begins a back-up at a moment, in seconds after 1970; what an earlier one has left that was cut off is removed. The folder is made if
    /// need be, for its owner alone. If there is one of that second, it is called after the next second that has none.
    ///
    /// # Errors
    /// [`ProblemKind::Busy`] if another process makes one here, [`ProblemKind::Unfit`] if another gateway's are here; of the folder,
    /// [`fault::of_copy`].
    pub(super) fn draft(&self, unix_seconds: u64) -> Result<Draft, Problem> {
        let failed = |error: io::Error| fault::of_copy(&self.folder, &error);
        make_folder(&self.folder).map_err(failed)?;
        let lock = self.lock()?;
        self.require_own()?;
        for path in self.named(|name| name.strip_suffix(PART).is_some_and(is_name)).map_err(failed)? {
            fs::remove_dir_all(&path).map_err(|error| fault::of_copy(&path, &error))?;
        }
        let name = self.free_name(unix_seconds);
        let part = self.folder.join(format!("{name}{PART}"));
        DirBuilder::new().mode(0o700).create(&part).map_err(|error| fault::of_copy(&part, &error))?;
        Ok(Draft { set: self.clone(), name, part, lock })
    }

    fn lock(&self) -> Result<File, Problem> {
        let path = self.folder.join("lock");
        let failed = |error: io::Error| fault::of_copy(&path, &error);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = opened.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "another gateway makes its back-up in {} now: each needs a folder of its own (gateway.backup_folder)",
                    self.folder.display()
                );
                Err(Problem::new(ProblemKind::Busy, message))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Refuses a folder with another gateway's back-ups: they would count as ours, and be the first to go. One whose owner has taken the key
    /// out of it may be ours.
    fn require_own(&self) -> Result<(), Problem> {
        let ours = fs::read(&self.identity).map_err(|error| fault::of_source(&self.identity, &error))?;
        for path in self.kept().map_err(|error| fault::of_copy(&self.folder, &error))? {
            let copied = self.identity.file_name().map(|name| path.join(name)).unwrap_or_default();
            let theirs = match fs::read(&copied) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read.map_err(|error| fault::of_copy(&copied, &error))?,
            };
            if theirs != ours {
                let message = format!(
                    "{} is another gateway's back-up, or of an earlier identity of this one: each gateway needs a folder of its own, since the oldest \
                     back-ups in it go. Name another (gateway.backup_folder), or move what is there",
                    path.display()
                );
                return Err(Problem::new(ProblemKind::Unfit, message));
            }
        }
        Ok(())
    }

    /// A name that no back-up has: that of the moment, or of the first second after it. Two may begin in one second, and a clock goes back.
    fn free_name(&self, unix_seconds: u64) -> String {
        let mut at = unix_seconds;
        while self.folder.join(name_at(at)).symlink_metadata().is_ok() {
            at = at.saturating_add(1);
        }
        name_at(at)
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

    /// Removes the oldest beyond those that are kept, never `newest`: its name is not the last one if the clock went back. Each first loses
    /// its name, so that what is called so is whole at every moment.
    fn thin_out(&self, newest: &Path) -> io::Result<()> {
        let mut others = self.kept()?;
        others.retain(|path| path != newest);
        let too_many = (others.len() + 1).saturating_sub(self.kept_max.max(1));
        for path in others.into_iter().take(too_many) {
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

    /// What it will be called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Syncs what was written, gives it its name, and lets the oldest go. Tells where it is and its size in bytes. `go_on` is asked before
    /// each file and may end the work, until it has its name.
    ///
    /// # Errors
    /// `go_on`'s own; [`fault::of_copy`]. There is no new back-up then.
    pub(super) fn finish(self, go_on: &mut impl FnMut() -> Result<(), Problem>) -> Result<(PathBuf, u64), Problem> {
        let bytes = sync_all(&self.part, go_on)?;
        let path = self.set.folder.join(&self.name);
        fs::rename(&self.part, &path).map_err(|error| fault::of_copy(&path, &error))?;
        let synced = File::open(&self.set.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| fault::of_copy(&self.set.folder, &error))?;
        if let Err(error) = self.set.thin_out(&path) {
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
        // Closed, it would stay locked as long as a process that was just begun from this one has a copy of it.
        let _ = self.lock.unlock();
    }
}

/// What a back-up is called that begins so many seconds after 1970: `2026-01-31T12-00-00Z`.
pub(super) fn name_at(unix_seconds: u64) -> String {
    // Colons are not for files' names everywhere.
    let moment = i64::try_from(unix_seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
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
fn sync_all(folder: &Path, go_on: &mut impl FnMut() -> Result<(), Problem>) -> Result<u64, Problem> {
    let mut bytes = 0;
    let failed = |error: io::Error| fault::of_copy(folder, &error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        go_on()?;
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            bytes += sync_all(&entry.path(), go_on)?;
        } else {
            let synced = File::open(entry.path()).and_then(|file| file.sync_all());
            synced.map_err(|error| fault::of_copy(&entry.path(), &error))?;
            bytes += entry.metadata().map_err(failed)?.len();
        }
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn set(dir: &Path) -> Set {
        let identity = dir.join("identity.key");
        fs::write(&identity, "the key").unwrap();
        Set { folder: dir.join("deep/backups"), kept_max: 2, identity }
    }

    fn make(set: &Set, at: u64) -> PathBuf {
        let draft = set.draft(at).unwrap();
        fs::copy(&set.identity, draft.folder().join("identity.key")).unwrap();
        let name = draft.name().to_owned();
        let (path, bytes) = draft.finish(&mut || Ok(())).unwrap();
        let key_bytes = fs::metadata(&set.identity).unwrap().len();
        assert_eq!((bytes, path.file_name().unwrap().to_str()), (key_bytes, Some(name.as_str())));
        path
    }

    #[test]
    fn names_are_times_that_sort() {
        assert_eq!(name_at(0), "1970-01-01T00-00-00Z");
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
        let [first, second, third] = [1, 2, 3].map(|at| make(&set, at));
        assert_eq!(set.kept().unwrap(), [second.clone(), third.clone()]);
        assert!(!first.exists());
        for (path, mode) in [(&set.folder, 0o700), (&third, 0o700), (&set.folder.join("lock"), 0o600)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
        // What others have put there stays, also where it is called as a back-up is.
        fs::create_dir(set.folder.join("mine")).unwrap();
        symlink(dir.path(), set.folder.join(name_at(0))).unwrap();
        let fourth = make(&set, 4);
        assert_eq!(set.kept().unwrap(), [third, fourth]);
        assert!(set.folder.join("mine").exists() && set.folder.join(name_at(0)).symlink_metadata().is_ok());
    }

    #[test]
    fn what_was_just_made_stays_when_the_clock_went_back() {
        let dir = tempfile::tempdir().unwrap();
        let set = set(dir.path());
        let [old, newer] = [1_000, 2_000].map(|at| make(&set, at));
        let newest = make(&set, 500);
        assert_eq!(set.kept().unwrap(), [newest.clone(), newer], "the oldest of the others goes");
        assert!(!old.exists());
        let alone = Set { kept_max: 1, ..set };
        let last = make(&alone, 400);
        assert_eq!(alone.kept().unwrap(), [last]);
    }

    #[test]
    fn two_of_one_second_have_two_names() {
        let dir = tempfile::tempdir().unwrap();
        let set = Set { kept_max: 9, ..set(dir.path()) };
        let paths = [7, 7, 8, 7].map(|at| make(&set, at));
        assert_eq!(paths, [7, 8, 9, 10].map(|at| set.folder.join(name_at(at))));
        symlink("nowhere", set.folder.join(name_at(11))).unwrap();
        assert_eq!(make(&set, 11), set.folder.join(name_at(12)), "what is called so is another's");
    }

    #[test]
    fn another_gateway_s_back_ups_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let set = set(dir.path());
        let [first, second] = [1, 2].map(|at| make(&set, at));
        fs::write(&set.identity, "another key").unwrap();
        let refused = set.draft(3).unwrap_err();
        assert_eq!(refused.kind, ProblemKind::Unfit);
        assert!(refused.message.contains(&first.display().to_string()), "{refused}");
        assert!(refused.message.contains("gateway.backup_folder"), "{refused}");
        assert_eq!(set.kept().unwrap(), [first.clone(), second.clone()]);
        // Without its key nobody can tell whose it is.
        [&first, &second].iter().for_each(|path| fs::remove_file(path.join("identity.key")).unwrap());
        let third = make(&set, 3);
        assert_eq!(set.kept().unwrap(), [second, third]);
    }

    #[test]
    fn what_is_not_whole_has_no_name_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let set = set(dir.path());
        let draft = set.draft(1).unwrap();
        let refused = set.draft(2).unwrap_err();
        assert!(refused.kind == ProblemKind::Busy && refused.message.contains("a folder of its own"), "{refused}");
        let part = draft.folder().to_owned();
        fs::write(part.join("file"), "x").unwrap();
        assert!(set.kept().unwrap().is_empty());
        // Cut off, as by a kill, and given up.
        let left = set.folder.join(format!("{}{PART}", name_at(0)));
        fs::create_dir(&left).unwrap();
        drop(draft);
        assert!(!part.exists() && left.exists());
        let second = make(&set, 2);
        assert!(!left.exists());
        assert_eq!(set.kept().unwrap(), [second]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let set = set(dir.path());
        fs::write(dir.path().join("deep"), "a file").unwrap();
        let refused = set.draft(1).unwrap_err();
        assert!(refused.message.contains("deep/backups") && refused.message.contains("backup_folder"), "{refused}");
        fs::remove_file(dir.path().join("deep")).unwrap();
        let draft = set.draft(1).unwrap();
        fs::remove_dir(draft.folder()).unwrap();
        let refused = draft.finish(&mut || Ok(())).unwrap_err();
        assert!(refused.message.contains(&format!("{}{PART}", name_at(1))), "{refused}");
    }
}
