//! What lies ahead: happenings by time, questions that wait for their answers, and alarms that are set once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use manyhands_core::prover::Tag;
use manyhands_core::requester::AskId;

/// The control protocol's time-out, as in the daemon.
const TIME_OUT_MS: u64 = 60_000;

/// Happenings in the order of their time; those of one moment in the order in which they were put in.
///
/// The heap holds 24 bytes for each; what happens lies beside it, in places that are used again.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    places: Vec<Option<T>>,
    free: Vec<usize>,
    sequence: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), places: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    pub(crate) fn push(&mut self, at_ms: u64, happening: T) {
        self.sequence = self.sequence.wrapping_add(1);
        let place = self.free.pop().unwrap_or(self.places.len());
        match self.places.get_mut(place) {
            Some(free) => *free = Some(happening),
            None => self.places.push(Some(happening)),
        }
        self.heap.push(Reverse((at_ms, self.sequence, place)));
    }

    /// When the next one happens.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ms, _, _))| *at_ms)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let Reverse((_, _, place)) = self.heap.pop()?;
        self.free.push(place);
        self.places.get_mut(place)?.take()
    }
}

/// A question of a node to a gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) node: u32,
    /// Which life of the node asked.
    pub(crate) life: u32,
    pub(crate) tag: Tag,
    pub(crate) is_heartbeat: bool,
    until_ms: u64,
    is_answered: bool,
    is_over: bool,
}

/// The questions on their way. All have the same time-out, so they end in the order in which they were asked, and need no heap.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    first: u64,
    open: VecDeque<Ask>,
}

impl Asks {
    /// Notes a question that is asked at `now_ms`.
    pub(crate) fn ask(&mut self, now_ms: u64, node: u32, life: u32, tag: Tag, is_heartbeat: bool) -> AskId {
        let id = AskId(self.first.saturating_add(self.open.len() as u64));
        let until_ms = now_ms.saturating_add(TIME_OUT_MS);
        self.open.push_back(Ask { node, life, tag, is_heartbeat, until_ms, is_answered: false, is_over: false });
        id
    }

    /// Notes that the gateway answers. Nothing if nobody waits any more.
    ///
    /// # Errors
    /// When the gateway has answered before.
    pub(crate) fn answer(&mut self, id: AskId) -> Result<Option<Ask>, String> {
        match self.find(id) {
            Some(ask) if ask.is_answered => Err(format!("question {} is answered twice", id.0)),
            Some(ask) => {
                ask.is_answered = true;
                Ok(Some(*ask))
            }
            None => Ok(None),
        }
    }

    /// Notes that the answer has reached the node. Nothing if it came too late.
    pub(crate) fn end(&mut self, id: AskId) -> Option<Ask> {
        let ask = self.find(id).filter(|ask| !ask.is_over)?;
        ask.is_over = true;
        Some(*ask)
    }

    /// When the oldest unanswered question times out.
    pub(crate) fn next_ms(&mut self) -> Option<u64> {
        while self.open.front().is_some_and(|ask| ask.is_over) {
            self.open.pop_front();
            self.first += 1;
        }
        self.open.front().map(|ask| ask.until_ms)
    }

    /// Takes the oldest question, whose time is over.
    pub(crate) fn time_out(&mut self) -> Option<Ask> {
        self.first += 1;
        self.open.pop_front()
    }

    fn find(&mut self, id: AskId) -> Option<&mut Ask> {
        self.open.get_mut(usize::try_from(id.0.checked_sub(self.first)?).ok()?)
    }
}

/// One alarm of a machine or a link. At most one entry of the queue is meant by it; older ones are known by their stamp. It may ring too
/// early: setting it later is left to the moment when it rings, since most alarms are put off again and again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alarm {
    at_ms: Option<u64>,
    stamp: u32,
}

impl Alarm {
    /// Sets the alarm to `at_ms` or leaves it at an earlier time. Gives the stamp of a new entry if one is needed.
    pub(crate) fn set(&mut self, at_ms: u64) -> Option<u32> {
        if self.at_ms.is_some_and(|set| set <= at_ms) {
            return None;
        }
        self.at_ms = Some(at_ms);
        self.stamp = self.stamp.wrapping_add(1);
        Some(self.stamp)
    }

    /// Whether the entry with this stamp is the one that counts; it is used up then.
    pub(crate) fn rings(&mut self, stamp: u32) -> bool {
        let is_meant = self.stamp == stamp && self.at_ms.is_some();
        if is_meant {
            self.at_ms = None;
        }
        is_meant
    }

    /// Forgets what was set.
    pub(crate) fn clear(&mut self) {
        self.at_ms = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_keeps_time_and_order() {
        let mut queue = Queue::new();
        [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')].into_iter().for_each(|(at, what)| queue.push(at, what));
        assert_eq!(queue.next_ms(), Some(1));
        let order: String = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, "abcd");
        queue.push(9, 'e');
        assert_eq!((queue.places.len(), queue.pop()), (4, Some('e')));
    }

    #[test]
    fn a_question_is_answered_once_and_ends_once() {
        let mut asks = Asks::default();
        let (first, second) = (asks.ask(0, 1, 0, Tag(1), false), asks.ask(5, 2, 0, Tag(1), true));
        assert!(asks.answer(first).unwrap().is_some());
        assert!(asks.answer(first).is_err());
        assert_eq!(asks.end(first).map(|ask| ask.node), Some(1));
        assert!(asks.end(first).is_none());
        assert_eq!(asks.next_ms(), Some(60_005));
        assert_eq!(asks.time_out().map(|ask| ask.node), Some(2));
        assert!(asks.answer(second).unwrap().is_none(), "nobody waits");
        assert_eq!(asks.next_ms(), None);
    }

    #[test]
    fn an_alarm_is_set_once() {
        let mut alarm = Alarm::default();
        let stamp = alarm.set(10).unwrap();
        assert_eq!(alarm.set(20), None, "it rings early and is set again then");
        let sooner = alarm.set(5).unwrap();
        assert!(!alarm.rings(stamp));
        assert!(alarm.rings(sooner) && !alarm.rings(sooner));
    }
}
