//! Job notices and benchmark scores: gossip on two topics, checked before it is handed on.
//!
//! libp2p checks the signature. This module checks that a message is in the protocol and speaks for its signer, and how often
//! somebody may speak. What is outside the protocol is laid on the peer that handed it on, since honest nodes check first.

use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, IdentityTransform, Message, MessageAcceptance, MessageAuthenticity, MessageId,
    PeerScoreParams, PeerScoreThresholds, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use manyhands_proto::limits::{NOTICE_BYTES_MAX, SCORE_BYTES_MAX};
use manyhands_proto::message::{JobNotice, NOTICE_TOPIC};
use manyhands_proto::score::SCORE_TOPIC;
use manyhands_proto::{NodeId, SignedScore, decode};
use sha2::{Digest as _, Sha256};

use crate::address::node_of;
use crate::config::PEERS_MAX;
use crate::rate::Buckets;
use crate::{NetLimits, Offence};

/// What is gossiped about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Notices,
    Scores,
}

impl Topic {
    const ALL: [Self; 2] = [Self::Notices, Self::Scores];

    pub(crate) fn ident(self) -> IdentTopic {
        IdentTopic::new(match self {
            Self::Notices => NOTICE_TOPIC,
            Self::Scores => SCORE_TOPIC,
        })
    }
}

/// Gossip with our own filter: nobody makes us keep subscriptions to other topics.
pub(crate) type Behaviour = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// One gossip frame, in bytes: a notice is at most 1 KiB and its signature, author and topic are some 200 bytes; the rest is room
/// for the mesh's own messages.
const FRAME_BYTES_MAX: usize = 8 * 1024;
/// For how long a notice with the same author and content is taken for the same. A gateway that repeats a notice more often is
/// not heard.
const DUPLICATE_TIME: Duration = Duration::from_secs(30);
/// Notices that may come at once above the rate.
const NOTICE_BURST: u32 = 10;
/// Scores that may come at once above the rate: a job that ends scores many nodes within seconds.
const SCORE_BURST: u32 = 100;
/// Scores that are heard each second from all neighbours together, and how many at once above that. Each costs a check of its
/// signature, some 60 µs (measured), so that no number of neighbours takes more than a hundredth of a core. A network of 15,000
/// idle nodes gossips 1.6 a second (simulated); what is not heard here travels in bids as well.
const ALL_SCORES_PER_S: u32 = 100;
const ALL_SCORES_BURST: u32 = 500;
/// Authors whose rate is remembered: as many gateways as one network will have.
const AUTHORS_MAX: usize = 4096;

/// The gossip protocol, subscribed to our topics.
///
/// # Errors
/// A sentence, when libp2p refuses the configuration.
pub(crate) fn behaviour(keypair: &Keypair) -> Result<Behaviour, String> {
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(FRAME_BYTES_MAX)
        .duplicate_cache_time(DUPLICATE_TIME)
        .message_id_fn(message_id)
        .build()
        .map_err(|error| error.to_string())?;
    let topics = Topic::ALL.map(Topic::ident);
    let filter = WhitelistSubscriptionFilter(topics.iter().map(IdentTopic::hash).collect());
    let signed = MessageAuthenticity::Signed(keypair.clone());
    let mut gossip = Behaviour::new_with_subscription_filter(signed, config, filter).map_err(str::to_owned)?;
    gossip.with_peer_score(score_params(&topics), PeerScoreThresholds::default())?;
    for topic in topics {
        gossip.subscribe(&topic).map_err(|error| error.to_string())?;
    }
    Ok(gossip)
}

/// A notice is named by its author and content, so that the same notice is passed on once however often it is signed, and nobody
/// can take the name of another's.
fn message_id(message: &Message) -> MessageId {
    let author = message.source.map(|author| author.to_bytes()).unwrap_or_default();
    MessageId::from(Sha256::new().chain_update(author).chain_update(&message.data).finalize().to_vec())
}

/// Only what cannot be an accident counts: invalid messages and broken mesh rules. Few messages, slow links and shared addresses
/// are normal here. A peer's 5 invalid messages within some seconds put it below the graylist threshold of -80.
fn score_params(topics: &[IdentTopic]) -> PeerScoreParams {
    let each = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -4.0,
        invalid_message_deliveries_decay: 0.9,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: topics.iter().map(|topic| (topic.hash(), each.clone())).collect(),
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_threshold: 6.0,
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Notice(JobNotice),
    Score(Box<SignedScore>),
}

impl Heard {
    /// Who must have said it.
    fn speaker(&self) -> NodeId {
        match self {
            Self::Notice(notice) => notice.gateway.node,
            Self::Score(signed) => signed.score.verifier,
        }
    }
}

/// What to do with a message that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand it on and up.
    Accept(Heard),
    /// Too many at once; drop it without blame.
    Ignore,
    /// No honest node hands this on.
    Reject(Offence),
}

impl Verdict {
    pub(crate) fn acceptance(&self) -> MessageAcceptance {
        match self {
            Self::Accept(_) => MessageAcceptance::Accept,
            Self::Ignore => MessageAcceptance::Ignore,
            Self::Reject(_) => MessageAcceptance::Reject,
        }
    }
}

/// How often one neighbour may hand something on, and one author may have said it.
#[derive(Debug)]
struct Rates {
    by_source: Buckets<PeerId>,
    by_author: Buckets<PeerId>,
}

impl Rates {
    fn new(per_s: u32, burst: u32) -> Self {
        let (by_source, by_author) = (Buckets::new(per_s, burst, PEERS_MAX), Buckets::new(per_s, burst, AUTHORS_MAX));
        Self { by_source, by_author }
    }

    fn take(&mut self, source: &PeerId, author: &PeerId, now: Instant) -> bool {
        self.by_source.take(source, now) && self.by_author.take(author, now)
    }
}

/// Judges what is gossiped.
#[derive(Debug)]
pub(crate) struct Gate {
    notices: Rates,
    scores: Rates,
    all_scores: Buckets<()>,
}

impl Gate {
    pub(crate) fn new(limits: &NetLimits) -> Self {
        Self {
            notices: Rates::new(limits.notices_per_s_max, NOTICE_BURST),
            scores: Rates::new(limits.scores_per_s_max, SCORE_BURST),
            all_scores: Buckets::new(ALL_SCORES_PER_S, ALL_SCORES_BURST, 1),
        }
    }

    /// Judges what was signed by `message.source` and handed on by `source`. Of a topic that is not ours there is nothing.
    pub(crate) fn judge(&mut self, message: &Message, source: &PeerId, now: Instant) -> Verdict {
        let is_score = message.topic == Topic::Scores.ident().hash();
        let heard = if is_score {
            decode(&message.data, SCORE_BYTES_MAX).map(|signed| Heard::Score(Box::new(signed)))
        } else {
            decode(&message.data, NOTICE_BYTES_MAX).map(Heard::Notice)
        };
        let heard = match heard {
            Ok(heard) => heard,
            Err(error) if is_score => return Verdict::Reject(Offence::Score(error)),
            Err(error) => return Verdict::Reject(Offence::Notice(error)),
        };
        let author = message.source.filter(|author| node_of(author) == Some(heard.speaker()));
        let Some(author) = author else { return Verdict::Reject(Offence::ForgedGossip) };
        let rates = if is_score { &mut self.scores } else { &mut self.notices };
        // Notices have no bound over all: who fills it would silence the gateways.
        let is_heard = rates.take(source, &author, now) && (!is_score || self.all_scores.take(&(), now));
        if is_heard { Verdict::Accept(heard) } else { Verdict::Ignore }
    }
}

#[cfg(test)]
mod tests {
    use manyhands_proto::message::Holder;
    use manyhands_proto::score::{Signature, Work};
    use manyhands_proto::{Binding, BlobRef, DecodeError, JobId, Po2, Reference, Score, Seed, encode};

    use super::*;
    use crate::address::peer_of;

    fn notice(node: NodeId, job: u8) -> JobNotice {
        JobNotice {
            job: JobId([job; 16]),
            gateway: Holder { node, addresses: vec!["/ip4/192.0.2.7/tcp/4001".into()] },
            zkvm: "3.0.6".into(),
            po2: Po2::try_from(16).unwrap(),
            recursion: false,
        }
    }

    fn message(author: NodeId, data: Vec<u8>) -> Message {
        Message { source: peer_of(author), data, sequence_number: Some(1), topic: IdentTopic::new(NOTICE_TOPIC).hash() }
    }

    #[test]
    fn the_author_must_be_the_gateway() {
        let mut gate = Gate::new(&NetLimits::default());
        let (gateway, villain) = (NodeId([1; 32]), NodeId([2; 32]));
        let now = Instant::now();
        let good = message(gateway, encode(&notice(gateway, 1)));
        assert_eq!(
            gate.judge(&good, &peer_of(villain).unwrap(), now),
            Verdict::Accept(Heard::Notice(notice(gateway, 1)))
        );
        let forged = message(villain, encode(&notice(gateway, 1)));
        assert_eq!(gate.judge(&forged, &peer_of(villain).unwrap(), now), Verdict::Reject(Offence::ForgedGossip));
    }

    fn score(verifier: NodeId, index: u32) -> SignedScore {
        let receipt = BlobRef { reference: Reference([3; 32]), size_bytes: 221_000 };
        let binding = Binding { seed: Seed([4; 16]), epoch: 248_000 };
        let score = Score {
            peer: NodeId([9; 32]),
            verifier,
            po2: Po2::try_from(16).unwrap(),
            elapsed_ms: 28_000,
            receipt,
            work: Work::Job,
            index,
            binding,
            issued_s: 1_785_600_100,
            expires_s: 1_785_607_300,
        };
        SignedScore { score, signature: Signature([5; 64]) }
    }

    #[test]
    fn a_score_is_its_verifiers_word_and_has_a_rate_of_its_own() {
        let mut gate = Gate::new(&NetLimits::default());
        let (verifier, villain) = (NodeId([1; 32]), NodeId([2; 32]));
        let (source, now) = (peer_of(villain).unwrap(), Instant::now());
        let said = |author, data| Message { topic: Topic::Scores.ident().hash(), ..message(author, data) };
        let good = said(verifier, encode(&score(verifier, 0)));
        assert!(encode(&score(verifier, u32::MAX)).len() <= SCORE_BYTES_MAX);
        assert_eq!(gate.judge(&good, &source, now), Verdict::Accept(Heard::Score(Box::new(score(verifier, 0)))));
        let forged = said(villain, encode(&score(verifier, 0)));
        assert_eq!(gate.judge(&forged, &source, now), Verdict::Reject(Offence::ForgedGossip));
        let nonsense = gate.judge(&said(verifier, vec![0xff; 10]), &source, now);
        assert_eq!(nonsense, Verdict::Reject(Offence::Score(DecodeError::Malformed)));
        let verdicts: Vec<_> =
            (1..200).map(|index| gate.judge(&said(verifier, encode(&score(verifier, index))), &source, now)).collect();
        let heard = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accept(_))).count();
        assert_eq!(heard, SCORE_BURST as usize - 1);
        let notice = message(verifier, encode(&notice(verifier, 1)));
        assert!(matches!(gate.judge(&notice, &source, now), Verdict::Accept(_)), "notices are not held up by scores");
    }

    #[test]
    fn many_neighbours_with_many_authors_are_not_heard_without_end() {
        let mut gate = Gate::new(&NetLimits::default());
        let now = Instant::now();
        let mut heard = |from: u8, at: Instant| {
            let verifier = |index: u8| NodeId([from, index, 3].repeat(11)[..32].try_into().unwrap());
            let said = |index| Message {
                topic: Topic::Scores.ident().hash(),
                ..message(verifier(index), encode(&score(verifier(index), 0)))
            };
            let source = peer_of(verifier(0)).unwrap();
            (0..100).filter(|index| matches!(gate.judge(&said(*index), &source, at), Verdict::Accept(_))).count()
        };
        assert_eq!((0..10).map(|from| heard(from, now)).sum::<usize>(), ALL_SCORES_BURST as usize);
        let later = now + Duration::from_secs(1);
        assert_eq!((20..30).map(|from| heard(from, later)).sum::<usize>(), ALL_SCORES_PER_S as usize);
    }

    #[test]
    fn nonsense_and_oversize_are_offences() {
        let mut gate = Gate::new(&NetLimits::default());
        let node = NodeId([1; 32]);
        let peer = peer_of(node).unwrap();
        let nonsense = gate.judge(&message(node, vec![0xff; 10]), &peer, Instant::now());
        assert_eq!(nonsense, Verdict::Reject(Offence::Notice(DecodeError::Malformed)));
        let oversize = gate.judge(&message(node, vec![0; NOTICE_BYTES_MAX + 1]), &peer, Instant::now());
        assert!(matches!(oversize, Verdict::Reject(Offence::Notice(DecodeError::TooLong { .. }))));
    }

    #[test]
    fn a_flood_is_ignored_without_blame() {
        let mut gate = Gate::new(&NetLimits::default());
        let node = NodeId([1; 32]);
        let peer = peer_of(node).unwrap();
        let now = Instant::now();
        let verdicts: Vec<_> =
            (0..20).map(|job| gate.judge(&message(node, encode(&notice(node, job))), &peer, now)).collect();
        assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accept(_))).count(), 10);
        assert!(verdicts[10..].iter().all(|verdict| *verdict == Verdict::Ignore));
    }

    #[test]
    fn the_name_of_a_notice_is_its_author_and_content() {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let first = message(a, vec![1, 2, 3]);
        let mut again = first.clone();
        again.sequence_number = Some(99);
        assert_eq!(message_id(&first), message_id(&again));
        assert_ne!(message_id(&first), message_id(&message(b, vec![1, 2, 3])));
        assert_ne!(message_id(&first), message_id(&message(a, vec![1, 2, 4])));
    }
}
