//! The machines of a world, as the seed decides them: the same for every policy.

use manyhands_core::{Origin, Time};
use manyhands_proto::message::{Capabilities, Timing};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{NodeId, Po2};

use crate::draw::{About, Draw};
use crate::figures::laptop_ms;
use crate::scenario::{Memory, Scenario};

/// The version of every worker in a simulated world.
pub(crate) const ZKVM: &str = "simulated";

/// What a machine is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Honest,
    Liar,
    Waster,
    Staller,
    Plagiarist,
    Flapper,
    Quitter,
    Turncoat,
    Sybil,
}

impl Role {
    pub(crate) const fn is_honest(self) -> bool {
        matches!(self, Self::Honest | Self::Flapper)
    }
}

/// One machine's traits. They never change.
#[derive(Debug, Clone)]
pub(crate) struct Traits {
    pub(crate) role: Role,
    /// In times of the paper's laptop.
    pub(crate) speed: f64,
    pub(crate) slots: u8,
    pub(crate) po2_max: Po2,
    pub(crate) memory_bytes: u64,
    /// Half a round trip to any gateway.
    pub(crate) one_way_ms: u64,
    pub(crate) down_bytes_per_ms: f64,
    pub(crate) up_bytes_per_ms: f64,
    /// Whether others can dial it.
    pub(crate) is_reachable: bool,
    pub(crate) clock: Clock,
    /// The address range that it connects from: its operator's, or that of the one machine of many identities.
    pub(crate) origin: Origin,
    pub(crate) start_ms: u64,
    /// Whether it vanishes with others.
    pub(crate) vanishes: bool,
    timings: Vec<Timing>,
}

impl Traits {
    /// Machine `node` of this world.
    pub(crate) fn draw(scenario: &Scenario, seed: u64, node: u32) -> Self {
        let (fleet, links, clocks) = (&scenario.fleet, &scenario.links, &scenario.clocks);
        let is_sybil = is_sybil(scenario, node);
        let draw = &mut Draw::new(
            seed,
            About::Machine,
            &[u64::from(if is_sybil { machine_of(scenario, node) } else { node })],
        );
        // The shares are of all nodes, and the lot is drawn by those only that share no machine.
        let lot = draw.unit() * (1.0 - scenario.villains.sybils);
        let role = if is_sybil { Role::Sybil } else { role(scenario, lot) };
        let speed = draw.lognormal(fleet.speed_median, fleet.speed_sigma).clamp(fleet.speed_min, fleet.speed_max);
        let (po2_max, memory_bytes) = memory(&fleet.memory, draw.unit());
        let rtt_ms = draw.within(links.rtt_min_ms, links.rtt_max_ms);
        let is_relayed = draw.happens(links.relayed_share);
        let rate = |mbit_s: f64| {
            bytes_per_ms(if is_relayed && links.relayed_mbit_s < mbit_s { links.relayed_mbit_s } else { mbit_s })
        };
        let extra_ms = if is_relayed { links.relayed_extra_ms } else { 0 };
        let drift_ppm = draw.within(0, 2 * u64::from(clocks.drift_ppm));
        let clock = Clock {
            offset_ms: draw.within(0, clocks.skew_ms.saturating_mul(2)),
            rate_ppm: (1_000_000 + drift_ppm).saturating_sub(u64::from(clocks.drift_ppm)),
        };
        Self {
            role,
            speed,
            slots: fleet.slots,
            po2_max,
            memory_bytes,
            one_way_ms: rtt_ms.saturating_add(extra_ms).div_ceil(2),
            down_bytes_per_ms: rate(links.node_down_mbit_s),
            up_bytes_per_ms: rate(links.node_up_mbit_s),
            is_reachable: !is_relayed,
            clock,
            origin: if is_sybil { origin(2, machine_of(scenario, node)) } else { origin(1, operator(scenario, node)) },
            start_ms: draw.within(0, fleet.start_spread_ms),
            vanishes: vanishes(scenario, seed, operator(scenario, node)),
            timings: if fleet.states_timings { timings(scenario, role, speed, po2_max, draw) } else { Vec::new() },
        }
    }

    /// What the machine says of itself.
    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities {
            zkvm: ZKVM.to_owned(),
            po2_max: self.po2_max,
            memory_bytes: self.memory_bytes,
            slots: self.slots,
            cores: u16::from(self.slots).saturating_mul(4),
            recursion: true,
            timings: self.timings.clone(),
        }
    }

    /// Whether its work counts in the bounds: it does what it says.
    pub(crate) fn is_honest(&self) -> bool {
        self.role.is_honest()
    }

    /// Whether it means harm, and says what serves that.
    pub(crate) fn is_villain(&self) -> bool {
        !self.is_honest()
    }

    /// Milliseconds of a unit on this machine, undisturbed.
    pub(crate) fn unit_ms(&self, kind: UnitKind, po2: Po2) -> f64 {
        laptop_ms(kind, po2) as f64 / self.speed
    }
}

/// A clock that is set wrong and does not run true.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    offset_ms: u64,
    rate_ppm: u64,
}

impl Clock {
    /// What it shows at a moment of the world.
    pub(crate) fn shows(self, now_ms: u64) -> Time {
        Time(self.offset_ms.saturating_add(self.measures(now_ms)))
    }

    /// The first moment of the world at which it shows that time or a later one.
    pub(crate) fn reaches(self, time: Time) -> u64 {
        time.0.saturating_sub(self.offset_ms).saturating_mul(1_000_000).div_ceil(self.rate_ppm.max(1))
    }

    /// What it makes of a duration.
    pub(crate) fn measures(self, ms: u64) -> u64 {
        ms.saturating_mul(self.rate_ppm) / 1_000_000
    }
}

/// Mbit/s in bytes per millisecond.
pub(crate) fn bytes_per_ms(mbit_s: f64) -> f64 {
    mbit_s * 125.0
}

/// The operator of a node: neighbours in number share one, and its address range.
pub(crate) fn operator(scenario: &Scenario, node: u32) -> u32 {
    node / scenario.fleet.nodes_per_operator.max(1)
}

/// The machine of an identity that shares one with others: the number of the first of them.
pub(crate) fn machine_of(scenario: &Scenario, node: u32) -> u32 {
    node - node % scenario.villains.sybil_identities.max(1)
}

/// Which of a world's nodes mean harm, by number: those whose role is not an honest one.
pub fn villains(scenario: &Scenario, seed: u64) -> Vec<bool> {
    (0..scenario.fleet.nodes).map(|node| Traits::draw(scenario, seed, node).is_villain()).collect()
}

/// An address range of some kind, by number.
fn origin(kind: u8, number: u32) -> Origin {
    let [a, b, c, d] = number.to_be_bytes();
    Origin([6, 0x20, kind, a, b, c, d, 0])
}

/// The id of a node: its number, then nothing. A node's traits do not depend on its number's size, so no order by id favours anyone.
pub(crate) fn node_id(node: u32) -> NodeId {
    numbered(0, node)
}

/// The id of a gateway.
pub(crate) fn gateway_id(gateway: u32) -> NodeId {
    numbered(0xff, gateway)
}

/// The number of the node or gateway with this id.
pub(crate) fn number_of(id: &NodeId) -> u32 {
    let [_, a, b, c, d, ..] = id.0;
    u32::from_be_bytes([a, b, c, d])
}

fn numbered(kind: u8, number: u32) -> NodeId {
    let mut bytes = [0; NodeId::LEN];
    let [a, b, c, d] = number.to_be_bytes();
    bytes.iter_mut().zip([kind, a, b, c, d]).for_each(|(to, from)| *to = from);
    NodeId(bytes)
}

fn role(scenario: &Scenario, mut lot: f64) -> Role {
    let villains = &scenario.villains;
    for (role, share) in [
        (Role::Liar, villains.liars),
        (Role::Waster, villains.wasters),
        (Role::Staller, villains.stallers),
        (Role::Plagiarist, villains.plagiarists),
        (Role::Flapper, villains.flappers),
        (Role::Quitter, villains.quitters),
        (Role::Turncoat, villains.turncoats),
    ] {
        if lot < share {
            return role;
        }
        lot -= share;
    }
    Role::Honest
}

/// Whether a node is one of many on its machine. Those with the lowest numbers are, so that a world has no more of them than it says.
fn is_sybil(scenario: &Scenario, node: u32) -> bool {
    let identities = f64::from(scenario.fleet.nodes) * scenario.villains.sybils;
    let each = f64::from(scenario.villains.sybil_identities.max(1));
    f64::from(machine_of(scenario, node)) < (identities / each).round() * each
}

fn memory(classes: &[Memory], lot: f64) -> (Po2, u64) {
    let mut left = lot * classes.iter().map(|class| class.share).sum::<f64>();
    let mut chosen = (Po2::MIN, 0);
    for class in classes {
        chosen = (class.po2_max, class.memory_bytes);
        left -= class.share;
        if left < 0.0 {
            break;
        }
    }
    chosen
}

/// Whole operators vanish: it is their line or their power that fails.
fn vanishes(scenario: &Scenario, seed: u64, operator: u32) -> bool {
    const OPERATORS: u64 = 1 << 32;
    let share = scenario.correlated_loss.as_ref().map_or(0.0, |loss| loss.share);
    Draw::new(seed, About::Machine, &[OPERATORS, u64::from(operator)]).happens(share)
}

/// What a machine measured on itself, with a task's usual noise; villains make themselves faster or slower as they like.
fn timings(scenario: &Scenario, role: Role, speed: f64, po2: Po2, draw: &mut Draw) -> Vec<Timing> {
    let boast = if role.is_honest() { 1.0 } else { scenario.villains.boast };
    let mut timing = |kind, po2| {
        let factor = draw.lognormal(1.0, scenario.noise.sigma);
        let elapsed_ms = (laptop_ms(kind, po2) as f64 * factor / (speed * boast)) as u64;
        Timing { kind, po2, elapsed_ms }
    };
    vec![timing(UnitKind::Prove, po2), timing(UnitKind::Lift, po2), timing(UnitKind::Join, po2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_reaches_what_it_shows() {
        for rate_ppm in [999_000, 1_000_000, 1_000_037] {
            let clock = Clock { offset_ms: 120_000, rate_ppm };
            for ms in [0, 1, 999, 123_456, 7_200_000] {
                assert!(clock.reaches(clock.shows(ms)) <= ms);
                assert!(clock.shows(clock.reaches(Time(ms))) >= Time(ms));
                let later = Time(120_000 + ms);
                let reached = clock.reaches(later);
                assert!(reached == 0 || clock.shows(reached - 1) < later);
            }
        }
    }

    #[test]
    fn ids_are_numbers_and_shares_are_kept() {
        assert_eq!(number_of(&node_id(15_000)), 15_000);
        assert_ne!(node_id(1), gateway_id(1));
        let text = "name = \"t\"\nfleet.nodes = 4000\nvillains.liars = 0.1\nvillains.flappers = 0.2\n[[jobs]]\n";
        let scenario = Scenario::from_toml(text).unwrap();
        let fleet: Vec<Traits> = (0..4_000).map(|node| Traits::draw(&scenario, 1, node)).collect();
        let count = |role| fleet.iter().filter(|traits| traits.role == role).count();
        assert!((350..450).contains(&count(Role::Liar)), "{}", count(Role::Liar));
        assert!((700..900).contains(&count(Role::Flapper)), "{}", count(Role::Flapper));
        assert!(fleet.iter().all(|traits| (0.25..=4.0).contains(&traits.speed)));
    }
}
