//! The worker: executes guests and proves segments, in a process of its own that the daemon can limit and kill.
//!
//! It reads [`Task`](manyhands_proto::worker::Task) frames from stdin and writes [`Report`](manyhands_proto::worker::Report) frames to
//! stdout, one task at a time; `manyhands-proto` describes them. It holds nothing that must outlive a task, so cancelling one is
//! killing the process, and a crash costs one lease. It opens no sockets and no files; only for a Groth16 receipt does RISC Zero's prover start
//! `docker`, and hands it two files in the folder of temporary ones.
//!
//! When stdin ends, the daemon is gone, and the process ends at once: by SIGKILL in the middle of a proof.

mod arguments;
mod frames;
mod process;
mod serve;

use std::io::{IsTerminal, Write, stdin, stdout};
use std::process::ExitCode;

use arguments::{Arguments, Mode};

/// The arguments make no sense.
const EXIT_USAGE: u8 = 64;
/// The limits that were asked for cannot be set.
const EXIT_LIMITS: u8 = 71;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => return fail(EXIT_USAGE, &format!("{why}\n\n{}", arguments::HELP)),
    };
    match arguments.mode {
        Mode::Help => print(arguments::HELP),
        Mode::Version => {
            print(&format!("manyhands-worker {} ({})\n", env!("CARGO_PKG_VERSION"), manyhands_zkvm::ZKVM_VERSION))
        }
        Mode::Identify => print(&identify()),
        Mode::Serve if stdin().is_terminal() => fail(
            EXIT_USAGE,
            "this program is run by the manyhands daemon: it reads tasks from stdin, which is a terminal here",
        ),
        Mode::Serve => match process::confine(&arguments) {
            Ok(reports) => serve::serve(reports),
            Err(error) => fail(EXIT_LIMITS, &format!("{error:#}")),
        },
    }
}

fn identify() -> String {
    let identity = serve::identity();
    let json = serde_json::json!({
        "worker": env!("CARGO_PKG_VERSION"),
        "zkvm": identity.zkvm,
        "recursion": identity.recursion,
        "po2_max": manyhands_zkvm::PO2_MAX,
    });
    format!("{json:#}\n")
}

fn print(text: &str) -> ExitCode {
    match stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    eprintln!("manyhands-worker: {why}");
    ExitCode::from(code)
}
