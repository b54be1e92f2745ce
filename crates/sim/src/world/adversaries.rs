//! Adversaries that need more than a role: many identities on one machine, and false words of a verifier that every gateway has named.

use std::collections::{BTreeMap, VecDeque};

use ed25519_dalek::{Signer as _, SigningKey};
use manyhands_core::scores::Shown;
use manyhands_proto::limits::EPOCH_S;
use manyhands_proto::score::Work;
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{Binding, BlobRef, NodeId, Score, Seed, Unit};
use manyhands_vbs::{CheckedScore, Source, sign};

use super::{Happening, World};
use crate::figures::receipt_bytes;
use crate::fleet::{machine_of, node_id};
use crate::oracle::segment_reference;

/// Work that waits for the one machine of many identities; the first is under way. It works at its full speed on one after the other,
/// which brings more of them in time than working on all at once would.
#[derive(Debug, Default)]
pub(super) struct Machines(BTreeMap<u32, VecDeque<Turn>>);

#[derive(Debug, Clone, Copy)]
struct Turn {
    node: u32,
    stamp: u64,
    takes_ms: u64,
}

/// A verifier whose word a gateway gets to see: another gateway here, or one that says what villains want.
#[derive(Debug)]
pub(super) struct Verifier(SigningKey);

impl Default for Verifier {
    fn default() -> Self {
        Self(SigningKey::from_bytes(&[0xfe; 32]))
    }
}

impl Verifier {
    /// Signs a statement as its own. Nothing if it is none that an honest verifier makes.
    pub(super) fn says(&self, score: Score) -> Option<CheckedScore> {
        let score = Score { verifier: NodeId(self.0.verifying_key().to_bytes()), ..score };
        CheckedScore::check(sign(score, |bytes| self.0.sign(bytes).to_bytes())).ok()
    }
}

impl World<'_> {
    /// Lets the work of an identity begin as soon as its machine is free.
    pub(super) fn queue_work(&mut self, node: u32, stamp: u64, takes_ms: u64) {
        let queue = self.machines.0.entry(machine_of(self.scenario, node)).or_default();
        queue.push_back(Turn { node, stamp, takes_ms });
        if queue.len() == 1 {
            self.later(takes_ms, Happening::WorkEnds { node, stamp });
        }
    }

    /// A task of an identity is over or stopped: its machine goes on with what is next.
    pub(super) fn unqueue_work(&mut self, node: u32, stamp: u64) {
        let Some(queue) = self.machines.0.get_mut(&machine_of(self.scenario, node)) else { return };
        let was_first = queue.front().is_some_and(|turn| turn.stamp == stamp);
        queue.retain(|turn| turn.stamp != stamp);
        if let Some(next) = queue.front().copied().filter(|_| was_first) {
            self.later(next.takes_ms, Happening::WorkEnds { node: next.node, stamp: next.stamp });
        }
    }

    /// What a villain shows with its bid: a word of the named verifier as fresh as can be, on a proof that never was.
    pub(super) fn shown(&self, node: u32) -> Option<Box<Shown>> {
        let traits =
            self.fleet.get(node as usize).filter(|traits| self.scenario.villains.vouched && traits.is_villain())?;
        let po2 = traits.po2_max;
        let took_ms = traits.unit_ms(UnitKind::Prove, po2) / self.scenario.villains.boast;
        // The gateways' world begins in 1970.
        let issued_s = self.now_ms / 1000;
        let score = Score {
            peer: node_id(node),
            verifier: node_id(node),
            po2,
            elapsed_ms: (took_ms as u64).max(1),
            receipt: BlobRef { reference: segment_reference(node, 0), size_bytes: receipt_bytes(Unit::Prove(0), po2) },
            work: Work::Job,
            index: 0,
            binding: Binding { seed: Seed::default(), epoch: Binding::epoch_at(issued_s) },
            issued_s,
            expires_s: issued_s + EPOCH_S,
        };
        Some(Box::new(Shown { score: self.verifier.says(score)?, source: Source::Named }))
    }
}
