//! The daemons' chunk store: how it is opened, and what is said when it has no room. A daemon stops taking work before its disk is full, never
//! after; what it has begun it goes on with. Serves step II.

mod wait;

use std::fmt;
use std::path::Path;

use manyhands_blob::store::{Admission, Bounds, DiskSpace};
use manyhands_blob::{ChunkStore, StoreError};

use crate::{Config, StartError};

pub(crate) use wait::{RoomWait, keep, keep_with};

/// Opens the store in the file `path` or makes it, within the configured limit and above the configured floor of its disk.
///
/// # Errors
/// [`StartError::Store`]; in it, [`StoreError::AlreadyOpen`] if another process has it open.
pub fn open(config: &Config, path: &Path) -> Result<ChunkStore, StartError> {
    // A bare name is in the working directory.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let bounds = Bounds::new(config.store_limit_bytes).with_floor(config.store_floor_bytes, DiskSpace::of(folder));
    Ok(ChunkStore::open_within(path, bounds)?)
}

/// Whether the error says that there is no room, on the disk or in the store.
pub(crate) fn is_no_room(error: &StoreError) -> bool {
    matches!(error, StoreError::Full { .. } | StoreError::DiskFull { .. } | StoreError::LowSpace { .. })
}

/// Why there is no room for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// What was to be stored, in bytes.
    needed_bytes: u64,
    /// What was to lie beside the store on the same disk meanwhile, in bytes.
    beside_bytes: u64,
    lack: Lack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    Limit { short_bytes: u64 },
    Disk { free_bytes: u64, floor_bytes: u64 },
}

impl Shortage {
    /// Looks whether there is room for `needed_bytes` above what is reserved; none if there is.
    pub(crate) fn of(store: &ChunkStore, needed_bytes: u64) -> Result<Option<Self>, StoreError> {
        Self::beside(store, needed_bytes, 0)
    }

    /// As [`Shortage::of`], with `beside_bytes` of a file on the store's disk at the same time.
    pub(crate) fn beside(store: &ChunkStore, needed_bytes: u64, beside_bytes: u64) -> Result<Option<Self>, StoreError> {
        let lack = match store.admits_beside(needed_bytes, beside_bytes)? {
            Admission::Yes => return Ok(None),
            Admission::OverLimit { short_bytes } => Lack::Limit { short_bytes },
            Admission::LowSpace { free_bytes, floor_bytes } => Lack::Disk { free_bytes, floor_bytes },
        };
        Ok(Some(Self { needed_bytes, beside_bytes, lack }))
    }

    /// What to do about it.
    pub(crate) const fn advice(&self) -> &'static str {
        match self.lack {
            Lack::Limit { .. } => "remove finished jobs, or raise store_limit_bytes (--store-mb)",
            Lack::Disk { .. } => "free some space on that disk, or lower store_floor_bytes (--store-floor-mb)",
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lack {
            Lack::Limit { short_bytes } => {
                let needed = Megabytes(self.needed_bytes);
                write!(
                    f,
                    "it takes about {needed}, which is {} more than the chunk store's limit leaves",
                    Megabytes(short_bytes)
                )
            }
            Lack::Disk { free_bytes, floor_bytes } => {
                let needed = Megabytes(self.needed_bytes.saturating_add(self.beside_bytes));
                let (free, floor) = (Megabytes(free_bytes), Megabytes(floor_bytes));
                write!(
                    f,
                    "it takes about {needed}, and the disk below the chunk store has {free} free, of which {floor} are left alone"
                )
            }
        }
    }
}

/// Bytes as a person reads them.
pub(crate) struct Megabytes(pub(crate) u64);

impl fmt::Display for Megabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded up: what is short by a little is not short by nothing.
        let tenths = self.0.div_ceil(100_000);
        write!(f, "{}.{} MB", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use manyhands_blob::Owner;
    use manyhands_blob::store::FreeSpace;

    use super::*;

    /// A disk that has as much room as the test says.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct TestDisk(pub(crate) Arc<AtomicU64>);

    impl FreeSpace for TestDisk {
        fn free_bytes(&self) -> io::Result<u64> {
            Ok(self.0.load(Ordering::SeqCst))
        }
    }

    /// A store of 1 MB on a disk whose last 100 MB are left alone.
    pub(crate) fn on_test_disk() -> (tempfile::TempDir, ChunkStore, TestDisk) {
        let (dir, disk) = (tempfile::tempdir().unwrap(), TestDisk::default());
        disk.0.store(1_000_000_000, Ordering::SeqCst);
        let bounds = Bounds::new(1_000_000).with_floor(100_000_000, disk.clone());
        let store = ChunkStore::open_within(&dir.path().join("chunks.redb"), bounds).unwrap();
        (dir, store, disk)
    }

    #[test]
    fn a_shortage_says_what_is_short_and_what_to_do() {
        let (_dir, store, disk) = on_test_disk();
        assert_eq!(Shortage::of(&store, 500_000).unwrap(), None);
        let over = Shortage::of(&store, 3_000_000).unwrap().unwrap();
        assert_eq!(over.to_string(), "it takes about 3.0 MB, which is 2.1 MB more than the chunk store's limit leaves");
        assert!(over.advice().contains("store_limit_bytes"));
        disk.0.store(100_300_000, Ordering::SeqCst);
        let low = Shortage::of(&store, 500_000).unwrap().unwrap();
        let said = "it takes about 0.5 MB, and the disk below the chunk store has 100.3 MB free, of which 100.0 MB are left alone";
        assert_eq!(low.to_string(), said);
        assert!(low.advice().contains("store_floor_bytes"));
        let both = Shortage::beside(&store, 200_000, 200_000).unwrap().unwrap();
        assert!(both.to_string().contains("about 0.4 MB"), "{both}");
        assert_eq!(Shortage::beside(&store, 200_000, 1).unwrap(), None, "each alone fits");
        disk.0.store(0, Ordering::SeqCst);
        let refused = store.put_blob(&Owner::new("x").unwrap(), &[1; 500_000]).unwrap_err();
        assert!(is_no_room(&refused), "{refused}");
        assert!(!is_no_room(&StoreError::Interrupted));
    }

    #[test]
    fn the_configured_floor_is_the_disk_s() {
        let dir = tempfile::tempdir().unwrap();
        let opened =
            |floor| open(&Config { store_floor_bytes: floor, ..Config::default() }, &dir.path().join("chunks.redb"));
        let store = opened(u64::MAX / 4).unwrap();
        assert!(matches!(Shortage::of(&store, 1).unwrap(), Some(Shortage { lack: Lack::Disk { .. }, .. })));
        drop(store);
        assert_eq!(Shortage::of(&opened(0).unwrap(), 1).unwrap(), None);
    }
}
