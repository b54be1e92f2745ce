//! Where a blob is fetched from: a large one from several providers at once, each giving a part; a small or encrypted one from one after
//! the other.
//!
//! What one sent before it stopped stays, and another goes on from there. The last of a list, which is the gateway, is asked when no
//! other is left, and given the time that a home line may need; those before it only as long as it pays to wait for them. Who could not be reached, was too slow or sent
//! wrong bytes comes last for a while: a machine behind a firewall costs its neighbours seconds once, not with every lease.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manyhands_blob::encryption::EncryptedReference;
use manyhands_blob::transfer::{
    FetchError, SealedDownload, Sources, Status, TransferLimits, fetch_sealed, fetch_shared,
};
use manyhands_blob::{AnyReference, ChunkStore, Owner};
use manyhands_net::{BlobStream, Net};
use manyhands_proto::limits::SEGMENT_BYTES_MAX;
use manyhands_proto::message::Holder;
use manyhands_proto::{BlobRef, NodeId};
use tokio::time::{Instant, timeout};

use crate::blobs::{BlobError, on_store};
use crate::swarm::{Depot, Hope, Storage};

/// How long a provider may take to be reached while there is another: an intercontinental handshake is four round trips, about a second.
const REACH: Duration = Duration::from_secs(3);

/// How long one that could not be reached or was too slow comes last.
const SHUN: Duration = Duration::from_secs(10 * 60);

/// The same for one that sent wrong bytes.
const SHUN_LIAR: Duration = Duration::from_secs(60 * 60);

/// Providers remembered for what they did; beyond it the ones whose time ends first are forgotten.
const SHUNNED_MAX: usize = 1_024;

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
        let reference = AnyReference::Encrypted(root);
        let (held_by, store) = (owner.clone(), &self.store);
        if on_store(store, move |store| store.hold_tree(&held_by, &reference)).await.is_ok() {
            return Ok(());
        }
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

/// The holders of one blob, in the order in which to ask.
struct Order<'a> {
    providers: &'a Providers,
    holders: &'a [Holder],
}

impl Order<'_> {
    fn is_last(&self, source: usize) -> bool {
        source + 1 == self.holders.len()
    }
}

impl Sources for Order<'_> {
    type Stream = BlobStream;
    type Error = BlobError;

    fn count(&self) -> usize {
        self.holders.len()
    }

    async fn open(&self, source: usize) -> Result<BlobStream, BlobError> {
        let holder = self.holders.get(source).ok_or(BlobError::NoHolder)?;
        self.providers.reach(holder, self.is_last(source)).await
    }

    fn limits(&self, source: usize) -> TransferLimits {
        limits(self.is_last(source))
    }

    fn failed(&self, source: usize, error: &BlobError) {
        if let Some(holder) = self.holders.get(source) {
            self.providers.note(holder.node, error);
        }
    }

    fn slow(&self, source: usize, sent_chunks: u64) {
        let Some(holder) = self.holders.get(source) else { return };
        tracing::debug!(node = %holder.node.short(), sent_chunks, "a provider was much slower than another");
        // While others gave whole parts it was not even reached.
        if sent_chunks == 0 {
            self.providers.shunned().add(holder.node, Instant::now() + SHUN);
        }
    }
}

/// What a provider may take: the last one as long as a home line needs, the others only as long as they are no loss of time.
fn limits(is_last: bool) -> TransferLimits {
    if is_last {
        return TransferLimits::default();
    }
    TransferLimits {
        request_timeout: REACH,
        answer_timeout: REACH,
        window: Duration::from_secs(5),
        grace: Duration::from_secs(5),
        ..TransferLimits::default()
    }
}

/// How long a provider comes last after this. That it has not got the blob, or is busy, is no reason.
fn shun_time(error: &BlobError) -> Option<Duration> {
    match error {
        BlobError::NoHolder | BlobError::Bee { .. } => None,
        BlobError::Fetch { source: FetchError::Refused { status: Status::NotFound | Status::Busy } } => None,
        BlobError::Fetch { source: FetchError::Store(_) } => None,
        BlobError::Fetch {
            source:
                FetchError::Answer(_) | FetchError::Length { .. } | FetchError::Chunk { .. } | FetchError::Shape { .. },
        } => Some(SHUN_LIAR),
        BlobError::Fetch { .. } => Some(SHUN),
        BlobError::Dial { .. } | BlobError::Open { .. } | BlobError::Unreached { .. } => Some(SHUN),
    }
}

/// Who comes last, and until when.
#[derive(Debug, Default)]
struct Shunned(BTreeMap<NodeId, Instant>);

impl Shunned {
    fn add(&mut self, node: NodeId, until: Instant) {
        let until = self.0.get(&node).map_or(until, |old| until.max(*old));
        self.0.insert(node, until);
        if self.0.len() > SHUNNED_MAX {
            let soonest = self.0.iter().min_by_key(|(_, until)| **until).map(|(node, _)| *node);
            soonest.map(|node| self.0.remove(&node));
        }
    }

    /// The order in which to ask. With a last one to fall back on, those that are shunned are not asked at all.
    fn order(&mut self, holders: &[Holder], now: Instant) -> Vec<Holder> {
        self.0.retain(|_, until| now < *until);
        let Some((last, others)) = holders.split_last() else { return Vec::new() };
        let mut order: Vec<Holder> =
            others.iter().filter(|holder| !self.0.contains_key(&holder.node)).cloned().collect();
        order.push(last.clone());
        order
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use manyhands_blob::StoreError;

    fn holder(number: u8) -> Holder {
        Holder { node: NodeId([number; 32]), addresses: Vec::new() }
    }

    fn order(shunned: &mut Shunned, holders: &[u8], now: Instant) -> Vec<u8> {
        let holders: Vec<Holder> = holders.iter().map(|number| holder(*number)).collect();
        shunned.order(&holders, now).iter().map(|holder| holder.node.0[0]).collect()
    }

    #[test]
    fn who_failed_is_left_out_for_a_while_but_the_last_is_always_asked() {
        let now = Instant::now();
        let mut shunned = Shunned::default();
        assert_eq!(order(&mut shunned, &[], now), [0; 0]);
        assert_eq!(order(&mut shunned, &[1, 2, 9], now), [1, 2, 9]);
        shunned.add(NodeId([1; 32]), now + SHUN);
        shunned.add(NodeId([9; 32]), now + SHUN_LIAR);
        assert_eq!(order(&mut shunned, &[1, 2, 9], now), [2, 9]);
        assert_eq!(order(&mut shunned, &[1, 2, 9], now + SHUN), [1, 2, 9]);
        // A short time does not end a long one.
        shunned.add(NodeId([2; 32]), now + SHUN_LIAR);
        shunned.add(NodeId([2; 32]), now + SHUN);
        assert_eq!(order(&mut shunned, &[2, 9], now + SHUN), [9]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let mut shunned = Shunned::default();
        for number in 0..2 * SHUNNED_MAX {
            let mut node = NodeId([0; 32]);
            node.0[..8].copy_from_slice(&(number as u64).to_le_bytes());
            shunned.add(node, now + SHUN + Duration::from_millis(number as u64));
        }
        assert_eq!(shunned.0.len(), SHUNNED_MAX);
    }

    #[test]
    fn only_harm_and_delay_are_held_against_a_provider() {
        let refused = |status| BlobError::Fetch { source: FetchError::Refused { status } };
        assert_eq!(shun_time(&refused(Status::NotFound)), None);
        assert_eq!(shun_time(&refused(Status::Busy)), None);
        let full = BlobError::Fetch { source: FetchError::Store(StoreError::Interrupted) };
        assert_eq!(shun_time(&full), None);
        let slow = BlobError::Fetch { source: FetchError::Silent { waited: REACH } };
        assert_eq!(shun_time(&slow), Some(SHUN));
        let node = NodeId([1; 32]);
        assert_eq!(shun_time(&BlobError::Unreached { node, waited: REACH }), Some(SHUN));
        let wrong = BlobError::Fetch { source: FetchError::Length { chunk: 0, got_bytes: 1, due_bytes: 2 } };
        assert_eq!(shun_time(&wrong), Some(SHUN_LIAR));
    }

    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use manyhands_blob::transfer::{BlobServer, REQUEST_BYTES};
    use manyhands_net::{BlobStream, Identity, NetConfig, NetEvent};

    use crate::stub::{self, Reply, Stub, no};
    use manyhands_proto::message::Blame;
    use tokio::sync::Barrier;

    fn store() -> (tempfile::TempDir, ChunkStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 24).unwrap();
        (dir, store)
    }

    /// A peer on loopback that treats each blob stream as `serve` says.
    pub(crate) async fn peer(serve: impl Fn(NodeId, BlobStream) + Send + 'static) -> (Net, Holder) {
        let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        let config = NetConfig { listen, ..NetConfig::default() };
        let (net, mut events) = manyhands_net::start(Identity::generate(), config).await.unwrap();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let NetEvent::BlobStream { from, stream } = event {
                    serve(from, stream);
                }
            }
        });
        let holder = Holder { node: net.node_id(), addresses: net.addresses().await };
        assert!(!holder.addresses.is_empty());
        (net, holder)
    }

    pub(crate) async fn keeper(store: ChunkStore) -> (Net, Holder) {
        let server = BlobServer::new(store, TransferLimits::default());
        peer(move |from, stream| crate::blobs::serve(&server, from, stream)).await
    }

    /// Promises the blob and sends noise.
    fn lie(_: NodeId, mut stream: BlobStream) {
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 64]).await;
            let _ = stream.write_all(&[0, 8, 16]).await;
            let _ = stream.write_all(&[7; 4104]).await;
            let _ = stream.flush().await;
            tokio::time::sleep(Duration::from_secs(30)).await;
        });
    }

    #[tokio::test]
    async fn the_next_provider_is_asked_until_one_has_it() {
        let ((_a, full), (_b, empty), (_c, own)) = (store(), store(), store());
        let owner = Owner::new("x").unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number * 31 % 251) as u8).collect();
        let blob = full.put_blob(&owner, &bytes).unwrap();
        let (_net1, liar) = peer(lie).await;
        let (_net2, ignorant) = keeper(empty).await;
        let full_copy = full.clone();
        let (_net3, gateway) = keeper(full).await;
        let (me, _) = keeper(own.clone()).await;
        let gone = Holder { node: NodeId([3; 32]), addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()] };

        let providers = Providers::new(me, own.clone(), Storage::Embedded);
        let holders = [gone.clone(), liar.clone(), ignorant.clone(), gateway.clone()];
        providers.fetch(&owner, blob, &holders).await.unwrap();
        assert_eq!(own.read_blob(&blob, 1 << 20).unwrap(), bytes);
        // The liar and the one that is gone are left out from now on.
        let order = providers.shunned().order(&holders, Instant::now());
        assert_eq!(order, [ignorant.clone(), gateway]);

        // An encrypted blob in the same way; the liar, who is left out now, would have been found out.
        let sealed = full_copy
            .put_encrypted_tree(&owner, &bytes[..], 1 << 20, manyhands_blob::redundancy::Level::None, |key| key.fill(7))
            .unwrap();
        providers.fetch_sealed(&owner, sealed, 300_000, &holders).await.unwrap();
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut own.encrypted_tree_reader(&sealed, 1 << 20).unwrap(), &mut read).unwrap();
        assert!(read == bytes);
        own.release(&owner, &sealed.address).unwrap();
        let error = providers.fetch_sealed(&owner, sealed, 300_000, std::slice::from_ref(&liar)).await.unwrap_err();
        assert_eq!(error.blame(), Blame::Peer, "{error}");

        // Alone they are asked, and the last one's answer is told.
        own.release(&owner, &blob.reference).unwrap();
        let error = providers.fetch(&owner, blob, &[gone, ignorant]).await.unwrap_err();
        assert!(
            matches!(error, BlobError::Fetch { source: FetchError::Refused { status: Status::NotFound } }),
            "{error}"
        );
        let error = providers.fetch(&owner, blob, &[liar]).await.unwrap_err();
        assert_eq!(error.blame(), Blame::Peer, "{error}");
        assert!(matches!(providers.fetch(&owner, blob, &[]).await, Err(BlobError::NoHolder)));
    }

    /// A keeper that answers its first asker only when `meet` lets it, and counts its askers.
    async fn keeper_that_waits(store: ChunkStore, meet: Arc<Barrier>) -> (Net, Holder, Arc<AtomicUsize>) {
        let (server, asked) = (BlobServer::new(store, TransferLimits::default()), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let serve = move |from, stream| {
            let (server, meet, is_first) =
                (server.clone(), Arc::clone(&meet), count.fetch_add(1, Ordering::SeqCst) == 0);
            tokio::spawn(async move {
                if is_first {
                    meet.wait().await;
                }
                let _ = server.serve_to(from, stream).await;
            });
        };
        let (net, holder) = peer(serve).await;
        (net, holder, asked)
    }

    /// Of the three before the gateway two answer only when all were asked: if they were asked in turn, the gateway would have to help.
    #[tokio::test]
    async fn a_large_blob_comes_from_several_at_once_and_not_from_the_gateway() {
        let ((_a, full), (_b, own)) = (store(), store());
        let owner = Owner::new("x").unwrap();
        let bytes = stub::bytes(1_500_000);
        let blob = full.put_blob(&owner, &bytes).unwrap();
        let meet = Arc::new(Barrier::new(3));
        let (net1, first, asked1) = keeper_that_waits(full.clone(), Arc::clone(&meet)).await;
        let (net2, second, asked2) = keeper_that_waits(full.clone(), Arc::clone(&meet)).await;
        // The third comes first and lies; the others wait until the asker has hung up on it.
        let liars_meet = Arc::clone(&meet);
        let (_net3, liar) = peer(move |_, mut stream: BlobStream| {
            let meet = Arc::clone(&liars_meet);
            tokio::spawn(async move {
                let _ = stream.read_exact(&mut [0; REQUEST_BYTES]).await;
                let _ = stream.write_all(&[&[0, 8, 16][..], &[7; 4_104]].concat()).await;
                let _ = stream.flush().await;
                let _ = stream.read(&mut [0]).await;
                meet.wait().await;
            });
        })
        .await;
        let alone = Arc::new(Barrier::new(1));
        let (_net4, gateway, asked) = keeper_that_waits(full, alone).await;
        let (me, _) = keeper(own.clone()).await;
        let providers = Providers::new(me, own.clone(), Storage::Embedded);
        let holders = [liar, first.clone(), second.clone(), gateway.clone()];
        providers.fetch(&owner, blob, &holders).await.unwrap();
        assert!(own.read_blob(&blob, 1 << 22).unwrap() == bytes);
        assert!(asked1.load(Ordering::SeqCst) > 0 && asked2.load(Ordering::SeqCst) > 0);
        assert_eq!(asked.load(Ordering::SeqCst), 0, "the gateway's line was spared");
        // Who lied is left out, and nobody else.
        let order = providers.shunned().order(&holders, Instant::now());
        assert_eq!(order, [first, second, gateway]);

        // With the others gone the gateway gives it.
        own.release(&owner, &blob.reference).unwrap();
        drop((net1, net2));
        assert!(!own.has(&blob).unwrap());
        providers.fetch(&owner, blob, &[gone(), order[2].clone()]).await.unwrap();
        assert!(own.read_blob(&blob, 1 << 22).unwrap() == bytes);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    /// It has the first part, and with it the root: without the others' help it would all wait for it.
    #[tokio::test]
    async fn one_that_says_nothing_while_others_give_is_left_out() {
        let ((_a, full), (_b, own)) = (store(), store());
        let owner = Owner::new("x").unwrap();
        let bytes = stub::bytes(400_000);
        let blob = full.put_blob(&owner, &bytes).unwrap();
        let (_net1, silent) = peer(|_, mut stream: BlobStream| {
            tokio::spawn(async move { while stream.read(&mut [0]).await.is_ok_and(|count| count > 0) {} });
        })
        .await;
        let (_net2, first) = keeper(full.clone()).await;
        let (_net3, second) = keeper(full).await;
        let (me, _) = keeper(own.clone()).await;
        let providers = Providers::new(me, own.clone(), Storage::Embedded);
        let holders = [silent, first.clone(), second.clone()];
        providers.fetch(&owner, blob, &holders).await.unwrap();
        assert!(own.read_blob(&blob, 1 << 20).unwrap() == bytes);
        assert_eq!(providers.shunned().order(&holders, Instant::now()), [first, second]);
    }

    /// A Bee node that answers each download with these bytes.
    async fn bee_with(bytes: Vec<u8>) -> Stub {
        Stub::start(move |seen| match seen.call.starts_with("GET /bytes/") {
            true => Reply::Raw(200, bytes.clone()),
            false => no(500, "nothing else was to be asked"),
        })
        .await
    }

    fn gone() -> Holder {
        Holder { node: NodeId([3; 32]), addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()] }
    }

    #[tokio::test]
    async fn what_no_peer_gives_comes_from_the_bee_node_and_false_bytes_do_not() {
        let owner = Owner::new("x").unwrap();
        let bytes = stub::bytes(90_000);
        let blob = BlobRef { reference: manyhands_blob::reference_of(&bytes), size_bytes: 90_000 };
        let mut flipped = bytes.clone();
        flipped[70_000] ^= 1;
        for (sent, is_true) in [(bytes.clone(), true), (flipped, false), (bytes[1..].to_vec(), false)] {
            let bee = bee_with(sent).await;
            let (_dir, own) = store();
            let (me, _) = keeper(own.clone()).await;
            let providers = Providers::new(me, own.clone(), Storage::PeerFirst(Depot::new(bee.bee(), None)));
            let fetched = providers.fetch(&owner, blob, &[gone()]).await;
            assert_eq!(bee.count(&format!("GET /bytes/{}", blob.reference)), 1);
            if is_true {
                fetched.unwrap();
                assert_eq!(own.read_blob(&blob, 1 << 20).unwrap(), bytes);
            } else {
                assert!(matches!(fetched, Err(BlobError::Dial { .. })), "the peer's reason counts: {fetched:?}");
                assert!(!own.has(&blob).unwrap());
                assert_eq!(own.used_bytes().unwrap(), 0);
            }
        }
    }

    #[tokio::test]
    async fn what_a_peer_began_and_the_bee_node_ended_reserves_no_room_any_more() {
        let owner = Owner::new("x").unwrap();
        let bytes = stub::bytes(300_000);
        let blob = BlobRef { reference: manyhands_blob::reference_of(&bytes), size_bytes: 300_000 };
        let bee = bee_with(bytes).await;
        let (_dir, own) = store();
        let (me, _) = keeper(own.clone()).await;
        let (_net, liar) = peer(lie).await;
        let providers = Providers::new(me, own.clone(), Storage::PeerFirst(Depot::new(bee.bee(), None)));
        providers.fetch(&owner, blob, &[liar]).await.unwrap();
        assert_eq!((own.partials().unwrap().len(), own.usage().unwrap().reserved_bytes), (0, 0));
        assert!(own.has(&blob).unwrap());
    }

    #[tokio::test]
    async fn where_blobs_are_in_the_bee_node_only_no_peer_is_asked() {
        let owner = Owner::new("x").unwrap();
        let ((_a, full), (_b, own)) = (store(), store());
        let blob = full.put_blob(&owner, &stub::bytes(20_000)).unwrap();
        let (_net, holder) = keeper(full).await;
        let (me, _) = keeper(own.clone()).await;
        let bee = Stub::start(|_| no(404, "Not Found")).await;
        let providers = Providers::new(me.clone(), own, Storage::BeeOnly(Depot::new(bee.bee(), None)));
        let error = providers.fetch(&owner, blob, std::slice::from_ref(&holder)).await.unwrap_err();
        assert!(matches!(&error, BlobError::Bee { .. }), "{error}");
        assert!(!bee.world.pauses().is_empty(), "what was just uploaded is waited for");
        assert!(me.peers().await.is_empty());
    }

    #[tokio::test]
    async fn no_blob_is_fetched_from_the_bee_node_that_is_larger_than_any_can_be() {
        let (_dir, own) = store();
        let (me, _) = keeper(own.clone()).await;
        let bee = bee_with(Vec::new()).await;
        let providers = Providers::new(me, own, Storage::BeeOnly(Depot::new(bee.bee(), None)));
        let huge = BlobRef { reference: manyhands_blob::reference_of(&[]), size_bytes: SEGMENT_BYTES_MAX + 1 };
        let error = providers.fetch(&Owner::new("x").unwrap(), huge, &[]).await.unwrap_err();
        assert!(matches!(error, BlobError::Fetch { source: FetchError::TooLarge { .. } }), "{error}");
        assert!(bee.seen().is_empty());
    }
}
