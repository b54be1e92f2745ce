//! Step V for keccak requests: their receipts are united, two at a time, until one proves all that the guest left to its host. Which two is
//! not ours to choose: the guest's library has hashed the claims into a Merkle mountain range (`mmr.rs` of risc0-zkvm 3.0.6), and its root is
//! what the guest relies on.

use manyhands_proto::{BlobRef, NodeId, SegmentRange, Unit};

use super::{Entry, Job, Receipted, Work};
use crate::ProofSystem;
use crate::requester::Context;

/// The verified receipt of a range of requests.
#[derive(Debug, Clone)]
pub(crate) struct United<P: ProofSystem> {
    end: u32,
    keccak: P::Keccak,
    receipt: BlobRef,
    node: NodeId,
    /// Being united.
    taken: bool,
}

/// The range with which `range` is united, if it is united at all: blocks of 2^k requests that begin at a multiple of 2^k are united with
/// the neighbour that makes a block of 2^(k+1) of them; once the number of all requests is known, the blocks that have none are united from
/// the left.
pub fn sibling(range: SegmentRange, requests: Option<u32>) -> Option<SegmentRange> {
    let (start, end, length) = (range.start, range.end, range.len());
    if length.is_power_of_two() && start.is_multiple_of(length) {
        let is_left = (start / length).is_multiple_of(2);
        let twin = if is_left {
            SegmentRange { start: end, end: end.checked_add(length)? }
        } else {
            SegmentRange { start: start - length, end: start }
        };
        if requests.is_none_or(|requests| twin.end <= requests) {
            return Some(twin);
        }
    }
    if start > 0 {
        return requests.map(|_| SegmentRange { start: 0, end: start });
    }
    let next = requests?.checked_sub(end)?.checked_ilog2()?;
    Some(SegmentRange { start: end, end: end + (1 << next) })
}

impl<P: ProofSystem> Job<P> {
    /// The receipt of a request or of a union is verified.
    pub(crate) fn keccak_verified(
        &mut self,
        unit: Unit,
        keccak: P::Keccak,
        result: Receipted,
        cx: &mut Context<'_, P>,
    ) {
        if let Unit::Union { start, mid, .. } = unit {
            self.frontier.keccaks.remove(&start);
            self.frontier.keccaks.remove(&mid);
        }
        let SegmentRange { start, end } = unit.range();
        let Receipted { receipt, node, .. } = result;
        self.frontier.keccaks.insert(start, United { end, keccak, receipt, node, taken: false });
        self.unite(start, cx);
        self.combine_if_complete(cx);
    }

    /// The guest has ended, so that it is known how many requests there are.
    pub(crate) fn unite_all(&mut self, cx: &mut Context<'_, P>) {
        let starts: Vec<u32> = self.frontier.keccaks.keys().copied().collect();
        starts.into_iter().for_each(|start| self.unite(start, cx));
    }

    /// The receipt of all requests, once they are united.
    pub(crate) fn keccak_root(&self) -> Option<BlobRef> {
        let requests = self.execution.as_ref()?.keccaks;
        let whole = self.frontier.keccaks.get(&0).filter(|united| united.end == requests && !united.taken);
        whole.map(|united| united.receipt)
    }

    /// Opens the union of the requests from `start` on with their sibling, if both are there.
    fn unite(&mut self, start: u32, cx: &mut Context<'_, P>) {
        let Some(here) = self.frontier.keccaks.get(&start).filter(|united| !united.taken) else { return };
        let requests = self.execution.as_ref().map(|info| info.keccaks);
        let Some(other) = sibling(SegmentRange { start, end: here.end }, requests) else { return };
        let is_there = |united: &United<P>| united.end == other.end && !united.taken;
        if !self.frontier.keccaks.get(&other.start).is_some_and(is_there) {
            return;
        }
        let (first, second) = (start.min(other.start), start.max(other.start));
        let (Some(a), Some(b)) = (self.take_united(first), self.take_united(second)) else { return };
        let work = Work::Union { left: a.keccak, right: b.keccak };
        let entry = Entry::new(self.spec.po2, work, vec![a.receipt, b.receipt], vec![a.node, b.node]);
        self.open(Unit::Union { start: first, mid: second, end: b.end }, entry, cx);
    }

    fn take_united(&mut self, start: u32) -> Option<United<P>> {
        let united = self.frontier.keccaks.get_mut(&start)?;
        united.taken = true;
        Some(united.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Unites all of `requests` by `sibling` alone, in whatever order they come, and tells the unions.
    fn unions(requests: u32, backwards: bool) -> Vec<(u32, u32, u32)> {
        let mut there: BTreeMap<u32, u32> = BTreeMap::new();
        let mut unions = Vec::new();
        let indices: Vec<u32> = if backwards { (0..requests).rev().collect() } else { (0..requests).collect() };
        for index in indices {
            let mut range = SegmentRange::single(index);
            while let Some(other) =
                sibling(range, Some(requests)).filter(|other| there.get(&other.start) == Some(&other.end))
            {
                there.remove(&other.start);
                let (first, second) = if other.start < range.start { (other, range) } else { (range, other) };
                assert_eq!(first.end, second.start, "they are neighbours");
                unions.push((first.start, second.start, second.end));
                range = SegmentRange { start: first.start, end: second.end };
            }
            there.insert(range.start, range.end);
        }
        assert_eq!(there, BTreeMap::from([(0, requests)]), "all are united");
        unions.sort_unstable();
        unions
    }

    /// The unions of the mountain range itself: equal peaks are merged as they come, and what is left from the first on.
    fn mountains(requests: u32) -> Vec<(u32, u32, u32)> {
        let (mut peaks, mut unions): (Vec<(u32, u32)>, Vec<_>) = (Vec::new(), Vec::new());
        for index in 0..requests {
            let mut peak = (index, index + 1);
            while let Some(last) = peaks.pop_if(|last| last.1 - last.0 == peak.1 - peak.0) {
                unions.push((last.0, peak.0, peak.1));
                peak = (last.0, peak.1);
            }
            peaks.push(peak);
        }
        let mut whole = peaks[0];
        for peak in &peaks[1..] {
            unions.push((whole.0, peak.0, peak.1));
            whole.1 = peak.1;
        }
        unions.sort_unstable();
        unions
    }

    #[test]
    fn the_unions_are_those_of_the_mountain_range_in_whatever_order_receipts_come() {
        for requests in 1..300 {
            let expected = mountains(requests);
            assert_eq!(expected.len() as u32, requests - 1);
            assert_eq!(unions(requests, false), expected, "{requests} requests");
            assert_eq!(unions(requests, true), expected, "{requests} requests, backwards");
        }
    }

    #[test]
    fn before_the_guest_has_ended_only_equal_blocks_are_united() {
        let range = |start, end| SegmentRange { start, end };
        assert_eq!(sibling(range(4, 5), None), Some(range(5, 6)));
        assert_eq!(sibling(range(5, 6), None), Some(range(4, 5)));
        assert_eq!(sibling(range(0, 4), None), Some(range(4, 8)));
        assert_eq!(sibling(range(0, 4), Some(4)), None, "they are all");
        assert_eq!(sibling(range(4, 6), Some(6)), Some(range(0, 4)));
        assert_eq!(sibling(range(0, 6), None), None);
        assert_eq!(sibling(range(0, 1), Some(1)), None);
        assert_eq!(sibling(range(1 << 31, u32::MAX), None), None, "nothing overflows");
        assert_eq!(sibling(range(0, 1 << 31), None), None);
    }
}
