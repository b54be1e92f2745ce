//! What to buy when no postage batch will do, as words for the node's owner: the client itself never buys.

use core::fmt;
use std::time::Duration;

use crate::batch::Need;
use crate::room::depth_for;

/// Seconds between two blocks of the chain that postage is paid on (Gnosis).
const BLOCK_SECONDS: u64 = 5;
/// The least that a batch must be paid for, in seconds: 17,280 blocks (postage contract).
const TIME_SECONDS_MIN: u64 = 24 * 3600;
/// Percent that are advised beyond the price, which moves from one block to the next.
const MARGIN_PERCENT: u128 = 10;
/// PLUR in one xBZZ.
const PLUR_PER_BZZ: u128 = 10_000_000_000_000_000;

/// A batch that would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// The node's address.
    address: String,
    /// log2 of the slots.
    depth: u8,
    /// PLUR per slot, for the time wanted at today's price; none if the node did not say the price.
    amount_plur: Option<u128>,
    time: Duration,
}

impl Purchase {
    /// The batch for `need` at `price_plur` per chunk and block, of the node at `address`.
    pub(crate) fn of(need: &Need, price_plur: Option<u128>, address: &str) -> Self {
        let seconds = need.time_to_live.as_secs().max(TIME_SECONDS_MIN);
        let blocks = u128::from(seconds.div_ceil(BLOCK_SECONDS));
        let amount = |price: u128| price.saturating_mul(blocks).saturating_mul(100 + MARGIN_PERCENT) / 100;
        Self {
            address: address.to_owned(),
            depth: depth_for(need.size_bytes),
            amount_plur: price_plur.map(amount),
            time: Duration::from_secs(seconds),
        }
    }

    /// log2 of the slots: what `POST /stamps/{amount}/{depth}` wants.
    pub const fn depth(&self) -> u8 {
        self.depth
    }

    /// PLUR per slot: what `POST /stamps/{amount}/{depth}` wants. None if the price is not known.
    pub const fn amount_plur(&self) -> Option<u128> {
        self.amount_plur
    }

    /// What it costs in all, in PLUR (10^-16 xBZZ).
    pub fn cost_plur(&self) -> Option<u128> {
        self.amount_plur.map(|amount| amount.saturating_mul(1 << self.depth))
    }
}

impl fmt::Display for Purchase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, depth, time, .. } = self;
        let hours = time.as_secs().div_ceil(3600);
        let (Some(amount), Some(cost)) = (self.amount_plur, self.cost_plur()) else {
            return write!(
                f,
                "buy a batch of depth {depth} for {hours} h, once GET {address}/chainstate tells the price: amount = \
                 currentPrice x {} blocks, then `curl -X POST {address}/stamps/AMOUNT/{depth}`",
                time.as_secs().div_ceil(BLOCK_SECONDS)
            );
        };
        let (whole, rest) = (cost / PLUR_PER_BZZ, cost % PLUR_PER_BZZ / (PLUR_PER_BZZ / 10_000));
        write!(
            f,
            "buy one for {hours} h, at about {whole}.{rest:04} xBZZ from the node's wallet, with `curl -X POST \
             {address}/stamps/{amount}/{depth}` or `swarm-cli stamp buy --amount {amount} --depth {depth}`; it is usable \
             some minutes later"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(hours: u64) -> Need {
        Need { size_bytes: 44_500_000, time_to_live: Duration::from_secs(3600 * hours) }
    }

    #[test]
    fn the_paper_s_job_costs_what_was_estimated() {
        // 168 segments of 265 kB for 24 h at 24,000 PLUR: 2^19 x 24,000 x 17,280 PLUR, and the margin.
        let purchase = Purchase::of(&need(24), Some(24_000), "http://bee:1633");
        assert_eq!((purchase.depth(), purchase.amount_plur()), (19, Some(456_192_000)));
        let text = purchase.to_string();
        assert!(text.contains("0.0239 xBZZ"), "{text}");
        assert!(text.contains("curl -X POST http://bee:1633/stamps/456192000/19"), "{text}");
        assert!(text.contains("swarm-cli stamp buy --amount 456192000 --depth 19"), "{text}");
    }

    #[test]
    fn no_time_is_sold_below_a_day() {
        assert_eq!(Purchase::of(&need(1), Some(1), "x"), Purchase::of(&need(24), Some(1), "x"));
        assert_ne!(Purchase::of(&need(25), Some(1), "x"), Purchase::of(&need(24), Some(1), "x"));
    }

    #[test]
    fn without_a_price_it_says_how_to_find_the_amount() {
        let text = Purchase::of(&need(24), None, "http://bee:1633").to_string();
        assert!(text.contains("GET http://bee:1633/chainstate") && text.contains("x 17280 blocks"), "{text}");
    }

    #[test]
    fn no_price_is_too_odd() {
        let longest = Need { size_bytes: u64::MAX, time_to_live: Duration::MAX };
        assert!(!Purchase::of(&longest, Some(u128::MAX), "x").to_string().is_empty());
    }
}
