//! What nodes of one address range may have before they have shown that they deliver.

use manyhands_core::job::Outcome;
use manyhands_core::requester::{AskId, Input};
use manyhands_core::{Origin, Policy};
use manyhands_proto::NodeId;
use manyhands_proto::message::{Lease, Response};

use crate::desk::Desk;
use crate::fake::{able, bid, blob, node};

const HERE: Origin = Origin::v4([203, 0, 113, 7]);
const THERE: Origin = Origin::v4([198, 51, 100, 7]);
const LAN: Origin = Origin::v4([192, 168, 1, 7]);

impl Desk {
    fn bid_from(&mut self, from: Origin, node: NodeId) -> AskId {
        let ask = AskId(2_000_000 + u64::from(node.0[0]) * 1_000_000 + self.now.0);
        self.send(Input::Bid { node, from, bid: bid(able()), shown: None, ask });
        ask
    }

    /// A lease from there, or whether it was told to wait.
    fn leases_from(&mut self, from: Origin, node: NodeId) -> Option<Lease> {
        let ask = self.bid_from(from, node);
        match self.answer(ask) {
            Response::Lease(lease) => Some(*lease),
            Response::Wait { retry_ms } => {
                assert_eq!(retry_ms, self.policy.retry_ms);
                None
            }
            other => panic!("{other:?}"),
        }
    }

    fn does(&mut self, lease: &Lease, from: NodeId) {
        self.wait(5_000);
        let ask = self.done(from, lease.id, blob(50));
        let collect = self.collect();
        self.verdict(&collect, Ok(()));
        assert_eq!(self.answer(ask), Response::Ok);
        self.announced();
    }
}

/// A job of many segments for whoever comes, at a gateway that gives each range two leases to begin with.
fn desk() -> Desk {
    let policy = Policy { range_slots: 2, near_wait_ms: 0, challenge_after_ms: 0, ..Policy::default() };
    let mut desk = Desk::with(policy);
    desk.submit(Outcome::Composite);
    (0..40).for_each(|index| desk.segment(index));
    desk
}

#[test]
fn unknown_nodes_of_a_public_range_have_few_leases_together() {
    let mut desk = desk();
    assert!(desk.leases_from(HERE, node(1)).is_some() && desk.leases_from(HERE, node(2)).is_some());
    assert!(desk.leases_from(HERE, node(3)).is_none(), "the third waits");
    assert!(desk.leases_from(THERE, node(4)).is_some(), "others do not");
    for number in 5..10 {
        assert!(desk.leases_from(LAN, node(number)).is_some(), "nor does the gateway's own network");
        assert!(desk.leases_from(Origin::default(), node(10 + number)).is_some(), "nor who comes from an unknown one");
    }
    desk.clear();
}

#[test]
fn bids_that_wait_count_too() {
    let mut desk = Desk::with(Policy { range_slots: 2, challenge_after_ms: 0, ..Policy::default() });
    desk.submit(Outcome::Composite);
    let held = [1, 2].map(|number| desk.bid_from(HERE, node(number)));
    assert!(desk.leases_from(HERE, node(3)).is_none());
    desk.wait(desk.policy.bid_hold_ms);
    for ask in held {
        assert_eq!(desk.answer(ask), Response::Wait { retry_ms: 0 });
    }
    let third = desk.bid_from(HERE, node(3));
    desk.segment(0);
    desk.granted(third);
}

#[test]
fn each_result_makes_room_for_one_more_and_a_failure_halves_it() {
    let mut desk = desk();
    let first = desk.leases_from(HERE, node(1)).unwrap();
    let other = desk.leases_from(HERE, node(2)).unwrap();
    desk.does(&first, node(1));
    assert!(desk.leases_from(HERE, node(3)).is_some() && desk.leases_from(HERE, node(4)).is_some(), "three at once");
    assert!(desk.leases_from(HERE, node(5)).is_none());
    // All are silent: the range has one left.
    desk.wait(desk.policy.silence_ms);
    assert!(desk.leases_from(HERE, node(6)).is_some() && desk.leases_from(HERE, node(7)).is_none(), "{other:?} lapsed");
    desk.clear();
}

#[test]
fn who_has_shown_that_it_delivers_is_not_counted() {
    let mut desk = desk();
    for _ in 0..desk.policy.trusted_after {
        let lease = desk.leases_from(HERE, node(1)).unwrap();
        desk.does(&lease, node(1));
    }
    let full = (2..20).take_while(|number| desk.leases_from(HERE, node(*number)).is_some()).count();
    assert_eq!(full, 5, "two, and one for each result");
    assert!(desk.leases_from(HERE, node(1)).is_some());
    desk.clear();
}
