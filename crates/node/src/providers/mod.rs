//! Where a blob is fetched from: a large one from several providers at once, each giving a part; a small or encrypted one from one after
//! the other.
//!
//! What one sent before it stopped stays, and another goes on from there. The last of a list, which is the gateway, is asked when no
//! other is left, and given the time that a home line may need; those before it only as long as it pays to wait for them. Who could not be reached, was too slow or sent
//! wrong bytes comes last for a while: a machine behind a firewall costs its neighbours seconds once, not with every lease.

use std::sync::{Arc, Mutex, PoisonError};

use manyhands_blob::encryption::EncryptedReference;
use manyhands_blob::transfer::{FetchError, SealedDownload, TransferLimits, fetch_sealed, fetch_shared};
use manyhands_blob::{AnyReference, ChunkStore, Owner};
use manyhands_net::{BlobStream, Net};
use manyhands_proto::limits::SEGMENT_BYTES_MAX;
use manyhands_proto::message::Holder;
use manyhands_proto::{BlobRef, NodeId};
use tokio::time::{Instant, timeout};

use crate::blobs::{BlobError, on_store};
use crate::swarm::{Depot, Hope, Storage};

mod order;
mod shunned;

use order::{Order, REACH, limits};
use shunned::{SHUN_LIAR, Shunned, shun_time};

/// Fetches blobs. Cheap to clone; clones share what is known of the providers.
#[derive(Debug, Clone)]
pub(crate) struct Providers {
    net: Net,
    store: ChunkStore,
    storage: Storage,
    shunned: Arc<Mutex<Shunned>>,
}

impl Providers {
    pub(crate) fn new(net: Net, store: ChunkStore, storage: Storage) -> Self {
        Self { net, store, storage, shunned: Arc::default() }
    }

    /// Fetches `blob` from whichever of `holders` gives it, and has `owner` hold it. The last of them is asked last; after it the Bee node,
    /// if there is one, or the Bee node alone if blobs are kept there only.
    pub(crate) async fn fetch(&self, owner: &Owner, blob: BlobRef, holders: &[Holder]) -> Result<(), BlobError> {
        if self.hold_if_here(owner, blob).await {
            return Ok(());
        }
        match &self.storage {
            Storage::Embedded => self.fetch_from_peers(owner, blob, holders).await,
            Storage::BeeOnly(depot) => depot.get(&self.store, owner, blob, SEGMENT_BYTES_MAX, Hope::Sure).await,
            Storage::PeerFirst(depot) => match self.fetch_from_peers(owner, blob, holders).await {
                // Our own store is no better for what comes from elsewhere.
                Err(error) if error.store().is_none() => self.fetch_from_archive(depot, owner, blob, error).await,
                outcome => outcome,
            },
        }
    }

    /// Fetches the encrypted blob that `root` opens from whichever of `holders` gives it, and has `owner` hold it, encrypted. It goes from
    /// peer to peer only. What came before a provider stopped is not asked of the next one again.
    pub(crate) async fn fetch_sealed(
        &self,
        owner: &Owner,
        root: EncryptedReference,
        size_bytes: u64,
        holders: &[Holder],
    ) -> Result<(), BlobError> {
        if self.hold_if_sealed_is_here(owner, root).await? {
            return Ok(());
        }
        let store = &self.store;
        let mut download = SealedDownload::new(root, size_bytes);
        let mut last = BlobError::NoHolder;
        let order = self.shunned().order(holders, Instant::now());
        for (place, holder) in order.iter().enumerate() {
            let is_last = place + 1 == order.len();
            let fetched = match self.reach(holder, is_last).await {
                Ok(stream) => fetch_sealed(stream, store, owner, &mut download, &limits(is_last)).await,
                Err(error) => {
                    self.note(holder.node, &error);
                    last = error;
                    continue;
                }
            };
            let Err(source) = fetched else { return Ok(()) };
            let error = BlobError::Fetch { source };
            self.note(holder.node, &error);
            if error.store().is_some() {
                return Err(error);
            }
            last = error;
        }
        Err(last)
    }

    /// Asks the Bee node for what no peer gave. If it has not got it either, the peers' reason is what counts.
    async fn fetch_from_archive(
        &self,
        depot: &Depot,
        owner: &Owner,
        blob: BlobRef,
        peers: BlobError,
    ) -> Result<(), BlobError> {
        match depot.get(&self.store, owner, blob, SEGMENT_BYTES_MAX, Hope::Faint).await {
            Ok(()) => {
                tracing::info!(blob = %blob.reference.short(), %peers, "fetched from the Bee node, as no peer gave it");
                Ok(())
            }
            Err(error) if error.store().is_some() => Err(error),
            Err(error) => {
                tracing::debug!(blob = %blob.reference.short(), %error, "the Bee node did not give it either");
                Err(peers)
            }
        }
    }

    async fn fetch_from_peers(&self, owner: &Owner, blob: BlobRef, holders: &[Holder]) -> Result<(), BlobError> {
        let order = self.shunned().order(holders, Instant::now());
        if order.is_empty() {
            return Err(BlobError::NoHolder);
        }
        let order = Order { providers: self, holders: &order };
        let max_bytes = TransferLimits::default().blob_bytes_max;
        let shared = fetch_shared(&order, &self.store, owner, blob, max_bytes).await?;
        let chunks = &shared.sent_chunks;
        tracing::debug!(blob = %blob.reference.short(), ?chunks, "fetched, with so many chunks from each");
        Ok(())
    }

    async fn hold_if_here(&self, owner: &Owner, blob: BlobRef) -> bool {
        let owner = owner.clone();
        let held =
            on_store(&self.store, move |store| Ok(store.has(&blob)? && store.hold(&owner, &blob).map(|()| true)?));
        held.await.unwrap_or(false)
    }

    async fn hold_if_sealed_is_here(&self, owner: &Owner, root: EncryptedReference) -> Result<bool, BlobError> {
        let (owner, reference) = (owner.clone(), AnyReference::Encrypted(root));
        match on_store(&self.store, move |store| store.hold_tree(&owner, &reference)).await {
            Ok(_) => Ok(true),
            // What is here in part or damaged is fetched anew.
            Err(error) if error.is_absence() => Ok(false),
            Err(error) => Err(FetchError::Store(error).into()),
        }
    }

    /// A stream to a holder.
    async fn reach(&self, holder: &Holder, is_last: bool) -> Result<BlobStream, BlobError> {
        let node = holder.node;
        let reach = async {
            self.net.dial(holder).await.map_err(|source| BlobError::Dial { node, source })?;
            self.net.open_blob_stream(node).await.map_err(|source| BlobError::Open { node, source })
        };
        if is_last {
            return reach.await;
        }
        timeout(REACH, reach).await.map_err(|_| BlobError::Unreached { node, waited: REACH })?
    }

    fn note(&self, node: NodeId, error: &BlobError) {
        let Some(time) = shun_time(error) else { return };
        if time == SHUN_LIAR {
            tracing::warn!(%node, %error, "a provider sent what is not the blob");
        } else {
            tracing::debug!(node = %node.short(), %error, "a provider was of no use");
        }
        self.shunned().add(node, Instant::now() + time);
    }

    fn shunned(&self) -> std::sync::MutexGuard<'_, Shunned> {
        // Each change is a single call, so the map is valid after any panic.
        self.shunned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
