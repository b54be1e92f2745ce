//! Manifests: many paths below one reference. Bee's *mantaray* 0.2, a trie whose nodes are blobs of their own: what
//! its `/bzz` gives out for a file with a name, or for a folder. Pure; the caller stores and loads the nodes. Manyhands
//! sends no manifests itself; its Bee-compatible HTTP API does.
//!
//! A node has up to 256 *forks*, one for each first byte; a fork has up to 30 bytes of path in front of it, and a node
//! below it. A node may have an *entry*, the reference of a file; its metadata is in the fork that leads to it.

mod build;
mod wire;

use std::collections::BTreeMap;

use crate::any::AnyReference;
pub use wire::ManifestError;
use wire::{KEY_BYTES, Node};

/// Longest path in a manifest, in bytes: what a file system allows.
pub const PATH_BYTES_MAX: usize = 4096;

/// Most nodes, the root included, that lie one below the other. The longest path alone takes 138, and each place where another path leaves it
/// may take one more; a folder of people's files has a dozen. Without a bound, 4096 paths that begin one another make a trie of as many
/// levels, which whoever walks it by recursion may not survive.
pub const DEPTH_MAX: usize = 256;

/// Largest node that is read or written, in bytes. One of a folder of 256 names with a kilobyte of metadata each has 280 kB.
pub const NODE_BYTES_MAX: u64 = 1 << 20;

/// What a manifest says of a file: its `Content-Type`, its `Filename`.
pub type Metadata = BTreeMap<String, String>;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file; none for an entry of metadata only, as the root's.
    pub reference: Option<AnyReference>,
    /// What is said of it.
    pub metadata: Metadata,
}

/// A manifest that is being made.
#[derive(Debug)]
pub struct Manifest {
    root: Node,
    is_encrypted: bool,
}

impl Manifest {
    /// An empty manifest. If it is encrypted, all references in it are, and so must be how its nodes are stored.
    pub fn new(is_encrypted: bool) -> Self {
        Self { root: Node::default(), is_encrypted }
    }

    /// Puts `entry` at `path`, in place of what is there.
    ///
    /// # Errors
    /// [`ManifestError::Path`] if the path is empty or too long, [`ManifestError::Reference`] if a reference is not of
    /// the manifest's kind, [`ManifestError::Metadata`] if there is too much of it, [`ManifestError::TooDeep`] if paths
    /// that were added before begin this one, or part from it, in too many places. Nothing changes then.
    pub fn add(&mut self, path: &[u8], entry: Entry) -> Result<(), ManifestError> {
        if path.is_empty() || path.len() > PATH_BYTES_MAX {
            return Err(ManifestError::Path { got_bytes: path.len() });
        }
        wire::check_metadata(&entry.metadata)?;
        if entry.reference.is_some_and(|link| link.is_encrypted() != self.is_encrypted) {
            return Err(ManifestError::Reference);
        }
        let link = entry.reference.map(AnyReference::to_bytes).unwrap_or_default();
        build::add(&mut self.root, path, &link, &entry.metadata)
    }

    /// Stores all nodes with `save`, children first, and tells the root's reference. `randomness` fills the key that
    /// veils each node of an encrypted manifest; nodes of others have none, so that equal ones have equal references.
    ///
    /// # Errors
    /// Whatever `save` says, [`ManifestError::Reference`] if what it gives is not a reference of the manifest's kind,
    /// [`ManifestError::NodeTooLong`] if a node could not be read again. Nodes that were stored before that stay.
    pub fn store<E: From<ManifestError>>(
        self,
        randomness: &mut impl FnMut(&mut [u8]),
        save: &mut impl FnMut(&[u8]) -> Result<AnyReference, E>,
    ) -> Result<AnyReference, E> {
        let mut key = |key: &mut [u8; KEY_BYTES]| {
            if self.is_encrypted {
                randomness(key);
            }
        };
        build::store(self.root, &mut key, &mut |bytes: &[u8]| {
            let reference = save(bytes)?;
            if reference.is_encrypted() == self.is_encrypted {
                Ok(reference)
            } else {
                Err(ManifestError::Reference.into())
            }
        })
    }
}

/// What is at `path` of the manifest `root`, whose nodes `load` brings; none if nothing is.
///
/// # Errors
/// Whatever `load` says, [`ManifestError`] if a node is malformed or lies too deep.
pub fn lookup<E: From<ManifestError>>(
    root: AnyReference,
    path: &[u8],
    load: &mut impl FnMut(AnyReference) -> Result<Vec<u8>, E>,
) -> Result<Option<Entry>, E> {
    let mut node = Node::decode(&load(root)?)?;
    let (mut rest, mut metadata, mut is_value, mut depth) = (path, Metadata::new(), false, 1);
    while let Some(first) = rest.first() {
        let Some(fork) = node.forks.remove(first) else { return Ok(None) };
        let Some(after) = rest.strip_prefix(fork.prefix.as_slice()) else { return Ok(None) };
        rest = after;
        (metadata, is_value) = (fork.node.metadata, fork.node.kind.is_value());
        depth = below(depth)?;
        node = Node::decode(&load(wire::reference(&fork.link)?)?)?;
    }
    if !is_value && !path.is_empty() {
        return Ok(None);
    }
    let is_file = node.entry.iter().any(|byte| *byte != 0);
    let reference = if is_file { Some(wire::reference(&node.entry)?) } else { None };
    Ok(Some(Entry { reference, metadata }))
}

/// Whether anything in the manifest `root` begins with `prefix`.
///
/// # Errors
/// As [`lookup`].
pub fn has_prefix<E: From<ManifestError>>(
    root: AnyReference,
    prefix: &[u8],
    load: &mut impl FnMut(AnyReference) -> Result<Vec<u8>, E>,
) -> Result<bool, E> {
    let mut node = Node::decode(&load(root)?)?;
    let (mut rest, mut depth) = (prefix, 1);
    while let Some(first) = rest.first() {
        let Some(fork) = node.forks.remove(first) else { return Ok(false) };
        match rest.strip_prefix(fork.prefix.as_slice()) {
            Some(after) => rest = after,
            None => return Ok(fork.prefix.starts_with(rest)),
        }
        if !rest.is_empty() {
            depth = below(depth)?;
            node = Node::decode(&load(wire::reference(&fork.link)?)?)?;
        }
    }
    Ok(true)
}

/// Whether `bytes` are a node of a manifest. Other bytes can be one by chance only.
pub fn is_node(bytes: &[u8]) -> bool {
    Node::decode(bytes).is_ok()
}

/// All references that the manifest `root` needs to be read as a whole: its nodes, then its files; each once, in the
/// order in which they are met, level by level, and not more than `count_max` of them.
///
/// # Errors
/// As [`lookup`]; [`ManifestError::TooMany`].
pub fn references<E: From<ManifestError>>(
    root: AnyReference,
    count_max: usize,
    load: &mut impl FnMut(AnyReference) -> Result<Vec<u8>, E>,
) -> Result<(Vec<AnyReference>, Vec<AnyReference>), E> {
    let (mut nodes, mut files) = (vec![root], Vec::new());
    let mut seen = std::collections::BTreeSet::from([root.to_bytes()]);
    let (mut next, mut depth, mut level_end) = (0, 1, 1);
    while let Some(at) = nodes.get(next).copied() {
        if next == level_end {
            (depth, level_end) = (below(depth)?, nodes.len());
        }
        next += 1;
        let node = Node::decode(&load(at)?)?;
        if node.entry.iter().any(|byte| *byte != 0) && seen.insert(node.entry.clone()) {
            files.push(wire::reference(&node.entry)?);
        }
        for fork in node.forks.into_values() {
            if seen.insert(fork.link.clone()) {
                nodes.push(wire::reference(&fork.link)?);
            }
        }
        if nodes.len() + files.len() > count_max {
            return Err(ManifestError::TooMany { count_max }.into());
        }
    }
    Ok((nodes, files))
}

/// The depth of what is below a node.
fn below(depth: usize) -> Result<usize, ManifestError> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(ManifestError::TooDeep) }
}

#[cfg(test)]
mod tests;
