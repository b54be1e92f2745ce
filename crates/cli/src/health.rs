//! Named checks of a machine: from facts to a state, a value, a reason and what to do. Pure, so that each judgement has a test.

use std::time::Duration;

use manyhands_proto::Po2;
use manyhands_proto::worker::Identity;
use serde::Serialize;

use crate::facts::Facts;
use crate::screen::text::{bytes, count, date, printable};

/// Free memory below which a machine is short of it while nothing is proved, in percent.
const MEMORY_FREE_PERCENT_MIN: u64 = 20;

/// Free disk for a node's store and a gateway's segments to begin with.
const DISK_BYTES_MIN: u64 = 2 << 30;

/// Open files that a daemon with 250 peers, its store and its HTTP door may need.
const FILES_MIN: u64 = 1_024;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// It does not work.
    Failure,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What it found.
    pub state: State,
    /// What was measured.
    pub value: String,
    /// Why that matters.
    pub why: &'static str,
    /// What to do, if there is something to do.
    pub fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, value: impl Into<String>, why: &'static str) -> Self {
        Self { name, state: State::Ok, value: value.into(), why, fix: None }
    }

    fn warn(self, fix: impl Into<String>) -> Self {
        Self { state: State::Warning, fix: Some(fix.into()), ..self }
    }

    fn fail(self, fix: impl Into<String>) -> Self {
        Self { state: State::Failure, fix: Some(fix.into()), ..self }
    }
}

/// All checks, in the order in which things are needed.
pub fn checks(facts: &Facts) -> Vec<Check> {
    vec![
        memory(facts),
        free_memory(facts),
        swap(facts),
        cores(facts),
        cpu(facts),
        worker(&facts.worker),
        recursion(&facts.worker, facts.slot_bytes),
        data_dir(facts),
        disk(facts),
        open_files(facts),
        clock(facts),
        gateway(facts),
    ]
}

fn memory(facts: &Facts) -> Check {
    let why = "a proof of 2^po2 cycles needs memory that doubles with each po2; a node uses half of the machine";
    match Po2::largest_for(facts.slot_bytes) {
        Some(po2) => {
            let value = format!(
                "{}, {} of it for proving: segments up to po2 {po2}",
                bytes(facts.memory_bytes),
                bytes(facts.slot_bytes)
            );
            Check::ok("memory", value, why)
        }
        None => {
            let fix = format!(
                "give a node more with --memory-mb; the smallest segment needs {}",
                bytes(Po2::MIN.memory_bytes())
            );
            Check::ok("memory", format!("{}, too little for any segment", bytes(facts.memory_bytes)), why).fail(fix)
        }
    }
}

fn free_memory(facts: &Facts) -> Check {
    let check = Check::ok("free memory", bytes(facts.available_bytes), "what other programs use cannot be proved with");
    let is_scarce = facts.available_bytes < facts.memory_bytes / 100 * MEMORY_FREE_PERCENT_MIN;
    if is_scarce { check.warn("end other programs, or run nodes with a smaller --memory-mb") } else { check }
}

fn swap(facts: &Facts) -> Check {
    let why = "a prover that swaps takes many times as long and makes the machine slow for everybody else";
    let check =
        Check::ok("swap", format!("{} of {} in use", bytes(facts.swap_used_bytes), bytes(facts.swap_bytes)), why);
    if facts.swap_used_bytes > facts.swap_bytes / 4 {
        check.warn("see that more memory is free before nodes run here")
    } else {
        check
    }
}

fn cores(facts: &Facts) -> Check {
    let check = Check::ok("cores", facts.cores.to_string(), "a proof uses all of them, at the lowest priority");
    if facts.cores < 2 { check.warn("it works, but a single core proves slowly") } else { check }
}

fn cpu(facts: &Facts) -> Check {
    let why = "the prover is built for x86-64-v3 (AVX2), which saves about a quarter of the time";
    match facts.has_avx2 {
        Some(true) => Check::ok("processor", "has AVX2", why),
        Some(false) => Check::ok("processor", "has no AVX2", why).fail("build without it: see .cargo/config.toml"),
        None => Check::ok("processor", "not an x86-64", why),
    }
}

fn worker(worker: &Result<(String, Identity), String>) -> Check {
    let why = "the worker is the program that executes and proves";
    match worker {
        Ok((path, identity)) => Check::ok("worker", format!("{path}, {}", printable(&identity.zkvm)), why),
        Err(problem) => Check::ok("worker", printable(problem), why)
            .fail("build it with `cargo xtask build`, or name it with --worker"),
    }
}

fn recursion(worker: &Result<(String, Identity), String>, slot_bytes: u64) -> Check {
    let needed = manyhands_core::job::step3_dispatch::RECURSION_MEMORY_BYTES;
    let why = "lifts, joins and keccak proofs, and so succinct receipts, need the recursion programs and 1.7 GB";
    match worker {
        Ok((_, identity)) if identity.recursion && slot_bytes >= needed => Check::ok("recursion", "in the worker", why),
        Ok((_, identity)) if identity.recursion => {
            Check::ok("recursion", format!("in the worker, but {} is too little memory for it", bytes(slot_bytes)), why)
                .warn(format!(
                    "give a node {} MB with --memory-mb; without, it only proves segments",
                    needed.div_ceil(1_000_000)
                ))
        }
        Ok(_) => Check::ok("recursion", "not in the worker", why)
            .warn("receipts will be composite; build again where the recursion programs can be had (see README)"),
        Err(_) => Check::ok("recursion", "not known without a worker", why).warn("see the worker"),
    }
}

fn data_dir(facts: &Facts) -> Check {
    let why = "it holds the identity key, the chunk store and the jobs";
    match &facts.data_dir_error {
        None => Check::ok("data directory", &facts.data_dir, why),
        Some(problem) => Check::ok("data directory", format!("{}: {problem}", facts.data_dir), why)
            .fail("choose another with --data-dir, or mend its permissions"),
    }
}

fn disk(facts: &Facts) -> Check {
    let why = "the chunk store grows up to its limit";
    let limit = bytes(facts.store_limit_bytes);
    match facts.disk_free_bytes {
        None => Check::ok("disk", "unknown", why).warn("see the data directory"),
        Some(free) if free < DISK_BYTES_MIN => {
            Check::ok("disk", format!("{} free", bytes(free)), why).fail("make room, or choose another --data-dir")
        }
        Some(free) if free < facts.store_limit_bytes => {
            Check::ok("disk", format!("{} free, less than the store's limit of {limit}", bytes(free)), why)
                .warn("lower the limit with --store-mb")
        }
        Some(free) => Check::ok("disk", format!("{} free, store limited to {limit}", bytes(free)), why),
    }
}

fn open_files(facts: &Facts) -> Check {
    let why = "each peer is a connection, and each connection an open file";
    match facts.files_max {
        None => Check::ok("open files", "no limit", why),
        Some(limit) if limit < FILES_MIN => Check::ok("open files", count(limit), why)
            .warn(format!("raise it: `ulimit -n {FILES_MIN}`, or LimitNOFILE in a systemd unit")),
        Some(limit) => Check::ok("open files", count(limit), why),
    }
}

fn clock(facts: &Facts) -> Check {
    let why = "certificates and signed records are for a time; a clock that is years off breaks them";
    // A clock cannot be before the day this program was written to disk, apart from a day for time zones of old file systems.
    let day = Duration::from_secs(86_400);
    let is_behind = facts.built.is_some_and(|built| facts.now + day < built);
    let is_ahead = facts.built.is_some_and(|built| facts.now > built + day * 3_650);
    let check = Check::ok("clock", date(facts.now.as_secs()), why);
    if is_behind || is_ahead { check.fail("set the clock: `timedatectl set-ntp true`") } else { check }
}

fn gateway(facts: &Facts) -> Check {
    let why = "`prove` sends its jobs there";
    match &facts.gateway {
        Ok(found) => Check::ok("gateway", printable(found), why),
        Err(problem) => Check::ok("gateway", printable(problem), why)
            .warn("start one with `manyhands up`, or name one with --gateway"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit() -> Facts {
        Facts {
            memory_bytes: 16_000_000_000,
            slot_bytes: 8_000_000_000,
            available_bytes: 12_000_000_000,
            swap_bytes: 0,
            swap_used_bytes: 0,
            cores: 4,
            has_avx2: Some(true),
            worker: Ok(("/bin/manyhands-worker".into(), Identity { zkvm: "risc0-zkvm 3.0.6".into(), recursion: true })),
            data_dir: "/data".into(),
            data_dir_error: None,
            disk_free_bytes: Some(100 << 30),
            store_limit_bytes: 10 << 30,
            files_max: Some(4_096),
            now: Duration::from_secs(1_790_000_000),
            built: Some(Duration::from_secs(1_780_000_000)),
            gateway: Ok("127.0.0.1:7171".into()),
        }
    }

    fn state(facts: &Facts, name: &str) -> State {
        let check = checks(facts).into_iter().find(|check| check.name == name).unwrap();
        assert_eq!(check.fix.is_some(), check.state != State::Ok, "{check:?}");
        check.state
    }

    #[test]
    fn a_fit_machine_passes_every_check() {
        let bad: Vec<_> = checks(&fit()).into_iter().filter(|check| check.state != State::Ok).collect();
        assert!(bad.is_empty(), "{bad:?}");
        let memory = memory(&fit()).value;
        assert!(memory.ends_with("segments up to po2 19"), "{memory}");
    }

    #[test]
    fn a_weak_machine_is_told_what_to_do() {
        let weak =
            Facts { memory_bytes: 200_000_000, slot_bytes: 100_000_000, available_bytes: 9_000_000, cores: 1, ..fit() };
        assert_eq!(state(&weak, "memory"), State::Failure);
        assert_eq!(state(&weak, "free memory"), State::Warning);
        assert_eq!(state(&weak, "cores"), State::Warning);
        assert_eq!(state(&weak, "recursion"), State::Warning);
        assert_eq!(state(&Facts { has_avx2: Some(false), ..fit() }, "processor"), State::Failure);
        assert_eq!(state(&Facts { swap_bytes: 4, swap_used_bytes: 2, ..fit() }, "swap"), State::Warning);
    }

    #[test]
    fn a_missing_worker_fails_and_one_without_recursion_warns() {
        let missing = Facts { worker: Err("not found".into()), ..fit() };
        assert_eq!((state(&missing, "worker"), state(&missing, "recursion")), (State::Failure, State::Warning));
        let plain = Facts { worker: Ok(("w".into(), Identity { zkvm: "z".into(), recursion: false })), ..fit() };
        assert_eq!((state(&plain, "worker"), state(&plain, "recursion")), (State::Ok, State::Warning));
    }

    #[test]
    fn disks_files_and_clocks_have_limits() {
        assert_eq!(state(&Facts { disk_free_bytes: Some(1 << 30), ..fit() }, "disk"), State::Failure);
        assert_eq!(state(&Facts { disk_free_bytes: Some(5 << 30), ..fit() }, "disk"), State::Warning);
        assert_eq!(
            state(&Facts { data_dir_error: Some("read-only".into()), ..fit() }, "data directory"),
            State::Failure
        );
        assert_eq!(state(&Facts { files_max: Some(256), ..fit() }, "open files"), State::Warning);
        assert_eq!(state(&Facts { now: Duration::from_secs(0), ..fit() }, "clock"), State::Failure);
        assert_eq!(state(&Facts { now: Duration::from_secs(4_000_000_000), ..fit() }, "clock"), State::Failure);
        assert_eq!(state(&Facts { gateway: Err("nobody".into()), ..fit() }, "gateway"), State::Warning);
    }
}
