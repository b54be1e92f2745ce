//! `manyhands sim` from outside: small worlds, and what it says when it is asked for something that is not there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use support::{json, run};
use tempfile::tempdir;

#[tokio::test]
async fn a_small_world_gives_a_table_and_pictures() {
    let dir = tempdir().unwrap();
    let said = run(dir.path(), &["sim", "cafe", "--jobs", "1", "--seeds", "2", "--svg", "pictures"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines[0].contains("p50/T*") && lines[2].starts_with("adaptive") && lines[2].contains("2/2"), "{said:?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 120), "{said:?}");
    assert!(said.err.contains("adaptive, seed 2: 1 of 1 job done"), "{said:?}");
    for name in ["redundancy", "fleet-adaptive", "gantt-adaptive"] {
        let svg = std::fs::read_to_string(dir.path().join(format!("pictures/{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{name}");
    }
}

#[tokio::test]
async fn the_json_is_the_same_each_time() {
    let dir = tempdir().unwrap();
    let words = ["sim", "cafe", "--jobs", "1", "--policy", "adaptive,requeue", "--seed", "5", "--seeds", "2", "--json"];
    let (one, other) = (run(dir.path(), &words).await, run(dir.path(), &words).await);
    assert_eq!((one.status, &one.out), (0, &other.out), "{one:?}");
    let value = json(&one);
    assert_eq!(value["scenario"]["name"], "cafe");
    let cases = value["cases"].as_array().unwrap();
    assert_eq!(cases.iter().map(|case| case["policy"].as_str().unwrap()).collect::<Vec<_>>(), ["adaptive", "requeue"]);
    let seeds = cases[0]["seeds"].as_array().unwrap();
    assert_eq!((&seeds[0]["seed"], &seeds[1]["seed"]), (&5.into(), &6.into()));
    assert_eq!(seeds[0]["log_hash"].as_str().unwrap().len(), 64);
    assert!(seeds[0]["figures"]["makespan_p50_s"].is_f64() && cases[0]["summary"]["wasted_share"]["median"].is_f64());
}

#[tokio::test]
async fn what_is_not_there_is_answered_with_what_is() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("bad.toml"), "name = \"bad\"\njobs = [{}]\n[fleet]\nnodez = 3\n").unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let questions: [(&[&str], &str); 7] = [
        (&["sim", "coffee"], "paper-840"),
        (&["sim", "nowhere.toml"], "nowhere.toml"),
        (&["sim", "cafe", "--policy", "best"], "fixed-5-run-on"),
        (&["sim", "bad.toml"], "line 4"),
        (&["sim", "cafe", "--seeds", "0"], "0"),
        (&["sim", "cafe", "--svg", "file/pictures"], "cannot write pictures"),
        (&["sim", "cafe", "--wasters", "3"], "0 to 1"),
    ];
    for (words, answer) in questions {
        let said = run(dir.path(), words).await;
        assert_eq!(said.status, 2, "{words:?}: {said:?}");
        assert!(said.err.contains(answer) && said.out.is_empty(), "{words:?}: {said:?}");
    }
    let said = run(dir.path(), &["sim", "coffee", "--json"]).await;
    assert_eq!(said.status, 2, "{said:?}");
    assert!(json(&said)["hint"].as_str().unwrap().contains("cafe"), "{said:?}");
    let said = run(dir.path(), &["sim"]).await;
    assert_eq!(said.status, 2, "{said:?}");
}

#[tokio::test]
async fn the_list_names_scenarios_and_policies() {
    let dir = tempdir().unwrap();
    let said = run(dir.path(), &["sim", "list"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.out.contains("bench-168") && said.out.contains("fixed-5-ranked"), "{said:?}");
    let listed = json(&run(dir.path(), &["sim", "list", "--json"]).await);
    for kind in ["scenarios", "policies"] {
        let named = listed[kind].as_array().unwrap();
        assert!(!named.is_empty(), "{listed}");
        for item in named {
            let (name, story) = (item["name"].as_str().unwrap(), item["story"].as_str().unwrap());
            assert!(said.out.contains(name) && !story.is_empty(), "{item}");
        }
    }
}
