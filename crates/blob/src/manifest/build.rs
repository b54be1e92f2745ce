//! A manifest in memory: paths are added, then all nodes are stored. Without recursion, so that no paths, however they were chosen, are too
//! deep for a stack; only the compiler's own drop of a trie recurses, and [`DEPTH_MAX`] bounds that.

use std::collections::btree_map::Entry;
use std::ops::Bound;

use super::wire::{Fork, KEY_BYTES, Kind, ManifestError, Node, PREFIX_BYTES_MAX};
use super::{AnyReference, DEPTH_MAX, Metadata};

/// Nodes one below the other, from `root` on, on the longest way that there is once `path` is added, as far as that changes it.
fn depth_with(root: &Node, path: &[u8]) -> usize {
    let (mut node, mut rest, mut depth) = (root, path, 1);
    while let Some(fork) = rest.first().and_then(|first| node.forks.get(first)) {
        let shared = shared_bytes(&fork.prefix, rest);
        rest = rest.get(shared..).unwrap_or_default();
        depth += 1;
        if shared < fork.prefix.len() {
            // It is parted, and all that is below it comes to lie one deeper.
            return depth + (1 + fork.node.height).max(chain(rest));
        }
        node = &fork.node;
    }
    depth + chain(rest)
}

/// Adds a path. Bee's own order of steps, since the marks that it leaves in the nodes on the way decide their references.
///
/// # Errors
/// [`ManifestError::TooDeep`] if more than [`DEPTH_MAX`] nodes would lie one below the other. Nothing changes then.
pub(super) fn add(root: &mut Node, path: &[u8], link: &[u8], metadata: &Metadata) -> Result<(), ManifestError> {
    let mut deepest = depth_with(root, path);
    if deepest > DEPTH_MAX {
        return Err(ManifestError::TooDeep);
    }
    let (mut node, mut path, mut depth) = (root, path, 1);
    loop {
        node.height = node.height.max(deepest.saturating_sub(depth));
        if node.link_bytes == 0 {
            node.link_bytes = link.len();
        }
        let Some(first) = path.first() else {
            node.set_value(link, metadata);
            return Ok(());
        };
        node.kind.make_edge();
        let link_bytes = node.link_bytes;
        depth += 1;
        (node, path) = match node.forks.entry(*first) {
            Entry::Vacant(slot) => {
                let (prefix, rest) = path.split_at(path.len().min(PREFIX_BYTES_MAX));
                let mut below = Node { link_bytes, ..Node::default() };
                below.kind.note_separator(prefix);
                (&mut slot.insert(Fork::over(prefix, below)).node, rest)
            }
            Entry::Occupied(slot) => {
                let fork = slot.into_mut();
                let shared = shared_bytes(&fork.prefix, path);
                let rest = path.get(shared..).unwrap_or_default();
                if part(fork, shared, link_bytes) {
                    // From here on the way is this path's alone.
                    deepest = depth + chain(rest);
                }
                fork.node.kind.note_separator(path);
                (&mut fork.node, rest)
            }
        };
    }
}

/// Puts a node after the first `shared` bytes of a fork's prefix, unless that is all of it. Tells whether it did.
fn part(fork: &mut Fork, shared: usize, link_bytes: usize) -> bool {
    let rest = fork.prefix.split_off(shared.min(fork.prefix.len()));
    let Some(first) = rest.first() else { return false };
    let mut below = std::mem::take(&mut fork.node);
    below.kind.note_separator(&rest);
    let mut parting = Node { link_bytes, height: below.height + 1, kind: Kind::default(), ..Node::default() };
    parting.kind.make_edge();
    parting.forks.insert(*first, Fork::over(&rest, below));
    fork.node = parting;
    true
}

/// Nodes that a path of its own takes.
const fn chain(path: &[u8]) -> usize {
    path.len().div_ceil(PREFIX_BYTES_MAX)
}

fn shared_bytes(prefix: &[u8], path: &[u8]) -> usize {
    prefix.iter().zip(path).take_while(|(old, new)| old == new).count()
}

/// Stores a node and all that is below it, children first, and tells its reference.
pub(super) fn store<E: From<ManifestError>>(
    root: Node,
    key: &mut impl FnMut(&mut [u8; KEY_BYTES]),
    save: &mut impl FnMut(&[u8]) -> Result<AnyReference, E>,
) -> Result<AnyReference, E> {
    // The way down to the node at hand, and at each the fork that it leads through.
    let (mut above, mut node, mut after) = (Vec::new(), root, Bound::Unbounded);
    loop {
        if let Some((first, fork)) = node.forks.range_mut((after, Bound::Unbounded)).next() {
            let (first, below) = (*first, std::mem::take(&mut fork.node));
            // What the parent says of it stays with the fork.
            (fork.node.kind, fork.node.metadata) = (below.kind, below.metadata.clone());
            above.push((node, first));
            (node, after) = (below, Bound::Unbounded);
            continue;
        }
        let mut veil = [0; KEY_BYTES];
        key(&mut veil);
        let reference = save(&node.encode(&veil)?)?;
        let Some((parent, first)) = above.pop() else { return Ok(reference) };
        (node, after) = (parent, Bound::Excluded(first));
        if let Some(fork) = node.forks.get_mut(&first) {
            fork.link = reference.to_bytes();
        }
    }
}
