//! Which units could be leased now, grouped by what a node must be able to do: an index into the ledger, and nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use manyhands_proto::unit::UnitKind;
use manyhands_proto::{Po2, Unit};

/// Units that the same nodes are able to do, in the same time.
pub(crate) type Class = (UnitKind, Po2);

/// The index.
#[derive(Debug, Default)]
pub(crate) struct ReadyIndex(BTreeMap<Class, BTreeSet<Unit>>);

impl ReadyIndex {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert(&mut self, class: Class, unit: Unit) {
        self.0.entry(class).or_default().insert(unit);
    }

    pub(crate) fn remove(&mut self, class: Class, unit: Unit) {
        if let Some(units) = self.0.get_mut(&class) {
            units.remove(&unit);
            if units.is_empty() {
                self.0.remove(&class);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The classes that have units, in the order in which they are leased: proofs, lifts, joins, small ones first.
    pub(crate) fn classes(&self) -> impl Iterator<Item = Class> {
        self.0.keys().copied()
    }

    /// The first unit of a class that comes after `unit`.
    pub(crate) fn after(&self, class: Class, unit: Option<Unit>) -> Option<Unit> {
        let units = self.0.get(&class)?;
        let Some(unit) = unit else { return units.first().copied() };
        units.range((Excluded(unit), Unbounded)).next().copied()
    }

    /// Every unit.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Class, Unit)> {
        self.0.iter().flat_map(|(class, units)| units.iter().map(|unit| (*class, *unit)))
    }
}
