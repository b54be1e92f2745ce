//! Ten thousand segments on hundreds of nodes: the books must not be walked through for every message. The test counts nothing; it
//! would take many minutes if they were.

use manyhands_core::job::Outcome;
use manyhands_core::requester::{AskId, Command, Event, Input};
use manyhands_core::{Checked, ExecutionInfo, JobSpec, Origin, Policy, Priority, Requester, SegmentInfo, Time};
use manyhands_proto::message::{Response, Stage};
use manyhands_proto::{LeaseId, NodeId, Unit};

use crate::fake::{Fake, JOB, ZKVM, able, bid, binder, blob, holder, node, po2};

const SEGMENTS: u32 = 10_000;
const NODES: u64 = 250;

fn worker(number: u64) -> NodeId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

fn leases(core: &mut Requester<Fake>) -> Vec<(u64, LeaseId)> {
    let mut leases = Vec::new();
    while let Some(command) = core.poll_command() {
        if let Command::Answer { ask, response: Response::Lease(lease) } = command {
            leases.push((ask.0, lease.id));
        }
    }
    leases
}

#[test]
fn ten_thousand_segments_on_hundreds_of_nodes() {
    let mut core: Requester<Fake> = Requester::new(Policy::default(), holder(node(0xee)), ZKVM.to_owned(), binder());
    let mut now = Time(0);
    let spec = JobSpec { po2: po2(16), is_auto: false, outcome: Outcome::Composite, priority: Priority::Normal };
    core.handle(now, Input::Submit { job: JOB, spec, restored: Default::default(), attempts_from: 0 });
    // A hundred nodes that are too small wait all the time.
    let mut small = able();
    small.po2_max = po2(14);
    for number in 0..100 {
        let ask = AskId(u64::MAX - number);
        core.handle(
            now,
            Input::Bid {
                node: worker(1_000_000 + number),
                from: Origin::default(),
                bid: bid(small.clone()),
                shown: None,
                ask,
            },
        );
    }
    for index in 0..SEGMENTS {
        core.handle(now, Input::Segmented { job: JOB, segment: SegmentInfo { index, po2: po2(16), claim: index } });
        core.handle(now, Input::Stored { job: JOB, unit: Unit::Prove(index), blob: blob(u64::from(index)), key: None });
    }
    let info =
        ExecutionInfo { segments: SEGMENTS, user_cycles: 1, total_cycles: 1, assumptions: Vec::new(), keccaks: 0 };
    core.handle(now, Input::Executed { job: JOB, result: Ok(info) });
    leases(&mut core);
    let mut verified = 0;
    for _ in 0..u64::from(SEGMENTS) / NODES {
        for number in 0..NODES {
            core.handle(
                now,
                Input::Bid {
                    node: worker(number),
                    from: Origin::default(),
                    bid: bid(able()),
                    shown: None,
                    ask: AskId(number),
                },
            );
        }
        let granted = leases(&mut core);
        assert_eq!(granted.len() as u64, NODES);
        for (number, lease) in granted {
            now = now.after(1);
            let (node, ask) = (worker(number), AskId(number));
            core.handle(now, Input::Heartbeat { node, lease, stage: Stage::Work, remaining_ms: None, ask });
            assert!(core.poll_timeout().is_some());
            core.handle(now, Input::Done { node, lease, receipt: blob(1), elapsed_ms: 1, ask });
            let index = lease.unit.range().start;
            core.handle(now, Input::Checked { node, lease, result: Ok(Checked::Segment(index)) });
        }
        while let Some(event) = core.poll_event() {
            verified += u32::from(matches!(event, Event::Verified { .. }));
        }
    }
    core.audit().unwrap();
    assert_eq!(verified, SEGMENTS);
}
