//! How long the collector sleeps between rounds.
//!
//! A round costs some microseconds whatever it finds, and wakes a processor that a target may want. So rounds come as
//! seldom as the pool of chunks allows: the sleep grows while little of the pool is used up in one, and shrinks when much
//! is. Targets that run low wake the collector before its time.

use std::time::Duration;

/// Sleep while targets are busy.
const SHORTEST: Duration = Duration::from_millis(1);
/// Sleep while little happens.
const LONGEST: Duration = Duration::from_millis(20);
/// Sleep while next to nothing happens: sampled or idle programs. Also the longest that the end of a process goes unnoticed
/// that is not the child, whose end is a signal.
const LONGEST_IDLE: Duration = Duration::from_millis(50);
/// Chunks (1 MiB) filled during one sleep at which it stops growing, so that what is drained is still in a cache.
const PLENTY: u32 = 32;

/// The current sleep.
#[derive(Debug)]
pub(super) struct Pace {
    sleep: Duration,
    chunks: u32,
}

impl Pace {
    /// For a pool of `chunks` chunks.
    pub(super) fn new(chunks: u32) -> Self {
        Self { sleep: SHORTEST, chunks }
    }

    /// The sleep after a round that freed so many chunks, if it delivered all; zero: none, the pool is nearly used up.
    pub(super) fn after(&mut self, freed: u32) -> Duration {
        if freed > self.chunks / 2 {
            self.sleep = SHORTEST;
            return Duration::ZERO;
        }
        if freed > self.chunks / 8 || freed > PLENTY {
            self.sleep = (self.sleep / 2).max(SHORTEST);
        } else if freed <= self.chunks / 32 && freed <= PLENTY / 2 {
            let longest = if freed == 0 { LONGEST_IDLE } else { LONGEST };
            self.sleep = (self.sleep * 3 / 2).min(longest);
        }
        self.sleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_long_when_idle_and_not_at_all_when_the_pool_is_used_up() {
        let mut pace = Pace::new(64);
        for _ in 0..20 {
            pace.after(0);
        }
        assert_eq!((pace.after(0), pace.after(1)), (LONGEST_IDLE, LONGEST));
        assert_eq!(pace.after(60), Duration::ZERO);
        assert!(pace.after(10) <= SHORTEST);
        assert!(pace.after(1) > SHORTEST);
        assert!(Pace::new(1).after(1) == Duration::ZERO);
    }
}
