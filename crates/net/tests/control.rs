//! Requests and answers between two nodes over TCP and QUIC.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Node, QUIC, TCP, capabilities, pair};
use manyhands_net::{NetEvent, Reply, RequestError};
use manyhands_proto::message::{Bid, Blame, FailReason, Holder, Lease, Request, Response, Stage};
use manyhands_proto::{Binding, BlobRef, JobId, LeaseId, NodeId, Nonce, Po2, Reference, Unit};

fn lease_id() -> LeaseId {
    LeaseId { job: JobId([7; 16]), unit: Unit::Prove(3), attempt: 2 }
}

fn blob() -> BlobRef {
    BlobRef { reference: Reference([9; 32]), size_bytes: 265_000 }
}

fn lease() -> Lease {
    Lease {
        key: None,
        id: lease_id(),
        inputs: vec![blob()],
        po2: Po2::try_from(18).unwrap(),
        nonce: Nonce::bound(NodeId([1; 32]), 3, Binding::default()),
        deadline_ms: 60_000,
        heartbeat_ms: 5_000,
        holders: vec![Holder { node: NodeId([1; 32]), addresses: vec!["/ip4/192.0.2.1/tcp/1".into()] }],
    }
}

fn conversation() -> Vec<(Request, Response)> {
    let lease = lease_id();
    let refused = Response::Refused { reason: "another zkVM version".into(), retry_ms: 60_000 };
    let bid = || Request::Bid(Bid { capabilities: capabilities(), slots_free: 1, score: None });
    vec![
        (Request::Hello(capabilities()), Response::Ok),
        (bid(), Response::Lease(Box::new(self::lease()))),
        (bid(), Response::Wait { retry_ms: 1_000 }),
        (bid(), refused),
        (Request::Heartbeat { lease, stage: Stage::Work, remaining_ms: Some(1) }, Response::Ok),
        (Request::Done { lease, receipt: blob(), elapsed_ms: 12_345 }, Response::Stale),
        (Request::Fail { lease, reason: FailReason::Worker("out of memory".into()) }, Response::Ok),
        (Request::Cancel(lease), Response::Ok),
    ]
}

async fn next_request(node: &mut Node) -> (NodeId, Request, Reply) {
    node.wait("request", |event| match event {
        NetEvent::Request { from, request, reply, .. } => Some((from, request, reply)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn every_message_round_trips_over_tcp_and_quic_in_both_directions() {
    for listen in [TCP, QUIC] {
        let (mut a, mut b) = pair(listen).await;
        for (request, response) in conversation() {
            for (asker, other) in [(&mut a, &mut b)] {
                exchange(asker, other, request.clone(), response.clone()).await;
                exchange(other, asker, request.clone(), response.clone()).await;
            }
        }
    }
}

async fn exchange(asker: &mut Node, other: &mut Node, request: Request, response: Response) {
    let asked = asker.net.request(other.id(), request.clone());
    let answered = async {
        let (from, arrived, reply) = next_request(other).await;
        reply.send(response.clone());
        (from, arrived)
    };
    let (answer, (from, arrived)) = tokio::join!(asked, answered);
    assert_eq!(arrived, request);
    assert_eq!(from, asker.net.node_id());
    assert_eq!(answer, Ok(response));
}

#[tokio::test]
async fn a_held_reply_arrives_and_others_overtake_it() {
    let (a, mut b) = pair(TCP).await;
    let net = a.net.clone();
    let to = b.id();
    let held = tokio::spawn(async move { net.request(to, Request::Hello(capabilities())).await });
    let (_, _, held_reply) = next_request(&mut b).await;
    let net = a.net.clone();
    let quick = tokio::spawn(async move { net.request(to, Request::Cancel(lease_id())).await });
    let (_, _, quick_reply) = next_request(&mut b).await;
    quick_reply.send(Response::Stale);
    assert_eq!(quick.await.unwrap(), Ok(Response::Stale));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!held.is_finished());
    held_reply.send(Response::Wait { retry_ms: 7 });
    assert_eq!(held.await.unwrap(), Ok(Response::Wait { retry_ms: 7 }));
}

#[tokio::test]
async fn a_dropped_reply_closes_the_stream_to_the_asker() {
    for listen in [TCP, QUIC] {
        let (a, mut b) = pair(listen).await;
        let (answer, ()) = tokio::join!(a.net.request(b.id(), Request::Hello(capabilities())), async {
            drop(next_request(&mut b).await);
        });
        let error = answer.unwrap_err();
        assert_eq!(error, RequestError::Closed);
        assert_eq!(error.blame(), Blame::Network);
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout() {
    let a = Node::limited(TCP, |limits| limits.request_timeout = Duration::from_millis(500)).await;
    let mut b = Node::on(TCP).await;
    a.net.dial(&b.holder().await).await.unwrap();
    let (answer, _held) = tokio::join!(a.net.request(b.id(), Request::Hello(capabilities())), next_request(&mut b));
    assert_eq!(answer, Err(RequestError::Timeout));
}

#[tokio::test]
async fn without_a_connection_nothing_is_sent() {
    let (a, b) = (Node::on(TCP).await, Node::on(TCP).await);
    let answer = a.net.request(b.id(), Request::Hello(capabilities())).await;
    assert_eq!(answer, Err(RequestError::NotConnected));
}

#[tokio::test]
async fn our_own_nonsense_is_not_sent() {
    let (a, b) = pair(TCP).await;
    let mut wrong = capabilities();
    wrong.slots = 0;
    let error = a.net.request(b.id(), Request::Hello(wrong)).await.unwrap_err();
    assert!(matches!(error, RequestError::Unsendable { .. }), "{error}");
    assert_eq!(error.blame(), Blame::Us);
}

#[tokio::test]
async fn our_own_cap_on_waiting_requests_fails_at_once() {
    let a = Node::limited(TCP, |limits| limits.requests_per_peer_max = 2).await;
    let mut b = Node::on(TCP).await;
    a.net.dial(&b.holder().await).await.unwrap();
    let mut waiting = Vec::new();
    let mut held = Vec::new();
    for _ in 0..2 {
        let (net, to) = (a.net.clone(), b.id());
        waiting.push(tokio::spawn(async move { net.request(to, Request::Hello(capabilities())).await }));
        held.push(next_request(&mut b).await.2);
    }
    assert_eq!(a.net.request(b.id(), Request::Hello(capabilities())).await, Err(RequestError::Busy));
    for reply in held {
        reply.send(Response::Ok);
    }
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), Ok(Response::Ok));
    }
    // The places are free again.
    exchange(&mut Node { net: a.net.clone(), events: a.events }, &mut b, Request::Cancel(lease_id()), Response::Ok)
        .await;
}

#[tokio::test]
async fn their_cap_is_answered_with_busy_and_frees_up() {
    let a = Node::on(TCP).await;
    let mut b = Node::limited(TCP, |limits| limits.requests_per_peer_max = 1).await;
    a.net.dial(&b.holder().await).await.unwrap();
    let mut waiting = Vec::new();
    let mut held = Vec::new();
    for _ in 0..2 {
        let (net, to) = (a.net.clone(), b.id());
        waiting.push(tokio::spawn(async move { net.request(to, Request::Hello(capabilities())).await }));
        held.push(next_request(&mut b).await.2);
    }
    assert_eq!(a.net.request(b.id(), Request::Hello(capabilities())).await, Err(RequestError::PeerBusy));
    // One is dropped, one answered: both give their place back.
    held.pop();
    held.pop().unwrap().send(Response::Ok);
    assert_eq!(waiting.remove(0).await.unwrap(), Ok(Response::Ok));
    assert_eq!(waiting.remove(0).await.unwrap(), Err(RequestError::Closed));
    let mut a = a;
    loop {
        // b notices the end of a stream a moment after a does.
        let (answer, ()) = tokio::join!(a.net.request(b.id(), Request::Cancel(lease_id())), async {
            while let Ok(event) = tokio::time::timeout(Duration::from_millis(500), b.events.recv()).await {
                if let Some(NetEvent::Request { reply, .. }) = event {
                    return reply.send(Response::Stale);
                }
            }
        });
        match answer {
            Err(RequestError::PeerBusy) => {}
            answer => break assert_eq!(answer, Ok(Response::Stale)),
        }
    }
    exchange(&mut a, &mut b, Request::Cancel(lease_id()), Response::Ok).await;
}

#[tokio::test]
async fn a_slow_receiver_holds_the_network_back_and_loses_nothing() {
    const ASKED: usize = 100;
    let a = Node::on(TCP).await;
    let mut b = Node::limited(TCP, |limits| limits.events_max = 1).await;
    a.net.dial(&b.holder().await).await.unwrap();
    let to = b.id();
    let asked: Vec<_> = (0..ASKED)
        .map(|_| {
            let net = a.net.clone();
            tokio::spawn(async move { net.request(to, Request::Cancel(lease_id())).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Commands are taken although events are not.
    assert_eq!(b.net.peers().await.len(), 1);
    for _ in 0..ASKED {
        next_request(&mut b).await.2.send(Response::Ok);
    }
    for answer in asked {
        assert_eq!(answer.await.unwrap(), Ok(Response::Ok));
    }
}

#[tokio::test]
async fn requests_that_come_too_fast_are_answered_with_busy() {
    let a = Node::on(TCP).await;
    let mut b = Node::limited(TCP, |limits| limits.requests_per_s_max = 1).await;
    a.net.dial(&b.holder().await).await.unwrap();
    let (net, to) = (a.net.clone(), b.id());
    let asking = tokio::spawn(async move {
        // Two are allowed at once, and one more for each second that this takes.
        loop {
            match net.request(to, Request::Cancel(lease_id())).await {
                Ok(Response::Ok) => {}
                other => return other,
            }
        }
    });
    while !asking.is_finished() {
        let event = tokio::time::timeout(Duration::from_millis(50), b.events.recv()).await;
        if let Ok(Some(NetEvent::Request { reply, .. })) = event {
            reply.send(Response::Ok);
        }
    }
    assert_eq!(asking.await.unwrap(), Err(RequestError::PeerBusy));
}
