//! The scoreboard: the newest score of each peer, size and verifier, bounded whatever strangers send.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_proto::{NodeId, Po2};

use crate::{CheckedScore, Source, Trust};

/// How many scores are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of all verifiers together. Usually 60,000, four of each of the paper's 15,000 nodes: some 300 bytes each, so 20 MB.
    pub all: usize,
    /// Of one stranger. Usually 15,000: what a verifier signs that the whole of the paper's network works for. Keys cost nothing, so this
    /// bounds what one key does, and [`Self::all`] what many do.
    pub per_stranger: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { all: 60_000, per_stranger: 15_000 }
    }
}

type Key = (NodeId, Po2, NodeId);

/// The scoreboard.
#[derive(Debug, Clone, Default)]
pub struct Board {
    trust: Trust,
    bounds: Bounds,
    scores: BTreeMap<Key, CheckedScore>,
    /// The same by whose word it is: believed ones last, then by when they expire. The first is the first to go.
    order: BTreeSet<(bool, u64, Key)>,
    by_verifier: BTreeMap<NodeId, usize>,
}

impl Board {
    /// An empty one of somebody who believes as `trust` says.
    pub fn new(trust: Trust) -> Self {
        Self::within(trust, Bounds::default())
    }

    /// The same within other bounds than the usual ones.
    pub fn within(trust: Trust, bounds: Bounds) -> Self {
        Self { trust, bounds, ..Self::default() }
    }

    /// Takes a score in, if it counts at `unix_s` and is newer than what is there. Returns whether it did.
    pub fn add(&mut self, unix_s: u64, checked: CheckedScore) -> bool {
        let score = *checked.score();
        let key = (score.peer, score.po2, score.verifier);
        let is_news = self.scores.get(&key).is_none_or(|old| old.score().issued_s < score.issued_s);
        if !is_news || !score.is_valid_at(unix_s) {
            return false;
        }
        self.remove(&key);
        self.expire(unix_s);
        let is_believed = self.is_believed(&score.verifier);
        if !is_believed && self.count(&score.verifier) >= self.bounds.per_stranger {
            return false;
        }
        if self.scores.len() >= self.bounds.all {
            // A stranger's word makes room for a believed one, and for another stranger's that lasts longer.
            let first = self.order.first().copied();
            let Some((_, _, loser)) = first.filter(|first| *first < (is_believed, score.expires_s, key)) else {
                return false;
            };
            self.remove(&loser);
        }
        self.order.insert((is_believed, score.expires_s, key));
        let count = self.by_verifier.entry(score.verifier).or_default();
        *count = count.saturating_add(1);
        self.scores.insert(key, checked);
        true
    }

    /// Takes back what this process itself said of a peer: it did not keep its promise since.
    pub fn suspend(&mut self, peer: &NodeId, verifier: &NodeId) {
        let of: Vec<Key> = self.of(peer).filter(|kept| kept.score().verifier == *verifier).map(key_of).collect();
        of.iter().for_each(|key| self.remove(key));
    }

    /// Drops what counts no more.
    pub fn expire(&mut self, unix_s: u64) {
        for is_believed in [false, true] {
            loop {
                let first = (is_believed, 0, (NodeId::default(), Po2::MIN, NodeId::default()));
                let mut of = self.order.range(first..);
                let Some((_, _, key)) = of.next().filter(|(of, at, _)| *of == is_believed && *at <= unix_s).copied()
                else {
                    break;
                };
                self.remove(&key);
            }
        }
    }

    /// All scores, by peer, size and verifier.
    pub fn iter(&self) -> impl Iterator<Item = &CheckedScore> {
        self.scores.values()
    }

    /// The scores of one peer.
    pub fn of(&self, peer: &NodeId) -> impl Iterator<Item = &CheckedScore> {
        let peer = *peer;
        self.scores
            .range((peer, Po2::MIN, NodeId::default())..)
            .take_while(move |(key, _)| key.0 == peer)
            .map(|(_, kept)| kept)
    }

    /// Whether exactly this score is kept.
    pub fn holds(&self, checked: &CheckedScore) -> bool {
        self.scores.get(&key_of(checked)) == Some(checked)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Whose word counts.
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    fn is_believed(&self, verifier: &NodeId) -> bool {
        self.trust.source(verifier) != Source::Stranger
    }

    fn count(&self, verifier: &NodeId) -> usize {
        self.by_verifier.get(verifier).copied().unwrap_or(0)
    }

    fn remove(&mut self, key: &Key) {
        let Some(kept) = self.scores.remove(key) else { return };
        self.order.remove(&(self.is_believed(&key.2), kept.score().expires_s, *key));
        if let Some(count) = self.by_verifier.get_mut(&key.2) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_verifier.remove(&key.2);
            }
        }
    }
}

fn key_of(checked: &CheckedScore) -> Key {
    let score = checked.score();
    (score.peer, score.po2, score.verifier)
}
