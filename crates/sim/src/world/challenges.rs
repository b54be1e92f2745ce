//! Challenges and scores in a world that has them, and what they cost.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_core::requester::{AskId, Input};
use manyhands_proto::message::Response;
use manyhands_proto::{BlobRef, JobId, NodeId, Score, encode};
use manyhands_vbs::Told;

use super::{Happening, World, job_number};
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
    pub(super) figures: Scoring,
}

impl Challenges {
    /// The number of a lease's job.
    pub(super) fn number(&self, id: &JobId) -> u32 {
        if self.known.contains(id) { CHALLENGE } else { job_number(id) }
    }

    /// Adds what an honest machine's slot was busy for.
    pub(super) fn busy(&mut self, job: u32, ms: u64) {
        let busy = if job == CHALLENGE { &mut self.figures.challenge_ms } else { &mut self.figures.work_ms };
        *busy = busy.saturating_add(ms);
    }
}

impl World<'_> {
    pub(super) fn challenge(&mut self, gateway: u32, id: JobId) {
        self.challenges.known.insert(id);
        self.challenges.figures.challenges += 1;
        self.later(MAKE_MS, Happening::Challenged { gateway, id });
    }

    pub(super) fn challenged(&mut self, gateway: u32, id: JobId) -> Result<(), String> {
        let blob = BlobRef { reference: segment_reference(CHALLENGE, 0), size_bytes: BLOB_BYTES };
        self.tell_gateway(gateway, Input::Challenged { id, made: Ok((blob, Claim::new(CHALLENGE, 0))) })
    }

    /// A score tells this gateway nothing that it does not know; the others here do not trust it, but hear it.
    pub(super) fn scored(&mut self, ask: Option<AskId>, score: &Score) -> Result<(), String> {
        self.challenges.figures.signed += 1;
        if self.challenges.told.entry(score.verifier).or_default().tells(score) {
            self.challenges.figures.told += 1;
            self.challenges.figures.told_bytes += encode(score).len() as u64 + SIGNATURE_BYTES;
        }
        ask.map_or(Ok(()), |ask| self.reply(ask, Some(Response::Ok)))
    }
}
