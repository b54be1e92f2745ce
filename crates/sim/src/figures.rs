//! Measured figures of proving: what a unit takes and how large its blobs are. Each table says where it comes from.

pub(crate) use manyhands_core::room::segment_bytes;
use manyhands_proto::limits::KECCAK_WEIGHT;
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{Po2, Unit};

/// Proving time of one segment on the paper's laptop, by po2 from 14: the paper's Table 2. The paper has no time for 2^14 and for 2^21 and
/// above; those are halved or doubled.
const SEGMENTS_MS: [u64; 11] =
    [7_000, 14_000, 28_000, 58_000, 119_000, 249_000, 534_000, 1_068_000, 2_136_000, 4_272_000, 8_544_000];

/// Cycles that are proved for a thousand of the guest's own, by po2 from 14: the paper's Table 2. It has no figure for 2^14; with RISC Zero
/// 3.0.6 it is about twice that of 2^16 (own measurement).
const INFLATION_PERMILLE: [u64; 11] = [3_400, 6_566, 1_698, 1_252, 1_107, 1_047, 1_019, 1_006, 1_000, 1_000, 1_000];

/// A lift in percent of a 2^16 proof on the same machine (own measurement).
const LIFT_PERCENT: u64 = 160;

/// A join in percent of a 2^16 proof on the same machine (own measurement).
const JOIN_PERCENT: u64 = 170;

/// Milliseconds that the paper's laptop takes for a unit of segments of this size.
pub(crate) fn laptop_ms(kind: UnitKind, po2: Po2) -> u64 {
    let at_16 = segment_ms(16);
    match kind {
        UnitKind::Prove => segment_ms(po2.get()),
        UnitKind::Lift => at_16 * LIFT_PERCENT / 100,
        UnitKind::Join => at_16 * JOIN_PERCENT / 100,
        UnitKind::Keccak => KECCAK_WEIGHT * segment_ms(po2.get()) + at_16 * LIFT_PERCENT / 100,
    }
}

/// Cycles of the guest's own among these that are proved.
pub(crate) fn user_cycles(total: u64, po2: Po2) -> u64 {
    u64::try_from(u128::from(total) * 1_000 / u128::from(inflation_permille(po2))).unwrap_or(u64::MAX)
}

fn inflation_permille(po2: Po2) -> u64 {
    let row = usize::from(po2.get().saturating_sub(14));
    INFLATION_PERMILLE.get(row).copied().unwrap_or(1_000)
}

/// Segments of this size that a guest of so many cycles is cut into.
pub(crate) fn segments(user_cycles: u64, po2: Po2) -> u64 {
    user_cycles.saturating_mul(inflation_permille(po2)).div_ceil(1_000).div_ceil(po2.cycles()).max(1)
}

/// Size of a unit's receipt, in bytes.
pub(crate) fn receipt_bytes(unit: Unit, po2: Po2) -> u64 {
    manyhands_core::room::receipt_bytes(unit.kind(), po2)
}

/// A row of the table; there is one for every size that can be.
fn segment_ms(po2: u8) -> u64 {
    let row = usize::from(po2.saturating_sub(14));
    SEGMENTS_MS.get(row).or(SEGMENTS_MS.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_the_papers_and_ours() {
        let po2 = |number| Po2::try_from(number).unwrap();
        assert_eq!(laptop_ms(UnitKind::Prove, po2(19)), 249_000);
        assert_eq!(laptop_ms(UnitKind::Lift, po2(19)), 44_800);
        assert_eq!(laptop_ms(UnitKind::Join, po2(14)), 47_600);
        assert_eq!(segment_bytes(po2(16)), 38_000);
        assert_eq!(segment_bytes(Po2::MAX), 6_400_000);
        assert_eq!(receipt_bytes(Unit::Prove(0), po2(19)), 284_000);
        assert_eq!(receipt_bytes(Unit::Lift(0), po2(19)), 223_000);
        let counts: Vec<u64> = [16, 17, 18, 19, 20, 21].map(|number| segments(83_886_080, po2(number))).to_vec();
        assert_eq!(counts, [2_174, 802, 355, 168, 82, 41], "the paper's guest, but for one of 801");
    }
}
