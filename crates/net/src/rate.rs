//! Token buckets: how often something may happen. Time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One bucket for each key, in a table of bounded size.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    per_s: f64,
    burst: f64,
    entries_max: usize,
    entries: BTreeMap<K, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl<K: Ord + Clone> Buckets<K> {
    /// Buckets that hold `burst` tokens and gain `per_s` each second.
    pub(crate) fn new(per_s: u32, burst: u32, entries_max: usize) -> Self {
        Self { per_s: f64::from(per_s), burst: f64::from(burst), entries_max, entries: BTreeMap::new() }
    }

    /// Takes a token of `key`, or says that there is none. A new key finds no place while the table is full of busy ones.
    pub(crate) fn take(&mut self, key: &K, now: Instant) -> bool {
        if !self.entries.contains_key(key) && self.entries.len() >= self.entries_max {
            self.drop_idle(now);
            if self.entries.len() >= self.entries_max {
                return false;
            }
        }
        let (per_s, burst) = (self.per_s, self.burst);
        let bucket = self.entries.entry(key.clone()).or_insert(Bucket { tokens: burst, filled_at: now });
        bucket.tokens = refilled(*bucket, per_s, burst, now);
        bucket.filled_at = now;
        let granted = bucket.tokens >= 1.0;
        if granted {
            bucket.tokens -= 1.0;
        }
        granted
    }

    /// A full bucket is the same as none.
    fn drop_idle(&mut self, now: Instant) {
        let (per_s, burst) = (self.per_s, self.burst);
        self.entries.retain(|_, bucket| refilled(*bucket, per_s, burst, now) < burst);
    }
}

fn refilled(bucket: Bucket, per_s: f64, burst: f64, now: Instant) -> f64 {
    let passed: Duration = now.saturating_duration_since(bucket.filled_at);
    (bucket.tokens + passed.as_secs_f64() * per_s).min(burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut buckets = Buckets::new(2, 3, 10);
        let taken = (0..5).filter(|_| buckets.take(&"a", start)).count();
        assert_eq!(taken, 3);
        assert!(buckets.take(&"b", start), "another key has its own bucket");
        let later = start + Duration::from_millis(500);
        assert!(buckets.take(&"a", later));
        assert!(!buckets.take(&"a", later));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_idle() {
        let start = Instant::now();
        let mut buckets = Buckets::new(1, 1, 2);
        assert!(buckets.take(&1, start) && buckets.take(&2, start));
        assert!(!buckets.take(&3, start));
        assert!(buckets.take(&3, start + Duration::from_secs(1)));
        assert!(buckets.entries.len() <= 2);
    }
}
