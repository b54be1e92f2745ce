//! Which units could be leased now, grouped by what a node must be able to do: an index into the ledger, and nothing more.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::unit::UnitKind;
use manyhands_proto::{Po2, Unit};

/// Units that the same nodes are able to do, in the same time.
pub(crate) type Class = (UnitKind, Po2);

/// Why a unit wants a lease, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Its last lease came to nothing, and it is behind all others.
    Again,
    /// Nobody has had it yet.
    First,
    /// It is leased, and another node may be done sooner. A copy must be within the budget.
    Copy,
    /// It is leased to strangers only, on trial: a node with a score may do it beside them if nothing else waits.
    Tried,
}

/// The index.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadyIndex {
    needed: BTreeMap<Class, BTreeSet<(Need, Unit)>>,
    copies: BTreeMap<Class, BTreeSet<Unit>>,
    tried: BTreeMap<Class, BTreeSet<Unit>>,
    count: usize,
}

impl ReadyIndex {
    /// Whether no unit waits that nobody works on.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Units that wait and nobody works on.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether any unit wants a copy.
    pub(crate) fn wants_copies(&self) -> bool {
        !self.copies.is_empty()
    }

    fn beside(&mut self, need: Need) -> Option<&mut BTreeMap<Class, BTreeSet<Unit>>> {
        match need {
            Need::Copy => Some(&mut self.copies),
            Need::Tried => Some(&mut self.tried),
            Need::Again | Need::First => None,
        }
    }

    pub(crate) fn insert(&mut self, class: Class, need: Need, unit: Unit) {
        if let Some(beside) = self.beside(need) {
            beside.entry(class).or_default().insert(unit);
        } else if self.needed.entry(class).or_default().insert((need, unit)) {
            self.count += 1;
        }
    }

    pub(crate) fn remove(&mut self, class: Class, need: Need, unit: Unit) {
        if let Some(beside) = self.beside(need) {
            if let Some(units) = beside.get_mut(&class) {
                units.remove(&unit);
                if units.is_empty() {
                    beside.remove(&class);
                }
            }
        } else if let Some(units) = self.needed.get_mut(&class) {
            self.count = self.count.saturating_sub(usize::from(units.remove(&(need, unit))));
            if units.is_empty() {
                self.needed.remove(&class);
            }
        }
    }

    /// The classes of units that nobody works on, in the order in which they are leased: keccak proofs, which take longest and wait for
    /// nothing; proofs, lifts, joins; small ones first.
    pub(crate) fn classes(&self) -> impl Iterator<Item = Class> {
        let of =
            |is_keccak| self.needed.keys().copied().filter(move |(kind, _)| (*kind == UnitKind::Keccak) == is_keccak);
        of(true).chain(of(false))
    }

    /// Classes with a number of units that nobody works on, or that want a copy.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Class, usize)> {
        let needed = self.needed.iter().map(|(class, units)| (*class, units.len()));
        needed.chain(self.copies.iter().map(|(class, units)| (*class, units.len())))
    }

    /// The classes of units that want a copy.
    pub(crate) fn copy_classes(&self) -> impl Iterator<Item = Class> {
        self.copies.keys().copied()
    }

    /// The classes of units that only strangers work on.
    pub(crate) fn tried_classes(&self) -> impl Iterator<Item = Class> {
        self.tried.keys().copied()
    }

    /// The units of a class that nobody works on, most urgent first.
    pub(crate) fn needed(&self, class: Class) -> impl Iterator<Item = Unit> {
        self.needed.get(&class).into_iter().flatten().map(|(_, unit)| *unit)
    }

    /// The units of a class that want a copy.
    pub(crate) fn copies(&self, class: Class) -> impl Iterator<Item = Unit> {
        self.copies.get(&class).into_iter().flatten().copied()
    }

    /// The units of a class that only strangers work on.
    pub(crate) fn tried(&self, class: Class) -> impl Iterator<Item = Unit> {
        self.tried.get(&class).into_iter().flatten().copied()
    }

    /// Everything, as it is listed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Class, Need, Unit)> {
        let needed =
            self.needed.iter().flat_map(|(class, units)| units.iter().map(|(need, unit)| (*class, *need, *unit)));
        let beside = [(Need::Copy, &self.copies), (Need::Tried, &self.tried)].into_iter().flat_map(|(need, of)| {
            of.iter().flat_map(move |(class, units)| units.iter().map(move |unit| (*class, need, *unit)))
        });
        needed.chain(beside)
    }
}
