#!/usr/bin/env python3
"""Writes vectors.txt: the bytes of every message and worker frame, by a second encoder that shares nothing with the crate.

It follows postcard's published wire format (https://postcard.jamesmunns.com/wire-format): numbers wider than a byte are LEB128,
texts, byte strings and lists have their length in front, a variant is its number, fields follow each other without names. The
values are those of tests/wire/samples.rs. Run it only to change the protocol, with a new number in the protocol's name:

    python3 vectors.py > vectors.txt
"""


def number(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value):
    return data(value.encode())


def data(value):
    return number(len(value)) + value


def many(elements):
    return number(len(elements)) + b"".join(elements)


nothing = b"\x00"


def some(value):
    return b"\x01" + value


def byte(value):
    return bytes([value])


def run(first, count):
    return bytes(range(first, first + count))


PROVE, LIFT, JOIN, RESOLVE, KECCAK, UNION = 0, 1, 2, 3, 4, 5
KIND_KECCAK = 3
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1

node = run(0x00, 32)
digest = run(0x20, 32)
reference = run(0x40, 32)
job = run(0xA0, 16)
blob = reference + number(221_000)
zkvm = text("risc0 3.0.6")
holder = node + many([text("/ip4/10.0.0.1/tcp/4001"), text("/ip6/::1/udp/4001/quic-v1")])
prove = number(PROVE) + number(300)
lift = number(LIFT) + number(0)
join = number(JOIN) + number(0) + number(127) + number(128)
resolve = number(RESOLVE) + number(128) + number(1)
keccak = number(KECCAK) + number(300)
union = number(UNION) + number(0) + number(4) + number(6)
timings = many([
    number(PROVE) + byte(16) + number(28_000),
    number(JOIN) + byte(24) + number(U64_MAX),
    number(KIND_KECCAK) + byte(14) + number(70_000),
])
capabilities = zkvm + byte(20) + number(8 << 30) + byte(2) + number(300) + byte(1) + timings
nonce = run(0x60, 20) + number(U64_MAX) + number(300)
score = (
    node
    + run(0x20, 32)
    + byte(19)
    + number(249_000)
    + blob
    + number(1)
    + number(300)
    + run(0xA0, 16)
    + number(248_000)
    + number(1_785_600_100)
    + number(1_785_607_300)
)
signed_score = score + data(run(0x60, 64))


def lease_id(unit, attempt):
    return job + unit + number(attempt)


def lease(unit, inputs, po2):
    return (
        lease_id(unit, 2)
        + many([blob] * inputs)
        + (some(run(0xA0, 32)) if unit in (prove, keccak) else nothing)
        + byte(po2)
        + nonce
        + number(114_000)
        + number(5_000)
        + many([holder])
    )


VECTORS = [
    ("request.hello", number(0) + capabilities),
    ("request.bid", number(1) + capabilities + byte(1) + nothing),
    ("request.bid.scored", number(1) + capabilities + byte(1) + some(signed_score)),
    ("request.heartbeat.fetch", number(2) + lease_id(prove, 1) + number(0) + nothing),
    ("request.heartbeat.work", number(2) + lease_id(lift, 1) + number(1) + some(number(90_000))),
    ("request.heartbeat.store", number(2) + lease_id(join, U32_MAX) + number(2) + some(number(0))),
    ("request.done", number(3) + lease_id(prove, 1) + blob + number(27_500)),
    ("request.fail.fetch", number(4) + lease_id(prove, 1) + number(0) + text("chunk 3 is not there")),
    ("request.fail.worker", number(4) + lease_id(prove, 1) + number(1) + text("not enough memory: über 4 GB")),
    ("request.fail.leaving", number(4) + lease_id(prove, 1) + number(2)),
    ("request.cancel", number(5) + lease_id(join, 3)),
    ("response.ok", number(0)),
    ("response.lease.prove", number(1) + lease(prove, 1, 16)),
    ("response.lease.lift", number(1) + lease(lift, 1, 14)),
    ("response.lease.join", number(1) + lease(join, 2, 24)),
    ("response.lease.resolve", number(1) + lease(resolve, 2, 16)),
    ("response.lease.keccak", number(1) + lease(keccak, 1, 14)),
    ("response.lease.union", number(1) + lease(union, 2, 14)),
    ("response.wait", number(2) + number(10_000)),
    ("response.stale", number(3)),
    ("response.refused", number(4) + text("no heartbeat for 25 s") + number(60_000)),
    ("response.scored", number(5) + signed_score),
    ("score", signed_score),
    ("notice", job + holder + zkvm + byte(16) + byte(0)),
    ("task.identify", number(0)),
    ("task.execute", number(1) + data(b"R0BF program") + number(0) + data(b"") + many([digest]) + byte(16) + number(1 << 40) + byte(1)),
    ("task.execute.file", number(1) + data(b"R0BF program") + number(1) + text("/tmp/input") + many([]) + byte(14) + number(1) + byte(0)),
    ("task.prove", number(2) + data(run(0, 200)) + nonce),
    ("task.lift", number(3) + data(b"receipt")),
    ("task.join", number(4) + data(b"left") + data(b"right")),
    ("task.resolve", number(5) + data(b"conditional") + data(b"assumption")),
    ("task.keccak", number(6) + data(b"request")),
    ("task.union", number(7) + data(b"left") + data(b"right")),
    ("task.shrink", number(8) + data(b"succinct")),
    ("report.identity", number(0) + zkvm + byte(0)),
    (
        "report.segment",
        number(1) + number(7) + byte(15) + number(30_000) + data(b"claim") + data(b"blob") + number(412_345),
    ),
    ("report.log", number(2) + byte(1) + data(b"warning\n\xff")),
    ("report.progress", number(3) + number(12_000)),
    (
        "report.executed",
        number(4) + digest + number(8) + number(500_000) + number(524_288) + data(b"journal"),
    ),
    ("report.receipt", number(5) + data(b"receipt") + number(27_500)),
    ("report.failed.program", number(6) + number(0) + text("no magic")),
    ("report.failed.guest", number(6) + number(1) + text("panicked at src/main.rs:3:5:\nno")),
    ("report.failed.cycle_limit", number(6) + number(2) + number(1 << 20)),
    ("report.failed.input", number(6) + number(3) + text("not a segment")),
    ("report.failed.no_recursion", number(6) + number(4)),
    ("report.failed.unsupported", number(6) + number(5) + text("assumptions")),
    ("report.failed.prover", number(6) + number(6) + text("out of memory")),
    ("report.keccak", number(7) + number(2) + byte(14) + digest + data(b"blob") + number(16_205)),
]

print("# Bytes of every wire message and worker frame of protocol version 5, one a line: name, hexadecimal.")
print("# Origin: vectors.py beside this file, a second encoder written from postcard's published wire format.")
for name, encoded in VECTORS:
    print(name, encoded.hex())
