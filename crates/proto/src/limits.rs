//! Bounds of the wire protocol. Every one has its reason; scheduling constants are in `manyhands-core`.

/// Largest control message (bid, lease, heartbeat, done and their answers), in bytes. The largest honest one, a join's lease with four
/// holders of four addresses each, is under 4 KiB.
pub const CONTROL_BYTES_MAX: usize = 64 * 1024;

/// Largest job notice, in bytes: gossip is paid for by every node.
pub const NOTICE_BYTES_MAX: usize = 1024;

/// Largest signed score, in bytes. The largest honest one is under 260.
pub const SCORE_BYTES_MAX: usize = 1024;

/// Addresses stated for one peer. More help nobody: a peer that cannot be dialled at four cannot be dialled.
pub const ADDRESSES_MAX: usize = 4;

/// Length of one multiaddress, in bytes; the longest useful one (relay circuit over QUIC with two peer ids) is about 180.
pub const ADDRESS_CHARS_MAX: usize = 256;

/// Peers that a lease names as holders of its inputs. The gateway itself and, for a join, the makers of both parts.
pub const HOLDERS_MAX: usize = 4;

/// Times that a node states of itself: four kinds of unit at each of the eleven sizes are 44.
pub const TIMINGS_MAX: usize = 64;

/// Length of a zkVM version or a short reason, in bytes of UTF-8.
pub const TEXT_CHARS_MAX: usize = 512;

/// Slots that a node may state. A weak node has one; the bound keeps one identity from reserving a whole job.
pub const SLOTS_MAX: u8 = 64;

/// Largest segment blob, in bytes. The paper's Table 2 measures 6.4 MB at 2^24, the largest size.
pub const SEGMENT_BYTES_MAX: u64 = 32 << 20;

/// Largest receipt of one unit, in bytes: measured 221 kB at 2^16, growing by some 20 kB with each po2, 223 kB for lift and join. A
/// journal of the last segment comes on top.
pub const RECEIPT_BYTES_MAX: u64 = 4 << 20;

/// Receipts of other programs that one program may rely on, and may have verified. Each costs a join's minute at the end, one after the
/// other.
pub const ASSUMPTIONS_MAX: usize = 256;

/// Keccak requests of one guest: each is a proof of a minute or more, however few permutations the guest has put into it.
pub const KECCAKS_MAX: u32 = 1 << 14;

/// Largest keccak proof, as an exponent of 2: its circuit needs less memory than the lift that follows it, so whoever lifts can make it. Peak
/// memory and CPU time with the lift, and permutations: 2^14 1.50 GB, 182 s, 81; 2^15 1.50 GB, 277 s, 163; 2^16 1.85 GB, 496 s, 327 (own
/// measurement, docs/building.md).
pub const KECCAK_PO2_MAX: u8 = 15;

/// Cycles of a segment that take about as long to prove as one of a keccak proof: 93 CPU seconds at 2^14, without the lift, against some 50
/// for a segment of 2^16 (own measurement, docs/building.md). Limits and budgets count them so.
pub const KECCAK_WEIGHT: u64 = 8;

/// How long a benchmark score counts, and the length of an epoch, in seconds: two hours (paper, section 6).
pub const EPOCH_S: u64 = 2 * 3600;

/// Largest program binary, in bytes. Large guests (Zeth) are some 10 MB.
pub const PROGRAM_BYTES_MAX: u64 = 64 << 20;

/// Largest upload that is held in memory, in bytes.
pub const INPUT_BYTES_MAX: u64 = 256 << 20;

/// Largest input of a guest that is streamed from file to file, in bytes. A guest has 3 GiB of memory, but need not keep what it reads.
pub const STREAMED_INPUT_BYTES_MAX: u64 = 4 << 30;

/// Largest frame between a daemon and its worker, in bytes: a program and its input with room for the frame's own fields.
pub const WORKER_FRAME_BYTES_MAX: usize = (PROGRAM_BYTES_MAX + INPUT_BYTES_MAX + (1 << 20)) as usize;

/// Largest text that a guest writes to stdout and stderr before the rest is dropped, in bytes.
pub const GUEST_LOG_BYTES_MAX: usize = 1 << 20;
