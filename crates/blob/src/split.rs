//! The splitter: bytes in, chunks out, in memory bounded by the tree's height. Pure; what happens to a chunk is the
//! caller's. Serves step II, where blobs are stored.

use std::convert::Infallible;

use manyhands_proto::{BlobRef, Reference};

use crate::chunk::{Chunk, PAYLOAD_BYTES_MAX};
use crate::redundancy::code::{Codes, Shard, shard_of};
use crate::redundancy::{Level, Span};
use crate::seal::{Link as _, Plain, Seal};
use crate::shape::Scheme;

/// Cuts a stream of bytes into chunks as Bee does: [`Splitter::new`] at redundancy level 0, the other makers at any
/// level and with encryption.
///
/// Each chunk is emitted once for every place it has in the tree, children before their parent, parities after the
/// children they stand for. At most 4 KiB of payload and 128 addresses per level of the tree are held; at a redundancy
/// level above 0 also the chunks of these addresses, at most 119 (0.5 MB) per level of the tree.
#[derive(Debug)]
pub struct Splitter<S: Seal = Plain> {
    scheme: Scheme,
    branches: usize,
    pub(crate) seal: S,
    codes: Codes,
    buffer: Vec<u8>,
    /// At index 0 the leaves that have no parent yet, above them the interior chunks; never a full group.
    groups: Vec<Group<S::Link>>,
    size_bytes: u64,
}

/// Siblings that have no parent yet.
#[derive(Debug)]
struct Group<L> {
    children: Vec<Child<L>>,
    /// The children's wire forms, for the parities; none at level 0.
    shards: Vec<Shard>,
}

#[derive(Debug, Clone, Copy)]
struct Child<L> {
    link: L,
    span_bytes: u64,
}

impl<L> Default for Group<L> {
    fn default() -> Self {
        Self { children: Vec::new(), shards: Vec::new() }
    }
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// A splitter that has seen nothing, for plain chunks without redundancy.
    pub fn new() -> Self {
        Self::with_level(Level::None)
    }

    /// A splitter for plain chunks with the parities of `level`. The replicas of the root are not its business; see
    /// [`replicas`](crate::redundancy::replicas).
    pub fn with_level(level: Level) -> Self {
        Self::sealing(level, Plain)
    }

    /// Emits the last leaf and the interior chunks above it, and tells the blob's reference and size.
    ///
    /// # Errors
    /// Whatever `emit` says.
    pub fn finish<E>(self, emit: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<BlobRef, E> {
        let size_bytes = self.size_bytes;
        let reference = self.close(emit)?;
        Ok(BlobRef { reference, size_bytes })
    }
}

impl<S: Seal> Splitter<S> {
    pub(crate) fn sealing(level: Level, seal: S) -> Self {
        let scheme = Scheme { level, encrypted: S::ENCRYPTED };
        Self {
            scheme,
            branches: scheme.branches(),
            seal,
            codes: Codes::default(),
            buffer: Vec::new(),
            groups: Vec::new(),
            size_bytes: 0,
        }
    }

    /// Bytes taken so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Takes the next bytes and emits the chunks that they complete.
    ///
    /// # Errors
    /// Whatever `emit` says; the splitter is of no use after that.
    pub fn update<E>(&mut self, bytes: &[u8], emit: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = PAYLOAD_BYTES_MAX - self.buffer.len();
            let (taken, left) = rest.split_at(room.min(rest.len()));
            self.buffer.extend_from_slice(taken);
            self.size_bytes += taken.len() as u64;
            rest = left;
            if self.buffer.len() == PAYLOAD_BYTES_MAX {
                self.emit_leaf(emit)?;
            }
        }
        Ok(())
    }

    /// Emits what is left and tells the root's link.
    pub(crate) fn close<E>(mut self, emit: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<S::Link, E> {
        let mut carried = None;
        if !self.buffer.is_empty() || self.size_bytes == 0 {
            carried = Some(self.seal_leaf(emit)?);
        }
        for mut group in std::mem::take(&mut self.groups) {
            if let Some((child, shard)) = carried.take() {
                group.children.push(child);
                group.shards.extend(shard);
            }
            carried = match group.children.as_slice() {
                [] => None,
                // A lone child moves up as it is, link and shard: no chunk is made with one child.
                [only] => Some((*only, group.shards.pop())),
                _ => Some(self.emit_parent(group, emit)?),
            };
        }
        match carried {
            Some((root, _)) => Ok(root.link),
            // Not reached: a splitter that took bytes has groups or a buffer, and an empty one has sealed its leaf.
            None => Ok(self.seal_leaf(emit)?.0.link),
        }
    }

    fn emit_leaf<E>(&mut self, emit: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        let (mut child, mut shard) = self.seal_leaf(emit)?;
        for level in 0.. {
            if level == self.groups.len() {
                self.groups.push(Group::default());
            }
            let Some(group) = self.groups.get_mut(level) else { break };
            group.children.push(child);
            group.shards.extend(shard);
            if group.children.len() < self.branches {
                break;
            }
            let full = std::mem::take(group);
            (child, shard) = self.emit_parent(full, emit)?;
        }
        Ok(())
    }

    fn seal_leaf<E>(&mut self, emit: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<Sealed<S>, E> {
        let payload = std::mem::take(&mut self.buffer);
        let sealed = self.emit_sealed(Span { level: Level::None, bytes: payload.len() as u64 }, &payload, emit);
        self.buffer = payload;
        self.buffer.clear();
        sealed
    }

    fn emit_parent<E>(
        &mut self,
        group: Group<S::Link>,
        emit: &mut impl FnMut(Chunk) -> Result<(), E>,
    ) -> Result<Sealed<S>, E> {
        let mut payload = Vec::with_capacity(PAYLOAD_BYTES_MAX);
        group.children.iter().for_each(|child| child.link.append_to(&mut payload));
        let count = self.scheme.parities(group.children.len());
        for shard in self.codes.parities(&group.shards, count) {
            let parity = Chunk::of_wire(&shard);
            parity.reference().append_to(&mut payload);
            emit(parity)?;
        }
        let bytes = group.children.iter().map(|child| child.span_bytes).sum();
        self.emit_sealed(Span { level: self.scheme.level, bytes }, &payload, emit)
    }

    fn emit_sealed<E>(
        &mut self,
        span: Span,
        payload: &[u8],
        emit: &mut impl FnMut(Chunk) -> Result<(), E>,
    ) -> Result<Sealed<S>, E> {
        let (chunk, link) = self.seal.seal(span.encode(), payload);
        let shard = (self.scheme.level != Level::None).then(|| shard_of(chunk.wire()));
        emit(chunk)?;
        Ok((Child { link, span_bytes: span.bytes }, shard))
    }
}

/// A child and, above level 0, its shard.
type Sealed<S> = (Child<<S as Seal>::Link>, Option<Shard>);

/// The reference of `bytes`, as Bee computes it at redundancy level 0.
pub fn reference_of(bytes: &[u8]) -> Reference {
    let mut drop_chunk = |_| Ok::<(), Infallible>(());
    let mut splitter = Splitter::new();
    let Ok(()) = splitter.update(bytes, &mut drop_chunk);
    let Ok(blob) = splitter.finish(&mut drop_chunk);
    blob.reference
}
