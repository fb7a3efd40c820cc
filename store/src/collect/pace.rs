//! How long the collector sleeps between rounds.
//!
//! A round costs some microseconds whatever it finds, and wakes a processor that a target may want. So rounds come as
//! seldom as the pool of chunks allows: the sleep grows while little of the pool is used up in one, and shrinks when much
//! is. Targets that run low wake the collector before its time.

use std::time::Duration;

/// Sleep while targets are busy.
const SHORTEST: Duration = Duration::from_millis(1);
/// Sleep while little happens. Also the longest that a new thread, or the end of a process, goes unnoticed, but for:
const LONGEST: Duration = Duration::from_millis(20);
/// Sleep beside one program that has started no other, and of which only a sample is recorded: a round takes 0.1 ms if what
/// it needs has left the caches. The end of that program is a signal, which ends the sleep.
const LONGEST_SAMPLED: Duration = Duration::from_millis(50);
/// Chunks (1 MiB) filled during one sleep at which it stops growing, so that what is drained is still in a cache.
const PLENTY: u32 = 32;

/// The current sleep.
#[derive(Debug)]
pub(super) struct Pace {
    sleep: Duration,
    chunks: u32,
    is_sampled: bool,
}

impl Pace {
    /// For a pool of `chunks` chunks; whether only a sample is recorded.
    pub(super) fn new(chunks: u32, is_sampled: bool) -> Self {
        Self { sleep: SHORTEST, chunks, is_sampled }
    }

    /// The sleep after a round that freed so many chunks, if it delivered all; zero: none, the pool is nearly used up.
    /// `is_single`: nothing is recorded but the child, and never was.
    pub(super) fn after(&mut self, freed: u32, is_single: bool) -> Duration {
        if freed > self.chunks / 2 {
            self.sleep = SHORTEST;
            return Duration::ZERO;
        }
        if freed > self.chunks / 8 || freed > PLENTY {
            self.sleep = (self.sleep / 2).max(SHORTEST);
        } else if freed <= self.chunks / 32 && freed <= PLENTY / 2 {
            self.sleep = self.sleep * 3 / 2;
        }
        let is_quiet = self.is_sampled && is_single && freed == 0;
        self.sleep = self.sleep.min(if is_quiet { LONGEST_SAMPLED } else { LONGEST });
        self.sleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_long_when_idle_and_not_at_all_when_the_pool_is_used_up() {
        let mut pace = Pace::new(64, false);
        for _ in 0..20 {
            pace.after(0, true);
        }
        assert_eq!(pace.after(0, true), LONGEST);
        assert_eq!(pace.after(60, true), Duration::ZERO);
        assert!(pace.after(10, true) <= SHORTEST);
        assert!(pace.after(1, true) > SHORTEST);
        assert!(Pace::new(1, false).after(1, true) == Duration::ZERO);
    }

    #[test]
    fn sleeps_longest_beside_one_sampled_program() {
        let mut pace = Pace::new(2048, true);
        for _ in 0..20 {
            pace.after(0, true);
        }
        assert_eq!(pace.after(0, true), LONGEST_SAMPLED);
        for (freed, is_single) in [(0, false), (1, true), (PLENTY / 2 + 1, true), (PLENTY, true)] {
            assert_eq!(pace.after(freed, is_single), LONGEST, "{freed} {is_single}");
            (0..5).for_each(|_| _ = pace.after(0, true));
            assert_eq!(pace.after(0, true), LONGEST_SAMPLED);
        }
    }
}
