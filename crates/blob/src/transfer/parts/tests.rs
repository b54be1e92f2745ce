//! Parts under any order of events: each chunk is in one place, none is lost, and the work ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use proptest::prelude::*;

fn ask(source: usize, from: u64, to: u64) -> Option<Step> {
    Some(Step::Ask { source, from, to })
}

/// So many chunks of a source's part come, the last one at `now_ms`.
fn send(parts: &mut Parts, source: usize, chunks: u64, now_ms: u64) {
    for _ in 0..chunks {
        parts.came(source, now_ms);
    }
}

#[test]
fn three_share_evenly_and_the_last_is_not_asked() {
    let mut parts = Parts::new(0, 300, 5, 3);
    assert_eq!(parts.step(0), ask(0, 0, 100));
    assert_eq!(parts.step(0), ask(1, 100, 200));
    assert_eq!(parts.step(0), ask(2, 200, 300));
    assert_eq!(parts.step(0), None);
}

#[test]
fn one_at_a_time_in_order_and_the_last_at_last() {
    let mut parts = Parts::new(10, 60, 3, 1);
    assert_eq!(parts.step(0), ask(0, 10, 60));
    send(&mut parts, 0, 5, 1);
    parts.fail(0);
    assert_eq!(parts.step(1), ask(1, 15, 60));
    parts.fail(1);
    assert_eq!(parts.step(1), ask(2, 15, 60));
    assert!(!parts.is_over());
    parts.fail(2);
    assert_eq!((parts.step(1), parts.is_over()), (None, true));
}

#[test]
fn who_is_done_takes_half_of_what_would_be_ready_last() {
    let mut parts = Parts::new(0, 300, 4, 3);
    while parts.step(0).is_some() {}
    send(&mut parts, 1, 50, 500);
    send(&mut parts, 2, 20, 500);
    send(&mut parts, 0, 100, 500);
    // The second would need 500 ms more, the third 2 s; the first needs 400 ms for half of that.
    assert_eq!(parts.step(500), ask(0, 260, 300));
    assert_eq!(parts.step(500), None);
    assert_eq!(parts.next_of(2), Some(220));
    send(&mut parts, 2, 40, 900);
    assert_eq!(parts.next_of(2), None, "its part ended where the other's begins");
}

#[test]
fn what_is_nearly_ready_is_left_alone() {
    let mut parts = Parts::new(0, 200, 3, 2);
    while parts.step(0).is_some() {}
    send(&mut parts, 1, 60, 500);
    send(&mut parts, 0, 100, 500);
    // 40 chunks in 333 ms; the other needs 300 ms for half of them. With 30 left there is too little to take.
    assert_eq!(parts.step(500), ask(0, 180, 200));
    send(&mut parts, 0, 20, 600);
    assert_eq!(parts.step(600), None);
}

#[test]
fn a_part_that_does_not_move_is_taken_over_whole_by_who_is_known_to_be_faster() {
    let mut parts = Parts::new(0, 200, 4, 2);
    while parts.step(0).is_some() {}
    send(&mut parts, 1, 100, 700);
    // Too early to judge: half of it.
    assert_eq!(parts.step(700), ask(1, 50, 100));
    send(&mut parts, 1, 50, 1_050);
    assert_eq!(parts.step(1_050), Some(Step::Cut { source: 0 }));
    // Another comes in its place, and the two share what it left.
    assert_eq!(parts.step(1_050), ask(1, 0, 50));
    assert_eq!(parts.step(1_050), ask(2, 25, 50));
    // It is asked again when those are gone, before the last is.
    parts.fail(1);
    parts.fail(2);
    assert_eq!(parts.step(1_100), ask(0, 0, 50));
    parts.fail(0);
    assert_eq!(parts.step(1_100), ask(3, 0, 50));
}

#[test]
fn a_large_blob_is_fetched_in_a_window_that_moves() {
    let count = 10 * WINDOW_CHUNKS;
    let mut parts = Parts::new(0, count, 3, 2);
    assert_eq!(parts.step(0), ask(0, 0, WINDOW_CHUNKS / 2));
    assert_eq!(parts.step(0), ask(1, WINDOW_CHUNKS / 2, WINDOW_CHUNKS));
    send(&mut parts, 1, WINDOW_CHUNKS / 2, 1_000);
    send(&mut parts, 0, PART_CHUNKS_MIN - 1, 1_000);
    parts.advance(PART_CHUNKS_MIN - 1);
    // Too little has become free; the other's part is what there is to do.
    assert!(matches!(parts.step(1_000), Some(Step::Cut { source: 0 })));
    assert_eq!(parts.next_of(0), None);
}

#[test]
fn nothing_to_fetch_and_nobody_to_ask() {
    assert_eq!(Parts::new(7, 7, 2, 3).step(0), None);
    let mut parts = Parts::new(0, 7, 0, 3);
    assert_eq!((parts.step(0), parts.is_over()), (None, true));
}

/// What may happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// So many chunks of a source come.
    Came(usize, u64),
    /// A source fails.
    Failed(usize),
    /// One of the chunks that came is wrong, counted in some order.
    Lost(usize),
    /// Time passes.
    Passed(u64),
}

fn event(sources: usize) -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..sources, 1..400_u64).prop_map(|(source, chunks)| Event::Came(source, chunks)),
        1 => (0..sources).prop_map(Event::Failed),
        1 => any::<usize>().prop_map(Event::Lost),
        2 => (1..3_000_u64).prop_map(Event::Passed),
    ]
}

/// The parts, and what is here.
struct World {
    parts: Parts,
    count: u64,
    here: BTreeSet<u64>,
    front: u64,
    failed: BTreeSet<usize>,
    now_ms: u64,
}

impl World {
    fn came(&mut self, source: usize, chunks: u64) {
        for _ in 0..chunks {
            let Some(number) = self.parts.next_of(source) else { break };
            self.now_ms += 1;
            self.parts.came(source, self.now_ms);
            assert!(self.here.insert(number), "chunk {number} came twice");
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Came(source, chunks) => self.came(source, chunks),
            Event::Failed(source) => {
                self.parts.fail(source);
                self.failed.insert(source);
            }
            Event::Lost(which) => {
                // What is before the front was proven.
                let ahead: Vec<u64> = self.here.range(self.front..).copied().collect();
                if !ahead.is_empty() {
                    let number = ahead[which % ahead.len()];
                    self.here.remove(&number);
                    self.parts.lose(number);
                }
            }
            Event::Passed(ms) => self.now_ms += ms,
        }
        while self.here.contains(&self.front) {
            self.front += 1;
        }
        self.parts.advance(self.front);
        self.schedule();
    }

    fn schedule(&mut self) {
        for _ in 0..100 {
            let Some(step) = self.parts.step(self.now_ms) else { return self.check() };
            if let Step::Ask { source, from, to } = step {
                assert!(from < to && !self.failed.contains(&source));
                assert!(to <= self.front + WINDOW_CHUNKS + STEAL_CHUNKS_MIN, "{step:?} is beyond the window");
            }
        }
        panic!("it never rests");
    }

    /// Each chunk is in one place.
    fn check(&self) {
        let mut places = vec![0; usize::try_from(self.count).unwrap()];
        let ranges = self.parts.gaps.iter().map(|(start, end)| (*start, *end));
        for (start, end) in ranges.chain(self.parts.parts.values().map(|part| (part.next, part.end))) {
            assert!(start < end, "nothing is empty");
            (start..end).for_each(|number| places[usize::try_from(number).unwrap()] += 1);
        }
        self.here.iter().for_each(|number| places[usize::try_from(*number).unwrap()] += 1);
        assert!(places.iter().all(|count| *count == 1));
        assert!(self.parts.parts.len() + self.parts.idle.len() <= self.parts.at_once);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_chunk_is_lost_and_the_work_ends(
        count in 1..5_000_u64,
        done in 0..100_u64,
        sources in 1..6_usize,
        at_once in 1..4_usize,
        events in proptest::collection::vec(event(6), 0..60),
    ) {
        let done = done.min(count);
        let parts = Parts::new(done, count, sources, at_once);
        let mut world =
            World { parts, count, here: (0..done).collect(), front: done, failed: BTreeSet::new(), now_ms: 0 };
        world.schedule();
        for event in events {
            // One stays, as otherwise the work cannot end.
            let is_honest = |source| source == sources - 1;
            if !matches!(event, Event::Failed(source) if is_honest(source)) {
                world.happen(event);
            }
        }
        // From now on whoever has a part sends some of it, in turn. Each round brings some chunks of somebody, so that is the bound.
        for _ in 0..=count {
            if world.front == count {
                break;
            }
            let busy: Vec<usize> = world.parts.parts.keys().copied().collect();
            for source in busy {
                world.happen(Event::Came(source, 1 + 60 * source as u64));
            }
        }
        prop_assert_eq!(world.front, count);
        prop_assert_eq!(world.parts.step(world.now_ms), None);
    }
}
