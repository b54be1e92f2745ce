//! The world as stateright sees it: states, choices and what must hold of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use stateright::{Model, Property};

use crate::message::Step;
use crate::world::{Bounds, Breach, World};
use crate::{BOOKS, CALM, ONCE, OWN, SLOT};

/// Steps in which a calm world must be done: hours of its time. Blocks double with each offence, and few happen here.
const CALM_STEPS_MAX: usize = 5_000;

pub struct Space {
    bounds: Arc<Bounds>,
    /// Whether a calm continuation of a state accepts every unit. One continuation soon runs into another's states.
    ends: Mutex<BTreeMap<u64, bool>>,
}

impl Space {
    pub fn new(bounds: Arc<Bounds>) -> Self {
        Self { bounds, ends: Mutex::default() }
    }

    fn ends_well(&self, world: &World) -> bool {
        let (mut world, mut seen) = (world.clone(), Vec::new());
        let ends_well = loop {
            let mark = world.calm_mark();
            if let Some(known) = self.ends.lock().unwrap().get(&mark) {
                break *known;
            }
            seen.push(mark);
            if world.is_done() {
                break true;
            }
            if seen.len() > CALM_STEPS_MAX || !world.calm_step() {
                break false;
            }
        };
        self.ends.lock().unwrap().extend(seen.into_iter().map(|mark| (mark, ends_well)));
        ends_well
    }
}

impl Model for Space {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds)]
    }

    fn actions(&self, state: &World, steps: &mut Vec<Step>) {
        state.steps(steps);
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut next = last.clone();
        next.take(step);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SLOT, |_, world: &World| !world.breaches.contains(&Breach::TwoLeasesInOneSlot)),
            Property::always(ONCE, |_, world: &World| !world.breaches.contains(&Breach::AcceptedTwice)),
            Property::always(OWN, |_, world: &World| !world.breaches.contains(&Breach::AcceptedUnderAnothersLease)),
            Property::always(BOOKS, |_, world: &World| !world.breaches.contains(&Breach::BooksDiffer)),
            Property::always(CALM, |space: &Self, world: &World| space.ends_well(world)),
            Property::sometimes("everything is accepted", |_, world: &World| world.is_done()),
        ]
    }
}
