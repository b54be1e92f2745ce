//! `manyhands blob` from outside: references held against Bee's, and a store that is filled, looked at, damaged and cleared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use manyhands_blob::{ChunkStore, Owner};
use rustix::process::Signal;
use serde_json::{Value, json as value};
use support::{PATIENCE, Said, json, manyhands, run, said, signal};
use tempfile::tempdir;

/// Bytes without a short period, so that chunks differ; other seeds give other bytes.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// Runs `manyhands blob` with these words.
async fn blob(dir: &Path, words: &[&str]) -> Said {
    run(dir, &[&["blob"], words].concat()).await
}

/// As [`blob`], where it must succeed, and its JSON.
async fn blob_json(dir: &Path, words: &[&str]) -> Value {
    let said = blob(dir, &[words, &["--json"]].concat()).await;
    assert_eq!(said.status, 0, "{words:?}: {said:?}");
    json(&said)
}

/// Puts a file that is there, and tells its reference.
async fn put(dir: &Path, words: &[&str]) -> String {
    let said = blob(dir, &[&["put"], words].concat()).await;
    assert_eq!(said.status, 0, "{words:?}: {said:?}");
    said.out.trim_end().to_owned()
}

/// What `get` writes to a pipe.
async fn get(dir: &Path, reference: &str) -> Vec<u8> {
    let output = manyhands(dir, &["blob", "get", reference]).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Asserts that a command fails with `status`, says `words` on standard error and one JSON object where that is asked for.
async fn refused(dir: &Path, words: &[&str], status: i32, expected: &[&str]) {
    let told = blob(dir, words).await;
    assert_eq!((told.status, told.out.as_str()), (status, ""), "{words:?}: {told:?}");
    let as_json = blob(dir, &[words, &["--json"]].concat()).await;
    assert_eq!(as_json.status, status, "{as_json:?}");
    let failure = json(&as_json);
    assert_eq!(keys(&failure), ["error", "hint"], "{failure}");
    for word in expected {
        assert!(told.err.contains(word), "{words:?}: no {word:?} in {told:?}");
        let [error, hint] = ["error", "hint"].map(|key| failure[key].as_str().unwrap_or_default());
        assert!(error.contains(word) || hint.contains(word), "{words:?}: no {word:?} in {failure}");
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn store_file(dir: &Path) -> PathBuf {
    dir.join("data/manyhands/chunks.redb")
}

/// The roots that `ls` lists, by reference.
async fn roots(dir: &Path) -> Vec<(String, Value)> {
    let listed = blob_json(dir, &["ls"]).await;
    let roots = listed["roots"].as_array().unwrap().iter();
    roots.map(|root| (root["reference"].as_str().unwrap().to_owned(), root.clone())).collect()
}

#[tokio::test]
async fn references_are_bees_at_every_level() {
    let dir = tempdir().unwrap();
    let vectors: Value =
        serde_json::from_str(include_str!("../../blob/testdata/swarm_vectors.json")).expect("vectors are JSON");
    // The larger ones take a weak machine long, and are in the library's own tests.
    let rows = vectors["mod251"].as_array().unwrap().iter().filter(|row| row["size"].as_u64().unwrap() < 4_000_000);
    let rows: Vec<(String, &Value)> = rows.map(|row| (format!("mod251-{}", row["size"]), row)).collect();
    assert!(rows.len() >= 8, "{}", rows.len());
    for (name, row) in &rows {
        let bytes: Vec<u8> = (0..row["size"].as_u64().unwrap()).map(|at| (at % 251) as u8).collect();
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    for level in ["0", "1", "2", "3", "4"] {
        let due = rows.iter().map(|(name, row)| {
            let of_level = row["redundancy_references"][level].as_str();
            let reference = if level == "0" { row["reference"].as_str() } else { of_level };
            format!("{}  {name}\n", reference.expect("each row has each level"))
        });
        let said = blob(dir.path(), &[&["ref", "--redundancy", level], names.as_slice()].concat()).await;
        assert_eq!((said.status, said.out), (0, due.collect::<String>()), "level {level}");
    }
    assert!(!dir.path().join("data").exists(), "it makes no store");
    assert_eq!(
        blob(dir.path(), &["ref", names[4]]).await.out,
        blob(dir.path(), &["ref", "--redundancy", "0", names[4]]).await.out
    );
}

#[tokio::test]
async fn standard_input_and_json_give_the_same_reference() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("hello"), "hello world").unwrap();
    std::fs::write(dir.path().join("two\nlines"), "").unwrap();
    let hello = "92672a471f4419b255d7cb0cf313474a6f5856fb347c5ece85fb706d644b630f";
    let mut command = manyhands(dir.path(), &["blob", "ref", "-"]);
    command.stdin(std::fs::File::open(dir.path().join("hello")).unwrap());
    assert_eq!(said(&command.output().await.unwrap()).out, format!("{hello}  -\n"));
    let told = blob_json(dir.path(), &["ref", "hello"]).await;
    let row = value!({ "name": "hello", "reference": hello, "size_bytes": 11 });
    assert_eq!(told, value!({ "redundancy": 0, "encrypted": false, "references": [row] }));
    let said = blob(dir.path(), &["ref", "hello", "two\nlines"]).await;
    assert!(said.out.lines().count() == 2 && said.out.contains("  two\\nlines\n"), "{said:?}");
    let encrypted = blob_json(dir.path(), &["ref", "hello", "--encrypt", "--redundancy", "2"]).await;
    let other = blob_json(dir.path(), &["ref", "hello", "--encrypt", "--redundancy", "2"]).await;
    assert_eq!((&encrypted["redundancy"], &encrypted["encrypted"]), (&2.into(), &true.into()));
    let of = |told: &Value| told["references"][0]["reference"].as_str().unwrap().to_owned();
    assert!(of(&encrypted).len() == 128 && of(&encrypted) != of(&other), "{encrypted}");
}

#[tokio::test]
async fn what_was_put_comes_back_at_every_level_and_encrypted() {
    let dir = tempdir().unwrap();
    let bytes = noise(700_001, 1);
    std::fs::write(dir.path().join("f"), &bytes).unwrap();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for level in ["0", "1", "2", "3", "4"] {
        let reference = put(dir.path(), &["f", "--redundancy", level]).await;
        assert_eq!(
            reference,
            blob(dir.path(), &["ref", "f", "--redundancy", level]).await.out.split("  ").next().unwrap()
        );
        let sealed = put(dir.path(), &["f", "--redundancy", level, "--encrypt"]).await;
        assert_eq!((reference.len(), sealed.len()), (64, 128));
        for reference in [reference, sealed] {
            assert!(get(dir.path(), &reference).await == bytes, "level {level}");
            assert!(seen.insert(reference), "each is another one");
        }
    }
    let empty = put(dir.path(), &["empty"]).await;
    assert_eq!(get(dir.path(), &empty).await, b"");
    for text in [format!("0x{empty}"), format!("bzz://{empty}/"), empty.to_uppercase()] {
        assert_eq!(get(dir.path(), &text).await, b"", "{text}");
    }
    // Without its key the address of an encrypted file is not enough.
    let sealed = put(dir.path(), &["f", "--encrypt"]).await;
    let output = manyhands(dir.path(), &["blob", "get", &sealed[..64]]).output().await.unwrap();
    // The span that the key hides is random: too large, or of no level.
    assert!(matches!(output.status.code(), Some(1 | 2)) && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("128 digits"));
}

#[tokio::test]
async fn a_key_can_be_read_from_standard_input_and_is_never_repeated() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "secret").unwrap();
    let sealed = put(dir.path(), &["f", "--encrypt"]).await;
    std::fs::write(dir.path().join("reference"), format!("{sealed}\n")).unwrap();
    let mut command = manyhands(dir.path(), &["blob", "get", "-", "-o", "out", "--json"]);
    command.stdin(std::fs::File::open(dir.path().join("reference")).unwrap());
    let said = said(&command.output().await.unwrap());
    assert_eq!(json(&said), value!({ "address": sealed[..64], "size_bytes": 6, "path": "out" }));
    let key = &sealed[64..];
    let wrong = format!("{sealed}0");
    for words in [["get", wrong.as_str()], ["pin", &wrong], ["unpin", &sealed], ["rm", &wrong]] {
        let told = blob(dir.path(), &[words.as_slice(), &["--store", "data/manyhands/chunks.redb"]].concat()).await;
        assert!(told.status == 2 && !told.err.contains(key) && !told.out.contains(key), "{told:?}");
    }
    let pinned = blob_json(dir.path(), &["pin", &sealed]).await;
    assert_eq!(pinned, value!({ "address": sealed[..64], "pinned": true, "changed": true }));
    let listed = blob(dir.path(), &["ls", "--json"]).await;
    assert!(listed.out.contains(&sealed[..64]) && !listed.out.contains(key), "{listed:?}");
}

#[tokio::test]
async fn a_file_is_replaced_whole_or_not_at_all() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("f"), noise(300_000, 2)).unwrap();
    std::fs::write(dir.path().join("out"), "old").unwrap();
    let reference = put(dir.path(), &["f"]).await;
    refused(dir.path(), &["get", &reference, "-o", "out", "--max-bytes", "299999"], 2, &["300000", "--max-bytes"])
        .await;
    assert_eq!(std::fs::read(dir.path().join("out")).unwrap(), b"old");
    let written = blob_json(dir.path(), &["get", &reference, "-o", "out", "--max-bytes", "300000"]).await;
    assert_eq!(written, value!({ "address": reference, "size_bytes": 300_000, "path": "out" }));
    assert!(std::fs::read(dir.path().join("out")).unwrap() == noise(300_000, 2));
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with(".manyhands")).count(), 0, "no draft is left behind");
    let said = blob(dir.path(), &["get", &reference, "--json"]).await;
    assert_eq!(said.status, 2, "{said:?}");
    assert!(json(&said)["error"].as_str().unwrap().contains("--output"), "{said:?}");
}

#[tokio::test]
async fn wrong_words_and_files_are_told_apart() {
    let dir = tempdir().unwrap();
    let zeros = "0".repeat(64);
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    std::fs::write(dir.path().join("f"), "x").unwrap();
    std::fs::write(dir.path().join("junk"), noise(70_000, 3)).unwrap();
    for command in ["ls", "gc", "scrub"] {
        refused(dir.path(), &[command], 2, &["there is no chunk store", "blob put"]).await;
    }
    refused(dir.path(), &["get", &zeros, "-o", "out"], 2, &["there is no chunk store"]).await;
    assert!(!dir.path().join("data").exists() && !dir.path().join("out").exists(), "only put makes a store");
    put(dir.path(), &["f"]).await;
    for command in ["get", "pin", "unpin", "rm"] {
        let words: &[&str] = if command == "get" { &["-o", "out"] } else { &[] };
        refused(dir.path(), &[&[command, "abc"], words].concat(), 2, &["64 hexadecimal digits", "this has 3"]).await;
        refused(dir.path(), &[&[command, &"g".repeat(64)], words].concat(), 2, &["no digits"]).await;
        let expected = match command {
            "unpin" => (2, "is not pinned"),
            _ => (2, "not in the store"),
        };
        refused(dir.path(), &[&[command, &zeros], words].concat(), expected.0, &[expected.1]).await;
    }
    for command in ["ref", "put"] {
        refused(dir.path(), &[command, "nothing"], 2, &["cannot read nothing"]).await;
        refused(dir.path(), &[command, "folder"], 2, &["folder", "directory"]).await;
        refused(dir.path(), &[command, "f", "--redundancy", "5"], 2, &["0 to 4"]).await;
    }
    refused(dir.path(), &["ls", "--store", "junk"], 1, &["cannot open the chunk store junk"]).await;
    refused(dir.path(), &["put", "f", "--store", "no/such/folder/s"], 1, &["no/such/folder/s"]).await;
    assert_eq!(std::fs::read(dir.path().join("junk")).unwrap(), noise(70_000, 3), "it is left as it was");
}

#[tokio::test]
async fn a_store_that_is_in_use_is_said_to_be() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "x").unwrap();
    let reference = put(dir.path(), &["f"]).await;
    let open = ChunkStore::open(&store_file(dir.path()), 1 << 30).unwrap();
    let commands: [&[&str]; 7] = [
        &["put", "f"],
        &["get", &reference, "-o", "o"],
        &["ls"],
        &["pin", &reference],
        &["rm", &reference],
        &["gc"],
        &["scrub"],
    ];
    for words in commands {
        refused(dir.path(), words, 1, &["open in another program", "stop that program", "HTTP API", "127.0.0.1:7171"])
            .await;
    }
    assert_eq!(blob(dir.path(), &["ref", "f"]).await.status, 0, "references need no store");
    drop(open);
    assert_eq!(get(dir.path(), &reference).await, b"x");
}

#[tokio::test]
async fn a_file_beyond_the_limit_leaves_nothing() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("c.toml"), format!("store_limit_bytes = {}\n", 16 << 20)).unwrap();
    std::fs::write(dir.path().join("large"), noise(17 << 20, 4)).unwrap();
    std::fs::write(dir.path().join("small"), noise(100_000, 5)).unwrap();
    let words = ["large", "--config", "c.toml"];
    refused(dir.path(), &[&["put"], words.as_slice()].concat(), 1, &["the chunk store is full", "16777216"]).await;
    assert_eq!(roots(dir.path()).await, []);
    put(dir.path(), &["small", "--config", "c.toml"]).await;
    assert_eq!(roots(dir.path()).await.len(), 1);
}

/// The disk is the daemon's too: what it leaves alone, a file put by hand leaves alone.
#[tokio::test]
async fn a_file_put_below_the_disk_s_floor_leaves_nothing() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("low.toml"), format!("store_floor_bytes = {}\n", i64::MAX)).unwrap();
    std::fs::write(dir.path().join("high.toml"), "store_floor_bytes = 0\n").unwrap();
    std::fs::write(dir.path().join("f"), noise(100_000, 5)).unwrap();
    for words in [vec!["f", "--config", "low.toml"], vec!["f", "--config", "low.toml", "--store", "bare.redb"]] {
        refused(
            dir.path(),
            &[&["put"], words.as_slice()].concat(),
            1,
            &["free some space", &i64::MAX.to_string(), "store_floor_bytes"],
        )
        .await;
    }
    assert_eq!(roots(dir.path()).await, []);
    put(dir.path(), &["f", "--config", "high.toml"]).await;
    assert_eq!(roots(dir.path()).await.len(), 1);
}

#[tokio::test]
async fn the_list_says_what_there_is_and_who_keeps_it() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("f"), noise(300_000, 6)).unwrap();
    let plain = blob_json(dir.path(), &["put", "f", "--pin"]).await;
    let store = plain["store"].as_str().unwrap().to_owned();
    assert_eq!(Path::new(&store), store_file(dir.path()));
    let reference = plain["reference"].as_str().unwrap();
    assert_eq!(
        plain,
        value!({
            "reference": reference, "size_bytes": 300_000, "redundancy": 0, "encrypted": false, "pinned": true, "store": store,
        })
    );
    let coded = put(dir.path(), &["f", "--redundancy", "3"]).await;
    let sealed = put(dir.path(), &["f", "--encrypt"]).await;
    let listed = blob_json(dir.path(), &["ls"]).await;
    assert_eq!(
        keys(&listed),
        ["cached_bytes", "downloads", "limit_bytes", "reserved_bytes", "roots", "store", "used_bytes"]
    );
    let of = |reference: &str| {
        let mut roots = listed["roots"].as_array().unwrap().iter();
        roots.find(|root| root["reference"] == reference).unwrap().clone()
    };
    assert_eq!(
        of(reference),
        value!({
            "reference": reference, "kind": "blob", "redundancy": 0, "size_bytes": 300_000, "chunks": 75,
            "owners": ["cli"], "pinned": true, "cached": false, "damaged": false,
        })
    );
    assert_eq!((&of(&coded)["redundancy"], &of(&coded)["size_bytes"]), (&3.into(), &300_000.into()));
    assert_eq!((&of(&sealed[..64])["kind"], &of(&sealed[..64])["size_bytes"]), (&"opaque".into(), &Value::Null));
    let text = blob(dir.path(), &["ls"]).await;
    assert!(text.out.contains("pinned and held by cli") && text.out.contains("3 roots: "), "{text:?}");
    assert!(text.out.lines().all(|line| line.chars().count() <= 160), "{text:?}");
}

#[tokio::test]
async fn a_pin_outlives_removal_and_clearing_up() {
    let dir = tempdir().unwrap();
    let bytes = noise(300_000, 7);
    std::fs::write(dir.path().join("f"), &bytes).unwrap();
    let reference = put(dir.path(), &["f"]).await;
    assert_eq!(blob_json(dir.path(), &["pin", &reference]).await["changed"], true);
    assert_eq!(blob_json(dir.path(), &["pin", &reference]).await["changed"], false);
    let removed = blob_json(dir.path(), &["rm", &reference]).await;
    let due = value!({ "address": reference, "removed": false, "freed_bytes": 0, "pinned": true, "owners": [] });
    assert_eq!(removed, due);
    refused(dir.path(), &["rm", &reference], 1, &["it is pinned", "unpin"]).await;
    let cleared = blob_json(dir.path(), &["gc", "--cache"]).await;
    assert_eq!((&cleared["freed_bytes"], &cleared["cached_roots"]), (&0.into(), &0.into()));
    assert!(get(dir.path(), &reference).await == bytes);
    let unpinned = blob_json(dir.path(), &["unpin", &reference]).await;
    assert_eq!(unpinned, value!({ "address": reference, "pinned": false, "owners": [] }));
    assert!(get(dir.path(), &reference).await == bytes, "it is cached now");
    assert_eq!(blob_json(dir.path(), &["gc"]).await["cached_roots"], 0, "the cache yields when it must, or is told to");
    let cleared = blob_json(dir.path(), &["gc", "--cache"]).await;
    assert_eq!(keys(&cleared), ["cached_roots", "compacted", "downloads", "file_bytes", "freed_bytes", "stray_bytes"]);
    assert_eq!((&cleared["cached_roots"], &cleared["compacted"]), (&1.into(), &true.into()));
    assert!(cleared["freed_bytes"].as_u64().unwrap() > 300_000, "{cleared}");
    refused(dir.path(), &["rm", &reference], 2, &["not in the store"]).await;
}

#[tokio::test]
async fn what_others_hold_is_not_removed_unless_forced() {
    let dir = tempdir().unwrap();
    let bytes = noise(100_000, 8);
    std::fs::write(dir.path().join("f"), &bytes).unwrap();
    let reference = put(dir.path(), &["f"]).await;
    let store = ChunkStore::open(&store_file(dir.path()), 1 << 30).unwrap();
    store.put_blob(&Owner::new("receipts").unwrap(), &bytes).unwrap();
    drop(store);
    let said = blob(dir.path(), &["rm", &reference]).await;
    assert!(said.status == 0 && said.out.contains("stays: it is held by receipts"), "{said:?}");
    refused(dir.path(), &["rm", &reference], 1, &["held by receipts", "--force"]).await;
    assert!(get(dir.path(), &reference).await == bytes);
    let removed = blob_json(dir.path(), &["rm", &reference, "--force"]).await;
    assert_eq!((&removed["removed"], &removed["owners"]), (&true.into(), &value!([])));
    assert!(removed["freed_bytes"].as_u64().unwrap() > 100_000, "{removed}");
    assert_eq!(roots(dir.path()).await, []);
    refused(dir.path(), &["rm", &reference, "--force"], 2, &["not in the store"]).await;
}

#[tokio::test]
async fn damage_is_found_told_and_repaired() {
    let dir = tempdir().unwrap();
    let bytes = noise(100_000, 9);
    std::fs::write(dir.path().join("f"), &bytes).unwrap();
    let reference = put(dir.path(), &["f"]).await;
    let well = blob_json(dir.path(), &["scrub"]).await;
    let due = value!({ "good_chunks": 26, "corrupt": [], "disagreements": [], "next_step": null });
    assert_eq!(well, due);
    spoil(&store_file(dir.path()), &bytes[20_480..20_512]);
    let said = blob(dir.path(), &["scrub", "--json"]).await;
    let report = json(&said);
    assert_eq!((said.status, &report["good_chunks"]), (1, &25.into()), "{said:?}");
    assert_eq!(report["corrupt"][0]["roots"], value!([reference]));
    assert!(report["next_step"].as_str().unwrap().contains("put or fetch"), "{report}");
    let said = blob(dir.path(), &["scrub"]).await;
    assert!(said.status == 1 && said.out.contains("1 damaged or lost") && said.out.contains("to do: "), "{said:?}");
    refused(dir.path(), &["get", &reference, "-o", "out"], 1, &["lost", "blob scrub"]).await;
    assert!(!dir.path().join("out").exists());
    assert_eq!(put(dir.path(), &["f"]).await, reference);
    assert_eq!(blob_json(dir.path(), &["scrub"]).await, due, "putting it again repairs it");
    assert!(get(dir.path(), &reference).await == bytes);
}

#[tokio::test]
async fn a_page_of_the_database_that_is_wiped_is_told_as_damage() {
    let dir = tempdir().unwrap();
    let bytes = noise(300_000, 10);
    std::fs::write(dir.path().join("f"), &bytes).unwrap();
    let reference = put(dir.path(), &["f"]).await;
    let mut file = std::fs::read(store_file(dir.path())).unwrap();
    let at = file.windows(32).position(|window| window == &bytes[150_016..150_048]).expect("it is there");
    // A pack fills a page of 64 KiB, so its head is in this part.
    file[at - (64 << 10)..at].fill(0);
    std::fs::write(store_file(dir.path()), file).unwrap();
    let commands: [&[&str]; 2] = [&["scrub"], &["get", &reference, "-o", "out"]];
    for words in commands {
        refused(dir.path(), words, 1, &["is damaged", "check the disk"]).await;
        let said = blob(dir.path(), words).await;
        assert!(!said.err.contains("panicked"), "{said:?}");
    }
    assert!(!dir.path().join("out").exists());
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with(".manyhands")).count(), 0, "no draft is left behind");
}

/// Flips a bit wherever `pattern` lies in the file, which must be somewhere.
fn spoil(path: &Path, pattern: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let mut found = 0;
    while let Some(at) = bytes.windows(pattern.len()).position(|window| window == pattern) {
        bytes[at] ^= 1;
        found += 1;
    }
    assert!(found > 0, "the pattern is in the file");
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn an_interrupted_put_leaves_nothing() {
    let dir = tempdir().unwrap();
    let mut command = manyhands(dir.path(), &["blob", "put", "-", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let ready = async {
        while !(catches_interrupts(child.id().unwrap()) && store_file(dir.path()).exists()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("it begins");
    signal(&child, Signal::INT);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    drop(stdin);
    let told = said(&output);
    assert_eq!(told.status, 130, "{told:?}");
    assert!(json(&told)["error"].as_str().unwrap().contains("not kept"), "{told:?}");
    assert_eq!(roots(dir.path()).await, []);
}

/// Whether a process has a handler for Ctrl-C, as Linux tells.
fn catches_interrupts(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    u64::from_str_radix(caught.trim(), 16).unwrap_or(0) & 1 << (Signal::INT.as_raw() - 1) != 0
}
