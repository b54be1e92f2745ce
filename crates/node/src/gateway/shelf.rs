//! Where a gateway puts what it has stored, beside its own store: in the archive, or in the Bee node before anybody is told of it. Serves steps
//! II and VI.

use manyhands_blob::ChunkStore;
use manyhands_proto::BlobRef;
use tokio::task::JoinHandle;

use super::door::RECEIPT_BYTES_MAX;
use super::owners::receipts;
use super::tasks::Tasks;
use crate::blobs::BlobError;
use crate::swarm::{Archive, Depot, Hope, Storage, with_advice};

/// The place beside the store.
#[derive(Debug, Clone)]
pub(crate) enum Shelf {
    /// There is none.
    None,
    /// The Bee node, in the background.
    Archive(Depot, Archive),
    /// The Bee node, where everybody fetches it.
    Bee(Depot),
}

impl Shelf {
    /// The place that the mode says, and the task that archives, if there is one.
    pub(crate) fn of(storage: Storage, store: &ChunkStore) -> (Self, Option<JoinHandle<()>>) {
        match storage {
            Storage::Embedded => (Self::None, None),
            Storage::BeeOnly(depot) => (Self::Bee(depot), None),
            Storage::PeerFirst(depot) => {
                let (archive, task) = Archive::start(depot.clone(), store.clone());
                (Self::Archive(depot, archive), Some(task))
            }
        }
    }
}

impl Tasks {
    /// Step II: a segment may be offered once this returns.
    ///
    /// # Errors
    /// A sentence, if nobody could fetch it.
    pub(super) async fn shelve(&self, blob: BlobRef) -> Result<(), String> {
        match &self.shelf {
            Shelf::None => Ok(()),
            Shelf::Archive(_, archive) => {
                archive.offer(blob);
                Ok(())
            }
            Shelf::Bee(depot) => depot.put(&self.store, blob).await.map_err(|error| with_advice(&error)),
        }
    }

    /// Step VI: the same for the final receipt. It is proved and here, so nothing is lost if the Bee node does not take it.
    pub(super) async fn shelve_receipt(&self, receipt: BlobRef) {
        if let Err(why) = self.shelve(receipt).await {
            tracing::warn!(receipt = %receipt.reference.short(), "a final receipt is in this store only: {why}");
        }
    }

    /// Gets a final receipt back that the store has lost.
    pub(super) async fn recover(&self, receipt: BlobRef) -> Result<(), BlobError> {
        match &self.shelf {
            Shelf::None => Err(BlobError::NoHolder),
            Shelf::Archive(depot, _) | Shelf::Bee(depot) => {
                let found = depot.get(&self.store, &receipts(), receipt, RECEIPT_BYTES_MAX, Hope::Faint).await;
                found.inspect(|()| tracing::info!(receipt = %receipt.reference.short(), "recovered from the Bee node"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use manyhands_bee::Bee;
    use manyhands_proto::worker::SegmentReport;
    use manyhands_proto::{JobId, NodeId, Po2};
    use serde_bytes::ByteBuf;
    use tokio::sync::mpsc::Receiver;

    use super::*;
    use crate::gateway::owners::owner_of;
    use crate::gateway::tasks::{Feedback, tests::tasks};
    use crate::stub::{Reply, Stub, TestWorld, bytes, no};
    use crate::swarm::tests::bee_that_takes_all;

    const JOB: JobId = JobId([7; 16]);

    async fn gateway(storage: Storage) -> (tempfile::TempDir, Tasks, Receiver<Feedback>) {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 24).unwrap();
        let (tasks, fed_back) = tasks(store, storage).await;
        (dir, tasks, fed_back)
    }

    fn segment() -> SegmentReport {
        SegmentReport {
            index: 0,
            po2: Po2::MIN,
            user_cycles: 1,
            claim: ByteBuf::new(),
            blob: ByteBuf::from(bytes(50_000)),
            blob_bytes: 50_000,
        }
    }

    /// A Bee node that has gone.
    fn nobody() -> Depot {
        Depot::new(Bee::new("127.0.0.1:1", None).unwrap().in_world(Arc::new(TestWorld::default())), None)
    }

    #[tokio::test]
    async fn a_bee_node_that_has_gone_stops_no_job_that_only_archives() {
        let (_dir, mut tasks, mut fed_back) = gateway(Storage::PeerFirst(nobody())).await;
        let (shelf, archiving) = Shelf::of(Storage::PeerFirst(nobody()), &tasks.store);
        tasks.shelf = shelf;
        tasks.keep_piece(JOB, false, segment().into()).await.unwrap();
        assert!(matches!(fed_back.try_recv(), Ok(Feedback::Piece { job: JOB, .. })));
        // It gives up, with every pause that it makes, and the blob is where it was.
        tasks.shelf = Shelf::None;
        archiving.unwrap().await.unwrap();
        assert_eq!(tasks.store.held_by(&owner_of(JOB)).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn private_segments_are_encrypted_and_archived_nowhere() {
        let stub = Stub::start(bee_that_takes_all).await;
        let (_dir, mut tasks, mut fed_back) = gateway(Storage::Embedded).await;
        let (shelf, archiving) = Shelf::of(Storage::PeerFirst(Depot::new(stub.bee(), None)), &tasks.store);
        tasks.shelf = shelf;
        tasks.admit_private().unwrap();
        tasks.keep_piece(JOB, true, segment().into()).await.unwrap();
        tasks.keep_piece(JOB, false, SegmentReport { index: 1, ..segment() }.into()).await.unwrap();
        tasks.shelf = Shelf::None;
        archiving.unwrap().await.unwrap();
        assert_eq!(stub.count("POST /bytes"), 1, "the one that is not private");

        let Ok(Feedback::Piece { piece: private, .. }) = fed_back.try_recv() else { panic!("it is offered") };
        let key = private.key.expect("it is encrypted");
        assert!(!format!("{private:?}").contains(&format!("{:?}", key.0)), "no key in what is shown");
        assert!(!tasks.store.has(&private.blob).unwrap(), "nobody gets it as a plain blob");
        let lease_key = manyhands_blob::encryption::ChunkKey::new(key.0);
        let root = manyhands_blob::encryption::EncryptedReference { address: private.blob.reference, key: lease_key };
        let mut read = Vec::new();
        let mut reader = tasks.store.encrypted_tree_reader(&root, 1 << 20).unwrap();
        while let Some(piece) = reader.next_piece().unwrap() {
            read.extend(piece);
        }
        assert!(read == bytes(50_000));
        // With a Bee node as the only way to blobs there is no way for these.
        let (_dir, tasks, _fed_back) = gateway(Storage::BeeOnly(nobody())).await;
        assert!(tasks.admit_private().unwrap_err().message.contains("bee-only"));
    }

    #[tokio::test]
    async fn segments_and_receipts_are_archived_behind_their_offer() {
        let stub = Stub::start(bee_that_takes_all).await;
        let (_dir, mut tasks, mut fed_back) = gateway(Storage::Embedded).await;
        let (shelf, archiving) = Shelf::of(Storage::PeerFirst(Depot::new(stub.bee(), None)), &tasks.store);
        tasks.shelf = shelf;
        tasks.keep_piece(JOB, false, segment().into()).await.unwrap();
        assert!(fed_back.try_recv().is_ok());
        tasks.shelve_receipt(tasks.store.put_blob(&receipts(), &bytes(9_000)).unwrap()).await;
        tasks.shelf = Shelf::None;
        archiving.unwrap().await.unwrap();
        let sent: std::collections::BTreeSet<usize> =
            stub.seen().iter().filter(|seen| seen.call == "POST /bytes").map(|seen| seen.body.len()).collect();
        assert_eq!(sent, [9_000, 50_000].into());
    }

    #[tokio::test]
    async fn what_only_the_bee_node_hands_out_is_there_before_it_is_offered() {
        let stub = Stub::start(bee_that_takes_all).await;
        let (_dir, tasks, mut fed_back) = gateway(Storage::BeeOnly(Depot::new(stub.bee(), None))).await;
        tasks.keep_piece(JOB, false, segment().into()).await.unwrap();
        assert_eq!(stub.count("POST /bytes"), 1);
        assert!(fed_back.try_recv().is_ok());

        let stub = Stub::start(|seen| match seen.call.as_str() {
            "POST /bytes" => no(402, "batch is overissued"),
            _ => bee_that_takes_all(seen),
        });
        let (_dir, tasks, mut fed_back) = gateway(Storage::BeeOnly(Depot::new(stub.await.bee(), None))).await;
        let why = tasks.keep_piece(JOB, false, segment().into()).await.unwrap_err();
        assert!(why.starts_with("segment 0 could not be uploaded") && why.contains("dilute the batch"), "{why}");
        assert!(fed_back.try_recv().is_err(), "it is offered to nobody");
    }

    #[tokio::test]
    async fn without_the_only_way_to_blobs_results_are_not_held_against_nodes() {
        let (_dir, tasks, _fed_back) = gateway(Storage::BeeOnly(nobody())).await;
        let blob = BlobRef { reference: manyhands_blob::reference_of(&[1]), size_bytes: 1 };
        let holder = manyhands_proto::message::Holder { node: NodeId([1; 32]), addresses: Vec::new() };
        let error = tasks.providers.fetch(&receipts(), blob, &[holder]).await.unwrap_err();
        assert!(error.is_general(), "{error}");
        assert!(error.to_string().contains("start the Bee node"), "{error}");
        // That the network does not have one blob says nothing of the others.
        let stub = Stub::start(bee_that_takes_all).await;
        let (_dir, tasks, _fed_back) = gateway(Storage::BeeOnly(Depot::new(stub.bee(), None))).await;
        let error = tasks.providers.fetch(&receipts(), blob, &[]).await.unwrap_err();
        assert!(!error.is_general() && error.blame() == manyhands_proto::message::Blame::Network, "{error}");
    }

    #[tokio::test]
    async fn a_receipt_that_the_store_lost_is_fetched_from_the_archive() {
        let sent = bytes(40_000);
        let blob = BlobRef { reference: manyhands_blob::reference_of(&sent), size_bytes: 40_000 };
        let given = sent.clone();
        let stub = Stub::start(move |seen| match seen.call.starts_with("GET /bytes/") {
            true => Reply::Raw(200, given.clone()),
            false => bee_that_takes_all(seen),
        });
        let stub = stub.await;
        let (_dir, tasks, _fed_back) = gateway(Storage::PeerFirst(Depot::new(stub.bee(), None))).await;
        tasks.recover(blob).await.unwrap();
        assert_eq!(tasks.store.read_blob(&blob, 1 << 20).unwrap(), sent);
        assert_eq!(tasks.store.held_by(&receipts()).unwrap(), [blob]);
        let (_dir, tasks, _fed_back) = gateway(Storage::Embedded).await;
        assert!(tasks.recover(blob).await.is_err());
    }
}
