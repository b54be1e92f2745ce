//! Job notices across three nodes in a row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Node, PATIENCE, TCP, Villain, notice, pair};
use manyhands_net::{NetError, NetEvent, Offence};
use manyhands_proto::score::{Signature, Work};
use manyhands_proto::{Binding, BlobRef, NodeId, Po2, Reference, Score, Seed, SignedScore, encode};

#[tokio::test]
async fn a_notice_passes_through_the_middle() {
    let (mut a, mut b) = pair(TCP).await;
    let mut c = Node::on(TCP).await;
    // The ends must not find each other.
    a.net.block(c.id()).await;
    c.net.block(a.id()).await;
    c.net.dial(&b.holder().await).await.unwrap();
    b.wait_connected(c.id()).await;
    assert_eq!(repeat_until(&mut a, &mut c).await, a.id());
}

#[tokio::test]
async fn a_score_passes_through_the_middle() {
    let (a, mut b) = pair(TCP).await;
    let mut c = Node::on(TCP).await;
    a.net.block(c.id()).await;
    c.net.block(a.id()).await;
    c.net.dial(&b.holder().await).await.unwrap();
    b.wait_connected(c.id()).await;
    for index in 0..200 {
        let said = score(a.id(), index);
        match a.net.publish_score(&said).await {
            Ok(()) | Err(NetError::NobodyListens) => {}
            Err(error) => panic!("{error}"),
        }
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(300), c.events.recv()).await {
            if let Some(NetEvent::Score { signed }) = event {
                assert_eq!(*signed, score(a.id(), signed.score.index));
                return;
            }
        }
    }
    panic!("no score came");
}

/// A score as it travels. Whether the signature is the verifier's is for the scoreboard to check, not for the network.
fn score(verifier: NodeId, index: u32) -> SignedScore {
    let score = Score {
        peer: NodeId([9; 32]),
        verifier,
        po2: Po2::try_from(16).unwrap(),
        elapsed_ms: 28_000,
        receipt: BlobRef { reference: Reference([3; 32]), size_bytes: 221_000 },
        work: Work::Job,
        index,
        binding: Binding { seed: Seed([4; 16]), epoch: 248_000 },
        issued_s: 1_785_600_100,
        expires_s: 1_785_607_300,
    };
    SignedScore { score, signature: Signature([5; 64]) }
}

/// Publishes new notices on `from` until one arrives at `to`; subscriptions need a moment to become known.
async fn repeat_until(from: &mut Node, to: &mut Node) -> NodeId {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    for job in 0.. {
        match from.net.publish(&notice(from.id(), job)).await {
            Ok(()) | Err(NetError::NobodyListens) => {}
            Err(error) => panic!("{error}"),
        }
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(300), to.events.recv()).await {
            if let Some(NetEvent::Notice { notice }) = event {
                return notice.gateway.node;
            }
        }
        assert!(tokio::time::Instant::now() < deadline, "no notice came");
    }
    unreachable!()
}

#[tokio::test]
async fn a_forged_notice_is_refused_and_goes_no_further() {
    let mut middle = Node::on(TCP).await;
    let mut end = Node::on(TCP).await;
    end.net.dial(&middle.holder().await).await.unwrap();
    let villain = Villain::connected_to(&middle.full_address().await).await;
    // What the villain says in its own name passes, so the way is open.
    let mut jobs = 0..=u8::MAX;
    honest_arrives(&villain, &mut end, &mut jobs).await;
    let (who, what) = loop {
        // Another job each time, since the same bytes are gossiped once; signed by the villain in the gateway's name.
        villain.publish(encode(&notice(GATEWAY, jobs.next().expect("no offence was reported")))).await;
        match tokio::time::timeout(Duration::from_millis(300), middle.events.recv()).await {
            Ok(Some(NetEvent::Misbehaved { node, what })) => break (node, what),
            Ok(Some(NetEvent::Notice { notice })) => {
                assert_ne!(notice.gateway.node, GATEWAY, "a forged notice came through")
            }
            _ => {}
        }
    };
    assert_eq!((who, what), (villain.node, Offence::ForgedGossip));
    honest_arrives(&villain, &mut end, &mut jobs).await;
}

const GATEWAY: NodeId = NodeId([3; 32]);

async fn honest_arrives(villain: &Villain, end: &mut Node, jobs: &mut impl Iterator<Item = u8>) {
    loop {
        let job = jobs.next().expect("no honest notice came");
        villain.publish(encode(&notice(villain.node, job))).await;
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(300), end.events.recv()).await {
            match event {
                Some(NetEvent::Notice { notice }) => {
                    assert_eq!(notice.gateway.node, villain.node, "a forged notice came through");
                    if notice.job.0[0] == job {
                        return;
                    }
                }
                Some(NetEvent::Misbehaved { node, what }) => panic!("{node} passed it on: {what}"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_notice_are_refused() {
    let mut node = Node::on(TCP).await;
    let villain = Villain::connected_to(&node.full_address().await).await;
    for (try_number, size_bytes) in [10, 2000].into_iter().cycle().enumerate().take(200) {
        villain.publish(vec![try_number as u8; size_bytes]).await;
        let event = tokio::time::timeout(Duration::from_millis(300), node.events.recv()).await;
        if let Ok(Some(NetEvent::Misbehaved { node, what })) = event {
            assert_eq!(node, villain.node);
            assert!(matches!(what, Offence::Notice(_)), "{what}");
            return;
        }
    }
    panic!("no offence was reported");
}

#[tokio::test]
async fn only_our_own_notices_of_the_right_size_are_published() {
    let (a, b) = pair(TCP).await;
    assert!(matches!(a.net.publish(&notice(b.id(), 1)).await, Err(NetError::NoticeInvalid)));
    let mut long = notice(a.id(), 1);
    long.gateway.addresses = vec!["/dns4/x".repeat(36); 4];
    let error = a.net.publish(&long).await.unwrap_err();
    assert!(matches!(error, NetError::NoticeTooLong { .. }), "{error}");
    let alone = Node::on(TCP).await;
    assert!(matches!(alone.net.publish(&notice(alone.id(), 1)).await, Err(NetError::NobodyListens)));
}
