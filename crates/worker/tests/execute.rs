//! Step I in a real worker: guests that end, and guests that do not end well.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use manyhands_proto::Po2;
use manyhands_proto::limits::KECCAK_WEIGHT;
use manyhands_proto::worker::{Failure, GuestInput, Report, SegmentReport, Task};
use manyhands_zkvm::prove::summary;
use manyhands_zkvm::{AssumptionReceipt, Claim};
use serde_bytes::ByteBuf;
use support::{Worker, execute, fixture, guest, two_segments};

#[test]
fn a_worker_says_what_it_is() {
    let mut worker = Worker::start(&[], &[]);
    let Some(Report::Identity(identity)) = worker.run(&Task::Identify).pop() else { panic!("no identity") };
    assert_eq!(identity.zkvm, manyhands_zkvm::ZKVM_VERSION);
    let printed =
        std::process::Command::new(env!("CARGO_BIN_EXE_manyhands-worker")).arg("--identify").output().unwrap();
    let printed: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(printed["zkvm"], identity.zkvm);
    assert_eq!(printed["recursion"], identity.recursion);
}

#[test]
fn segments_come_in_order_and_their_claims_chain_to_the_journal() {
    let input: Vec<u8> = (0_u32..300).flat_map(u32::to_le_bytes).collect();
    let (segments, _, outcome) = Worker::start(&[], &[]).execute(&execute("inflate.bin", &input, 16));
    let execution = outcome.unwrap();
    assert!(segments.len() >= 2);
    assert_eq!(segments.len() as u32, execution.segments);
    assert_eq!(execution.image_id, manyhands_zkvm::image_id(&guest("inflate.bin")).unwrap());
    assert_eq!(segments.iter().map(|segment| segment.user_cycles).sum::<u64>(), execution.user_cycles);
    assert_eq!(segments.iter().map(|segment| segment.po2.cycles()).sum::<u64>(), execution.total_cycles);
    assert_eq!(execution.journal[32..], 300_u32.to_le_bytes());

    let mut whole: Option<Claim> = None;
    for (index, segment) in segments.iter().enumerate() {
        let claim = Claim::decode(&segment.claim).unwrap();
        assert_eq!(segment.blob_bytes, segment.blob.len() as u64);
        assert_eq!(summary(&segment.blob).unwrap(), (claim.clone(), index as u32, segment.po2));
        whole = Some(whole.map_or(claim.clone(), |left| left.join(&claim).unwrap()));
    }
    assert!(whole.unwrap().is_success(execution.image_id, &execution.journal));
}

/// The guest's library draws 16 random bytes at the start, so two runs share their shape and journal but not their claims.
#[test]
fn the_same_run_has_the_same_shape_and_its_own_claims() {
    let mut worker = Worker::start(&["--threads", "1"], &[]);
    let (first, _, one) = worker.execute(&two_segments());
    let (second, _, two) = worker.execute(&two_segments());
    assert_eq!(one.unwrap(), two.unwrap());
    let shape = |segments: &[SegmentReport]| -> Vec<_> {
        segments.iter().map(|segment| (segment.index, segment.po2, segment.user_cycles)).collect()
    };
    assert_eq!(shape(&first), shape(&second));
    let claim = |segments: &[SegmentReport], index: usize| Claim::decode(&segments[index].claim).unwrap();
    assert_eq!(claim(&first, 0).pre(), claim(&second, 0).pre());
    assert!(claim(&first, 0).join(&claim(&second, 1)).is_err(), "segments of two runs do not mix");
}

#[test]
fn sizes_alone_come_without_blobs() {
    let Task::Execute { program, input, assumptions, po2, cycles_max, .. } = two_segments() else {
        panic!("not an execution")
    };
    let mut worker = Worker::start(&[], &[]);
    let (sized, _, outcome) =
        worker.execute(&Task::Execute { program, input, assumptions, po2, cycles_max, blobs: false });
    outcome.unwrap();
    assert_eq!(sized.len(), 2);
    assert!(sized.iter().all(|segment| segment.blob.is_empty() && segment.blob_bytes > 10_000));
}

#[test]
fn keccak_requests_come_out_as_the_guest_makes_them() {
    let hashes = |count: u32| [&count.to_le_bytes()[..], &[7; 32]].concat();
    let mut worker = Worker::start(&[], &[]);
    // One permutation more than a request has.
    let reports = worker.run(&execute("hashes.bin", &hashes(164), 18));
    let requests: Vec<_> = reports
        .iter()
        .filter_map(|report| if let Report::Keccak(request) = report { Some(request) } else { None })
        .collect();
    let [first, second] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_eq!((first.index, second.index, first.po2.get(), second.po2.get()), (0, 1, 15, 14));
    assert_eq!((first.blob.len() as u64, second.blob.len() as u64), (first.blob_bytes, second.blob_bytes));
    assert!(first.blob_bytes > 163 * 200 && second.blob_bytes < 300, "{} {}", first.blob_bytes, second.blob_bytes);
    // Guests draw randomness, but what they hash is the input's.
    assert_eq!(
        [first.claim.0.to_vec(), second.claim.0.to_vec()],
        ["keccak0.claim", "keccak1.claim"].map(|name| fixture(name).into_vec())
    );
    let last = reports
        .iter()
        .rev()
        .find_map(|report| if let Report::Segment(segment) = report { Some(segment) } else { None })
        .unwrap();
    let relied_on = Claim::decode(&last.claim).unwrap().assumptions();
    assert_eq!(relied_on, [manyhands_zkvm::keccak_root([first.claim, second.claim]).unwrap()]);
    let Some(Report::Executed(execution)) = reports.last() else { panic!("{:?}", reports.last()) };
    let segments = reports
        .iter()
        .filter_map(|report| if let Report::Segment(segment) = report { Some(segment.po2.cycles()) } else { None });
    assert_eq!(execution.total_cycles, segments.sum::<u64>(), "requests are beside them");

    // Nearly the same of the guest's own cycles, and a second request.
    let limited = |cycles: u64| {
        let mut task = execute("hashes.bin", &hashes(164), 18);
        let Task::Execute { cycles_max, .. } = &mut task else { panic!("not an execution") };
        *cycles_max = cycles;
        task
    };
    let of_requests = KECCAK_WEIGHT * ((1 << 15) + (1 << 14));
    assert_eq!(worker.fail(&limited(of_requests - 1)), Failure::CycleLimit { cycles_max: of_requests - 1 });
    assert!(matches!(worker.run(&limited(of_requests)).last(), Some(Report::Executed(_))));

    let (_, _, outcome) = worker.execute(&execute("hashes.bin", &hashes(0), 18));
    assert_eq!(outcome.unwrap().journal, [7; 32], "a guest that only could use the accelerator");
}

#[test]
fn the_guests_own_words_reach_the_user() {
    let mut worker = Worker::start(&[], &[]);
    let (_, log, outcome) = worker.execute(&execute("panics.bin", b"one two", 16));
    let Err(Failure::Guest(why)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(why, "it panicked: this guest always panics; its input begins with: one two");
    assert!(log.contains("this guest always panics"), "{log}");

    let (_, _, outcome) = worker.execute(&execute("overreads.bin", &[0; 8], 16));
    let Err(Failure::Guest(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("DeserializeUnexpectedEnd"), "{why}");
}

/// A receipt of `tiny` that its journal can be verified with, and the input that has it verified `askings` times.
fn relied_on(askings: u32) -> (AssumptionReceipt, Vec<u8>) {
    let [image_id, journal] = [fixture("image_id"), fixture("journal")];
    let id = manyhands_proto::Digest(image_id.as_slice().try_into().unwrap());
    let receipt = manyhands_zkvm::succinct_receipt(&fixture("join.receipt"), &journal, id).unwrap();
    let input = [&0_u32.to_le_bytes()[..], &askings.to_le_bytes(), &image_id, &journal].concat();
    (AssumptionReceipt::read(&receipt).unwrap(), input)
}

#[test]
fn what_a_guest_relies_on_is_in_its_last_claim_and_must_be_given() {
    let (receipt, input) = relied_on(2);
    let with = |claims: Vec<manyhands_proto::Digest>| {
        let mut task = execute("verifies.bin", &input, 16);
        let Task::Execute { assumptions, .. } = &mut task else { panic!("not an execution") };
        *assumptions = claims;
        task
    };
    let mut worker = Worker::start(&[], &[]);
    let (segments, _, outcome) = worker.execute(&with(vec![manyhands_proto::Digest([7; 32]), receipt.claim()]));
    assert_eq!(outcome.unwrap().journal, fixture("journal"));
    let last = Claim::decode(&segments.last().unwrap().claim).unwrap();
    let claims: Vec<_> = last.assumptions().into_iter().map(|one| one.claim).collect();
    assert_eq!(claims, [receipt.claim(); 2]);
    for claims in [vec![], vec![manyhands_proto::Digest([7; 32])]] {
        let Failure::Guest(why) = worker.fail(&with(claims)) else { panic!("the guest is at fault") };
        assert!(why.contains("was not given as an assumption") && why.contains("claim digest"), "{why}");
    }
    let (_, input) = relied_on(manyhands_proto::limits::ASSUMPTIONS_MAX as u32 + 1);
    let mut many = execute("verifies.bin", &input, 18);
    let Task::Execute { assumptions, .. } = &mut many else { panic!("not an execution") };
    assumptions.push(receipt.claim());
    let Failure::Unsupported(why) = worker.fail(&many) else { panic!("it is refused") };
    assert!(why.contains("at most 256"), "{why}");
}

#[test]
fn an_input_may_be_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let input = [&10_u32.to_le_bytes()[..], b"out of a file", &[0; 100_000]].concat();
    std::fs::write(file.path(), &input).unwrap();
    let of = |input: GuestInput| {
        let mut task = execute("tiny.bin", &[], 16);
        let Task::Execute { input: old, .. } = &mut task else { panic!("not an execution") };
        *old = input;
        task
    };
    let mut worker = Worker::start(&[], &[]);
    let journal = |outcome: Result<manyhands_proto::worker::Execution, Failure>| outcome.unwrap().journal;
    let (_, _, in_memory) = worker.execute(&of(input.into()));
    let (_, _, in_a_file) = worker.execute(&of(GuestInput::File(file.path().to_str().unwrap().to_owned())));
    assert_eq!(journal(in_memory), journal(in_a_file));
    let gone = of(GuestInput::File("/nowhere/input".to_owned()));
    assert!(matches!(worker.fail(&gone), Failure::Input(why) if why.contains("No such file")));
}

#[test]
fn a_guest_that_never_ends_is_stopped_and_the_worker_lives_on() {
    let mut worker = Worker::start(&[], &[]);
    let endless = Task::Execute {
        program: guest("loops.bin"),
        input: GuestInput::default(),
        assumptions: Vec::new(),
        po2: Po2::try_from(18).unwrap(),
        cycles_max: 1_000_000,
        blobs: false,
    };
    assert_eq!(worker.fail(&endless), Failure::CycleLimit { cycles_max: 1_000_000 });
    let (_, _, outcome) = worker.execute(&two_segments());
    outcome.unwrap();
}

#[test]
fn what_is_no_program_says_so() {
    let mut worker = Worker::start(&[], &[]);
    let mut run = |program: &[u8], po2: u8| {
        let po2 = Po2::try_from(po2).unwrap();
        worker.fail(&Task::Execute {
            program: ByteBuf::from(program),
            input: GuestInput::default(),
            assumptions: Vec::new(),
            po2,
            cycles_max: 1 << 20,
            blobs: true,
        })
    };
    assert!(matches!(run(b"\x7fELF and more", 16), Failure::Program(why) if why.contains("bare ELF")));
    assert!(matches!(run(&[], 16), Failure::Program(_)));
    let tiny = guest("tiny.bin");
    assert!(matches!(run(&tiny[..tiny.len() / 2], 16), Failure::Program(_)));
    // A kernel that is not one: loads, and does not run.
    let mut broken = tiny.clone();
    let length = broken.len();
    broken[length - 20_000..].fill(0xff);
    assert!(matches!(run(&broken, 16), Failure::Program(_) | Failure::Guest(_)));
}
