//! Steps V and VI: what is put together, in which order, and how often.

use std::collections::{BTreeMap, BTreeSet};

use manyhands_core::job::{Outcome, Phase};
use manyhands_core::requester::{Event, Input};
use manyhands_core::{Assumption, Parts};
use manyhands_proto::message::{Bid, Lease};
use manyhands_proto::{BlobRef, NodeId, SegmentRange, Unit};
use proptest::prelude::*;

use crate::desk::{Desk, request_blob};
use crate::fake::{JOB, able, blob, node};

#[test]
fn a_composite_receipt_has_its_segments_in_order_whatever_the_order_of_arrival() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    (0..3).for_each(|index| desk.segment(index));
    let leases: Vec<_> = (1..=3).map(|number| (node(number), desk.lease(node(number)).id)).collect();
    for (place, (node, lease)) in [(50, leases[2]), (51, leases[0]), (52, leases[1])] {
        let ask = desk.done(node, lease, blob(place));
        let collect = desk.collect();
        desk.verdict(&collect, Ok(()));
        desk.answer(ask);
    }
    desk.is_clear();
    desk.executed(3);
    let Parts::Composite(parts, _) = desk.assemble() else { panic!("a composite receipt was asked for") };
    assert_eq!(parts, [(0, blob(51)), (1, blob(52)), (2, blob(50))]);
    assert_eq!(desk.core.job(&JOB).unwrap().phase, Phase::Assembling);
    desk.events();
    desk.wait(5_000);
    desk.send(Input::Assembled { job: JOB, result: Ok(()) });
    assert_eq!(desk.events(), [Event::JobDone { job: JOB }]);
    assert_eq!(desk.core.job(&JOB).unwrap().phase, Phase::Done { at: desk.now });
    desk.send(Input::Assembled { job: JOB, result: Err("again".to_owned()) });
    assert_eq!(desk.events(), [], "what is done stays done");
}

#[test]
fn a_receipt_that_cannot_be_assembled_fails_the_job() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let lease = desk.lease(node(1)).id;
    desk.complete(node(1), lease);
    desk.assemble();
    desk.send(Input::Assembled { job: JOB, result: Err("the disk is full".to_owned()) });
    assert!(
        matches!(&desk.core.job(&JOB).unwrap().phase, Phase::Failed { reason, .. } if reason.contains("disk is full"))
    );
}

#[test]
fn one_segment_is_lifted_and_not_joined() {
    let mut desk = Desk::with_job(Outcome::Succinct, 1);
    for unit in [Unit::Prove(0), Unit::Lift(0)] {
        let lease = desk.lease(node(1)).id;
        assert_eq!(lease.unit, unit);
        desk.complete(node(1), lease);
        desk.announced();
    }
    let Parts::Succinct(range, receipt) = desk.assemble() else { panic!("a succinct receipt was asked for") };
    assert_eq!((range, receipt), (SegmentRange { start: 0, end: 1 }, blob(99)));
}

#[test]
fn of_two_waiting_nodes_the_maker_gets_the_lift_even_if_it_is_slower() {
    let mut desk = Desk::with_job(Outcome::Succinct, 1);
    let lease = desk.lease(node(9)).id;
    let ask = desk.done(node(9), lease, blob(50));
    let collect = desk.collect();
    let stranger = desk.bid(node(1));
    let maker = desk.bid(node(9));
    desk.verdict(&collect, Ok(()));
    desk.answer(ask);
    let lift = desk.granted(maker);
    assert_eq!((lift.id.unit, lift.inputs), (Unit::Lift(0), vec![blob(50)]));
    desk.wait(desk.policy.bid_hold_ms);
    desk.answer(stranger);
}

#[test]
fn a_join_names_its_parts_in_order() {
    let mut desk = Desk::with_job(Outcome::Succinct, 2);
    let mut place = 100;
    // Proofs and lifts, the later one first.
    let mut leases = vec![(1, desk.lease(node(1)).id), (2, desk.lease(node(2)).id)];
    for _ in 0..2 {
        for (number, lease) in leases.split_off(0).into_iter().rev() {
            place += 1;
            let ask = desk.done(node(number), lease, blob(place));
            let collect = desk.collect();
            desk.verdict(&collect, Ok(()));
            desk.answer(ask);
            desk.announced();
            if matches!(lease.unit, Unit::Prove(_)) {
                leases.insert(0, (number, desk.lease(node(number)).id));
            }
        }
    }
    let join = desk.lease(node(3));
    assert_eq!(join.id.unit, Unit::Join { start: 0, mid: 1, end: 2 });
    assert_eq!(join.inputs, [blob(104), blob(103)], "the lift of segment 0 came last");
    desk.complete(node(3), join.id);
    let Parts::Succinct(range, _) = desk.assemble() else { panic!("a succinct receipt was asked for") };
    assert_eq!(range, SegmentRange { start: 0, end: 2 });
}

#[test]
fn a_composite_receipt_takes_what_the_guest_relies_on_with_it() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    desk.segment(0);
    desk.executed_relying_on(1, vec![blob(60), blob(61)]);
    let lease = desk.lease(node(1)).id;
    desk.complete(node(1), lease);
    let Parts::Composite(parts, assumptions) = desk.assemble() else { panic!("a composite receipt was asked for") };
    assert_eq!((parts, assumptions), (vec![(0, blob(99))], vec![blob(60), blob(61)]));
}

#[test]
fn a_composite_receipt_waits_until_all_keccak_requests_are_united() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    (0..3).for_each(|index| desk.keccak(index));
    desk.segment(0);
    desk.executed_with(1, 3, vec![Assumption::Keccak, Assumption::Given(blob(60))]);
    let mut receipts = 70..;
    let mut next =
        |desk: &mut Desk, unit: Unit, inputs: &[BlobRef]| desk.next(unit, inputs, blob(receipts.next().unwrap()));
    let view = desk.core.view_job(desk.now, &JOB).unwrap();
    assert_eq!((view.units_done, view.units_total, view.grid.len()), (0, 6, 1));
    assert_eq!((view.keccaks, view.keccak_cycles), (3, 3 << 14));
    // What takes longest and waits for nothing goes first.
    let [a, b, c] = [0, 1, 2].map(|index| next(&mut desk, Unit::Keccak(index), &[request_blob(index)]));
    let proof = next(&mut desk, Unit::Prove(0), &[blob(0)]);
    let ab = next(&mut desk, Unit::Union { start: 0, mid: 1, end: 2 }, &[a, b]);
    let root = next(&mut desk, Unit::Union { start: 0, mid: 2, end: 3 }, &[ab, c]);
    let Parts::Composite(parts, assumptions) = desk.assemble() else { panic!("a composite receipt was asked for") };
    assert_eq!((parts, assumptions), (vec![(0, proof)], vec![root, blob(60)]));
}

#[test]
fn requests_that_the_guest_does_not_rely_on_hold_nothing_up() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Composite);
    desk.segment(0);
    desk.keccak(0);
    desk.executed_with(1, 1, Vec::new());
    let [keccak, lease] = [1, 2].map(|number| desk.lease(node(number)).id);
    assert_eq!((keccak.unit, lease.unit), (Unit::Keccak(0), Unit::Prove(0)));
    desk.complete(node(2), lease);
    assert_eq!(desk.cancelled(), (node(1), keccak), "nobody needs it");
    let Parts::Composite(_, assumptions) = desk.assemble() else { panic!("a composite receipt was asked for") };
    assert_eq!(assumptions, []);
}

#[test]
fn each_assumption_is_resolved_in_the_receipt_that_the_one_before_it_left() {
    let mut desk = Desk::new();
    desk.submit(Outcome::Succinct);
    desk.segment(0);
    let mut receipts = 70..;
    let mut next =
        |desk: &mut Desk, unit: Unit, inputs: &[BlobRef]| desk.next(unit, inputs, blob(receipts.next().unwrap()));
    let proof = next(&mut desk, Unit::Prove(0), &[blob(0)]);
    let mut whole = next(&mut desk, Unit::Lift(0), &[proof]);
    // Only the guest's end tells what it relies on, the same twice here.
    desk.is_clear();
    let relied_on = [blob(60), blob(61), blob(60)];
    desk.executed_relying_on(1, relied_on.to_vec());
    desk.announced();
    for (index, assumption) in (0..).zip(relied_on) {
        let view = desk.core.view_job(desk.now, &JOB).unwrap();
        assert_eq!((view.units_done, view.units_total), (2 + index, 5));
        whole = next(&mut desk, Unit::Resolve { segments: 1, index }, &[whole, assumption]);
    }
    let Parts::Succinct(range, receipt) = desk.assemble() else { panic!("a succinct receipt was asked for") };
    assert_eq!((range, receipt), (SegmentRange { start: 0, end: 1 }, whole));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the order in which results arrive, n segments take n lifts and n - 1 joins of neighbours, k keccak requests k - 1 unions, and
    /// they end as one range, of which the assumptions are resolved one after the other, that of the requests when all are united.
    #[test]
    fn any_order_of_arrival_takes_one_join_less_than_segments(
        segments in 1_u32..=40,
        keccaks in 0_u32..=20,
        given in 0_u32..4,
        ends_after in any::<prop::sample::Index>(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 170),
    ) {
        let guest = Guest { segments, keccaks, given };
        let units = play(&guest, &order, ends_after.index(guest.units() as usize));
        let joins: BTreeSet<_> = units.iter().filter(|unit| matches!(unit, Unit::Join { .. })).collect();
        let lifts = units.iter().filter(|unit| matches!(unit, Unit::Lift(_))).count();
        prop_assert_eq!(joins.len(), segments as usize - 1);
        prop_assert_eq!(lifts, segments as usize);
        let unions = units.iter().filter(|unit| matches!(unit, Unit::Union { .. })).count();
        prop_assert_eq!(unions, keccaks.saturating_sub(1) as usize);
        let resolved: Vec<Unit> = units.iter().filter(|unit| matches!(unit, Unit::Resolve { .. })).copied().collect();
        let expected: Vec<Unit> = (0..guest.assumptions()).map(|index| Unit::Resolve { segments, index }).collect();
        prop_assert_eq!(resolved, expected, "in order");
    }
}

/// What a guest leaves to be done for a succinct receipt.
struct Guest {
    segments: u32,
    keccaks: u32,
    /// Receipts that it relies on beside its own requests.
    given: u32,
}

impl Guest {
    fn assumptions(&self) -> u32 {
        self.given + u32::from(self.keccaks > 0)
    }

    fn units(&self) -> u32 {
        3 * self.segments - 1 + self.assumptions() + (2 * self.keccaks).saturating_sub(1)
    }

    /// What it relies on: its requests first, as RISC Zero's executor has what came last in front.
    fn relies_on(&self) -> Vec<Assumption> {
        let given = (0..self.given).map(|number| Assumption::Given(blob(1_000 + u64::from(number))));
        (self.keccaks > 0).then_some(Assumption::Keccak).into_iter().chain(given).collect()
    }
}

/// Leases whatever there is to idle nodes, and hands results over in the order that `order` picks. The guest ends after `ends_after` of them, or
/// when nothing else is left.
fn play(guest: &Guest, order: &[prop::sample::Index], ends_after: usize) -> Vec<Unit> {
    let mut desk = Desk::new();
    desk.submit(Outcome::Succinct);
    (0..guest.segments).for_each(|index| desk.segment(index));
    (0..guest.keccaks).for_each(|index| desk.keccak(index));
    let workers: Vec<NodeId> = (1..=70).map(node).collect();
    let mut running: Vec<(NodeId, Lease)> = Vec::new();
    let (mut done, mut free) = (Vec::new(), Free::default());
    for (number, pick) in order.iter().take(guest.units() as usize).enumerate() {
        let idle = workers.iter().filter(|worker| running.iter().all(|(busy, _)| busy != *worker));
        for worker in idle.copied().collect::<Vec<_>>() {
            if (number >= ends_after || (running.is_empty() && !has_ready(&desk)))
                && desk.core.job(&JOB).unwrap().execution.is_none()
            {
                desk.executed_with(guest.segments, guest.keccaks, guest.relies_on());
            }
            if !has_ready(&desk) {
                break;
            }
            let ask = desk.bid_as(worker, Bid { capabilities: able(), slots_free: 1, score: None });
            running.push((worker, desk.granted(ask)));
        }
        desk.announced();
        let (worker, lease) = running.swap_remove(pick.index(running.len()));
        free.take(guest, &lease);
        desk.complete(worker, lease.id);
        desk.announced();
        done.push(lease.id.unit);
    }
    let Parts::Succinct(range, _) = desk.assemble() else { panic!("a succinct receipt was asked for") };
    assert_eq!(range, SegmentRange { start: 0, end: guest.segments });
    assert!(running.is_empty());
    done
}

/// Ranges that are verified and not combined yet, by where they begin.
#[derive(Default)]
struct Free {
    segments: BTreeMap<u32, u32>,
    keccaks: BTreeMap<u32, u32>,
}

impl Free {
    /// A unit is done: what it works on must be whole and free.
    fn take(&mut self, guest: &Guest, lease: &Lease) {
        let SegmentRange { start, end } = lease.id.unit.range();
        match lease.id.unit {
            Unit::Prove(_) => {}
            Unit::Lift(_) => assert_eq!(self.segments.insert(start, end), None),
            Unit::Join { mid, .. } => {
                let parts = (self.segments.insert(start, end), self.segments.remove(&mid));
                assert_eq!(parts, (Some(mid), Some(end)), "parts are whole and free");
            }
            Unit::Keccak(_) => assert_eq!(self.keccaks.insert(start, end), None),
            Unit::Union { mid, .. } => {
                let parts = (self.keccaks.insert(start, end), self.keccaks.remove(&mid));
                assert_eq!(parts, (Some(mid), Some(end)), "parts are whole and free");
            }
            Unit::Resolve { index, .. } => {
                assert_eq!(self.segments, BTreeMap::from([(0, guest.segments)]), "everything is joined");
                match guest.relies_on()[index as usize] {
                    Assumption::Given(receipt) => assert_eq!(lease.inputs[1], receipt, "what proves it"),
                    Assumption::Keccak => {
                        assert_eq!(self.keccaks, BTreeMap::from([(0, guest.keccaks)]), "all are united")
                    }
                }
            }
        }
    }
}

fn has_ready(desk: &Desk) -> bool {
    let job = desk.core.job(&JOB).unwrap();
    job.units().any(|(_, state)| state == manyhands_core::job::UnitState::Stored)
}

fn locate(desk: &mut Desk, number: u8) {
    let addresses = (0..9).map(|port| format!("/ip4/10.0.0.{number}/tcp/{port}")).collect();
    desk.send(Input::Located { node: node(number), addresses });
}

fn holders(lease: &Lease) -> Vec<NodeId> {
    lease.holders.iter().map(|holder| holder.node).collect()
}

#[test]
fn inputs_are_fetched_from_their_makers_first_and_from_the_gateway_last() {
    let mut desk = Desk::with_job(Outcome::Succinct, 2);
    let proofs: Vec<_> = (1..=2).map(|number| (node(number), desk.lease(node(number)).id)).collect();
    (1..=2).for_each(|number| locate(&mut desk, number));
    proofs.into_iter().for_each(|(node, lease)| desk.complete(node, lease));
    let (own, other) = (desk.lease(node(1)), desk.lease(node(3)));
    assert_eq!(holders(&own), [node(0xee)], "what it made itself it need not be told");
    assert_eq!(holders(&other), [node(2), node(0xee)]);
    assert_eq!(other.holders[0].addresses.len(), 4, "more addresses than a message may hold are dropped");
    desk.complete(node(1), own.id);
    desk.complete(node(3), other.id);
    locate(&mut desk, 3);
    // Who is gone, or is not to be trusted now, holds nothing.
    desk.send(Input::Gone { node: node(1) });
    let join = desk.lease(node(4));
    assert_eq!(join.id.unit, Unit::Join { start: 0, mid: 1, end: 2 });
    assert_eq!(holders(&join), [node(3), node(0xee)]);
    desk.announced();
}

#[test]
fn a_copy_fetches_from_who_works_on_the_unit_already() {
    let mut desk = Desk::with_job(Outcome::Composite, 1);
    let first = desk.lease(node(1)).id;
    locate(&mut desk, 1);
    let late = |desk: &mut Desk| {
        for _ in 0..12 {
            desk.heartbeat(node(1), first);
            desk.wait(10_000);
        }
    };
    late(&mut desk);
    let copy = desk.lease(node(2));
    assert_eq!((copy.id.unit, copy.id.attempt), (Unit::Prove(0), 2));
    assert_eq!(holders(&copy), [node(1), node(0xee)]);
    desk.announced();
}
