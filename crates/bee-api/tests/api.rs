//! The API over a real socket: bounds, refusals, and what is kept and let go. bee-js has its own test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use manyhands_blob::Owner;
use manyhands_blob::redundancy::Level;
use proptest::prelude::*;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use support::Server;

struct Bee {
    server: Server,
    client: Client,
    batch: String,
}

impl Bee {
    async fn start(limit_bytes: u64, bytes_max: u64) -> Self {
        let server = Server::with(limit_bytes, bytes_max);
        let client = Client::new();
        let stamps: Value = client.get(format!("{}/stamps", server.url)).send().await.unwrap().json().await.unwrap();
        let batch = stamps["stamps"][0]["batchID"].as_str().unwrap().to_owned();
        Self { server, client, batch }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (StatusCode, Value) {
        let mut request = self.client.post(format!("{}{path}", self.server.url)).body(body);
        request = request.header("swarm-postage-batch-id", &self.batch);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn put(&self, headers: &[(&str, &str)], body: &[u8]) -> String {
        let (status, answer) = self.post("/bytes", headers, body.to_vec()).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["reference"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Vec<u8>) {
        let mut request = self.client.get(format!("{}{path}", self.server.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap().to_vec())
    }
}

fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

const FOLDER: [(&str, &str); 2] = [("content-type", "application/x-tar"), ("swarm-collection", "true")];

/// A tar of files at any paths that fit into a header.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

#[tokio::test]
async fn what_is_too_large_or_has_no_room_is_refused_and_nothing_stays() {
    let bee = Bee::start(1 << 20, 2 << 20).await;
    let (status, answer) = bee.post("/bytes", &[], noise(3 << 20)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    let (status, answer) = bee.post("/bytes", &[], noise(3 << 19)).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE);
    assert!(answer["message"].as_str().unwrap().contains("full"), "{answer}");
    assert_eq!(answer["code"], 507);
    assert_eq!(bee.server.store.used_bytes().unwrap(), 0);
    bee.put(&[], &noise(1 << 19)).await;
}

#[tokio::test]
async fn a_broken_upload_leaves_nothing() {
    let bee = Bee::start(1 << 24, 1 << 24).await;
    let bytes = noise(900_000);
    let tar = tar_of(&[("a", &bytes[..400_000]), ("b", &bytes[400_000..])]);
    let folder = "content-type: application/x-tar\r\nswarm-collection: true\r\n";
    for (path, headers, body) in [("/bytes", "", &bytes), ("/bzz", folder, &tar)] {
        let address = bee.server.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let (batch, length) = (&bee.batch, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nswarm-postage-batch-id: {batch}\r\n{headers}content-length: {length}\r\n\r\n",
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body[..500_000]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(!answer.contains("201"), "{answer}");
        assert_eq!(bee.server.store.used_bytes().unwrap(), 0);
    }
    let left: Vec<_> =
        std::fs::read_dir(bee.server.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the store and the book only: {left:?}");
}

#[tokio::test]
async fn ranges_of_every_kind_of_tree() {
    let bee = Bee::start(1 << 28, 1 << 28).await;
    let bytes = noise(700_000);
    for level in ["0", "1", "4"] {
        for encrypt in ["false", "true"] {
            let root = bee.put(&[("swarm-redundancy-level", level), ("swarm-encrypt", encrypt)], &bytes).await;
            for (first, last) in [(0, 0), (4095, 4096), (531_000, 699_999), (699_999, 699_999)] {
                let range = format!("bytes={first}-{last}");
                let (status, part) = bee.get(&format!("/bytes/{root}"), &[("range", &range)]).await;
                assert_eq!(status, StatusCode::PARTIAL_CONTENT);
                assert!(part == bytes[first..=last], "level {level}, {range}");
            }
            let (status, whole) =
                bee.get(&format!("/bytes/{root}"), &[("if-range", "\"other\""), ("range", "bytes=0-1")]).await;
            assert!(status == StatusCode::OK && whole == bytes);
        }
    }
}

#[tokio::test]
async fn an_upload_is_held_by_its_batch_and_pinned_beyond_it() {
    let bee = Bee::start(1 << 28, 1 << 28).await;
    let (store, owner) = (&bee.server.store, Owner::cut(&format!("batch {:.56}", bee.batch)));
    let tar = tar_of(&[("index.html", &noise(5000)), ("img/1.png", &noise(9000))]);
    let folder =
        [("content-type", "application/x-tar"), ("swarm-collection", "true"), ("swarm-index-document", "index.html")];
    let (status, answer) = bee.post("/bzz", &folder, tar).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let root = answer["reference"].as_str().unwrap().to_owned();
    assert!(store.held_roots(&owner).unwrap().len() >= 4, "two files and the nodes");
    let pin = format!("{}/pins/{root}", bee.server.url);
    assert_eq!(bee.client.post(&pin).send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(bee.client.post(&pin).send().await.unwrap().status(), StatusCode::OK);
    // What happens when a batch expires, and then the room is needed.
    store.release_owner_to_cache(&owner).unwrap();
    store.shrink_cache(0).unwrap();
    for (path, bytes) in [("", noise(5000)), ("index.html", noise(5000)), ("img/1.png", noise(9000))] {
        assert_eq!(bee.get(&format!("/bzz/{root}/{path}"), &[]).await, (StatusCode::OK, bytes), "{path}");
    }
    assert_eq!(bee.client.delete(&pin).send().await.unwrap().status(), StatusCode::OK);
    store.shrink_cache(0).unwrap();
    assert_eq!(store.used_bytes().unwrap(), 0);
    assert_eq!(bee.get(&format!("/bzz/{root}/"), &[]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pages_of_strangers_get_an_origin_of_their_own() {
    let bee = Bee::start(1 << 24, 1 << 24).await;
    let (_, answer) = bee.post("/bzz?name=a.html", &[("content-type", "text/html")], b"<script>".to_vec()).await;
    let url = format!("{}/bzz/{}/", bee.server.url, answer["reference"].as_str().unwrap());
    let page = bee.client.get(&url).send().await.unwrap();
    assert_eq!(page.headers()["content-security-policy"], "sandbox allow-scripts allow-forms allow-popups");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    for (name, value) in [("origin", "null"), ("origin", "http://evil.example"), ("host", "evil.example")] {
        let status = bee.client.get(&url).header(name, value).send().await.unwrap().status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_refused_folder_leaves_nothing() {
    let bee = Bee::start(1 << 24, 1 << 24).await;
    let good = noise(9000);
    let many = tar_of(&[("a", &good), ("b", &good[1..]), ("c", &good[2..])]);
    let mut refused: Vec<Vec<u8>> =
        ["../up", "a/../../up", "/etc/x"].iter().map(|path| tar_of(&[("a", &good), (path, b"x")])).collect();
    refused.extend([many[..many.len() - 9000].to_vec(), many[..12_000].to_vec()]);
    for tar in refused {
        let (status, answer) = bee.post("/bzz", &FOLDER, tar).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(bee.server.store.used_bytes().unwrap(), 0, "{answer}");
    }
    let (status, answer) = bee.post("/bzz", &FOLDER, many).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

#[tokio::test]
async fn a_folder_that_fills_the_store_half_way_leaves_nothing() {
    let bee = Bee::start(1 << 20, 1 << 24).await;
    let bytes = noise(600_000);
    let tar = tar_of(&[("a", &bytes[..200_000]), ("b", &bytes[200_000..400_000]), ("c", &bytes[400_000..])]);
    // It has room as it comes, but not with its parities.
    let headers = [FOLDER[0], FOLDER[1], ("swarm-redundancy-level", "4"), ("swarm-pin", "true")];
    let (status, answer) = bee.post("/bzz", &headers, tar.clone()).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{answer}");
    let store = &bee.server.store;
    assert_eq!((store.used_bytes().unwrap(), store.owners().unwrap().len(), store.pins().unwrap().len()), (0, 0, 0));
    assert_eq!(bee.post("/bzz", &FOLDER, tar).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn chunks_come_in_many_at_a_time() {
    let bee = Bee::start(1 << 26, 1 << 26).await;
    let chunks: Vec<Vec<u8>> =
        (0..100_u64).map(|n| [100_u64.to_le_bytes().to_vec(), vec![n as u8; 100]].concat()).collect();
    let posts = chunks.iter().map(|wire| bee.post("/chunks", &[], wire.clone()));
    for ((status, answer), wire) in futures::future::join_all(posts).await.into_iter().zip(&chunks) {
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let address = answer["reference"].as_str().unwrap();
        assert_eq!(&bee.get(&format!("/chunks/{address}"), &[]).await.1, wire);
    }
    let (_, stamp) = bee.get(&format!("/stamps/{}", bee.batch), &[]).await;
    let stamp: Value = serde_json::from_slice(&stamp).unwrap();
    assert_eq!((stamp["usable"].as_bool(), stamp["utilization"].as_u64()), (Some(true), Some(1)));
}

#[tokio::test]
async fn a_pin_of_a_chunk_without_what_is_below_it_blames_the_client() {
    let bee = Bee::start(1 << 24, 1 << 24).await;
    let root = [5000_u64.to_le_bytes().to_vec(), vec![7; 64]].concat();
    let (status, answer) = bee.post("/chunks", &[("swarm-pin", "true")], root.clone()).await;
    assert_eq!((status, answer["message"].as_str()), (StatusCode::NOT_FOUND, Some("pin collection failed")));
    assert_eq!(bee.server.store.pins().unwrap(), []);
    let leaf = [4_u64.to_le_bytes().to_vec(), b"here".to_vec()].concat();
    let (status, answer) = bee.post("/chunks", &[("swarm-pin", "true")], leaf).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(bee.server.store.pins().unwrap().len(), 1);
}

#[test]
fn the_level_of_who_says_none_is_a_setting() {
    use manyhands_bee_api::{Hive, HiveOptions};
    let folder = tempfile::tempdir().unwrap();
    let store = manyhands_blob::ChunkStore::open(&folder.path().join("chunks.redb"), 1 << 24).unwrap();
    let options = HiveOptions { folder: folder.path().to_owned(), level: Level::Medium, bytes_max: 1 << 20 };
    let hive = Hive::open(store, options).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (status, answer) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(manyhands_bee_api::serve(listener, hive, std::future::pending()));
        let client = Client::new();
        let stamps: Value = client.get(format!("{url}/stamps")).send().await.unwrap().json().await.unwrap();
        let batch = stamps["stamps"][0]["batchID"].as_str().unwrap().to_owned();
        let bytes: Vec<u8> = (0..4097_u32).map(|n| (n % 251) as u8).collect();
        let post = client.post(format!("{url}/bytes")).header("swarm-postage-batch-id", batch).body(bytes);
        let answer = post.send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    });
    // The vectors' level 1, which is what a Bee from 2.8.1 answers.
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(answer["reference"], "1453ee1ef38aa7b3a18373295abd8bedc96cb8c4c6e71aec155f523279f946ef");
}

#[tokio::test]
async fn a_path_or_a_query_that_cannot_be_read_is_refused_in_bees_form() {
    let bee = Bee::start(1 << 24, 1 << 24).await;
    for (path, place, field) in [
        ("/tags?offset=abc", "query", "offset"),
        ("/tags?limit=-1", "query", "limit"),
        ("/v1/tags?offset=1&offset=2", "query", "query"),
        ("/bytes/%ff", "path", "path"),
    ] {
        let (status, answer) = bee.get(path, &[]).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((status, answer["code"].as_u64()), (StatusCode::BAD_REQUEST, Some(400)), "{path}");
        assert_eq!(answer["message"], format!("invalid {place} params"));
        assert_eq!(answer["reasons"][0]["field"], field, "{answer}");
    }
}

fn paths() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "(bytes|chunks|bzz|pins|tags|stamps|stewardship|soc|topup|dilute|v1|health|node)",
        "[0-9a-f]{64}",
        "[0-9a-f]{128}",
        "[0-9]{1,40}",
        "[a-z%.0-9-]{0,9}",
    ];
    prop::collection::vec(word, 1..5).prop_map(|words| format!("/{}", words.join("/")))
}

#[test]
fn any_request_has_an_answer_that_blames_the_client() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bee = runtime.block_on(Bee::start(1 << 24, 1 << 16));
    let methods =
        prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]);
    let header = prop::sample::select(vec![
        "swarm-pin",
        "swarm-encrypt",
        "swarm-tag",
        "swarm-redundancy-level",
        "swarm-collection",
        "swarm-deferred-upload",
        "content-type",
        "range",
        "if-none-match",
        "swarm-index-document",
        "immutable",
    ]);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let request = (methods, paths(), header, "[ -~]{0,30}", prop::collection::vec(any::<u8>(), 0..300));
    let outcome = runner.run(&request, |(method, path, name, value, body)| {
        let is_head = method == Method::HEAD;
        let request = bee.client.request(method, format!("{}{path}", bee.server.url)).body(body);
        let request = request.header("swarm-postage-batch-id", &bee.batch).header(name, value);
        let (status, body) = runtime.block_on(async {
            let answer = request.send().await.unwrap();
            (answer.status(), answer.bytes().await.unwrap())
        });
        prop_assert!(status.as_u16() < 500 || status == StatusCode::NOT_IMPLEMENTED, "{} {}", status, path);
        if status.as_u16() >= 400 && !is_head {
            let refusal: Value = serde_json::from_slice(&body).unwrap_or_default();
            prop_assert_eq!(refusal["code"].as_u64(), Some(u64::from(status.as_u16())), "{} {:?}", path, body);
        }
        Ok(())
    });
    outcome.unwrap();
}
