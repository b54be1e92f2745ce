//! What no policy can beat: lower bounds from the speeds that a world really has.

use manyhands_proto::Po2;
use manyhands_proto::unit::UnitKind;

use crate::fleet::Traits;
use crate::record::Bound;
use crate::scenario::{Load, Scenario};
use manyhands_core::Outcome;

/// No bound lies beyond this: thirty years. A world without an honest machine has it.
const FOREVER_MS: u64 = 1_000_000_000_000;

/// The bounds of a world, as if all its jobs came at once.
///
/// The list bound of each segment size stands alone, and so does all work as if it were liquid; the bound is the greatest of them. All are
/// true lower bounds; machines that mean harm are left out.
pub(crate) fn bound(scenario: &Scenario, fleet: &[Traits]) -> Bound {
    let honest: Vec<&Traits> = fleet.iter().filter(|traits| traits.is_honest()).collect();
    let sizes: std::collections::BTreeMap<Po2, u64> =
        scenario.jobs.iter().fold(Default::default(), |mut sizes, load| {
            *sizes.entry(load.po2).or_default() += u64::from(load.count) * u64::from(load.segments);
            sizes
        });
    let lists = sizes.iter().map(|(po2, segments)| list_ms(&honest, *po2, *segments));
    let proofs = sizes.iter().map(|(po2, segments)| (UnitKind::Prove, *po2, *segments));
    let proofs: Vec<(UnitKind, Po2, u64)> = proofs.collect();
    let all: Vec<_> = proofs.iter().copied().chain(scenario.jobs.iter().flat_map(recursion)).collect();
    let list_ms = lists.max().unwrap_or(0).max(liquid_ms(&honest, &proofs));
    let path_ms = scenario.jobs.iter().map(|load| path_ms(&honest, load)).max().unwrap_or(0);
    Bound { list_ms, whole_ms: list_ms.max(liquid_ms(&honest, &all)).max(path_ms) }
}

/// The least time in which these machines prove so many segments, each machine one after the other: the network list bound T*.
fn list_ms(honest: &[&Traits], po2: Po2, segments: u64) -> u64 {
    let times: Vec<(f64, u64)> = able(honest, UnitKind::Prove, po2)
        .map(|traits| (traits.unit_ms(UnitKind::Prove, po2), u64::from(traits.slots)))
        .collect();
    let done = |ms: u64| times.iter().map(|(unit_ms, slots)| (ms as f64 / unit_ms) as u64 * slots).sum::<u64>();
    let (mut low, mut high) = (0, FOREVER_MS);
    while low < high {
        let middle = low.midpoint(high);
        if done(middle) >= segments { high = middle } else { low = middle + 1 }
    }
    low
}

/// The least time for all this work if it could be cut at will. Work that few machines can do is not bound to them here.
fn liquid_ms(honest: &[&Traits], work: &[(UnitKind, Po2, u64)]) -> u64 {
    let is_of_use = |traits: &Traits| work.iter().any(|(kind, po2, _)| is_able(traits, *kind, *po2));
    let useful = honest.iter().filter(|traits| is_of_use(traits));
    let speed: f64 = useful.map(|traits| traits.speed * f64::from(traits.slots)).sum();
    let laptop_ms =
        |(kind, po2, count): &(UnitKind, Po2, u64)| crate::figures::laptop_ms(*kind, *po2) as f64 * *count as f64;
    let total_ms: f64 = work.iter().map(laptop_ms).sum();
    if speed > 0.0 { libm::ceil(total_ms / speed) as u64 } else { FOREVER_MS }
}

/// One proof, and for a succinct receipt one lift and the joins of a balanced tree, each on the fastest machine.
fn path_ms(honest: &[&Traits], load: &Load) -> u64 {
    let fastest = |kind| {
        let times = able(honest, kind, load.po2).map(|traits| traits.unit_ms(kind, load.po2));
        times.min_by(f64::total_cmp).unwrap_or(FOREVER_MS as f64)
    };
    let joins = load.segments.next_power_of_two().trailing_zeros();
    let recursion = || fastest(UnitKind::Lift) + f64::from(joins) * fastest(UnitKind::Join);
    let proof_ms = fastest(UnitKind::Prove);
    let path_ms = if load.outcome == Outcome::Succinct { proof_ms + recursion() } else { proof_ms };
    (path_ms as u64).min(FOREVER_MS)
}

fn recursion(load: &Load) -> Vec<(UnitKind, Po2, u64)> {
    if load.outcome == Outcome::Composite {
        return Vec::new();
    }
    let (jobs, segments) = (u64::from(load.count), u64::from(load.segments));
    vec![(UnitKind::Lift, load.po2, jobs * segments), (UnitKind::Join, load.po2, jobs * segments.saturating_sub(1))]
}

fn able<'a>(honest: &'a [&'a Traits], kind: UnitKind, po2: Po2) -> impl Iterator<Item = &'a Traits> {
    honest.iter().copied().filter(move |traits| is_able(traits, kind, po2))
}

fn is_able(traits: &Traits, kind: UnitKind, po2: Po2) -> bool {
    match kind {
        UnitKind::Prove => po2 <= traits.po2_max,
        UnitKind::Lift | UnitKind::Join | UnitKind::Keccak => {
            traits.memory_bytes >= manyhands_core::job::step3_dispatch::RECURSION_MEMORY_BYTES
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound_of(text: &str) -> Bound {
        let scenario = Scenario::from_toml(text).unwrap();
        let fleet: Vec<Traits> = (0..scenario.fleet.nodes).map(|node| Traits::draw(&scenario, 1, node)).collect();
        bound(&scenario, &fleet)
    }

    #[test]
    fn equal_machines_prove_in_rounds() {
        let world = |outcome: &str| {
            format!(
                "name = \"t\"\nfleet.nodes = 10\nfleet.speed_sigma = 0.0\n[[jobs]]\nsegments = 15\npo2 = 16\noutcome = \"{outcome}\"\n"
            )
        };
        assert_eq!(bound_of(&world("composite")), Bound { list_ms: 56_000, whole_ms: 56_000 });
        // 15 proofs, 15 lifts and 14 joins, 28 s + 44.8 s + 4 joins of 47.6 s: the critical path is longer than all work in rounds.
        assert_eq!(bound_of(&world("succinct")), Bound { list_ms: 56_000, whole_ms: 28_000 + 44_800 + 4 * 47_600 });
    }

    #[test]
    fn without_an_honest_machine_there_is_no_end() {
        let bound = bound_of("name = \"t\"\nfleet.nodes = 3\nvillains.liars = 1.0\n[[jobs]]\n");
        assert_eq!(bound.list_ms, FOREVER_MS);
    }
}
