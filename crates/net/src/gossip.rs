//! Job notices: gossip on one topic, checked before it is handed on.
//!
//! libp2p checks the signature. This module checks that the notice is in the protocol and speaks for its signer, and how often
//! somebody may speak. What is outside the protocol is laid on the peer that handed it on, since honest nodes check first.

use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, IdentityTransform, Message, MessageAcceptance, MessageAuthenticity, MessageId,
    PeerScoreParams, PeerScoreThresholds, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use manyhands_proto::decode;
use manyhands_proto::limits::NOTICE_BYTES_MAX;
use manyhands_proto::message::{JobNotice, NOTICE_TOPIC};
use sha2::{Digest as _, Sha256};

use crate::address::node_of;
use crate::config::PEERS_MAX;
use crate::rate::Buckets;
use crate::{NetLimits, Offence};

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
/// Authors whose rate is remembered: as many gateways as one network will have.
const AUTHORS_MAX: usize = 4096;

/// The gossip protocol, subscribed to the one topic.
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
    let topic = IdentTopic::new(NOTICE_TOPIC);
    let filter = WhitelistSubscriptionFilter([topic.hash()].into());
    let signed = MessageAuthenticity::Signed(keypair.clone());
    let mut gossip = Behaviour::new_with_subscription_filter(signed, config, filter).map_err(str::to_owned)?;
    gossip.with_peer_score(score_params(&topic), PeerScoreThresholds::default())?;
    gossip.subscribe(&topic).map_err(|error| error.to_string())?;
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
fn score_params(topic: &IdentTopic) -> PeerScoreParams {
    let notices = TopicScoreParams {
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
        topics: [(topic.hash(), notices)].into(),
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_threshold: 6.0,
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

/// What to do with a notice that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand it on and up.
    Accept(JobNotice),
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

/// Judges notices.
#[derive(Debug)]
pub(crate) struct NoticeGate {
    by_source: Buckets<PeerId>,
    by_author: Buckets<PeerId>,
}

impl NoticeGate {
    pub(crate) fn new(limits: &NetLimits) -> Self {
        Self {
            by_source: Buckets::new(limits.notices_per_s_max, NOTICE_BURST, PEERS_MAX),
            by_author: Buckets::new(limits.notices_per_s_max, NOTICE_BURST, AUTHORS_MAX),
        }
    }

    /// Judges a notice signed by `message.source` and handed on by `source`.
    pub(crate) fn judge(&mut self, message: &Message, source: &PeerId, now: Instant) -> Verdict {
        let notice: JobNotice = match decode(&message.data, NOTICE_BYTES_MAX) {
            Ok(notice) => notice,
            Err(error) => return Verdict::Reject(Offence::Notice(error)),
        };
        let Some(author) = message.source else { return Verdict::Reject(Offence::ForgedNotice) };
        if node_of(&author) != Some(notice.gateway.node) {
            return Verdict::Reject(Offence::ForgedNotice);
        }
        if self.by_source.take(source, now) && self.by_author.take(&author, now) {
            Verdict::Accept(notice)
        } else {
            Verdict::Ignore
        }
    }
}

#[cfg(test)]
mod tests {
    use manyhands_proto::message::Holder;
    use manyhands_proto::{DecodeError, JobId, NodeId, Po2, encode};

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
        let mut gate = NoticeGate::new(&NetLimits::default());
        let (gateway, villain) = (NodeId([1; 32]), NodeId([2; 32]));
        let now = Instant::now();
        let good = message(gateway, encode(&notice(gateway, 1)));
        assert_eq!(gate.judge(&good, &peer_of(villain).unwrap(), now), Verdict::Accept(notice(gateway, 1)));
        let forged = message(villain, encode(&notice(gateway, 1)));
        assert_eq!(gate.judge(&forged, &peer_of(villain).unwrap(), now), Verdict::Reject(Offence::ForgedNotice));
    }

    #[test]
    fn nonsense_and_oversize_are_offences() {
        let mut gate = NoticeGate::new(&NetLimits::default());
        let node = NodeId([1; 32]);
        let peer = peer_of(node).unwrap();
        let nonsense = gate.judge(&message(node, vec![0xff; 10]), &peer, Instant::now());
        assert_eq!(nonsense, Verdict::Reject(Offence::Notice(DecodeError::Malformed)));
        let oversize = gate.judge(&message(node, vec![0; NOTICE_BYTES_MAX + 1]), &peer, Instant::now());
        assert!(matches!(oversize, Verdict::Reject(Offence::Notice(DecodeError::TooLong { .. }))));
    }

    #[test]
    fn a_flood_is_ignored_without_blame() {
        let mut gate = NoticeGate::new(&NetLimits::default());
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
