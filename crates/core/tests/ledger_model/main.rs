//! A gateway beside a book that says the same in the simplest way: random steps go into both, and after each everything that the machine
//! says and everything that it has written down is compared. Steps I to VI.
//!
//! Five nodes, liars among them, and two jobs of up to three segments at a time, under four policies. Who is blocked, how fast a node is and
//! whether a lease is slow is the machine's own word here; so is which node gets which unit, but a lease must be one of those allowed.
//!
//! Cases and seed are fixed, so a run passes or fails by the code alone. `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for others. A case
//! that fails is written to `regressions.txt` beside this file and is run first from then on: it is committed with the mending, and
//! stays; without one there is no such file. What the cases came across is counted, and nothing may be missing:
//! `cargo test -p manyhands-core --test ledger_model -- --nocapture` shows it.
//!
//! It was seen to fail when the gateway was broken on purpose, one at a time: it heard a heartbeat, a claim or a give-back of a node that
//! does not hold the lease; took a result after the job's end; let a failed job's or a lost node's leases run on; brought a lease back
//! beside another, or on a full slot; leased to a full slot, to a blocked node or a copy beyond the budget; never leased an ended unit
//! again; used attempt numbers again, or remembered all; fetched in vain for ever; joined a range twice; left an older bid or claim without an
//! answer; gave surplus leases up at once, or never; did not share out when it reckoned.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

mod book;
mod count;
mod drive;
#[path = "../rules/fake.rs"]
#[allow(dead_code)]
mod fake;
mod gateway;
mod judge;
mod leases;
mod rules;
mod steps;

use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use crate::gateway::Gateway;
use crate::steps::Steps;

const CASES: u32 = 512;
const STEPS: std::ops::Range<usize> = 100..400;
const SEED: u64 = 1;

fn config() -> Config {
    let asked = Config::default();
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ledger_model/regressions.txt");
    Config {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { CASES },
        rng_seed: if asked.rng_seed == RngSeed::Random { RngSeed::Fixed(SEED) } else { asked.rng_seed },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        ..asked
    }
}

#[test]
fn the_machine_and_the_book_agree() {
    let config = config();
    let steps = Steps::sequential_strategy(STEPS);
    let result = TestRunner::new(config.clone()).run(&steps, |(policy, steps, seen)| {
        Gateway::test_sequential(config.clone(), policy, steps, seen);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let sum = count::sum();
    println!("{sum:?}");
    assert!(sum.least() > 0, "something never happened: {sum:?}");
}
