//! Waiting for room on the disk: what runs is not thrown away because another program filled the disk for a while.

use std::sync::Arc;
use std::time::Duration;

use manyhands_blob::{ChunkStore, Owner, StoreError};
use manyhands_proto::BlobRef;
use tokio::time::Instant;

use crate::blobs::on_store;

/// How long what runs waits for a disk whose floor is reached: time for its owner to read the log and make room. It has taken hours, perhaps.
const ROOM_TIME: Duration = Duration::from_secs(10 * 60);

/// How often it looks.
const LOOK: Duration = Duration::from_secs(5);

/// One task's wait for room on the disk.
#[derive(Debug, Default)]
pub(crate) struct RoomWait {
    since: Option<Instant>,
}

impl RoomWait {
    /// After a failure: whether it is worth to try again, now that a while has passed. Only room on the disk comes back by itself, when the
    /// programs that took it give it back.
    pub(crate) async fn is_worth_it(&mut self, error: &StoreError) -> bool {
        if !matches!(error, StoreError::LowSpace { .. }) {
            return false;
        }
        let since = *self.since.get_or_insert_with(|| {
            tracing::warn!(%error, "work waits for room on the disk, for {} s at most", ROOM_TIME.as_secs());
            Instant::now()
        });
        if since.elapsed() >= ROOM_TIME {
            return false;
        }
        tokio::time::sleep(LOOK).await;
        true
    }
}

/// Stores what has been worked for.
pub(crate) async fn keep(store: &ChunkStore, owner: Owner, bytes: Vec<u8>) -> Result<BlobRef, StoreError> {
    let bytes: Arc<[u8]> = bytes.into();
    keep_with(store, move |store| store.put_blob(&owner, &bytes)).await
}

/// Has `put` store what has been worked for, anew once there is room if the disk has none.
pub(crate) async fn keep_with<T: Send + 'static>(
    store: &ChunkStore,
    put: impl Fn(&ChunkStore) -> Result<T, StoreError> + Send + Sync + 'static,
) -> Result<T, StoreError> {
    let put = Arc::new(put);
    let mut wait = RoomWait::default();
    loop {
        let put = Arc::clone(&put);
        match on_store(store, move |store| put(store)).await {
            Err(error) if wait.is_worth_it(&error).await => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::store::tests::on_test_disk;

    fn low() -> StoreError {
        StoreError::LowSpace { free_bytes: 1, floor_bytes: 2, missing_bytes: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn room_on_the_disk_is_waited_for_and_not_for_ever() {
        let (mut wait, began) = (RoomWait::default(), Instant::now());
        let mut looks = 0;
        while wait.is_worth_it(&low()).await {
            looks += 1;
        }
        assert_eq!((began.elapsed(), looks), (ROOM_TIME, ROOM_TIME.as_secs() / LOOK.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_else_is_waited_for() {
        let began = Instant::now();
        assert!(!RoomWait::default().is_worth_it(&StoreError::Interrupted).await);
        let full = StoreError::Full { used_bytes: 1, limit_bytes: 1, needed_bytes: 1 };
        assert!(!RoomWait::default().is_worth_it(&full).await);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_goes_on_once_the_disk_has_room_again() {
        let (_dir, store, disk) = on_test_disk();
        disk.0.store(0, Ordering::SeqCst);
        let ours = store.clone();
        let keeping = tokio::spawn(async move { keep(&ours, Owner::new("x").unwrap(), vec![7; 5_000]).await });
        tokio::time::sleep(LOOK * 3).await;
        assert!(!keeping.is_finished());
        disk.0.store(1_000_000_000, Ordering::SeqCst);
        let blob = keeping.await.unwrap().unwrap();
        assert!(store.has(&blob).unwrap());
    }
}
