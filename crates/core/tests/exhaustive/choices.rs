//! What could happen next in a world, and which of it is a choice. Must never leave out a step of which something else could come.

use manyhands_proto::message::{Request, Response};

use crate::message::{Message, Step, Topic};
use crate::world::World;

impl World {
    /// Everything that could happen next. Where a message is [quiet](Self::is_quiet), only its own fate is a choice.
    pub fn steps(&self, steps: &mut Vec<Step>) {
        if self.is_over() {
            return;
        }
        if let Some(message) = self.in_flight.iter().find(|message| self.is_quiet(message)) {
            return self.fates(message, steps);
        }
        self.in_flight.iter().for_each(|message| self.fates(message, steps));
        steps.extend(self.working.iter().map(|(node, lease)| Step::Finish(*node, *lease)));
        steps.extend(self.checking.iter().map(|collected| Step::Check(*collected)));
        steps.extend(self.forlorn().map(|(node, tag)| Step::GiveUp(node, tag)));
        if self.pauses > 0 {
            steps.push(Step::Pause);
        }
    }

    fn fates(&self, message: &Message, steps: &mut Vec<Step>) {
        steps.push(Step::Deliver(message.clone()));
        if self.faults > 0 {
            steps.push(Step::Lose(message.clone()));
            if self.in_flight.is_single(message) {
                steps.push(Step::Double(message.clone()));
            }
        }
    }

    /// Whether a message commutes with all else that can happen, so that it makes no difference what happens before it arrives.
    /// Answers that only set the time of the next question are no longer so if time may pass before them.
    fn is_quiet(&self, message: &Message) -> bool {
        match message {
            Message::Answer { node, tag, response } => match (self.open.get(&(*node, *tag)), response) {
                (None, _) | (Some(Topic::Result), Some(_)) => true,
                (Some(Topic::Bid), Some(Response::Wait { .. })) => self.pauses == 0,
                (Some(Topic::Heartbeat), Some(Response::Ok)) => self.pauses == 0,
                _ => false,
            },
            // It finds nothing to stop, and overtakes nothing.
            Message::Cancel { node, lease, .. } => {
                let is_held = self.nodes[*node].core.leases().any(|(held, _)| held == *lease);
                !is_held && !self.in_flight.iter().any(|other| other.brings() == Some(*lease))
            }
            Message::Ask { gateway, request: Request::Bid(_), .. } => {
                self.pauses == 0 && !self.gateways[*gateway].core.jobs().any(|job| job.is_open())
            }
            Message::Ask { request: Request::Done { lease, .. }, .. } => {
                self.accepted.contains_key(&(lease.job, lease.unit))
            }
            Message::Ask { .. } => false,
        }
    }

    /// Whether all is accepted and no lease is left that anything could come of.
    fn is_over(&self) -> bool {
        let is_alive = |message: &Message| {
            message.brings().is_some() || matches!(message, Message::Ask { request: Request::Done { .. }, .. })
        };
        let is_idle = self.working.is_empty() && self.checking.is_empty();
        self.is_done() && is_idle && !self.in_flight.iter().any(is_alive)
    }

    /// Questions whose answer cannot come any more.
    fn forlorn(&self) -> impl Iterator<Item = (usize, u64)> {
        let is_alive = |(node, tag): (usize, u64)| {
            let is_held = self.asks.values().any(|of| *of == (node, tag));
            is_held || self.in_flight.iter().any(|message| message.is_of(node, tag))
        };
        self.open.keys().copied().filter(move |question| !is_alive(*question))
    }
}
