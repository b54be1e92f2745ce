//! Peers and strangers that break the protocol.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Node, PATIENCE, TCP, Villain, capabilities, pair};
use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::StreamProtocol;
use manyhands_net::{DialFailure, FrameError, NetError, NetEvent, Offence, RequestError};
use manyhands_proto::limits::CONTROL_BYTES_MAX;
use manyhands_proto::message::{Blame, CONTROL_PROTOCOL, Holder, Request, Response};
use manyhands_proto::{DecodeError, NodeId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const CONTROL: StreamProtocol = StreamProtocol::new(CONTROL_PROTOCOL);

async fn next_offence(node: &mut Node) -> (NodeId, Offence) {
    node.wait("offence", |event| match event {
        NetEvent::Misbehaved { node, what } => Some((node, what)),
        NetEvent::Request { request, .. } => panic!("a bad request came through: {request:?}"),
        _ => None,
    })
    .await
}

async fn still_answers(node: &mut Node, friend: &Node) {
    let (answer, ()) = tokio::join!(friend.net.request(node.id(), Request::Hello(capabilities())), async {
        let reply = node.wait("request", |event| match event {
            NetEvent::Request { reply, .. } => Some(reply),
            NetEvent::Disconnected { node } => panic!("{node} was disturbed"),
            _ => None,
        });
        reply.await.send(Response::Ok);
    });
    assert_eq!(answer, Ok(Response::Ok));
}

#[tokio::test]
async fn bad_requests_are_reported_and_their_streams_closed() {
    let (friend, mut node) = pair(TCP).await;
    let mut villain = Villain::connected_to(&node.full_address().await).await;
    let too_long = (CONTROL_BYTES_MAX as u32 + 1).to_le_bytes().to_vec();
    let malformed = vec![4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    // A lease id, then bytes that belong to no message.
    let trailing = {
        let body = [manyhands_proto::encode(&Response::Stale), vec![0; 3]].concat();
        [(body.len() as u32).to_le_bytes().to_vec(), body].concat()
    };
    for (bytes, is_expected) in [
        (too_long, (|error| matches!(error, FrameError::TooLong { .. })) as fn(&FrameError) -> bool),
        (malformed, |error| *error == FrameError::Decode(DecodeError::Malformed)),
        (trailing, |error| matches!(error, FrameError::Decode(_))),
    ] {
        let mut stream = villain.streams.open_stream(Villain::peer_of(node.id()), CONTROL).await.unwrap();
        futures::AsyncWriteExt::write_all(&mut stream, &bytes).await.unwrap();
        futures::AsyncWriteExt::flush(&mut stream).await.unwrap();
        let (who, what) = next_offence(&mut node).await;
        assert_eq!(who, villain.node);
        let Offence::Request(error) = what else { panic!("{what}") };
        assert!(is_expected(&error), "{error}");
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, futures::AsyncReadExt::read_to_end(&mut stream, &mut rest));
        let _ = closed.await.expect("the stream stayed open");
        assert!(rest.is_empty());
    }
    still_answers(&mut node, &friend).await;
}

#[tokio::test]
async fn a_bad_answer_is_the_peers_fault() {
    let mut node = Node::on(TCP).await;
    let mut villain = Villain::connected_to(&node.full_address().await).await;
    let mut asked = villain.streams.accept(CONTROL).unwrap();
    // Protocols that a peer accepts are settled when it connects, so the node dials it now.
    let address = manyhands_net::with_node(&villain.listening.to_string(), villain.node);
    node.wait_connected(villain.node).await;
    node.net.disconnect(villain.node).await;
    node.wait_disconnected(villain.node).await;
    node.net.connect_to(&address).await.unwrap();
    for (bytes, expected) in [
        (vec![0, 1, 0, 0, 0, 0xff], FrameError::Decode(DecodeError::Malformed)),
        (vec![0xee], FrameError::Status(0xee)),
        (vec![0, 0xff, 0xff, 0xff, 0xff], FrameError::TooLong { got_bytes: u32::MAX, limit_bytes: CONTROL_BYTES_MAX }),
    ] {
        let (answer, ()) = tokio::join!(node.net.request(villain.node, Request::Hello(capabilities())), async {
            let (_, mut stream) = asked.next().await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            stream.close().await.unwrap();
        });
        let error = answer.unwrap_err();
        assert_eq!(error, RequestError::Malformed { source: expected.clone() });
        assert_eq!(error.blame(), Blame::Peer);
        assert_eq!(next_offence(&mut node).await, (villain.node, Offence::Answer(expected)));
    }
}

#[tokio::test]
async fn a_peer_without_our_protocol_is_told_apart() {
    let node = Node::on(TCP).await;
    let villain = Villain::connected_to(&node.full_address().await).await;
    let mut node = node;
    node.wait_connected(villain.node).await;
    let answer = node.net.request(villain.node, Request::Hello(capabilities())).await;
    assert_eq!(answer, Err(RequestError::Unsupported));
}

#[tokio::test]
async fn a_web_client_on_the_port_disturbs_nobody() {
    let (friend, mut node) = pair(TCP).await;
    let address = node.net.addresses().await.remove(0);
    let port: u16 = address.rsplit('/').next().unwrap().parse().unwrap();
    for greeting in [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(), &[0xff; 4096], b""] {
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client.write_all(greeting).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Whether it is closed or reset is the system's business.
        let closed = tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "the stranger was kept");
    }
    still_answers(&mut node, &friend).await;
}

#[tokio::test]
async fn dialling_a_web_server_says_so() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", server.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (mut client, _) = server.accept().await.unwrap();
            tokio::spawn(async move {
                let mut greeting = [0; 64];
                let _ = client.read(&mut greeting).await;
                let page = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: 400\r\n\r\n{}", "x".repeat(400));
                let _ = client.write_all(page.as_bytes()).await;
                let _ = client.read(&mut greeting).await;
            });
        }
    });
    let node = Node::on(TCP).await;
    let error = node.net.connect_to(&address).await.unwrap_err();
    let NetError::Dial { why, .. } = &error else { panic!("{error}") };
    assert_eq!(*why, DialFailure::NotLibp2p, "{error:?}");
    assert!(error.to_string().contains(&address) && error.to_string().contains("does not speak libp2p"), "{error}");
}

#[tokio::test]
async fn a_dial_that_fails_says_why() {
    let (a, b) = (Node::on(TCP).await, Node::on(TCP).await);
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = a.net.connect_to(&format!("/ip4/127.0.0.1/tcp/{port}")).await.unwrap_err();
    assert!(matches!(error, NetError::Dial { why: DialFailure::Refused, .. }), "{error:?}");
    let address = b.net.addresses().await.remove(0);
    let wrong = Holder { node: NodeId([5; 32]), addresses: vec!["rubbish".into(), address] };
    let error = a.net.dial(&wrong).await.unwrap_err();
    let why = DialFailure::WrongNode { found: Some(b.id()) };
    assert!(matches!(&error, NetError::Dial { why: got, .. } if *got == why), "{error:?}");
    let nowhere = Holder { node: NodeId([5; 32]), addresses: vec!["rubbish".into()] };
    assert!(matches!(a.net.dial(&nowhere).await, Err(NetError::NoAddress { .. })));
    let own = a.net.addresses().await.remove(0);
    let error = a.net.connect_to(&own).await.unwrap_err();
    assert!(matches!(error, NetError::Dial { why: DialFailure::Ourselves, .. }), "{error:?}");
}
