//! The sums that events of heap blocks change.
//!
//! They are fields of the model, of a process, of a thread and of a site. Borrowed together once, a run of events looks up
//! none of them again.

use super::blocks::Block;
use super::model::Thread;
use super::process::Process;
use super::sampling::Sampling;
use super::sites::{Amount, Peak, Site};
use super::timeline::{Timeline, Totals};

/// What events of heap blocks of one process change, borrowed once for many of them.
pub(super) struct Books<'m> {
    pub(super) process: &'m mut Process,
    pub(super) threads: &'m mut [Thread],
    pub(super) sites: &'m mut [Site],
    pub(super) totals: &'m mut Totals,
    pub(super) peak: &'m mut Peak,
    pub(super) version: &'m mut u64,
    pub(super) timeline: &'m mut Timeline,
    pub(super) sampling: Sampling,
}

impl Books<'_> {
    /// A block was handed out; it is open already.
    #[inline(always)]
    pub(super) fn allocate(&mut self, address: u64, block: &Block) {
        let (size, ns) = (block.size(), block.alloc_ns);
        let amount = Amount::of(size, self.sampling.weight(size));
        let site = &mut self.sites[block.site as usize];
        site.allocate(*self.version, size, amount, ns);
        if !self.sampling.is_exact() {
            let variance = self.sampling.variance(size);
            site.variance.add(Amount { blocks: variance, bytes: variance * (size as f64).powi(2) });
        }
        self.totals.live.add(amount);
        self.totals.allocated.add(amount);
        // The most of all is also the most of its bin.
        if self.timeline.reach(self.totals.live.bytes) && self.peak.reach(self.totals.live, ns) {
            *self.version += 1;
        }
        self.process.allocations += 1;
        self.process.live.add(amount);
        self.process.peak.reach(self.process.live, ns);
        let thread = &mut self.threads[block.thread as usize];
        (thread.last_address, thread.last_ns) = (address, ns);
    }

    /// A block ends at `ns`; it is not open any more.
    #[inline(always)]
    pub(super) fn free(&mut self, address: u64, block: &Block, ns: i64) {
        let amount = Amount::of(block.size(), self.sampling.weight(block.size()));
        let thread = &self.threads[block.thread as usize];
        let is_temporary = thread.last_address == address && thread.last_ns == block.alloc_ns;
        self.sites[block.site as usize].free(*self.version, amount, ns - block.alloc_ns, is_temporary);
        self.totals.live.subtract(amount);
        self.process.live.subtract(amount);
    }
}
