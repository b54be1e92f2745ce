//! Room for jobs at a gateway: one that has no room is refused when it is submitted, or when its guest has been looked at, before anybody has
//! worked for it; one that runs waits a while for a disk that others have filled. Serves steps I, II and VI.

use manyhands_api::types::{Problem, ProblemKind};
use manyhands_blob::{Owner, StoreError};
use manyhands_core::Survey;
use manyhands_proto::BlobRef;

use super::jobs_db::JobRow;
use super::tasks::Tasks;
use crate::store::{Shortage, keep};

impl Tasks {
    /// Stores what a job that runs brings.
    pub(super) async fn keep(&self, owner: Owner, bytes: Vec<u8>) -> Result<BlobRef, StoreError> {
        keep(&self.store, owner, bytes).await
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
    pub(super) async fn no_room_for(&self, row: &JobRow, survey: Option<&Survey>, due_bytes: u64) -> Option<String> {
        let needed_bytes = survey?.bytes_min(row.spec.outcome)?.saturating_add(due_bytes);
        // A store that does not tell its room fails the job where it is needed, with its own reason.
        let shortage = self.on_store(move |store| Shortage::of(store, needed_bytes)).await.ok()??;
        Some(format!(
            "this gateway has no room for it: with what other jobs still bring {shortage}. On the gateway, {}",
            shortage.advice()
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use manyhands_core::sizing::Cut;
    use manyhands_core::{JobSpec, Outcome, Priority};
    use manyhands_proto::{Digest, JobId, Po2, Reference};

    use super::*;
    use crate::gateway::tasks::tests::tasks;
    use crate::store::tests::on_test_disk;
    use crate::swarm::Storage;

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

    #[tokio::test]
    async fn a_guest_that_was_looked_at_is_told_what_is_short() {
        let (_dir, store, _disk) = on_test_disk();
        let (tasks, _fed_back) = tasks(store, Storage::Embedded).await;
        let row = JobRow {
            job: JobId([1; 16]),
            image_id: Digest([1; 32]),
            program: BlobRef { reference: Reference([2; 32]), size_bytes: 9 },
            input: None,
            assumptions: Vec::new(),
            spec: JobSpec { po2: Po2::MIN, is_auto: true, outcome: Outcome::Composite, priority: Priority::Normal },
            cycles_max: 1,
            circle: None,
            sizing: None,
            runs: 0,
        };
        let cut = Cut { po2: Po2::MIN, user_cycles: 1, segments: 1, total_cycles: 1, blob_bytes: 10_000, keccaks: 0 };
        let survey = Survey { user_cycles: 1, is_whole: true, cuts: vec![cut] };
        assert_eq!(tasks.no_room_for(&row, None, u64::MAX).await, None, "nothing was seen of it");
        assert_eq!(tasks.no_room_for(&row, Some(&survey), 100_000).await, None);
        let why = tasks.no_room_for(&row, Some(&survey), 900_000).await.unwrap();
        assert!(why.contains("no room for it") && why.contains("store_limit_bytes"), "{why}");
        assert!(tasks.no_room_for(&row, Some(&survey), u64::MAX).await.is_some());
    }
}
