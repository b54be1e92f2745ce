//! A manifest's node as bytes. Total: any bytes are a node or an error.
//!
//! ```text
//! key 32 | version hash 31 | length of a link 1 | entry | bitmap of the forks 32 | forks, by their first bytes
//! fork:  kind 1 | prefix length 1 | prefix 30 | link | with metadata: length u16 big-endian, JSON padded with newlines
//! ```
//! All after the key is XORed with it, 32 bytes at a time.

use std::collections::BTreeMap;

use super::{Metadata, NODE_BYTES_MAX};
use crate::any::AnyReference;
use crate::shape::REFERENCE_BYTES;

/// Bytes of the key that veils a node, and the stride of its XOR.
pub(super) const KEY_BYTES: usize = 32;
/// Most bytes of path in front of one fork.
pub(super) const PREFIX_BYTES_MAX: usize = 30;
/// The first 31 bytes of keccak-256 of `mantaray:0.2`.
const VERSION: [u8; 31] = [
    0x57, 0x68, 0xb3, 0xb6, 0xa7, 0xdb, 0x56, 0xd2, 0x1d, 0x1a, 0xbf, 0xf4, 0x0d, 0x41, 0xce, 0xbf, 0xc8, 0x34, 0x48,
    0xfe, 0xd8, 0xd7, 0xe9, 0xb0, 0x6e, 0xc0, 0xd3, 0xb0, 0x73, 0xf2, 0x8f,
];
const BITMAP_BYTES: usize = 32;
/// The length in front of a fork's metadata.
const LENGTH_BYTES: usize = 2;

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are no node.
    #[error("this is no node of a manifest (mantaray 0.2): {what}")]
    Malformed {
        /// Where it ends to be one.
        what: &'static str,
    },
    /// No path is that short or that long.
    #[error("a path has 1 to {} bytes, got {got_bytes}", super::PATH_BYTES_MAX)]
    Path {
        /// The length given, in bytes.
        got_bytes: usize,
    },
    /// An encrypted reference in a plain manifest, or the other way round.
    #[error("all references of a manifest are encrypted, or none is")]
    Reference,
    /// The metadata of one entry is too long to be written down.
    #[error("the metadata of one entry takes {got_bytes} bytes as JSON, at most {} fit", u16::MAX)]
    Metadata {
        /// Its length with padding, in bytes.
        got_bytes: usize,
    },
    /// Too many nodes one below the other.
    #[error(
        "the manifest has more than {} nodes one below the other; no folder of files needs so many",
        super::DEPTH_MAX
    )]
    TooDeep,
    /// A node's names and their metadata take more bytes than anybody here would read again.
    #[error(
        "a node of the manifest takes {got_bytes} bytes, at most {NODE_BYTES_MAX} are read again; use shorter metadata"
    )]
    NodeTooLong {
        /// Its length, in bytes.
        got_bytes: usize,
    },
    /// More nodes and files than the caller allows.
    #[error("the manifest has more than {count_max} nodes and files")]
    TooMany {
        /// The bound.
        count_max: usize,
    },
}

/// Marks of a node, kept in the fork that leads to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kind(u8);

const VALUE: u8 = 2;
const EDGE: u8 = 4;
const SEPARATOR: u8 = 8;
const WITH_METADATA: u8 = 16;

impl Kind {
    pub(super) fn is_value(self) -> bool {
        self.0 & VALUE != 0
    }

    pub(super) fn make_edge(&mut self) {
        self.0 |= EDGE;
    }

    /// Whether a slash is in the path, other than at its front.
    pub(super) fn note_separator(&mut self, path: &[u8]) {
        let is_there = path.iter().skip(1).any(|byte| *byte == b'/') && path.first() != Some(&b'/');
        self.0 = if is_there { self.0 | SEPARATOR } else { self.0 & !SEPARATOR };
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Bytes of a link: 0 until there is one, then 32 or 64.
    pub(super) link_bytes: usize,
    pub(super) entry: Vec<u8>,
    pub(super) metadata: Metadata,
    pub(super) forks: BTreeMap<u8, Fork>,
    /// Nodes below it on the longest way down, of one that is being made; 0 of one that was read.
    pub(super) height: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fork {
    pub(super) prefix: Vec<u8>,
    /// The node below, as far as it is known here: read from its parent, only its kind and its metadata.
    pub(super) node: Node,
    /// Where the node below is stored; empty until it is.
    pub(super) link: Vec<u8>,
}

impl Fork {
    pub(super) fn over(prefix: &[u8], node: Node) -> Self {
        Self { prefix: prefix.to_vec(), node, link: Vec::new() }
    }
}

impl Node {
    pub(super) fn set_value(&mut self, link: &[u8], metadata: &Metadata) {
        self.entry = link.to_vec();
        self.kind.0 |= VALUE;
        if !metadata.is_empty() {
            self.metadata.clone_from(metadata);
            self.kind.0 |= WITH_METADATA;
        }
    }

    /// # Errors
    /// [`ManifestError::NodeTooLong`] if [`Node::decode`] would refuse it, [`ManifestError::Metadata`].
    pub(super) fn encode(&self, key: &[u8; KEY_BYTES]) -> Result<Vec<u8>, ManifestError> {
        let mut bytes = key.to_vec();
        bytes.extend_from_slice(&VERSION);
        bytes.push(self.link_bytes as u8);
        let mut entry = self.entry.clone();
        entry.resize(self.link_bytes, 0);
        bytes.extend_from_slice(&entry);
        let mut bitmap = [0_u8; BITMAP_BYTES];
        for first in self.forks.keys() {
            if let Some(byte) = bitmap.get_mut(usize::from(first / 8)) {
                *byte |= 1 << (first % 8);
            }
        }
        bytes.extend_from_slice(&bitmap);
        for fork in self.forks.values() {
            fork.append_to(&mut bytes)?;
        }
        if bytes.len() as u64 > NODE_BYTES_MAX {
            return Err(ManifestError::NodeTooLong { got_bytes: bytes.len() });
        }
        veil(&mut bytes, key);
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let malformed = |what| ManifestError::Malformed { what };
        if bytes.len() as u64 > NODE_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
        let key: [u8; KEY_BYTES] = *bytes.first_chunk().ok_or(malformed("it has no key"))?;
        let mut bytes = bytes.to_vec();
        veil(&mut bytes, &key);
        let mut rest = bytes.get(KEY_BYTES..).unwrap_or_default();
        if take(&mut rest, VERSION.len()) != Some(VERSION.as_slice()) {
            return Err(malformed("the version is another one"));
        }
        let link_bytes = take(&mut rest, 1).and_then(<[u8]>::first).copied().map(usize::from);
        let link_bytes = link_bytes.filter(|count| [0, REFERENCE_BYTES, 2 * REFERENCE_BYTES].contains(count));
        let link_bytes = link_bytes.ok_or(malformed("its references are of no known length"))?;
        let entry = take(&mut rest, link_bytes).ok_or(malformed("its entry is cut"))?.to_vec();
        let bitmap = take(&mut rest, BITMAP_BYTES).ok_or(malformed("the list of its forks is cut"))?;
        let mut node = Self { link_bytes, entry, ..Self::default() };
        let firsts =
            (0..=u8::MAX).filter(|first| bitmap.get(usize::from(first / 8)).is_some_and(|b| b >> (first % 8) & 1 == 1));
        for first in firsts.filter(|_| link_bytes > 0) {
            let fork = Fork::take_from(&mut rest, link_bytes).ok_or(malformed("a fork is cut or makes no sense"))?;
            if fork.prefix.first() != Some(&first) {
                return Err(malformed("a fork is not the one that the list says"));
            }
            node.forks.insert(first, fork);
        }
        Ok(node)
    }
}

impl Fork {
    fn append_to(&self, bytes: &mut Vec<u8>) -> Result<(), ManifestError> {
        bytes.extend_from_slice(&[self.node.kind.0, self.prefix.len() as u8]);
        let mut prefix = self.prefix.clone();
        prefix.resize(PREFIX_BYTES_MAX, 0);
        bytes.extend_from_slice(&prefix);
        bytes.extend_from_slice(&self.link);
        if self.node.kind.0 & WITH_METADATA != 0 {
            let json = padded_json(&self.node.metadata);
            let length = u16::try_from(json.len()).map_err(|_| ManifestError::Metadata { got_bytes: json.len() })?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&json);
        }
        Ok(())
    }

    fn take_from(rest: &mut &[u8], link_bytes: usize) -> Option<Self> {
        let (kind, length) = match take(rest, 2)? {
            [kind, length] => (Kind(*kind), usize::from(*length)),
            _ => return None,
        };
        let prefix = take(rest, PREFIX_BYTES_MAX)?.get(..length).filter(|prefix| !prefix.is_empty())?.to_vec();
        let link = take(rest, link_bytes)?.to_vec();
        let mut node = Node { kind, ..Node::default() };
        if kind.0 & WITH_METADATA != 0 {
            let length = take(rest, LENGTH_BYTES)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
            let json = take(rest, usize::from(length))?;
            if !json.is_empty() {
                node.metadata = serde_json::from_slice(json).ok()?;
            }
        }
        Some(Self { prefix, node, link })
    }
}

/// A link that is a reference.
pub(super) fn reference(link: &[u8]) -> Result<AnyReference, ManifestError> {
    AnyReference::from_bytes(link).ok_or(ManifestError::Malformed { what: "a reference is missing" })
}

/// Whether one entry's metadata can be written down.
pub(super) fn check_metadata(metadata: &Metadata) -> Result<(), ManifestError> {
    let got_bytes = padded_json(metadata).len();
    if got_bytes > usize::from(u16::MAX) { Err(ManifestError::Metadata { got_bytes }) } else { Ok(()) }
}

/// JSON as Go writes it, with newlines up to a whole number of 32 bytes together with its length. One block too many
/// where it would be whole already, but for a single block: so does Bee.
pub(super) fn padded_json(metadata: &Metadata) -> Vec<u8> {
    let mut json = go_json(metadata).into_bytes();
    let used = json.len() + LENGTH_BYTES;
    if used != KEY_BYTES {
        json.resize(json.len() + KEY_BYTES - used % KEY_BYTES, b'\n');
    }
    json
}

/// Keys in order, no spaces, and `<`, `>`, `&` and the line separators escaped, as Go's encoder does for maps of texts.
fn go_json(metadata: &Metadata) -> String {
    let plain = serde_json::to_string(metadata).unwrap_or_default();
    let mut text = String::with_capacity(plain.len());
    for letter in plain.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => text.push(letter),
        }
    }
    text
}

fn veil(bytes: &mut [u8], key: &[u8; KEY_BYTES]) {
    let hidden = bytes.iter_mut().skip(KEY_BYTES);
    hidden.zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}
