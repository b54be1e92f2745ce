//! Chunks and their uses within a transaction. A chunk has one use for each place in a root or a download; uses by
//! roots in the cache are *idle*. A chunk with idle uses only can be evicted, and one without uses goes.

use std::borrow::Cow;

use manyhands_proto::Reference;
use redb::ReadableTable as _;

use super::ledger::Ledger;
use super::members::Members;
use super::space::CHECK_CHUNKS;
use super::{StoreError, pack};
use crate::any::AnyChunk;
use crate::chunk::{Chunk, SPAN_BYTES};
use crate::redundancy::Span;
use crate::shape::Scheme;

impl Ledger<'_> {
    /// Keeps a content-addressed chunk, or counts one more use of it. What is stored under its address is put right if
    /// the disk has spoilt it.
    pub(super) fn add_chunk(&mut self, chunk: &Chunk) -> Result<(), StoreError> {
        self.add(chunk.reference(), &stored_form(chunk), true)
    }

    /// As [`Ledger::add_chunk`]. Of two chunks that an owner signed for one address, the first stays.
    pub(super) fn add_any(&mut self, chunk: &AnyChunk) -> Result<(), StoreError> {
        match chunk {
            AnyChunk::Content(chunk) => self.add_chunk(chunk),
            AnyChunk::SingleOwner(chunk) => self.add(chunk.reference(), &chunk.to_wire(), false),
        }
    }

    fn add(&mut self, reference: Reference, wire: &[u8], is_only_form: bool) -> Result<(), StoreError> {
        let row = self.chunks.get(reference.as_bytes())?.map(|row| row.value());
        if let Some((number, ..)) = row {
            self.shift(reference, 1, 0)?;
            return self.repair(number, reference, wire, is_only_form);
        }
        let length = wire.len();
        if self.new_chunks.is_multiple_of(CHECK_CHUNKS) {
            self.require_disk(length as u64, self.used_bytes.saturating_add(self.buried_bytes))?;
        }
        self.require_room(length as u64)?;
        self.new_chunks += 1;
        self.used_bytes += length as u64;
        self.chunks.insert(reference.as_bytes(), (self.next_pack, 1, length as u16))?;
        pack::push(&mut self.open_pack, &reference, wire);
        self.open_chunks += 1;
        if self.open_chunks == pack::PACK_CHUNKS { self.close_pack() } else { Ok(()) }
    }

    /// Changes the number of a chunk's uses, and of those the idle ones; without uses it goes.
    pub(super) fn shift(&mut self, reference: Reference, uses: i64, idle: i64) -> Result<(), StoreError> {
        let key = reference.as_bytes();
        let row = self.chunks.get(key)?.map(|row| row.value());
        let (number, old_uses, length) = row.ok_or(StoreError::Corrupt { reference })?;
        let old_idle = self.idle.get(key)?.map(|row| row.value()).unwrap_or_default();
        let (new_uses, new_idle) = (old_uses.saturating_add_signed(uses), old_idle.saturating_add_signed(idle));
        if old_idle == old_uses {
            self.cached_bytes = self.cached_bytes.saturating_sub(length.into());
        }
        if new_uses == 0 {
            return self.bury(reference);
        }
        if new_idle == new_uses {
            self.cached_bytes += u64::from(length);
        }
        self.chunks.insert(key, (number, new_uses, length))?;
        if new_idle != old_idle {
            self.set_idle(reference, new_idle)?;
        }
        Ok(())
    }

    /// As [`Ledger::shift`], for each place that is given. The first chunk that is damaged or lost ends it.
    pub(super) fn shift_all(&mut self, mut members: Members, uses: i64, idle: i64) -> Result<(), StoreError> {
        while let Some(reference) = members.next(self)? {
            self.shift(reference, uses, idle)?;
        }
        Ok(())
    }

    /// Whether all that is given is here, as far as that can be seen without reading leaves.
    pub(super) fn has_all(&self, mut members: Members) -> Result<bool, StoreError> {
        loop {
            match members.next(self) {
                Ok(None) => return Ok(true),
                Ok(Some(reference)) if self.chunks.get(reference.as_bytes())?.is_some() => {}
                Ok(Some(_)) | Err(StoreError::Corrupt { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes a chunk, whatever its uses; what it adds to the cache is the caller's to count.
    pub(super) fn bury(&mut self, reference: Reference) -> Result<(), StoreError> {
        let row = self.chunks.remove(reference.as_bytes())?.map(|row| row.value());
        if let Some((number, _, length)) = row {
            self.used_bytes = self.used_bytes.saturating_sub(length.into());
            self.buried_bytes = self.buried_bytes.saturating_add(length.into());
            self.dead.entry(number).or_default().insert(reference);
        }
        self.set_idle(reference, 0)
    }

    pub(super) fn set_idle(&mut self, reference: Reference, idle: u64) -> Result<(), StoreError> {
        let key = reference.as_bytes();
        if idle == 0 {
            self.idle.remove(key)?;
        } else {
            self.idle.insert(key, idle)?;
        }
        Ok(())
    }

    /// Rewrites the stored form of a chunk that is here, if it is not what it should be.
    fn repair(&mut self, number: u64, reference: Reference, wire: &[u8], is_only_form: bool) -> Result<(), StoreError> {
        if number == self.next_pack {
            return Ok(()); // In the open pack, verified a moment ago.
        }
        let repaired = match self.packs.get(number)? {
            Some(bytes) => match pack::find(bytes.value(), &reference) {
                Some(stored) if stored == wire => return Ok(()),
                Some(stored) if !is_only_form && AnyChunk::verify(reference, stored).is_some() => return Ok(()),
                Some(_) | None => pack::repaired(bytes.value(), reference, wire),
            },
            None => pack::repaired(&[], reference, wire),
        };
        self.packs.insert(number, repaired.as_slice())?;
        self.set_length(reference, wire.len() as u16)
    }

    /// Only a damaged chunk that an owner signed can come back with another length.
    fn set_length(&mut self, reference: Reference, length: u16) -> Result<(), StoreError> {
        let row = self.chunks.get(reference.as_bytes())?.map(|row| row.value());
        if let Some((number, uses, old_length)) = row.filter(|(_, _, old_length)| *old_length != length) {
            self.chunks.insert(reference.as_bytes(), (number, uses, length))?;
            self.used_bytes = self.used_bytes.saturating_sub(old_length.into()) + u64::from(length);
        }
        Ok(())
    }
}

/// The one form that a chunk is stored in. Zeros at the end of the payload are not part of the address, so anybody can
/// bring a chunk with more or fewer of them; a walk takes only as many bytes as the span prescribes. Those it gets here,
/// unless there is more than zeros beyond them.
fn stored_form(chunk: &Chunk) -> Cow<'_, [u8]> {
    let due_bytes = match Span::decode(chunk.span_bytes()) {
        Some(span) => Scheme { level: span.level, encrypted: false }.payload_bytes(span.bytes),
        None => 0,
    };
    let payload = chunk.payload();
    if payload.len() == due_bytes {
        return Cow::Borrowed(chunk.wire());
    }
    let used_bytes = payload.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut wire = chunk.wire().to_vec();
    wire.resize(SPAN_BYTES + used_bytes.max(due_bytes), 0);
    Cow::Owned(wire)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_chunk_is_stored_in_one_form() {
        let form = |span, payload: &[u8]| stored_form(&Chunk::from_payload(span, payload).unwrap()).into_owned();
        let leaf = form(3, b"foo");
        assert_eq!(leaf, b"\x03\0\0\0\0\0\0\0foo");
        assert_eq!(form(3, b"foo\0\0"), leaf, "zeros that the span does not count");
        assert_eq!(form(3, b"f"), b"\x03\0\0\0\0\0\0\0f\0\0", "zeros that were left out");
        assert_eq!(form(3, b"foo\0d\0"), b"\x03\0\0\0\0\0\0\0foo\0d", "no leaf at all");
        assert_eq!(form(4097, &[7; 64]).len(), 8 + 64);
        assert_eq!(form(4097, &[7; 63]).len(), 8 + 64);
        assert_eq!(form(u64::MAX, &[7; 63]).len(), 8 + 63, "a level that does not exist");
    }
}
