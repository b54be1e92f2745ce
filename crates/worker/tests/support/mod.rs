//! Plays the daemon: starts a worker, sends it tasks, reads its reports, and never waits for ever.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use manyhands_proto::limits::WORKER_FRAME_BYTES_MAX;
use manyhands_proto::worker::{Execution, Failure, Report, SegmentReport, Task};
use manyhands_proto::{Binding, NodeId, Nonce, Po2, Seed};
use serde_bytes::ByteBuf;

/// Longer than anything here takes on a slow, busy machine; a test that reaches it has found a hang.
pub const PATIENCE: Duration = Duration::from_secs(1_200);

pub struct Worker {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    reports: Receiver<Report>,
}

impl Worker {
    pub fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_manyhands-worker"))
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            while let Some(report) = read_report(&mut stdout) {
                if sender.send(report).is_err() {
                    break;
                }
            }
        });
        Self { stdin: child.stdin.take(), child, reports }
    }

    pub fn send(&mut self, task: &Task) {
        let frame = manyhands_proto::encode(task);
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(&u32::try_from(frame.len()).unwrap().to_le_bytes()).unwrap();
        stdin.write_all(&frame).unwrap();
    }

    /// The next report, or nothing when the worker has closed its end.
    pub fn next(&self) -> Option<Report> {
        match self.reports.recv_timeout(PATIENCE) {
            Ok(report) => Some(report),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the worker hangs"),
        }
    }

    /// All reports on a task, the final one last.
    pub fn run(&mut self, task: &Task) -> Vec<Report> {
        self.send(task);
        let mut reports = Vec::new();
        loop {
            reports.push(self.next().expect("the worker ended in the middle of a task"));
            if reports.last().is_some_and(Report::is_final) {
                return reports;
            }
        }
    }

    /// Runs a guest to its end.
    pub fn execute(&mut self, task: &Task) -> (Vec<SegmentReport>, String, Result<Execution, Failure>) {
        let mut segments = Vec::new();
        let mut log = String::new();
        for report in self.run(task) {
            match report {
                Report::Segment(segment) => segments.push(segment),
                Report::Log { bytes, .. } => log.push_str(&String::from_utf8_lossy(&bytes)),
                Report::Progress { .. } => {}
                Report::Executed(execution) => return (segments, log, Ok(*execution)),
                Report::Failed(failure) => return (segments, log, Err(failure)),
                other => panic!("{other:?} while executing"),
            }
        }
        panic!("no final report")
    }

    pub fn fail(&mut self, task: &Task) -> Failure {
        match self.run(task).pop() {
            Some(Report::Failed(failure)) => failure,
            other => panic!("{other:?} instead of a failure"),
        }
    }

    pub fn receipt(&mut self, task: &Task) -> Vec<u8> {
        match self.run(task).pop() {
            Some(Report::Receipt { receipt, .. }) => receipt.into_vec(),
            other => panic!("{other:?} instead of a receipt"),
        }
    }

    /// How the worker ended; panics when it does not within `patience`.
    pub fn ended_within(&mut self, patience: Duration) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the worker is still there after {patience:?}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_report(stream: &mut impl Read) -> Option<Report> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some(manyhands_proto::decode(&frame, WORKER_FRAME_BYTES_MAX).expect("stdout holds something that is no report"))
}

pub fn guest(name: &str) -> ByteBuf {
    let path = format!("{}/../../guests/built/{name}", env!("CARGO_MANIFEST_DIR"));
    ByteBuf::from(std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
}

/// A receipt that `manyhands-zkvm` is tested with.
pub fn fixture(name: &str) -> ByteBuf {
    let path = format!("{}/../zkvm/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    ByteBuf::from(std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
}

pub fn execute(program: &str, input: &[u8], po2: u8) -> Task {
    Task::Execute {
        program: guest(program),
        input: input.to_vec().into(),
        assumptions: Vec::new(),
        po2: Po2::try_from(po2).unwrap(),
        cycles_max: 1 << 24,
        blobs: true,
    }
}

/// The input with which `tiny.bin` has a segment of 2^16 and one of 2^14, as in the fixtures.
pub fn two_segments() -> Task {
    execute("tiny.bin", &[&3_000_u32.to_le_bytes()[..], b"manyhands"].concat(), 16)
}

pub fn nonce(index: u32) -> Nonce {
    Nonce::bound(NodeId([1; 32]), index, Binding { seed: Seed([7; 16]), epoch: 1 })
}
