//! Manifests against Bee's own references and bytes, and against anything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
use std::collections::BTreeMap;

use manyhands_proto::Reference;
use proptest::prelude::*;

use super::*;
use crate::encryption::EncryptedReference;
use crate::split::reference_of;

/// Nodes by their references, in memory.
#[derive(Default)]
struct Memory(BTreeMap<Vec<u8>, Vec<u8>>);

impl Memory {
    fn load(&self) -> impl FnMut(AnyReference) -> Result<Vec<u8>, ManifestError> {
        |reference| Ok(self.0.get(&reference.to_bytes()).cloned().unwrap_or_default())
    }
}

fn entry(content: &[u8], name: &str, content_type: &str) -> Entry {
    let pairs = [("Content-Type", content_type), ("Filename", name)];
    let metadata = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Entry { reference: Some(reference_of(content).into()), metadata }
}

fn root(pairs: &[(&str, &str)]) -> Entry {
    Entry { reference: None, metadata: pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect() }
}

fn stored(entries: Vec<(&str, Entry)>) -> (AnyReference, Memory) {
    let (mut manifest, mut memory) = (Manifest::new(false), Memory::default());
    for (path, entry) in entries {
        manifest.add(path.as_bytes(), entry).unwrap();
    }
    let root = manifest.store(&mut |_| panic!("a plain manifest has no keys"), &mut |bytes| {
        let reference = AnyReference::from(reference_of(bytes));
        memory.0.insert(reference.to_bytes(), bytes.to_vec());
        Ok::<_, ManifestError>(reference)
    });
    (root.unwrap(), memory)
}

const INDEX: (&str, &str) = ("website-index-document", "index.html");

/// The references are those of Bee's own tests, pkg/api/dirs_test.go and bzz_test.go at v2.8.1.
#[test]
fn references_are_those_of_bee() {
    let html = "text/html; charset=utf-8";
    let index = || entry(b"<h1>Swarm", "index.html", html);
    let folders = [
        (
            "f3312af64715d26b5e1a3dc90f012d2c9cc74a167899dab1d07cdee8c107f939",
            vec![("file1", entry(b"first file data", "file1", "")), ("file2", entry(b"second file data", "file2", ""))],
        ),
        (
            "4c9c76d63856102e54092c38a7cd227d769752d768b7adc8c3542e3dd9fcf295",
            vec![
                ("robots.txt", entry(b"robots text", "robots.txt", "text/plain; charset=utf-8")),
                ("img/1.png", entry(b"image 1", "1.png", "image/png")),
                ("img/2.png", entry(b"image 2", "2.png", "image/png")),
            ],
        ),
        (
            "a58484e3d77bbdb40323ddc9020c6e96e5eb5deb52015d3e0f63cce629ac1aa6",
            vec![("index.html", index()), ("/", root(&[INDEX]))],
        ),
        (
            "3e2f008a578c435efa7a1fce146e21c4ae8c20b80fbb4c4e0c1c87ca08fef414",
            vec![("dir/index.html", index()), ("/", root(&[INDEX]))],
        ),
        (
            "2cd9a6ac11eefbb71b372fb97c3ef64109c409955964a294fdc183c1014b3844",
            vec![
                ("index.html", index()),
                ("error.html", entry(b"<h2>404", "error.html", html)),
                ("/", root(&[("website-error-document", "error.html"), INDEX])),
            ],
        ),
        // A single file: the metadata of the root comes first.
        (
            "4f9146b3813ccbd7ce45a18be23763d7e436ab7a3982ef39961c6f3cd4da1dcf",
            vec![
                ("/", root(&[("website-index-document", "my-pictures.jpeg")])),
                ("my-pictures.jpeg", entry(b"this is a simple text", "my-pictures.jpeg", "image/jpeg; charset=utf-8")),
            ],
        ),
    ];
    for (reference, entries) in folders {
        let paths: Vec<_> = entries.iter().map(|(path, entry)| (path.to_string(), entry.clone())).collect();
        let (root, memory) = stored(entries);
        assert_eq!(root.reveal(), reference);
        for (path, entry) in paths {
            assert_eq!(lookup(root, path.as_bytes(), &mut memory.load()).unwrap(), Some(entry), "{path}");
        }
    }
}

/// pkg/manifest/mantaray/marshal_test.go, testMarshalOutput02: five forks, one with metadata, under a key.
#[test]
fn a_node_has_the_bytes_of_bee() {
    let expected = concat!(
        "52fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c64905954fb18659339d0b25e0fb9723d3cd5d528fb3c8d495fd157bd7b7a2104969",
        "52fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c64952fdfc072102654f163f5f0fa0621d729566c74d10037c4d7bbb0407d1e2c649",
        "40fcd3072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c64952fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c649",
        "52e3872548ec012a6e123b60f9177017fb12e57732621d2c1ada267adbe8cc4350f89d6640e3044f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c649",
        "52fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c64850ff9f642182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c649",
        "52fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c64b50fc98072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c649",
        "52fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c64a50ff99622182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c649",
        "52fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c64d"
    );
    let mut node = Node::default();
    for path in ["/", "aaaaa", "cc", "d", "ee"] {
        let metadata = if path == "/" { root(&[("index-document", "aaaaa")]).metadata } else { Metadata::new() };
        let link = [&vec![0; 32 - path.len()], path.as_bytes()].concat();
        build::add(&mut node, path.as_bytes(), &link, &metadata).unwrap();
    }
    for (number, fork) in node.forks.values_mut().enumerate() {
        fork.link = [vec![0; 31], vec![number as u8]].concat();
    }
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let key: [u8; 32] = std::array::from_fn(|i| u8::from_str_radix(&expected[2 * i..2 * i + 2], 16).unwrap());
    let bytes = node.encode(&key).unwrap();
    assert_eq!(digits(&bytes), expected);
    let read = Node::decode(&bytes).unwrap();
    assert_eq!(read.forks.len(), 5);
    assert_eq!(read.forks[&b'/'].node.metadata["index-document"], "aaaaa");
}

#[test]
fn folders_are_told_from_files() {
    let file = || entry(b"x", "x", "");
    let (root, memory) = stored(vec![("img/1.png", file()), ("img/2.png", file()), ("im", file()), ("read", file())]);
    for (path, is_file, is_prefix) in [
        ("img/1.png", true, true),
        ("im", true, true),
        ("img/", false, true),
        ("img/3.png", false, false),
        ("rea", false, true),
        ("ready", false, false),
        ("", true, true),
    ] {
        let found = lookup(root, path.as_bytes(), &mut memory.load()).unwrap();
        assert_eq!(found.is_some(), is_file, "{path}");
        assert_eq!(has_prefix(root, path.as_bytes(), &mut memory.load()).unwrap(), is_prefix, "{path}");
    }
    let (nodes, files) = references(root, 100, &mut memory.load()).unwrap();
    assert_eq!((nodes.len(), files), (memory.0.len(), vec![reference_of(b"x").into()]));
    let few = references(root, nodes.len(), &mut memory.load()).unwrap_err();
    assert_eq!(few, ManifestError::TooMany { count_max: nodes.len() });
}

#[test]
fn what_cannot_be_in_a_manifest_is_refused() {
    let mut manifest = Manifest::new(false);
    assert_eq!(manifest.add(b"", entry(b"", "", "")), Err(ManifestError::Path { got_bytes: 0 }));
    assert!(matches!(manifest.add(&[b'x'; 4097], entry(b"", "", "")), Err(ManifestError::Path { .. })));
    assert!(matches!(manifest.add(b"x", entry(b"", &"n".repeat(70_000), "")), Err(ManifestError::Metadata { .. })));
    let encrypted = EncryptedReference::from_bytes([7; 64]);
    let wrong = Entry { reference: Some(AnyReference::Encrypted(encrypted)), metadata: Metadata::new() };
    assert_eq!(manifest.add(b"x", wrong), Err(ManifestError::Reference));
}

/// Such a thread has a quarter of the stack of Rust's own.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap().join().unwrap();
}

fn file() -> Entry {
    Entry { reference: Some(reference_of(b"x").into()), metadata: Metadata::new() }
}

/// Adds the paths that are so long, all of one letter, until one is refused; tells its length and what there is until then.
fn deep(lengths: impl Iterator<Item = usize>) -> (usize, Manifest) {
    let mut manifest = Manifest::new(false);
    for length in lengths {
        if let Err(error) = manifest.add(&vec![b'x'; length], file()) {
            assert_eq!(error, ManifestError::TooDeep);
            return (length, manifest);
        }
    }
    panic!("all were taken");
}

fn height_of(node: &Node) -> usize {
    node.forks.values().map(|fork| 1 + height_of(&fork.node)).max().unwrap_or_default()
}

#[test]
fn paths_that_make_too_deep_a_trie_are_refused_and_the_deepest_is_stored_and_dropped() {
    on_a_small_stack(|| {
        // Each path begins the next one, or each next one begins all before it: that puts all of them one deeper.
        let (refused, growing) = deep(1..);
        assert_eq!(refused, DEPTH_MAX);
        let (refused, parting) = deep((1..=PATH_BYTES_MAX).rev());
        // The longest takes 138 nodes and each other one more, but for the four that end where a node is already.
        assert_eq!(refused, PATH_BYTES_MAX - (DEPTH_MAX - 138) - 4 - 1);
        for (manifest, longest) in [(growing, DEPTH_MAX - 1), (parting, PATH_BYTES_MAX)] {
            assert_eq!((manifest.root.height, height_of(&manifest.root)), (DEPTH_MAX - 1, DEPTH_MAX - 1));
            let mut memory = Memory::default();
            let stored = manifest.store(&mut |_| {}, &mut |bytes| {
                let reference = AnyReference::from(reference_of(bytes));
                memory.0.insert(reference.to_bytes(), bytes.to_vec());
                Ok::<_, ManifestError>(reference)
            });
            let root = stored.unwrap();
            assert_eq!(lookup(root, &vec![b'x'; longest], &mut memory.load()).unwrap(), Some(file()));
            assert_eq!(references(root, 1_000, &mut memory.load()).unwrap().0.len(), DEPTH_MAX);
        }
        // Dropped without being stored.
        drop((deep(1..), deep((1..=PATH_BYTES_MAX).rev())));
    });
}

/// A manifest that somebody else made: one node below the other, so many of them, and one letter from each to the next.
fn chain(count: usize) -> (AnyReference, Memory) {
    let (mut memory, mut link) = (Memory::default(), reference_of(b"x").as_bytes().to_vec());
    for number in 0..count {
        let mut node = Node { link_bytes: 32, ..Node::default() };
        if number == 0 {
            node.entry.clone_from(&link);
        } else {
            let mut below = Node::default();
            below.set_value(&[], &Metadata::new());
            node.forks.insert(b'x', wire::Fork { prefix: b"x".to_vec(), node: below, link });
        }
        let bytes = node.encode(&[0; 32]).unwrap();
        link = reference_of(&bytes).as_bytes().to_vec();
        memory.0.insert(link.clone(), bytes);
    }
    (AnyReference::from_bytes(&link).unwrap(), memory)
}

#[test]
fn manifests_that_are_too_deep_are_not_read_on() {
    on_a_small_stack(|| {
        let (root, memory) = chain(DEPTH_MAX);
        let path = vec![b'x'; 4_000];
        assert_eq!(lookup(root, &path[..DEPTH_MAX - 1], &mut memory.load()).unwrap(), Some(file()));
        assert!(has_prefix(root, &path[..DEPTH_MAX - 1], &mut memory.load()).unwrap());
        assert_eq!(references(root, 1_000, &mut memory.load()).unwrap().0.len(), DEPTH_MAX);
        for count in [DEPTH_MAX + 1, 4_001] {
            let (root, memory) = chain(count);
            assert_eq!(lookup(root, &path, &mut memory.load()), Err(ManifestError::TooDeep));
            assert_eq!(has_prefix(root, &path, &mut memory.load()), Err(ManifestError::TooDeep));
            assert_eq!(references(root, 10_000, &mut memory.load()), Err(ManifestError::TooDeep));
        }
    });
}

#[test]
fn a_node_that_could_not_be_read_again_is_not_written() {
    let mut manifest = Manifest::new(false);
    for first in b'a'..b'a' + 20 {
        manifest.add(&[first], entry(b"1", &"n".repeat(60_000), "")).unwrap();
    }
    let mut count = 0;
    let stored = manifest.store(&mut |_| {}, &mut |bytes| {
        count += 1;
        assert!(Node::decode(bytes).is_ok());
        Ok(reference_of(bytes).into())
    });
    assert!(matches!(stored, Err(ManifestError::NodeTooLong { got_bytes: 1_200_000.. })), "{stored:?}");
    assert_eq!(count, 20, "all but the root");
}

#[test]
fn nodes_must_be_stored_as_their_manifest_is() {
    let mut manifest = Manifest::new(true);
    manifest.add(b"x", Entry { reference: None, metadata: Metadata::new() }).unwrap();
    let stored = manifest.store(&mut |_| {}, &mut |bytes| Ok(reference_of(bytes).into()));
    assert_eq!(stored, Err(ManifestError::Reference));
}

#[test]
fn letters_that_go_escapes_are_escaped() {
    let metadata = root(&[("Filename", "<a>&b\"\u{2028}\u{e9}")]).metadata;
    let json = String::from_utf8(wire::padded_json(&metadata)).unwrap();
    assert_eq!(json.trim_end(), "{\"Filename\":\"\\u003ca\\u003e\\u0026b\\\"\\u2028\u{e9}\"}");
}

fn paths() -> impl Strategy<Value = BTreeMap<String, u8>> {
    prop::collection::btree_map("[ab/]{1,70}", any::<u8>(), 1..20)
}

proptest! {
    #[test]
    fn every_path_is_found_again_with_and_without_encryption(paths in paths(), is_encrypted: bool, other in "[ab/]{1,9}") {
        let (mut manifest, mut memory) = (Manifest::new(is_encrypted), Memory::default());
        let file = |number: u8| match is_encrypted {
            true => AnyReference::Encrypted(EncryptedReference::from_bytes([number.max(1); 64])),
            false => AnyReference::Plain(Reference([number.max(1); 32])),
        };
        let entry = |number| Entry { reference: Some(file(number)), metadata: root(&[("n", &number.to_string())]).metadata };
        for (path, number) in &paths {
            manifest.add(path.as_bytes(), entry(*number)).unwrap();
        }
        prop_assert_eq!(manifest.root.height, height_of(&manifest.root));
        let mut state = 0_u8;
        let root = manifest.store(
            &mut |key: &mut [u8]| { state = state.wrapping_add(1); key.fill(state) },
            &mut |bytes| {
                let address = reference_of(bytes);
                let reference = match is_encrypted {
                    true => AnyReference::from_bytes(&address.as_bytes().repeat(2)).unwrap(),
                    false => address.into(),
                };
                memory.0.insert(reference.to_bytes(), bytes.to_vec());
                Ok::<_, ManifestError>(reference)
            },
        ).unwrap();
        for (path, number) in &paths {
            prop_assert_eq!(lookup(root, path.as_bytes(), &mut memory.load()).unwrap(), Some(entry(*number)));
            prop_assert!(has_prefix(root, &path.as_bytes()[..path.len() / 2], &mut memory.load()).unwrap());
        }
        if !paths.contains_key(&other) {
            prop_assert_eq!(lookup(root, other.as_bytes(), &mut memory.load()).unwrap(), None);
        }
    }

    #[test]
    fn any_bytes_are_a_node_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400), is_dressed: bool) {
        let mut bytes = bytes;
        if is_dressed && bytes.len() > 64 {
            // The header of a node with an empty key, so that what follows is looked at.
            bytes[..32].fill(0);
            bytes[32..64].copy_from_slice(&Node { link_bytes: 32, ..Node::default() }.encode(&[0; 32]).unwrap()[32..64]);
        }
        if let Ok(node) = Node::decode(&bytes) {
            prop_assert!(node.forks.len() <= 256 && node.link_bytes <= 64);
        }
    }

    #[test]
    fn a_changed_byte_of_a_node_is_read_or_refused(at in any::<prop::sample::Index>(), byte: u8, path in "[a-c/]{1,40}") {
        let (root, memory) = stored(vec![("img/1.png", entry(b"1", "1", "image/png")), ("in", entry(b"2", "2", ""))]);
        let mut bytes = memory.0[&root.to_bytes()].clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut load = |reference: AnyReference| -> Result<Vec<u8>, ManifestError> {
            if reference == root { Ok(bytes.clone()) } else { Ok(memory.0.get(&reference.to_bytes()).cloned().unwrap_or_default()) }
        };
        let _ = lookup(root, path.as_bytes(), &mut load);
        let _ = has_prefix(root, path.as_bytes(), &mut load);
        let _ = references(root, 50, &mut load);
    }
}
