//! What a requester may see of a job and of the fleet: the state machine's answers to "how far is it, and why does it wait?"

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::unit::UnitKind;
use manyhands_proto::{JobId, NodeId, Po2, Unit};
use manyhands_vbs::Source;
use serde::{Deserialize, Serialize};

use crate::job::step3_dispatch::is_able;
use crate::job::{Job, Phase, Tally, UnitState};
use crate::{Outcome, Priority, ProofSystem, Requester, Sizing, Time, Verdict};

/// A job as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub job: JobId,
    /// `open`, `assembling`, `done` or `failed`.
    pub phase: String,
    /// Why there will be no receipt.
    pub error: Option<String>,
    /// Segment size; a guess while [`Self::is_surveyed`].
    pub po2: Po2,
    /// Whether the guest is being looked at, to choose the segment size.
    #[serde(default)]
    pub is_surveyed: bool,
    /// Why that size, if the gateway chose it. The state machine leaves it to its owner to remember.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizing: Option<Sizing>,
    /// The receipt that is wanted.
    pub outcome: Outcome,
    /// Its share of the fleet beside other jobs. A job that ended before there were priorities had the usual one.
    #[serde(default)]
    pub priority: Priority,
    /// Whether only some nodes may work on it, and its segments are encrypted.
    #[serde(default)]
    pub is_private: bool,
    /// Milliseconds since it was submitted, or that it took.
    pub elapsed_ms: u64,
    /// Number of segments, once the guest has ended.
    pub segments: Option<u32>,
    /// Cycles of the guest's own instructions, once known.
    pub user_cycles: Option<u64>,
    /// Cycles of all segments, once known.
    pub total_cycles: Option<u64>,
    /// Keccak requests so far, each a proof beside the segments'. A job that ended before there were any has none.
    #[serde(default)]
    pub keccaks: u32,
    /// Cycles of their proofs.
    #[serde(default)]
    pub keccak_cycles: u64,
    /// State of every segment's own proof, in order.
    pub grid: Vec<UnitState>,
    /// Units of all kinds that are verified.
    pub units_done: u32,
    /// Units of all kinds, as far as they are known: segments so far, and their lifts and joins.
    pub units_total: u32,
    /// Work under way.
    pub leases: Vec<LeaseView>,
    /// Who proved what.
    pub results: Vec<ResultView>,
    /// What its leases came to. A gateway that was restarted counts from then on; a job that ended before there were tallies has none.
    #[serde(default)]
    pub tally: Tally,
    /// Predicted milliseconds to the end, once there is something to predict from.
    pub eta_ms: Option<u64>,
    /// Why nothing goes on, if nothing does.
    pub waiting: Option<String>,
}

/// One lease under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The work.
    pub unit: Unit,
    /// Which attempt at it.
    pub attempt: u32,
    /// Who works on it.
    pub node: NodeId,
    /// Milliseconds since it was leased.
    pub elapsed_ms: u64,
}

/// One verified result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultView {
    /// The work.
    pub unit: Unit,
    /// The attempt that brought it.
    pub attempt: u32,
    /// Who made it.
    pub node: NodeId,
    /// Milliseconds of proving, as the node says.
    pub elapsed_ms: u64,
    /// Size of its receipt in bytes.
    pub receipt_bytes: u64,
}

/// A node as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub node: NodeId,
    /// Whether it is connected.
    pub connected: bool,
    /// The largest segment it offers.
    pub po2_max: Option<Po2>,
    /// Units it works on at the same time.
    pub slots: Option<u8>,
    /// Whether it can lift and join.
    pub recursion: Option<bool>,
    /// Its zkVM version.
    pub zkvm: Option<String>,
    /// Valid results in a row.
    pub valid: u32,
    /// Offences.
    pub offences: u32,
    /// Why it gets no work now, if it does not.
    pub blocked: Option<String>,
    /// Milliseconds until it may get work again; nothing if that is up to the operator.
    pub blocked_ms: Option<u64>,
    /// What the operator said of it.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Its score of the largest size that still counts here; nothing if it is a stranger.
    #[serde(default)]
    pub score: Option<ScoreView>,
    /// The size of the challenge that it proves now, if it does.
    #[serde(default)]
    pub challenged: Option<Po2>,
}

/// A score that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreView {
    /// The size.
    pub po2: Po2,
    /// Milliseconds that a proof of that size took.
    pub elapsed_ms: u64,
    /// How it is known.
    pub source: Source,
    /// Milliseconds for which it still counts.
    pub left_ms: u64,
}

/// Why a job cannot be taken now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inadmissible {
    /// Every node that is there is too small.
    #[error("no node offers segments of po2 {po2}: {offers}. Ask for a smaller --po2, or wait for a larger node")]
    TooLarge {
        /// The size asked for.
        po2: Po2,
        /// Which nodes offer what.
        offers: String,
    },
    /// No node that is there has the recursion programs.
    #[error(
        "no node can lift and join ({offers}): ask for a composite receipt, or add a node whose worker has the recursion programs"
    )]
    NoRecursion {
        /// Which nodes offer what.
        offers: String,
    },
}

impl<P: ProofSystem> Requester<P> {
    /// Whether the nodes that are connected, and of those the `circle` if it is for no others, could do a job of this size and outcome.
    /// Without any node it waits for the first.
    ///
    /// # Errors
    /// [`Inadmissible`] saying which nodes offer what.
    pub fn admits(&self, po2: Po2, outcome: Outcome, circle: Option<&BTreeSet<NodeId>>) -> Result<(), Inadmissible> {
        let allowed = |node: &NodeId| circle.is_none_or(|circle| circle.contains(node));
        let offers: Vec<_> = self.offers().filter(|(node, _)| allowed(node)).collect();
        if offers.is_empty() {
            return Ok(());
        }
        if !offers.iter().any(|(_, offer)| is_able(offer, UnitKind::Prove, po2)) {
            return Err(Inadmissible::TooLarge { po2, offers: self.offers_text() });
        }
        if outcome == Outcome::Succinct && !offers.iter().any(|(_, offer)| is_able(offer, UnitKind::Lift, po2)) {
            return Err(Inadmissible::NoRecursion { offers: self.offers_text() });
        }
        Ok(())
    }

    /// The largest segment that every connected node can prove, or 2^16 while there is none; never 2^15.
    ///
    /// From 2^15 up RISC Zero's executor keeps 25,000 cycles of a segment free for one long instruction (`MAX_INSN_CYCLES` in
    /// risc0-circuit-rv32im 4.0.5), which leaves nearly nothing of 2^15: `inflate` with 1,000 numbers is cut into 41, 3,117, 5 and 2
    /// segments at 2^14, 2^15, 2^16 and 2^17 (own measurement).
    pub fn po2_for_all(&self) -> Po2 {
        let smallest = self.offers().map(|(_, offer)| offer.po2_max).min();
        let po2 = smallest.or_else(|| Po2::try_from(16).ok()).unwrap_or(Po2::MIN);
        if po2.get() == 15 { Po2::MIN } else { po2 }
    }

    /// All nodes that are known.
    pub fn view_nodes(&self, now: Time) -> Vec<NodeView> {
        let challenged: BTreeMap<NodeId, Po2> = self.challenged().collect();
        let view = |(node, peer): (&NodeId, &crate::peers::Peer)| {
            let offer = peer.capabilities.as_ref();
            let bar = peer.bar(now);
            NodeView {
                node: *node,
                connected: peer.connected,
                po2_max: offer.map(|offer| offer.po2_max),
                slots: offer.map(|offer| offer.slots),
                recursion: offer.map(|offer| offer.recursion),
                zkvm: offer.map(|offer| offer.zkvm.clone()),
                valid: peer.valid,
                offences: peer.offences,
                blocked_ms: bar.as_ref().and_then(|bar| bar.left_ms),
                blocked: bar.map(|bar| bar.reason),
                verdict: peer.ruling.as_ref().map(|ruling| ruling.verdict),
                score: peer.scores().filter(|(_, held)| now < held.until).last().map(|(po2, held)| ScoreView {
                    po2,
                    elapsed_ms: held.elapsed_ms,
                    source: held.source,
                    left_ms: held.until.since(now),
                }),
                challenged: challenged.get(node).copied(),
            }
        };
        // A peer that is connected and neither offered work nor did harm is no node, unless the operator spoke of it.
        let is_node =
            |peer: &crate::peers::Peer| peer.capabilities.is_some() || peer.offences > 0 || peer.ruling.is_some();
        self.peers().iter().filter(|(_, peer)| is_node(peer)).map(view).collect()
    }

    /// One job.
    pub fn view_job(&self, now: Time, job: &JobId) -> Option<JobView> {
        let job = self.job(job)?;
        let (phase, error, end) = match &job.phase {
            Phase::Open => ("open", None, now),
            Phase::Assembling => ("assembling", None, now),
            Phase::Done { at } => ("done", None, *at),
            Phase::Failed { at, reason } => ("failed", Some(reason.clone()), *at),
        };
        let (done, total) = units(job);
        let results: Vec<ResultView> = job.results().map(result_view).collect();
        Some(JobView {
            job: job.id,
            phase: phase.to_owned(),
            error,
            po2: job.spec.po2,
            is_surveyed: job.is_open() && job.spec.is_auto,
            sizing: None,
            outcome: job.spec.outcome,
            priority: job.spec.priority,
            is_private: self.circle(&job.id).is_some(),
            elapsed_ms: end.since(job.submitted),
            segments: job.execution.as_ref().map(|info| info.segments),
            user_cycles: job.execution.as_ref().map(|info| info.user_cycles),
            total_cycles: job.execution.as_ref().map(|info| info.total_cycles),
            keccaks: job.keccaks().count() as u32,
            keccak_cycles: job.keccaks().map(Po2::cycles).fold(0, u64::saturating_add),
            grid: job.units().filter(|(unit, _)| unit.kind() == UnitKind::Prove).map(|(_, state)| state).collect(),
            units_done: done,
            units_total: total,
            eta_ms: self.eta_ms(job, &results, total.saturating_sub(done)),
            results,
            tally: job.tally,
            leases: leases(job, now),
            waiting: self.why_waiting(job),
        })
    }

    pub(crate) fn offers(&self) -> impl Iterator<Item = (&NodeId, &manyhands_proto::message::Capabilities)> {
        let peers = self.peers().iter().filter(|(_, peer)| peer.connected && !peer.is_denied());
        let offers = peers.filter_map(|(node, peer)| Some((node, peer.capabilities.as_ref()?)));
        offers.filter(|(_, offer)| offer.zkvm == self.zkvm())
    }

    pub(crate) fn offers_text(&self) -> String {
        let mut by_offer: BTreeMap<(Po2, bool), Vec<String>> = BTreeMap::new();
        for (node, offer) in self.offers() {
            by_offer.entry((offer.po2_max, offer.recursion)).or_default().push(node.short());
        }
        let group = |((po2, recursion), nodes): (&(Po2, bool), &Vec<String>)| {
            let shown = nodes.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let more = nodes.len().saturating_sub(3);
            let and = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{shown}{and}: up to po2 {po2}{}", if *recursion { "" } else { ", no lifts or joins" })
        };
        by_offer.iter().map(group).collect::<Vec<_>>().join("; ")
    }

    fn why_waiting(&self, job: &Job<P>) -> Option<String> {
        if !job.is_open() || job.ready.is_empty() || job.leases().next().is_some() {
            return None;
        }
        if self.offers().next().is_none() {
            return Some("no node is connected; the job starts with the first one".to_owned());
        }
        if self.offers_for(&job.id).next().is_none() {
            return Some("the job is private, and none of the nodes that may work on it is connected".to_owned());
        }
        let is_possible = |(kind, po2)| self.offers_for(&job.id).any(|(_, offer)| is_able(offer, kind, po2));
        let (possible, impossible): (Vec<_>, Vec<_>) = job.ready.classes().partition(|class| is_possible(*class));
        if !possible.is_empty() {
            return Some("every able node is busy, resting or blocked".to_owned());
        }
        let kinds: BTreeSet<UnitKind> = impossible.into_iter().map(|(kind, _)| kind).collect();
        let kinds = kinds.into_iter().map(UnitKind::plural).collect::<Vec<_>>().join(" and ");
        Some(format!("no connected node can do the {kinds} that are left ({})", self.offers_text()))
    }

    /// Remaining units at the mean time of those done, over the nodes that are at work.
    fn eta_ms(&self, job: &Job<P>, results: &[ResultView], left: u32) -> Option<u64> {
        let at_work = job.leases().map(|(_, node, _)| node).collect::<std::collections::BTreeSet<_>>().len() as u64;
        let sum: u64 = results.iter().map(|result| result.elapsed_ms).fold(0, u64::saturating_add);
        let mean = sum.checked_div(results.len() as u64)?;
        mean.saturating_mul(u64::from(left)).checked_div(at_work)
    }
}

/// Units done and units in all, counting the lifts, joins, resolutions and unions that are still to come.
fn units<P: ProofSystem>(job: &Job<P>) -> (u32, u32) {
    let segments = job.units().filter(|(unit, _)| unit.kind() == UnitKind::Prove).count() as u32;
    let keccaks = job.keccaks().count() as u32;
    let total = match job.spec.outcome {
        Outcome::Composite => segments,
        Outcome::Succinct => {
            let assumptions = job.execution.as_ref().map_or(0, |info| info.assumptions.len()) as u32;
            segments.saturating_mul(3).saturating_sub(1).saturating_add(assumptions)
        }
    };
    // A union for each but the first.
    let total = total.saturating_add(keccaks.saturating_mul(2).saturating_sub(1));
    (job.results().count() as u32, total)
}

fn result_view(result: &crate::Receipted) -> ResultView {
    ResultView {
        unit: result.lease.unit,
        attempt: result.lease.attempt,
        node: result.node,
        elapsed_ms: result.elapsed_ms,
        receipt_bytes: result.receipt.size_bytes,
    }
}

fn leases<P: ProofSystem>(job: &Job<P>, now: Time) -> Vec<LeaseView> {
    let view = |(lease, node, granted): (manyhands_proto::LeaseId, NodeId, Time)| LeaseView {
        unit: lease.unit,
        attempt: lease.attempt,
        node,
        elapsed_ms: now.since(granted),
    };
    job.leases().map(view).collect()
}
