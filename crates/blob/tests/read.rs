//! Blobs of every scheme are split, lose chunks, and are read back from the reference alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::convert::Infallible;

use common::noise;
use manyhands_blob::encryption::{ChunkKey, EncryptedReference};
use manyhands_blob::redundancy::Level;
use manyhands_blob::redundancy::replicas::replicas;
use manyhands_blob::shape::Scheme;
use manyhands_blob::soc::{OwnerKey, SOC_BYTES_MAX, SingleOwnerChunk};
use manyhands_blob::{Chunk, ChunkError, ReadError, Reader, Splitter, Step, SupplyError};
use manyhands_proto::Reference;
use proptest::prelude::*;
use proptest::test_runner::TestRng;

type Chunks = BTreeMap<Reference, Vec<u8>>;
const PLENTY: u64 = 1 << 30;

/// A stored blob, and how to begin to read it.
struct Stored {
    plain: Reference,
    encrypted: Option<EncryptedReference>,
    chunks: Chunks,
}

impl Stored {
    fn reader(&self, max_bytes: u64) -> Reader {
        match self.encrypted {
            Some(root) => Reader::encrypted(root, max_bytes),
            None => Reader::new(self.plain, max_bytes),
        }
    }

    fn read(&self, max_bytes: u64) -> Result<Vec<u8>, ReadError> {
        self.reader(max_bytes).read_all(|reference| self.chunks.get(&reference).cloned())
    }
}

fn schemes() -> impl Iterator<Item = Scheme> {
    Level::ALL.into_iter().flat_map(|level| [false, true].map(|encrypted| Scheme { level, encrypted }))
}

fn store(scheme: Scheme, bytes: &[u8]) -> Stored {
    let mut chunks = Chunks::new();
    let mut keep = |chunk: Chunk| {
        chunks.insert(chunk.reference(), chunk.wire().to_vec());
        Ok::<(), Infallible>(())
    };
    if scheme.encrypted {
        let mut state = bytes.len() as u64;
        let mut splitter = Splitter::encrypting(scheme.level, |random: &mut [u8]| {
            state += 1;
            random.copy_from_slice(&noise(random.len(), state));
        });
        splitter.update(bytes, &mut keep).unwrap();
        let root = splitter.finish(&mut keep).unwrap();
        Stored { plain: root.address, encrypted: Some(root), chunks }
    } else {
        let mut splitter = Splitter::with_level(scheme.level);
        splitter.update(bytes, &mut keep).unwrap();
        let plain = splitter.finish(&mut keep).unwrap().reference;
        Stored { plain, encrypted: None, chunks }
    }
}

#[test]
fn every_scheme_reads_back_at_every_boundary() {
    for scheme in schemes() {
        let full = scheme.branches() * 4096;
        for size in [0, 1, 4095, 4096, 4097, 8192, full - 1, full, full + 1, full + 4096, full + 4097, 2 * full + 1] {
            let bytes = noise(size, 7);
            let stored = store(scheme, &bytes);
            assert!(stored.read(size as u64).unwrap() == bytes, "{size} bytes, {scheme:?}");
            let too_little = (size as u64).checked_sub(1).map(|max_bytes| stored.read(max_bytes));
            assert!(matches!(too_little, None | Some(Err(ReadError::TooLarge { .. }))), "{size} bytes, {scheme:?}");
        }
    }
}

#[test]
fn three_levels_of_chunks_read_back() {
    for encrypted in [false, true] {
        let scheme = Scheme { level: Level::Paranoid, encrypted };
        let bytes = noise(scheme.branches() * scheme.branches() * 4096 + 1, 3);
        assert!(store(scheme, &bytes).read(PLENTY).unwrap() == bytes, "{scheme:?}");
    }
}

/// Reads while a fate decides of each chunk that is asked for whether it is lost, as many at most in each group as
/// `allowed` says for its number of data chunks.
fn read_with_losses(
    stored: &Stored,
    allowed: impl Fn(usize) -> usize,
    mut is_lost: impl FnMut() -> bool,
) -> Result<(Vec<u8>, usize), ReadError> {
    let mut reader = stored.reader(PLENTY);
    let (mut bytes, mut losses) = (Vec::new(), 0);
    let (mut due, mut come, mut budget) = (0, 0, 0);
    loop {
        match reader.step()? {
            Step::Piece(piece) => bytes.extend(piece),
            Step::Done => return Ok((bytes, losses)),
            Step::Want(wanted) => {
                if come >= due {
                    // A new group; all its data is wanted. The root is alone.
                    (due, come) = (wanted.len(), 0);
                    budget = if reader.size_bytes().is_some() { allowed(due) } else { 0 };
                }
                for reference in wanted {
                    if budget > 0 && is_lost() {
                        (budget, losses) = (budget - 1, losses + 1);
                        reader.lost(reference)?;
                    } else {
                        come += 1;
                        reader.supply(reference, &stored.chunks[&reference]).unwrap();
                    }
                }
            }
        }
    }
}

#[test]
fn as_many_losses_as_parities_are_made_good_and_one_more_is_not() {
    for scheme in schemes().filter(|scheme| scheme.level != Level::None) {
        let bytes = noise((scheme.branches() + 5) * 4096 + 1, 1);
        let stored = store(scheme, &bytes);
        let parities = |data| scheme.parities(data);
        // The first ones asked for are data; then, at the levels with fewer parities than data, all is data.
        let (read, losses) = read_with_losses(&stored, parities, || true).unwrap();
        assert!(read == bytes && losses >= 2 * parities(6), "{losses} losses, {scheme:?}");
        let beyond = read_with_losses(&stored, |data| parities(data) + 1, || true);
        assert!(matches!(beyond, Err(ReadError::Lost { .. })), "{scheme:?}");
    }
    let unprotected = store(Scheme::default(), &noise(10_000, 1));
    assert!(matches!(read_with_losses(&unprotected, |_| 1, || true), Err(ReadError::Lost { group_chunks: 3, .. })));
}

#[test]
fn a_lost_root_is_found_among_its_replicas() {
    for scheme in schemes().filter(|scheme| scheme.level != Level::None) {
        let bytes = noise(9000, 5);
        let mut stored = store(scheme, &bytes);
        let root = Chunk::verify(stored.plain, &stored.chunks.remove(&stored.plain).unwrap()).unwrap();
        assert!(matches!(stored.read(PLENTY), Err(ReadError::Lost { group_chunks: 1, .. })));
        // Only the last of them is there. A reader that looks for fewer does not find it.
        let last = replicas(stored.plain, scheme.level).pop().unwrap();
        stored.chunks.insert(last.address, last.wrap(root.clone()).unwrap().to_wire());
        let read = |level| {
            let reader = stored.reader(PLENTY).with_replicas(level);
            reader.read_all(|reference| stored.chunks.get(&reference).cloned())
        };
        assert!(read(scheme.level).unwrap() == bytes && read(Level::Paranoid).unwrap() == bytes);
        let fewer = Level::from_number(scheme.level.number() - 1).unwrap();
        let lost = ReadError::Lost { reference: stored.plain, group_chunks: 1 + fewer.replica_count() };
        assert_eq!(read(fewer), Err(lost));
        // Another chunk in its place is refused.
        let false_root = last.wrap(Chunk::from_payload(1, &[1]).unwrap()).unwrap();
        let mut reader = stored.reader(PLENTY).with_replicas(Level::Paranoid);
        reader.lost(stored.plain).unwrap();
        let refused = reader.supply(last.address, &false_root.to_wire());
        assert!(matches!(refused, Err(SupplyError::AnotherRoot { .. })));
        let another = OwnerKey::new(&[7; 32]).unwrap().sign(last.id, root).unwrap();
        assert!(matches!(reader.supply(last.address, &another.to_wire()), Err(SupplyError::Replica(_))));
    }
}

fn chunk(span: u64, payload: &[u8]) -> Chunk {
    Chunk::from_payload(span, payload).unwrap()
}

fn parent(span: u64, children: &[&Chunk]) -> Chunk {
    chunk(span, &children.iter().flat_map(|child| child.reference().0).collect::<Vec<u8>>())
}

/// Reads a made-up tree; what is not among `chunks` is lost.
fn read_tree(root: &Chunk, chunks: &[&Chunk]) -> Result<Vec<u8>, ReadError> {
    let known: Chunks = chunks.iter().chain([&root]).map(|c| (c.reference(), c.wire().to_vec())).collect();
    Reader::new(root.reference(), 1 << 20).read_all(|reference| known.get(&reference).cloned())
}

/// Trees whose hashes are right and that no splitter makes.
#[test]
fn crooked_trees_are_refused() {
    let (full, one, two) = (chunk(4096, &[7; 4096]), chunk(1, &[7]), chunk(2, &[7, 7]));
    assert_eq!(read_tree(&parent(4097, &[&full, &one]), &[&full, &one]).unwrap(), [7; 4097]);
    // A child with more or less than its share, too many children, a size that is made up.
    let wrong = read_tree(&parent(4097, &[&full, &two]), &[&full, &two]);
    assert!(matches!(wrong, Err(ReadError::Span { stated_bytes: 2, due_bytes: 1, .. })), "{wrong:?}");
    let wrong = read_tree(&parent(8192, &[&full, &one]), &[&full, &one]);
    assert!(matches!(wrong, Err(ReadError::Span { stated_bytes: 1, due_bytes: 4096, .. })), "{wrong:?}");
    let wrong = read_tree(&parent(4097, &[&full, &one, &one]), &[&full, &one]);
    assert!(matches!(wrong, Err(ReadError::Payload { due_bytes: 64, .. })), "{wrong:?}");
    let wrong = read_tree(&parent(u64::MAX >> 1, &[&full, &one]), &[&full, &one]);
    assert!(matches!(wrong, Err(ReadError::TooLarge { .. })), "{wrong:?}");
    // A leaf with a level, a level that does not exist, an interior chunk of another level than the root's.
    for raw in [0x81_u64 << 56 | 1, 0x80 << 56 | 1, 0x85 << 56 | 4097] {
        let wrong = read_tree(&chunk(raw, &[7]), &[]);
        assert!(matches!(wrong, Err(ReadError::Level { .. })), "{wrong:?}");
    }
    let below = parent(4097 | 0x81 << 56, &[&full, &one, &one, &one, &one]);
    let tall = vec![&full; 128];
    let above = parent(128 * 4096 + 4097, &[&parent(128 * 4096, &tall), &below]);
    let wrong = read_tree(&above, &[&parent(128 * 4096, &tall), &below, &full]);
    assert!(matches!(wrong, Err(ReadError::Level { .. })), "{wrong:?}");
}

/// The uploader's parities are genuine chunks and no parities.
#[test]
fn false_parities_are_found_out() {
    let (full, one) = (chunk(4096, &[7; 4096]), chunk(1, &[7]));
    let parity = chunk(5, &[9; 4096]);
    let root = parent(4097 | 0x81 << 56, &[&full, &one, &parity, &parity, &parity]);
    assert_eq!(read_tree(&root, &[&full, &one]).unwrap(), [7; 4097]);
    let wrong = read_tree(&root, &[&one, &parity]);
    assert_eq!(wrong, Err(ReadError::Parity { reference: full.reference() }));
}

/// Zeros at the end of a payload change no address, so a holder may send more or fewer of them.
#[test]
fn zeros_at_the_end_make_no_difference() {
    let full = [&[7; 4000][..], &[0; 96]].concat();
    let (cut, padded) = (chunk(4096, &full[..4000]), chunk(1, &[7, 0, 0]));
    let root = chunk(4097, &[&cut.reference().0[..], &padded.reference().0, &[0; 32]].concat());
    assert!(read_tree(&root, &[&cut, &padded]).unwrap() == [&full[..], &[7]].concat());
}

#[test]
fn only_what_is_wanted_is_taken_and_only_if_it_is_genuine() {
    let bytes = noise(9000, 2);
    let stored = store(Scheme { level: Level::Medium, encrypted: false }, &bytes);
    let mut reader = stored.reader(PLENTY);
    assert_eq!(reader.step(), Ok(Step::Want(vec![stored.plain])));
    let other = stored.chunks.keys().find(|reference| **reference != stored.plain).copied().unwrap();
    let unwanted = Err(SupplyError::Unwanted { reference: other });
    assert_eq!(reader.supply(other, &stored.chunks[&other]), unwanted);
    assert_eq!(reader.lost(other), Ok(()));
    let refused = reader.supply(stored.plain, &stored.chunks[&other]);
    assert!(matches!(refused, Err(SupplyError::Chunk(ChunkError::Address { .. }))));
    reader.supply(stored.plain, &stored.chunks[&stored.plain]).unwrap();
    let Ok(Step::Want(wanted)) = reader.step() else { panic!("three leaves") };
    assert_eq!((wanted.len(), reader.size_bytes(), reader.level()), (3, Some(9000), Some(Level::Medium)));
    // In any order; pieces come in the blob's.
    for reference in wanted.iter().rev() {
        assert_eq!(reader.step(), Ok(Step::Want(wanted.iter().filter(|r| reader.wants(**r)).copied().collect())));
        reader.supply(*reference, &stored.chunks[reference]).unwrap();
    }
    for piece in bytes.chunks(4096) {
        assert_eq!(reader.step(), Ok(Step::Piece(piece.to_vec())));
    }
    assert_eq!((reader.step(), reader.step()), (Ok(Step::Done), Ok(Step::Done)));
    assert!(!reader.wants(stored.plain));
}

/// A sibling that arrives while the reader is deep below another is not fetched in vain.
#[test]
fn late_siblings_are_taken() {
    let scheme = Scheme { level: Level::Paranoid, encrypted: false };
    let bytes = noise(2 * 39 * 4096, 2);
    let stored = store(scheme, &bytes);
    let mut reader = stored.reader(PLENTY);
    reader.supply(stored.plain, &stored.chunks[&stored.plain]).unwrap();
    let Ok(Step::Want(siblings)) = reader.step() else { panic!("two interior chunks") };
    let [first, second] = siblings[..] else { panic!("two interior chunks") };
    reader.supply(first, &stored.chunks[&first]).unwrap();
    assert!(matches!(reader.step(), Ok(Step::Want(leaves)) if leaves.len() == 39 && !leaves.contains(&second)));
    reader.supply(second, &stored.chunks[&second]).unwrap();
    assert!(!reader.wants(second));
    let mut asked = 0;
    let read = reader.read_all(|reference| {
        asked += 1;
        stored.chunks.get(&reference).cloned()
    });
    assert!(read.unwrap() == bytes && asked == 78);
}

/// With the key the same, only the padding can tell two chunks apart, and it does: zeros would tell the blob's length.
#[test]
fn keys_and_padding_are_of_the_randomness_given() {
    let address = |key: u8, padding: u8| {
        let mut ignore = |_| Ok::<(), Infallible>(());
        let mut asked = Vec::new();
        let mut splitter = Splitter::encrypting(Level::None, |random: &mut [u8]| {
            random.fill(if asked.is_empty() { key } else { padding });
            asked.push(random.len());
        });
        splitter.update(b"foo", &mut ignore).unwrap();
        let root = splitter.finish(&mut ignore).unwrap();
        assert_eq!((root.key, asked), (ChunkKey::new([key; 32]), vec![32, 4093]));
        root.address
    };
    assert_eq!(address(1, 2), address(1, 2));
    assert_ne!(address(1, 2), address(1, 3));
    assert_ne!(address(1, 2), address(2, 2));
}

#[test]
fn a_wrong_key_opens_nothing() {
    let stored = store(Scheme { level: Level::None, encrypted: true }, &noise(5000, 2));
    let wrong = EncryptedReference { address: stored.plain, key: ChunkKey::new([1; 32]) };
    let read = Reader::encrypted(wrong, PLENTY).read_all(|reference| stored.chunks.get(&reference).cloned());
    // The span comes out as noise.
    assert!(matches!(read, Err(ReadError::TooLarge { .. } | ReadError::Level { .. })), "{read:?}");
}

/// The paper's arithmetic at every size: children fill their parents, and links and parities fit a chunk.
fn check_shape(scheme: Scheme, size: u64) {
    let (count, capacity) = (scheme.child_count(size), scheme.child_capacity_bytes(size));
    let payload = scheme.payload_bytes(size);
    assert!(payload <= 4096);
    if size > 4096 {
        let last = size - (count as u64 - 1) * capacity;
        assert!((2..=scheme.branches()).contains(&count) && (1..=capacity).contains(&last));
        assert_eq!(payload, count * scheme.link_bytes() + scheme.parities(count) * 32);
    } else {
        assert_eq!((count, payload as u64), (0, size));
    }
}

#[test]
fn shapes_are_total() {
    for scheme in schemes() {
        [0, 4096, 4097, 1 << 40, u64::MAX - 1, u64::MAX].into_iter().for_each(|size| check_shape(scheme, size));
    }
}

fn scheme() -> impl Strategy<Value = Scheme> {
    (0..5_u8, any::<bool>())
        .prop_map(|(level, encrypted)| Scheme { level: Level::from_number(level).unwrap(), encrypted })
}

fn odds(mut rng: TestRng) -> impl FnMut() -> bool {
    move || rng.random_bool(0.4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn reading_undoes_splitting(scheme in scheme(), size in 0_usize..300_000, seed: u64) {
        let bytes = noise(size, seed);
        prop_assert!(store(scheme, &bytes).read(size as u64).unwrap() == bytes);
    }

    #[test]
    fn what_is_skipped_is_left_out_and_not_asked_for(scheme in scheme(), size in 0_usize..300_000, skip in 0_u64..310_000, rng in any::<u64>()) {
        let bytes = noise(size, 1);
        let stored = store(scheme, &bytes);
        let rest = bytes.get(skip as usize..).unwrap_or_default();
        let mut asked = 0;
        let read = stored.reader(PLENTY).skipping(skip).read_all(|reference| {
            asked += 1;
            stored.chunks.get(&reference).cloned()
        });
        prop_assert_eq!(read.unwrap(), rest);
        // The leaves of the rest, and on the way to them what its groups and their parents have: at most a group a level.
        prop_assert!(asked <= rest.len() / 4096 + 2 + 3 * (1 + scheme.branches()), "{} chunks for {} bytes", asked, rest.len());
        if scheme.level != Level::None && size > 4096 {
            let mut chance = noise(32, rng).into_iter();
            let mut lost = false;
            let read = stored.reader(PLENTY).skipping(skip).read_all(|reference| {
                let is_root = reference == stored.encrypted.map_or(stored.plain, |root| root.address);
                let lose = !is_root && !lost && chance.next().is_some_and(|byte| byte < 40);
                lost |= lose;
                if lose { None } else { stored.chunks.get(&reference).cloned() }
            });
            prop_assert_eq!(read.unwrap(), rest);
        }
    }

    #[test]
    fn shapes_add_up(scheme in scheme(), size in prop_oneof![0_u64..10_000_000, any::<u64>()]) {
        check_shape(scheme, size);
    }

    /// Any losses that the parities allow, of data and parities, wherever they fall.
    #[test]
    fn any_losses_within_the_parities_are_made_good(scheme in scheme(), size in 4097_usize..300_000, rng in any::<u64>()) {
        let bytes = noise(size, 1);
        let fate = odds(TestRng::from_seed(prop::test_runner::RngAlgorithm::ChaCha, &[rng.to_le_bytes(); 4].concat()));
        let (read, _) = read_with_losses(&store(scheme, &bytes), |data| scheme.parities(data), fate).unwrap();
        prop_assert!(read == bytes);
    }

    /// One bit of one chunk, whichever: it is refused, and without the chunk the parities do.
    #[test]
    fn a_flipped_bit_is_refused(scheme in scheme(), size in 4097_usize..60_000, which: prop::sample::Index, bit: prop::sample::Index) {
        let bytes = noise(size, 1);
        let mut stored = store(scheme, &bytes);
        let spoilt = *which.get(&stored.chunks.keys().copied().collect::<Vec<_>>());
        let wire = stored.chunks.get_mut(&spoilt).unwrap();
        let bit = bit.index(wire.len() * 8);
        wire[bit / 8] ^= 1 << (bit % 8);
        let refused = Chunk::verify(spoilt, wire);
        let is_refused = matches!(refused, Err(ChunkError::Address { .. }));
        prop_assert!(is_refused);
        let read = stored.read(PLENTY);
        if spoilt == stored.plain || scheme.level == Level::None {
            let is_lost = matches!(read, Err(ReadError::Lost { .. }));
            prop_assert!(is_lost);
        } else {
            prop_assert!(read.unwrap() == bytes);
        }
    }

    /// Whatever is inside a genuine chunk, reading ends within the bound, by bytes or an error.
    #[test]
    fn any_chunk_is_read_or_refused(
        span in prop_oneof![0_u64..20_000, (0_u64..20_000).prop_map(|span| span | 0x81 << 56), any::<u64>()],
        payload in prop::collection::vec(any::<u8>(), 0..4096),
        key: Option<[u8; 32]>,
    ) {
        let root = chunk(span, &payload);
        let reader = match key {
            Some(key) => Reader::encrypted(EncryptedReference { address: root.reference(), key: ChunkKey::new(key) }, 1 << 20),
            None => Reader::new(root.reference(), 1 << 20),
        };
        let mut asked = 0;
        let read = reader.read_all(|reference| {
            asked += 1;
            (reference == root.reference()).then(|| root.wire().to_vec())
        });
        prop_assert!(asked < 300);
        prop_assert!(read.is_err() || read.unwrap().len() <= 4096);
    }

    #[test]
    fn any_bytes_are_a_single_owner_chunk_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..SOC_BYTES_MAX + 20)) {
        if let Ok(read) = SingleOwnerChunk::read(&bytes) {
            prop_assert_eq!(read.to_wire(), bytes);
        }
    }

    #[test]
    // 32 bytes of 255 are beyond the curve's order, and no key.
    fn a_single_owner_chunk_survives(key in 1_u8..255, id: [u8; 32], payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let key = OwnerKey::new(&[key; 32]).unwrap();
        let made = key.sign(id, chunk(payload.len() as u64, &payload));
        prop_assume!(made.is_ok());
        let made = made.unwrap();
        prop_assert_eq!(made.owner(), key.owner());
        prop_assert_eq!(SingleOwnerChunk::verify(made.reference(), &made.to_wire()), Ok(made));
    }

    #[test]
    fn any_text_is_an_encrypted_reference_or_an_error(text in "\\PC{0,140}", bytes: [u8; 32], key: [u8; 32]) {
        prop_assert!(text.parse::<EncryptedReference>().is_err());
        let reference = EncryptedReference { address: Reference(bytes), key: ChunkKey::new(key) };
        prop_assert_eq!(reference.reveal().parse(), Ok(reference));
        prop_assert_eq!(format!("0x{}", reference.reveal()).parse(), Ok(reference));
        let shown = format!("{reference:?}");
        prop_assert!(!shown.contains(&Reference(key).to_string()));
    }
}
