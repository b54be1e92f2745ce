//! Arbitrary bytes never panic and never have two readings; arbitrary values come back as they were.

use manyhands_proto::limits::KECCAKS_MAX;
use manyhands_proto::message::{
    Bid, BlobKey, Capabilities, FailReason, Holder, JobNotice, Lease, Request, Response, Stage, Timing,
};
use manyhands_proto::score::{Signature, Work};
use manyhands_proto::unit::UnitKind;
use manyhands_proto::worker::{Execution, Failure, GuestInput, Identity, KeccakReport, Report, SegmentReport, Task};
use manyhands_proto::{
    Binding, BlobRef, Digest, JobId, LeaseId, NodeId, Nonce, Po2, Reference, Score, Seed, SignedScore, Unit,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use crate::samples::{Sample, samples};

fn bytes() -> impl Strategy<Value = ByteBuf> {
    vec(any::<u8>(), 0..300).prop_map(ByteBuf::from)
}

/// A text without control characters, as the rules want it.
fn text() -> impl Strategy<Value = String> {
    "\\PC{0,80}"
}

fn po2() -> impl Strategy<Value = Po2> {
    (14_u8..=24).prop_map(|number| Po2::try_from(number).unwrap())
}

fn blob(size_bytes_max: u64) -> impl Strategy<Value = BlobRef> {
    (any::<[u8; 32]>(), 0..=size_bytes_max)
        .prop_map(|(reference, size_bytes)| BlobRef { reference: Reference(reference), size_bytes })
}

fn unit() -> impl Strategy<Value = Unit> {
    prop_oneof![
        (0..u32::MAX).prop_map(Unit::Prove),
        (0..u32::MAX).prop_map(Unit::Lift),
        (1..=u32::MAX, 0..256_u32).prop_map(|(segments, index)| Unit::Resolve { segments, index }),
        (0_u32..1 << 30, 1_u32..1 << 30, 1_u32..1 << 30).prop_map(|(start, left, right)| Unit::Join {
            start,
            mid: start + left,
            end: start + left + right
        }),
        (0..KECCAKS_MAX).prop_map(Unit::Keccak),
        (0_u32..1 << 12, 1_u32..1 << 12, 1_u32..1 << 12).prop_map(|(start, left, right)| Unit::Union {
            start,
            mid: start + left,
            end: start + left + right
        }),
    ]
}

fn lease_id() -> impl Strategy<Value = LeaseId> {
    (any::<[u8; 16]>(), unit(), any::<u32>()).prop_map(|(job, unit, attempt)| LeaseId {
        job: JobId(job),
        unit,
        attempt,
    })
}

fn nonce() -> impl Strategy<Value = Nonce> {
    (any::<[u8; 20]>(), any::<u64>(), any::<u32>()).prop_map(|(log, job, segment)| Nonce { log, job, segment })
}

fn holder() -> impl Strategy<Value = Holder> {
    (any::<[u8; 32]>(), vec("[/a-z0-9.:]{0,60}", 0..=4))
        .prop_map(|(node, addresses)| Holder { node: NodeId(node), addresses })
}

fn timing() -> impl Strategy<Value = Timing> {
    let kind = prop_oneof![Just(UnitKind::Prove), Just(UnitKind::Lift), Just(UnitKind::Join), Just(UnitKind::Keccak)];
    (kind, po2(), any::<u64>()).prop_map(|(kind, po2, elapsed_ms)| Timing { kind, po2, elapsed_ms })
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    (text(), po2(), any::<u64>(), 1_u8..=64, any::<u16>(), any::<bool>(), vec(timing(), 0..=64)).prop_map(
        |(zkvm, po2_max, memory_bytes, slots, cores, recursion, timings)| Capabilities {
            zkvm,
            po2_max,
            memory_bytes,
            slots,
            cores,
            recursion,
            timings,
        },
    )
}

fn lease() -> impl Strategy<Value = Lease> {
    let times = (any::<u64>(), any::<u64>());
    let key = any::<Option<[u8; 32]>>();
    (lease_id(), vec(blob(4 << 20), 2), key, po2(), nonce(), times, vec(holder(), 0..=4)).prop_map(
        |(id, mut inputs, key, po2, nonce, (deadline_ms, heartbeat_ms), holders)| {
            inputs.truncate(id.unit.inputs());
            let key = key.map(BlobKey).filter(|_| id.unit.is_first());
            Lease { id, inputs, key, po2, nonce, deadline_ms, heartbeat_ms, holders }
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let stage = prop_oneof![Just(Stage::Fetch), Just(Stage::Work), Just(Stage::Store)];
    let reason =
        prop_oneof![text().prop_map(FailReason::Fetch), text().prop_map(FailReason::Worker), Just(FailReason::Leaving)];
    let bid = (capabilities(), any::<u8>(), option::of(score())).prop_map(|(capabilities, free, score)| {
        let slots_free = free % (capabilities.slots + 1);
        Request::Bid(Bid { capabilities, slots_free, score: score.map(Box::new) })
    });
    prop_oneof![
        capabilities().prop_map(Request::Hello),
        bid,
        (lease_id(), stage, any::<Option<u64>>()).prop_map(|(lease, stage, remaining_ms)| Request::Heartbeat {
            lease,
            stage,
            remaining_ms
        }),
        (lease_id(), blob(u64::MAX), any::<u64>()).prop_map(|(lease, receipt, elapsed_ms)| Request::Done {
            lease,
            receipt,
            elapsed_ms
        }),
        (lease_id(), reason).prop_map(|(lease, reason)| Request::Fail { lease, reason }),
        lease_id().prop_map(Request::Cancel),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        Just(Response::Ok),
        lease().prop_map(|lease| Response::Lease(Box::new(lease))),
        any::<u64>().prop_map(|retry_ms| Response::Wait { retry_ms }),
        Just(Response::Stale),
        score().prop_map(|score| Response::Scored(Box::new(score))),
        (text(), any::<u64>()).prop_map(|(reason, retry_ms)| Response::Refused { reason, retry_ms }),
    ]
}

fn score() -> impl Strategy<Value = SignedScore> {
    let what = (blob(1 << 22), po2(), 1..7_200_000_u64, any::<bool>(), any::<u32>());
    let when = (any::<[u8; 16]>(), 7_200..1_u64 << 40, 0..=1_u32, 1..=7_200_u64);
    (any::<[u8; 32]>(), what, when, any::<[u8; 32]>()).prop_map(|(peer, what, when, signature)| {
        let (mut receipt, po2, elapsed_ms, is_job, index) = what;
        let (seed, issued_s, age, life_s) = when;
        receipt.size_bytes = receipt.size_bytes.max(1);
        let binding = Binding { seed: Seed(seed), epoch: Binding::epoch_at(issued_s) - age };
        let work = if is_job { Work::Job } else { Work::Benchmark };
        let (peer, verifier, expires_s) = (NodeId(peer), NodeId([1; 32]), issued_s + life_s);
        let score = Score { peer, verifier, po2, elapsed_ms, receipt, work, index, binding, issued_s, expires_s };
        SignedScore { score, signature: Signature(std::array::from_fn(|place| signature[place % 32])) }
    })
}

fn notice() -> impl Strategy<Value = JobNotice> {
    (any::<[u8; 16]>(), holder(), text(), po2(), any::<bool>())
        .prop_map(|(job, gateway, zkvm, po2, recursion)| JobNotice { job: JobId(job), gateway, zkvm, po2, recursion })
}

fn task() -> impl Strategy<Value = Task> {
    let digests = vec(any::<[u8; 32]>().prop_map(Digest), 0..4);
    let input = prop_oneof![bytes().prop_map(GuestInput::Bytes), any::<String>().prop_map(GuestInput::File)];
    let execute = (bytes(), input, digests, po2(), any::<u64>(), any::<bool>()).prop_map(
        |(program, input, assumptions, po2, cycles_max, blobs)| Task::Execute {
            program,
            input,
            assumptions,
            po2,
            cycles_max,
            blobs,
        },
    );
    prop_oneof![
        Just(Task::Identify),
        execute,
        (bytes(), nonce()).prop_map(|(segment, nonce)| Task::Prove { segment, nonce }),
        bytes().prop_map(|receipt| Task::Lift { receipt }),
        (bytes(), bytes()).prop_map(|(left, right)| Task::Join { left, right }),
        (bytes(), bytes()).prop_map(|(conditional, assumption)| Task::Resolve { conditional, assumption }),
        bytes().prop_map(|request| Task::Keccak { request }),
        (bytes(), bytes()).prop_map(|(left, right)| Task::Union { left, right }),
        bytes().prop_map(|receipt| Task::Shrink { receipt }),
    ]
}

fn failure() -> impl Strategy<Value = Failure> {
    let text = || any::<String>();
    prop_oneof![
        text().prop_map(Failure::Program),
        text().prop_map(Failure::Guest),
        any::<u64>().prop_map(|cycles_max| Failure::CycleLimit { cycles_max }),
        text().prop_map(Failure::Input),
        Just(Failure::NoRecursion),
        text().prop_map(Failure::Unsupported),
        text().prop_map(Failure::Prover),
    ]
}

fn report() -> impl Strategy<Value = Report> {
    let segment = (any::<u32>(), po2(), any::<u64>(), bytes(), bytes(), any::<u64>()).prop_map(
        |(index, po2, user_cycles, claim, blob, blob_bytes)| {
            Report::Segment(SegmentReport { index, po2, user_cycles, claim, blob, blob_bytes })
        },
    );
    let execution = (any::<[u8; 32]>(), any::<u32>(), any::<u64>(), any::<u64>(), bytes()).prop_map(
        |(image_id, segments, user_cycles, total_cycles, journal)| {
            let image_id = Digest(image_id);
            Report::Executed(Box::new(Execution { image_id, segments, user_cycles, total_cycles, journal }))
        },
    );
    let keccak = (any::<u32>(), po2(), any::<[u8; 32]>(), bytes(), any::<u64>()).prop_map(
        |(index, po2, claim, blob, blob_bytes)| {
            Report::Keccak(KeccakReport { index, po2, claim: Digest(claim), blob, blob_bytes })
        },
    );
    prop_oneof![
        keccak,
        (any::<String>(), any::<bool>()).prop_map(|(zkvm, recursion)| Report::Identity(Identity { zkvm, recursion })),
        segment,
        (any::<bool>(), bytes()).prop_map(|(stderr, bytes)| Report::Log { stderr, bytes }),
        any::<u64>().prop_map(|cpu_ms| Report::Progress { cpu_ms }),
        execution,
        (bytes(), any::<u64>()).prop_map(|(receipt, elapsed_ms)| Report::Receipt { receipt, elapsed_ms }),
        failure().prop_map(Report::Failed),
    ]
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        request().prop_map(Sample::Request),
        response().prop_map(Sample::Response),
        notice().prop_map(Sample::Notice),
        score().prop_map(Sample::Score),
        task().prop_map(Sample::Task),
        report().prop_map(Sample::Report),
    ]
}

/// Whatever the bytes are, each type reads them as one value that is written with these very bytes, or not at all.
fn has_one_reading(bytes: &[u8]) {
    for kind in samples() {
        if let Ok(read) = kind.decode(bytes) {
            assert_eq!(read.encode(), bytes);
            assert_eq!(read.check(), Ok(()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn values_come_back_as_they_were(sample in sample()) {
        prop_assert_eq!(sample.check(), Ok(()));
        prop_assert_eq!(sample.decode(&sample.encode()), Ok(sample));
    }

    #[test]
    fn arbitrary_bytes_have_one_reading_or_none(bytes in vec(any::<u8>(), 0..400)) {
        has_one_reading(&bytes);
    }

    /// Bytes that begin like a message get deeper into the decoder than noise.
    #[test]
    fn damaged_messages_have_one_reading_or_none(
        sample in sample(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample.encode();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        has_one_reading(&bytes);
        has_one_reading(&bytes[..cut.index(bytes.len())]);
    }
}
