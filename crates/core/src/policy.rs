//! Every constant of the scheduling rules, each with its reason; and the policies of others, to be measured against in the same world.

use manyhands_proto::Po2;
use manyhands_proto::limits::KECCAK_WEIGHT;
use manyhands_proto::unit::UnitKind;

/// Which of the waiting nodes a unit goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    /// The one that is predicted to be done first.
    Fastest,
    /// The one that came first, whatever its speed: what a queue does.
    Arrival,
}

/// The rules' constants. The daemon uses [`Policy::default`]; tests and the simulator vary them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// A bid is held this long before the node is told to ask again. Under half of the control protocol's 60 s time-out, so that a held
    /// bid never looks like a lost one.
    pub bid_hold_ms: u64,
    /// Bids held at once. A bid is some 200 bytes; 20,000 nodes are more than the paper's network.
    pub bids_held_max: usize,
    /// When a node that got no work asks again. Short, because a job notice wakes it anyway and this only mends lost notices.
    pub retry_ms: u64,
    /// How often a leased unit is confirmed. A gateway of ten thousand leases takes a thousand such messages a second.
    pub heartbeat_ms: u64,
    /// Silence after which a lease counts as lost: three heartbeats, the 30 s that SP1's cluster found safe. A connection that breaks is seen at once.
    pub silence_ms: u64,
    /// A lease's deadline is its prediction times this, in percent. A weak machine's owner may use it: three times the usual was
    /// the upper end that BOINC hosts show.
    pub deadline_percent: u64,
    /// Added to each deadline for fetching inputs and handing over the receipt.
    pub transfer_ms: u64,
    /// A lift's or join's time in percent of a 2^16 proof on the same machine: 56 s against 28 s to 34 s (own measurement).
    pub recursion_percent: u64,
    /// First block of a node that sent what no honest node sends; doubles with each offence.
    pub block_ms: u64,
    /// The longest block. A day: machines are reinstalled and bugs are mended.
    pub block_ms_max: u64,
    /// An offence this long after the last block's end counts as the first. A week: by then somebody has
    /// looked at the machine.
    pub forgive_ms: u64,
    /// For how long a benchmark score counts: two hours (paper, section 6). Zero where scores play no part: nobody is a stranger then.
    pub score_ms: u64,
    /// A node that waited for work this long in vain, and has no score that lasts, is given a challenge; one that has failed a lease after
    /// `score_renew_ms`. Zero never. A minute: in a network with jobs there is work before that, and a job that begins meanwhile is better served
    /// by a node that is not busy with a challenge.
    pub challenge_after_ms: u64,
    /// A score is renewed when it counts no longer than this. A quarter of an hour: a proof at the largest size of a weak machine takes ten minutes.
    pub score_renew_ms: u64,
    /// Pause for a node that let a lease go silent or pass its deadline while connected: it may only be overloaded.
    pub pause_ms: u64,
    /// First rest of a node whose worker failed or that could not fetch; doubles with each such lease in a row, up to `pause_ms`. Without
    /// it a node that fails at once would take every unit again and again, and end jobs that others can do.
    pub rest_ms: u64,
    /// A node's own word on its speed counts up to this many percent of an unmeasured machine's time. A board computer is some ten times
    /// slower; a stated year would only make a lease that never ends.
    pub stated_percent_max: u64,
    /// How often one lease's receipt is fetched in vain before the node is told to drop it: with the node's pauses that is about three
    /// minutes, and a fetch that always breaks off must not be repeated for ever.
    pub fetches_max: u32,
    /// Worker failures of one unit, by different nodes, after which the unit itself is held to be impossible and its job fails.
    pub unit_failures_max: usize,
    /// How often an open job with leasable units is announced again: nodes join at any time.
    pub announce_ms: u64,
    /// Attempts of one unit that are remembered, so that a late valid proof is still known. Older ones are forgotten.
    pub attempts_remembered: usize,
    /// Nodes remembered. Each is a few hundred bytes; beyond it the ones not heard of for longest are forgotten.
    pub peers_max: usize,
    /// Which of the waiting nodes a unit goes to.
    pub ranking: Ranking,
    /// A node is used only if it is predicted to finish within this many percent of the time in which the fleet could do everything that
    /// waits; else the unit waits for a faster node. Zero uses every node. The margin covers what the prediction does not know.
    pub gate_percent: u64,
    /// Valid results in a row after which a node is no newcomer. BOINC waits for ten, but its results take a quorum to check and ours
    /// milliseconds.
    pub trusted_after: u32,
    /// Leases that a newcomer may hold at once, whatever its slots; each valid result allows one more.
    pub newcomer_slots: usize,
    /// Leases, and bids that wait for one, of the newcomers and strangers of one public address range, to begin with: as many as a small
    /// office may have machines. Zero sets no bound.
    pub range_slots: usize,
    /// A lease is late, and its unit gets a copy, at this many percent of its prediction. Zero never copies. Nearly deterministic
    /// times (a spread of 15%) make the 95th percentile 1.25 times the median, where hedging pays most (Dean and Barroso, 2013).
    pub hedge_percent: u64,
    /// Added to the time after which a lease is late: fetching and handing over are in no prediction until they were seen.
    pub hedge_ms: u64,
    /// Leases that a unit gets at once from the start. One: a receipt needs no quorum.
    pub copies_first: usize,
    /// Live leases of one unit. With four that are all late it is not the nodes that are at fault.
    pub copies_max: usize,
    /// Copies under way in percent of all leases under way: what hedging may cost while real work waits. It keeps an overload, which
    /// makes every lease late, from feeding itself.
    pub copies_percent: usize,
    /// Copies of late leases that are allowed beyond that, in percent of the waiting nodes for which there is nothing else.
    pub spare_percent: usize,
    /// Copies that are always allowed, so that small fleets can hedge at all.
    pub copies_min: usize,
    /// When nothing waits, a lease gets a copy if a free node is predicted to save this many percent of its remaining time. Zero never.
    pub late_gain_percent: u64,
    /// How long a lift or join waits for the bid of the node that made its input, which then need not fetch it. One round trip.
    pub near_wait_ms: u64,
    /// Nodes that a lease names as holders of its inputs, beside the gateway. Two: a join has two inputs, and a node that cannot be reached
    /// costs the next one seconds. At most one below the wire's bound of four.
    pub holders_named: usize,
    /// What not having to fetch is worth: a receipt of 250 kB over a home line.
    pub near_gain_ms: u64,
    /// What the gateway's line carries outwards, in bytes a second, for the choice of a segment size: 100 Mbit/s, a fibre line's uplink. At a
    /// tenth of that, the blobs of a job of 168 segments of 2^19 take 36 s, a fraction of their proofs.
    pub line_bytes_per_s: u64,
    /// How often the fleet's capacity is reckoned anew, at most and at least, while units wait: walking through all nodes costs milliseconds.
    pub plan_ms_min: u64,
    /// See `plan_ms_min`.
    pub plan_ms_max: u64,
    /// A node that was not heard of for this long is not counted as capacity: it works for another gateway, or is about to be lost.
    pub present_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            bid_hold_ms: 20_000,
            bids_held_max: 20_000,
            retry_ms: 10_000,
            heartbeat_ms: 10_000,
            silence_ms: 30_000,
            deadline_percent: 300,
            transfer_ms: 30_000,
            recursion_percent: 200,
            block_ms: 10 * 60_000,
            block_ms_max: 24 * 3_600_000,
            forgive_ms: 7 * 24 * 3_600_000,
            score_ms: manyhands_proto::limits::EPOCH_S * 1000,
            challenge_after_ms: 60_000,
            score_renew_ms: 15 * 60_000,
            pause_ms: 60_000,
            rest_ms: 5_000,
            stated_percent_max: 1_000,
            fetches_max: 10,
            unit_failures_max: 3,
            announce_ms: 10_000,
            attempts_remembered: 64,
            peers_max: 50_000,
            ranking: Ranking::Fastest,
            gate_percent: 125,
            trusted_after: 3,
            newcomer_slots: 2,
            range_slots: 8,
            hedge_percent: 130,
            hedge_ms: 8_000,
            copies_first: 1,
            copies_max: 4,
            copies_percent: 15,
            spare_percent: 25,
            copies_min: 2,
            late_gain_percent: 30,
            near_wait_ms: 500,
            holders_named: 2,
            near_gain_ms: 3_000,
            line_bytes_per_s: 12_500_000,
            plan_ms_min: 5_000,
            plan_ms_max: 10_000,
            present_ms: 60_000,
        }
    }
}

impl Policy {
    /// The paper's: `copies` leases of every unit from the start, to whoever asks first, no deadline, no hedging. A unit is leased again
    /// only when all of its leases are lost. Losers are cancelled; the simulator can let them run on, as the paper does.
    pub fn fixed_copies(copies: usize) -> Self {
        Self {
            ranking: Ranking::Arrival,
            gate_percent: 0,
            hedge_percent: 0,
            copies_first: copies,
            copies_max: copies,
            copies_percent: 100 * copies,
            late_gain_percent: 0,
            near_wait_ms: 0,
            score_ms: 0,
            range_slots: 0,
            deadline_percent: 1_000_000,
            ..Self::default()
        }
    }

    /// The same with the fastest nodes first, as verified benchmarks would allow.
    pub fn fixed_copies_ranked(copies: usize) -> Self {
        Self { ranking: Ranking::Fastest, ..Self::fixed_copies(copies) }
    }

    /// What prover clusters do: one lease of each unit to whoever asks first, and after `timeout_ms` another.
    pub fn requeue(timeout_ms: u64) -> Self {
        Self { deadline_percent: 0, transfer_ms: timeout_ms, copies_first: 1, copies_max: 1, ..Self::fixed_copies(1) }
    }

    /// When a lease that is predicted to take `predicted_ms` is late; nothing if this policy never hedges.
    pub fn late_after_ms(&self, predicted_ms: u64) -> Option<u64> {
        let ms = (predicted_ms.saturating_mul(self.hedge_percent) / 100).saturating_add(self.hedge_ms);
        (self.hedge_percent > 0).then_some(ms)
    }

    /// What a unit takes on a machine nobody has measured: twice what the paper's laptop takes (Table 2: 28 s at 2^16, doubling with
    /// each po2). Several nodes on one small machine are that slow, and a first lease that lapses costs more than one that waits.
    pub fn default_ms(&self, kind: UnitKind, po2: Po2) -> u64 {
        const UNMEASURED_MS_AT_16: u64 = 2 * 28_000;
        match kind {
            UnitKind::Prove => UNMEASURED_MS_AT_16 * po2.cycles() / (1 << 16),
            UnitKind::Lift | UnitKind::Join => UNMEASURED_MS_AT_16 * self.recursion_percent / 100,
            UnitKind::Keccak => {
                let circuit_ms = self.default_ms(UnitKind::Prove, po2).saturating_mul(KECCAK_WEIGHT);
                circuit_ms.saturating_add(self.default_ms(UnitKind::Lift, po2))
            }
        }
    }

    /// The longest time for a unit that a node is believed to need by its own word.
    pub fn believed_ms_max(&self, kind: UnitKind, po2: Po2) -> u64 {
        self.default_ms(kind, po2).saturating_mul(self.stated_percent_max) / 100
    }

    /// The deadline of a lease that is predicted to take `predicted_ms`.
    pub fn deadline_ms(&self, predicted_ms: u64) -> u64 {
        (predicted_ms.saturating_mul(self.deadline_percent) / 100).saturating_add(self.transfer_ms)
    }
}
