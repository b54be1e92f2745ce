//! How much still fits into a postage batch. Pure arithmetic.
//!
//! A batch of depth `d` has 2^d slots in 2^b buckets (`b` is 16 on Swarm), and a chunk's address decides its bucket. The
//! batch is full for a blob as soon as *one* bucket is, so what fits is a matter of probability: with `n` chunks spread
//! over the buckets, the fullest gets more than its share.

use manyhands_blob::shape::chunk_count;

/// Smallest depth that Swarm sells (postage contract).
pub const DEPTH_MIN: u8 = 17;
/// Largest depth that is advised or believed: 2^41 chunks are 9 PB.
pub const DEPTH_MAX: u8 = 41;
/// log2 of the buckets of a batch on Swarm (postage contract).
pub const BUCKET_DEPTH: u8 = 16;

/// Probability up to which a blob may find a bucket full: that of Swarm's own table of effective volumes.
const FAILURE_MAX: f64 = 0.001;
/// More free slots than this are not counted: they are enough for a terabyte.
const SLOTS_COUNTED_MAX: u64 = 4096;

/// Whether the chunks of `size_bytes` fit into a batch that has `free` slots left in its fullest bucket of
/// 2^`bucket_depth`, but for one case in a thousand. Every bucket is taken to be as full as the fullest.
///
/// One slot per bucket is kept free, as in Swarm's table of effective volumes (44.7 kB at depth 17, 6.66 MB at 18,
/// 112 MB at 19), which this reproduces from below.
pub fn fits(size_bytes: u64, free: u64, bucket_depth: u8) -> bool {
    let chunks = chunk_count(size_bytes);
    if chunks <= free {
        // Even if all meet in one bucket.
        return true;
    }
    overflow(chunks, free, bucket_depth) <= FAILURE_MAX
}

/// The smallest depth whose new batch takes `size_bytes`; the largest there is if none does.
pub fn depth_for(size_bytes: u64) -> u8 {
    let takes = |depth: &u8| fits(size_bytes, slots_per_bucket(*depth, BUCKET_DEPTH), BUCKET_DEPTH);
    (DEPTH_MIN..=DEPTH_MAX).find(takes).unwrap_or(DEPTH_MAX)
}

/// Slots of one bucket.
pub fn slots_per_bucket(depth: u8, bucket_depth: u8) -> u64 {
    1u64.checked_shl(u32::from(depth.saturating_sub(bucket_depth))).unwrap_or(u64::MAX)
}

/// An upper bound of the probability that some bucket gets `free` chunks or more, of `chunks` that fall at random: the
/// number of buckets times the tail of the Poisson distribution.
fn overflow(chunks: u64, free: u64, bucket_depth: u8) -> f64 {
    let slots = free.min(SLOTS_COUNTED_MAX);
    let buckets = 2f64.powi(i32::from(bucket_depth));
    // Beyond 2^53 chunks precision is lost, and nothing fits anyway.
    let mean = chunks as f64 / buckets;
    let count = slots as f64;
    if count <= mean {
        return 1.0;
    }
    let ln_factorial: f64 = (1..=slots).map(|number| (number as f64).ln()).sum();
    let ln_term = count * mean.ln() - mean - ln_factorial;
    // Each further term is at most mean / (count + 1) of the one before it: a geometric series.
    buckets * ln_term.exp() * (count + 1.0) / (count + 1.0 - mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn volumes_are_those_of_the_published_table() {
        // Effective volumes at 0.1% failure, level 0, of the Swarm documentation ("postage stamps"), which leaves out interior chunks.
        for (depth, bytes) in
            [(17, 44_700u64), (18, 6_660_000), (19, 112_000_000), (20, 688_000_000), (21, 2_600_000_000)]
        {
            let free = slots_per_bucket(depth, BUCKET_DEPTH);
            assert!(fits(bytes * 90 / 100, free, BUCKET_DEPTH), "depth {depth}");
            assert!(!fits(bytes * 110 / 100, free, BUCKET_DEPTH), "depth {depth}");
        }
    }

    #[test]
    fn a_segment_does_not_fit_the_smallest_batch() {
        assert_eq!(depth_for(265_000), 18);
        assert_eq!(depth_for(40_000), 17);
        assert_eq!(depth_for(44_500_000), 19);
        assert_eq!(depth_for(u64::MAX), DEPTH_MAX);
    }

    #[test]
    fn a_full_bucket_takes_nothing() {
        assert!(!fits(1, 0, BUCKET_DEPTH));
        assert!(fits(1, 1, BUCKET_DEPTH));
    }

    #[test]
    fn one_bucket_takes_as_many_chunks_as_it_has_slots() {
        // The batches of a development node have a single bucket.
        assert!(fits(128 * 4096, 129, 0));
        assert!(!fits(128 * 4096, 128, 0));
    }

    proptest! {
        #[test]
        fn more_room_never_fits_less(size: u64, free in 0u64..10_000, more in 0u64..10_000, bucket_depth: u8) {
            if fits(size, free, bucket_depth) {
                prop_assert!(fits(size, free + more, bucket_depth));
            }
        }

        #[test]
        fn no_size_is_too_odd(size: u64, free: u64, bucket_depth: u8, depth: u8) {
            let _ = (fits(size, free, bucket_depth), depth_for(size), slots_per_bucket(depth, bucket_depth));
        }
    }
}
