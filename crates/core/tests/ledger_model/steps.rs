//! What may happen to a gateway, drawn at random. A step names jobs, nodes and leases by small numbers, so that it means something in
//! whatever state it comes; numbers that mean nothing there are part of the test.

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

pub const JOBS: u8 = 2;
pub const NODES: u8 = 5;
pub const POLICIES: u8 = 4;
pub const SEGMENTS_MAX: u32 = 3;

/// The verifier's word.
#[derive(Debug, Clone, Copy)]
pub enum Verdict {
    Right,
    Peer,
    Network,
    Us,
}

/// Why a node gives a lease back.
#[derive(Debug, Clone, Copy)]
pub enum Why {
    Fetch,
    Worker,
    Leaving,
}

#[derive(Debug, Clone)]
pub enum Step {
    Submit {
        job: u8,
        succinct: bool,
    },
    Cut {
        job: u8,
    },
    /// The next segment's blob is stored, or one at random.
    Store {
        job: u8,
        other: Option<u8>,
    },
    /// The guest ends; `early` if it may have cut fewer segments than it could.
    Executed {
        job: u8,
        early: bool,
    },
    Abort {
        job: u8,
    },
    Assembled {
        job: u8,
        fails: bool,
    },
    Hello {
        node: u8,
    },
    /// `busy` slots, whatever the gateway's book says; nothing if the node agrees with it.
    Bid {
        node: u8,
        busy: Option<u8>,
    },
    /// `pick` names a lease that was given out once; a `forger` speaks of another node's.
    Beat {
        pick: u8,
        forger: Option<u8>,
        remaining_ms: Option<u64>,
    },
    /// Every running lease is confirmed.
    BeatAll,
    Done {
        pick: u8,
        forger: Option<u8>,
        is_empty: bool,
    },
    Fail {
        pick: u8,
        forger: Option<u8>,
        why: Why,
    },
    Checked {
        pick: u8,
        verdict: Verdict,
    },
    Gone {
        node: u8,
    },
    Misbehaved {
        node: u8,
    },
    /// The operator denies a node, or takes that back.
    Rule {
        node: u8,
        denied: bool,
    },
    Pass {
        ms: u64,
    },
}

/// The generator keeps no books: the one reference is the book beside the machine. Its state is the number of the policy.
pub struct Steps;

impl ReferenceStateMachine for Steps {
    type State = u8;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<u8> {
        (0..POLICIES).boxed()
    }

    fn transitions(_: &u8) -> BoxedStrategy<Step> {
        prop_oneof![
            20 => of_a_job(),
            14 => (node(), rarely(0..3_u8)).prop_map(|(node, busy)| Step::Bid { node, busy }),
            6 => (any::<u8>(), rarely(node()), remaining())
                .prop_map(|(pick, forger, remaining_ms)| Step::Beat { pick, forger, remaining_ms }),
            3 => Just(Step::BeatAll),
            12 => (any::<u8>(), rarely(node()), proptest::bool::weighted(0.02))
                .prop_map(|(pick, forger, is_empty)| Step::Done { pick, forger, is_empty }),
            1 => (any::<u8>(), rarely(node()), why()).prop_map(|(pick, forger, why)| Step::Fail { pick, forger, why }),
            12 => (any::<u8>(), verdict()).prop_map(|(pick, verdict)| Step::Checked { pick, verdict }),
            1 => node().prop_map(|node| Step::Gone { node }),
            5 => pause().prop_map(|ms| Step::Pass { ms }),
            1 => (0..60_u8, node(), job()).prop_map(|(which, node, job)| match which {
                0..8 => Step::Misbehaved { node },
                8 => Step::Abort { job },
                9..13 => Step::Rule { node, denied: which < 11 },
                _ => Step::Hello { node },
            }),
        ]
        .boxed()
    }

    fn apply(policy: u8, _: &Step) -> u8 {
        policy
    }
}

fn of_a_job() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (job(), any::<bool>()).prop_map(|(job, succinct)| Step::Submit { job, succinct }),
        4 => job().prop_map(|job| Step::Cut { job }),
        5 => (job(), rarely(0..4_u8)).prop_map(|(job, other)| Step::Store { job, other }),
        2 => (job(), proptest::bool::weighted(0.05)).prop_map(|(job, early)| Step::Executed { job, early }),
        1 => (job(), proptest::bool::weighted(0.2)).prop_map(|(job, fails)| Step::Assembled { job, fails }),
    ]
}

fn job() -> std::ops::Range<u8> {
    0..JOBS
}

fn node() -> std::ops::Range<u8> {
    0..NODES
}

fn rarely(strategy: impl Strategy<Value = u8>) -> impl Strategy<Value = Option<u8>> {
    proptest::option::weighted(0.1, strategy)
}

/// A prediction is 56 s at first.
fn remaining() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(prop_oneof![4 => 0..60_000_u64, 2 => 60_000..400_000_u64, 1 => Just(u64::MAX)])
}

fn why() -> impl Strategy<Value = Why> {
    prop_oneof![Just(Why::Fetch), Just(Why::Worker), Just(Why::Leaving)]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![30 => Just(Verdict::Right), 1 => Just(Verdict::Peer), 5 => Just(Verdict::Network), 2 => Just(Verdict::Us)]
}

/// Moments, and what ends a bid (20 s), a lease (30 s of silence), a rest, or any block (a day).
fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => 1..2_000_u64,
        10 => 2_000..10_000_u64,
        4 => 10_000..40_000_u64,
        1 => 60_000..1_200_000_u64,
        1 => Just(24 * 3_600_000_u64),
    ]
}
