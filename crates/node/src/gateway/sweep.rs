//! What a crash leaves in the store, let go at the next start: blobs of jobs that have ended, receipts of jobs that were forgotten,
//! uploads that became no job, results that nobody had checked yet. Serves steps II, IV and VI.

use std::collections::BTreeSet;

use manyhands_blob::{ChunkStore, StoreError};
use manyhands_proto::{JobId, Reference};

use super::owners::Purpose;

/// Lets everything of a gateway's own go that no open job and no kept receipt needs. Tells how many blobs and downloads that were. What others
/// hold in the same store stays, and pins do.
///
/// `kept` are the receipts of ended jobs; None if not all are known, and then every receipt stays. What jobs leave that `may_cache` is not
/// for, private ones, is freed.
///
/// # Errors
/// Storage errors.
pub(crate) fn sweep(
    store: &ChunkStore,
    open: impl IntoIterator<Item = JobId>,
    kept: Option<&BTreeSet<Reference>>,
    may_cache: impl Fn(JobId) -> bool,
) -> Result<usize, StoreError> {
    let open: BTreeSet<JobId> = open.into_iter().collect();
    let mut count = 0;
    for owner in store.owners()? {
        match Purpose::of(&owner) {
            None => {}
            Some(Purpose::Job(job)) if open.contains(&job) => {}
            Some(Purpose::Job(job)) if may_cache(job) => count += store.release_owner_to_cache(&owner)?,
            Some(Purpose::Job(_)) => count += store.release_owner(&owner)?,
            Some(Purpose::Claims | Purpose::Uploads | Purpose::Scored) => count += store.release_owner(&owner)?,
            Some(Purpose::Receipts) => {
                let forgotten = store.held_by(&owner)?.into_iter().map(|blob| blob.reference);
                for reference in forgotten.filter(|reference| kept.is_some_and(|kept| !kept.contains(reference))) {
                    count += usize::from(store.release(&owner, &reference)?);
                }
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use manyhands_blob::Owner;

    use super::*;
    use crate::gateway::owners::{claims_of, owner_of, receipts, uploads};

    #[test]
    fn what_open_jobs_and_kept_receipts_need_stays_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 30).unwrap();
        let (open, ended, private) = (JobId([1; 16]), JobId([2; 16]), JobId([3; 16]));
        let put = |owner: &Owner, text: &str| store.put_blob(owner, text.as_bytes()).unwrap();
        let segment = put(&owner_of(open), "a segment of the open job");
        let shared = put(&owner_of(open), "a program that both jobs use");
        put(&owner_of(ended), "a program that both jobs use");
        let receipt = put(&receipts(), "the receipt of an ended job");
        let others = [
            put(&Owner::cli(), "what a user put in"),
            put(&Owner::cut("batch 7"), "what a client uploaded"),
            put(&Owner::new("made").unwrap(), "what a node made"),
            put(&uploads(), "an upload that was pinned"),
        ];
        store.pin(&others[3].reference).unwrap();
        let cached = put(&owner_of(ended), "a segment of the ended job");
        let may_cache = |job| job != private;
        let gone = [
            put(&owner_of(private), "the input of an ended private job"),
            put(&receipts(), "the receipt of a forgotten job"),
            put(&uploads(), "an upload"),
            put(&claims_of(open), "a result that was not checked"),
        ];
        let kept = BTreeSet::from([receipt.reference]);
        assert_eq!(
            sweep(&store, [open], None, may_cache).unwrap(),
            6,
            "receipts stay as long as the kept ones are not known"
        );
        assert_eq!(sweep(&store, [open], Some(&kept), may_cache).unwrap(), 1);
        assert_eq!(sweep(&store, [open], Some(&kept), may_cache).unwrap(), 0);
        assert!([segment, shared, receipt].iter().chain(&others).all(|blob| store.has(blob).unwrap()));
        assert_eq!(store.cached().unwrap(), [cached.reference], "it yields as soon as there is need");
        assert!(gone.iter().all(|blob| !store.has(blob).unwrap()));
    }
}
