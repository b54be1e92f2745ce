#!/usr/bin/env python3
"""Times proofs and lifts by several builds of the worker, alternately: what a level of the kernels costs or gains.

    python3 bench/kernels.py ROUNDS WORKER [WORKER ..]

Every figure is that of a whole process: started, given one task, answered, ended. It proves the first segment of the `tiny` guest at 2^16
and lifts that proof, once a round with each worker, and prints seconds of wall time and of CPU time, then the medians.
Frames are those of `crates/proto/src/worker.rs`, encoded here by hand: postcard, with a little-endian u32 length in front.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PO2 = 16


def number(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def data(value):
    return number(len(value)) + value


class Reader:
    def __init__(self, frame):
        self.frame, self.at = frame, 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.frame[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def data(self):
        length = self.number()
        self.at += length
        return self.frame[self.at - length : self.at]


def run(worker, task):
    """All reports on one task, and the seconds of wall and CPU time that the whole process took."""
    start, before = time.monotonic(), os.times()
    process = subprocess.Popen([worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdin.write(len(task).to_bytes(4, "little") + task)
    process.stdin.flush()
    reports = []
    while not reports or reports[-1][0] not in (4, 5, 6):
        length = int.from_bytes(process.stdout.read(4), "little")
        reports.append(process.stdout.read(length))
        if len(reports[-1]) != length or length == 0:
            sys.exit(f"{worker} ended in the middle of its task")
    process.stdin.close()
    process.wait()
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    if reports[-1][0] == 6:
        sys.exit(f"{worker} failed: {reports[-1]!r}")
    return reports, time.monotonic() - start, cpu


def first_segment(worker):
    program = (ROOT / "guests/built/tiny.bin").read_bytes()
    input_bytes = (8000).to_bytes(4, "little") + b"kernels"
    reports, _, _ = run(worker, b"\x01" + data(program) + data(input_bytes) + bytes([PO2]) + number(1 << 24) + b"\x01")
    reader = Reader(next(report for report in reports if report[0] == 1))
    kind, index, po2, _, _ = reader.number(), reader.number(), reader.number(), reader.number(), reader.data()
    assert (kind, index, po2) == (1, 0, PO2)
    return reader.data()


def receipt_of(reports):
    reader = Reader(reports[-1])
    assert reader.number() == 5
    return reader.data()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    rounds, workers = int(sys.argv[1]), sys.argv[2:]
    segment = first_segment(workers[0])
    prove = b"\x02" + data(segment) + bytes(20) + number(1) + number(0)
    times = {}
    for _ in range(rounds):
        for worker in workers:
            reports, wall, cpu = run(worker, prove)
            times.setdefault((worker, "prove 2^16"), []).append((wall, cpu))
            _, lift_wall, lift_cpu = run(worker, b"\x03" + data(receipt_of(reports)))
            times.setdefault((worker, "lift"), []).append((lift_wall, lift_cpu))
            print(f"{worker}: prove {wall:.2f} s ({cpu:.2f} CPU), lift {lift_wall:.2f} s ({lift_cpu:.2f} CPU)", flush=True)
    for (worker, what), runs in sorted(times.items(), key=lambda item: item[0][1]):
        walls, cpus = zip(*runs)
        print(f"{what:10} {worker}: median {statistics.median(walls):.2f} s, {statistics.median(cpus):.2f} CPU seconds")


if __name__ == "__main__":
    main()
