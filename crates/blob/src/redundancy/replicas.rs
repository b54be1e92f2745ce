//! The replicas of a root chunk: single-owner chunks with the root inside, under a key that everybody has, at
//! addresses that follow from the root's and lie far apart. So a root that is lost can be found by its address alone.
//! Pure.

use std::collections::BTreeSet;

use manyhands_proto::Reference;

use super::Level;
use crate::chunk::Chunk;
use crate::soc::{OwnerKey, SingleOwnerChunk, SocError, SocOwner, address_of};

/// The key of all replicas, which is no secret (Swarm's format).
const KEY: [u8; 32] = {
    let mut key = [0; 32];
    key[0] = 1;
    key
};
/// The address of [`KEY`], dc5b20847f43d67928f49cd4f85d696b5a7617b5.
const OWNER: SocOwner = SocOwner([
    0xdc, 0x5b, 0x20, 0x84, 0x7f, 0x43, 0xd6, 0x79, 0x28, 0xf4, 0x9c, 0xd4, 0xf8, 0x5d, 0x69, 0x6b, 0x5a, 0x76, 0x17,
    0xb5,
]);
/// Identifiers tried: a root's address with its first byte replaced by 0 to 254 (Swarm's format).
const TRIES: u8 = 255;

/// Where a replica of a root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    /// The single-owner chunk's identifier.
    pub id: [u8; 32],
    /// Its address.
    pub address: Reference,
}

/// The replicas of `root` at `level`, in the order to look for them: the first two are in different halves of the
/// address space, the first four in different quarters, and so on. Those of a lower level are the first of a higher's.
pub fn replicas(root: Reference, level: Level) -> Vec<Replica> {
    if level == Level::None {
        return Vec::new();
    }
    let mut taken = BTreeSet::new();
    let mut ranked: Vec<(u8, Replica)> = Vec::new();
    for first in 0..TRIES {
        let mut id = root.0;
        if let Some(byte) = id.first_mut() {
            *byte = first;
        }
        let address = address_of(&id, &OWNER);
        // It counts for the widest part of the address space that has none yet, if any has.
        let [top, ..] = address.0;
        let free = (1..=level.number()).filter(|depth| taken.insert((*depth, top >> (8 - depth))));
        if let Some(depth) = free.min() {
            ranked.push((depth, Replica { id, address }));
        }
    }
    ranked.sort_by_key(|(depth, _)| *depth);
    ranked.into_iter().map(|(_, replica)| replica).collect()
}

impl Replica {
    /// The single-owner chunk to store, for the root that this was made for.
    ///
    /// # Errors
    /// None that this key and a chunk can cause; they are those of [`OwnerKey::sign`].
    pub fn wrap(&self, root: Chunk) -> Result<SingleOwnerChunk, SocError> {
        OwnerKey::new(&KEY)?.sign(self.id, root)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn they_are_spread_and_those_of_a_lower_level_come_first() {
        for seed in 0..20 {
            let root = Reference([seed; 32]);
            let most = replicas(root, Level::Paranoid);
            for level in Level::ALL {
                let some = replicas(root, level);
                assert_eq!(some.len(), level.replica_count(), "no neighbourhood missed in 255 tries");
                assert_eq!(some, most[..some.len()]);
                let parts: BTreeSet<u8> = some
                    .iter()
                    .map(|replica| (u32::from(replica.address.0[0]) >> (8 - level.number())) as u8)
                    .collect();
                assert_eq!(parts.len(), some.len(), "each in its own part of the address space");
            }
        }
    }

    #[test]
    fn a_replica_holds_its_root() {
        let root = Chunk::from_payload(3, b"foo").unwrap();
        for replica in replicas(root.reference(), Level::Medium) {
            let wrapped = replica.wrap(root.clone()).unwrap();
            let read = SingleOwnerChunk::verify(replica.address, &wrapped.to_wire()).unwrap();
            assert_eq!((read.owner(), read.chunk()), (OWNER, &root));
            assert_eq!(read.id()[1..], root.reference().0[1..]);
        }
    }
}
