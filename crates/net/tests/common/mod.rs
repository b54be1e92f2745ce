//! Nodes on loopback, and a villain that speaks libp2p but breaks our protocols.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity};
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, SwarmBuilder, noise, tcp, yamux};
use manyhands_net::{Identity, Net, NetConfig, NetEvent, NetLimits, start};
use manyhands_proto::message::{Capabilities, Holder, JobNotice, NOTICE_TOPIC};
use manyhands_proto::{JobId, NodeId, Po2};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Long enough for a machine under full load; no test passes or fails by how fast it is.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct Node {
    pub net: Net,
    pub events: mpsc::Receiver<NetEvent>,
}

pub fn config(listen: &str) -> NetConfig {
    NetConfig { listen: vec![listen.to_owned()], agent: "test".into(), ..NetConfig::default() }
}

impl Node {
    pub async fn start(config: NetConfig) -> Self {
        let (net, events) = start(Identity::generate(), config).await.unwrap();
        Self { net, events }
    }

    pub async fn on(listen: &str) -> Self {
        Self::start(config(listen)).await
    }

    pub async fn limited(listen: &str, change: impl FnOnce(&mut NetLimits)) -> Self {
        let mut config = config(listen);
        change(&mut config.limits);
        Self::start(config).await
    }

    pub fn id(&self) -> NodeId {
        self.net.node_id()
    }

    pub async fn holder(&self) -> Holder {
        Holder { node: self.id(), addresses: self.net.addresses().await }
    }

    /// The address with the node's name, as people paste it.
    pub async fn full_address(&self) -> String {
        manyhands_net::with_node(&self.net.addresses().await[0], self.id())
    }

    /// The first event that `pick` wants; others are dropped.
    pub async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        let picked = async {
            loop {
                let event = self.events.recv().await.unwrap_or_else(|| panic!("the net ended before {what}"));
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        tokio::time::timeout(PATIENCE, picked).await.unwrap_or_else(|_| panic!("no {what} came"))
    }

    pub async fn wait_connected(&mut self, to: NodeId) {
        self.wait("connection", |event| matches!(event, NetEvent::Connected { node, .. } if node == to).then_some(()))
            .await;
    }

    pub async fn wait_disconnected(&mut self, from: NodeId) {
        self.wait("disconnection", |event| {
            matches!(event, NetEvent::Disconnected { node } if node == from).then_some(())
        })
        .await;
    }
}

/// Two connected nodes; the first dialled.
pub async fn pair(listen: &str) -> (Node, Node) {
    let (a, mut b) = (Node::on(listen).await, Node::on(listen).await);
    a.net.dial(&b.holder().await).await.unwrap();
    b.wait_connected(a.id()).await;
    (a, b)
}

/// A TCP relay to the one address, and a switch: after `false` it carries nothing and closes nothing.
pub async fn cable_to(address: &str) -> (String, watch::Sender<bool>) {
    let port: u16 = address.rsplit('/').next().unwrap().parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relayed = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    let (switch, plugged) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let mut plugged = plugged.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = async { drop(plugged.wait_for(|plugged| !plugged).await) } => std::future::pending().await,
                }
            });
        }
    });
    (relayed, switch)
}

pub fn capabilities() -> Capabilities {
    Capabilities {
        zkvm: "3.0.6".into(),
        po2_max: Po2::try_from(18).unwrap(),
        memory_bytes: 4 << 30,
        slots: 1,
        cores: 4,
        recursion: false,
        timings: Vec::new(),
    }
}

pub fn notice(gateway: NodeId, job: u8) -> JobNotice {
    JobNotice {
        job: JobId([job; 16]),
        gateway: Holder { node: gateway, addresses: vec!["/ip4/192.0.2.7/tcp/4001".into()] },
        zkvm: "3.0.6".into(),
        po2: Po2::try_from(18).unwrap(),
        recursion: false,
    }
}

/// Raw streams under any protocol name, and gossip with any content.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct VillainBehaviour {
    streams: libp2p_stream::Behaviour,
    gossip: gossipsub::Behaviour,
}

pub struct Villain {
    pub node: NodeId,
    pub streams: libp2p_stream::Control,
    publish: mpsc::Sender<Vec<u8>>,
    pub listening: Multiaddr,
}

impl Villain {
    /// Listens, dials `victim`, and returns when it is connected.
    pub async fn connected_to(victim: &str) -> Self {
        let keypair = Keypair::generate_ed25519();
        let node = NodeId(keypair.public().try_into_ed25519().unwrap().to_bytes());
        let mut gossip: gossipsub::Behaviour = gossipsub::Behaviour::new(
            MessageAuthenticity::Signed(keypair.clone()),
            gossipsub::ConfigBuilder::default().build().unwrap(),
        )
        .unwrap();
        gossip.subscribe(&IdentTopic::new(NOTICE_TOPIC)).unwrap();
        let behaviour = VillainBehaviour { streams: libp2p_stream::Behaviour::new(), gossip };
        let streams = behaviour.streams.new_control();
        let mut swarm = SwarmBuilder::with_existing_identity(keypair)
            .with_tokio()
            .with_tcp(tcp::Config::new(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| behaviour)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
            .build();
        swarm.listen_on(TCP.parse().unwrap()).unwrap();
        swarm.dial(victim.parse::<Multiaddr>().unwrap()).unwrap();
        let mut listening = None;
        let mut connected = false;
        while listening.is_none() || !connected {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => listening = Some(address),
                SwarmEvent::ConnectionEstablished { .. } => connected = true,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("the villain cannot connect: {error}"),
                _ => {}
            }
        }
        let (publish, mut to_publish) = mpsc::channel::<Vec<u8>>(4);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = swarm.select_next_some() => {}
                    data = to_publish.recv() => {
                        let Some(data) = data else { break };
                        // Fails until the victim has told its subscription; the test tries again.
                        let _ = swarm.behaviour_mut().gossip.publish(IdentTopic::new(NOTICE_TOPIC), data);
                    }
                }
            }
        });
        Self { node, streams, publish, listening: listening.unwrap() }
    }

    pub async fn publish(&self, data: Vec<u8>) {
        self.publish.send(data).await.unwrap();
    }

    pub fn peer_of(node: NodeId) -> PeerId {
        manyhands_net::peer_text(node).parse().unwrap()
    }
}
