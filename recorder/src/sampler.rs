//! Poisson sampling by bytes, and which blocks were sampled.
//!
//! Every byte allocated is chosen with probability 1/interval, independently; a block is recorded if any of its bytes
//! is. A block of `size` bytes is thus recorded with p = 1 - e^(-size/interval), and the collector weighs it by 1/p. The
//! distance to the next chosen byte is exponential, so an allocation that is not chosen costs a subtraction. Frees of
//! blocks that were not chosen must cost little too: a counting filter by address answers most of them.

use core::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::{arena, sys};

/// Counters of the filter. With 64 Ki of them and 1,000 live samples 1.5 % of other frees need the exact table.
const FILTER_SLOTS: usize = 1 << 16;
/// Places of the exact table.
const TABLE_SLOTS: usize = 1 << 20;
/// Longest probe in the exact table.
const MAX_PROBES: usize = 64;
const TOMBSTONE: u64 = 1;

/// Sampling state of a process image.
#[derive(Debug)]
pub struct Sampler {
    /// Mean bytes between samples; 0: exact.
    interval: AtomicU64,
    filter: AtomicPtr<AtomicU8>,
    table: AtomicPtr<AtomicU64>,
}

impl Sampler {
    /// Exact mode.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            interval: AtomicU64::new(0),
            filter: AtomicPtr::new(core::ptr::null_mut()),
            table: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Sets the interval and maps the tables that it needs. False: no memory.
    #[must_use]
    pub fn prepare(&self, interval: u64) -> bool {
        if interval > 0 && self.filter.load(Acquire).is_null() {
            let (Some(filter), Some(table)) = (arena::map(FILTER_SLOTS), arena::map(TABLE_SLOTS * 8)) else {
                return false;
            };
            self.table.store(table.cast(), Release);
            self.filter.store(filter.cast(), Release);
        }
        // Release: behind the tables, and relaxed loads of others see stores in this order on x86_64.
        self.interval.store(interval, Release);
        true
    }

    /// Forgets all samples, in a fork child, where only one thread exists.
    pub fn reset(&self) {
        let (filter, table) = (self.filter.load(Relaxed), self.table.load(Relaxed));
        if !filter.is_null() {
            // SAFETY: both are private anonymous mappings of these sizes, and no other thread uses them.
            unsafe {
                sys::zero_pages(filter.cast(), FILTER_SLOTS);
                sys::zero_pages(table.cast(), TABLE_SLOTS * 8);
            }
        }
    }

    /// Whether only a sample is recorded.
    #[inline(always)]
    #[must_use]
    pub fn is_sampling(&self) -> bool {
        self.interval.load(Relaxed) != 0
    }

    /// Bytes that pass by before the next sample, drawn anew; 0 in exact mode.
    #[must_use]
    pub fn draw(&self, random: &mut u64) -> u64 {
        let interval = self.interval.load(Relaxed);
        // -ln(u) for u in (0, 1], exponential with mean 1. The first distance of a thread is drawn like all others:
        // starting at the interval, or at 0, would bias short threads.
        let u = ((next_random(random) >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-ln(u) * interval as f64) as u64
    }

    /// Notes that the block at `address` was sampled. Must precede handing it out. False: the table is full.
    #[must_use]
    pub fn insert(&self, address: u64) -> bool {
        let table = self.table.load(Acquire);
        for probe in 0..MAX_PROBES {
            // SAFETY: the index is below the size of the table, which is mapped since `prepare`.
            let slot = unsafe { &*table.add((hash(address) as usize + probe) % TABLE_SLOTS) };
            let old = slot.load(Relaxed);
            if old <= TOMBSTONE && slot.compare_exchange(old, address, Relaxed, Relaxed).is_ok() {
                let counter = self.counter(address);
                // A counter that reached its limit stays there: the filter then says "maybe", which is always right.
                let _ = counter.fetch_update(Relaxed, Relaxed, |n| (n < u8::MAX).then(|| n + 1));
                return true;
            }
        }
        false
    }

    /// Whether the block at `address` is certainly not part of the sample; `None`: there is no sample, because all blocks are
    /// recorded, or none yet.
    #[inline(always)]
    #[must_use]
    pub fn is_left_out(&self, address: u64) -> Option<bool> {
        // There is a filter only where a sample is recorded, and before the first block is.
        let filter = self.filter.load(Relaxed);
        // SAFETY: the index is below the size of the filter, which stays mapped.
        (!filter.is_null()).then(|| unsafe { (*filter.add(filter_index(address))).load(Relaxed) == 0 })
    }

    /// Whether the block at `address` was sampled; forgets it.
    #[must_use]
    pub fn remove(&self, address: u64) -> bool {
        self.counter(address).load(Relaxed) != 0 && self.remove_exact(address)
    }

    /// Whether the block at `address` was sampled.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        self.counter(address).load(Relaxed) != 0 && self.find(address).is_some()
    }

    fn find(&self, address: u64) -> Option<&AtomicU64> {
        let table = self.table.load(Acquire);
        for probe in 0..MAX_PROBES {
            // SAFETY: as in `insert`.
            let slot = unsafe { &*table.add((hash(address) as usize + probe) % TABLE_SLOTS) };
            match slot.load(Relaxed) {
                0 => return None,
                found if found == address => return Some(slot),
                _ => {}
            }
        }
        None
    }

    #[cold]
    fn remove_exact(&self, address: u64) -> bool {
        let Some(slot) = self.find(address) else { return false };
        if slot.compare_exchange(address, TOMBSTONE, Relaxed, Relaxed).is_err() {
            return false;
        }
        let _ = self.counter(address).fetch_update(Relaxed, Relaxed, |n| (n < u8::MAX).then(|| n.saturating_sub(1)));
        true
    }

    #[inline(always)]
    fn counter(&self, address: u64) -> &AtomicU8 {
        // SAFETY: the index is below the size of the filter, which is mapped since `prepare`.
        unsafe { &*self.filter.load(Relaxed).add(filter_index(address)) }
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new()
    }
}

/// Blocks that begin in the same 64 bytes share a counter of the filter.
const GRANULE_BITS: u32 = 6;

/// Where the counter of an address is. Neighbours in memory are neighbours in the filter, because programs free them
/// together: were every free to look at a place of its own, the filter would drive the program's data out of the nearest
/// cache. What lies further apart (4 MiB) is told apart by the bits above.
#[inline(always)]
fn filter_index(address: u64) -> usize {
    let granule = (address >> GRANULE_BITS) as usize;
    (granule ^ granule >> FILTER_SLOTS.trailing_zeros()) % FILTER_SLOTS
}

#[inline(always)]
fn hash(address: u64) -> u64 {
    (address >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(24)
}

/// xorshift64*; seeded by the clock and the address of the state, which differs by thread.
fn next_random(state: &mut u64) -> u64 {
    if *state == 0 {
        *state = (sys::rdtsc() ^ (&raw const *state) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..4 {
            next_random(state);
        }
    }
    let mut x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    x.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

/// Natural logarithm of a positive normal number, to about 1e-12: no libm in here. Writes x = m * 2^k with m near 1 and
/// sums the series of ln(m) = 2 artanh((m - 1) / (m + 1)).
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) as i64 & 0x7ff) - 1023;
    let mut m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if m > core::f64::consts::SQRT_2 {
        m /= 2.0;
        exponent += 1;
    }
    let t = (m - 1.0) / (m + 1.0);
    let square = t * t;
    let (mut sum, mut power) = (0.0, t);
    for n in 0..10 {
        sum += power / f64::from(2 * n + 1);
        power *= square;
    }
    2.0 * sum + exponent as f64 * core::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_is_exact_enough() {
        for x in [1e-16f64, 1e-9, 0.1, 0.5, 0.7, 0.999_999, 1.0] {
            assert!((ln(x) - x.ln()).abs() < 1e-10 * (1.0 + x.ln().abs()), "{x}: {} {}", ln(x), x.ln());
        }
    }

    #[test]
    fn distances_have_the_mean_and_spread_of_an_exponential() {
        let sampler = Sampler::new();
        assert!(sampler.prepare(1 << 19));
        let (mut random, n) = (0, 200_000);
        let draws: std::vec::Vec<f64> = (0..n).map(|_| sampler.draw(&mut random) as f64 / (1 << 19) as f64).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!((mean - 1.0).abs() < 0.015, "{mean}");
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
    }

    #[test]
    fn samples_are_found_once() {
        let sampler = Sampler::new();
        assert!(sampler.prepare(1));
        let addresses = (1..50_000u64).map(|i| i * 48 + 0x7000_0000_0000);
        assert!(addresses.clone().all(|a| sampler.insert(a)));
        assert!(addresses.clone().all(|a| sampler.contains(a)));
        assert!(addresses.clone().all(|a| sampler.remove(a)));
        assert!(!addresses.clone().any(|a| sampler.remove(a)));
    }

    #[test]
    fn few_other_blocks_seem_sampled() {
        // Small blocks side by side, large ones each at the same place in a page, and heaps of threads.
        let small = (0x5555_5540_0010u64, 64, 1_000_000);
        let large = (0x7fff_0000_0010, (128 << 10) + 4096, 100_000);
        let heaps = (0x7fff_0000_0010, 64 << 20, 2_000);
        for (start, distance, all) in [small, large, heaps] {
            let sampler = Sampler::new();
            assert!(sampler.prepare(1 << 19));
            let block = |i: u64| start + i * distance;
            let is_sampled = |i: u64| i.is_multiple_of(all / 1000);
            assert!((0..all).filter(|i| is_sampled(*i)).all(|i| sampler.insert(block(i))));
            let seem = (0..all).filter(|i| !is_sampled(*i) && sampler.is_left_out(block(*i)) == Some(false)).count();
            assert!(seem as u64 <= all / 50, "{seem} of {all} blocks {distance} bytes apart");
        }
    }
}
