//! What a job's leases came to: how many there were, and how much of them was for nothing.

use serde::{Deserialize, Serialize};

/// Leases of a job so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// All of them.
    pub leases: u32,
    /// Those of a unit that another node worked on already.
    pub copies: u32,
    /// Those that brought nothing that was used: given back, lost, refused, overtaken.
    pub wasted_leases: u32,
    /// Milliseconds that these were held, which is the most that they can have cost.
    pub wasted_ms: u64,
}

impl Tally {
    pub(crate) const fn granted(&mut self, is_copy: bool) {
        self.leases = self.leases.saturating_add(1);
        self.copies = self.copies.saturating_add(is_copy as u32);
    }

    pub(crate) const fn wasted(&mut self, held_ms: u64) {
        self.wasted_leases = self.wasted_leases.saturating_add(1);
        self.wasted_ms = self.wasted_ms.saturating_add(held_ms);
    }
}
