//! Who gives which part of a blob, when several have it. Pure: it is told what came and what failed, and when, and says
//! whom to ask for what. It never sees a byte of the blob.
//!
//! Chunks are numbered in pre-order. What nobody was asked for lies in *gaps*; what somebody gives, in that source's *part*, which
//! shrinks from the front as its chunks come. An idle source gets a gap, or, if there is none, the second half of the part that will
//! be ready last. A part whose source is so much slower that the idle one would be done with all of it long before is taken over whole. So each
//! chunk is at every moment in one gap, in one part, or here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Chunks, counted from the first that is not in the store yet, that may be on their way or held: 8.4 MB. Larger blobs are fetched in
/// a window of that size which moves on, so that memory is bounded by it and not by the blob. An ordinary segment fits.
pub(super) const WINDOW_CHUNKS: u64 = 2_048;

/// Least chunks to ask an idle source for where the blob goes on beyond the window, 262 kB: less is not worth a request.
const PART_CHUNKS_MIN: u64 = 64;

/// Least chunks to take from another's part, 66 kB: what is on its way meanwhile is sent for nothing.
const STEAL_CHUNKS_MIN: u64 = 16;

/// What a new request costs before its first chunk comes: an intercontinental round trip.
const REQUEST_MS: u64 = 200;

/// A source is not judged by less time than that, which a handshake over a bad link takes.
const JUDGE_AFTER_MS: u64 = 1_000;

/// A part is taken over whole if the idle source would do all of it in this fraction of the time. At half the speed a source is
/// of use; at a quarter it holds the others up by more than it gives.
const SLOWER_BY: u64 = 4;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask a source, which is idle, for the chunks from `from` to before `to`.
    Ask { source: usize, from: u64, to: u64 },
    /// Stop reading what this source sends.
    Cut { source: usize },
}

/// What a source is giving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    next: u64,
    end: u64,
    begun_ms: u64,
    got: u64,
}

/// The parts of one blob.
#[derive(Debug)]
pub(super) struct Parts {
    count: u64,
    front: u64,
    at_once: usize,
    /// Start and end of what nobody was asked for; never empty, never touching.
    gaps: BTreeMap<u64, u64>,
    parts: BTreeMap<usize, Part>,
    idle: BTreeSet<usize>,
    /// Not asked yet, in their order.
    waiting: VecDeque<usize>,
    /// Cut because others were so much faster; asked again when those are gone.
    slow: VecDeque<usize>,
    /// Asked when nobody else is left.
    last: Option<usize>,
    /// Chunks and milliseconds of each source's part before.
    speeds: BTreeMap<usize, (u64, u64)>,
}

impl Parts {
    /// A blob of `count` chunks, of which the first `done` are here. Sources have the numbers from 0 to before `sources`; the last is asked
    /// only when no other is left, and `at_once` at a time of the others.
    pub(super) fn new(done: u64, count: u64, sources: usize, at_once: usize) -> Self {
        let last = sources.checked_sub(1);
        Self {
            count,
            front: done,
            at_once: at_once.max(1),
            gaps: (done < count).then_some((done, count)).into_iter().collect(),
            parts: BTreeMap::new(),
            idle: BTreeSet::new(),
            waiting: (0..last.unwrap_or(0)).collect(),
            slow: VecDeque::new(),
            last,
            speeds: BTreeMap::new(),
        }
    }

    /// What to do next, if anything; to be asked until there is nothing more, after every change and now and then while a source is idle.
    pub(super) fn step(&mut self, now_ms: u64) -> Option<Step> {
        self.enlist();
        let sources: Vec<usize> = self.idle.iter().copied().collect();
        sources.into_iter().find_map(|source| self.fill(source, now_ms).or_else(|| self.steal(source, now_ms)))
    }

    /// Whether a source waits for work that may come up.
    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Sources that are giving a part.
    pub(super) fn busy(&self) -> usize {
        self.parts.len()
    }

    /// Whether nobody is left to ask.
    pub(super) fn is_over(&self) -> bool {
        let nobody = self.parts.is_empty() && self.idle.is_empty();
        nobody && self.waiting.is_empty() && self.slow.is_empty() && self.last.is_none()
    }

    /// The number of the chunk that a source sends next; none if it has no part.
    pub(super) fn next_of(&self, source: usize) -> Option<u64> {
        self.parts.get(&source).map(|part| part.next)
    }

    /// The next chunk of a source's part is here. True if it has more to send.
    pub(super) fn came(&mut self, source: usize, now_ms: u64) -> bool {
        let Some(part) = self.parts.get_mut(&source) else { return false };
        part.next += 1;
        part.got += 1;
        if part.next < part.end {
            return true;
        }
        self.speeds.insert(source, (part.got, now_ms.saturating_sub(part.begun_ms).max(1)));
        self.parts.remove(&source);
        self.idle.insert(source);
        false
    }

    /// A source is of no use any more: what is left of its part is for others.
    pub(super) fn fail(&mut self, source: usize) {
        if let Some(part) = self.parts.remove(&source) {
            self.put_back(part.next, part.end);
        }
        self.idle.remove(&source);
        self.waiting.retain(|other| *other != source);
        self.slow.retain(|other| *other != source);
        self.last = self.last.filter(|last| *last != source);
    }

    /// A chunk that came was not the right one.
    pub(super) fn lose(&mut self, number: u64) {
        self.put_back(number, number + 1);
    }

    /// All chunks before `front` are in the store or on their way to it.
    pub(super) fn advance(&mut self, front: u64) {
        self.front = front;
    }

    /// Has as many sources at work as there may be.
    fn enlist(&mut self) {
        if self.gaps.is_empty() && self.parts.is_empty() {
            return;
        }
        while self.parts.len() + self.idle.len() < self.at_once {
            let Some(source) = self.waiting.pop_front() else { break };
            self.idle.insert(source);
        }
        if self.parts.is_empty() && self.idle.is_empty() {
            let next = self.slow.pop_front().or_else(|| self.last.take());
            self.idle.extend(next);
        }
    }

    /// Gives an idle source the first gap of the window, or a fair share of it.
    fn fill(&mut self, source: usize, now_ms: u64) -> Option<Step> {
        let window_end = self.front.saturating_add(WINDOW_CHUNKS).min(self.count);
        let at_work = (self.parts.len() + self.idle.len()).max(1) as u64;
        let share = window_end.saturating_sub(self.front).div_ceil(at_work);
        let mut gaps = self.gaps.iter().map(|(start, end)| (*start, *end));
        let (from, gap_end) = gaps.find(|(start, end)| {
            let usable = window_end.saturating_sub(*start);
            usable >= PART_CHUNKS_MIN || *end <= window_end && usable > 0
        })?;
        let mut to = gap_end.min(window_end).min(from + share);
        // What would be left over is too little for a request of its own.
        if gap_end - to < STEAL_CHUNKS_MIN {
            to = gap_end;
        }
        self.gaps.remove(&from);
        if to < gap_end {
            self.gaps.insert(to, gap_end);
        }
        Some(self.begin(source, from, to, now_ms))
    }

    /// Gives an idle source half of the part that will be ready last, or has all of it taken back.
    fn steal(&mut self, source: usize, now_ms: u64) -> Option<Step> {
        let mut parts: Vec<(usize, Part)> = self.parts.iter().map(|(victim, part)| (*victim, *part)).collect();
        parts.sort_by_key(|(_, part)| std::cmp::Reverse(part.left_ms(now_ms)));
        parts.into_iter().find_map(|(victim, part)| self.steal_from(victim, part, source, now_ms))
    }

    fn steal_from(&mut self, victim: usize, part: Part, source: usize, now_ms: u64) -> Option<Step> {
        let (rest, left_ms) = (part.end - part.next, part.left_ms(now_ms));
        if now_ms.saturating_sub(part.begun_ms) >= JUDGE_AFTER_MS
            && self.time_ms(source, rest).is_some_and(|time_ms| time_ms.saturating_mul(SLOWER_BY) < left_ms)
        {
            self.parts.remove(&victim);
            self.put_back(part.next, part.end);
            self.slow.push_back(victim);
            return Some(Step::Cut { source: victim });
        }
        let half = rest / 2;
        let is_slower = self.time_ms(source, half).is_some_and(|time_ms| time_ms >= left_ms);
        if half < STEAL_CHUNKS_MIN || is_slower {
            return None;
        }
        let middle = part.end - half;
        self.parts.insert(victim, Part { end: middle, ..part });
        Some(self.begin(source, middle, part.end, now_ms))
    }

    fn begin(&mut self, source: usize, from: u64, to: u64, now_ms: u64) -> Step {
        self.idle.remove(&source);
        self.parts.insert(source, Part { next: from, end: to, begun_ms: now_ms, got: 0 });
        Step::Ask { source, from, to }
    }

    /// The time that a source needs for so many chunks, by its part before; none if it had none.
    fn time_ms(&self, source: usize, chunks: u64) -> Option<u64> {
        let (got, took_ms) = self.speeds.get(&source)?;
        Some(REQUEST_MS.saturating_add(chunks.saturating_mul(*took_ms) / (*got).max(1)))
    }

    fn put_back(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        if let Some((before, _)) = self.gaps.range(..start).next_back().filter(|(_, before_end)| **before_end == start)
        {
            start = *before;
        }
        if let Some(after_end) = self.gaps.remove(&end) {
            end = after_end;
        }
        self.gaps.insert(start, end);
    }
}

impl Part {
    /// The time until it is all here, if it goes on as before. One that gave nothing yet is as if its first chunk came now.
    fn left_ms(&self, now_ms: u64) -> u64 {
        let took_ms = now_ms.saturating_sub(self.begun_ms).max(1);
        (self.end - self.next).saturating_mul(took_ms) / self.got.max(1)
    }
}

#[cfg(test)]
mod tests;
