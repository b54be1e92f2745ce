//! A link that several transfers share fairly, in virtual time: each transfer costs O(log n), however many there are.
//!
//! The link's own clock counts the bytes that each of its transfers has got so far. A transfer that begins when it shows v ends when it
//! shows v plus its size. The receiver's own link is not part of the sharing: a transfer that is limited by it keeps its share
//! here until its size has passed, and then arrives when the slower link has brought it. So a slow receiver costs the
//! others a little more than in a real network, never less.

use std::collections::BTreeMap;

/// Names a transfer on its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    /// The link's clock at its end, as the bits of a non-negative number: they sort as the numbers do.
    end: u64,
    number: u64,
}

/// A shared link. `T` says what a transfer brings.
#[derive(Debug)]
pub(crate) struct Link<T> {
    bytes_per_ms: f64,
    /// Bytes that a transfer would have got since the beginning.
    clock: f64,
    at_ms: u64,
    flows: BTreeMap<Flow, (u64, T)>,
    begun: u64,
    moved_bytes: u64,
}

impl<T> Link<T> {
    pub(crate) fn new(bytes_per_ms: f64) -> Self {
        Self { bytes_per_ms, clock: 0.0, at_ms: 0, flows: BTreeMap::new(), begun: 0, moved_bytes: 0 }
    }

    /// Begins a transfer.
    pub(crate) fn begin(&mut self, now_ms: u64, size_bytes: u64, what: T) -> Flow {
        self.advance(now_ms);
        self.begun += 1;
        let flow = Flow { end: (self.clock + size_bytes as f64).to_bits(), number: self.begun };
        self.flows.insert(flow, (size_bytes, what));
        flow
    }

    /// Breaks a transfer off.
    pub(crate) fn cancel(&mut self, now_ms: u64, flow: Flow) {
        self.advance(now_ms);
        if let Some((size_bytes, _)) = self.flows.remove(&flow) {
            let left = (f64::from_bits(flow.end) - self.clock).max(0.0) as u64;
            self.moved_bytes += size_bytes.saturating_sub(left);
        }
    }

    /// When the next transfer ends, if nothing begins before.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        let (flow, _) = self.flows.first_key_value()?;
        let left = (f64::from_bits(flow.end) - self.clock).max(0.0);
        Some(self.at_ms.saturating_add(libm::ceil(left * self.flows.len() as f64 / self.bytes_per_ms) as u64))
    }

    /// The next transfer that has ended by `now_ms`.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<T> {
        self.advance(now_ms);
        if self.next_ms()? > now_ms {
            return None;
        }
        let (_, (size_bytes, what)) = self.flows.pop_first()?;
        self.moved_bytes += size_bytes;
        Some(what)
    }

    /// Bytes that have passed: whole transfers, and what broken ones had got.
    pub(crate) fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    fn advance(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        if passed_ms > 0 && !self.flows.is_empty() {
            self.clock += passed_ms as f64 * self.bytes_per_ms / self.flows.len() as f64;
        }
        self.at_ms = self.at_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_share_the_link() {
        let mut link = Link::new(100.0);
        link.begin(0, 1_000, 'a');
        assert_eq!(link.next_ms(), Some(10));
        let broken = link.begin(5, 1_000, 'b');
        // The first has 500 bytes to go at half the speed.
        assert_eq!(link.next_ms(), Some(15));
        assert_eq!(link.pop(14), None);
        assert_eq!(link.pop(15), Some('a'));
        link.begin(15, 100, 'c');
        link.cancel(17, broken);
        // The second had 500 by then, and half of 200 more.
        assert_eq!(link.moved_bytes(), 1_000 + 600);
        assert_eq!((link.next_ms(), link.pop(17)), (Some(17), Some('c')));
        assert_eq!((link.next_ms(), link.moved_bytes()), (None, 1_700));
    }
}
