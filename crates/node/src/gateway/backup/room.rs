//! Room for a back-up: looked for before it is begun, and again and again while it is written, as others write too.

use std::path::{Path, PathBuf};

use manyhands_api::types::{Problem, ProblemKind};
use manyhands_blob::store::{DiskSpace, FreeSpace};

use crate::store::Megabytes;

/// New bytes between two looks at the disk.
const LOOK_BYTES: u64 = 64 << 20;

/// The disk that back-ups are on.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    space: Box<dyn FreeSpace>,
    floor_bytes: u64,
    /// Written since the last look.
    unseen_bytes: u64,
}

impl Room {
    /// Of the disk with `folder`, which must exist, of which `floor_bytes` are left alone.
    pub(super) fn of(folder: &Path, floor_bytes: u64) -> Self {
        let space = Box::new(DiskSpace::of(folder));
        Self { folder: folder.to_owned(), space, floor_bytes, unseen_bytes: 0 }
    }

    /// Refuses if there is not room for so many bytes.
    pub(super) fn require(&self, bytes: u64) -> Result<(), Problem> {
        let what = "the room for a back-up cannot be told";
        let free_bytes = self.space.free_bytes().map_err(|error| Problem::of_disk(what, &error))?;
        if free_bytes >= self.floor_bytes.saturating_add(bytes) {
            return Ok(());
        }
        let message = format!(
            "there is no room for a back-up: it takes about {} more, and the disk with {} has {} free, of which {} are left alone (store_floor_bytes). \
             Free some space there, keep fewer back-ups (gateway.backups_max), or name a folder on another disk (gateway.backup_folder)",
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
        self.require(LOOK_BYTES)
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
    fn the_floor_is_left_alone_before_and_while() {
        let free_bytes = Arc::new(AtomicU64::new(300 << 20));
        let space = Box::new(Disk(Arc::clone(&free_bytes)));
        let mut room = Room { folder: "/b".into(), space, floor_bytes: 100 << 20, unseen_bytes: 0 };
        room.require(200 << 20).unwrap();
        let refused = room.require((200 << 20) + 1).unwrap_err();
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
