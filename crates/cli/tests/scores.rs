//! `manyhands scores` against a gateway that says what it is told, with a real proof.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use ed25519_dalek::{Signer as _, SigningKey};
use manyhands_api::types::{KnownScore, Scores};
use manyhands_proto::score::Work;
use manyhands_proto::{Binding, BlobRef, NodeId, Po2, Score, Seed};
use manyhands_vbs::{Source, sign};
use support::{Script, gateway, json, run};
use tempfile::tempdir;

/// A segment's proof by [`PEER`], bound to seed 7 in epoch 1 (crates/zkvm/testdata).
const RECEIPT: &[u8] = include_bytes!("../../zkvm/testdata/segment0.receipt");
const PEER: NodeId = NodeId([1; 32]);

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

/// What a verifier of epoch 1 says of that proof.
fn known(change: impl FnOnce(&mut Score)) -> KnownScore {
    let receipt = BlobRef { reference: manyhands_blob::reference_of(RECEIPT), size_bytes: RECEIPT.len() as u64 };
    let mut score = Score {
        peer: PEER,
        verifier: NodeId(key().verifying_key().to_bytes()),
        po2: Po2::try_from(16).unwrap(),
        elapsed_ms: 28_400,
        receipt,
        work: Work::Job,
        index: 0,
        binding: Binding { seed: Seed([7; 16]), epoch: 1 },
        issued_s: 8_000,
        expires_s: 15_200,
    };
    change(&mut score);
    let signed = sign(score, |bytes| key().sign(bytes).to_bytes());
    KnownScore { source: Source::Own, cycles_per_s: score.cycles_per_s(), expires_in_s: 4_000, signed }
}

async fn says(scores: Vec<KnownScore>, scored: Option<Vec<u8>>, words: &[&str]) -> support::Said {
    let total = scores.len() as u64;
    let (_, address) = gateway(Script { scores: Scores { scores, total }, scored, ..Script::default() }).await;
    run(tempdir().unwrap().path(), &[&["scores"], words, &["--gateway", &address]].concat()).await
}

#[tokio::test]
async fn scores_are_shown_in_a_table_and_as_json() {
    let empty = says(Vec::new(), None, &[]).await;
    assert!(empty.status == 0 && empty.out.contains("no score counts now"), "{empty:?}");
    let two = || vec![known(|_| {}), known(|score| (score.peer, score.work) = (NodeId([2; 32]), Work::Benchmark))];
    let shown = says(two(), None, &[]).await;
    let lines: Vec<&str> = shown.out.lines().collect();
    assert!(lines[0].starts_with("node") && lines.len() == 3, "{shown:?}");
    assert!(lines[1].starts_with("01010101   16  28.4 s     2,307       126  a job's segment"), "{shown:?}");
    assert!(lines[2].contains("a benchmark") && lines[2].ends_with("this gateway  67 min"), "{shown:?}");
    let one = says(two(), None, &["--node", "0202", "--json"]).await;
    assert_eq!(json(&one)["scores"].as_array().unwrap().len(), 1);
    assert_eq!(json(&one)["scores"][0]["signed"]["score"]["peer"], "02".repeat(32));
}

#[tokio::test]
async fn a_proof_that_is_there_is_checked_and_a_false_word_is_found_out() {
    let right = says(vec![known(|_| {})], Some(RECEIPT.to_vec()), &["verify"]).await;
    assert!(right.status == 0 && right.out.starts_with("right  01010101 at po2 16"), "{right:?}");
    assert!(right.out.contains("1 score: 1 right, 0 wrong"), "{right:?}");
    let mut unsigned = known(|_| {});
    unsigned.signed.score.elapsed_ms = 1;
    for (wrong, why) in [
        (known(|score| score.peer = NodeId([2; 32])), "another lease's nonce"),
        (known(|score| score.binding.seed = Seed([8; 16])), "another lease's nonce"),
        (known(|score| score.po2 = Po2::try_from(17).unwrap()), "2^16 cycles, not 2^17"),
        (known(|score| score.receipt.reference.0[0] ^= 1), "another blob"),
        (unsigned, "not signed by"),
    ] {
        let said = says(vec![wrong], Some(RECEIPT.to_vec()), &["verify", "--json"]).await;
        let told = json(&said);
        assert!(said.status == 1 && told[0]["valid"] == false, "{said:?}");
        assert!(told[0]["why"].as_str().unwrap().contains(why), "{said:?}");
    }
    let mut flipped = RECEIPT.to_vec();
    flipped[5_000] ^= 1;
    let said = says(
        vec![known(|score| score.receipt.reference = manyhands_blob::reference_of(&flipped))],
        Some(flipped),
        &["verify"],
    )
    .await;
    assert!(said.status == 1 && said.out.starts_with("wrong"), "{said:?}");
}

#[tokio::test]
async fn a_proof_that_cannot_be_had_is_no_lie() {
    let said = says(vec![known(|_| {})], None, &["verify"]).await;
    assert!(
        said.status == 0 && said.out.contains("not there  01010101") && said.out.contains("is not connected"),
        "{said:?}"
    );
    let none = says(vec![known(|_| {})], None, &["verify", "ff"]).await;
    assert!(none.status == 0 && none.out.contains("there is no such score"), "{none:?}");
}

#[tokio::test]
async fn the_board_of_a_daemon_is_read_from_its_folder() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("data");
    let board = async || run(dir.path(), &["scores", "--data-dir", folder.to_str().unwrap()]).await;
    let missing = board().await;
    assert!(missing.status == 2 && missing.err.contains("there is no directory"), "{missing:?}");
    std::fs::create_dir(&folder).unwrap();
    assert!(board().await.out.contains("no score counts now"));
    std::fs::write(folder.join("scores"), "nonsense").unwrap();
    let broken = board().await;
    assert!(broken.status == 1 && broken.err.contains("no scoreboard of this version"), "{broken:?}");
}
