//! Which scores the whole network is told of.

use std::collections::BTreeMap;

use manyhands_proto::limits::EPOCH_S;
use manyhands_proto::{NodeId, Po2, Score};

/// A peer's score is told when the last one that was told is this old: half of what it counts for, so that there is always a valid one, and
/// the gossip stays small.
pub const TELL_AGAIN_S: u64 = EPOCH_S / 2;

/// Peers remembered. Beyond it all are forgotten, which costs one more telling of each.
const PEERS_MAX: usize = 60_000;

/// What the network has been told of nodes, as far as one verifier knows.
#[derive(Debug, Clone, Default)]
pub struct Told(BTreeMap<NodeId, (Po2, u64)>);

impl Told {
    /// Whether this score is to be told, which it then counts as.
    pub fn tells(&mut self, score: &Score) -> bool {
        let is_old =
            |(po2, at_s): &(Po2, u64)| *po2 < score.po2 || score.issued_s.saturating_sub(*at_s) >= TELL_AGAIN_S;
        let is_told = self.0.get(&score.peer).is_none_or(is_old);
        if is_told {
            self.note(score);
        }
        is_told
    }

    /// Another verifier's word that the network was told of and that is believed here: while it is fresh nobody needs ours on the same. If any
    /// word would do, liars could silence others with words that nobody heeds.
    pub fn believes(&mut self, score: &Score) {
        if self.0.get(&score.peer).is_none_or(|known| *known < (score.po2, score.issued_s)) {
            self.note(score);
        }
    }

    fn note(&mut self, score: &Score) {
        if self.0.len() >= PEERS_MAX {
            self.0.clear();
        }
        self.0.insert(score.peer, (score.po2, score.issued_s));
    }
}
