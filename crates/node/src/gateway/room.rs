//! Room for jobs at a gateway: one that has no room is refused when it is submitted, or when its guest has been looked at, before anybody has
//! worked for it; one that runs waits a while for a disk that others have filled. Serves steps I, II, IV and VI.

use std::time::Duration;

use manyhands_api::types::{Problem, ProblemKind};
use manyhands_blob::{Owner, StoreError};
use manyhands_core::Survey;
use manyhands_proto::BlobRef;
use tokio::time::Instant;

use super::jobs_db::JobRow;
use super::tasks::Tasks;
use crate::store::Shortage;

/// How long a job that runs waits for a disk whose floor is reached: time for its owner to read the log and make room. What is in the works
/// has taken hours, perhaps.
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
            tracing::warn!(%error, "a job waits for room on the disk, for {} s at most", ROOM_TIME.as_secs());
            Instant::now()
        });
        if since.elapsed() >= ROOM_TIME {
            return false;
        }
        tokio::time::sleep(LOOK).await;
        true
    }
}

impl Tasks {
    /// Stores what a job that runs brings.
    pub(super) async fn keep(&self, owner: Owner, bytes: Vec<u8>) -> Result<BlobRef, StoreError> {
        let bytes: std::sync::Arc<[u8]> = bytes.into();
        let mut wait = RoomWait::default();
        loop {
            let (owner, bytes) = (owner.clone(), bytes.clone());
            match self.on_store(move |store| store.put_blob(&owner, &bytes)).await {
                Err(error) if wait.is_worth_it(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    /// Whether there is room for a job that brings `needed_bytes` beside what is here.
    ///
    /// # Errors
    /// [`ProblemKind::NoSpace`] with what is short and what to do.
    pub(super) async fn admit(&self, needed_bytes: u64) -> Result<(), Problem> {
        let found = self.on_store(move |store| Shortage::of(store, needed_bytes)).await;
        match found {
            Ok(None) => Ok(()),
            Ok(Some(shortage)) => Err(Problem {
                kind: ProblemKind::NoSpace,
                message: format!(
                    "this gateway has no room for the job: with what open jobs still bring {shortage}. On the gateway, {}; then submit it again",
                    shortage.advice()
                ),
            }),
            Err(error) => Err(super::door::of_store(&error)),
        }
    }

    /// Why a job cannot be done here, by what was seen of its guest.
    pub(super) async fn no_room_for(&self, row: &JobRow, survey: Option<&Survey>) -> Option<String> {
        let needed_bytes = survey?.bytes_min(row.spec.outcome)?;
        // A store that does not tell its room fails the job where it is needed, with its own reason.
        let shortage = self.on_store(move |store| Shortage::of(store, needed_bytes)).await.ok()??;
        Some(format!("this gateway has no room for it: {shortage}. On the gateway, {}", shortage.advice()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::gateway::tasks::tests::tasks;
    use crate::store::tests::on_test_disk;
    use crate::swarm::Storage;

    fn low() -> StoreError {
        StoreError::LowSpace { free_bytes: 1, floor_bytes: 2 }
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

    #[tokio::test]
    async fn a_job_without_room_is_refused_in_words_and_taken_once_there_is() {
        let (_dir, store, disk) = on_test_disk();
        let (tasks, _fed_back) = tasks(store, Storage::Embedded).await;
        tasks.admit(500_000).await.unwrap();
        let refused = tasks.admit(5_000_000).await.unwrap_err();
        assert_eq!(refused.kind, ProblemKind::NoSpace);
        assert!(refused.message.contains("no room for the job") && refused.message.contains("raise store_limit_bytes"));
        disk.0.store(100_000_000, Ordering::SeqCst);
        let refused = tasks.admit(500_000).await.unwrap_err();
        assert_eq!(refused.kind, ProblemKind::NoSpace);
        assert!(refused.message.contains("free some space on that disk"), "{}", refused.message);
        disk.0.store(1_000_000_000, Ordering::SeqCst);
        tasks.admit(500_000).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_goes_on_once_the_disk_has_room_again() {
        let (_dir, store, disk) = on_test_disk();
        let (tasks, _fed_back) = tasks(store.clone(), Storage::Embedded).await;
        disk.0.store(0, Ordering::SeqCst);
        let owner = Owner::new("x").unwrap();
        let keeping = tokio::spawn(async move { tasks.keep(owner, vec![7; 5_000]).await });
        tokio::time::sleep(LOOK * 3).await;
        assert!(!keeping.is_finished());
        disk.0.store(1_000_000_000, Ordering::SeqCst);
        let blob = keeping.await.unwrap().unwrap();
        assert!(store.has(&blob).unwrap());
    }
}
