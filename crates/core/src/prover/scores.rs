//! The scores that gateways have given this node: which one it shows to whom.

use manyhands_proto::limits::EPOCH_S;
use manyhands_proto::{NodeId, SignedScore};
use manyhands_vbs::CheckedScore;

use crate::Time;

/// Scores kept: a few sizes of each of as many gateways as a node works for. The one that expires first goes.
const KEPT_MAX: usize = 64;

#[derive(Debug, Clone)]
struct Kept {
    signed: SignedScore,
    until: Time,
}

/// What a node can show.
#[derive(Debug, Clone, Default)]
pub(super) struct Scores(Vec<Kept>);

impl Scores {
    /// Keeps what `gateway` says of `me`. A word that another gateway would refuse, and blame us for, is not kept. Returns whether it was.
    pub(super) fn keep(&mut self, now: Time, me: NodeId, signed: &SignedScore, gateway: NodeId) -> bool {
        let score = signed.score;
        if score.peer != me || score.verifier != gateway || CheckedScore::check(signed.clone()).is_err() {
            return false;
        }
        let life_s = score.expires_s.saturating_sub(score.issued_s).min(EPOCH_S);
        self.put(signed.clone(), now.after(life_s.saturating_mul(1000)));
        true
    }

    /// Keeps what was kept before a restart, for `left_ms`.
    pub(super) fn restore(&mut self, now: Time, signed: SignedScore, left_ms: u64) {
        self.put(signed, now.after(left_ms.min(EPOCH_S * 1000)));
    }

    fn put(&mut self, signed: SignedScore, until: Time) {
        let of = |kept: &Kept| (kept.signed.score.verifier, kept.signed.score.po2);
        let kept = Kept { signed, until };
        self.0.retain(|old| of(old) != of(&kept));
        if self.0.len() >= KEPT_MAX {
            let first = self.0.iter().enumerate().min_by_key(|(_, kept)| kept.until).map(|(place, _)| place);
            if let Some(place) = first {
                self.0.remove(place);
            }
        }
        self.0.push(kept);
    }

    /// What to show to `gateway`: its own word, else the largest size, else the newest.
    pub(super) fn for_gateway(&self, now: Time, gateway: &NodeId) -> Option<&SignedScore> {
        let valid = self.0.iter().filter(|kept| now < kept.until).map(|kept| &kept.signed);
        valid.max_by_key(|signed| {
            let score = &signed.score;
            (score.verifier == *gateway, score.po2, score.issued_s)
        })
    }
}
