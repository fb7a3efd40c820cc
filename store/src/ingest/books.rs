//! The sums that events of heap blocks change.
//!
//! They are fields of the model, of a process, of a thread and of a site. Borrowed together once, a run of events looks up
//! none of them again.

use super::block::Block;
use super::model::Thread;
use super::process::Process;
use super::rows::{NO_ID, Row, Rows};
use super::sampling::Sampling;
use super::sites::{Amount, Peak, Site};
use super::timeline::{Timeline, Totals};

/// What events of heap blocks of one process change, borrowed once for many of them. `EXACT`: every allocation is recorded,
/// which spares questions, and the calls that answer them, in the busiest loop of ingestion.
pub(super) struct Books<'m, const EXACT: bool> {
    pub(super) process: &'m mut Process,
    pub(super) threads: &'m mut [Thread],
    pub(super) sites: &'m mut [Site],
    pub(super) totals: &'m mut Totals,
    pub(super) peak: &'m mut Peak,
    pub(super) version: &'m mut u64,
    pub(super) timeline: &'m mut Timeline,
    pub(super) sampling: Sampling,
}

impl<const EXACT: bool> Books<'_, EXACT> {
    /// What a block of `size` bytes counts.
    #[inline(always)]
    fn amount(&self, size: u64) -> Amount {
        if EXACT { Amount::one(size) } else { Amount::of(size, self.sampling.weight(size)) }
    }

    /// A block was handed out.
    #[inline(always)]
    pub(super) fn allocate(&mut self, address: u64, block: &Block) {
        let (size, ns) = (block.size(), block.alloc_ns);
        let amount = self.amount(size);
        let site = &mut self.sites[block.site as usize];
        site.allocate(*self.version, size, amount, ns);
        if !EXACT && !self.sampling.is_exact() {
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

    /// A block that is not open any more was freed, when and by whom, from a place that is not known.
    #[inline(always)]
    pub(super) fn end(&mut self, rows: &mut Rows, process: u32, address: u64, block: &Block, (ns, thread): (i64, u32)) {
        // A late record may bear an earlier stamp than the block that it frees (see `Model::late`).
        let ns = ns.max(block.alloc_ns);
        self.free(address, block, ns);
        let stack = self.sites[block.site as usize].stack;
        rows.push(heap_row(process, address, block, ns, stack, (thread, NO_ID)));
    }

    /// A block was handed out, and given back by the event that followed: does the same as [`Books::allocate`] and
    /// [`Books::end`]. Mostly, what was live for so short a time is no maximum, and the sums of what is live are as before.
    #[inline(always)]
    pub(super) fn pass(
        &mut self,
        rows: &mut Rows,
        process: u32,
        address: u64,
        block: &Block,
        (ns, thread): (i64, u32),
    ) {
        let (size, end) = (block.size(), ns.max(block.alloc_ns));
        let amount = self.amount(size);
        let is_maximum = !self.timeline.passes(self.totals.live.bytes + amount.bytes, end)
            || self.process.live.bytes + amount.bytes > self.process.peak.amount.bytes;
        if is_maximum || thread != block.thread || !EXACT {
            self.allocate(address, block);
            self.timeline.advance(ns, self.totals);
            return self.end(rows, process, address, block, (ns, thread));
        }
        let site = &mut self.sites[block.site as usize];
        site.pass(size, amount, block.alloc_ns, end - block.alloc_ns);
        let stack = site.stack;
        self.totals.allocated.add(amount);
        self.process.allocations += 1;
        let thread = &mut self.threads[block.thread as usize];
        (thread.last_address, thread.last_ns) = (address, block.alloc_ns);
        rows.push(heap_row(process, address, block, end, stack, (block.thread, NO_ID)));
    }

    /// A block ends at `ns`; it is not open any more.
    #[inline(always)]
    pub(super) fn free(&mut self, address: u64, block: &Block, ns: i64) {
        let amount = self.amount(block.size());
        let thread = &self.threads[block.thread as usize];
        let is_temporary = thread.last_address == address && thread.last_ns == block.alloc_ns;
        self.sites[block.site as usize].free(*self.version, amount, ns - block.alloc_ns, is_temporary);
        self.totals.live.subtract(amount);
        self.process.live.subtract(amount);
    }
}

/// The row of a heap block. `freed_by`: thread and stack of the free.
#[inline(always)]
pub(super) fn heap_row(
    process: u32,
    address: u64,
    block: &Block,
    free_ns: i64,
    stack: u32,
    freed_by: (u32, u32),
) -> Row {
    Row {
        alloc_ns: block.alloc_ns,
        free_ns,
        address,
        size: block.size(),
        who: Row::who(process, block.thread),
        freed_by: Row::freed_by(freed_by.0, freed_by.1),
        what: Row::what(stack, block.kind(), false),
    }
}
