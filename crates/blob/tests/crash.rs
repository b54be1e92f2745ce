//! A writer that is killed at any moment: whatever it acknowledged is there afterwards, and nothing is corrupt. The test
//! runs itself as the writer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{noise, owner};
use manyhands_blob::redundancy::Level;
use manyhands_blob::{ChunkStore, reference_of};
use manyhands_proto::BlobRef;

/// Where the writer finds its file, and the number of its first blob; set for the child only.
const FILE: &str = "MANYHANDS_CRASH_FILE";
const FIRST: &str = "MANYHANDS_CRASH_FIRST";

const KILLS: u64 = 32;
const LIMIT_BYTES: u64 = 8 << 20;

/// Blob `number`: 1 byte to 80 kB, some of it shared with other blobs.
fn bytes_of(number: u64) -> Vec<u8> {
    let size = 1 + (number * 7919) % 40_000;
    [noise(size as usize, number), noise((number % 3) as usize * 20_000, 1)].concat()
}

fn blob_of(number: u64) -> BlobRef {
    let bytes = bytes_of(number);
    BlobRef { reference: reference_of(&bytes), size_bytes: bytes.len() as u64 }
}

/// The writer: says `put N` once blob N is acknowledged, and `let go N` before it gives one up. Not a test by itself.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let store = ChunkStore::open(Path::new(&path), LIMIT_BYTES).unwrap();
    let say = |words: String| {
        let mut out = std::io::stdout().lock();
        out.write_all(words.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    for number in first.. {
        let blob = store.put_blob(&owner("kept"), &bytes_of(number)).unwrap();
        if number % 4 == 0 {
            store.pin(&blob.reference).unwrap();
        }
        say(format!("\nput {number}\n"));
        // Besides, all that a store does: trees, the cache, and blobs that go.
        store.put_tree(&owner("tree"), &bytes_of(number)[..], u64::MAX, Level::Medium).unwrap();
        store.release_owner_to_cache(&owner("tree")).unwrap();
        if let Some(old) = number.checked_sub(20) {
            say(format!("\nlet go {old}\n"));
            let reference = blob_of(old).reference;
            store.unpin(&reference).unwrap();
            store.release(&owner("kept"), &reference).unwrap();
        }
    }
}

/// Runs the writer for about `life`, and notes what it said.
fn write_and_kill(path: &Path, first: u64, life: Duration, kept: &mut BTreeSet<u64>) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture", "--test-threads=1"])
        .env(FILE, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reading = std::thread::spawn(move || out.lines().map_while(Result::ok).collect::<Vec<_>>());
    std::thread::sleep(life);
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it writes until it is killed");
    let mut next = first;
    for line in reading.join().unwrap() {
        if let Some(number) = line.strip_prefix("put ") {
            let number = number.parse().unwrap();
            kept.insert(number);
            next = number + 1;
        } else if let Some(number) = line.strip_prefix("let go ") {
            kept.remove(&number.parse().unwrap());
        }
    }
    next
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chunks.redb");
    let (mut kept, mut next, mut state) = (BTreeSet::new(), 0, 42_u64);
    for kill in 0..KILLS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let life = Duration::from_millis(20 + (state >> 33) % 230);
        next = write_and_kill(&path, next, life, &mut kept);
        let store = ChunkStore::open(&path, LIMIT_BYTES).unwrap();
        for number in &kept {
            let read = store.read_blob(&blob_of(*number), u64::MAX).unwrap();
            assert!(read == bytes_of(*number), "blob {number} after kill {kill}");
        }
        let report = store.scrub(None, |_, _| ControlFlow::Continue(())).unwrap();
        assert_eq!((report.corrupt, report.disagreements), (vec![], vec![]), "after kill {kill}");
        let collected = store.gc(Duration::ZERO).unwrap();
        assert_eq!(collected.stray_bytes, 0, "after kill {kill}");
    }
    assert!(next > KILLS, "the writer got somewhere: {next} blobs");
}
