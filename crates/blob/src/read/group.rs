//! The chunks below one interior chunk: which have come, which are lost, and what is still needed to have all data.

use std::collections::BTreeSet;

use manyhands_proto::Reference;

use super::ReadError;
use crate::any::AnyReference;
use crate::chunk::Chunk;
use crate::encryption::{ChunkKey, EncryptedReference};
use crate::redundancy::code::{Codes, Shard, shard_of};
use crate::shape::{REFERENCE_BYTES, Scheme};

/// Where a chunk is and what opens it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: Reference,
    pub(crate) key: Option<ChunkKey>,
}

impl Target {
    pub(crate) fn of(reference: &AnyReference) -> Self {
        match reference {
            AnyReference::Plain(address) => Self { address: *address, key: None },
            AnyReference::Encrypted(root) => Self { address: root.address, key: Some(root.key) },
        }
    }
}

#[derive(Debug)]
struct Slot {
    target: Target,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Wanted,
    Held(Chunk),
    Lost,
}

/// A group, data first, then parities.
#[derive(Debug)]
pub(super) struct Group {
    slots: Vec<Slot>,
    data_count: usize,
    /// The data chunk that is read next.
    next: usize,
    /// Blob bytes below each data chunk but the last.
    child_bytes: u64,
    /// Blob bytes below the data chunks that were not read yet.
    rest_bytes: u64,
}

impl Group {
    /// The root as a group of its own.
    pub(super) fn of_root(root: Target) -> Self {
        let slots = vec![Slot { target: root, state: State::Wanted }];
        Self { slots, data_count: 1, next: 0, child_bytes: 0, rest_bytes: 0 }
    }

    /// The group below an interior chunk over `span_bytes`, whose payload has the length that the scheme prescribes.
    pub(super) fn below(scheme: Scheme, span_bytes: u64, payload: &[u8]) -> Self {
        let (targets, data_count) = links(scheme, span_bytes, payload);
        let slots = targets.into_iter().map(|target| Slot { target, state: State::Wanted }).collect();
        Self {
            slots,
            data_count,
            next: 0,
            child_bytes: scheme.child_capacity_bytes(span_bytes),
            rest_bytes: span_bytes,
        }
    }

    /// Chunks of the group, parities included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether all its data chunks were read.
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.data_count
    }

    /// The next data chunk if it is there, with the span it must have; it counts as read then.
    pub(super) fn take_next(&mut self) -> Option<(Target, u64, Chunk)> {
        let slot = self.slots.get(self.next).filter(|_| self.next < self.data_count)?;
        let State::Held(chunk) = &slot.state else { return None };
        let due_bytes = self.child_bytes.min(self.rest_bytes);
        // Kept, because a sibling that is lost may have to be restored from it.
        let taken = (slot.target, due_bytes, chunk.clone());
        self.rest_bytes -= due_bytes;
        self.next += 1;
        Some(taken)
    }

    /// Passes over the data chunks that lie wholly within the first `bytes`, but never the last one. Tells how many
    /// bytes those have.
    pub(super) fn skip(&mut self, bytes: u64) -> u64 {
        let mut skipped_bytes = 0;
        while self.next + 1 < self.data_count && self.child_bytes <= bytes - skipped_bytes {
            skipped_bytes += self.child_bytes;
            self.rest_bytes -= self.child_bytes;
            self.next += 1;
        }
        skipped_bytes
    }

    /// Whether a chunk at `address` is still to come.
    pub(super) fn wants(&self, address: Reference) -> bool {
        self.slots.iter().any(|slot| slot.target.address == address && matches!(slot.state, State::Wanted))
    }

    /// Takes a verified chunk, in all its places.
    pub(super) fn hold(&mut self, chunk: &Chunk) {
        self.set(chunk.reference(), &State::Held(chunk.clone()));
    }

    /// Gives up on a chunk, in all its places. True if the data can still be had.
    pub(super) fn lose(&mut self, address: Reference) -> bool {
        self.set(address, &State::Lost);
        !self.has_lost_data() || self.left() >= self.data_count
    }

    fn set(&mut self, address: Reference, state: &State) {
        let wanted = |slot: &&mut Slot| slot.target.address == address && matches!(slot.state, State::Wanted);
        self.slots.iter_mut().filter(wanted).for_each(|slot| slot.state = state.clone());
    }

    fn has_lost_data(&self) -> bool {
        self.slots.iter().take(self.data_count).any(|slot| matches!(slot.state, State::Lost))
    }

    fn left(&self) -> usize {
        self.slots.iter().filter(|slot| !matches!(slot.state, State::Lost)).count()
    }

    fn held(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.state, State::Held(_))).count()
    }

    /// What is to be fetched: all data that has not come and was not skipped; if some of it is lost, what was skipped
    /// too, and as many parities as make good for it. In order of use, each address once.
    pub(super) fn wanted(&self) -> Vec<Reference> {
        let due = if self.has_lost_data() { self.data_count.saturating_sub(self.held()) } else { self.data_count };
        let (mut wanted, mut seen, mut places) = (Vec::new(), BTreeSet::new(), 0);
        for (number, slot) in self.slots.iter().enumerate() {
            let is_needed = if number < self.data_count {
                !self.is_done() && (number >= self.next || self.has_lost_data())
            } else {
                self.has_lost_data() && places < due
            };
            if is_needed && matches!(slot.state, State::Wanted) {
                places += 1;
                if seen.insert(slot.target.address) {
                    wanted.push(slot.target.address);
                }
            }
        }
        wanted
    }

    /// Restores all data that is not there, if some is lost and enough of the rest has come.
    pub(super) fn restore(&mut self, codes: &mut Codes) -> Result<(), ReadError> {
        if !self.has_lost_data() || self.held() < self.data_count {
            return Ok(());
        }
        let mut shards: Vec<Option<Shard>> = self.slots.iter().map(Slot::shard).collect();
        let restored = codes.restore(&mut shards, self.data_count);
        for (slot, shard) in self.slots.iter_mut().zip(shards).take(self.data_count) {
            if matches!(slot.state, State::Held(_)) {
                continue;
            }
            let reference = slot.target.address;
            let shard = shard.filter(|_| restored.is_some()).ok_or(ReadError::Parity { reference })?;
            let chunk = Chunk::verify(reference, &shard).map_err(|_| ReadError::Parity { reference })?;
            slot.state = State::Held(chunk);
        }
        Ok(())
    }
}

/// The chunks below an interior chunk over `span_bytes`, whose payload has the length that the scheme prescribes, data
/// first; and how many of them are data.
pub(crate) fn links(scheme: Scheme, span_bytes: u64, payload: &[u8]) -> (Vec<Target>, usize) {
    let data_count = scheme.child_count(span_bytes);
    let (data, parities) = payload.split_at_checked(data_count * scheme.link_bytes()).unwrap_or((payload, &[]));
    let target = |address| Target { address: Reference(address), key: None };
    let mut targets: Vec<Target> = if scheme.encrypted {
        let links = data.as_chunks().0.iter().map(|link| EncryptedReference::from_bytes(*link));
        links.map(|link| Target { address: link.address, key: Some(link.key) }).collect()
    } else {
        data.as_chunks::<REFERENCE_BYTES>().0.iter().copied().map(target).collect()
    };
    targets.extend(parities.as_chunks::<REFERENCE_BYTES>().0.iter().copied().map(target));
    (targets, data_count)
}

impl Slot {
    fn shard(&self) -> Option<Shard> {
        match &self.state {
            State::Held(chunk) => Some(shard_of(chunk.wire())),
            State::Wanted | State::Lost => None,
        }
    }
}
