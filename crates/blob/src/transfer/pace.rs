//! The asker's clock over one transfer: a least rate per window and a deadline over all. Time in which this side was
//! busy with its own disk is not held against the holder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};

use super::{FetchError, TransferLimits};

pub(super) struct Pace {
    window: Duration,
    window_bytes_min: u64,
    window_end: Instant,
    window_bytes: u64,
    deadline: Instant,
    started: Instant,
    due_bytes: u64,
    total_bytes: u64,
    pauses: Pauses,
    paused_ms: u64,
}

/// The time that an asker of several streams was busy with its own disk, in all; shared by their clocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Pauses(Arc<AtomicU64>);

impl Pauses {
    /// Counts the time since `since`.
    pub(super) fn add(&self, since: Instant) {
        let ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    fn total_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Pace {
    /// Starts the clock for a transfer of `due_bytes`.
    pub(super) fn start(limits: &TransferLimits, due_bytes: u64) -> Self {
        let started = Instant::now();
        // A limit beyond the clock's range means never; thirty years will do.
        let never = started + Duration::from_secs(1_000_000_000);
        Self {
            window: limits.window,
            window_bytes_min: limits.window_bytes_min,
            window_end: started.checked_add(limits.window).unwrap_or(never),
            window_bytes: 0,
            deadline: started.checked_add(limits.deadline(due_bytes)).unwrap_or(never),
            started,
            due_bytes,
            total_bytes: 0,
            pauses: Pauses::default(),
            paused_ms: 0,
        }
    }

    /// Has `pauses` not held against the holder, from now on.
    pub(super) fn without(self, pauses: Pauses) -> Self {
        let paused_ms = pauses.total_ms();
        Self { pauses, paused_ms, ..self }
    }

    /// Bytes read so far.
    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Fills `buffer`; false if the stream ends first.
    pub(super) async fn fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        buffer: &mut [u8],
    ) -> Result<bool, FetchError> {
        let mut rest = buffer;
        while !rest.is_empty() {
            let until = self.window_end.min(self.deadline);
            if let Ok(read) = timeout_at(until, stream.read(rest)).await {
                let count = read.map_err(FetchError::Io)?;
                if count == 0 {
                    return Ok(false);
                }
                self.window_bytes += count as u64;
                self.total_bytes += count as u64;
                rest = rest.get_mut(count..).unwrap_or_default();
            }
            self.check(Instant::now())?;
        }
        Ok(true)
    }

    /// Takes the time since `since` out of the account.
    pub(super) fn forgive(&mut self, since: Instant) {
        let now = Instant::now();
        self.extend(now, now.duration_since(since));
    }

    fn extend(&mut self, now: Instant, by: Duration) {
        self.deadline = self.deadline.checked_add(by).unwrap_or(self.deadline);
        self.open_window(now);
    }

    fn check(&mut self, now: Instant) -> Result<(), FetchError> {
        let paused_ms = self.pauses.total_ms();
        if paused_ms > self.paused_ms {
            self.extend(now, Duration::from_millis(paused_ms - self.paused_ms));
            self.paused_ms = paused_ms;
        }
        if now >= self.deadline {
            let waited = now.duration_since(self.started);
            return Err(FetchError::TooSlow { waited, got_bytes: self.total_bytes, due_bytes: self.due_bytes });
        }
        if now < self.window_end {
            return Ok(());
        }
        match self.window_bytes {
            0 => Err(FetchError::Silent { waited: self.window }),
            got_bytes if got_bytes < self.window_bytes_min => {
                Err(FetchError::TooSlow { waited: self.window, got_bytes, due_bytes: self.window_bytes_min })
            }
            _ => {
                self.open_window(now);
                Ok(())
            }
        }
    }

    fn open_window(&mut self, now: Instant) {
        self.window_end = now.checked_add(self.window).unwrap_or(self.deadline);
        self.window_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use futures::io::Cursor;

    /// While this side was busy for a minute nothing was read; what then comes is in time, if the minute is told.
    #[tokio::test(start_paused = true)]
    async fn time_that_this_side_was_busy_is_not_held_against_the_holder() {
        for is_told in [true, false] {
            let pauses = Pauses::default();
            let mut pace = Pace::start(&TransferLimits::default(), 1_000).without(pauses.clone());
            let mut stream = Cursor::new([7; 1_000]);
            assert!(pace.fill(&mut stream, &mut [0; 10]).await.unwrap());
            let since = Instant::now();
            tokio::time::sleep(Duration::from_secs(60)).await;
            if is_told {
                pauses.add(since);
            }
            let filled = pace.fill(&mut stream, &mut [0; 10]).await;
            assert_eq!(filled.is_ok(), is_told, "{filled:?}");
        }
    }
}
