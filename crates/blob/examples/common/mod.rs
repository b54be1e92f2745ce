//! What several measurements need: the same bytes each time, medians, and the time that a thread was on a core.

#![allow(dead_code)] // No measurement needs all of it.

/// So many bytes without a pattern, rounded down to eight; the same each time, so that runs can be compared.
pub fn random(size_bytes: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..size_bytes / 8).flat_map(|_| next()).collect()
}

/// The value in the middle, the upper one of two; NaN of none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Seconds that Linux counted for this thread on a core; elsewhere none.
pub fn seconds_on_core() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(|nanoseconds: f64| nanoseconds / 1e9)
}
