//! `manyhands explain` against a gateway that follows a script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::sync::Mutex;

use manyhands_core::explain::{Explanation, Pace, Reason, Running, Wait};
use manyhands_core::job::UnitState::{Leased, Stored, Verified};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{NodeId, Po2, Unit};
use support::{JOB, Script, gateway, json, run, status};
use tempfile::tempdir;

fn explanation() -> Explanation {
    let wait = Wait {
        kind: UnitKind::Prove,
        po2: Po2::try_from(17).unwrap(),
        units: 1_200,
        copies: false,
        reason: Reason::Taken { busy: 3, barred: 0, silent: 0, free_in_ms: Some(4_000) },
        why: "no able node waits for work: 3 busy".to_owned(),
        able: 3,
        nodes: vec![NodeId([1; 32]), NodeId([2; 32])],
    };
    let copy = Wait { units: 1, copies: true, reason: Reason::NotAble, able: 0, nodes: Vec::new(), ..wait.clone() };
    let running = Running {
        unit: Unit::Prove(1),
        attempt: 2,
        node: NodeId([2; 32]),
        elapsed_ms: 70_000,
        predicted_ms: 28_000,
        left_ms: 5_000,
        pace: Pace::Late,
        copy: true,
    };
    Explanation {
        now: "1 of 3 units verified".to_owned(),
        next: "the next result is\nnear \x1b[2J".to_owned(),
        waits: vec![wait, copy],
        leases: vec![running],
        leases_total: 41,
        ..Explanation::of_view(&status("open", &[Verified, Leased, Stored]).view)
    }
}

/// A gateway with one job that is open.
async fn open() -> String {
    let statuses = Mutex::new(vec![status("open", &[Verified, Leased, Stored])]);
    gateway(Script { statuses, explanation: Some(explanation()), ..Script::default() }).await.1
}

#[tokio::test]
async fn it_says_what_waits_who_is_able_and_what_is_under_way() {
    let (dir, address) = (tempdir().unwrap(), open().await);
    let said = run(dir.path(), &["explain", &JOB.to_string(), "--gateway", &address]).await;
    assert_eq!((said.status, said.err.as_str()), (0, ""), "{said:?}");
    let expected = format!(
        "job {JOB}: open, normal priority, po2 17, 2.0 s
  now: 1 of 3 units verified
  next: the next result is near \\u{{1b}}[2J

waiting
  1,200 proofs, po2 17: no able node waits for work: 3 busy
    able nodes: 01010101, 02020202 and 1 more
  1 proof for a second node, po2 17: no able node waits for work: 3 busy
    able nodes: none

under way
  unit     attempt  node      elapsed  predicted   left  note
  prove 1        2  02020202   70.0 s     28.0 s  5.0 s  a copy, late
  and 40 more
"
    );
    assert_eq!(said.out, expected);
}

#[tokio::test]
async fn as_json_it_is_what_the_gateway_said() {
    let (dir, address) = (tempdir().unwrap(), open().await);
    let said = run(dir.path(), &["explain", &JOB.to_string(), "--gateway", &address, "--json"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    assert_eq!(serde_json::from_value::<Explanation>(json(&said)).unwrap(), explanation());
}

#[tokio::test]
async fn an_ended_job_needs_few_words() {
    let dir = tempdir().unwrap();
    let statuses = Mutex::new(vec![status("done", &[Verified])]);
    let (_, address) = gateway(Script { statuses, ..Script::default() }).await;
    let said = run(dir.path(), &["explain", &JOB.to_string(), "--gateway", &address]).await;
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.out.contains("next: nothing; `manyhands attach abab"), "{said:?}");
    assert!(!said.out.contains("waiting") && !said.out.contains("under way"), "{said:?}");
}

#[tokio::test]
async fn a_job_that_is_not_there_or_no_id_is_refused_with_what_to_do() {
    let (dir, address) = (tempdir().unwrap(), open().await);
    let unknown = "00".repeat(16);
    let said = run(dir.path(), &["explain", &unknown, "--gateway", &address]).await;
    assert_ne!(said.status, 0);
    assert!(
        said.err.contains(&format!("this gateway has no job {unknown}; `manyhands status` lists them")),
        "{said:?}"
    );
    assert_eq!(said.out, "");
    let said = run(dir.path(), &["explain", &unknown, "--gateway", &address, "--json"]).await;
    assert_ne!(said.status, 0);
    assert!(json(&said)["error"].as_str().unwrap().contains("this gateway has no job"), "{said:?}");
    let said = run(dir.path(), &["explain", "abc", "--gateway", &address]).await;
    assert_eq!(said.status, 2);
    assert!(said.err.contains("32 hexadecimal digits"), "{said:?}");
}
