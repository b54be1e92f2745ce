//! The tables of parities. The numbers are facts of the format: Bee 2.8.1's, pkg/file/redundancy/level.go, after
//! appendix F of arXiv 2409.01259. Those of unencrypted trees follow from one rule, which a test here holds them
//! against.

use super::Level;

/// For a group of at least so many data chunks, so many parities; largest group first.
type Table = &'static [(u8, u8)];

const MEDIUM: Table = &[(95, 9), (69, 8), (47, 7), (29, 6), (15, 5), (6, 4), (2, 3), (1, 2)];
const MEDIUM_ENCRYPTED: Table = &[(47, 9), (34, 8), (23, 7), (14, 6), (7, 5), (3, 4), (1, 3)];

#[rustfmt::skip]
const STRONG: Table = &[
    (105, 21), (96, 20), (87, 19), (78, 18), (70, 17), (62, 16), (54, 15), (47, 14), (40, 13), (33, 12), (27, 11),
    (21, 10), (16, 9), (11, 8), (7, 7), (4, 6), (2, 5), (1, 4),
];
#[rustfmt::skip]
const STRONG_ENCRYPTED: Table = &[
    (52, 21), (48, 20), (43, 19), (39, 18), (35, 17), (31, 16), (27, 15), (23, 14), (20, 13), (16, 12), (13, 11),
    (10, 10), (8, 9), (5, 8), (3, 7), (2, 6), (1, 5),
];

#[rustfmt::skip]
const INSANE: Table = &[
    (93, 31), (88, 30), (83, 29), (78, 28), (74, 27), (69, 26), (64, 25), (60, 24), (55, 23), (51, 22), (46, 21),
    (42, 20), (38, 19), (34, 18), (30, 17), (27, 16), (23, 15), (20, 14), (17, 13), (14, 12), (11, 11), (9, 10),
    (6, 9), (4, 8), (3, 7), (2, 6), (1, 5),
];
#[rustfmt::skip]
const INSANE_ENCRYPTED: Table = &[
    (46, 31), (44, 30), (41, 29), (39, 28), (37, 27), (34, 26), (32, 25), (30, 24), (27, 23), (25, 22), (23, 21),
    (21, 20), (19, 19), (17, 18), (15, 17), (13, 16), (11, 15), (10, 14), (8, 13), (7, 12), (5, 11), (4, 10), (3, 9),
    (2, 8), (1, 6),
];

#[rustfmt::skip]
const PARANOID: Table = &[
    (37, 89), (36, 87), (35, 86), (34, 84), (33, 83), (32, 81), (31, 80), (30, 78), (29, 76), (28, 75), (27, 73),
    (26, 71), (25, 70), (24, 68), (23, 66), (22, 65), (21, 63), (20, 61), (19, 59), (18, 58), (17, 56), (16, 54),
    (15, 52), (14, 50), (13, 48), (12, 47), (11, 45), (10, 43), (9, 40), (8, 38), (7, 36), (6, 34), (5, 31), (4, 29),
    (3, 26), (2, 23), (1, 19),
];
#[rustfmt::skip]
const PARANOID_ENCRYPTED: Table = &[
    (18, 87), (17, 84), (16, 81), (15, 78), (14, 75), (13, 71), (12, 68), (11, 65), (10, 61), (9, 58), (8, 54),
    (7, 50), (6, 47), (5, 43), (4, 38), (3, 34), (2, 29), (1, 23),
];

pub(super) fn parities(level: Level, shards: usize, encrypted: bool) -> usize {
    let table = match (level, encrypted) {
        (Level::None, _) => &[],
        (Level::Medium, false) => MEDIUM,
        (Level::Medium, true) => MEDIUM_ENCRYPTED,
        (Level::Strong, false) => STRONG,
        (Level::Strong, true) => STRONG_ENCRYPTED,
        (Level::Insane, false) => INSANE,
        (Level::Insane, true) => INSANE_ENCRYPTED,
        (Level::Paranoid, false) => PARANOID,
        (Level::Paranoid, true) => PARANOID_ENCRYPTED,
    };
    let row = table.iter().find(|(least, _)| usize::from(*least) <= shards);
    row.map_or(0, |(_, parities)| usize::from(*parities))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [(Level, f64); 4] =
        [(Level::Medium, 0.01), (Level::Strong, 0.05), (Level::Insane, 0.1), (Level::Paranoid, 0.5)];

    /// The probability that more than `parities` of a group's chunks are lost, each at `rate`.
    fn failure(shards: usize, parities: usize, rate: f64) -> f64 {
        let count = shards + parities;
        let mut term = (1.0 - rate).powi(count as i32);
        let mut failure = 0.0;
        for lost in 0..=count {
            if lost > parities {
                failure += term;
            }
            term *= (count - lost) as f64 / (lost + 1) as f64 * rate / (1.0 - rate);
        }
        failure
    }

    /// The paper's rule: the least number of parities that keeps the failure at 10^-6. Up to 37 shards at the
    /// highest level, where the table ends because no more fit.
    #[test]
    fn the_least_parities_that_are_enough() {
        for (level, rate) in RATES {
            for shards in 1..=level.branches(false).min(if level == Level::Paranoid { 37 } else { 128 }) {
                let parities = parities(level, shards, false);
                let bound = 1e-6 * (1.0 + 1e-9);
                assert!(failure(shards, parities, rate) <= bound, "{level:?}, {shards} shards");
                assert!(failure(shards, parities - 1, rate) > bound, "{level:?}, {shards} shards");
            }
        }
    }

    /// An encrypted group of n has at least the parities of 2n and at most those of 2n + 1, rounding with them.
    #[test]
    fn encrypted_groups_count_double() {
        for (level, _) in RATES {
            for shards in 1..=level.branches(true) {
                let encrypted = parities(level, shards, true);
                assert!(parities(level, 2 * shards, false).min(87) <= encrypted, "{level:?}, {shards} shards");
                assert!(encrypted <= parities(level, 2 * shards + 1, false), "{level:?}, {shards} shards");
            }
        }
    }

    #[test]
    fn nothing_has_no_parities() {
        for level in Level::ALL {
            assert_eq!(parities(level, 0, false) + parities(level, 0, true), 0);
        }
        assert_eq!(parities(Level::None, 128, false), 0);
    }
}
