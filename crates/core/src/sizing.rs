//! Which segment size suits a job: the one with which the fleet that is there is predicted to have the receipt soonest (before step I).
//!
//! Large segments have little overhead, but few machines have the memory for them and the last one takes long; small ones keep every
//! machine busy, but page the guest's memory in and out again and again, and each must be lifted, joined and moved. The guest's part of
//! that is seen in a quick run at each size, a [`Survey`]; the fleet's part is what the gateway has measured of its nodes.

use manyhands_proto::unit::UnitKind;
use manyhands_proto::{JobId, NodeId, Po2};
use serde::{Deserialize, Serialize};

use crate::capacity::{Place, horizon_ms};
use crate::text::span;
use crate::{Outcome, Policy, ProofSystem, Requester, Time};

/// Bytes of a receipt on its way: 197 kB at 2^14, 221 kB at 2^16, 284 kB at 2^19, and 223 kB of a lift or join (own measurement).
const RECEIPT_BYTES: u64 = 230_000;

/// Joins that are left, one after the other, after the last proof: 4 is the median of BENCH-168 (bench/README.md), and a small job has
/// fewer.
const JOINS_LEFT: u64 = 4;

/// A larger size is taken although a smaller one is predicted to be quicker by up to this many percent: fewer units are fewer
/// messages, and no prediction is that good.
const EVEN_PERCENT: u64 = 3;

/// What a guest is like when it is cut at several sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Cycles of the guest's own instructions: all, or as many as were run.
    pub user_cycles: u64,
    /// Whether the guest ended within them.
    pub is_whole: bool,
    /// How it was cut, by size.
    pub cuts: Vec<Cut>,
}

/// How a part of the guest was cut at one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The size.
    pub po2: Po2,
    /// Cycles of the guest's own instructions in these segments.
    pub user_cycles: u64,
    /// Segments.
    pub segments: u64,
    /// Cycles that are proved: the last segment is only as large as it must be, and may be the only one.
    pub total_cycles: u64,
    /// Bytes of their blobs, all together.
    pub blob_bytes: u64,
    /// Keccak requests, whose number is the same at every size.
    pub keccaks: u64,
}

/// The size that was chosen for a job, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizing {
    /// The size.
    pub po2: Po2,
    /// Cycles of the guest's own instructions that were seen.
    pub user_cycles: u64,
    /// Whether the guest ended within them. If not, the job is longer, and the predictions are for that much of it.
    pub is_whole: bool,
    /// What was predicted for each size that a node offers, smallest first.
    pub options: Vec<SizeOption>,
    /// The reason in a sentence.
    pub why: String,
}

/// What is predicted for one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeOption {
    /// The size.
    pub po2: Po2,
    /// Segments that the guest is cut into.
    pub segments: u64,
    /// Connected nodes that prove segments of this size.
    pub nodes: u64,
    /// Milliseconds until the receipt.
    pub total_ms: u64,
    /// What takes that long.
    pub bound_by: BoundBy,
}

/// What decides how long a job takes at a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoundBy {
    /// The nodes' time for proofs, lifts and joins.
    Work,
    /// The gateway's line, over which every blob and receipt goes.
    Traffic,
}

/// The machines that are there.
type Machines = Vec<Machine>;

/// One machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Machine {
    /// Its place for proofs of one size, if it is able.
    prove: Option<Place>,
    /// Its time for a lift and a join together, if it is able.
    recursion_ms: Option<u64>,
    /// Whether it has delivered to this gateway.
    has_delivered: bool,
}

/// Units in a time are counted in so many parts.
const PARTS: u64 = 1 << 30;

impl Cut {
    /// Segments of a guest of so many cycles, if it goes on as in this part.
    fn segments_of(&self, user_cycles: u64) -> u64 {
        let all = u128::from(self.segments) * u128::from(user_cycles.max(self.user_cycles));
        let segments = all.div_ceil(u128::from(self.user_cycles.max(1)));
        u64::try_from(segments).unwrap_or(u64::MAX).max(1)
    }

    /// What a proof of these segments takes on the mean where one of full size takes `full_ms`.
    fn mean_ms(&self, full_ms: u64) -> u64 {
        let full = u128::from(self.segments.max(1)) * u128::from(self.po2.cycles());
        let part = u128::from(self.total_cycles).min(full);
        u64::try_from((u128::from(full_ms) * part).div_ceil(full)).unwrap_or(u64::MAX)
    }
}

impl<P: ProofSystem> Requester<P> {
    /// The sizes that a connected node offers, smallest first; never 2^15, of which nothing is left for the guest: see
    /// [`Self::po2_for_all`].
    /// Only nodes that may work on `job` count, if one is given.
    pub fn sizes_offered(&self, job: Option<JobId>) -> Vec<Po2> {
        let allowed = |node: &NodeId| job.is_none_or(|job| self.lets(&job, node));
        let offers = self.offers().filter(|(node, _)| allowed(node));
        let Some(largest) = offers.map(|(_, offer)| offer.po2_max).max() else { return Vec::new() };
        let sizes = (Po2::MIN.get()..=largest.get()).filter(|number| *number != 15);
        sizes.filter_map(|number| Po2::try_from(number).ok()).collect()
    }

    /// The size at which this fleet is predicted to have a job's receipt soonest; nothing if no node that is there can do any of them.
    pub fn size_for(&self, now: Time, job: JobId, outcome: Outcome, survey: &Survey) -> Option<Sizing> {
        let mut options: Vec<SizeOption> =
            survey.cuts.iter().filter_map(|cut| self.predict(now, job, outcome, cut, survey.user_cycles)).collect();
        options.sort_unstable_by_key(|option| option.po2);
        let soonest = options.iter().map(|option| option.total_ms).min()?;
        let even = soonest.saturating_add(soonest.saturating_mul(EVEN_PERCENT) / 100);
        let best = options.iter().rev().find(|option| option.total_ms <= even).copied()?;
        let why = why(best, &options, survey);
        Some(Sizing { po2: best.po2, user_cycles: survey.user_cycles, is_whole: survey.is_whole, options, why })
    }

    fn predict(&self, now: Time, job: JobId, outcome: Outcome, cut: &Cut, user_cycles: u64) -> Option<SizeOption> {
        let segments = cut.segments_of(user_cycles);
        let mut machines = Machines::new();
        self.each_present(now, |node, peer, place_for| {
            if !self.lets(&job, node) {
                return;
            }
            let has_delivered = peer.delivered > 0;
            // Until then it is no quicker than a machine that nobody has measured, whatever it says.
            let takes_ms = |kind, place: Place| match has_delivered {
                true => place.takes_ms,
                false => place.takes_ms.max(self.policy().default_ms(kind, cut.po2)),
            };
            let ms = |kind| place_for((kind, cut.po2)).map(|place| takes_ms(kind, place));
            let recursion_ms = ms(UnitKind::Lift).zip(ms(UnitKind::Join)).map(|(lift, join)| lift.saturating_add(join));
            let prove = place_for((UnitKind::Prove, cut.po2));
            let mean_ms = |place| cut.mean_ms(takes_ms(UnitKind::Prove, place));
            let prove = prove.map(|place| Place { takes_ms: mean_ms(place), ..place });
            machines.push(Machine { prove, recursion_ms, has_delivered });
        });
        if !is_sure(&machines) {
            return None;
        }
        // Jobs share the fleet, so each of the others has as much done meanwhile, if it wants as much.
        let others = self.jobs().filter(|other| other.is_open() && other.id != job).count() as u64;
        let waiting = self.backlog((UnitKind::Prove, cut.po2));
        let beside = waiting.min(segments.saturating_mul(others));
        let work_ms = work_ms(&machines, outcome, segments, beside)?;
        let traffic_ms =
            traffic_ms(self.policy(), outcome, segments, segments.saturating_mul(cut.blob_bytes / cut.segments.max(1)));
        let bound_by = if traffic_ms > work_ms { BoundBy::Traffic } else { BoundBy::Work };
        let nodes = machines.iter().filter(|machine| machine.prove.is_some()).count() as u64;
        Some(SizeOption { po2: cut.po2, segments, nodes, total_ms: work_ms.max(traffic_ms), bound_by })
    }
}

/// Whether a size may be chosen that only these able machines offer: one of them has delivered, or they are more than half. Else a single
/// stranger could, by saying what it can do, tie a job to itself.
fn is_sure(machines: &[Machine]) -> bool {
    let able = machines.iter().filter(|machine| machine.prove.is_some());
    able.clone().any(|machine| machine.has_delivered) || 2 * able.count() > machines.len()
}

/// Milliseconds until `segments` are proved, and for a succinct receipt lifted and joined, by these machines, with as much work of other
/// jobs `beside` in between. Nothing if they cannot.
fn work_ms(machines: &[Machine], outcome: Outcome, segments: u64, beside: u64) -> Option<u64> {
    let units = segments.saturating_add(beside);
    let (busy_ms, last_ms) = match outcome {
        Outcome::Composite => (0, 0),
        Outcome::Succinct => {
            let quickest_ms = machines.iter().filter_map(|machine| machine.recursion_ms).min()?;
            let joins = u64::from(u64::BITS - segments.saturating_sub(1).leading_zeros()).min(JOINS_LEFT);
            (recursion_ms(machines, units), quickest_ms.saturating_mul(joins.saturating_add(1)) / 2)
        }
    };
    // Whoever lifts and joins proves so much less.
    let place = |machine: &Machine| {
        let later_ms = if machine.recursion_ms.is_some() { busy_ms } else { 0 };
        machine.prove.map(|place| Place { free_in_ms: place.free_in_ms.saturating_add(later_ms), ..place })
    };
    let proved_ms = horizon_ms(&machines.iter().filter_map(place).collect::<Vec<_>>(), units)?;
    Some(proved_ms.saturating_add(last_ms))
}

/// Milliseconds that the lifts and joins of `units` segments take all able machines together, if they could be cut at will.
fn recursion_ms(machines: &[Machine], units: u64) -> u64 {
    let speeds = machines.iter().filter_map(|machine| PARTS.checked_div(machine.recursion_ms?));
    let speed = speeds.fold(0, u64::saturating_add).max(1);
    u64::try_from(u128::from(units) * u128::from(PARTS) / u128::from(speed)).unwrap_or(u64::MAX)
}

/// Milliseconds in which the gateway's line carries what a job sends out.
fn traffic_ms(policy: &Policy, outcome: Outcome, segments: u64, blob_bytes: u64) -> u64 {
    let receipts_out = match outcome {
        Outcome::Composite => 0,
        // Each proof goes out to be lifted, and each lift or join to be joined.
        Outcome::Succinct => 3,
    };
    let bytes = blob_bytes.saturating_add(segments.saturating_mul(receipts_out * RECEIPT_BYTES));
    bytes.saturating_mul(1_000) / policy.line_bytes_per_s.max(1)
}

fn why(best: SizeOption, options: &[SizeOption], survey: &Survey) -> String {
    let of = |option: &SizeOption| {
        let nodes = if option.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", option.nodes) };
        let cut = if option.segments == 1 { "1 segment".to_owned() } else { format!("{} segments", option.segments) };
        let slow = if option.bound_by == BoundBy::Traffic { ", for this gateway's line" } else { "" };
        format!("{} ({cut}, {nodes}{slow})", span(option.total_ms))
    };
    let others: Vec<String> = options
        .iter()
        .filter(|option| option.po2 != best.po2)
        .map(|option| format!("po2 {} {}", option.po2, of(option)))
        .collect();
    let than = if others.is_empty() { String::new() } else { format!(", against {}", others.join(", ")) };
    let part = if survey.is_whole { "" } else { "; the guest runs for longer than was looked at, so all take longer" };
    let keccaks = match survey.cuts.iter().map(|cut| cut.keccaks).max().unwrap_or_default() {
        0 => String::new(),
        1 => "; a keccak request comes on top".to_owned(),
        count => format!("; {count} keccak requests come on top"),
    };
    format!("at po2 {} the receipt is predicted in {}{than}{part}{keccaks}", best.po2, of(&best))
}
