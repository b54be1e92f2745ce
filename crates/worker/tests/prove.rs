//! Proofs by a real worker, judged by the rules that their receiver judges them by. Lifts and joins take a minute each whatever they
//! are of, so they are shown once, by the main job in `manyhands-e2e`, as is a keccak proof. A union, which that job does not need, is here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use manyhands_proto::worker::{Failure, Report, Task};
use manyhands_proto::{BlobRef, Digest, Po2, Reference};
use manyhands_zkvm::{Claim, Expected, Rejection, verify_keccak, verify_segment, verify_union};
use serde_bytes::ByteBuf;
use support::{Worker, fixture, nonce, two_segments};

fn blob(bytes: &[u8]) -> BlobRef {
    BlobRef { reference: Reference([0; 32]), size_bytes: bytes.len() as u64 }
}

#[test]
fn a_proof_verifies_under_its_lease_and_no_other_whatever_the_environment_says() {
    let profile = std::env::temp_dir().join(format!("manyhands-no-profile-{}", std::process::id()));
    let variables = [("RISC0_DEV_MODE", "1"), ("RISC0_PPROF_OUT", profile.to_str().unwrap()), ("RISC0_PROVER", "ipc")];
    let mut worker = Worker::start(&["--memory-bytes", "1500000000"], &variables);
    let (segments, _, outcome) = worker.execute(&two_segments());
    outcome.unwrap();
    assert!(!profile.exists());

    let last = &segments[1];
    let reports = worker.run(&Task::Prove { segment: last.blob.clone(), nonce: nonce(1) });
    assert!(reports.iter().any(|report| matches!(report, Report::Progress { cpu_ms } if *cpu_ms > 0)), "no progress");
    let Some(Report::Receipt { receipt, elapsed_ms }) = reports.last() else { panic!("{:?}", reports.last()) };
    assert!(*elapsed_ms > 0);
    let claim = Claim::decode(&last.claim).unwrap();
    let expected = Expected { claim: &claim, index: 1, po2: last.po2, nonce: Some(nonce(1)) };
    verify_segment(receipt, blob(receipt), &expected).unwrap();
    let elsewhere = verify_segment(receipt, blob(receipt), &Expected { nonce: Some(nonce(2)), ..expected });
    assert_eq!(elsewhere, Err(Rejection::WrongNonce));
}

#[test]
fn a_union_of_two_requests_proves_what_their_guest_relies_on() {
    let mut worker = Worker::start(&["--memory-bytes", "1700000000"], &[]);
    let [left, right] = ["keccak0.receipt", "keccak1.receipt"].map(fixture);
    let reports = worker.run(&Task::Union { left: left.clone(), right: right.clone() });
    let Some(Report::Receipt { receipt, .. }) = reports.last() else { panic!("{:?}", reports.last()) };
    let proof = |bytes: &[u8], index: u32| {
        let claim = Digest(fixture(&format!("keccak{index}.claim")).as_slice().try_into().unwrap());
        verify_keccak(bytes, blob(bytes), claim, Po2::try_from(15).unwrap()).unwrap()
    };
    let united = verify_union(receipt, blob(receipt), &proof(&left, 0), &proof(&right, 1)).unwrap();
    let guest = Claim::decode(&fixture("keccak.claim")).unwrap();
    assert_eq!(guest.assumptions(), [united.proves()]);
}

#[test]
fn hostile_inputs_cost_a_task_and_not_the_worker() {
    let mut worker = Worker::start(&[], &[]);
    let (segments, _, _) = worker.execute(&two_segments());
    let honest = &segments[1].blob;
    let prove = |segment: &[u8]| Task::Prove { segment: ByteBuf::from(segment), nonce: nonce(1) };
    for bytes in [&[][..], b"\x01garbage", &honest[..honest.len() / 2], &[honest.as_slice(), &[0]].concat()] {
        assert!(matches!(worker.fail(&prove(bytes)), Failure::Input(_)));
    }
    // The last bytes are the output and the sizes, the first ones the index and the memory's pages.
    let mut renamed = honest.clone();
    renamed[1] ^= 1;
    assert!(matches!(worker.fail(&prove(&renamed)), Failure::Input(_)));

    let lift = |receipt: &[u8]| Task::Lift { receipt: ByteBuf::from(receipt) };
    let mut wrong = fixture("segment1.receipt");
    wrong[5_000] ^= 1;
    for bytes in [&[][..], b"garbage", &wrong] {
        assert!(matches!(worker.fail(&lift(bytes)), Failure::Input(_) | Failure::NoRecursion));
    }
    let swapped = Task::Join { left: fixture("lift1.receipt"), right: fixture("lift0.receipt") };
    assert!(matches!(worker.fail(&swapped), Failure::Input(_) | Failure::NoRecursion));
    // Neither relies on the other.
    let resolve = Task::Resolve { conditional: fixture("lift1.receipt"), assumption: fixture("lift0.receipt") };
    assert!(matches!(worker.fail(&resolve), Failure::Input(_) | Failure::NoRecursion));
    for bytes in [&[][..], b"garbage", honest] {
        assert!(matches!(worker.fail(&Task::Keccak { request: ByteBuf::from(bytes) }), Failure::Input(_)));
    }
    let mut wrong = fixture("keccak0.receipt");
    wrong[5_000] ^= 1;
    for left in [wrong, fixture("lift0.receipt"), ByteBuf::new()] {
        let union = Task::Union { left, right: fixture("keccak1.receipt") };
        assert!(matches!(worker.fail(&union), Failure::Input(_) | Failure::NoRecursion));
    }
    // Joined, but no whole receipt; and one that there is nothing to be made of. Neither costs a proof.
    for name in ["join.receipt", "groth16.receipt"] {
        let shrink = Task::Shrink { receipt: fixture(name) };
        assert!(matches!(worker.fail(&shrink), Failure::Input(_) | Failure::NoRecursion), "{name}");
    }
    assert!(matches!(worker.run(&Task::Identify).pop(), Some(Report::Identity(_))));
}
