//! The reader: a blob from its reference alone, at any redundancy level, encrypted or not, with chunks missing. The
//! root's span tells size and level, as for Bee's own download; the caller's bound keeps a made-up size from costing
//! anything. Pure: it says which chunks it wants, and takes what is brought, in any order.
//!
//! It holds the chunks of one group per level of the tree (0.5 MB each), and never goes deeper than the bound on the
//! size allows. The tree must be exactly the one that size and [`Scheme`] prescribe, as every upload by Bee is:
//! anything else is an error of the blob, and not of who sent the chunk.

mod error;
mod group;

pub use error::{ReadError, SupplyError};
use manyhands_proto::Reference;

use self::group::Group;
pub(crate) use self::group::{Target, links};
use crate::chunk::Chunk;
use crate::encryption::EncryptedReference;
use crate::redundancy::code::Codes;
use crate::redundancy::replicas::{Replica, replicas};
use crate::redundancy::{Level, Span};
use crate::shape::{self, Scheme};
use crate::soc::SingleOwnerChunk;

/// What a [`Reader`] says when it is asked to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The next bytes of the blob, at most 4096.
    Piece(Vec<u8>),
    /// Chunks to fetch, most urgent first, each once: those of the group being read. Bring any of them, or say that it
    /// is lost, and ask again; what was wanted once is taken later too. Never empty; it is the same until something was
    /// brought.
    Want(Vec<Reference>),
    /// All has been read.
    Done,
}

/// Reads one blob.
#[derive(Debug)]
pub struct Reader {
    root: Target,
    max_bytes: u64,
    replica_level: Level,
    /// Replicas that were not found yet; some only after the root was lost.
    replicas: Option<Vec<Replica>>,
    /// Of the root, once it came.
    span: Option<Span>,
    /// Bytes at the front that are still to be left out.
    skip_bytes: u64,
    codes: Codes,
    /// From the root to the group that is being read; empty at the end.
    groups: Vec<Group>,
}

impl Reader {
    /// A reader of an unencrypted blob of at most `max_bytes`.
    pub fn new(root: Reference, max_bytes: u64) -> Self {
        Self::of_target(Target { address: root, key: None }, max_bytes)
    }

    /// A reader of an encrypted blob of at most `max_bytes`.
    pub fn encrypted(root: EncryptedReference, max_bytes: u64) -> Self {
        Self::of_target(Target { address: root.address, key: Some(root.key) }, max_bytes)
    }

    fn of_target(root: Target, max_bytes: u64) -> Self {
        Self {
            root,
            max_bytes,
            replica_level: Level::None,
            replicas: None,
            span: None,
            skip_bytes: 0,
            codes: Codes::default(),
            groups: vec![Group::of_root(root)],
        }
    }

    /// Looks for a lost root among the replicas of `level` as well; without this, a lost root is the end.
    #[must_use]
    pub fn with_replicas(mut self, level: Level) -> Self {
        self.replica_level = level;
        self
    }

    /// Leaves out the first `bytes` of the blob: chunks that have nothing else below them are not even wanted. A blob
    /// that is no longer gives nothing.
    #[must_use]
    pub fn skipping(mut self, bytes: u64) -> Self {
        self.skip_bytes = bytes;
        self
    }

    /// The blob's size in bytes, once the root came; what is left out counts.
    pub fn size_bytes(&self) -> Option<u64> {
        self.span.map(|span| span.bytes)
    }

    /// The blob's redundancy level, once the root came; a blob of one chunk does not tell.
    pub fn level(&self) -> Option<Level> {
        self.span.map(|span| span.level)
    }

    /// Goes on as far as it can with what was brought.
    ///
    /// # Errors
    /// [`ReadError`] if the blob is malformed or larger than the bound.
    pub fn step(&mut self) -> Result<Step, ReadError> {
        while let Some(group) = self.groups.last_mut() {
            if group.is_done() {
                self.groups.pop();
                continue;
            }
            group.restore(&mut self.codes)?;
            let Some((target, due_bytes, chunk)) = group.take_next() else {
                return Ok(Step::Want(self.wanted()));
            };
            if let Some(piece) = self.read(target, due_bytes, &chunk)? {
                return Ok(Step::Piece(piece));
            }
        }
        Ok(Step::Done)
    }

    /// Whether a chunk at this address would still be taken.
    pub fn wants(&self, reference: Reference) -> bool {
        match &self.replicas {
            Some(_) => self.replica(reference).is_some(),
            None => self.groups.iter().any(|group| group.wants(reference)),
        }
    }

    /// Takes the bytes of a wanted chunk (span and payload), or of a replica as a single-owner chunk.
    ///
    /// # Errors
    /// [`SupplyError`]; the reader is as before then.
    pub fn supply(&mut self, reference: Reference, wire: &[u8]) -> Result<(), SupplyError> {
        let chunk = if self.replica(reference).is_some() {
            let chunk = SingleOwnerChunk::verify(reference, wire)?.into_chunk();
            let (got, expected) = (chunk.reference(), self.root.address);
            if got != expected {
                return Err(SupplyError::AnotherRoot { expected, got });
            }
            self.replicas = None;
            // The root was lost; it is found again.
            self.groups = vec![Group::of_root(self.root)];
            chunk
        } else if self.wants(reference) {
            Chunk::verify(reference, wire)?
        } else {
            return Err(SupplyError::Unwanted { reference });
        };
        self.groups.iter_mut().for_each(|group| group.hold(&chunk));
        Ok(())
    }

    /// Says that a wanted chunk cannot be had. What is not wanted may be lost.
    ///
    /// # Errors
    /// [`ReadError::Lost`] if the blob cannot be read without it.
    pub fn lost(&mut self, reference: Reference) -> Result<(), ReadError> {
        if let Some(replicas) = &mut self.replicas {
            replicas.retain(|replica| replica.address != reference);
            return if replicas.is_empty() { Err(self.lost_root()) } else { Ok(()) };
        }
        let wanting = self.groups.iter_mut().filter(|group| group.wants(reference));
        let beyond = wanting.filter_map(|group| (!group.lose(reference)).then_some(group.len())).max();
        let Some(group_chunks) = beyond else { return Ok(()) };
        if self.span.is_some() {
            return Err(ReadError::Lost { reference, group_chunks });
        }
        let found = replicas(reference, self.replica_level);
        if found.is_empty() {
            return Err(self.lost_root());
        }
        self.replicas = Some(found);
        Ok(())
    }

    /// Reads to the end with `fetch`, which returns a chunk's bytes or none if they cannot be had. False bytes count as
    /// none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_all(mut self, mut fetch: impl FnMut(Reference) -> Option<Vec<u8>>) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        loop {
            match self.step()? {
                Step::Piece(piece) => bytes.extend_from_slice(&piece),
                Step::Done => return Ok(bytes),
                Step::Want(wanted) => {
                    for reference in wanted {
                        if !self.wants(reference) {
                            continue;
                        }
                        let taken = fetch(reference).is_some_and(|wire| self.supply(reference, &wire).is_ok());
                        if !taken {
                            self.lost(reference)?;
                        }
                    }
                }
            }
        }
    }

    fn lost_root(&self) -> ReadError {
        ReadError::Lost { reference: self.root.address, group_chunks: 1 + self.replica_level.replica_count() }
    }

    fn replica(&self, reference: Reference) -> Option<&Replica> {
        self.replicas.iter().flatten().find(|replica| replica.address == reference)
    }

    fn wanted(&self) -> Vec<Reference> {
        match &self.replicas {
            Some(replicas) => replicas.iter().map(|replica| replica.address).collect(),
            None => self.groups.last().map(Group::wanted).unwrap_or_default(),
        }
    }

    /// Opens a chunk: the piece of a leaf, or none and a group more.
    fn read(&mut self, target: Target, due_bytes: u64, chunk: &Chunk) -> Result<Option<Vec<u8>>, ReadError> {
        let (span, mut payload) = open(target, self.span, due_bytes, self.max_bytes, chunk)?;
        let root = *self.span.get_or_insert(span);
        if shape::is_leaf(span.bytes) {
            let skipped = self.skip_bytes.min(span.bytes);
            self.skip_bytes -= skipped;
            return Ok(Some(payload.split_off(skipped as usize)));
        }
        let scheme = Scheme { level: root.level, encrypted: target.key.is_some() };
        let mut group = Group::below(scheme, span.bytes, &payload);
        self.skip_bytes -= group.skip(self.skip_bytes);
        self.groups.push(group);
        Ok(None)
    }
}

/// Opens a chunk and holds it against its tree: its span, and its payload as long as the span prescribes. `root` is the
/// root's span, none if this is the root; then `max_bytes` is the bound on it, else `due_bytes` what its parent leaves.
pub(crate) fn open(
    target: Target,
    root: Option<Span>,
    due_bytes: u64,
    max_bytes: u64,
    chunk: &Chunk,
) -> Result<(Span, Vec<u8>), ReadError> {
    let reference = target.address;
    let (raw, mut payload) = match target.key {
        Some(key) => key.open(chunk.span_bytes(), chunk.payload()),
        None => (chunk.span_bytes(), chunk.payload().to_vec()),
    };
    let span = Span::decode(raw).ok_or(ReadError::Level { reference, raw })?;
    let root = match root {
        Some(root) if span.bytes == due_bytes => root,
        Some(_) => return Err(ReadError::Span { reference, stated_bytes: span.bytes, due_bytes }),
        None if span.bytes > max_bytes => return Err(ReadError::TooLarge { size_bytes: span.bytes, max_bytes }),
        None => span,
    };
    let is_leaf = shape::is_leaf(span.bytes);
    if span.level != (if is_leaf { Level::None } else { root.level }) {
        return Err(ReadError::Level { reference, raw });
    }
    let scheme = Scheme { level: root.level, encrypted: target.key.is_some() };
    let due_bytes = scheme.payload_bytes(span.bytes);
    // What follows is padding: random if encrypted, else zeros, which a holder may send or leave out, since the address
    // is the same.
    let is_padding = |rest: &[u8]| target.key.is_some() || rest.iter().all(|byte| *byte == 0);
    if !payload.get(due_bytes..).is_none_or(is_padding) {
        return Err(ReadError::Payload { reference, due_bytes });
    }
    payload.resize(due_bytes, 0);
    Ok((span, payload))
}
