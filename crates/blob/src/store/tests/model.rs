//! The store beside a model that says the same in the simplest way: sets of chunks, a list of holders, a list of what is
//! cached. Whatever is done, in whatever order, with a limit that is often met.

use std::io::Read as _;
use std::ops::ControlFlow;

use super::*;
use crate::redundancy::Level;

/// About two thirds of what all items together take.
const LIMIT_BYTES: u64 = 130_000;

/// What can be stored.
struct Item {
    kind: Kind,
    reference: Reference,
    /// Chunks in the order in which they are stored, and their lengths.
    chunks: Vec<(Reference, u64)>,
    bytes: Vec<u8>,
}

enum Kind {
    Tree(Level),
    Single(Chunk),
}

/// Blobs and trees that share leaves, a leaf of theirs, and the root of one blob alone.
fn items() -> Vec<Item> {
    let long = noise(25 * 4096 + 5, 0);
    let tree = |bytes: &[u8], level| {
        let mut chunks = Vec::new();
        let mut splitter = Splitter::with_level(level);
        let mut keep = |chunk: Chunk| {
            chunks.push((chunk.reference(), chunk.wire().len() as u64));
            Ok::<(), StoreError>(())
        };
        splitter.update(bytes, &mut keep).unwrap();
        let reference = splitter.finish(&mut keep).unwrap().reference;
        Item { kind: Kind::Tree(level), reference, chunks, bytes: bytes.to_vec() }
    };
    let single = |chunk: &Chunk| Item {
        kind: Kind::Single(chunk.clone()),
        reference: chunk.reference(),
        chunks: vec![(chunk.reference(), chunk.wire().len() as u64)],
        bytes: Vec::new(),
    };
    let (_, chunks) = pre_order(&long[..9 * 4096 + 5]);
    vec![
        tree(&long[..9 * 4096 + 5], Level::None),
        tree(&long[..20 * 4096], Level::None),
        tree(&long, Level::Medium),
        tree(&long[..9 * 4096], Level::Strong),
        tree(&noise(12 * 4096, 91), Level::None),
        single(&chunks[3]),
        single(&chunks[0]),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, usize),
    /// The source breaks off in the middle.
    Break(usize, usize),
    Release(usize, usize, bool),
    Pin(usize),
    Unpin(usize),
    Read(usize),
    Shrink(u64),
    /// The process is killed: the disk as it is, nothing closed.
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2usize, 0..7usize).prop_map(|(who, what)| Step::Put(who, what)),
        1 => (0..2usize, 0..7usize).prop_map(|(who, what)| Step::Break(who, what)),
        5 => (0..2usize, 0..7usize, any::<bool>()).prop_map(|(who, what, cache)| Step::Release(who, what, cache)),
        2 => (0..7usize).prop_map(Step::Pin),
        2 => (0..7usize).prop_map(Step::Unpin),
        2 => (0..7usize).prop_map(Step::Read),
        1 => (0..LIMIT_BYTES).prop_map(Step::Shrink),
        1 => Just(Step::Kill),
    ];
    proptest::collection::vec(step, 1..40)
}

type Chunks = BTreeMap<Reference, u64>;

#[derive(Default, Clone)]
struct Model {
    roots: BTreeMap<Reference, (Chunks, BTreeSet<String>)>,
    /// Roots that nobody holds, the oldest use first.
    cached: Vec<Reference>,
    recent: Vec<Reference>,
}

const PIN: &str = "";

impl Model {
    /// Chunks of roots that somebody holds, or of all.
    fn chunks(&self, with_cache: bool) -> Chunks {
        let roots = self.roots.values().filter(|(_, holders)| with_cache || !holders.is_empty());
        roots.flat_map(|(chunks, _)| chunks.clone()).collect()
    }

    /// Begins a change: uses are written down.
    fn note_uses(&mut self) {
        for reference in std::mem::take(&mut self.recent) {
            if self.cached.contains(&reference) {
                self.cached.retain(|known| *known != reference);
                self.cached.push(reference);
            }
        }
    }

    fn evict(&mut self) {
        let oldest = self.cached.remove(0);
        self.roots.remove(&oldest);
    }

    /// Stores chunk after chunk. False if there is no room; what was changed is of no use then.
    fn add(&mut self, chunks: &[(Reference, u64)]) -> bool {
        let mut pending = Chunks::new();
        for (reference, length) in chunks {
            let sum = |mut chunks: Chunks, pending: &Chunks| {
                chunks.extend(pending.clone());
                chunks.values().sum::<u64>()
            };
            if !pending.contains_key(reference) && !self.chunks(true).contains_key(reference) {
                if sum(self.chunks(false), &pending) + length > LIMIT_BYTES {
                    return false;
                }
                while sum(self.chunks(true), &pending) + length > LIMIT_BYTES {
                    self.evict();
                }
            }
            pending.insert(*reference, *length);
        }
        true
    }

    fn hold(&mut self, holder: &str, item: &Item) {
        let (chunks, holders) = self.roots.entry(item.reference).or_default();
        chunks.extend(item.chunks.clone());
        holders.insert(holder.to_owned());
        self.cached.retain(|known| *known != item.reference);
    }

    fn let_go(&mut self, holder: &str, reference: Reference, cache: bool) -> bool {
        let Some((_, holders)) = self.roots.get_mut(&reference) else { return false };
        if !holders.remove(holder) {
            return false;
        }
        if holders.is_empty() && cache {
            self.cached.push(reference);
        } else if holders.is_empty() {
            self.roots.remove(&reference);
        }
        true
    }
}

fn put(store: &ChunkStore, who: &Owner, item: &Item, breaks: bool) -> std::result::Result<(), StoreError> {
    match &item.kind {
        Kind::Single(chunk) => store.put_chunk(who, &chunk.clone().into()),
        Kind::Tree(level) if breaks => {
            let half = &item.bytes[..item.bytes.len() / 2];
            store.put_tree(who, half.chain(Broken), u64::MAX, *level).map(drop)
        }
        Kind::Tree(Level::None) => store.put_blob(who, &item.bytes).map(drop),
        Kind::Tree(level) => store.put_tree(who, &item.bytes[..], u64::MAX, *level).map(drop),
    }
}

struct Broken;

impl std::io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> Result<usize> {
        Err(Error::other("gone"))
    }
}

/// Store and model side by side.
struct Pair {
    disk: Disk,
    store: ChunkStore,
    model: Model,
    items: Vec<Item>,
}

impl Pair {
    fn take(&mut self, step: &Step) {
        let owners = [owner("a"), owner("b")];
        if !matches!(step, Step::Read(_) | Step::Kill) {
            self.model.note_uses();
        }
        match *step {
            Step::Put(who, what) => self.put(&owners[who], what),
            Step::Break(who, what) => {
                if matches!(self.items[what].kind, Kind::Tree(_)) {
                    let error = put(&self.store, &owners[who], &self.items[what], true).unwrap_err();
                    assert!(matches!(error, StoreError::Source { .. } | StoreError::Full { .. }), "{error:?}");
                }
            }
            Step::Release(who, what, cache) => {
                let (name, reference) = (&owners[who], self.items[what].reference);
                let done = if cache {
                    self.store.release_to_cache(name, &reference).unwrap()
                } else {
                    self.store.release(name, &reference).unwrap()
                };
                assert_eq!(done, self.model.let_go(name.as_str(), reference, cache));
            }
            Step::Pin(what) => self.pin(what),
            Step::Unpin(what) => {
                let reference = self.items[what].reference;
                assert_eq!(self.store.unpin(&reference).unwrap(), self.model.let_go(PIN, reference, true));
            }
            Step::Read(what) => self.read(what),
            Step::Shrink(bytes_max) => {
                let mut count = 0;
                while self.cached_bytes() > bytes_max {
                    self.model.evict();
                    count += 1;
                }
                assert_eq!(self.store.shrink_cache(bytes_max).unwrap(), count);
            }
            Step::Kill => {
                let bytes = self.disk.bytes.lock().unwrap().clone();
                self.disk = Disk { bytes: Arc::new(Mutex::new(bytes)), full: Arc::default() };
                self.store = self.disk.store(LIMIT_BYTES);
                self.model.recent.clear();
            }
        }
    }

    fn put(&mut self, who: &Owner, what: usize) {
        let (item, mut after) = (&self.items[what], self.model.clone());
        let outcome = put(&self.store, who, item, false);
        if after.add(&item.chunks) {
            outcome.unwrap();
            after.hold(who.as_str(), item);
            self.model = after;
        } else {
            assert!(matches!(outcome, Err(StoreError::Full { .. })), "{outcome:?}");
        }
    }

    /// A tree is pinned as soon as all its chunks are here, whoever brought them.
    fn pin(&mut self, what: usize) {
        let reference = self.items[what].reference;
        // The item with the whole tree at this reference.
        let whole = self.items.iter().filter(|item| item.reference == reference).max_by_key(|item| item.chunks.len());
        let (whole, here) = (whole.unwrap(), self.model.chunks(true));
        let missing = whole.chunks.iter().filter(|(chunk, _)| !here.contains_key(chunk)).count();
        match self.store.pin(&reference) {
            Ok(is_new) => {
                assert_eq!(missing, 0);
                let pinned = self.model.roots.get(&reference).is_some_and(|(_, holders)| holders.contains(PIN));
                assert_eq!(is_new, !pinned);
                self.model.hold(PIN, whole);
            }
            Err(StoreError::Incomplete { missing_count, .. }) => assert!((1..=missing as u64).contains(&missing_count)),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn read(&mut self, what: usize) {
        let item = &self.items[what];
        let here = self.model.chunks(true);
        match &item.kind {
            Kind::Single(chunk) => {
                let found = self.store.get_chunk(&item.reference).unwrap();
                assert_eq!(found, here.contains_key(&item.reference).then(|| chunk.clone().into()));
            }
            Kind::Tree(_) => {
                let reader = self.store.tree_reader(&item.reference, 1 << 20);
                assert_eq!(reader.is_ok(), here.contains_key(&item.reference));
                if item.chunks.iter().all(|(chunk, _)| here.contains_key(chunk)) {
                    let mut bytes = Vec::new();
                    reader.unwrap().read_to_end(&mut bytes).unwrap();
                    assert!(bytes == item.bytes);
                }
            }
        }
        self.model.recent.retain(|known| *known != item.reference);
        self.model.recent.push(item.reference);
    }

    fn cached_bytes(&self) -> u64 {
        self.model.chunks(true).values().sum::<u64>() - self.model.chunks(false).values().sum::<u64>()
    }

    fn compare(&self) {
        let usage = self.store.usage().unwrap();
        assert_eq!(usage.used_bytes, self.model.chunks(true).values().sum::<u64>());
        assert_eq!(usage.cached_bytes, self.cached_bytes());
        assert!(usage.used_bytes <= LIMIT_BYTES);
        let pinned = self.model.roots.iter().filter(|(_, (_, holders))| holders.contains(PIN));
        assert_eq!(self.store.pins().unwrap(), pinned.map(|(reference, _)| *reference).collect::<Vec<_>>());
        for item in &self.items {
            if matches!(item.kind, Kind::Tree(Level::None)) {
                let blob = BlobRef { reference: item.reference, size_bytes: item.bytes.len() as u64 };
                let root = self.model.roots.get(&item.reference);
                assert_eq!(self.store.has(&blob).unwrap(), root.is_some_and(|(chunks, _)| chunks.len() > 1));
            }
        }
        let report = self.store.scrub(None, |_, _| ControlFlow::Continue(())).unwrap();
        assert_eq!((report.corrupt, report.disagreements), (vec![], vec![]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_does_what_the_model_does(steps in steps()) {
        let disk = Disk::default();
        let store = disk.store(LIMIT_BYTES);
        let mut pair = Pair { disk, store, model: Model::default(), items: items() };
        for step in steps {
            pair.take(&step);
            pair.compare();
        }
        pair.model.note_uses();
        assert_eq!(pair.store.cached().unwrap(), pair.model.cached);
        let collected = pair.store.gc(std::time::Duration::ZERO).unwrap();
        assert_eq!(collected.stray_bytes, 0);
        pair.compare();
    }
}
