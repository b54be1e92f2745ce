//! Every rule that a decoder enforces, broken by one and kept at the bound.

use manyhands_proto::codec::Checked;
use manyhands_proto::limits::{
    ADDRESS_CHARS_MAX, ADDRESSES_MAX, ASSUMPTIONS_MAX, CONTROL_BYTES_MAX, HOLDERS_MAX, KECCAKS_MAX, NOTICE_BYTES_MAX,
    RECEIPT_BYTES_MAX, SEGMENT_BYTES_MAX, SLOTS_MAX, TEXT_CHARS_MAX, TIMINGS_MAX,
};
use manyhands_proto::message::{Bid, Capabilities, FailReason, Holder, JobNotice, Lease, Request, Response, Stage};
use manyhands_proto::{DecodeError, JobId, Score, Unit, decode, encode};

use crate::samples::{JOIN, RESOLVE, blob, capabilities, holder, lease, lease_id, po2, samples, score};

const MALFORMED: Result<(), DecodeError> = Err(DecodeError::Malformed);

fn invalid(rule: &'static str) -> Result<(), DecodeError> {
    Err(DecodeError::Invalid(rule))
}

/// What a receiver makes of a request.
fn request(message: &Request) -> Result<(), DecodeError> {
    decode::<Request>(&encode(message), CONTROL_BYTES_MAX).map(drop)
}

fn response(message: Response) -> Result<(), DecodeError> {
    decode::<Response>(&encode(&message), CONTROL_BYTES_MAX).map(drop)
}

fn hello(change: impl FnOnce(&mut Capabilities)) -> Result<(), DecodeError> {
    let mut capabilities = capabilities();
    change(&mut capabilities);
    request(&Request::Hello(capabilities))
}

fn leased(unit: Unit, change: impl FnOnce(&mut Lease)) -> Result<(), DecodeError> {
    let mut lease = lease(unit, 16);
    change(&mut lease);
    response(Response::Lease(Box::new(lease)))
}

fn notice(gateway: Holder, zkvm: String) -> JobNotice {
    JobNotice { job: JobId::default(), gateway, zkvm, po2: po2(16), recursion: true }
}

#[test]
fn the_samples_break_no_rule() {
    assert!(samples().iter().all(|sample| sample.check() == Ok(())));
}

#[test]
fn frames_over_the_limit_are_not_looked_at() {
    let bytes = encode(&Request::Hello(capabilities()));
    let limit_bytes = bytes.len() - 1;
    let expected = DecodeError::TooLong { got_bytes: bytes.len(), limit_bytes };
    assert_eq!(decode::<Request>(&bytes, limit_bytes), Err(expected.clone()));
    assert!(expected.to_string().contains(&limit_bytes.to_string()));
    assert!(decode::<Request>(&bytes, bytes.len()).is_ok());
}

#[test]
fn the_largest_honest_messages_fit_their_frames() {
    let addresses = vec!["/".repeat(ADDRESS_CHARS_MAX); ADDRESSES_MAX];
    let large = Holder { addresses, ..holder() };
    let mut join = lease(JOIN, 16);
    join.holders = vec![large; HOLDERS_MAX];
    assert!(encode(&Response::Lease(Box::new(join))).len() <= CONTROL_BYTES_MAX);
    let gateway = Holder { addresses: vec!["/".repeat(180); ADDRESSES_MAX], ..holder() };
    assert!(encode(&notice(gateway, "risc0 3.0.6".to_owned())).len() <= NOTICE_BYTES_MAX);
}

#[test]
fn a_node_has_one_to_sixty_four_slots() {
    let rule = invalid("a node has 1 to 64 slots");
    assert_eq!(hello(|node| node.slots = 0), rule);
    assert_eq!(hello(|node| node.slots = 1), Ok(()));
    assert_eq!(hello(|node| node.slots = SLOTS_MAX), Ok(()));
    assert_eq!(hello(|node| node.slots = SLOTS_MAX + 1), rule);
}

#[test]
fn a_score_states_nothing_that_no_honest_verifier_would() {
    let said = |change: &dyn Fn(&mut Score)| {
        let mut signed = score();
        change(&mut signed.score);
        signed.check()
    };
    assert_eq!(said(&|_| {}), Ok(()));
    assert_eq!(said(&|score| score.verifier = score.peer), invalid("nobody scores himself"));
    let time = invalid("a scored proof takes between a millisecond and two hours");
    assert_eq!(said(&|score| score.elapsed_ms = 0), time);
    assert_eq!(said(&|score| score.elapsed_ms = u64::MAX), time);
    let size = invalid("a score's receipt has an impossible size");
    assert_eq!(said(&|score| score.receipt.size_bytes = 0), size);
    assert_eq!(said(&|score| score.receipt.size_bytes = RECEIPT_BYTES_MAX + 1), size);
    let life = invalid("a score counts for at most two hours");
    assert_eq!(said(&|score| score.expires_s = score.issued_s), life);
    assert_eq!(said(&|score| score.expires_s = score.issued_s + 7_201), life);
    assert_eq!(said(&|score| score.expires_s = u64::MAX), life);
    assert_eq!(said(&|score| score.binding.epoch -= 1), Ok(()), "the lease was in the epoch before");
    let epoch = invalid("a score's proof is of another time");
    assert_eq!(said(&|score| score.binding.epoch -= 2), epoch);
    assert_eq!(said(&|score| score.binding.epoch += 1), epoch);
}

#[test]
fn a_bid_has_no_more_free_slots_than_slots_and_keeps_the_rules_of_its_capabilities() {
    let bid = |slots, slots_free| {
        let capabilities = Capabilities { slots, ..capabilities() };
        request(&Request::Bid(Bid { capabilities, slots_free, score: None }))
    };
    assert_eq!((bid(2, 0), bid(2, 2)), (Ok(()), Ok(())));
    assert_eq!(bid(2, 3), invalid("more slots are free than there are"));
    assert_eq!(bid(0, 0), invalid("a node has 1 to 64 slots"));
}

#[test]
fn lists_end_at_their_limit() {
    assert_eq!(hello(|node| node.timings = vec![node.timings[0]; TIMINGS_MAX]), Ok(()));
    assert_eq!(hello(|node| node.timings = vec![node.timings[0]; TIMINGS_MAX + 1]), MALFORMED);
    let addresses = |count| Holder { addresses: vec!["/ip4/1.2.3.4".to_owned(); count], ..holder() };
    for (count, expected) in [(0, Ok(())), (ADDRESSES_MAX, Ok(())), (ADDRESSES_MAX + 1, MALFORMED)] {
        let bytes = encode(&notice(addresses(count), String::new()));
        assert_eq!(decode::<JobNotice>(&bytes, NOTICE_BYTES_MAX).map(drop), expected);
    }
    assert_eq!(leased(JOIN, |lease| lease.holders = vec![holder(); HOLDERS_MAX]), Ok(()));
    assert_eq!(leased(JOIN, |lease| lease.holders = vec![holder(); HOLDERS_MAX + 1]), MALFORMED);
    assert_eq!(leased(JOIN, |lease| lease.inputs = vec![blob(); 3]), MALFORMED);
}

/// The same bounds hold for values that were not decoded, such as those that we are about to send.
#[test]
fn lists_beyond_their_limit_break_a_rule() {
    let mut node = capabilities();
    node.timings = vec![node.timings[0]; TIMINGS_MAX + 1];
    assert_eq!(node.check(), invalid("a node states too many timings"));
    let crowded = Holder { addresses: vec![String::new(); ADDRESSES_MAX + 1], ..holder() };
    assert_eq!(crowded.check(), invalid("a peer states too many addresses"));
    let mut many = lease(JOIN, 16);
    many.holders = vec![holder(); HOLDERS_MAX + 1];
    assert_eq!(many.check(), invalid("a lease names too many holders"));
}

#[test]
fn addresses_are_short_and_printable() {
    let address = |text: String| notice(Holder { addresses: vec![text], ..holder() }, String::new()).check();
    assert_eq!(address("/".repeat(ADDRESS_CHARS_MAX)), Ok(()));
    assert_eq!(address("/".repeat(ADDRESS_CHARS_MAX + 1)), invalid("an address is too long"));
    assert_eq!(address("/ip4/\u{1b}[2J".to_owned()), invalid("a text holds control characters"));
    let deep = leased(JOIN, |lease| lease.holders[0].addresses[1] = "/".repeat(ADDRESS_CHARS_MAX + 1));
    assert_eq!(deep, invalid("an address is too long"), "the holders of a lease are checked too");
}

#[test]
fn texts_are_short_and_printable_wherever_they_are() {
    let lease = lease_id(Unit::Prove(0), 1);
    let ways: [&dyn Fn(String) -> Result<(), DecodeError>; 5] = [
        &|text| hello(|node| node.zkvm = text),
        &|text| request(&Request::Fail { lease, reason: FailReason::Fetch(text) }),
        &|text| request(&Request::Fail { lease, reason: FailReason::Worker(text) }),
        &|text| response(Response::Refused { reason: text, retry_ms: 0 }),
        &|text| notice(holder(), text).check(),
    ];
    for way in ways {
        assert_eq!(way(String::new()), Ok(()));
        assert_eq!(way("ü".repeat(TEXT_CHARS_MAX / 2)), Ok(()));
        assert_eq!(way("x".repeat(TEXT_CHARS_MAX + 1)), invalid("a text is too long"));
        for control in ['\n', '\0', '\u{7f}', '\u{9b}'] {
            assert_eq!(way(control.to_string()), invalid("a text holds control characters"));
        }
    }
}

#[test]
fn units_are_possible_wherever_they_are() {
    let join = |start, mid, end| Unit::Join { start, mid, end };
    let bad = [
        (Unit::Prove(u32::MAX), "a segment index is out of range"),
        (Unit::Lift(u32::MAX), "a segment index is out of range"),
        (join(0, 0, 1), "a join's or a union's parts must be neighbours"),
        (join(1, 1, 1), "a join's or a union's parts must be neighbours"),
        (join(0, 2, 2), "a join's or a union's parts must be neighbours"),
        (join(5, 4, 6), "a join's or a union's parts must be neighbours"),
        (join(u32::MAX, 0, 1), "a join's or a union's parts must be neighbours"),
        (Unit::Union { start: 3, mid: 3, end: 4 }, "a join's or a union's parts must be neighbours"),
        (Unit::Union { start: 0, mid: 1, end: KECCAKS_MAX + 1 }, "a keccak request is out of range"),
        (Unit::Keccak(KECCAKS_MAX), "a keccak request is out of range"),
        (Unit::Resolve { segments: 0, index: 0 }, "an assumption is out of range"),
        (Unit::Resolve { segments: 1, index: ASSUMPTIONS_MAX as u32 }, "an assumption is out of range"),
        (Unit::Resolve { segments: 1, index: u32::MAX }, "an assumption is out of range"),
    ];
    for (unit, rule) in bad {
        let lease = lease_id(unit, 1);
        let requests = [
            Request::Heartbeat { lease, stage: Stage::Work, remaining_ms: None },
            Request::Done { lease, receipt: blob(), elapsed_ms: 1 },
            Request::Fail { lease, reason: FailReason::Leaving },
            Request::Cancel(lease),
        ];
        requests.iter().for_each(|message| assert_eq!(request(message), invalid(rule), "{message:?}"));
        assert_eq!(leased(unit, |_| ()), invalid(rule));
        assert_eq!(decode::<Unit>(&encode(&unit), 64).map(drop), invalid(rule));
    }
    for unit in [Unit::Prove(u32::MAX - 1), Unit::Lift(0), join(0, 1, 2), join(7, 9, u32::MAX), RESOLVE] {
        assert_eq!(request(&Request::Cancel(lease_id(unit, 0))), Ok(()));
    }
}

#[test]
fn a_lease_has_the_inputs_of_its_unit() {
    let rule = invalid("a lease has the wrong number of inputs for its unit");
    for (unit, count) in [(Unit::Prove(0), 1), (Unit::Lift(0), 1), (JOIN, 2), (RESOLVE, 2)] {
        for inputs in 0..=2 {
            let result = leased(unit, |lease| lease.inputs = vec![blob(); inputs]);
            assert_eq!(result, if inputs == count { Ok(()) } else { rule.clone() }, "{unit} with {inputs}");
        }
    }
}

#[test]
fn a_lease_bounds_what_is_fetched() {
    let rule = invalid("a lease's input is too large");
    for (unit, limit) in
        [(Unit::Prove(0), SEGMENT_BYTES_MAX), (Unit::Lift(0), RECEIPT_BYTES_MAX), (JOIN, RECEIPT_BYTES_MAX)]
    {
        for place in 0..unit.inputs() {
            assert_eq!(leased(unit, |lease| lease.inputs[place].size_bytes = limit), Ok(()));
            assert_eq!(leased(unit, |lease| lease.inputs[place].size_bytes = limit + 1), rule);
            assert_eq!(leased(unit, |lease| lease.inputs[place].size_bytes = u64::MAX), rule);
        }
    }
}

#[test]
fn a_lie_about_a_receipt_s_size_is_let_through_to_be_blamed() {
    let receipt = manyhands_proto::BlobRef { size_bytes: u64::MAX, ..blob() };
    assert_eq!(request(&Request::Done { lease: lease_id(Unit::Prove(0), 1), receipt, elapsed_ms: 0 }), Ok(()));
}

#[test]
fn a_po2_outside_the_offered_sizes_is_no_message() {
    let mut bytes = encode(&notice(holder(), String::new()));
    let place = bytes.len() - 2;
    for (value, is_size) in [(13, false), (14, true), (24, true), (25, false), (255, false)] {
        bytes[place] = value;
        let result = decode::<JobNotice>(&bytes, NOTICE_BYTES_MAX).map(drop);
        assert_eq!(result, if is_size { Ok(()) } else { MALFORMED }, "{value}");
    }
}

#[test]
fn a_number_has_one_form() {
    // Wait { retry_ms: 0 } is 02 00; the longer forms mean the same to postcard.
    assert_eq!(decode::<Response>(&[2, 0], 64), Ok(Response::Wait { retry_ms: 0 }));
    for padded in [&[2, 0x80, 0][..], &[2, 0x80, 0x80, 0], &[0x82, 0, 0]] {
        assert_eq!(decode::<Response>(padded, 64).map(drop), MALFORMED, "{padded:?}");
    }
}
