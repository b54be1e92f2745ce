//! Slows workers down, as an owner who needs the machine does: their processes are stopped most of the time.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::daemon::child_of;

/// One turn of stopping and going on.
const TURN: Duration = Duration::from_millis(1_000);

/// Keeps the workers of some nodes slow until it is dropped.
pub struct Throttle {
    is_over: Arc<AtomicBool>,
    turning: Option<JoinHandle<()>>,
}

impl Throttle {
    /// Lets the workers of the node processes `nodes` run for `percent` of the time.
    pub fn of(nodes: Vec<u32>, percent: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let runs = TURN * percent.min(100) / 100;
        let turning = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                signal(&nodes, "-STOP");
                std::thread::sleep(TURN.saturating_sub(runs));
                signal(&nodes, "-CONT");
                std::thread::sleep(runs);
            }
        });
        Self { is_over, turning: Some(turning) }
    }
}

impl Drop for Throttle {
    /// The last turn ends with every worker running, so that none is left behind stopped.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(turning) = self.turning.take() {
            let _ = turning.join();
        }
    }
}

/// A worker may come or go at any time, so nothing is made of a signal that does not arrive.
fn signal(nodes: &[u32], which: &str) {
    for worker in nodes.iter().filter_map(|node| child_of(*node)) {
        let _ = Command::new("kill").args([which, &worker.to_string()]).status();
    }
}
