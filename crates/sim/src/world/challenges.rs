//! Challenges and scores in a world that has them, and what they cost.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_core::requester::{AskId, Input};
use manyhands_core::scores::Shown;
use manyhands_proto::message::Response;
use manyhands_proto::{BlobRef, JobId, NodeId, Score, encode};
use manyhands_vbs::{Source, Told};

use super::{Happening, World, job_number};
use crate::fleet::{gateway_id, node_id, number_of};
use crate::oracle::{Claim, segment_reference};
use crate::record::Scoring;

/// The job that all challenges are said to be of, where a job is asked for by number.
pub(super) const CHALLENGE: u32 = u32::MAX;

/// Running the pinned guest for one segment and storing it.
const MAKE_MS: u64 = 500;

/// The blob of such a segment: a whole run of the guest at 2^15 (own measurement), which touches no more memory in a longer one.
const BLOB_BYTES: u64 = 51_000;

/// The key and signature of a score, in bytes: with postcard's length of the signature.
const SIGNATURE_BYTES: u64 = 65;

/// What is under way, and what there was.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    /// All that there were: receipts and stops of one that is over may still be on their way.
    known: BTreeSet<JobId>,
    /// What each gateway has told.
    told: BTreeMap<NodeId, Told>,
    /// The newest score of each node, which it shows with its bids, and whether everybody was told of it.
    words: BTreeMap<u32, (Score, bool)>,
    /// When a gateway last looked into a node's.
    looked: BTreeMap<(u32, u32), u64>,
    pub(super) figures: Scoring,
}

/// How long one look at a node is enough, as in the daemon.
const LOOK_AGAIN_MS: u64 = 3_600_000;

impl Challenges {
    /// The number of a lease's job.
    pub(super) fn number(&self, id: &JobId) -> u32 {
        if self.known.contains(id) { CHALLENGE } else { job_number(id) }
    }

    /// Adds what an honest machine's slot was busy for.
    fn busy(&mut self, job: u32, ms: u64) {
        let busy = if job == CHALLENGE { &mut self.figures.challenge_ms } else { &mut self.figures.work_ms };
        *busy = busy.saturating_add(ms);
    }
}

impl World<'_> {
    /// Whether what happens now counts.
    fn is_counted(&self) -> bool {
        self.now_ms >= self.scenario.scoring_from_ms
    }

    /// An honest machine's slot is free, which was busy since then.
    pub(super) fn was_busy(&mut self, job: u32, began_ms: u64) {
        self.challenges.busy(job, self.now_ms.saturating_sub(began_ms.max(self.scenario.scoring_from_ms)));
    }

    /// A node shows its newest score with a bid. If another gateway gave it, this one fetches the receipt and checks it.
    pub(super) fn look_into(&mut self, gateway: u32, node: u32) {
        let (now_ms, me) = (self.now_ms, gateway_id(gateway));
        let Some((word, is_told)) = self.challenges.words.get(&node).filter(|(word, _)| word.verifier != me) else {
            return;
        };
        let last = self.challenges.looked.get(&(gateway, node));
        if word.expires_s * 1000 <= now_ms || last.is_some_and(|last| now_ms < last + LOOK_AGAIN_MS) {
            return;
        }
        let Some(traits) = self.fleet.get(node as usize) else { return };
        let fetch_ms = word.receipt.size_bytes as f64 / traits.up_bytes_per_ms;
        let look_ms = 2 * traits.one_way_ms + fetch_ms as u64 + self.scenario.gateways.check_ms;
        let (score, is_told) = (Box::new(*word), *is_told);
        self.challenges.looked.insert((gateway, node), now_ms);
        self.later(look_ms, Happening::LookedInto { gateway, node, score, is_told });
    }

    /// The receipt was there, and is what the score says.
    pub(super) fn looked_into(&mut self, gateway: u32, node: u32, score: &Score, is_told: bool) -> Result<(), String> {
        if !self.nodes.get(node as usize).is_some_and(|node| node.is_up) {
            return Ok(());
        }
        self.challenges.figures.looked_into += u64::from(self.is_counted());
        if is_told {
            self.challenges.told.entry(gateway_id(gateway)).or_default().believes(score);
        }
        let Some(score) = self.verifier.says(*score) else { return Err(format!("node {node}: {score:?} cannot be")) };
        let shown = Box::new(Shown { score, source: Source::Reverified });
        self.tell_gateway(gateway, Input::Shown { node: node_id(node), shown })
    }

    pub(super) fn challenge(&mut self, gateway: u32, id: JobId) {
        self.challenges.known.insert(id);
        self.challenges.figures.challenges += u64::from(self.is_counted());
        self.later(MAKE_MS, Happening::Challenged { gateway, id });
    }

    pub(super) fn challenged(&mut self, gateway: u32, id: JobId) -> Result<(), String> {
        let blob = BlobRef { reference: segment_reference(CHALLENGE, 0), size_bytes: BLOB_BYTES };
        self.tell_gateway(gateway, Input::Challenged { id, made: Ok((blob, Claim::new(CHALLENGE, 0))) })
    }

    /// A score tells this gateway nothing that it does not know; the others look into it when its node shows it.
    pub(super) fn scored(&mut self, ask: Option<AskId>, score: &Score) -> Result<(), String> {
        let is_counted = self.is_counted();
        self.challenges.figures.signed += u64::from(is_counted);
        let is_told = self.challenges.told.entry(score.verifier).or_default().tells(score);
        self.challenges.words.insert(number_of(&score.peer), (*score, is_told));
        if is_told && is_counted {
            self.challenges.figures.told += 1;
            self.challenges.figures.told_bytes += encode(score).len() as u64 + SIGNATURE_BYTES;
        }
        ask.map_or(Ok(()), |ask| self.reply(ask, Some(Response::Ok)))
    }
}
