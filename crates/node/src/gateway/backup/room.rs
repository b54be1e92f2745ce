//! Room for a back-up: looked for before it is begun, and again and again while it is written, as others write too.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use manyhands_api::types::{Problem, ProblemKind};
use manyhands_blob::store::{DiskSpace, FreeSpace};

use super::fault;
use crate::store::Megabytes;

/// New bytes between two looks at the disk.
const LOOK_BYTES: u64 = 64 << 20;

/// The disk that back-ups are on.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    space: Box<dyn FreeSpace>,
    floor_bytes: u64,
    /// Whether the gateway's own data is on the same disk.
    is_shared: bool,
    /// Written since the last look.
    unseen_bytes: u64,
}

impl Room {
    /// Of the disk with `folder`, which must exist, of which `floor_bytes` are left alone. The gateway's data is in `data`.
    pub(super) fn of(folder: &Path, data: &Path, floor_bytes: u64) -> Self {
        let space = Box::new(DiskSpace::of(folder));
        let disk = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
        // What cannot be told is as if it were one disk.
        let is_shared = disk(folder).zip(disk(data)).is_none_or(|(one, other)| one == other);
        Self { folder: folder.to_owned(), space, floor_bytes, is_shared, unseen_bytes: 0 }
    }

    /// Refuses if there is not room for a back-up of so many bytes, beside `promised_bytes` of chunks that open jobs still bring, if they come to
    /// the same disk. Jobs that are taken later see what the back-up has left.
    pub(super) fn require(&self, bytes: u64, promised_bytes: u64) -> Result<(), Problem> {
        // A store's file is up to a quarter larger than its chunks.
        let promised_bytes = if self.is_shared { promised_bytes.saturating_add(promised_bytes / 4) } else { 0 };
        let free_bytes = self.space.free_bytes().map_err(|error| fault::of_copy(&self.folder, &error))?;
        if free_bytes >= self.floor_bytes.saturating_add(bytes).saturating_add(promised_bytes) {
            return Ok(());
        }
        let promised = match promised_bytes {
            0 => String::new(),
            bytes => format!(", open jobs still bring {} to the same disk", Megabytes(bytes)),
        };
        let message = format!(
            "there is no room for a back-up: it takes about {} more{promised}, and the disk with {} has {} free, of which {} are left alone \
             (store_floor_bytes). Free some space there, keep fewer back-ups (gateway.backups_max), or name a folder on another disk \
             (gateway.backup_folder)",
            Megabytes(bytes),
            self.folder.display(),
            Megabytes(free_bytes),
            Megabytes(self.floor_bytes),
        );
        Err(Problem::new(ProblemKind::NoSpace, message))
    }

    /// So many more bytes are written.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), Problem> {
        self.unseen_bytes = self.unseen_bytes.saturating_add(bytes);
        if self.unseen_bytes < LOOK_BYTES {
            return Ok(());
        }
        self.unseen_bytes = 0;
        // Of what was promised, part is written by now.
        self.require(LOOK_BYTES, 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Disk(Arc<AtomicU64>);

    impl FreeSpace for Disk {
        fn free_bytes(&self) -> io::Result<u64> {
            Ok(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn what_open_jobs_still_bring_is_counted_where_they_bring_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Room::of(dir.path(), dir.path(), 0).is_shared);
        assert!(Room::of(dir.path(), Path::new("/no/such/folder"), 0).is_shared);
        let space = || Box::new(Disk(Arc::new(AtomicU64::new(300 << 20))));
        let room = |is_shared| Room {
            folder: "/b".into(),
            space: space(),
            floor_bytes: 100 << 20,
            is_shared,
            unseen_bytes: 0,
        };
        room(true).require(100 << 20, 80 << 20).unwrap();
        let refused = room(true).require(100 << 20, (80 << 20) + 4).unwrap_err();
        assert_eq!(refused.kind, ProblemKind::NoSpace);
        assert!(refused.message.contains("open jobs still bring 104.9 MB"), "{refused}");
        room(false).require(100 << 20, u64::MAX).unwrap();
        assert!(room(true).require(0, u64::MAX).is_err(), "nothing overflows");
    }

    #[test]
    fn the_floor_is_left_alone_before_and_while() {
        let free_bytes = Arc::new(AtomicU64::new(300 << 20));
        let space = Box::new(Disk(Arc::clone(&free_bytes)));
        let mut room = Room { folder: "/b".into(), space, floor_bytes: 100 << 20, is_shared: false, unseen_bytes: 0 };
        room.require(200 << 20, 0).unwrap();
        let refused = room.require((200 << 20) + 1, 0).unwrap_err();
        assert_eq!(refused.kind, ProblemKind::NoSpace);
        let said = &refused.message;
        assert!(said.contains("disk with /b has 314.6 MB free") && said.contains("gateway.backups_max"), "{said}");
        room.spend(LOOK_BYTES).unwrap();
        // Somebody else fills it.
        free_bytes.store(100 << 20, Ordering::SeqCst);
        room.spend(LOOK_BYTES - 1).unwrap();
        assert_eq!(room.spend(1).unwrap_err().kind, ProblemKind::NoSpace);
    }
}
