//! What a decoder reserves is bounded by the bytes it was given, not by the numbers in them.
//!
//! The only test in its program, as it counts every allocation of the process.

// A global allocator cannot be written without `unsafe`: the trait itself is unsafe. This one passes every call on to the system's.
#![allow(unsafe_code, clippy::unwrap_used, clippy::indexing_slicing)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use manyhands_proto::limits::{CONTROL_BYTES_MAX, NOTICE_BYTES_MAX};
use manyhands_proto::message::{Capabilities, Holder, JobNotice, Lease, Request, Response, Timing};
use manyhands_proto::worker::{Failure, Report, Task};
use manyhands_proto::{BlobRef, JobId, LeaseId, NodeId, Nonce, Po2, Unit, decode, encode};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory but two atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most that `work` held at once, in bytes, beyond what was held before.
fn peak_of<T>(work: impl FnOnce() -> T) -> usize {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    drop(work());
    PEAK.load(Relaxed) - before
}

/// Reads bytes as everything, and says the most that one reading held.
fn peak(bytes: &[u8]) -> usize {
    let peaks = [
        peak_of(|| decode::<Request>(bytes, CONTROL_BYTES_MAX)),
        peak_of(|| decode::<Response>(bytes, CONTROL_BYTES_MAX)),
        peak_of(|| decode::<JobNotice>(bytes, CONTROL_BYTES_MAX)),
        peak_of(|| decode::<Task>(bytes, 1 << 30)),
        peak_of(|| decode::<Report>(bytes, 1 << 30)),
    ];
    peaks.into_iter().max().unwrap()
}

/// Beyond the bytes themselves: a boxed lease, and lists of at most 4 holders, 4 addresses each, 2 inputs and 64 timings, each of
/// which doubles while it grows.
const FIXED_BYTES: usize = 8 * 1024;

fn assert_bounded(name: &str, bytes: &[u8]) {
    let peak = peak(bytes);
    assert!(peak <= bytes.len() + FIXED_BYTES, "{name}: {} bytes on the wire cost {peak} in memory", bytes.len());
}

/// A variable-length number, as postcard writes it.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn po2() -> Po2 {
    Po2::try_from(16).unwrap()
}

fn holder(addresses: usize, chars: usize) -> Holder {
    Holder { node: NodeId::default(), addresses: vec!["x".repeat(chars); addresses] }
}

fn lease(holders: Vec<Holder>, inputs: usize) -> Response {
    let unit = Unit::Prove(0);
    let id = LeaseId { job: JobId::default(), unit, attempt: 1 };
    let nonce = Nonce { log: [0; 20], job: 0, segment: 0 };
    let inputs = vec![BlobRef { reference: Default::default(), size_bytes: 0 }; inputs];
    Response::Lease(Box::new(Lease {
        id,
        inputs,
        key: None,
        po2: po2(),
        nonce,
        deadline_ms: 0,
        heartbeat_ms: 0,
        holders,
    }))
}

fn capabilities(timings: usize) -> Request {
    let kind = manyhands_proto::unit::UnitKind::Prove;
    Request::Hello(Capabilities {
        zkvm: String::new(),
        po2_max: po2(),
        memory_bytes: 0,
        slots: 1,
        cores: 1,
        recursion: false,
        timings: vec![Timing { kind, po2: po2(), elapsed_ms: 0 }; timings],
    })
}

#[test]
fn a_decoder_holds_no_more_than_it_was_given() {
    // The first decoding may fill caches of the standard library.
    peak(&[0]);
    let report = |failure: Failure| encode(&Report::Failed(failure));
    let honest = [
        ("a large lease", encode(&lease(vec![holder(4, 256); 4], 1))),
        ("many timings", encode(&capabilities(64))),
        ("a long text", report(Failure::Guest("x".repeat(100_000)))),
        ("a program", encode(&Task::Lift { receipt: vec![7; 1 << 20].into() })),
    ];
    honest.iter().for_each(|(name, bytes)| assert_bounded(name, bytes));

    let full = CONTROL_BYTES_MAX;
    let hostile = [
        // Lists of things that take more room in memory than on the wire, up to the largest frame.
        ("60,000 empty addresses", encode(&lease(vec![holder(60_000, 0)], 1))),
        ("900 empty addresses in a notice", {
            let notice = JobNotice {
                job: JobId::default(),
                gateway: holder(900, 0),
                zkvm: String::new(),
                po2: po2(),
                recursion: true,
            };
            let bytes = encode(&notice);
            assert!(bytes.len() <= NOTICE_BYTES_MAX);
            bytes
        }),
        ("1,900 holders", encode(&lease(vec![holder(0, 0); 1_900], 1))),
        ("1,900 inputs", encode(&lease(Vec::new(), 1_900))),
        ("20,000 timings", encode(&capabilities(20_000))),
    ];
    for (name, bytes) in &hostile {
        assert!(bytes.len() <= full, "{name} is refused for its length alone");
        assert_bounded(name, bytes);
    }

    // Lengths that are merely stated, at every place of every message where a number may be.
    let seeds =
        [encode(&lease(vec![holder(2, 10)], 1)), encode(&capabilities(3)), report(Failure::Input("abc".to_owned()))];
    let seeds = seeds.into_iter().chain((0..8).map(|variant| vec![variant; 3]));
    for seed in seeds {
        for place in 0..=seed.len() {
            for stated in [1 << 7, 1 << 14, 1 << 20, u64::from(u32::MAX), 1 << 40, u64::MAX] {
                let mut bytes = seed[..place].to_vec();
                bytes.extend(number(stated));
                bytes.resize(bytes.len() + 200, 0);
                assert_bounded("a stated length", &bytes);
                bytes.resize(40_000, 1);
                assert_bounded("a stated length with a full frame", &bytes);
            }
        }
    }
}
