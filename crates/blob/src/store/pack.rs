//! Packs: a few chunks laid end to end, each as address, length (u16, little-endian) and wire form. Pure; reading is
//! total, a damaged pack simply ends early.

use std::collections::BTreeSet;

use manyhands_proto::Reference;

/// Chunks in a full pack: 15 take 62,070 bytes, or 63,525 if all have an owner, the most that fits a 64 KiB page of
/// redb with its header.
pub(super) const PACK_CHUNKS: usize = 15;

/// Appends a chunk's wire form.
pub(super) fn push(pack: &mut Vec<u8>, reference: &Reference, wire: &[u8]) {
    pack.extend_from_slice(reference.as_bytes());
    pack.extend_from_slice(&(wire.len() as u16).to_le_bytes());
    pack.extend_from_slice(wire);
}

/// The wire form stored for `reference`, if the pack has it.
pub(super) fn find<'p>(pack: &'p [u8], reference: &Reference) -> Option<&'p [u8]> {
    slots(pack).find(|(held, _)| held == reference).map(|(_, wire)| wire)
}

/// The pack with `wire` in place of what is stored for `reference`.
pub(super) fn repaired(pack: &[u8], reference: Reference, wire: &[u8]) -> Vec<u8> {
    let mut copy = without(pack, &BTreeSet::from([reference]));
    push(&mut copy, &reference, wire);
    copy
}

/// The pack without the chunks in `dead`.
pub(super) fn without(pack: &[u8], dead: &BTreeSet<Reference>) -> Vec<u8> {
    let mut copy = Vec::with_capacity(pack.len());
    let live = slots(pack).filter(|(reference, _)| !dead.contains(reference));
    live.for_each(|(reference, wire)| push(&mut copy, &reference, wire));
    copy
}

/// All chunks of the pack, as far as it can be read.
pub(super) fn slots(pack: &[u8]) -> impl Iterator<Item = (Reference, &[u8])> {
    let mut rest = pack;
    std::iter::from_fn(move || {
        let (reference, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (wire, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
        rest = after;
        Some((Reference(*reference), wire))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::chunk::Chunk;
    use proptest::prelude::*;

    fn chunk(byte: u8) -> Chunk {
        Chunk::from_payload(u64::from(byte), &vec![byte; byte.into()]).unwrap()
    }

    #[test]
    fn chunks_are_found_removed_and_repaired() {
        let mut pack = Vec::new();
        (0..15).for_each(|byte| push(&mut pack, &chunk(byte).reference(), chunk(byte).wire()));
        assert_eq!(find(&pack, &chunk(9).reference()), Some(chunk(9).wire()));
        assert_eq!(find(&pack, &chunk(99).reference()), None);

        let less = without(&pack, &BTreeSet::from([chunk(0).reference(), chunk(9).reference()]));
        assert_eq!(find(&less, &chunk(9).reference()), None);
        assert_eq!(find(&less, &chunk(14).reference()), Some(chunk(14).wire()));
        assert_eq!(without(&less, &(0..15).map(|byte| chunk(byte).reference()).collect()), b"");

        let last = pack.len() - 1;
        pack[last] ^= 1;
        assert_ne!(find(&pack, &chunk(14).reference()), Some(chunk(14).wire()));
        assert_eq!(
            find(&repaired(&pack, chunk(14).reference(), chunk(14).wire()), &chunk(14).reference()),
            Some(chunk(14).wire())
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_pack_of_something(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let found: usize = slots(&bytes).map(|(_, wire)| 34 + wire.len()).sum();
            prop_assert!(found <= bytes.len());
        }
    }
}
