//! The gateways that a node knows, and which of them to ask for work next.

use std::collections::BTreeMap;

use manyhands_proto::NodeId;
use manyhands_proto::message::Holder;

use crate::Time;
use crate::time::Earliest;

/// Gateways remembered. A node works for few at a time; the bound keeps a flood of notices from filling its memory.
const GATEWAYS_MAX: usize = 256;

/// A gateway that was not heard of for this long is forgotten, unless the owner configured it: an hour covers a restart.
const FORGET_MS: u64 = 3_600_000;

/// First pause after a gateway did not answer; doubles up to [`PAUSE_MS_MAX`].
const PAUSE_MS: u64 = 500;

/// The longest pause between two attempts to reach a gateway.
const PAUSE_MS_MAX: u64 = 60_000;

#[derive(Debug, Clone)]
struct Gateway {
    holder: Holder,
    configured: bool,
    heard: Time,
    ask_at: Time,
    /// It refused this node until then; its notices change nothing about that.
    refused_until: Time,
    failures: u32,
    greeted: bool,
}

/// The book of gateways.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gateways {
    known: BTreeMap<NodeId, Gateway>,
    /// The gateway asked last, so that several take turns.
    last: Option<NodeId>,
}

impl Gateways {
    /// Notes a gateway with work, or one that the owner configured. Asks it as soon as a slot is free.
    pub(crate) fn learn(&mut self, now: Time, holder: Holder, configured: bool) {
        self.known.retain(|_, gateway| gateway.configured || now.since(gateway.heard) < FORGET_MS);
        let is_full = self.known.len() >= GATEWAYS_MAX;
        if let Some(gateway) = self.known.get_mut(&holder.node) {
            // A gateway that does not know yet where it listens must not take its configured address away.
            if !holder.addresses.is_empty() {
                gateway.holder = holder;
            }
            gateway.configured |= configured;
            gateway.heard = now;
            gateway.ask_at = now.max(gateway.refused_until);
        } else if configured || !is_full {
            let node = holder.node;
            let gateway = Gateway {
                holder,
                configured,
                heard: now,
                ask_at: now,
                refused_until: now,
                failures: 0,
                greeted: false,
            };
            self.known.insert(node, gateway);
        }
    }

    /// The next gateway to ask at `now`, taking turns.
    pub(crate) fn next(&mut self, now: Time) -> Option<NodeId> {
        let due = |(_, gateway): &(&NodeId, &Gateway)| gateway.ask_at <= now;
        let after_last = self.last.and_then(|last| {
            use std::ops::Bound::{Excluded, Unbounded};
            self.known.range((Excluded(last), Unbounded)).find(due).map(|(node, _)| *node)
        });
        let next = after_last.or_else(|| self.known.iter().find(due).map(|(node, _)| *node))?;
        self.last = Some(next);
        Some(next)
    }

    /// Whether `node` was not greeted since its connection began; notes that it is now.
    pub(crate) fn greet(&mut self, node: &NodeId) -> bool {
        self.known.get_mut(node).is_some_and(|gateway| !std::mem::replace(&mut gateway.greeted, true))
    }

    /// Where a gateway can be dialled.
    pub(crate) fn holder(&self, node: &NodeId) -> Option<Holder> {
        self.known.get(node).map(|gateway| gateway.holder.clone())
    }

    /// The gateway answered: ask it again after `retry_ms`.
    pub(crate) fn answered(&mut self, now: Time, node: &NodeId, retry_ms: u64) {
        if let Some(gateway) = self.known.get_mut(node) {
            gateway.heard = now;
            gateway.failures = 0;
            gateway.ask_at = now.after(retry_ms);
        }
    }

    /// The gateway wants nothing of this node for `retry_ms`, whatever it announces.
    pub(crate) fn refused(&mut self, now: Time, node: &NodeId, retry_ms: u64) {
        self.answered(now, node, retry_ms);
        if let Some(gateway) = self.known.get_mut(node) {
            gateway.refused_until = now.after(retry_ms);
        }
    }

    /// The gateway could not be reached, or nothing came of its lease: ask again after a pause that doubles.
    pub(crate) fn failed(&mut self, now: Time, node: &NodeId) {
        if let Some(gateway) = self.known.get_mut(node) {
            let pause = PAUSE_MS.saturating_mul(1 << gateway.failures.min(16)).min(PAUSE_MS_MAX);
            gateway.failures = gateway.failures.saturating_add(1);
            gateway.greeted = false;
            gateway.ask_at = now.after(pause);
        }
    }

    pub(crate) fn wake(&self, earliest: &mut Earliest) {
        self.known.values().for_each(|gateway| earliest.add(gateway.ask_at, "a gateway to ask"));
    }
}
