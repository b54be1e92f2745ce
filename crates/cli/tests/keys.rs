//! `manyhands keys` from outside: a key is shown once, listed without it, and revoked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::Path;

use serde_json::{Value, json as value};
use support::{Said, json, run};
use tempfile::tempdir;

async fn keys(dir: &Path, words: &[&str]) -> Said {
    run(dir, &[&["keys"], words].concat()).await
}

async fn listed(dir: &Path) -> Value {
    json(&keys(dir, &["list", "--json"]).await)["keys"].clone()
}

#[tokio::test]
async fn a_key_is_made_listed_and_revoked() {
    let dir = tempdir().unwrap();
    let none = keys(dir.path(), &["list"]).await;
    assert!(none.status == 0 && none.out.contains("no keys"), "{none:?}");

    let made =
        keys(dir.path(), &["create", "alice", "--budget-cycles", "5000", "--storage-mb", "7", "--priority", "high"])
            .await;
    let key = made.out.trim_end();
    assert!(made.status == 0 && key.starts_with("mh_") && key.len() == 67, "{made:?}");
    assert!(made.err.contains("BONSAI_API_KEY"), "what it is for: {made:?}");
    let rows = listed(dir.path()).await;
    let row = rows[0].as_object().unwrap();
    assert_eq!((rows.as_array().unwrap().len(), &row["name"], &row["revoked"]), (1, &value!("alice"), &value!(false)));
    let limits = [&row["bytes_max"], &row["budget_cycles"], &row["used_cycles"], &row["priority"]];
    assert_eq!(limits, [&value!(7_000_000), &value!(5000), &value!(0), &value!("high")]);
    let table = keys(dir.path(), &["list"]).await;
    assert!(table.out.contains("alice") && table.out.contains("5000") && !table.out.contains(key), "{table:?}");

    let again = keys(dir.path(), &["create", "alice"]).await;
    assert!(again.status == 2 && again.err.contains("manyhands keys revoke alice"), "{again:?}");
    let as_json = json(&keys(dir.path(), &["create", "bob", "--json"]).await);
    assert!(as_json["name"] == "bob" && as_json["key"].as_str().unwrap().starts_with("mh_"), "{as_json}");
    assert!(listed(dir.path()).await[1]["budget_cycles"].is_null());

    assert_eq!(keys(dir.path(), &["revoke", "alice"]).await.status, 0);
    assert_eq!(listed(dir.path()).await[0]["revoked"], true);
    let twice = keys(dir.path(), &["revoke", "alice"]).await;
    assert!(twice.status == 1 && twice.err.contains("no valid key") && twice.err.contains("keys list"), "{twice:?}");
    assert_eq!(keys(dir.path(), &["create", "alice"]).await.status, 0, "a new one may be made");
    assert_eq!(keys(dir.path(), &["create", "a b"]).await.status, 2, "no name");
}
