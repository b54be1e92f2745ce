//! The bids that wait for a unit: an index by class, so that the best waiting node is found without walking through all of them.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::NodeId;

use crate::Time;
use crate::job::ready::Class;
use crate::peers::Origin;
use crate::ranges::Counts;
use crate::requester::AskId;

/// A bid that waits.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) ask: AskId,
    pub(crate) until: Time,
    arrival: u64,
    /// The address range that it counts in.
    range: Option<Origin>,
    places: Vec<(Class, Place)>,
}

/// Where a waiting node stands in the order of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// What it is ordered by: predicted milliseconds, or its arrival.
    pub(crate) rank: u64,
    /// How far its word and its past carry.
    pub(crate) footing: Footing,
}

/// How far a node's word and its past carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Footing {
    /// It has shown that it delivers.
    Trusted,
    /// It has a score, and has not delivered often enough yet.
    Newcomer,
    /// It has no score: it comes after all others.
    Stranger,
}

#[derive(Debug, Clone, Default)]
struct Ranked {
    trusted: BTreeSet<(u64, NodeId)>,
    newcomers: BTreeSet<(u64, NodeId)>,
    strangers: BTreeSet<(u64, NodeId)>,
}

impl Ranked {
    fn side(&mut self, footing: Footing) -> &mut BTreeSet<(u64, NodeId)> {
        match footing {
            Footing::Trusted => &mut self.trusted,
            Footing::Newcomer => &mut self.newcomers,
            Footing::Stranger => &mut self.strangers,
        }
    }
}

/// All bids that wait, at most one for each node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bids {
    by_node: BTreeMap<NodeId, Held>,
    by_class: BTreeMap<Class, Ranked>,
    by_range: Counts,
    arrivals: u64,
}

impl Bids {
    pub(crate) fn len(&self) -> usize {
        self.by_node.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_node.is_empty()
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<&Held> {
        self.by_node.get(node)
    }

    /// Holds a bid, which counts in this range; `place` says where the node stands in a class, if it is able at all.
    pub(crate) fn hold(
        &mut self,
        node: NodeId,
        (ask, until): (AskId, Time),
        range: Option<Origin>,
        place: impl Fn(Class, u64) -> Option<Place>,
    ) {
        self.arrivals += 1;
        self.insert(node, Held { ask, until, arrival: self.arrivals, range, places: Vec::new() }, place);
    }

    /// Bids that count in a range.
    pub(crate) fn in_range(&self, range: &Origin) -> usize {
        self.by_range.of(range)
    }

    /// Whether the bids of each range are as many as are counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.by_node.values().map(|held| held.range).collect::<Counts>() == self.by_range
    }

    /// Orders the bid of a node anew, if one waits; it keeps its arrival. Tells whether one does.
    pub(crate) fn place_again(&mut self, node: &NodeId, place: impl Fn(Class, u64) -> Option<Place>) -> bool {
        let Some(held) = self.remove(node) else { return false };
        self.insert(*node, Held { places: Vec::new(), ..held }, place);
        true
    }

    fn insert(&mut self, node: NodeId, mut held: Held, place: impl Fn(Class, u64) -> Option<Place>) {
        for (class, ranked) in &mut self.by_class {
            if let Some(place) = place(*class, held.arrival) {
                ranked.side(place.footing).insert((place.rank, node));
                held.places.push((*class, place));
            }
        }
        self.by_range.add(held.range);
        self.by_node.insert(node, held);
    }

    pub(crate) fn remove(&mut self, node: &NodeId) -> Option<Held> {
        let held = self.by_node.remove(node)?;
        self.by_range.remove(held.range);
        for (class, place) in &held.places {
            if let Some(ranked) = self.by_class.get_mut(class) {
                ranked.side(place.footing).remove(&(place.rank, *node));
            }
        }
        Some(held)
    }

    /// Orders the waiting nodes for a class, unless they are ordered already.
    pub(crate) fn index(&mut self, class: Class, place: impl Fn(&NodeId, u64) -> Option<Place>) {
        if self.by_class.contains_key(&class) {
            return;
        }
        let mut ranked = Ranked::default();
        for (node, held) in &mut self.by_node {
            if let Some(place) = place(node, held.arrival) {
                ranked.side(place.footing).insert((place.rank, *node));
                held.places.push((class, place));
            }
        }
        self.by_class.insert(class, ranked);
    }

    /// Whether a waiting node is able to do a class of units.
    pub(crate) fn is_able(&self, class: Class, node: &NodeId) -> bool {
        self.by_node.get(node).is_some_and(|held| held.places.iter().any(|(of, _)| *of == class))
    }

    /// The waiting nodes of a class that have a score, best first, each with its score: its rank, worse by `penalty_percent` for a newcomer.
    pub(crate) fn known(&self, class: Class, penalty_percent: u64) -> impl Iterator<Item = (u64, NodeId)> {
        let ranked = self.by_class.get(&class);
        let worse = worse_by(penalty_percent);
        let mut trusted = ranked.into_iter().flat_map(|ranked| ranked.trusted.iter().copied()).peekable();
        let mut newcomers = ranked.into_iter().flat_map(|ranked| ranked.newcomers.iter()).map(worse).peekable();
        std::iter::from_fn(move || match (trusted.peek(), newcomers.peek()) {
            (Some(a), Some(b)) if b.0 < a.0 => newcomers.next(),
            (Some(_), _) => trusted.next(),
            (None, _) => newcomers.next(),
        })
    }

    /// Those without one, likewise.
    pub(crate) fn strangers(&self, class: Class, penalty_percent: u64) -> impl Iterator<Item = (u64, NodeId)> {
        let ranked = self.by_class.get(&class);
        ranked.into_iter().flat_map(|ranked| ranked.strangers.iter()).map(worse_by(penalty_percent))
    }

    /// All of them, strangers last, whatever they say.
    pub(crate) fn all(&self, class: Class, penalty_percent: u64) -> impl Iterator<Item = (u64, NodeId)> {
        self.known(class, penalty_percent).chain(self.strangers(class, penalty_percent))
    }
}

fn worse_by(percent: u64) -> impl Fn(&(u64, NodeId)) -> (u64, NodeId) {
    move |(rank, node)| (rank.saturating_mul(percent.saturating_add(100)) / 100, *node)
}
