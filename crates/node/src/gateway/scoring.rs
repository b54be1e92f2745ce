//! Scores at the gateway: what it signs, and what of others' words it lets count. Serves steps III and IV.

use std::cmp::Reverse;
use std::time::Duration;

use manyhands_api::types::{KnownScore, Problem, SCORES_SHOWN_MAX, Scores};
use manyhands_blob::ChunkStore;
use manyhands_core::requester::{AskId, Input};
use manyhands_core::scores::Shown;
use manyhands_proto::limits::RECEIPT_BYTES_MAX;
use manyhands_proto::message::{Blame, Holder, Response};
use manyhands_proto::{BlobRef, JobId, NodeId, Po2, Reference, Score, Seed, SignedScore};
use manyhands_vbs::{CheckedScore, Source, sign};
use manyhands_zkvm::{Claim, verify_scored};

use super::owners::{owner_of, scored};
use super::shell::Shell;
use super::tasks::Tasks;
use crate::benchmark;
use crate::clock::unix_s;
use crate::scores::Scoreboard;

impl Shell {
    /// Signs a score, keeps it, tells the network of it if that has not heard of the node for long, and gives it to the node.
    pub(super) fn score(&mut self, ask: Option<AskId>, score: Score) {
        let signed = sign(score, |bytes| self.identity.sign(bytes));
        match CheckedScore::check(signed.clone()) {
            Ok(checked) => _ = self.scores.add(checked),
            Err(error) => tracing::error!(%error, "a score of our own is outside the protocol"),
        }
        if self.told.tells(&score) {
            let (net, signed) = (self.tasks.net.clone(), signed.clone());
            tokio::spawn(async move {
                // With nobody there to hear it, the node itself shows it to whom it bids.
                if let Err(error) = net.publish_score(&signed).await {
                    tracing::debug!(%error, "a score is not told");
                }
            });
        }
        if let Some(reply) = ask.and_then(|ask| self.asks.remove(&ask)) {
            reply.send(Response::Scored(Box::new(signed)));
        }
    }

    /// Has a stranger's word on a node checked, one for each node: whether there is the proof that it speaks of.
    fn look_into(&mut self, node: NodeId, score: &CheckedScore) {
        if self.looked_into.len() < LOOKED_INTO_MAX && self.looked_into.insert(node) {
            tokio::spawn(self.tasks.clone().reverify(node, score.clone()));
        }
    }

    /// Another's word is believed. If the network has heard it, ours on the same is none too much.
    pub(super) fn believes(&mut self, score: &CheckedScore) {
        if self.scores.holds(score) {
            self.told.believes(score.score());
        }
    }

    /// What a score counts for that a node shows in its bid. One that no honest node shows is held against it.
    pub(super) fn shown(&mut self, node: NodeId, signed: SignedScore) -> Option<Shown> {
        match self.scores.shown(signed, node) {
            Ok(Some(shown)) => {
                match shown.source {
                    Source::Stranger => self.look_into(node, &shown.score),
                    Source::Named => self.believes(&shown.score),
                    Source::Own | Source::Reverified => {}
                }
                Some(shown)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(node = %node, %error, "misbehaved");
                self.core.handle(self.clock.now(), Input::Misbehaved { node, reason: error.to_string() });
                None
            }
        }
    }
}

/// Nodes that a stranger's word is looked into of, before those that were are forgotten: a node shows one with each bid, and need not give the
/// receipt. As many as the paper's largest network has; each costs 221 kB and 20 ms (own measurement), all of them in an hour 1 MB/s and a
/// tenth of a core.
const LOOKED_INTO_MAX: usize = 16_384;

/// How long one look at a node is enough, and nothing more is looked into when there were so many.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(3_600);

/// How long the segment of a challenge may take to make: a second at the largest size, and no other is made meanwhile.
const MAKE_TIME: Duration = Duration::from_secs(60);

impl Tasks {
    /// Fetches the proof that a node shows a stranger's word on, and checks it. What holds counts for a lease; what does not is the node's
    /// fault, who showed it.
    async fn reverify(self, node: NodeId, score: CheckedScore) {
        let blob = score.score().receipt;
        let bytes = match self.fetch_scored(node, blob).await {
            Ok(bytes) => bytes,
            Err(why) => return tracing::debug!(node = %node.short(), why, "a stranger's word on it cannot be checked"),
        };
        let Ok(_turn) = self.checks.acquire().await else { return };
        let said = *score.score();
        let checked = tokio::task::spawn_blocking(move || verify_scored(&bytes, &said, None)).await;
        let input = match checked {
            Ok(Ok(())) => Input::Shown { node, shown: Box::new(Shown { score, source: Source::Reverified }) },
            Ok(Err(rejection)) if rejection.blame() == Blame::Peer => {
                Input::Misbehaved { node, reason: format!("it shows a score without the proof of it: {rejection}") }
            }
            Ok(Err(_)) | Err(_) => return,
        };
        self.tell(input).await;
    }

    /// A node's receipt, which is let go to the cache at once.
    async fn fetch_scored(&self, node: NodeId, blob: BlobRef) -> Result<Vec<u8>, String> {
        let Some(_turn) = self.fetches.take(node).await else { return Err("the gateway stops".to_owned()) };
        let owner = scored();
        let fetched = self.providers.fetch(&owner, blob, &[Holder { node, addresses: Vec::new() }]).await;
        fetched.map_err(|error| error.to_string())?;
        let read = self.on_store(move |store| {
            let bytes = store.read_blob(&blob, RECEIPT_BYTES_MAX);
            store.release_to_cache(&owner, &blob.reference)?;
            bytes
        });
        read.await.map_err(|error| error.to_string())
    }

    /// Makes and stores the segment of a challenge.
    pub(super) async fn challenge(self, id: JobId, po2: Po2, seed: Seed) {
        let made = self.make_challenge(id, po2, seed).await;
        if let Err(reason) = &made {
            tracing::warn!(%po2, reason, "the segment of a challenge could not be made");
        }
        self.tell(Input::Challenged { id, made }).await;
    }

    async fn make_challenge(&self, id: JobId, po2: Po2, seed: Seed) -> Result<(BlobRef, Claim), String> {
        let made = tokio::time::timeout(MAKE_TIME, benchmark::segment(&self.worker, po2, seed)).await;
        let segment = made.map_err(|_| format!("it was not there within {} s", MAKE_TIME.as_secs()))??;
        let claim = Claim::decode(&segment.claim).map_err(|error| error.to_string())?;
        let blob = self.keep(owner_of(id), segment.blob.into_vec()).await.map_err(|error| error.to_string())?;
        self.shelve(blob).await.map_err(|why| format!("it could not be uploaded: {why}"))?;
        Ok((blob, claim))
    }
}

/// What is known of nodes, best known first.
pub(super) fn shown(board: &Scoreboard) -> Scores {
    let (now, mut all) = (unix_s(), board.list());
    let total = all.len() as u64;
    all.sort_by_key(|(known, source)| (*source, Reverse(known.score().issued_s)));
    let known = |(known, source): (CheckedScore, Source)| KnownScore {
        source,
        cycles_per_s: known.score().cycles_per_s(),
        expires_in_s: known.score().expires_s.saturating_sub(now),
        signed: known.signed().clone(),
    };
    Scores { scores: all.into_iter().take(SCORES_SHOWN_MAX).map(known).collect(), total }
}

impl Tasks {
    /// The receipt that a score on the board is of: out of our own store, or from the node that made it.
    pub(super) async fn scored_receipt(&self, board: &Scoreboard, receipt: Reference) -> Result<Vec<u8>, Problem> {
        let known =
            board.of_receipt(&receipt).ok_or_else(|| Problem::not_found("no score that counts is of this receipt"))?;
        let (blob, peer) = (known.receipt, known.peer);
        let read = move |store: &ChunkStore| store.read_blob(&blob, RECEIPT_BYTES_MAX);
        if let Ok(bytes) = self.on_store(read).await {
            return Ok(bytes);
        }
        self.fetch_scored(peer, blob).await.map_err(|why| {
            let message = format!("the receipt cannot be had from {}, who made it: {why}", peer.short());
            Problem::not_found(message)
        })
    }
}
