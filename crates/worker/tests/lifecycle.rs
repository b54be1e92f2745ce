//! When a worker ends: with its daemon, at its memory limit, and on input that is none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use manyhands_proto::worker::{Report, Task};
use support::{PATIENCE, Worker, nonce, two_segments};

/// Generous: it takes milliseconds, and a proof that is not ended takes at least twice as long on the machines that this was written on.
const SOON: Duration = Duration::from_secs(10);

/// A worker in the middle of the proof of a 2^16 segment.
fn proving(arguments: &[&str]) -> Worker {
    let (segments, _, outcome) = Worker::start(&[], &[]).execute(&two_segments());
    outcome.unwrap();
    let mut worker = Worker::start(arguments, &[]);
    worker.send(&Task::Prove { segment: segments[0].blob.clone(), nonce: nonce(0) });
    worker
}

#[test]
fn an_idle_worker_ends_when_stdin_does() {
    let mut worker = Worker::start(&[], &[]);
    assert!(matches!(worker.run(&Task::Identify).pop(), Some(Report::Identity(_))));
    drop(worker.stdin.take());
    assert_eq!(worker.ended_within(SOON).code(), Some(0));
}

#[test]
fn a_proof_ends_when_stdin_does() {
    let mut worker = proving(&[]);
    assert!(matches!(worker.next(), Some(Report::Progress { .. })), "it should be proving");
    drop(worker.stdin.take());
    // Not an exit, which would have to wait for what the kernels of the prover do.
    assert_eq!(worker.ended_within(SOON).signal(), Some(9));
    while let Some(report) = worker.next() {
        assert!(!report.is_final(), "{report:?}");
    }
}

#[test]
fn too_little_memory_ends_a_proof_and_never_hangs_it() {
    let mut worker = proving(&["--memory-bytes", "150000000"]);
    loop {
        match worker.next() {
            Some(Report::Progress { .. }) => {}
            // The allocator gave up, and with it the process.
            None => break assert!(!worker.ended_within(PATIENCE).success()),
            // Or the prover noticed.
            Some(Report::Failed(_)) => break,
            Some(other) => panic!("{other:?} with a quarter of the memory"),
        }
    }
}

#[test]
fn input_that_is_no_task_ends_the_worker_with_its_own_code() {
    let huge = u32::MAX.to_le_bytes();
    let not_a_task = [&3_u32.to_le_bytes()[..], &[0xff; 3]].concat();
    let cut = [&100_u32.to_le_bytes()[..], &[0; 3]].concat();
    for bytes in [&huge[..], &not_a_task, &cut] {
        let mut worker = Worker::start(&[], &[]);
        let mut stdin = worker.stdin.take().unwrap();
        stdin.write_all(bytes).unwrap();
        drop(stdin);
        assert_eq!(worker.ended_within(SOON).code(), Some(65), "{bytes:?}");
    }
}

#[test]
fn wrong_arguments_have_their_own_code() {
    for arguments in [&["--what"][..], &["--threads", "none"], &["--memory-bytes"]] {
        assert_eq!(Worker::start(arguments, &[]).ended_within(SOON).code(), Some(64));
    }
}
