//! Random numbers that belong to something: each draw is made from the seed and the names of what it is about, never from a shared
//! stream. So a change of policy changes no machine and no task, and two policies are compared in the very same world.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore as _, SeedableRng as _};

/// What a draw is about. A number of its own for each concern keeps their streams apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// A machine's traits.
    Machine = 1,
    /// How long a machine stays, and stays away.
    Churn = 2,
    /// How long one attempt takes, and how a villain behaves in it.
    Task = 3,
    /// How long inputs or receipts are on their way.
    Transfer = 4,
    /// A message's fate.
    Message = 5,
    /// When a notice arrives.
    Notice = 6,
    /// When jobs arrive.
    Arrival = 7,
}

/// A generator for one thing.
#[derive(Debug)]
pub(crate) struct Draw(Pcg64Mcg);

impl Draw {
    /// The generator that belongs to `names` under `seed`; the same for ever.
    pub(crate) fn new(seed: u64, about: About, names: &[u64]) -> Self {
        let first = mix(seed ^ mix(about as u64));
        Self(Pcg64Mcg::seed_from_u64(names.iter().fold(first, |state, name| mix(state ^ mix(*name)))))
    }

    /// A number of 0 to below 1, in steps of 2^-53.
    pub(crate) fn unit(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.0.next_u64() >> 11) as f64 * STEP
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A number between two bounds.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number from `low` to `high`, both included.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).saturating_add(1) as f64;
        low.saturating_add((self.unit() * span) as u64).min(high.max(low))
    }

    /// An exponential time of this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    /// A standard normal number, by Box and Muller; the second one is thrown away, so that each draw takes the same steps.
    fn normal(&mut self) -> f64 {
        let (radius, turn) = (libm::sqrt(-2.0 * libm::log(1.0 - self.unit())), self.unit());
        radius * libm::cos(core::f64::consts::TAU * turn)
    }

    /// A lognormal number by its median and the standard deviation of its logarithm.
    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }
}

/// The sigma of a lognormal number by its median and 95th percentile.
pub(crate) fn sigma_of(median: f64, p95: f64) -> f64 {
    /// The 95th percentile of the standard normal distribution.
    const NORMAL_P95: f64 = 1.644_853_626_951_472_7;
    libm::log((p95 / median).max(1.0)) / NORMAL_P95
}

/// SplitMix64's finalizer: every bit of the input reaches every bit of the output.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_belongs_to_its_names() {
        let first = |seed, about, names: &[u64]| Draw::new(seed, about, names).unit().to_bits();
        let here = first(1, About::Task, &[2, 3]);
        assert_eq!(here, first(1, About::Task, &[2, 3]));
        for other in [first(2, About::Task, &[2, 3]), first(1, About::Churn, &[2, 3]), first(1, About::Task, &[3, 2])] {
            assert_ne!(here, other);
        }
    }

    /// Pinned: these bits must be the same on every machine and for ever, or old seeds show something else.
    #[test]
    fn draws_have_the_same_bits_everywhere() {
        let draw = &mut Draw::new(168, About::Machine, &[840]);
        let bits =
            [draw.unit(), draw.lognormal(1.0, 0.5), draw.exponential(3.0), draw.between(1.5, 3.0)].map(f64::to_bits);
        assert_eq!(bits, [4606363690354114649, 4604561052445371918, 4624052555334927322, 4612076671590748519]);
    }

    #[test]
    fn distributions_have_their_median_and_mean() {
        let draws = |f: fn(&mut Draw) -> f64| -> Vec<f64> {
            let mut values: Vec<f64> = (0..20_001).map(|i| f(&mut Draw::new(7, About::Task, &[i]))).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let speeds = draws(|draw| draw.lognormal(2.9, sigma_of(2.9, 4.7)));
        assert!((speeds[10_000] - 2.9).abs() < 0.05, "median {}", speeds[10_000]);
        assert!((speeds[19_000] - 4.7).abs() < 0.15, "p95 {}", speeds[19_000]);
        let lives = draws(|draw| draw.exponential(3.0));
        assert!((lives.iter().sum::<f64>() / 20_001.0 - 3.0).abs() < 0.1);
        assert!(draws(|draw| draw.within(3, 5) as f64).iter().all(|value| (3.0..=5.0).contains(value)));
    }
}
