//! Starting, finding each other, losing each other, ending.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Node, PATIENCE, QUIC, TCP, capabilities, config, pair};
use manyhands_net::{DialFailure, Identity, NetConfig, NetError, NetEvent, RequestError, start};
use manyhands_proto::message::Request;

#[tokio::test]
async fn both_sides_learn_of_the_connection_and_of_each_other() {
    for listen in [TCP, QUIC] {
        let (mut a, b) = pair(listen).await;
        a.wait_connected(b.id()).await;
        let (node, agent, addresses) = a
            .wait("identification", |event| match event {
                NetEvent::Identified { node, agent, addresses } => Some((node, agent, addresses)),
                _ => None,
            })
            .await;
        assert_eq!((node, agent.as_str()), (b.id(), "test"));
        assert_eq!(addresses, b.net.addresses().await);
        let peers = a.net.peers().await;
        assert_eq!(peers.len(), 1);
        assert_eq!((peers[0].node, &peers[0].addresses), (b.id(), &addresses));
    }
}

#[tokio::test]
async fn dialling_twice_is_dialling_once() {
    let (mut a, b) = pair(TCP).await;
    a.wait_connected(b.id()).await;
    let address = b.net.addresses().await.remove(0);
    for _ in 0..5 {
        a.net.dial(&b.holder().await).await.unwrap();
        assert_eq!(a.net.connect_to(&b.full_address().await).await.unwrap(), b.id());
        assert_eq!(a.net.connect_to(&address).await.unwrap(), b.id());
    }
    a.net.shutdown().await;
    while let Some(event) = a.events.recv().await {
        assert!(!matches!(event, NetEvent::Connected { .. }), "connected again");
    }
}

#[tokio::test]
async fn a_vanished_peer_is_noticed() {
    for listen in [TCP, QUIC] {
        let (mut a, b) = pair(listen).await;
        let gone = b.id();
        drop(b);
        a.wait_disconnected(gone).await;
        let answer = a.net.request(gone, Request::Hello(capabilities())).await;
        assert_eq!(answer, Err(RequestError::NotConnected));
        assert!(a.net.peers().await.is_empty());
    }
}

/// A peer whose machine loses power or its cable says nothing; only unanswered pings tell. Where both sides are as impatient, one may
/// be there again before the other has noticed.
#[tokio::test]
async fn a_silent_peer_is_noticed() {
    let impatient = |limits: &mut manyhands_net::NetLimits| {
        limits.ping_interval = Duration::from_millis(200);
        limits.ping_timeout = Duration::from_secs(1);
    };
    let (mut a, b) = (Node::limited(TCP, impatient).await, Node::on(TCP).await);
    notice_silence(&mut a, b, true).await;
    let (a, mut b) = (Node::on(TCP).await, Node::limited(TCP, impatient).await);
    notice_silence(&mut b, a, false).await;
}

/// Cuts the cable between two nodes, of which one dialled the other, and waits until the first has noticed.
async fn notice_silence(a: &mut Node, mut b: Node, is_dialler: bool) {
    let (dialler, listener) = if is_dialler { (&mut *a, &mut b) } else { (&mut b, &mut *a) };
    let (address, cable) = common::cable_to(&listener.net.addresses().await[0]).await;
    dialler.net.connect_to(&manyhands_net::with_node(&address, listener.id())).await.unwrap();
    listener.wait_connected(dialler.id()).await;
    for node in [&*a, &b] {
        while node.net.peers().await.iter().any(|peer| peer.rtt.is_none()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    cable.send(false).unwrap();
    a.wait_disconnected(b.id()).await;
}

#[tokio::test]
async fn connections_over_the_limit_are_refused() {
    let a = Node::on(TCP).await;
    let mut c = Node::on(TCP).await;
    let mut b = Node::limited(TCP, |limits| limits.connections_in_max = 1).await;
    a.net.dial(&b.holder().await).await.unwrap();
    b.wait_connected(a.id()).await;
    // The refusal comes after the handshake, so the dialler may have been connected for a moment.
    if c.net.dial(&b.holder().await).await.is_ok() {
        c.wait_disconnected(b.id()).await;
    }
    let peers: Vec<_> = b.net.peers().await.into_iter().map(|peer| peer.node).collect();
    assert_eq!(peers, [a.id()]);
}

#[tokio::test]
async fn a_request_in_flight_ends_with_the_connection() {
    let (a, mut b) = pair(TCP).await;
    let to = b.id();
    let net = a.net.clone();
    let asked = tokio::spawn(async move { net.request(to, Request::Hello(capabilities())).await });
    let reply = b.wait("request", |event| match event {
        NetEvent::Request { reply, .. } => Some(reply),
        _ => None,
    });
    let _reply = reply.await;
    b.net.shutdown().await;
    assert_eq!(asked.await.unwrap(), Err(RequestError::Closed));
}

#[tokio::test]
async fn after_the_end_everything_says_so() {
    let (mut a, b) = pair(TCP).await;
    a.net.shutdown().await;
    assert_eq!(a.net.request(b.id(), Request::Hello(capabilities())).await, Err(RequestError::Stopped));
    assert!(matches!(a.net.dial(&b.holder().await).await, Err(NetError::Stopped)));
    assert!(a.net.addresses().await.is_empty());
    while a.events.recv().await.is_some() {}
}

#[tokio::test]
async fn a_blocked_node_stays_out_until_it_is_let_in() {
    let (a, mut b) = pair(TCP).await;
    b.net.block(a.id()).await;
    b.wait_disconnected(a.id()).await;
    let error = b.net.dial(&a.holder().await).await.unwrap_err();
    assert!(matches!(error, NetError::Dial { why: DialFailure::Denied, .. }), "{error:?}");
    // From a's side the handshake may succeed before it is refused, so what counts is that b never takes it for connected.
    let _ = a.net.dial(&b.holder().await).await;
    assert!(b.net.peers().await.is_empty());
    b.net.unblock(a.id()).await;
    let mut a = a;
    let holder = b.holder().await;
    let again = async {
        while b.net.peers().await.is_empty() {
            let _ = a.net.dial(&holder).await;
            while let Ok(event) = a.events.try_recv() {
                drop(event);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the node stayed out");
}

#[tokio::test]
async fn a_disconnected_node_may_come_back() {
    let (mut a, b) = pair(TCP).await;
    b.net.disconnect(a.id()).await;
    a.wait_disconnected(b.id()).await;
    a.net.dial(&b.holder().await).await.unwrap();
    a.wait_connected(b.id()).await;
}

#[tokio::test]
async fn strangers_find_each_other_through_a_common_acquaintance() {
    let middle = Node::on(TCP).await;
    let boot = vec![middle.full_address().await];
    let mut a = Node::start(NetConfig { boot: boot.clone(), ..config(TCP) }).await;
    // Without /p2p as well.
    let mut c = Node::start(NetConfig { boot: middle.net.addresses().await, ..config(QUIC) }).await;
    let (a_id, c_id) = (a.id(), c.id());
    tokio::join!(a.wait_connected(c_id), c.wait_connected(a_id));
    drop(middle);
}

#[tokio::test]
async fn a_node_returns_to_its_gateway() {
    let identity = Identity::generate();
    let (gateway, mut events) = start(identity.clone(), config(TCP)).await.unwrap();
    let address = gateway.addresses().await.remove(0);
    let mut node = Node::start(NetConfig { boot: vec![address.clone()], ..config(TCP) }).await;
    node.wait_connected(gateway.node_id()).await;
    gateway.shutdown().await;
    while events.recv().await.is_some() {}
    node.wait_disconnected(gateway.node_id()).await;
    let (again, _events) = start(identity, config(&address)).await.unwrap();
    node.wait_connected(again.node_id()).await;
}

#[tokio::test]
async fn an_occupied_port_is_named_with_a_remedy() {
    for listen in [TCP, QUIC] {
        let first = Node::on(listen).await;
        let address = first.net.addresses().await.remove(0);
        let error = start(Identity::generate(), config(&address)).await.unwrap_err();
        assert!(matches!(error, NetError::PortInUse { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&address) && text.contains("choose another port"), "{text}");
    }
}

#[tokio::test]
async fn bad_addresses_end_the_start() {
    let with = |change: fn(&mut NetConfig)| {
        let mut config = config(TCP);
        change(&mut config);
        start(Identity::generate(), config)
    };
    let error = with(|config| config.listen = vec!["0.0.0.0:4001".into()]).await.unwrap_err();
    assert!(error.to_string().contains("0.0.0.0:4001"), "{error}");
    assert!(matches!(error, NetError::Address { .. }));
    let error = with(|config| config.listen = vec!["/ip4/127.0.0.1/sctp/1".into()]).await.unwrap_err();
    assert!(matches!(error, NetError::Address { .. }), "{error:?}");
    let error = with(|config| config.boot = vec!["/ip4/127.0.0.1".into()]).await.unwrap_err();
    assert!(matches!(error, NetError::Address { .. }), "{error:?}");
    // An address of a documentation network belongs to no machine.
    let error = with(|config| config.listen = vec!["/ip4/192.0.2.1/tcp/4001".into()]).await.unwrap_err();
    assert!(matches!(error, NetError::Listen { .. }), "{error:?}");
}

#[tokio::test]
async fn a_node_that_only_dials_out_works() {
    let mut gateway = Node::on(TCP).await;
    let node = Node::start(NetConfig::default()).await;
    assert!(node.net.addresses().await.is_empty());
    node.net.dial(&gateway.holder().await).await.unwrap();
    gateway.wait_connected(node.id()).await;
}

#[tokio::test]
async fn announced_addresses_come_first() {
    let announce = vec!["/dns4/gateway.example/tcp/4001".to_owned()];
    let node = Node::start(NetConfig { announce: announce.clone(), ..config(TCP) }).await;
    assert_eq!(node.net.addresses().await, announce);
}
