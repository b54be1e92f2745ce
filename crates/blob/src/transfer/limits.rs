//! The bounds of a transfer, each with its reason.

use std::time::Duration;

use manyhands_proto::limits::INPUT_BYTES_MAX;

/// Bounds for both sides of the protocol. The default suits home connections; tests and fast networks may tighten it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferLimits {
    /// Largest blob asked for, in bytes. Default 256 MiB, far above what a lease names: a segment has 32 MiB at most.
    pub blob_bytes_max: u64,
    /// Time for a request to arrive or to be sent, and for the last bytes and the end of the stream. Default 10 s: 49
    /// bytes over the worst link that can still prove for money.
    pub request_timeout: Duration,
    /// Time until the holder's status. Default 20 s: a busy disk's queue and a relayed round trip.
    pub answer_timeout: Duration,
    /// Over such a span [`TransferLimits::window_bytes_min`] must come. Default 10 s, longer than the pauses of a
    /// Wi-Fi or mobile link that recovers.
    pub window: Duration,
    /// Default 64 KiB, that is 6.5 kB/s: a tenth of the slowest ADSL uplink, so that ten streams may share one. One
    /// byte a second is found out after one window.
    pub window_bytes_min: u64,
    /// Average rate from which the overall deadline follows, in bytes per second. Default 16 KiB/s: a 265 kB segment
    /// in 16 s, which is short against the minutes that its proof takes.
    pub rate_bytes_per_s_min: u64,
    /// Added to the overall deadline. Default 30 s, so that a small blob outlives one stall.
    pub grace: Duration,
    /// Time for the asker to take one batch of [`SERVE_BATCH_CHUNKS`](super::SERVE_BATCH_CHUNKS). Default 60 s: it
    /// may be syncing what came before to a slow disk, which its own clock does not count.
    pub write_timeout: Duration,
    /// Blobs served at a time; more askers hear Busy. Default 32: twice as many 131 kB batches are in memory, 8 MB.
    pub streams_max: usize,
    /// Of these, for one peer. Default 8, so that four peers are needed to take all; twice what a node, or a gateway of one node, fetches at a time.
    pub streams_per_peer_max: usize,
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self {
            blob_bytes_max: INPUT_BYTES_MAX,
            request_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(20),
            window: Duration::from_secs(10),
            window_bytes_min: 64 << 10,
            rate_bytes_per_s_min: 16 << 10,
            grace: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            streams_max: 32,
            streams_per_peer_max: 8,
        }
    }
}

impl TransferLimits {
    /// For one of so many streams that share this side's line: each must bring its share of the least rates.
    pub fn shared_by(self, streams: usize) -> Self {
        let streams = u64::try_from(streams).unwrap_or(u64::MAX).max(1);
        Self {
            window_bytes_min: self.window_bytes_min / streams,
            rate_bytes_per_s_min: self.rate_bytes_per_s_min / streams,
            ..self
        }
    }

    /// Time for `bytes` in all: the grace and what the least average rate needs.
    pub fn deadline(&self, bytes: u64) -> Duration {
        self.grace.saturating_add(Duration::from_secs(bytes / self.rate_bytes_per_s_min.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_grows_with_the_size_and_never_overflows() {
        let limits = TransferLimits::default();
        assert_eq!(limits.deadline(0), Duration::from_secs(30));
        assert_eq!(limits.deadline(265_000), Duration::from_secs(46));
        assert!(limits.deadline(u64::MAX) > Duration::from_secs(1 << 49));
        let none = TransferLimits { rate_bytes_per_s_min: 0, grace: Duration::MAX, ..limits };
        assert_eq!(none.deadline(u64::MAX), Duration::MAX);
    }
}
