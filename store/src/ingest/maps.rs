//! Open anonymous memory maps of one process: ranges that `munmap` may cut anywhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const PAGE: u64 = 4096;

/// A mapped range, or what is left of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    /// First address.
    pub start: u64,
    /// First address behind it; a multiple of the page size.
    pub end: u64,
    /// First address behind the bytes asked for.
    pub asked_end: u64,
    /// When it was mapped.
    pub alloc_ns: i64,
    /// Index of its site.
    pub site: u32,
    /// Index of the thread that mapped it.
    pub thread: u32,
    /// The call that made it, as a number of `rows::KINDS`.
    pub kind: u8,
}

impl Range {
    /// A range of `size` bytes at `start`.
    pub(crate) fn new(start: u64, size: u64, alloc_ns: i64, site: u32, thread: u32, kind: u8) -> Self {
        let asked_end = start.saturating_add(size);
        let end = asked_end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        Self { start, end, asked_end, alloc_ns, site, thread, kind }
    }

    /// Bytes asked for in it.
    pub(crate) fn size(&self) -> u64 {
        self.asked_end.min(self.end).saturating_sub(self.start)
    }
}

/// Disjoint ranges by their start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Maps {
    ranges: BTreeMap<u64, Range>,
}

impl Maps {
    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Adds a range whose place must be free (see [`Maps::cut`]); an empty range is not kept.
    pub(crate) fn insert(&mut self, range: Range) {
        if range.start < range.end {
            self.ranges.insert(range.start, range);
        }
    }

    /// Takes out everything in `start..start + size` rounded to pages, cutting ranges that reach over its edges;
    /// returns the parts taken out, in order of address, each with the number of pieces that stay of its range.
    pub(crate) fn cut(&mut self, start: u64, size: u64) -> Vec<(Range, u32)> {
        let end = start.saturating_add(size).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        let mut taken = Vec::new();
        if start >= end {
            return taken;
        }
        let first = self.ranges.range(..start).next_back().filter(|(_, r)| r.end > start).map_or(start, |(&s, _)| s);
        let touched: Vec<u64> = self.ranges.range(first..end).map(|(&s, _)| s).collect();
        for key in touched {
            let Some(range) = self.ranges.remove(&key) else { continue };
            let mut stay = 0;
            if range.start < start {
                self.insert(Range { end: start, ..range });
                stay += 1;
            }
            if range.end > end {
                self.insert(Range { start: end, ..range });
                stay += 1;
            }
            taken.push((Range { start: range.start.max(start), end: range.end.min(end), ..range }, stay));
        }
        taken
    }

    /// Takes out all ranges, youngest first.
    pub(crate) fn drain(&mut self) -> Vec<Range> {
        let mut ranges: Vec<Range> = std::mem::take(&mut self.ranges).into_values().collect();
        ranges.sort_by_key(|r| std::cmp::Reverse((r.alloc_ns, r.start)));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmapping_the_middle_leaves_two_ends() {
        let mut maps = Maps::default();
        maps.insert(Range::new(0x10000, 0x5800, 1, 2, 3, 4));
        let taken = maps.cut(0x11000, 0x2000);
        assert_eq!(
            taken.iter().map(|(r, stay)| (r.start, r.end, r.size(), *stay)).collect::<Vec<_>>(),
            [(0x11000, 0x13000, 0x2000, 2)]
        );
        let mut rest = maps.drain();
        rest.reverse();
        assert_eq!(
            rest.iter().map(|r| (r.start, r.end, r.size())).collect::<Vec<_>>(),
            [(0x10000, 0x11000, 0x1000), (0x13000, 0x16000, 0x2800)]
        );
        assert!(rest.iter().all(|r| (r.alloc_ns, r.site, r.thread, r.kind) == (1, 2, 3, 4)));
    }

    #[test]
    fn one_call_may_unmap_several_ranges_and_holes() {
        let mut maps = Maps::default();
        for i in 0..4 {
            maps.insert(Range::new(0x10000 + i * 0x4000, 0x2000, i as i64, 0, 0, 0));
        }
        assert_eq!(maps.cut(0x11000, 0xA000).len(), 3);
        assert_eq!(maps.len(), 2);
        assert_eq!(maps.cut(0, u64::MAX).len(), 2);
        assert_eq!(maps.cut(5, 0).len(), 0);
    }

    /// Pages of random calls against a naive page table.
    #[test]
    fn agrees_with_a_page_table() {
        let mut rng = crate::ingest::testing::Rng::new(3);
        let mut maps = Maps::default();
        let mut pages = [None; 64];
        for step in 0..20_000 {
            let start = rng.below(64);
            let count = 1 + rng.below(64 - start);
            let taken = maps.cut(start * PAGE, count * PAGE);
            let bytes: u64 = taken.iter().map(|(r, _)| r.size()).sum();
            let expected = pages[start as usize..(start + count) as usize].iter().flatten().count() as u64;
            assert_eq!(bytes, expected * PAGE);
            let fill = (rng.below(2) == 0).then_some(step);
            pages[start as usize..(start + count) as usize].fill(fill);
            if fill.is_some() {
                maps.insert(Range::new(start * PAGE, count * PAGE, step, 0, 0, 0));
            }
        }
    }
}
