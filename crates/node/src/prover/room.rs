//! Watches whether a node has room for what its leases bring. What follows from it is the state machine's; the log is told when it changes.

use std::time::Duration;

use manyhands_blob::ChunkStore;
use manyhands_core::Room;
use tokio::sync::mpsc;

use super::tasks::Feedback;
use crate::blobs::on_store;
use crate::store::Shortage;

/// How often the room is looked at: a disk that other programs fill at 100 MB/s loses a fifth of the usual floor meanwhile.
const LOOK: Duration = Duration::from_secs(2);

/// What was last seen of the room.
#[derive(Debug)]
pub(crate) struct Watch {
    store: ChunkStore,
    needed_bytes: u64,
    seen: Room,
}

impl Watch {
    /// A watch that thinks that there is room for `needed_bytes`.
    pub(crate) fn new(store: ChunkStore, needed_bytes: u64) -> Self {
        Self { store, needed_bytes, seen: Room::Enough }
    }

    /// Looks, and tells what has changed.
    pub(crate) async fn look(&mut self) -> Option<Room> {
        let needed_bytes = self.needed_bytes;
        let found = on_store(&self.store, move |store| Shortage::of(store, needed_bytes)).await;
        // A store that cannot be asked is none to fetch into.
        let room = if matches!(found, Ok(None)) { Room::Enough } else { Room::Short };
        if room == self.seen {
            return None;
        }
        self.seen = room;
        match found {
            Ok(None) => tracing::info!("there is room again: this node takes work"),
            Ok(Some(shortage)) => tracing::warn!(
                "no room for another lease: {shortage}. This node takes no more work until there is room; {}",
                shortage.advice()
            ),
            Err(error) => {
                tracing::warn!(%error, "the chunk store does not tell its room; this node takes no more work")
            }
        }
        Some(room)
    }

    /// Watches until the loop has ended.
    pub(crate) async fn run(mut self, feedback: mpsc::Sender<Feedback>) {
        while !feedback.is_closed() {
            tokio::time::sleep(LOOK).await;
            if let Some(room) = self.look().await {
                let _ = feedback.send(Feedback::Room(room)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use manyhands_blob::Owner;

    use super::*;
    use crate::store::tests::on_test_disk;

    #[tokio::test]
    async fn each_change_is_told_once() {
        let (_dir, store, disk) = on_test_disk();
        let mut watch = Watch::new(store.clone(), 400_000);
        assert_eq!(watch.look().await, None);
        disk.0.store(100_000_000, Ordering::SeqCst);
        assert_eq!(watch.look().await, Some(Room::Short));
        assert_eq!(watch.look().await, None);
        disk.0.store(200_000_000, Ordering::SeqCst);
        assert_eq!(watch.look().await, Some(Room::Enough));
        // What is held counts, what is cached does not.
        let owner = Owner::new("x").unwrap();
        let blob = store.put_blob(&owner, &(0..700_000_u32).map(|n| (n * 31 % 251) as u8).collect::<Vec<_>>()).unwrap();
        assert_eq!(watch.look().await, Some(Room::Short));
        store.release_to_cache(&owner, &blob.reference).unwrap();
        assert_eq!(watch.look().await, Some(Room::Enough));
    }
}
