//! What is open when a process ends: no longer live, and rows without an end.

use super::blocks::Remaining;
use super::maps::Range;
use super::model::Model;
use super::process::Nodes;
use super::rows::{NO_ID, NO_TIME};
use super::sites::Amount;

/// What a process left open at its end.
#[derive(Debug)]
pub(crate) struct Left {
    process: u32,
    blocks: Remaining,
    ranges: Vec<Range>,
}

impl Model {
    /// A process ended at `ns`, or the recording did. Its open blocks are no longer live; [`Model::emit_left`] makes rows
    /// of them.
    pub(crate) fn close_process(&mut self, number: u32, ns: i64) -> Left {
        self.timeline.advance(ns, &self.totals);
        self.now_ns = self.now_ns.max(ns);
        self.settle_displaced_of(number);
        let process = &mut self.processes[number as usize];
        let left = Left { process: number, blocks: process.blocks.drain(), ranges: process.maps.drain() };
        process.left.add(process.live);
        process.left_rows += left.blocks.len() as u64;
        self.totals.live.subtract(process.live);
        self.totals.left.add(process.live);
        process.live = Amount::default();
        self.code.settle(number, process);
        for site in std::mem::take(&mut process.sites) {
            self.sites[site as usize].leave(self.version);
        }
        // Events after the end, of which there should be none, find their sites again through the index.
        process.nodes = Nodes::default();
        process.modules = Vec::new();
        left
    }

    /// Makes rows of some of the blocks left by a process; says whether there are more.
    pub(crate) fn emit_left(&mut self, left: &mut Left) -> bool {
        const AT_ONCE: usize = 4096;
        let limit = self.rows.len() + AT_ONCE;
        while self.rows.len() < limit
            && let Some(blocks) = left.blocks.next_region()
        {
            for (address, block) in blocks {
                self.emit(left.process, address, &block, NO_TIME, NO_ID, NO_ID);
            }
        }
        let ranges = left.ranges.len().saturating_sub(AT_ONCE);
        for range in left.ranges.split_off(ranges).into_iter().rev() {
            self.emit_range(left.process, &range, NO_TIME, NO_ID, NO_ID);
        }
        self.rows.len() >= limit || !left.ranges.is_empty()
    }
}
