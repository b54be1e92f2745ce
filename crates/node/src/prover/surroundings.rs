//! Looks at what else goes on on the machine: memory, processors, pressure, battery, the time of day. [`manyhands_core::neighbour`] says what
//! follows.
//!
//! What a kernel does not tell counts as quiet; only memory is always told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Zoned;
use manyhands_core::neighbour::{Judgement, Neighbour, Seen};
use manyhands_core::prover::{Input, Means};
use tokio::sync::mpsc;

use super::tasks::Feedback;
use crate::machine::{self, kilobytes, read};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);

/// The process ids of this node's workers, also of those that have ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workers(Arc<Mutex<BTreeSet<u32>>>);

impl Workers {
    /// Takes note of one that was started.
    pub(crate) fn add(&self, process_id: Option<u32>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(process_id);
    }

    /// What they hold, in bytes; those that are gone are forgotten.
    fn resident_bytes(&self, root: &Path) -> u64 {
        let mut workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of: Vec<(u32, Option<u64>)> = workers.iter().map(|id| (*id, resident_bytes(root, *id))).collect();
        workers.retain(|id| of.iter().any(|(known, bytes)| known == id && bytes.is_some()));
        of.into_iter().filter_map(|(_, bytes)| bytes).fold(0, u64::saturating_add)
    }
}

/// The machine as its kernel shows it.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// `/`, but in tests.
    root: PathBuf,
    workers: Workers,
    /// Processor time of others, and all there was, at the last look.
    last: Option<(u64, u64)>,
}

impl Surroundings {
    pub(crate) fn new(workers: Workers) -> Self {
        Self { root: PathBuf::from("/"), workers, last: None }
    }

    /// What there is to be seen now.
    fn look(&mut self, minute: u16) -> Seen {
        let root = &self.root;
        let available_bytes = machine::free_bytes_at(root).unwrap_or_else(machine::memory_bytes);
        let times = processor_times(&read(root, "proc/stat"));
        let busy_percent = self.last.zip(times).and_then(|((busy_before, all_before), (busy, all))| {
            let (busy, all) = (busy.saturating_sub(busy_before), all.saturating_sub(all_before));
            u8::try_from((busy.saturating_mul(100)).checked_div(all)?.min(100)).ok()
        });
        self.last = times.or(self.last);
        let pressure = |of: &str| pressure_percent(&read(&self.root, &format!("proc/pressure/{of}")));
        Seen {
            available_bytes,
            own_bytes: self.workers.resident_bytes(&self.root),
            busy_percent,
            pressure_percent: pressure("memory").into_iter().chain(pressure("io")).max(),
            is_on_battery: is_on_battery(&self.root.join("sys/class/power_supply")),
            minute,
        }
    }

    /// Looks until the loop has ended, and tells it what changes.
    pub(crate) async fn watch(mut self, mut neighbour: Neighbour, feedback: mpsc::Sender<Feedback>) {
        while !feedback.is_closed() {
            if let Some(judgement) = neighbour.judge(&self.look(minute_now())) {
                say(&judgement);
                let _ = feedback.send(Feedback::Core(Input::Means(judgement.means))).await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn say(Judgement { means, why }: &Judgement) {
    let why = why.as_deref().unwrap_or_default();
    match means {
        Means::Work { .. } if why.is_empty() => tracing::info!("this node takes all the work that its owner allows"),
        Means::Work { .. } => tracing::info!("this node takes less work: {why}"),
        Means::Rest => tracing::info!("this node takes no more work: {why}"),
        Means::Yield => tracing::warn!("this node gives its work back: {why}"),
    }
}

fn minute_now() -> u16 {
    let now = Zoned::now();
    let of = |part: i8| u16::from(part.unsigned_abs());
    of(now.hour()) * 60 + of(now.minute())
}

/// Processor time of all but the lowest priority, and all there was, in the kernel's ticks. See proc(5): user, nice, system, idle, iowait,
/// irq, softirq, steal.
fn processor_times(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<u64> = line.split_whitespace().take(8).map(|time| time.parse().ok()).collect::<Option<_>>()?;
    let [user, nice, system, idle, iowait, irq, softirq, steal] = times.try_into().ok()?;
    let busy = [user, system, irq, softirq, steal].into_iter().fold(0, u64::saturating_add);
    Some((busy, [nice, idle, iowait].into_iter().fold(busy, u64::saturating_add)))
}

/// The share of the last ten seconds in which some task waited, in percent, rounded up.
fn pressure_percent(text: &str) -> Option<u8> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let average: f64 = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    (0.0..=100.0).contains(&average).then(|| average.ceil() as u8)
}

/// Whether a battery is being emptied and no mains are there. Batteries of mice and the like say that they are a device's.
fn is_on_battery(supplies: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(supplies) else { return false };
    let supplies: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let says = |supply: &Path, name: &str, word: &str| read(supply, name).trim() == word;
    let has_mains = supplies.iter().any(|supply| !says(supply, "type", "Battery") && says(supply, "online", "1"));
    let is_emptied = |supply: &&PathBuf| {
        says(supply, "type", "Battery") && !says(supply, "scope", "Device") && says(supply, "status", "Discharging")
    };
    !has_mains && supplies.iter().any(|supply| is_emptied(&supply))
}

/// What a child of this process holds, in bytes; nothing if there is none of that id, or it is somebody else's by now.
fn resident_bytes(root: &Path, id: u32) -> Option<u64> {
    let status = read(root, &format!("proc/{id}/status"));
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse::<u32>().ok()?;
    (parent == std::process::id()).then_some(())?;
    kilobytes(&status, "VmRSS")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine made of files.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn with(self, name: &str, text: &str) -> Self {
            let path = self.0.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            self
        }

        fn surroundings(&self) -> Surroundings {
            Surroundings { root: self.0.path().to_owned(), ..Surroundings::new(Workers::default()) }
        }
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let mut surroundings = Surroundings::new(Workers::default());
        let seen = surroundings.look(minute_now());
        assert!(seen.available_bytes > 1 << 20 && seen.available_bytes <= machine::memory_bytes(), "{seen:?}");
        assert!(seen.minute < 24 * 60);
        assert_eq!((seen.own_bytes, seen.busy_percent), (0, None), "there was no look before");
    }

    #[test]
    fn the_lowest_priority_is_nobody() {
        let mut surroundings = Machine::new().surroundings();
        let machine = Machine::new().with("proc/stat", "cpu  100 0 50 800 0 0 0 0 0 0\ncpu0 1 2 3\n");
        surroundings.root = machine.0.path().to_owned();
        assert_eq!(surroundings.look(0).busy_percent, None);
        let machine = machine.with("proc/stat", "cpu  120 500 55 1270 5 0 0 0 9 9\n");
        assert_eq!(surroundings.look(0).busy_percent, Some(2), "25 of 1000");
        assert_eq!(surroundings.look(0).busy_percent, None, "no time has passed");
        let _machine = machine.with("proc/stat", "cpu  nonsense\n");
        assert_eq!(surroundings.look(0).busy_percent, None);
    }

    #[test]
    fn pressure_is_the_worse_of_two() {
        let line = |average: &str| {
            format!("some avg10={average} avg60=0.00 avg300=0.00 total=1\nfull avg10=99.00 avg60=0.00\n")
        };
        let machine =
            Machine::new().with("proc/pressure/memory", &line("0.10")).with("proc/pressure/io", &line("12.00"));
        assert_eq!(machine.surroundings().look(0).pressure_percent, Some(12));
        let machine = machine.with("proc/pressure/io", "");
        assert_eq!(machine.surroundings().look(0).pressure_percent, Some(1));
        let machine = machine.with("proc/pressure/memory", &line("NaN"));
        assert_eq!(machine.surroundings().look(0).pressure_percent, None);
    }

    #[test]
    fn a_battery_counts_while_it_is_emptied() {
        let machine = Machine::new();
        assert!(!machine.surroundings().look(0).is_on_battery);
        let supply = |name: &str| format!("sys/class/power_supply/{name}");
        let machine = machine
            .with(&supply("mouse/type"), "Battery\n")
            .with(&supply("mouse/scope"), "Device\n")
            .with(&supply("mouse/status"), "Discharging\n")
            .with(&supply("BAT0/type"), "Battery\n")
            .with(&supply("BAT0/status"), "Charging\n");
        assert!(!machine.surroundings().look(0).is_on_battery);
        let machine = machine.with(&supply("BAT0/status"), "Discharging\n").with(&supply("AC/type"), "Mains\n");
        assert!(machine.with(&supply("AC/online"), "0\n").surroundings().look(0).is_on_battery);
    }

    #[test]
    fn mains_come_before_a_battery_that_says_otherwise() {
        let machine = Machine::new()
            .with("sys/class/power_supply/BAT0/type", "Battery\n")
            .with("sys/class/power_supply/BAT0/status", "Discharging\n")
            .with("sys/class/power_supply/AC/type", "Mains\n")
            .with("sys/class/power_supply/AC/online", "1\n");
        assert!(!machine.surroundings().look(0).is_on_battery);
    }

    #[test]
    fn only_children_count_as_workers() {
        let status = |parent: u32| format!("Name: w\nPPid:\t{parent}\nVmRSS:\t  2000 kB\n");
        let machine = Machine::new()
            .with("proc/11/status", &status(std::process::id()))
            .with("proc/12/status", &status(std::process::id() + 1));
        let mut surroundings = machine.surroundings();
        [Some(11), Some(12), Some(13), None].into_iter().for_each(|id| surroundings.workers.add(id));
        assert_eq!(surroundings.look(0).own_bytes, 2_048_000);
        assert_eq!(surroundings.workers.0.lock().unwrap().len(), 1, "the others are forgotten");
    }
}
