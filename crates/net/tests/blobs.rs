//! Blob streams: bytes there and back, and the bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Node, PATIENCE, QUIC, TCP, Villain, pair};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use manyhands_net::{BlobStream, Net, NetEvent, StreamError};
use manyhands_proto::NodeId;
use tokio::time::timeout;

async fn next_stream(node: &mut Node) -> (NodeId, BlobStream) {
    node.wait("blob stream", |event| match event {
        NetEvent::BlobStream { from, stream } => Some((from, stream)),
        _ => None,
    })
    .await
}

/// Opens a stream so that the other side sees it: it does with the first bytes that are sent, be it the protocol's name alone.
async fn opened(net: &Net, to: NodeId) -> BlobStream {
    let mut stream = net.open_blob_stream(to).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// Whether the other side keeps the stream: it sends back one byte, or resets it.
async fn is_kept(stream: &mut BlobStream) -> bool {
    let mut byte = [0];
    timeout(PATIENCE, stream.read_exact(&mut byte)).await.expect("neither kept nor closed").is_ok()
}

#[tokio::test]
async fn a_megabyte_comes_back_over_tcp_and_quic() {
    for listen in [TCP, QUIC] {
        let (a, mut b) = pair(listen).await;
        let sent: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let stream = opened(&a.net, b.id()).await;
        let (from, echo) = next_stream(&mut b).await;
        assert_eq!(from, a.id());
        let echoing = async {
            let (reader, mut writer) = echo.split();
            futures::io::copy(reader, &mut writer).await.unwrap();
            writer.close().await.unwrap();
        };
        let (mut reader, mut writer) = stream.split();
        let sending = async {
            writer.write_all(&sent).await.unwrap();
            writer.close().await.unwrap();
        };
        let mut received = Vec::new();
        let all = async { tokio::join!(echoing, sending, reader.read_to_end(&mut received)).2 };
        timeout(PATIENCE, all).await.expect("the echo hangs").unwrap();
        assert!(received == sent, "the bytes differ");
    }
}

#[tokio::test]
async fn streams_over_a_peers_bound_are_closed_and_places_come_back() {
    let a = Node::on(TCP).await;
    let mut b = Node::limited(TCP, |limits| limits.blob_streams_per_peer_max = 2).await;
    a.net.dial(&b.holder().await).await.unwrap();
    let mut held = Vec::new();
    let mut kept = Vec::new();
    for _ in 0..2 {
        kept.push(opened(&a.net, b.id()).await);
        let mut stream = next_stream(&mut b).await.1;
        stream.write_all(&[1]).await.unwrap();
        stream.flush().await.unwrap();
        held.push(stream);
    }
    for stream in &mut kept {
        assert!(is_kept(stream).await);
    }
    let mut third = opened(&a.net, b.id()).await;
    assert!(!is_kept(&mut third).await);
    held.pop();
    let mut fourth = opened(&a.net, b.id()).await;
    let mut stream = next_stream(&mut b).await.1;
    stream.write_all(&[1]).await.unwrap();
    stream.flush().await.unwrap();
    assert!(is_kept(&mut fourth).await);
}

#[tokio::test]
async fn streams_over_the_bound_of_all_are_closed() {
    let (a, c) = (Node::on(TCP).await, Node::on(TCP).await);
    let mut b = Node::limited(TCP, |limits| limits.blob_streams_max = 1).await;
    a.net.dial(&b.holder().await).await.unwrap();
    c.net.dial(&b.holder().await).await.unwrap();
    let _first = opened(&a.net, b.id()).await;
    let _held = next_stream(&mut b).await;
    let mut second = opened(&c.net, b.id()).await;
    assert!(!is_kept(&mut second).await);
}

#[tokio::test]
async fn a_burst_of_streams_within_the_bound_arrives_whole() {
    let (a, mut b) = pair(TCP).await;
    let (net, to) = (a.net.clone(), b.id());
    let opened: Vec<_> = (0..16)
        .map(|_| {
            let net = net.clone();
            tokio::spawn(async move { opened(&net, to).await })
        })
        .collect();
    let mut streams = Vec::new();
    for opening in opened {
        streams.push(opening.await.unwrap());
    }
    let mut arrived = Vec::new();
    while arrived.len() < 16 {
        arrived.push(next_stream(&mut b).await);
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_opened_says_why() {
    let mut a = Node::on(TCP).await;
    assert_eq!(a.net.open_blob_stream(NodeId([5; 32])).await.unwrap_err(), StreamError::NotConnected);
    let villain = Villain::connected_to(&a.full_address().await).await;
    a.wait_connected(villain.node).await;
    // Whether the peer speaks the protocol is not waited for.
    let mut stream = a.net.open_blob_stream(villain.node).await.unwrap();
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert!(error.to_string().contains("negotiation failed"), "{error}");
    a.net.shutdown().await;
    assert_eq!(a.net.open_blob_stream(villain.node).await.unwrap_err(), StreamError::Stopped);
}
