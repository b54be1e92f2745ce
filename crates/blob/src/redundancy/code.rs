//! The Reed-Solomon code of one group of chunks. Pure; the field is GF(2^8) and the matrix a Vandermonde matrix made
//! systematic, as in the library that Bee uses.

use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::chunk::WIRE_BYTES_MAX;

/// A chunk's wire form, padded with zeros to [`WIRE_BYTES_MAX`] bytes.
pub(crate) type Shard = Vec<u8>;

/// `wire` as a shard; no chunk is longer.
pub(crate) fn shard_of(wire: &[u8]) -> Shard {
    let mut shard = Vec::with_capacity(WIRE_BYTES_MAX);
    shard.extend_from_slice(wire);
    shard.resize(WIRE_BYTES_MAX, 0);
    shard
}

/// The codes of a blob's groups. The last one made is kept: all full groups of a blob have the same, and its matrix
/// costs more than a group's parities do.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    last: Option<ReedSolomon>,
}

impl Codes {
    /// `count` parity shards over `data`; both are numbers of one row of the tables, so that a code exists.
    pub(crate) fn parities(&mut self, data: &[Shard], count: usize) -> Vec<Shard> {
        let mut parities = vec![vec![0; WIRE_BYTES_MAX]; count];
        if count > 0 {
            let code = self.code(data.len(), count);
            let made = code.map(|code| code.encode_sep(data, &mut parities));
            assert!(matches!(made, Some(Ok(()))), "a group of {} shards and {count} parities has a code", data.len());
        }
        parities
    }

    /// Fills in the missing ones of the first `data_count` shards. `None` if too few of all are there.
    pub(crate) fn restore(&mut self, shards: &mut [Option<Shard>], data_count: usize) -> Option<()> {
        let code = self.code(data_count, shards.len().checked_sub(data_count)?)?;
        code.reconstruct_data(shards).ok()
    }

    fn code(&mut self, data: usize, parities: usize) -> Option<&ReedSolomon> {
        let fits = |code: &ReedSolomon| code.data_shard_count() == data && code.parity_shard_count() == parities;
        if !self.last.as_ref().is_some_and(fits) {
            self.last = ReedSolomon::new(data, parities).ok();
        }
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use sha2::{Digest as _, Sha256};

    /// The parities of the library that Bee uses; the file states the origin.
    #[test]
    fn parities_are_those_of_bee() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../testdata/swarm_vectors.json")).unwrap();
        let mut codes = Codes::default();
        let mut compared = 0;
        for (shape, digest) in vectors["reed_solomon"]["shapes_data_parity"].as_object().unwrap() {
            let [data, count]: [usize; 2] = serde_json::from_str(shape).unwrap();
            let byte = |i: usize, j: usize| ((i * 31 + j * 7) % 251) as u8;
            let data: Vec<Shard> = (0..data).map(|i| (0..WIRE_BYTES_MAX).map(|j| byte(i, j)).collect()).collect();
            let got = Sha256::digest(codes.parities(&data, count).concat());
            assert_eq!(manyhands_proto::Digest(got.into()).to_string(), digest.as_str().unwrap(), "{shape}");
            compared += 1;
        }
        assert_eq!(compared, 8);
    }

    #[test]
    fn too_few_shards_restore_nothing() {
        let data: Vec<Shard> = (0..3).map(|i| shard_of(&[i; 100])).collect();
        let mut codes = Codes::default();
        let parities = codes.parities(&data, 2);
        let all: Vec<Option<Shard>> = data.iter().chain(&parities).cloned().map(Some).collect();
        let lose = |lost: &[usize]| {
            let mut shards = all.clone();
            lost.iter().for_each(|i| shards[*i] = None);
            shards
        };
        let mut enough = lose(&[0, 2]);
        assert_eq!(codes.restore(&mut enough, 3), Some(()));
        assert_eq!(enough, all);
        assert_eq!(codes.restore(&mut lose(&[0, 2, 4]), 3), None);
        assert_eq!(codes.restore(&mut [], 3), None);
        assert_eq!(codes.restore(&mut lose(&[0]), 5), None);
        assert_eq!(codes.restore(&mut lose(&[0]), 0), None);
    }
}
