//! Heap memory over time in a bounded number of bins.
//!
//! Bins begin narrow; when there are too many, neighbours are merged and bins are twice as wide from then on.

use serde::{Deserialize, Serialize};

use super::sites::Amount;

/// Most bins; a recording that is not very short ends with at least half of them.
const MAX_BINS: usize = 4096;
/// Width of the first bins.
const FIRST_WIDTH_NS: i64 = 20_000;

/// Sums of one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bin {
    /// Live at its end.
    pub live: Amount,
    /// Most bytes live at one time in it.
    pub max_live_bytes: f64,
    /// Allocated in it.
    pub allocated: Amount,
    /// Freed in it.
    pub freed: Amount,
}

/// Running sums over all processes; bins are made of their differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Live now.
    pub live: Amount,
    /// Allocated so far.
    pub allocated: Amount,
    /// Left by processes at their end.
    pub left: Amount,
}

/// Bins from time zero to the last event, the last one open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Timeline {
    width_ns: i64,
    closed: Vec<Bin>,
    /// Sums at the start of the open bin.
    start: Totals,
    /// What was closed already of the open bin, when it became twice as wide.
    before: Bin,
    /// Most bytes live in the open bin.
    max_live_bytes: f64,
    current_end_ns: i64,
    /// Last sample of resident memory in each bin; reaches further or less far than the bins.
    resident: Vec<Option<i64>>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            width_ns: FIRST_WIDTH_NS,
            closed: Vec::new(),
            start: Totals::default(),
            before: Bin::default(),
            max_live_bytes: 0.0,
            current_end_ns: FIRST_WIDTH_NS,
            resident: Vec::new(),
        }
    }
}

impl Timeline {
    /// Moves on to the bin of `ns`. `totals` are the sums after the last event; an earlier time than before counts in
    /// the open bin.
    #[inline]
    pub(crate) fn advance(&mut self, ns: i64, totals: &Totals) {
        if ns >= self.current_end_ns {
            self.close_until(ns, totals);
        }
    }

    #[cold]
    fn close_until(&mut self, ns: i64, totals: &Totals) {
        while ns / self.width_ns >= MAX_BINS as i64 {
            self.widen();
        }
        while ns >= self.current_end_ns {
            self.closed.push(self.open_bin(totals));
            self.before = Bin::default();
            self.start = *totals;
            self.max_live_bytes = totals.live.bytes;
            self.current_end_ns += self.width_ns;
        }
    }

    fn open_bin(&self, totals: &Totals) -> Bin {
        let mut allocated = totals.allocated;
        allocated.subtract(self.start.allocated);
        let mut freed = allocated;
        freed.subtract(totals.live);
        freed.add(self.start.live);
        freed.subtract(totals.left);
        freed.add(self.start.left);
        let (allocated, freed) = (allocated.at_least_zero(), freed.at_least_zero());
        merge(self.before, Bin { live: totals.live, max_live_bytes: self.max_live_bytes, allocated, freed })
    }

    /// Merges neighbouring bins.
    fn widen(&mut self) {
        // The open bin becomes the second half of a pair, or stays the first half of one.
        if self.closed.len() % 2 == 1 {
            self.before = merge(self.closed.pop().unwrap_or_default(), self.before);
        }
        self.closed = self.closed.chunks(2).filter_map(|pair| pair.iter().copied().reduce(merge)).collect();
        self.resident = self.resident.chunks(2).map(|pair| pair.iter().rev().find_map(|sample| *sample)).collect();
        self.width_ns *= 2;
        self.current_end_ns = (self.closed.len() as i64 + 1) * self.width_ns;
    }

    /// Whether this many live bytes at `ns` would neither be the most of the open bin nor lie outside it.
    #[inline]
    pub(crate) fn passes(&self, live_bytes: f64, ns: i64) -> bool {
        ns < self.current_end_ns && live_bytes <= self.max_live_bytes
    }

    /// Notes that `live_bytes` are live after an allocation; says whether that is the most of this bin.
    #[inline]
    pub(crate) fn reach(&mut self, live_bytes: f64) -> bool {
        let is_most = live_bytes > self.max_live_bytes;
        if is_most {
            self.max_live_bytes = live_bytes;
        }
        is_most
    }

    /// Notes resident memory at `ns`.
    pub(crate) fn resident(&mut self, ns: i64, bytes: i64) {
        while ns / self.width_ns >= MAX_BINS as i64 {
            self.widen();
        }
        let bin = (ns.max(0) / self.width_ns) as usize;
        if self.resident.len() <= bin {
            self.resident.resize(bin + 1, None);
        }
        self.resident[bin] = Some(bytes);
    }

    /// Width of a bin.
    pub(crate) fn width_ns(&self) -> i64 {
        self.width_ns
    }

    /// All bins with the resident memory last seen, up to the last event or sample.
    pub(crate) fn finish(&self, totals: &Totals) -> Vec<(Bin, Option<i64>)> {
        let mut bins = self.closed.clone();
        bins.push(self.open_bin(totals));
        let quiet = Bin { live: totals.live, max_live_bytes: totals.live.bytes, ..Bin::default() };
        bins.resize(bins.len().max(self.resident.len()), quiet);
        let mut seen = None;
        bins.into_iter()
            .enumerate()
            .map(|(i, bin)| {
                seen = self.resident.get(i).copied().flatten().or(seen);
                (bin, seen)
            })
            .collect()
    }
}

fn merge(first: Bin, second: Bin) -> Bin {
    let mut merged = Bin { max_live_bytes: first.max_live_bytes.max(second.max_live_bytes), ..second };
    merged.allocated.add(first.allocated);
    merged.freed.add(first.freed);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::testing::Rng;

    fn one(bytes: f64) -> Amount {
        Amount { blocks: 1.0, bytes }
    }

    #[test]
    fn bins_add_up_at_any_width() {
        let mut rng = Rng::new(1);
        let mut timeline = Timeline::default();
        let mut totals = Totals::default();
        let mut history = Vec::new();
        let mut ns = 0;
        for _ in 0..50_000 {
            ns += rng.below(20_000) as i64;
            timeline.advance(ns, &totals);
            let amount = one(rng.below(100) as f64);
            if rng.below(2) == 0 || totals.live.bytes < amount.bytes {
                totals.live.add(amount);
                totals.allocated.add(amount);
                timeline.reach(totals.live.bytes);
            } else {
                totals.live.subtract(amount);
            }
            if rng.below(100) == 0 {
                timeline.resident(ns, ns);
            }
            history.push((ns, totals.live.bytes));
        }
        let bins = timeline.finish(&totals);
        assert!(bins.len() <= MAX_BINS && bins.len() > MAX_BINS / 2);
        let mut before = 0.0;
        for (i, (bin, resident)) in bins.iter().enumerate() {
            let (start, end) = (i as i64 * timeline.width_ns(), (i as i64 + 1) * timeline.width_ns());
            let within: Vec<f64> = history.iter().filter(|h| (start..end).contains(&h.0)).map(|h| h.1).collect();
            assert_eq!(bin.live.bytes, *within.last().unwrap_or(&before), "bin {i}");
            assert_eq!(bin.max_live_bytes, within.iter().copied().fold(before, f64::max), "bin {i}");
            assert_eq!(bin.live.bytes, before + bin.allocated.bytes - bin.freed.bytes, "bin {i}");
            assert!(resident.is_none_or(|r| r < end));
            before = bin.live.bytes;
        }
    }

    #[test]
    fn a_far_stamp_costs_little() {
        let mut timeline = Timeline::default();
        timeline.advance(i64::MAX / 2, &Totals::default());
        assert!(timeline.finish(&Totals::default()).len() <= MAX_BINS);
    }
}
