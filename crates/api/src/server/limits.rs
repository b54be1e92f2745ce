//! Bounds of the door, each with its reason.

use std::time::Duration;

/// Connections at the same time. A person has a few, a script a few more; each costs a file descriptor that nodes need too.
pub(super) const CONNECTIONS_MAX: usize = 128;

/// Of them, those that watch jobs: they hold their connection for as long as the job takes.
pub(super) const WATCHERS_MAX: usize = 32;

/// Time for a request's head, also on a connection that is kept open for another one.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(30);

/// Largest head in bytes. Ours are a few hundred bytes, a browser's some kilobytes.
pub(super) const HEAD_BYTES_MAX: usize = 32 << 10;

/// Largest JSON body in bytes; a job request is some 300.
pub(super) const JSON_BYTES_MAX: u64 = 16 << 10;

/// Programs in memory at the same time: with the largest one each, two take 128 MiB, and a gateway has 1 GB at least.
pub(super) const UPLOADS_MAX: usize = 2;

/// Inputs that come at the same time. Each takes a megabyte of memory, and its size of the disk while it comes.
pub(super) const INPUTS_MAX: usize = 8;

/// How long an upload waits for its turn.
pub(super) const TURN_TIME: Duration = Duration::from_secs(60);

/// Longest silence in the middle of a body.
pub(super) const SILENCE_TIME: Duration = Duration::from_secs(20);

/// Longest upload: the largest input at 300 kB/s.
pub(crate) const UPLOAD_TIME: Duration = Duration::from_secs(15 * 60);

/// How much of a refused body is read and dropped, so that the sender hears why before its connection ends.
pub(super) const DRAIN_BYTES_MAX: u64 = 64 << 20;

/// How long that may take.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(3);

/// How long the gateway may think about one request; an upload of 256 MiB is hashed and written in a few seconds.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(120);

/// Bytes of an input for which it may think a second longer: a tenth of what one core hashes, as the disk may be slow.
pub(super) const ANSWER_BYTES: u64 = 8 << 20;

/// How long requests under way may go on after shutdown began.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// Pause after a connection could not be accepted.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
