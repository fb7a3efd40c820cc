//! From time stamp counter ticks to nanoseconds since the start of the recording.

use serde::{Deserialize, Serialize};

/// Fraction bits of the factor: keeps the rate to one part in 10^11 at 3 GHz.
const SHIFT: u32 = 40;
/// Later times than this (146 years) are cut: only damaged stamps are there.
const MAX_NS: u128 = (i64::MAX / 2) as u128;

/// Where time zero is and how fast the counter ticks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Clock {
    /// Counter at time zero.
    pub base_tsc: u64,
    /// Time zero in nanoseconds since 1970.
    pub unix_ns: i64,
    /// Rate of the counter.
    pub ticks_per_second: f64,
    factor: u64,
    /// Ticks since time zero that make [`MAX_NS`].
    max_ticks: u64,
}

impl Clock {
    /// A rate that no counter has is taken as 1 GHz.
    pub(crate) fn new(base_tsc: u64, unix_ns: i64, ticks_per_second: f64) -> Self {
        let rate = if (1e3..1e12).contains(&ticks_per_second) { ticks_per_second } else { 1e9 };
        let factor = (1e9 / rate * (1u64 << SHIFT) as f64).round() as u64;
        let max_ticks = u64::try_from((MAX_NS << SHIFT) / u128::from(factor)).unwrap_or(u64::MAX);
        Self { base_tsc, unix_ns, ticks_per_second: rate, factor, max_ticks }
    }

    /// Nanoseconds since the start; stamps before it count as the start.
    #[inline]
    pub(crate) fn ns(&self, tsc: u64) -> i64 {
        let ticks = tsc.saturating_sub(self.base_tsc).min(self.max_ticks);
        ((u128::from(ticks) * u128::from(self.factor) + (1 << (SHIFT - 1))) >> SHIFT) as i64
    }

    /// Ticks in `seconds`.
    pub(crate) fn ticks(&self, seconds: f64) -> u64 {
        (self.ticks_per_second * seconds) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_exactly_enough_and_never_overflows() {
        let clock = Clock::new(1000, 0, 2.5e9);
        assert_eq!(clock.ns(0), 0);
        assert_eq!(clock.ns(1000 + 25), 10);
        let day = 86_400 * 2_500_000_000u64;
        assert!((clock.ns(1000 + day) - 86_400_000_000_000).abs() < 1000);
        for clock in [clock, Clock::new(0, 0, 1e3)] {
            let (last, tick) = (clock.ns(u64::MAX) as u128, (1e9 / clock.ticks_per_second) as u128);
            assert!((MAX_NS - tick - 1..=MAX_NS).contains(&last), "{last}");
        }
        assert_eq!(Clock::new(0, 0, f64::NAN).ns(7), 7);
    }
}
