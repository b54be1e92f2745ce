//! A daemon for which there is nothing without a Bee node does not start without one, and says what to do.
#![allow(clippy::unwrap_used, clippy::panic)]

use manyhands_node::config::{BeeConfig, StorageMode};
use manyhands_node::{Config, StartError, gateway, prover};

fn config(dir: &std::path::Path) -> Config {
    // Nobody listens on port 1.
    let url = Some("http://127.0.0.1:1".to_owned());
    let bee = BeeConfig { mode: Some(StorageMode::BeeOnly), url, batch: None };
    Config { data_dir: dir.to_owned(), bee, ..Config::default() }
}

fn refused(result: Result<(), StartError>) {
    let error = result.unwrap_err();
    assert!(matches!(error, StartError::Bee { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("no Bee node answers") && said.contains("start the Bee node"), "{said}");
}

#[tokio::test]
async fn neither_daemon_starts_without_the_bee_node_that_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    refused(gateway::run(config(dir.path()), |_| panic!("it is up"), std::future::pending()).await);
    refused(prover::run(config(dir.path()), |_| panic!("it is up"), std::future::pending()).await);
    assert!(!dir.path().join("chunks.redb").exists(), "nothing was begun");
}
