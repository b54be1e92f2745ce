//! Private jobs: who is not in the circle gets no lease, and so no reference and no key.

use std::collections::BTreeSet;

use manyhands_core::explain::Reason;
use manyhands_core::job::{JobSpec, Outcome, Restored, SegmentInfo};
use manyhands_core::requester::{Command, Input};
use manyhands_core::{Priority, Survey};
use manyhands_proto::message::{BlobKey, FailReason};
use manyhands_proto::{NodeId, Unit};

use crate::desk::Desk;
use crate::fake::{JOB, able, bid, blob, node, po2};

const KEY: BlobKey = BlobKey([7; 32]);

/// A private job of `segments` for `circle`.
fn private(circle: &[NodeId], segments: u32, outcome: Outcome) -> Desk {
    let mut desk = Desk::new();
    desk.send(Input::Restrict { job: JOB, to: circle.iter().copied().collect() });
    desk.submit(outcome);
    for index in 0..segments {
        desk.send(Input::Segmented { job: JOB, segment: SegmentInfo { index, po2: po2(16), claim: index } });
        desk.send(Input::Stored { job: JOB, unit: Unit::Prove(index), blob: blob(u64::from(index)), key: Some(KEY) });
        desk.announced();
    }
    desk.executed(segments);
    desk
}

#[test]
fn only_the_circle_gets_leases_and_they_have_the_key() {
    let mut desk = private(&[node(2)], 2, Outcome::Composite);
    let stranger = desk.bid(node(1));
    let lease = desk.lease(node(2));
    assert_eq!((lease.key, lease.inputs.len()), (Some(KEY), 1));
    assert!(lease.holders.iter().all(|holder| holder.node != node(1)));
    // The stranger waits until its bid ends, whatever is left to do.
    desk.complete(node(2), lease.id);
    let next = desk.lease(node(2));
    desk.wait(desk.policy.bid_hold_ms);
    while desk.announced() {}
    assert!(format!("{:?}", desk.answer(stranger)).contains("Wait"));
    desk.complete(node(2), next.id);
    assert_eq!(desk.core.job(&JOB).unwrap().results().count(), 2);
    desk.clear();
}

#[test]
fn lifts_and_joins_are_for_the_circle_too_and_have_no_key() {
    let mut desk = private(&[node(2), node(3)], 2, Outcome::Succinct);
    let stranger = desk.bid(node(1));
    let mut seen = BTreeSet::new();
    for turn in 0..5_u8 {
        let member = node(2 + turn % 2);
        let lease = desk.lease(member);
        assert_eq!(lease.key.is_some(), lease.id.unit.kind() == manyhands_proto::unit::UnitKind::Prove);
        seen.insert(lease.id.unit);
        desk.complete(member, lease.id);
    }
    assert_eq!(seen.len(), 5, "two proofs, two lifts, one join: {seen:?}");
    desk.assemble();
    desk.wait(desk.policy.bid_hold_ms);
    desk.answer(stranger);
    desk.clear();
}

#[test]
fn a_slow_circle_is_not_kept_waiting_for_a_fast_fleet() {
    let mut desk = private(&[node(9)], 1, Outcome::Composite);
    // A fleet of measured, fast nodes that may not have it.
    for number in 1..=5 {
        let mut fast = able();
        fast.timings.push(manyhands_proto::message::Timing {
            kind: manyhands_proto::unit::UnitKind::Prove,
            po2: po2(16),
            elapsed_ms: 100,
        });
        desk.bid_as(node(number), bid(fast));
    }
    let mut slow = able();
    slow.timings.push(manyhands_proto::message::Timing {
        kind: manyhands_proto::unit::UnitKind::Prove,
        po2: po2(16),
        elapsed_ms: 3_000_000,
    });
    let ask = desk.bid_as(node(9), bid(slow));
    desk.granted(ask);
    desk.clear();
}

#[test]
fn a_failed_unit_waits_for_the_circle_and_says_so() {
    let mut desk = private(&[node(2)], 1, Outcome::Composite);
    let stranger = desk.bid(node(1));
    let said = desk.core.explain(desk.now, &JOB).unwrap();
    assert_eq!(said.waits[0].reason, Reason::NotAllowed);
    assert!(said.waits[0].why.contains("private"), "{}", said.waits[0].why);
    assert!(desk.core.view_job(desk.now, &JOB).unwrap().waiting.unwrap().contains("private"));
    let lease = desk.lease(node(2)).id;
    desk.fail(node(2), lease, FailReason::Leaving);
    let said = desk.core.explain(desk.now, &JOB).unwrap();
    assert_eq!((said.waits[0].able, said.waits[0].nodes.clone()), (1, vec![node(2)]));
    desk.wait(desk.policy.bid_hold_ms);
    while desk.announced() {}
    desk.answer(stranger);
    desk.clear();
}

#[test]
fn the_size_is_chosen_for_the_circle() {
    let mut desk = Desk::new();
    let mut large = able();
    large.po2_max = po2(20);
    desk.hello(node(1), bid(large));
    let mut small = able();
    small.po2_max = po2(16);
    desk.hello(node(2), bid(small));
    assert_eq!(desk.core.sizes_offered(None).last(), Some(&po2(20)));
    desk.send(Input::Restrict { job: JOB, to: BTreeSet::from([node(2)]) });
    let spec = JobSpec { po2: po2(16), is_auto: true, outcome: Outcome::Composite, priority: Priority::Normal };
    desk.send(Input::Submit { job: JOB, spec, restored: Restored::new(), attempts_from: 0 });
    let Some(Command::Survey { sizes, .. }) = desk.take(|command| matches!(command, Command::Survey { .. })) else {
        panic!("the guest is looked at")
    };
    assert_eq!(sizes, [po2(14), po2(16)]);
    desk.send(Input::Surveyed { job: JOB, survey: None::<Survey> });
    assert!(desk.executes());
    let circle = BTreeSet::from([node(2)]);
    assert!(desk.core.admits(po2(18), Outcome::Composite, None).is_ok());
    assert!(desk.core.admits(po2(18), Outcome::Composite, Some(&circle)).is_err());
    desk.clear();
}
