//! A good neighbour: what a node spares for proving follows from what else goes on on its machine. Serves step III. The daemon looks every few
//! seconds and says what it has seen; what follows is said here.

use core::fmt;
use core::str::FromStr;

use manyhands_proto::Po2;
use serde::{Deserialize, Serialize};

use crate::job::step3_dispatch::RECURSION_MEMORY_BYTES;
use crate::prover::Means;

/// Looks in a row, two seconds apart, that must allow more before more is taken up: a machine that is quiet for a moment is not idle.
const CALM_LOOKS: u32 = 5;

/// Percentage points by which a limit on others' load or pressure must be undercut before work goes on: what made the node rest also made
/// room.
const SLACK_PERCENT: u8 = 5;

/// What else goes on on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Memory that could be had without swapping, in bytes.
    pub available_bytes: u64,
    /// Memory that this node's workers hold, in bytes.
    pub own_bytes: u64,
    /// Share of the processors that others used since the last look, in percent; the lowest priority, which workers have, does not count.
    pub busy_percent: Option<u8>,
    /// Share of the last ten seconds in which something waited for memory or for the disk, whichever is more, in percent.
    pub pressure_percent: Option<u8>,
    /// Whether it runs on its battery.
    pub is_on_battery: bool,
    /// Minutes since midnight, local time.
    pub minute: u16,
}

/// What the owner asks of a node: the configuration's `node` part, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manners {
    /// Memory that is left to others, in bytes.
    pub keep_free_bytes: u64,
    /// Rest while others use more of the processors.
    pub busy_percent_max: Option<u8>,
    /// Rest above this pressure.
    pub pressure_percent_max: Option<u8>,
    /// Whether to work on the battery.
    pub on_battery: bool,
    /// When to work; empty means always.
    pub hours: Hours,
}

/// Spans of the day: `22:00-07:00, 12:30-13:30`, local time. None at all means the whole day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours(Vec<(u16, u16)>);

impl Hours {
    fn contain(&self, minute: u16) -> bool {
        let is_in = |(from, to): &(u16, u16)| {
            if from <= to { (*from..*to).contains(&minute) } else { minute >= *from || minute < *to }
        };
        self.0.is_empty() || self.0.iter().any(is_in)
    }

    /// Whether they are the whole day.
    pub fn is_always(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |part: &str| format!("{part:?} is no span of the day: write 22:00-07:00, several with commas");
        let minute = |time: &str| {
            let (hour, minute) = time.trim().split_once(':')?;
            let number =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok())?;
            let (hour, minute) = (number(hour)?, number(minute)?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let span = |part: &str| {
            let (from, to) = part.split_once('-').ok_or_else(|| wrong(part))?;
            let span = minute(from).zip(minute(to)).filter(|(from, to)| from != to);
            span.ok_or_else(|| wrong(part))
        };
        text.split(',')
            .filter(|part| !part.trim().is_empty())
            .map(|part| span(part.trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (from, to)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        hours.to_string()
    }
}

/// What follows, and why, for people, if it is not all that the owner allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What is spared.
    pub means: Means,
    /// Why it is not all.
    pub why: Option<String>,
}

/// Judges look by look. What disturbs is heeded at once, that it is over only after a while.
#[derive(Debug)]
pub struct Neighbour {
    manners: Manners,
    /// Memory of one slot at most, in bytes.
    slot_bytes: u64,
    slots: u8,
    now: Judgement,
    /// Looks in a row that would allow more than `now`.
    calm: u32,
}

impl Neighbour {
    /// One that has not looked yet, and allows `slots` with `slot_bytes` each.
    pub fn new(manners: Manners, slot_bytes: u64, slots: u8) -> Self {
        let now = Judgement { means: Means::Work { memory_bytes: slot_bytes }, why: None };
        Self { manners, slot_bytes, slots: slots.max(1), now, calm: 0 }
    }

    /// Takes a look into account. Tells what has changed.
    pub fn judge(&mut self, seen: &Seen) -> Option<Judgement> {
        let is_resting = matches!(self.now.means, Means::Rest | Means::Yield);
        let judged = self.judged(seen, is_resting);
        let is_more = rank(judged.means) > rank(self.now.means);
        self.calm = if is_more { self.calm.saturating_add(1) } else { 0 };
        if judged.means == self.now.means || (is_more && self.calm < CALM_LOOKS) {
            return None;
        }
        self.calm = 0;
        self.now = judged;
        Some(self.now.clone())
    }

    fn judged(&self, seen: &Seen, is_resting: bool) -> Judgement {
        let rest = |means, why| Judgement { means, why: Some(why) };
        if seen.own_bytes > 0 && seen.available_bytes < self.manners.keep_free_bytes / 2 {
            let why = format!("other programs need the memory: {} MB of it are left", seen.available_bytes / 1_000_000);
            return rest(Means::Yield, why);
        }
        if let Some(why) = self.why_rest(seen, is_resting) {
            return rest(Means::Rest, why);
        }
        let ours = seen.available_bytes.saturating_add(seen.own_bytes).saturating_sub(self.manners.keep_free_bytes);
        let slot_bytes = class(ours / u64::from(self.slots), self.slot_bytes);
        if slot_bytes == 0 {
            let (left, kept) = (seen.available_bytes / 1_000_000, self.manners.keep_free_bytes / 1_000_000);
            let why =
                format!("{left} MB of memory are free, of which {kept} are left to others: too little for any segment");
            return rest(Means::Rest, why);
        }
        let means = Means::Work { memory_bytes: slot_bytes };
        let why = (slot_bytes < self.slot_bytes)
            .then(|| format!("{} MB for each slot: other programs have the rest", slot_bytes / 1_000_000));
        Judgement { means, why }
    }

    fn why_rest(&self, seen: &Seen, is_resting: bool) -> Option<String> {
        let manners = &self.manners;
        if !manners.hours.contain(seen.minute) {
            return Some(format!("it works {} only", manners.hours));
        }
        if seen.is_on_battery && !manners.on_battery {
            return Some("the machine runs on its battery".to_owned());
        }
        let slack = if is_resting { SLACK_PERCENT } else { 0 };
        let above = |percent: Option<u8>, max: Option<u8>| {
            percent.zip(max).filter(|(percent, max)| *percent > max.saturating_sub(slack)).map(|(percent, _)| percent)
        };
        if let Some(percent) = above(seen.busy_percent, manners.busy_percent_max) {
            return Some(format!("other programs use {percent}% of the processors"));
        }
        above(seen.pressure_percent, manners.pressure_percent_max)
            .map(|percent| format!("programs waited for memory or the disk during {percent}% of the last seconds"))
    }
}

/// The more is allowed the higher.
const fn rank(means: Means) -> u64 {
    match means {
        Means::Yield => 0,
        Means::Rest => 1,
        Means::Work { memory_bytes } => memory_bytes.saturating_add(1),
    }
}

/// The largest amount up to `bytes` that makes a difference to what a slot can do: a size of segment, or lifts and joins. Zero if it is too
/// little for any.
fn class(bytes: u64, slot_bytes: u64) -> u64 {
    if bytes >= slot_bytes {
        return slot_bytes;
    }
    let segment = Po2::largest_for(bytes).map_or(0, Po2::memory_bytes);
    let recursion = if bytes >= RECURSION_MEMORY_BYTES && slot_bytes >= RECURSION_MEMORY_BYTES {
        RECURSION_MEMORY_BYTES
    } else {
        0
    };
    segment.max(recursion)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn manners() -> Manners {
        Manners {
            keep_free_bytes: 500 * MB,
            busy_percent_max: None,
            pressure_percent_max: None,
            on_battery: false,
            hours: Hours::default(),
        }
    }

    fn quiet() -> Seen {
        Seen {
            available_bytes: 8_000 * MB,
            own_bytes: 0,
            busy_percent: Some(0),
            pressure_percent: Some(0),
            is_on_battery: false,
            minute: 0,
        }
    }

    fn work(memory_bytes: u64) -> Means {
        Means::Work { memory_bytes }
    }

    fn po2(number: u8) -> u64 {
        Po2::try_from(number).unwrap().memory_bytes()
    }

    /// What the last of so many looks alike tells.
    fn after(neighbour: &mut Neighbour, looks: u32, seen: &Seen) -> Option<Judgement> {
        let told: Vec<_> = (0..looks).filter_map(|_| neighbour.judge(seen)).collect();
        assert!(told.len() <= 1, "told once: {told:?}");
        told.into_iter().next()
    }

    #[test]
    fn memory_is_given_away_at_once_and_taken_back_after_a_while() {
        let mut neighbour = Neighbour::new(manners(), 2_000 * MB, 1);
        assert_eq!(after(&mut neighbour, 9, &quiet()), None, "as it was");
        let less = Seen { available_bytes: 500 * MB + po2(16), ..quiet() };
        let told = after(&mut neighbour, 3, &less).unwrap();
        assert_eq!(told.means, work(po2(16)));
        assert!(told.why.unwrap().contains("MB for each slot"));
        assert_eq!(after(&mut neighbour, CALM_LOOKS - 1, &quiet()), None);
        assert_eq!(after(&mut neighbour, 1, &less), None, "it was only a moment");
        assert_eq!(after(&mut neighbour, CALM_LOOKS - 1, &quiet()), None);
        assert_eq!(after(&mut neighbour, 1, &quiet()), Some(Judgement { means: work(2_000 * MB), why: None }));
    }

    #[test]
    fn what_its_own_workers_hold_is_not_lost_to_others() {
        let mut neighbour = Neighbour::new(manners(), 2_000 * MB, 1);
        let working = Seen { available_bytes: 900 * MB, own_bytes: 1_600 * MB, ..quiet() };
        assert_eq!(after(&mut neighbour, 9, &working), None);
    }

    #[test]
    fn slots_share_what_there_is_and_lifts_are_a_class_of_their_own() {
        let mut neighbour = Neighbour::new(manners(), 4_000 * MB, 2);
        let seen = |ours: u64| Seen { available_bytes: 500 * MB + ours, ..quiet() };
        assert_eq!(neighbour.judge(&seen(2 * RECURSION_MEMORY_BYTES)).unwrap().means, work(RECURSION_MEMORY_BYTES));
        assert_eq!(neighbour.judge(&seen(2 * RECURSION_MEMORY_BYTES - 2)).unwrap().means, work(po2(17)));
        assert_eq!(neighbour.judge(&seen(2 * po2(14))).unwrap().means, work(po2(14)));
        let told = neighbour.judge(&seen(2 * po2(14) - 2)).unwrap();
        assert_eq!(told.means, Means::Rest);
        assert!(told.why.unwrap().contains("too little for any segment"));
    }

    #[test]
    fn a_machine_that_runs_out_of_memory_gets_it_back() {
        let mut neighbour = Neighbour::new(manners(), 2_000 * MB, 1);
        let short = Seen { available_bytes: 249 * MB, own_bytes: 1_500 * MB, ..quiet() };
        assert_eq!(after(&mut neighbour, 2, &short).unwrap().means, Means::Yield);
        // Then the memory is there again, and the node waits before it takes it.
        assert_eq!(after(&mut neighbour, CALM_LOOKS - 1, &quiet()), None);
        assert_eq!(after(&mut neighbour, 1, &quiet()).unwrap().means, work(2_000 * MB));
        // Without a worker there is nothing to give.
        let idle = Seen { own_bytes: 0, ..short };
        assert_eq!(after(&mut neighbour, 2, &idle).unwrap().means, Means::Rest);
    }

    #[test]
    fn the_owners_limits_make_it_rest_with_the_reason() {
        let limits = Manners { busy_percent_max: Some(50), pressure_percent_max: Some(10), ..manners() };
        for (seen, why) in [
            (Seen { busy_percent: Some(51), ..quiet() }, "51% of the processors"),
            (Seen { pressure_percent: Some(11), ..quiet() }, "during 11%"),
            (Seen { is_on_battery: true, ..quiet() }, "battery"),
        ] {
            let mut neighbour = Neighbour::new(limits.clone(), 2_000 * MB, 1);
            let told = after(&mut neighbour, 3, &seen).unwrap();
            assert_eq!(told.means, Means::Rest);
            assert!(told.why.as_ref().unwrap().contains(why), "{told:?}");
        }
        // Nobody asked for it.
        let mut neighbour = Neighbour::new(Manners { on_battery: true, ..manners() }, 2_000 * MB, 1);
        let loud = Seen { busy_percent: Some(100), pressure_percent: Some(100), is_on_battery: true, ..quiet() };
        assert_eq!(after(&mut neighbour, 9, &loud), None);
    }

    #[test]
    fn a_load_at_the_limit_does_not_make_it_go_back_and_forth() {
        let mut neighbour = Neighbour::new(Manners { busy_percent_max: Some(50), ..manners() }, 2_000 * MB, 1);
        let busy = |percent| Seen { busy_percent: Some(percent), ..quiet() };
        assert_eq!(after(&mut neighbour, 9, &busy(50)), None);
        assert_eq!(after(&mut neighbour, 1, &busy(51)).unwrap().means, Means::Rest);
        assert_eq!(after(&mut neighbour, 99, &busy(46)), None);
        assert_eq!(after(&mut neighbour, CALM_LOOKS, &busy(45)).unwrap().means, work(2_000 * MB));
        // What could not be read is no reason.
        assert_eq!(after(&mut neighbour, 9, &Seen { busy_percent: None, pressure_percent: None, ..quiet() }), None);
    }

    #[test]
    fn hours_are_read_and_kept() {
        let hours: Hours = "22:00-07:00,12:30-13:30".parse().unwrap();
        assert_eq!(hours.to_string(), "22:00-07:00, 12:30-13:30");
        assert_eq!(hours.to_string().parse::<Hours>().unwrap(), hours);
        for (hour, minute, is_in) in [
            (21, 59, false),
            (22, 0, true),
            (23, 59, true),
            (0, 0, true),
            (6, 59, true),
            (7, 0, false),
            (12, 29, false),
            (12, 30, true),
            (13, 30, false),
        ] {
            assert_eq!(hours.contain(hour * 60 + minute), is_in, "{hour}:{minute}");
        }
        assert!(Hours::default().contain(0) && "".parse::<Hours>().unwrap().is_always());
        for wrong in [
            "22-7",
            "24:00-01:00",
            "10:60-11:00",
            "10:00",
            "10:00-10:00",
            "-",
            "+1:00-02:00",
            "1:00–2:00",
            "10:00-11:00-12:00",
        ] {
            assert!(wrong.parse::<Hours>().unwrap_err().contains("no span of the day"), "{wrong}");
        }
        let mut neighbour = Neighbour::new(Manners { hours, ..manners() }, 2_000 * MB, 1);
        let told = after(&mut neighbour, 2, &Seen { minute: 8 * 60, ..quiet() }).unwrap();
        assert_eq!(
            told,
            Judgement { means: Means::Rest, why: Some("it works 22:00-07:00, 12:30-13:30 only".to_owned()) }
        );
    }
}
