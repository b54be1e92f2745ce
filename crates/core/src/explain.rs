//! Why a job's units wait, and what is expected of those under way: the state machine's answer to "why is it not done yet?"
//!
//! Step III seen from outside. It asks the dispatcher's own searches, so it says what is, not what should be; and it changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::unit::UnitKind;
use manyhands_proto::{JobId, NodeId, Po2, Unit};
use serde::{Deserialize, Serialize};

use crate::job::ready::Class;
use crate::job::{Doubt, Entry, Job, LeaseRecord, LeaseStatus, UnitState};
use crate::view::JobView;
use crate::{Priority, ProofSystem, Requester, Sizing, Time};

mod words;

/// Units of a class that are asked about one by one, as many as the dispatcher looks at; the others stand where the last of these does.
const UNITS_ASKED: usize = 64;

/// Leases that are listed. A large job has thousands, and those after them look the same.
pub const LEASES_LISTED: usize = 40;

/// Able nodes that are named for one class of units. More are only counted.
pub const NODES_NAMED: usize = 8;

/// Why a job is as far as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The job.
    pub job: JobId,
    /// `open`, `assembling`, `done` or `failed`. Only an open job has anything that waits.
    pub phase: String,
    /// Milliseconds since it was submitted, or that it took.
    pub elapsed_ms: u64,
    /// Its share of the fleet beside other jobs.
    pub priority: Priority,
    /// Segment size.
    pub po2: Po2,
    /// Why that size, if the gateway chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizing: Option<Sizing>,
    /// How far it is, in a sentence.
    pub now: String,
    /// What happens next, in a sentence.
    pub next: String,
    /// What waits, in groups of one reason.
    pub waits: Vec<Wait>,
    /// Work under way: the first of it, at most [`LEASES_LISTED`].
    pub leases: Vec<Running>,
    /// Leases under way, listed or not.
    pub leases_total: u64,
}

/// Units that wait for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What sort of work.
    pub kind: UnitKind,
    /// Their size.
    pub po2: Po2,
    /// How many.
    pub units: u64,
    /// Whether a node works on each of them already, and they wait for a second one.
    pub copies: bool,
    /// The reason. Where its numbers differ from unit to unit, those of the first.
    pub reason: Reason,
    /// The reason in a sentence.
    pub why: String,
    /// Connected nodes that are able to do them.
    pub able: u64,
    /// Who that is, at most [`NODES_NAMED`].
    pub nodes: Vec<NodeId>,
}

/// Why units wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reason {
    /// Their input is not stored yet.
    Input,
    /// No node is connected.
    NoNode,
    /// No node that may work on the job is connected.
    NotAllowed,
    /// No node that is connected is able to do them.
    NotAble,
    /// Every able node is taken. The numbers say by what.
    Taken {
        /// Nodes with all slots taken.
        busy: u64,
        /// Nodes that rest after a lease that came to nothing, or are blocked.
        barred: u64,
        /// Nodes with a free slot that have not asked for work yet.
        silent: u64,
        /// Milliseconds until the next is predicted to be free; nothing if that cannot be said.
        free_in_ms: Option<u64>,
    },
    /// A node waits that would be done long after the fleet could do everything else.
    TooSlow {
        /// The best node that waits.
        node: NodeId,
        /// Milliseconds from now in which it is predicted to be done, a newcomer's doubt included.
        takes_ms: u64,
        /// Milliseconds from now within which it would have to be done.
        limit_ms: u64,
    },
    /// The node that made their inputs is about to be free.
    Near {
        /// Milliseconds that they wait for it yet, at most.
        left_ms: u64,
    },
    /// As many copies are under way as are allowed beside each other.
    Budget {
        /// Copies under way, of all jobs.
        copies: u64,
        /// How many are allowed now.
        allowed: u64,
    },
    /// No node that waits would be done before the one that works on them.
    NoGain,
    /// The nodes that wait may not have them: they work on them already, or are newcomers and the units have failed before.
    Withheld,
    /// A node waits that suits; they are leased when the fleet is next reckoned.
    Due {
        /// Milliseconds until then.
        in_ms: u64,
    },
}

/// One lease under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The work.
    pub unit: Unit,
    /// Which attempt at it.
    pub attempt: u32,
    /// Who works on it.
    pub node: NodeId,
    /// Milliseconds since it was leased.
    pub elapsed_ms: u64,
    /// Milliseconds that it was predicted to take.
    pub predicted_ms: u64,
    /// Milliseconds until it is expected to be done, by its node's own word where that is later; zero where that has passed.
    pub left_ms: u64,
    /// How it keeps its prediction.
    pub pace: Pace,
    /// Whether an older lease of the same unit is under way.
    pub copy: bool,
}

/// How a lease keeps its prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// In time, but its node has no score yet: another may get the unit beside it.
    OnTrial,
    /// It is within it, or not far beyond.
    InTime,
    /// It is within it, but will be late by its node's own word, or a free node would be done much earlier: its unit may get a copy.
    Overtaken,
    /// It is late: its unit gets a copy.
    Late,
    /// The node is done, and its result is being checked.
    Checking,
}

/// The nodes that are able to do a class of units, and why none of them waits for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crowd {
    pub(crate) able: u64,
    /// The first of them.
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) reason: Reason,
}

/// Units by class, whether they are copies, and the sort of reason; with the first unit's reason.
type Groups = BTreeMap<(Class, bool, u8), (Reason, u64)>;

impl Explanation {
    /// Of a job as it is shown, without what waits and what is under way: all there is to say of one that is not open any more.
    pub fn of_view(view: &JobView) -> Self {
        let (now, next) = words::of_phase(view);
        Self {
            job: view.job,
            phase: view.phase.clone(),
            elapsed_ms: view.elapsed_ms,
            priority: view.priority,
            po2: view.po2,
            sizing: view.sizing.clone(),
            now,
            next,
            waits: Vec::new(),
            leases: Vec::new(),
            leases_total: 0,
        }
    }
}

impl<P: ProofSystem> Requester<P> {
    /// Why a job is as far as it is; nothing if there is no such job. Walks the job's units and, once for each class, the nodes.
    pub fn explain(&self, now: Time, job: &JobId) -> Option<Explanation> {
        let mut said = Explanation::of_view(&self.view_job(now, job)?);
        let job = self.job(job)?;
        if job.is_open() {
            said.waits = self.waits(now, job);
            said.leases = job.running_leases(now);
            said.leases_total = said.leases.len() as u64;
            if !job.spec.is_auto {
                said.next = words::next(job.spec.outcome, job.execution.is_none(), &said.waits, &said.leases);
            }
            said.leases.truncate(LEASES_LISTED);
        }
        Some(said)
    }

    fn waits(&self, now: Time, job: &Job<P>) -> Vec<Wait> {
        let mut groups = Groups::new();
        for (unit, entry) in job.ledger.iter().filter(|(_, entry)| entry.state() == UnitState::Waiting) {
            count(&mut groups, ((unit.kind(), entry.po2), false), Reason::Input, 1);
        }
        let wanted = job.ready.counts().map(|(class, _)| class);
        let unstored = groups.keys().map(|(class, ..)| *class);
        let classes: BTreeSet<Class> = wanted.chain(unstored).collect();
        let crowds: BTreeMap<Class, Crowd> =
            classes.into_iter().map(|class| (class, self.crowd(now, &job.id, class))).collect();
        for (class, crowd) in &crowds {
            self.ask_all(now, job, (*class, false), job.ready.needed(*class), crowd.reason, &mut groups);
            self.ask_all(now, job, (*class, true), job.ready.copies(*class), crowd.reason, &mut groups);
        }
        let wait = |(((kind, po2), copies, _), (reason, units)): ((Class, bool, u8), (Reason, u64))| {
            let crowd = crowds.get(&(kind, po2));
            let why = words::why(reason, || self.offers_text());
            let (able, nodes) = crowd.map(|crowd| (crowd.able, crowd.nodes.clone())).unwrap_or_default();
            Wait { kind, po2, units, copies, reason, why, able, nodes }
        };
        groups.into_iter().map(wait).collect()
    }

    /// Counts the units of one class by their reasons. `nobody` is the reason of those that nobody waits for.
    fn ask_all(
        &self,
        now: Time,
        job: &Job<P>,
        (class, is_copy): (Class, bool),
        units: impl Iterator<Item = Unit>,
        nobody: Reason,
        groups: &mut Groups,
    ) {
        let mut last = nobody;
        for (place, unit) in units.enumerate() {
            if place < UNITS_ASKED {
                last = self.standing(now, job, class, unit, is_copy).unwrap_or(nobody);
            }
            count(groups, (class, is_copy), last, 1);
        }
    }
}

fn count(groups: &mut Groups, (class, is_copy): (Class, bool), reason: Reason, units: u64) {
    groups.entry((class, is_copy, words::rank(reason))).or_insert((reason, 0)).1 += units;
}

impl<P: ProofSystem> Job<P> {
    fn running_leases(&self, now: Time) -> Vec<Running> {
        let running = |unit: Unit, (place, (attempt, lease)): (usize, (u32, &LeaseRecord))| Running {
            unit,
            attempt,
            node: lease.node,
            elapsed_ms: now.since(lease.granted),
            predicted_ms: lease.predicted_ms,
            left_ms: lease.end().since(now),
            pace: pace(lease),
            copy: place > 0,
        };
        let of = |unit: &Unit, entry: &Entry<P>| {
            entry.live().enumerate().map(|lease| running(*unit, lease)).collect::<Vec<_>>()
        };
        self.ledger.iter().flat_map(|(unit, entry)| of(unit, entry)).collect()
    }
}

fn pace(lease: &LeaseRecord) -> Pace {
    match (&lease.status, lease.doubt) {
        (LeaseStatus::Checking { .. }, _) => Pace::Checking,
        (_, Some(Doubt::Untried)) => Pace::OnTrial,
        (_, Some(Doubt::Late)) => Pace::Late,
        (_, Some(Doubt::Slower)) => Pace::Overtaken,
        (_, None) => Pace::InTime,
    }
}
