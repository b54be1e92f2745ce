#!/usr/bin/env bash
# Builds the guest programs and compares them with the committed ones in built/. Run it with --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: guests/build.sh [--write] [--toolchain debian|rzup]

Builds each guest of guests/programs for the zkVM, wraps it into the program binary that an executor wants, and says for
each whether it equals the committed one. Ends with 0 when all are equal, 1 when one differs, 2 when it cannot build.

  --write               replace the committed programs and guests.json by the new ones
  --toolchain NAME      debian: Debian's rustc-web, cargo-web and rust-web-src, which made the committed programs
                        rzup: RISC Zero's own toolchain; its programs do the same but have other bytes and image ids
                        Without this option: debian where it is installed, else rzup.
  CARGO_TARGET_DIR      where to build; target/guests of the repository if unset
  GUEST_LINKER          the lld to link with; if unset the rust-lld of the pinned Rust toolchain
TEXT
}

readonly guests=(inflate tiny panics overreads loops verifies hashes)
readonly target=riscv32im-risc0-zkvm-elf
# The guest that is also committed as the linker made it.
readonly bare=tiny

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
out=${CARGO_TARGET_DIR:-$here/../target/guests}
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
built=$here/built
fresh=$out/fresh

fail() {
  printf 'guests/build.sh: %s\n' "$1" >&2
  exit 2
}

main() {
  local write=no wanted=
  while (($#)); do
    case $1 in
      --write) write=yes ;;
      --toolchain) shift; wanted=${1:-} ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; exit 2 ;;
    esac
    shift
  done
  choose_toolchain "$wanted"
  printf 'building with %s\n     and with %s\n' "$toolchain" "$linker_name"
  build_guests
  wrap_guests
  if [[ $write == yes ]]; then
    replace
  else
    compare
  fi
}

# Sets way, toolchain (its name and version) and cargo, or explains how to get one.
choose_toolchain() {
  case $1 in
    debian) has_debian || fail "there is no Debian toolchain here. $(how_to_get)" ;;
    rzup) has_rzup || fail "there is no RISC Zero toolchain here. $(how_to_get)" ;;
    '') has_debian || has_rzup || fail "this needs a Rust toolchain for the zkVM, and there is none here. $(how_to_get)" ;;
    *) fail "--toolchain is debian or rzup, not '$1'" ;;
  esac
}

how_to_get() {
  cat <<'TEXT'
Either of these gives one:
  debian   apt-get install rustc-web cargo-web rust-web-src   (Debian 12, with its security archive)
  rzup     install rzup as https://dev.risczero.com/api/zkvm/install says, then: rzup install rust
Neither is needed to run anything: the committed programs in guests/built are complete.
TEXT
}

has_debian() {
  [[ -x /usr/bin/cargo && -x /usr/bin/rustc ]] || return 1
  source_root=$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust
  [[ -f $source_root/library/Cargo.lock ]] || return 1
  way=debian
  toolchain=$(dpkg-query --show --showformat '${Package} ${Version}' "$(dpkg-query --search /usr/bin/rustc | cut -d: -f1)") ||
    return 1
  cargo=(/usr/bin/cargo)
  find_linker
}

has_rzup() {
  rustc +risc0 --version >/dev/null 2>&1 || return 1
  way=rzup
  toolchain="RISC Zero $(rustc +risc0 --version)"
  cargo=(cargo +risc0)
  linker=
  linker_name="the linker of that toolchain"
}

# The Debian packages bring no lld: the Rust toolchain that this repository pins has one.
find_linker() {
  local sysroot host
  linker=${GUEST_LINKER:-}
  if [[ -z $linker ]] && command -v rustup >/dev/null; then
    sysroot=$(cd "$here" && rustc --print sysroot)
    host=$(cd "$here" && rustc -vV | sed -n 's/^host: //p')
    linker=$sysroot/lib/rustlib/$host/bin/rust-lld
  fi
  [[ -n $linker && -x $linker ]] || linker=$(command -v rust-lld || command -v ld.lld) ||
    fail "there is no lld: install Rust with rustup, or Debian's package lld, or name one in GUEST_LINKER"
  case $linker in
    *ld.lld) linker_name=$("$linker" --version) ;;
    *) linker_name=$("$linker" -flavor gnu --version) ;;
  esac
  linker_name=${linker_name%% (*}
}

build_guests() {
  local -a arguments=(build --locked --release --target "$target" --manifest-path "$here/programs/Cargo.toml")
  if [[ $way == debian ]]; then
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_RISCV32IM_RISC0_ZKVM_ELF_LINKER=$linker
    arguments+=(-Zbuild-std=core,alloc,std,panic_abort,proc_macro -Zbuild-std-features=compiler-builtins-mem)
  fi
  # Fetched first, so that every directory below the registry is there to be named in the flags.
  "${cargo[@]}" fetch --quiet --locked --manifest-path "$here/programs/Cargo.toml"
  CARGO_TARGET_DIR=$out CARGO_ENCODED_RUSTFLAGS=$(guest_flags) "${cargo[@]}" "${arguments[@]}"
}

# What the zkVM needs (atomics as plain loads and stores, the text at its start address), and names in place of this
# machine's paths, which panic messages would otherwise carry into the program. Joined as cargo wants them.
guest_flags() {
  local home=${CARGO_HOME:-$HOME/.cargo} directory
  local -a flags=(-C passes=lower-atomic -C link-arg=-Ttext=0x00200800 -C link-arg=--fatal-warnings -C panic=abort
    --cfg 'getrandom_backend="custom"' --remap-path-prefix="$here/programs=/guests")
  for directory in "$home"/registry/src/*; do
    flags+=(--remap-path-prefix="$directory=/crates")
  done
  if [[ $way == debian ]]; then
    flags+=(--remap-path-prefix="$source_root=/rust" --remap-path-prefix="$(readlink -f "$source_root")=/rust")
  fi
  local IFS=$'\x1f'
  printf '%s' "${flags[*]}"
}

# Fills $fresh with the wrapped programs, the bare one and guests.json.
wrap_guests() {
  local name image_id comma=,
  local -a host_cargo=("${cargo[@]}")
  rm -rf "$fresh"
  mkdir -p "$fresh"
  [[ $way == debian ]] || host_cargo=(cargo)
  CARGO_TARGET_DIR=$out "${host_cargo[@]}" build --quiet --locked --release --manifest-path "$here/wrap/Cargo.toml"
  install -m 644 "$out/$target/release/$bare" "$fresh/$bare.elf"
  {
    printf '{\n  "risc0_zkvm": "3.0.6",\n  "toolchain": "%s",\n  "linker": "%s",\n' "$toolchain" "$linker_name"
    printf '  "command": "guests/build.sh --write --toolchain %s",\n  "guests": [\n' "$way"
    for name in "${guests[@]}"; do
      [[ $name != "${guests[-1]}" ]] || comma=
      image_id=$("$out/release/manyhands-guest-wrap" "$out/$target/release/$name" "$fresh/$name.bin")
      describe "$name" "$image_id" "$comma"
    done
    printf '  ]\n}\n'
  } >"$fresh/guests.json"
}

# One line of guests.json: a guest's name, its image id, and what must follow the line.
describe() {
  local sum
  sum=$(sha256sum "$fresh/$1.bin")
  printf '    {"name": "%s", "file": "%s.bin", "size_bytes": %s, "image_id": "%s",\n     "sha256": "%s"}%s\n' \
    "$1" "$1" "$(stat -c %s "$fresh/$1.bin")" "$2" "${sum%% *}" "$3"
}

compare() {
  local file different=0
  for file in "${guests[@]/%/.bin}" "$bare.elf"; do
    if cmp -s "$fresh/$file" "$built/$file"; then
      printf '%-14s equal\n' "$file"
    else
      printf '%-14s DIFFERENT from the committed one\n' "$file"
      different=1
    fi
  done
  if ! diff -u "$built/guests.json" "$fresh/guests.json"; then
    printf 'guests.json differs as shown (- committed, + built here).\n'
    printf 'Another toolchain or linker makes other bytes; the same ones must make the same.\n'
  fi
  check_readme
  return "$different"
}

replace() {
  mkdir -p "$built"
  install -m 644 "$fresh"/*.bin "$fresh/$bare.elf" "$fresh/guests.json" "$built/"
  printf 'guests/built now holds these programs:\n'
  cat "$built/guests.json"
  check_readme
}

# Says which image ids the README does not know. The table there is for people; guests.json is what programs read.
check_readme() {
  local image_id
  for image_id in $(sed -n 's/.*"image_id": "\([0-9a-f]*\)".*/\1/p' "$built/guests.json"); do
    grep -q "$image_id" "$here/README.md" || printf 'guests/README.md lacks the image id %s\n' "$image_id"
  done
}

main "$@"
