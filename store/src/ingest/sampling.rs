//! What a sampled allocation stands for.
//!
//! A block of `size` bytes is sampled with probability p = 1 − e^(−size/interval), so it stands for 1/p blocks, and
//! size/p bytes; both sums are unbiased. Their variance is estimated from the samples by summing (1−p)/p² and
//! size²(1−p)/p².

use serde::{Deserialize, Serialize};

/// Weights are multiples of this (2^-16), so that sums of what comes and goes return exactly to where they were.
const GRAIN: f64 = 65536.0;

/// Mean bytes between samples, or exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sampling {
    interval: u64,
}

impl Sampling {
    /// `interval` 0: every allocation is recorded.
    pub(crate) fn new(interval: u64) -> Self {
        Self { interval }
    }

    /// Whether every allocation is recorded.
    #[inline]
    pub(crate) fn is_exact(self) -> bool {
        self.interval == 0
    }

    fn probability(self, size: u64) -> f64 {
        -(-(size.max(1) as f64) / self.interval as f64).exp_m1()
    }

    /// How many blocks a recorded block of this size stands for.
    #[inline]
    pub(crate) fn weight(self, size: u64) -> f64 {
        if self.is_exact() {
            return 1.0;
        }
        (GRAIN / self.probability(size)).round() / GRAIN
    }

    /// Variance of the number of blocks that one recorded block of this size adds.
    pub(crate) fn variance(self, size: u64) -> f64 {
        if self.is_exact() {
            return 0.0;
        }
        let p = self.probability(size);
        (1.0 - p) / (p * p)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_inverse_probabilities() {
        assert_eq!(Sampling::new(0).weight(5), 1.0);
        let sampling = Sampling::new(1 << 19);
        assert!((sampling.weight(1) - (1u64 << 19) as f64).abs() < 1.0);
        assert_eq!(sampling.weight(0), sampling.weight(1));
        assert!((sampling.weight(1 << 19) - 1.0 / (1.0 - (-1.0f64).exp())).abs() < 1e-4);
        assert_eq!(sampling.weight(1 << 30), 1.0);
        assert!(sampling.variance(1 << 30) < 1e-9 && sampling.variance(100) > 1e7);
    }
}
