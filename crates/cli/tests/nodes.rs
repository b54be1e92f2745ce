//! `manyhands nodes` against a gateway that writes down what it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use manyhands_core::Verdict;
use manyhands_core::view::NodeView;
use manyhands_proto::{NodeId, Po2};
use support::{Script, gateway, json, run};
use tempfile::tempdir;

fn node(byte: u8, verdict: Option<Verdict>) -> NodeView {
    NodeView {
        node: NodeId([byte; 32]),
        connected: true,
        po2_max: Some(Po2::MIN),
        slots: Some(1),
        recursion: Some(false),
        zkvm: Some("risc0-zkvm 3.0.6".to_owned()),
        valid: 0,
        offences: 0,
        blocked: verdict.map(|_| "denied by this gateway's operator".to_owned()),
        blocked_ms: None,
        verdict,
        score: None,
        challenged: None,
    }
}

#[tokio::test]
async fn nodes_are_denied_allowed_and_let_be() {
    let nodes = vec![node(0xa1, None), node(0xb2, Some(Verdict::Denied))];
    let (script, address) = gateway(Script { nodes, ..Script::default() }).await;
    let dir = tempdir().unwrap();
    let nodes = async |words: &[&str]| run(dir.path(), &[&["nodes"], words, &["--gateway", &address]].concat()).await;

    let listed = nodes(&["list"]).await;
    assert!(listed.out.contains("b2b2b2b2  denied") && listed.out.contains("a1a1a1a1  ready"), "{listed:?}");
    let listed = nodes(&["list", "--json"]).await;
    assert_eq!(json(&listed)[1]["verdict"], "denied");

    let whole = "cc".repeat(32);
    let denied = nodes(&["deny", "a1a1a1a1", "--reason", "a lab's"]).await;
    assert!(denied.status == 0 && denied.out.contains("is denied: it gets no more work"), "{denied:?}");
    let allowed = nodes(&["allow", &whole, "--json"]).await;
    assert_eq!(json(&allowed), serde_json::json!({ "node": whole, "verdict": "allowed" }));
    assert_eq!(nodes(&["reset", "b2b2b2b2"]).await.status, 0);
    let told = script.rulings.lock().unwrap().clone();
    let told: Vec<_> = told.iter().map(|(id, said)| (id.as_str(), said.verdict, said.reason.as_str())).collect();
    let (first, second) = ("a1".repeat(32), "b2".repeat(32));
    assert_eq!(
        told,
        [
            (first.as_str(), Some(Verdict::Denied), "a lab's"),
            (whole.as_str(), Some(Verdict::Allowed), ""),
            (second.as_str(), None, "")
        ]
    );
}

#[tokio::test]
async fn a_node_that_cannot_be_meant_is_not_told_of() {
    let (script, address) = gateway(Script { nodes: vec![node(1, None)], ..Script::default() }).await;
    let dir = tempdir().unwrap();
    let long = "x".repeat(161);
    for (words, why) in [
        (vec!["deny", "ffffffff"], "knows no node ffffffff"),
        (vec!["deny", "0101"], "knows no node 0101"),
        (vec!["allow", "../../v1/jobs"], "knows no node"),
        (vec!["deny", "01010101", "--reason", &long], "at most 160 bytes"),
    ] {
        let said = run(dir.path(), &[&["nodes"], words.as_slice(), &["--gateway", &address]].concat()).await;
        assert!(said.status == 2 && said.err.contains(why), "{said:?}");
    }
    assert!(script.rulings.lock().unwrap().is_empty());
}
