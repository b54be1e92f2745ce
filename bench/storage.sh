#!/usr/bin/env bash
# What storage costs, in one command and one run: `bash bench/storage.sh [MIB] [ROUNDS]` (default 64 and 3). References beside bmt-js
# and bee-js on the same random bytes, then beside the hashing in them alone; the store beside a plain file; the blob protocol beside
# a plain copy over TCP. Needs node and npm, which fetches the packages of bench/js as its lock file pins them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mib="${1:-64}"
rounds="${2:-3}"
for program in node npm cargo; do
    command -v "$program" >/dev/null || { echo "storage.sh: there is no $program: install it, then run this again" >&2; exit 1; }
done

# Standard output is for figures.
npm ci --prefix bench/js --ignore-scripts --no-audit --no-fund >&2
examples=(reference references store streams)
cargo build --release -p manyhands-blob "${examples[@]/#/--example=}" >&2
built="${CARGO_TARGET_DIR:-target}/release/examples"
built="$(cd "$built" && pwd)"

work="$(mktemp -d ./storage-bench.XXXXXX)"
trap 'rm -rf "$work"' EXIT
head -c "$((mib << 20))" /dev/urandom >"$work/bytes"

echo "commit $(git rev-parse --short HEAD), $(uname -sm), $(nproc) cores, node $(node --version), load $(cut -d' ' -f1-3 /proc/loadavg)"
printf '\n## References of %s MiB of random bytes\n' "$mib"
node bench/js/table.js "$built/reference" "$work/bytes" "$rounds"
printf '\n## References and the hashing in them\n'
"$built/references" 16 "$rounds"
# The store and the protocol on the disk that this clone is on.
cd "$work"
printf '\n## The store\n'
"$built/store"
printf '\n## The blob protocol\n'
"$built/streams" "$rounds"
